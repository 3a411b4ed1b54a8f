# RabbitMQ PerfTest, as it is, in its common modes: each run publishes and consumes a number of messages, and says so.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import os
import re
import subprocess

import pytest

from broker import ROOT

CHAPTER = "RabbitMQ PerfTest"
FOLDER = os.path.join(ROOT, "build", "drivers", "amqp", "perftest", "classpath")
MESSAGES = 2000
REACHED = r"test stopped \((Producer reached message limit( \[\d+\])?|, |Consumer reached message limit( \[\d+\])?)+\)"


def classpath():
    with open(FOLDER) as f:
        return f.read().strip()


def version():
    return re.search(r"perf-test-([0-9.]+)\.jar", classpath())[1] if os.path.exists(FOLDER) else "?"


CLIENT = "PerfTest " + version()


@pytest.fixture
def perf_test(server):
    def run(*options):
        ended = subprocess.run(["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-cp", classpath(),
                                "com.rabbitmq.perf.PerfTest", "--uri", "amqp://guest:guest@" + server.amqp]
                               + [str(o) for o in options], capture_output=True, text=True, timeout=100)
        said = ended.stdout + ended.stderr
        assert ended.returncode == 0, said
        for wrong in ("Exception", "ERROR", "WARN", "Caused by"):
            assert wrong not in said, said
        assert not re.search(r"nacked: [1-9]", said), said
        return said
    return run


def numbered(producers=1, consumers=1):
    """Each producer and consumer ends at its number of messages; together they are the same."""
    return ["-x", producers, "-y", consumers, "-C", MESSAGES // producers, "-D", MESSAGES // consumers]


@pytest.mark.parametrize("mode", [
    pytest.param(["-c", 100, "-q", 200, "-A", 20, "-f", "persistent", "-s", 1024], id="confirms, qos, multi-ack, persistent"),
    pytest.param(["-c", 1, "-q", 1, "-f", "persistent", "-C", 200, "-D", 200], id="one at a time"),
    pytest.param(["-a", "-f", "mandatory", "-t", "topic", "-e", "perf-topic", "-k", "a.b"], id="automatic acks, mandatory, a topic exchange"),
    pytest.param(["-m", 50, "-n", 50], id="transactions"),
    pytest.param(["-c", 100, "-q", 200, "-A", 20, "--quorum-queue"], id="a quorum queue"),
    pytest.param(["-c", 100, "-q", 200, "--stream-queue", "--consumer-args", "x-stream-offset=first"], id="a stream"),
    pytest.param(["-c", 100, "-q", 50, "--queue-args", "x-max-priority=5", "--message-properties", "priority=3"], id="priorities"),
])
def test_what_is_published_is_consumed(perf_test, server, fresh, mode, channel):
    queue = fresh()
    stays = "--quorum-queue" in mode or "--stream-queue" in mode
    said = perf_test("-u", queue, "-ad", "false" if stays else "true", *([] if "-C" in mode else numbered()), *mode)
    assert re.search(REACHED, said), said
    assert re.search(r"sending rate avg: [1-9]\d* msg/s", said) and re.search(r"receiving rate avg: [1-9]\d* msg/s", said), said
    assert ("confirm latency min" in said) == ("-c" in mode), said
    if "--quorum-queue" in mode:
        assert channel.queue_declare(queue, passive=True).method.message_count == 0
    if stays:
        channel.queue_delete(queue)


def test_many_queues_each_with_its_producer_and_consumer(perf_test, fresh):
    name = fresh()
    said = perf_test("--queue-pattern", name + "-%02d", "--queue-pattern-from", 1, "--queue-pattern-to", 10, "-c", 20, "-q", 50,
                     "-A", 5, *numbered(10, 10))
    assert re.search(REACHED, said) and "receiving rate avg" in said, said


def test_for_some_seconds_it_says_each_second_what_is_sent_confirmed_and_received(perf_test, fresh):
    said = perf_test("-u", fresh(), "-c", 50, "-q", 100, "--rate", 500, "-z", 3)
    rows = [tuple(map(int, r)) for r in re.findall(r"sent: (\d+) msg/s, confirmed: (\d+) msg/s, nacked: 0 msg/s, received: (\d+) msg/s", said)]
    assert rows and all(sum(column) > 0 for column in zip(*rows)), said
