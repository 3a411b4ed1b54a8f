"""tools.py - the load tools that others know, unchanged: Kafka's producer-perf-test and RabbitMQ's PerfTest.

They run on a JVM of their own and take more processor time than Hawser does, so that they are the limit: what they say about the broker
is its processor time, and that the figures of our own load programs are no accident of those.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import os
import re
import subprocess
import time

from sides import ROOT
from usage import cpu_s


def classpath(name):
    try:
        with open(os.path.join(ROOT, "build", "peers", name, "classpath"), encoding="utf-8") as f:
            return f.read().strip()
    except OSError:
        raise RuntimeError(f"{name} is not installed: script/setup-peers {name}") from None


def producer_perf(ports, options):
    return ["java", "-Xmx512m", "-cp", classpath("kafka"), "org.apache.kafka.tools.ProducerPerformance", "--throughput", "-1",
            "--bootstrap-server", "127.0.0.1:" + ports["kafka"], *options, "--command-property", "acks=all"]


def perf_test(ports, options):
    return ["java", "-Xmx512m", "-cp", classpath("perftest"), "com.rabbitmq.perf.PerfTest", "--uri",
            f"amqp://guest:guest@127.0.0.1:{ports['amqp']}", "--flag", "persistent", *options]


def read_producer_perf(text):
    """'5000 records sent, 9025.3 records/sec (8.81 MB/sec), 1.43 ms avg latency, 240.00 ms max latency, 1 ms 50th, ...': the last one."""
    last = re.findall(r"(\d+) records sent, ([\d.]+) records/sec \(([\d.]+) MB/sec\).*?(\d+) ms 50th, \d+ ms 95th, (\d+) ms 99th, (\d+) ms 99.9th",
                      text)[-1]
    return {"count": int(last[0]), "rate": float(last[1]), "mb_s": float(last[2]) * 1.048576,
            "p50_us": int(last[3]) * 1e3, "p99_us": int(last[4]) * 1e3, "p999_us": int(last[5]) * 1e3}


def read_perf_test(text):
    """'id: test-1, sending rate avg: 9012 msg/s' and the same of receiving; the count is what was asked for."""
    sent, received = (float(re.search(rf"{what} rate avg: (\d+)", text)[1]) for what in ("sending", "receiving"))
    return {"rate": min(sent, received)}


TOOLS = {"producer-perf-test": (producer_perf, read_producer_perf), "PerfTest": (perf_test, read_perf_test)}
COUNTS = ("--num-records", "--pmessages")


def run(side, program, name, options, settings=()):
    """As sides.load(): a list of one dictionary.  Its `count` is what the options ask for."""
    pid, ports = side.broker(settings)
    command, read = TOOLS[program]
    before, began = cpu_s(pid), time.monotonic()
    done = subprocess.run(command(ports, options), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{program}: {(done.stdout + done.stderr).strip()[-300:]}")
    fields = {"count": float(next(options[i + 1] for i, o in enumerate(options) if o in COUNTS)), "seconds": time.monotonic() - began,
              **read(done.stdout)}
    return [{"name": name, **fields, "cpu_s_m": (cpu_s(pid) - before) / fields["count"] * 1e6}]
