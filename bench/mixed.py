"""mixed.py - one fixed load of all three protocols at once: on Hawser, and on three peers side by side on the same machine.

The rates are fixed and the latencies open-loop, so both do the same work; what differs is what it costs: cores, memory, latency.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import subprocess
import time

from scenarios import words
from sides import load_command, parse
from usage import cpu_s, resident_mb

NAME = "2,000 AMQP messages, 200 Kafka batches of 16 KiB and 100 SQS messages a second"


def loads(seconds):
    return {"amqp": ("amqp_load", words(size=1024, count=2000 * seconds, rate=2000, ack=1)),
            "kafka": ("kafka_load", words(topic="mixed", batch=16384, rate=200, connections=4, mb=3.3 * seconds, seconds=seconds)),
            "sqs": ("poll_load", words(rate=100, count=100 * seconds))}


def run(sides, seconds):
    """`sides`: who serves each protocol.  Ends with a RuntimeError if a load failed."""
    commands = {p: load_command(sides[p], program, p, options) for p, (program, options) in loads(seconds).items()}
    pids = {side.broker(())[0] for side in sides.values()}
    began, before = time.monotonic(), sum(map(cpu_s, pids))
    running = {p: subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for p, c in commands.items()}
    done = {p: process.communicate() for p, process in running.items()}
    took, used = time.monotonic() - began, sum(map(cpu_s, pids)) - before
    fields = {"seconds": took, "cores": used / took, "resident_mb": sum(map(resident_mb, pids))}
    for p, (out, error) in done.items():
        if running[p].returncode:
            raise RuntimeError(f"{p}: {error.strip()}")
        last = list(parse(out))[-1]
        fields |= {f"{p}_{q}": last[q] for q in ("rate", "p50_us", "p99_us", "p999_us")}
    return fields
