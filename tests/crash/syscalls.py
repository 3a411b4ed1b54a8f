"""syscalls.py - one failed system call per life of a broker: see `syscalls`.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import http.client
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from broker import Broker, BrokerFailed  # noqa: E402
from kafka_raw import KafkaRaw, batch  # noqa: E402

# Not close: Linux closes whatever it returns, and what is injected does not.
CALLS = ("pwritev", "fdatasync", "fsync", "openat", "pread64", "renameat", "unlinkat", "mkdirat", "getdents64", "newfstatat")
TOPIC = "t"


class Ledger:
    def __init__(self):
        self.kafka, self.sqs = {}, set()


def body(n):
    return b"%d " % n + b"z" * 30000


def sqs(broker, action, **parameters):
    connection = http.client.HTTPConnection(broker.sqs, timeout=15)
    connection.request("POST", "/", json.dumps(parameters), {
        "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS." + action})
    answer = connection.getresponse()
    found = json.loads(answer.read() or b"{}")
    connection.close()
    return answer.status, found


def work(broker, ledger, rounds=60):
    """Until it is done, or the broker does not answer any more."""
    sqs(broker, "CreateQueue", QueueName="q")
    with KafkaRaw(broker.kafka) as raw:
        raw.socket.settimeout(15)
        for n in range(rounds):
            error, offset = raw.produce(TOPIC, 0, batch([body(n)], time_ms=int(time.time() * 1000)))
            if error == 0:
                ledger.kafka[offset] = n
            if n % 4 == 0:
                status, _ = sqs(broker, "SendMessage", QueueUrl="q", MessageBody="m%d" % n)
                if status == 200:
                    ledger.sqs.add("m%d" % n)


def read_kafka(broker):
    """What the topic has: offset -> number."""
    import confluent_kafka
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.kafka, "group.id": "r", "log_level": 0,
                                         "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    where = confluent_kafka.TopicPartition(TOPIC, 0, 0)
    found = {}
    try:
        _, end = consumer.get_watermark_offsets(where, timeout=20)
        consumer.assign([where])
        limit = time.monotonic() + 20
        while (not found or max(found) + 1 < end) and end and time.monotonic() < limit:
            for m in consumer.consume(100, timeout=0.05):
                assert m.error() is None, m.error()
                found[m.offset()] = int(m.value().split(b" ")[0])
                assert m.value() == body(found[m.offset()])
    finally:
        consumer.close()
    return found


def check(broker, ledger):
    if ledger.kafka:
        found = read_kafka(broker)
        assert {o: found.get(o) for o in ledger.kafka} == ledger.kafka, "kafka: acknowledged and not there"
    left = set(ledger.sqs)
    while left:
        status, got = sqs(broker, "ReceiveMessage", QueueUrl="q", MaxNumberOfMessages=10, VisibilityTimeout=60)
        assert status == 200 and got.get("Messages"), "sqs: %s answered and not there" % left
        left -= {m["Body"] for m in got["Messages"]}


def create_topic(broker):
    from confluent_kafka.admin import AdminClient, NewTopic
    admin = AdminClient({"bootstrap.servers": broker.kafka, "log_level": 0})
    admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(20)
    with KafkaRaw(broker.kafka) as raw:
        assert raw.produce(TOPIC, 0, batch([body(0)], time_ms=int(time.time() * 1000))) == (0, 0)


def kill(broker):
    """The broker, not only strace."""
    process, broker.process = broker.process, None
    if process is None:
        return
    with open("/proc/%d/task/%d/children" % (process.pid, process.pid)) as f:
        for child in f.read().split():
            os.kill(int(child), signal.SIGKILL)
    process.wait()


def ended_with_a_reason(broker):
    """None: it runs.  Otherwise it must have said why."""
    process = broker.process
    if process is None or process.poll() is None:
        return None
    said = broker.tail(5).strip().splitlines()
    code, broker.process = process.returncode, None
    return code == 1 and any(line.startswith("hawser: ") for line in said) or "code %s, %s" % (code, said)


def one_life(call, error, ordinal):
    """True if the call failed; raises if something was lost, or it ended without a reason."""
    settings = ["--set", "journal_file_size=1MiB", "--set", "cache_size=1MiB"]
    broker, ledger = Broker(options=settings), Ledger()
    trace = os.path.join(broker.home, "trace")
    try:
        broker.start()
        create_topic(broker)
        ledger.kafka[0] = 0
        assert broker.stop() == 0
        broker.wrap = ["strace", "-f", "-qq", "-o", trace, "-e", "trace=" + call, "-e",
                       "inject=%s:error=%s:when=%d" % (call, error, ordinal)]
        try:
            broker.start(timeout_s=40)
            work(broker, ledger)
        except BrokerFailed as e:
            if "while loading shared libraries" in str(e):
                return True             # before the program began
            assert "ended with 1 " in str(e) and "hawser: " in str(e), "no start, and no reason: %s" % e
        except (OSError, http.client.HTTPException, ConnectionError):
            end = time.monotonic() + 10
            while broker.running() and time.monotonic() < end:
                time.sleep(0.02)
            reason = ended_with_a_reason(broker)
            assert reason is True, "it does not answer, and runs" if reason is None else "no reason: %s" % reason
        if broker.process is not None:
            reason = ended_with_a_reason(broker)
            assert reason in (None, True), "no reason: %s" % reason
        if broker.process is not None:
            kill(broker)
        with open(trace, errors="replace") as f:
            struck = "(INJECTED)" in f.read()
        broker.wrap = []
        broker.start(timeout_s=40)
        check(broker, ledger)
        assert broker.stop() == 0
        return struck
    finally:
        if broker.wrap:
            kill(broker)
        broker.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", default=",".join(CALLS))
    parser.add_argument("--errors", default="EIO,ENOSPC")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--limit", type=int, default=100000)
    options = parser.parse_args()
    passed = failed = struck_all = 0
    for call in options.calls.split(","):
        for error in options.errors.split(","):
            ordinal, struck = 1, True
            while struck and ordinal <= options.limit:
                try:
                    struck = one_life(call, error, ordinal)
                    struck_all += struck
                    passed += 1
                except AssertionError as e:
                    failed += 1
                    print("FAILED %s %s number %d: %s" % (call, error, ordinal, e), flush=True)
                ordinal += options.every
            print("%s %s: up to number %d" % (call, error, ordinal - options.every), flush=True)
    print("%d calls failed on purpose" % struck_all)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
