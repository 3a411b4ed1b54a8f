"""full.py - a disk that fills up, with real clients, and a ledger of what was promised: see `full`.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import http.client
import json
import os
import subprocess
import sys
import time

import confluent_kafka
import pika
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from broker import Broker, wait_until  # noqa: E402
from kafka_raw import KafkaRaw, batch  # noqa: E402

STORAGE_ERROR = 56
BODY = 20000


def text(kind, number):
    return ("%s-%d " % (kind, number)).encode() + b"x" * BODY


def number_of(body):
    return int(body.split(b" ")[0].split(b"-")[1])


class Kafka:
    """One topic.  A blocked producer gets a retriable error."""

    def __init__(self, broker):
        self.broker, self.next, self.start, self.acked = broker, 0, 0, {}

    def create(self):
        admin = AdminClient({"bootstrap.servers": self.broker.kafka, "log_level": 0})
        admin.create_topics([NewTopic("k", 1, 1, config={"segment.bytes": "1048576"})])["k"].result(20)

    def publish(self):
        """False: blocked."""
        with KafkaRaw(self.broker.kafka) as raw:
            body = text("k", self.next)
            error, offset = raw.produce("k", 0, batch([body], time_ms=int(time.time() * 1000)))
            if error == STORAGE_ERROR:
                return False
            assert error == 0, "produce was answered with error %d" % error
            self.acked[offset] = self.next
            self.next += 1
            return True

    def consumer(self):
        return confluent_kafka.Consumer({"bootstrap.servers": self.broker.kafka, "group.id": "g", "log_level": 0,
                                         "enable.auto.commit": False, "auto.offset.reset": "earliest"})

    def take(self):
        """Read everything, commit, and delete what is old: that is Kafka's way to make room."""
        consumer = self.consumer()
        found = self.read(consumer)
        end = max(found) + 1
        for done in consumer.commit(offsets=[confluent_kafka.TopicPartition("k", 0, end)], asynchronous=False):
            assert done.error is None, done.error
        consumer.close()
        admin = AdminClient({"bootstrap.servers": self.broker.kafka, "log_level": 0})
        where = confluent_kafka.TopicPartition("k", 0, end - 5)
        admin.delete_records([where])[where].result(20)
        self.start = end - 5

    def read(self, consumer):
        where = confluent_kafka.TopicPartition("k", 0, self.start)
        _, end = consumer.get_watermark_offsets(where, timeout=20)
        consumer.assign([where])
        found, limit = {}, time.monotonic() + 30
        while (not found or max(found) + 1 < end) and time.monotonic() < limit:
            for m in consumer.consume(100, timeout=0.1):
                assert m.error() is None, m.error()
                found[m.offset()] = number_of(m.value())
                assert m.value() == text("k", found[m.offset()])
        return found

    def check(self):
        consumer = self.consumer()
        found = self.read(consumer)
        consumer.close()
        promised = {o: n for o, n in self.acked.items() if o >= self.start}
        assert {o: found.get(o) for o in promised} == promised, "kafka: not what was acknowledged"


class Amqp:
    """One queue.  A blocked publisher is told, and not answered: pika gives up after a second."""

    def __init__(self, broker):
        self.broker, self.next, self.kept = broker, 0, set()
        self.connection = None

    def connect(self):
        host, port = self.broker.amqp.split(":")
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port), heartbeat=0,
                                                                            blocked_connection_timeout=1))
        channel = self.connection.channel()
        channel.queue_declare("a", durable=True)
        channel.confirm_delivery()
        return channel

    def publish(self, channel=None):
        """False: blocked; then the message may be there or not."""
        mine, number = channel or self.connect(), self.next
        self.next += 1
        try:
            mine.basic_publish("", "a", text("a", number), pika.BasicProperties(delivery_mode=2))
        except pika.exceptions.ConnectionBlockedTimeout:
            return False
        self.kept.add(number)
        if not channel:
            self.connection.close()
        return True

    def take(self):
        channel = self.connect()
        for method, _, body in iter(lambda: channel.basic_get("a"), (None, None, None)):
            assert body == text("a", number_of(body))
            self.kept.discard(number_of(body))
            channel.basic_ack(method.delivery_tag)
        channel.queue_declare("a", passive=True)
        self.connection.close()
        assert not self.kept, "amqp: %s confirmed and not there" % self.kept

    def check(self):
        channel = self.connect()
        found = {number_of(body) for _, _, body in iter(lambda: channel.basic_get("a"), (None, None, None))}
        self.connection.close()
        assert self.kept <= found, "amqp: %s confirmed and not there" % (self.kept - found)


class Sqs:
    """One queue.  A blocked sender gets OverLimit."""

    def __init__(self, broker):
        self.broker, self.next, self.kept = broker, 0, set()

    def __call__(self, action, **parameters):
        connection = http.client.HTTPConnection(self.broker.sqs, timeout=20)
        connection.request("POST", "/", json.dumps(parameters), {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS." + action})
        answer = connection.getresponse()
        body = json.loads(answer.read() or b"{}")
        connection.close()
        return answer.status, body

    def create(self):
        assert self("CreateQueue", QueueName="s", Attributes={"VisibilityTimeout": "30"})[0] == 200

    def publish(self):
        status, body = self("SendMessage", QueueUrl="s", MessageBody=text("s", self.next).decode())
        if status == 200:
            self.kept.add(self.next)
            self.next += 1
            return True
        assert body.get("__type", "").endswith("OverLimit"), (status, body)
        return False

    def receive(self, seconds):
        while True:
            status, body = self("ReceiveMessage", QueueUrl="s", MaxNumberOfMessages=10, VisibilityTimeout=seconds)
            assert status == 200, body
            if not body.get("Messages"):
                return
            for m in body["Messages"]:
                assert m["Body"].encode() == text("s", number_of(m["Body"].encode()))
                yield m

    def take(self):
        for m in self.receive(30):
            status, body = self("DeleteMessage", QueueUrl="s", ReceiptHandle=m["ReceiptHandle"])
            assert status == 200, body
            self.kept.discard(number_of(m["Body"].encode()))
        assert not self.kept, "sqs: %s answered and not there" % self.kept

    def check(self):
        found = list(self.receive(30))
        for m in found:
            self("ChangeMessageVisibility", QueueUrl="s", ReceiptHandle=m["ReceiptHandle"], VisibilityTimeout=0)
        assert self.kept <= {number_of(m["Body"].encode()) for m in found}, "sqs: answered and not there"


class Test:
    def __init__(self, where, options):
        settings = ["journal_file_size=1MiB", "disk_free_limit=8MB", "cache_size=1MiB"]
        self.where = where
        self.broker = Broker(data=os.path.join(where, "data"), shards=options.shards,
                             options=[w for s in settings for w in ("--set", s)])
        self.kafka, self.amqp, self.sqs = Kafka(self.broker), Amqp(self.broker), Sqs(self.broker)
        self.all = [self.kafka, self.amqp, self.sqs]
        self.ballast = os.path.join(where, "ballast")

    def free_mb(self):
        st = os.statvfs(self.where)
        return st.f_bavail * st.f_frsize / 1e6

    def fill(self):
        blocked = set()
        while len(blocked) < 3:
            for one in self.all:
                if one not in blocked and not one.publish():
                    blocked.add(one)
        assert self.free_mb() > 4, "only %.1f MB are left" % self.free_mb()

    def take(self):
        for one in self.all:
            one.take()

    def resumes(self):
        for one in self.all:
            wait_until(one.publish, "%s can publish again" % type(one).__name__, timeout_s=30, step_s=0.2)

    def check(self):
        for one in self.all:
            one.check()

    def fill_to_the_brim(self):
        """Somebody else's file."""
        with open(self.ballast, "wb", buffering=0) as f:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        f.write(b"b" * size)
                except OSError:
                    pass

    def cycle(self):
        print("   filling, %.1f MB free" % self.free_mb(), flush=True)
        self.fill()
        print("   blocked with %.1f MB free; taking" % self.free_mb(), flush=True)
        self.take()
        self.resumes()
        print("   resumed with %.1f MB free; a full disk" % self.free_mb(), flush=True)
        self.fill()
        self.fill_to_the_brim()
        time.sleep(1)
        assert self.broker.running(), self.broker.tail()
        self.broker.kill9()
        self.broker.start()
        # Whatever needs no room: a receive of SQS is a lease, which would have to be made durable.
        self.kafka.check()
        self.amqp.check()
        os.unlink(self.ballast)
        self.check()
        self.take()
        self.resumes()
        # And a full disk while data is on its way out of the journal.
        self.fill()
        self.fill_to_the_brim()
        self.kafka.check()
        os.unlink(self.ballast)
        assert self.broker.running(), self.broker.tail()
        self.check()
        self.broker.restart()
        self.check()
        self.take()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("where")
    parser.add_argument("--cycles", type=int, default=2)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--mb", type=int, default=48)
    options = parser.parse_args()
    mount = ["mount", "-t", "tmpfs", "-o", "size=%dm" % options.mb, "full", options.where]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        print("full: skipped, nothing may be mounted here\n0 passed, 0 failed")
        return 0
    test = Test(options.where, options)
    passed = 0
    try:
        test.broker.start()
        test.kafka.create()
        test.sqs.create()
        for n in range(options.cycles):
            print("cycle %d" % (n + 1), flush=True)
            test.cycle()
            passed += 1
        assert test.broker.stop() == 0
    except BaseException:
        print(test.broker.tail())
        raise
    finally:
        test.broker.close()
        subprocess.run(["umount", "-l", options.where])
        print("%d passed, %d failed" % (passed, options.cycles - passed))
    return 0


sys.exit(main())
