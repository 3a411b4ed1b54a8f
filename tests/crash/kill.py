"""kill.py - cycles of kill -9 under load, with real clients, and a ledger of what was promised.

Writers and readers of each protocol run all the time, in threads; they reconnect by themselves.  After every kill the
broker starts again on the same data.  What is checked:

  Kafka   every record that was acknowledged (acks=all) is at exactly the acknowledged offset with the same bytes;
          an idempotent producer's records are there once and in order; a committed group offset never goes back;
          a copy in transactions has every record up to its group's offset, each once; of each key of a compacted topic
          there is the newest acknowledged record or a later one, or nothing at all if the last was a deletion
  AMQP    every confirmed persistent message is delivered; a message that was acknowledged more than SETTLED_S before
          a kill (an ack has no answer, so that much time is left for its commit) is never delivered again
  SQS     every message whose SendMessage was answered is received; one whose DeleteMessage was answered never again;
          FIFO groups in order; a leased message is not handed out before its visibility timeout ends, kill or not
  all     nothing is delivered that was not sent

Prints each violation, and at the end "N passed, N failed": one check per cycle and one per ledger at the end.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import contextlib
import os
import random
import sys
import time

import confluent_kafka
import pika

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from broker import Broker, BrokerFailed  # noqa: E402
from lean import Sqs  # noqa: E402
from ledger import Ledger, Worker  # noqa: E402

SETTLED_S = 1.0
LEASE_S = 6
PARTITIONS = 3
GROUPS = 16


# ------------------------------------------------------------------------------------------------------------- Kafka ----

class KafkaWriter(Worker):
    def __init__(self, broker, ledger):
        super().__init__(broker, ledger, "kafka writer")
        self.acked = {}             # (partition, offset) -> value
        self.next = 0

    def round(self):
        # One producer for its whole life: its retries across a kill must not make duplicates.
        producer = confluent_kafka.Producer({
            "bootstrap.servers": self.broker.kafka, "enable.idempotence": True, "linger.ms": 2,
            "message.timeout.ms": 120000, "reconnect.backoff.max.ms": 200, "log_level": 0,
            "topic.metadata.refresh.interval.ms": 1000})
        while not self.ends.is_set():
            try:
                producer.produce("k", b"k-%d" % self.next, partition=self.next % PARTITIONS, on_delivery=self.delivered)
                self.next += 1
            except BufferError:
                pass
            producer.poll(0.001 if self.next % 50 else 0.01)
        producer.flush(30)

    def delivered(self, error, message):
        if error is not None:
            self.ledger.count("kafka not acknowledged")
            return
        key = (message.partition(), message.offset())
        if self.acked.get(key, message.value()) != message.value():
            self.ledger.violation("kafka: offset %s acknowledged twice" % (key,))
        self.acked[key] = message.value()
        self.ledger.count("kafka acknowledged")

    def check(self):
        """Read everything from the beginning."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.broker.kafka, "group.id": "check",
                                             "enable.auto.commit": False, "log_level": 0})
        found, last = {}, {}
        try:
            for partition in range(PARTITIONS):
                where = confluent_kafka.TopicPartition("k", partition, 0)
                low, high = consumer.get_watermark_offsets(where, timeout=10)
                consumer.assign([where])
                limit = time.monotonic() + 60
                while low < high and time.monotonic() < limit:
                    for message in consumer.consume(1000, timeout=1):
                        if message.error():
                            continue
                        found[(partition, message.offset())] = message.value()
                        number = int(message.value().decode().split("-")[1])
                        if number <= last.get(partition, -1):
                            self.ledger.violation("kafka: %d after %d in partition %d" % (number, last[partition], partition))
                        last[partition] = number
                        low = message.offset() + 1
        finally:
            consumer.close()
        for key, value in self.acked.items():
            if found.get(key) != value:
                self.ledger.violation("kafka: %s acknowledged as %s, found %s" % (key, value, found.get(key)))
        return len(found)


class KafkaTable(Worker):
    """Changes and deletes keys of a compacted topic; rounds of compaction are cut off by the kills."""

    KEYS = 20
    SETTINGS = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "1000"}

    def __init__(self, broker, ledger):
        super().__init__(broker, ledger, "kafka table")
        self.sent = []              # (key, is a deletion), by number
        self.newest = {}            # key -> number of its newest acknowledged record

    def round(self):
        producer = confluent_kafka.Producer({
            "bootstrap.servers": self.broker.kafka, "enable.idempotence": True, "linger.ms": 2, "compression.type": "lz4",
            "message.timeout.ms": 120000, "reconnect.backoff.max.ms": 200, "log_level": 0,
            "topic.metadata.refresh.interval.ms": 1000})
        while not self.ends.is_set():
            number, key, deletes = len(self.sent), random.randrange(self.KEYS), random.random() < 0.2
            self.sent.append((key, deletes))
            producer.produce("kt", None if deletes else b"%d" % number + b"." * 200, b"%d" % key, headers=[("n", b"%d" % number)],
                             on_delivery=lambda error, message, key=key, number=number: self.delivered(error, key, number))
            producer.poll(0.001 if number % 20 else 0.02)
        producer.flush(30)

    def delivered(self, error, key, number):
        if error is not None:
            self.ledger.count("kafka table not acknowledged")
            return
        self.newest[key] = max(number, self.newest.get(key, -1))
        self.ledger.count("kafka table acknowledged")

    def read(self):
        """The number of records, and each key's newest."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.broker.kafka, "group.id": "check",
                                             "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0})
        seen, count, limit, ended = {}, 0, time.monotonic() + 60, False
        try:
            consumer.assign([confluent_kafka.TopicPartition("kt", 0, 0)])
            while not ended and time.monotonic() < limit:
                for message in consumer.consume(1000, timeout=1):
                    if message.error():
                        ended |= message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
                        continue
                    seen[int(message.key())] = int(dict(message.headers())["n"])
                    count += 1
        finally:
            consumer.close()
        return count, seen

    def check(self):
        limit = time.monotonic() + 30
        count, seen = self.read()
        while count > self.KEYS and time.monotonic() < limit:
            time.sleep(1)
            count, seen = self.read()
        if count > self.KEYS:
            self.ledger.violation("kafka table: %d records are left of %d, for %d keys" % (count, len(self.sent), self.KEYS))
        for key, newest in self.newest.items():
            gone = any(k == key and deletes for k, deletes in self.sent[newest:])
            if seen.get(key, -1) < newest and not (gone and key not in seen):
                self.ledger.violation("kafka table: key %d: record %d was acknowledged, the newest is %s" % (key, newest, seen.get(key)))


class KafkaGroup(Worker):
    """Reads in a group, commits synchronously, and remembers what was committed."""

    def __init__(self, broker, ledger):
        super().__init__(broker, ledger, "kafka group")
        self.committed = {}

    def round(self):
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": self.broker.kafka, "group.id": "g", "enable.auto.commit": False, "log_level": 0,
            "auto.offset.reset": "earliest", "session.timeout.ms": 6000, "reconnect.backoff.max.ms": 200})
        try:
            consumer.subscribe(["k"])
            while not self.ends.is_set():
                messages = [m for m in consumer.consume(200, timeout=0.2) if not m.error()]
                if not messages:
                    continue
                for done in consumer.commit(asynchronous=False) or []:
                    if done.error is None:
                        self.committed[done.partition] = max(done.offset, self.committed.get(done.partition, 0))
                        self.ledger.count("offsets committed")
        finally:
            consumer.close()

    def check(self):
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.broker.kafka, "group.id": "g", "log_level": 0})
        try:
            for partition, offset in list(self.committed.items()):
                found = consumer.committed([confluent_kafka.TopicPartition("k", partition)], timeout=10)[0].offset
                if found < offset:
                    self.ledger.violation("group: partition %d committed %d, found %d" % (partition, offset, found))
        finally:
            consumer.close()


class KafkaCopier(Worker):
    """Copies `k` to `kc`, some records and their offsets at a time, in transactions; some of them are aborted."""

    def __init__(self, broker, ledger):
        super().__init__(broker, ledger, "kafka copier")

    def round(self):
        producer = confluent_kafka.Producer({
            "bootstrap.servers": self.broker.kafka, "transactional.id": "copier", "log_level": 0,
            "transaction.timeout.ms": 10000, "message.timeout.ms": 10000, "reconnect.backoff.max.ms": 200})
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": self.broker.kafka, "group.id": "copier", "enable.auto.commit": False, "log_level": 0,
            "auto.offset.reset": "earliest", "isolation.level": "read_committed", "session.timeout.ms": 6000,
            "reconnect.backoff.max.ms": 200})
        try:
            producer.init_transactions(20)
            consumer.subscribe(["k"])
            while not self.ends.is_set():
                messages = [m for m in consumer.consume(100, timeout=0.2) if not m.error()]
                if messages:
                    self.copy(producer, consumer, messages)
        finally:
            consumer.close()

    def copy(self, producer, consumer, messages):
        producer.begin_transaction()
        for m in messages:
            producer.produce("kc", b"%d:%d" % (m.partition(), m.offset()), partition=m.offset() % PARTITIONS)
        producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 20)
        if self.random.random() < 0.1:
            producer.abort_transaction(20)
            self.ledger.count("transactions aborted")
            raise RuntimeError("read them again")
        producer.commit_transaction(20)
        self.ledger.count("transactions committed")

    def check(self):
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.broker.kafka, "group.id": "copier", "log_level": 0,
                                             "isolation.level": "read_committed", "enable.auto.commit": False})
        where = [confluent_kafka.TopicPartition("k", p) for p in range(PARTITIONS)]
        found = {}
        try:
            expected = {b"%d:%d" % (c.partition, offset) for c in consumer.committed(where, timeout=20)
                        for offset in range(max(c.offset, 0))}
            for partition in range(PARTITIONS):
                self.read(consumer, confluent_kafka.TopicPartition("kc", partition, 0), found)
        finally:
            consumer.close()
        for value in expected - found.keys():
            self.ledger.violation("copier: %s is lost" % value)
        for value, n in found.items():
            if value not in expected or n > 1:
                self.ledger.violation("copier: %s is there %d times%s" % (value, n, "" if value in expected else ", its offset is not"))
        self.ledger.count("records copied", len(found))

    def read(self, consumer, where, found):
        low, high = consumer.get_watermark_offsets(where, timeout=10)
        consumer.assign([where])
        limit = time.monotonic() + 60
        while low < high and time.monotonic() < limit:
            for message in consumer.consume(1000, timeout=0.5):
                if not message.error():
                    found[message.value()] = found.get(message.value(), 0) + 1
            at = consumer.position([where])[0].offset       # markers count, too
            low = max(low, at)
        if low < high:
            self.ledger.violation("copier: partition %d cannot be read beyond %d of %d" % (where.partition, low, high))


# -------------------------------------------------------------------------------------------------------------- AMQP ----

def amqp_connect(broker):
    host, port = broker.amqp.split(":")
    return pika.BlockingConnection(pika.ConnectionParameters(host, int(port), socket_timeout=5, heartbeat=10,
                                                             blocked_connection_timeout=5))


class AmqpWriter(Worker):
    def __init__(self, broker, ledger):
        super().__init__(broker, ledger, "amqp writer")
        self.sent, self.confirmed = set(), set()
        self.next = 0

    def round(self):
        connection = amqp_connect(self.broker)
        with contextlib.suppress(Exception):
            channel = connection.channel()
            channel.exchange_declare("x", "fanout", durable=True)
            for queue in ("a", "b"):
                channel.queue_declare(queue, durable=True)
                channel.queue_bind(queue, "x")
            channel.confirm_delivery()
            while not self.ends.is_set():
                body = b"a-%d" % self.next
                self.next += 1
                self.sent.add(body)
                channel.basic_publish("x", "", body, pika.BasicProperties(delivery_mode=2), mandatory=True)
                self.confirmed.add(body)
                self.ledger.count("amqp confirmed")
        with contextlib.suppress(Exception):
            connection.close()


class AmqpReader(Worker):
    def __init__(self, broker, ledger, writer, queue):
        super().__init__(broker, ledger, "amqp reader " + queue)
        self.writer, self.queue = writer, queue
        self.came = set()
        self.acked = {}             # body -> when it was acknowledged
        self.killed_s = 0.0         # when the broker was last killed

    def round(self):
        connection = amqp_connect(self.broker)
        try:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=20)
            channel.basic_consume(self.queue, self.on_message)
            while not self.ends.is_set():
                connection.process_data_events(time_limit=0.1)
        finally:
            with contextlib.suppress(Exception):
                connection.close()

    def on_message(self, channel, method, properties, body):
        if body not in self.writer.sent:
            self.ledger.violation("amqp: %s was never sent" % body)
        # Before the ack: it may be committed although the kill takes it from us while we are sending it.
        self.came.add(body)
        acked = self.acked.get(body)
        if acked is not None and acked < self.killed_s - SETTLED_S:
            self.ledger.violation("amqp: %s came back to %s, acknowledged %.2f s before the kill"
                                  % (body, self.queue, self.killed_s - acked))
        channel.basic_ack(method.delivery_tag)
        self.acked[body] = time.monotonic()
        self.ledger.count("amqp acknowledged")

    def check(self):
        limit = time.monotonic() + 60
        while time.monotonic() < limit and not self.writer.confirmed <= self.came:
            time.sleep(0.1)
        for body in self.writer.confirmed - self.came:
            self.ledger.violation("amqp: %s was confirmed and never came to %s" % (body, self.queue))


# --------------------------------------------------------------------------------------------------------------- SQS ----

class SqsWriter(Worker):
    def __init__(self, broker, ledger, queue):
        super().__init__(broker, ledger, "sqs writer " + queue)
        self.queue, self.fifo = queue, queue.endswith(".fifo")
        self.sent, self.answered = set(), set()
        self.next = 0

    def round(self):
        sqs = Sqs(self.broker.sqs)
        attributes = {"VisibilityTimeout": str(LEASE_S)}
        if self.fifo:
            attributes["FifoQueue"] = "true"
        sqs("CreateQueue", QueueName=self.queue, Attributes=attributes)
        while not self.ends.is_set():
            body = "%s-%d" % ("f" if self.fifo else "s", self.next)
            more = {}
            if self.fifo:
                more = {"MessageGroupId": "g%d" % (self.next % GROUPS), "MessageDeduplicationId": body}
            self.sent.add(body)
            sqs("SendMessage", QueueUrl=self.queue, MessageBody=body, **more)
            # A FIFO send that was not answered is repeated with the same id: once in the queue, whatever happened.
            self.answered.add(body)
            self.ledger.count("sqs sent")
            self.next += 1

    def run(self):
        if not self.fifo:
            while not self.ends.is_set():
                try:
                    self.round()
                except Exception:
                    self.next += 1      # it may or may not be in the queue
                    time.sleep(0.05)
            return
        super().run()


class SqsReader(Worker):
    def __init__(self, broker, ledger, writer):
        super().__init__(broker, ledger, "sqs reader " + writer.queue)
        self.writer = writer
        self.deleted, self.seen = set(), set()
        self.leases = {}            # body -> when our lease ends at the earliest
        self.last = {}              # FIFO: group -> last number deleted
        # A kept message of a FIFO queue blocks its whole group.
        self.keep = 0.01 if writer.fifo else 0.1

    def round(self):
        sqs = Sqs(self.broker.sqs)
        while not self.ends.is_set():
            asked = time.monotonic()
            got = sqs("ReceiveMessage", QueueUrl=self.writer.queue, MaxNumberOfMessages=5, WaitTimeSeconds=1)
            for message in got.get("Messages", []):
                self.take(sqs, message, asked)

    def take(self, sqs, message, asked):
        body = message["Body"]
        if body not in self.writer.sent:
            self.ledger.violation("sqs: %s was never sent" % body)
        if body in self.deleted:
            self.ledger.violation("sqs: %s came back after it was deleted" % body)
        if time.monotonic() < self.leases.get(body, 0):
            self.ledger.violation("sqs: %s was handed out while it was leased" % body)
        if self.writer.fifo:
            self.check_order(body)
        self.seen.add(body)
        # Some are kept: they must stay hidden for the visibility timeout, which began after we asked.
        self.leases[body] = asked + LEASE_S - 0.2
        if self.random.random() < self.keep:
            self.ledger.count("sqs kept")
            return
        sqs("DeleteMessage", QueueUrl=self.writer.queue, ReceiptHandle=message["ReceiptHandle"])
        self.deleted.add(body)
        self.leases.pop(body, None)
        self.ledger.count("sqs deleted")

    def check_order(self, body):
        number = int(body.split("-")[1])
        group = number % GROUPS
        first = self.last.get(group, -1)
        if number < first and body not in self.seen:
            self.ledger.violation("sqs: %s came after %d of its group" % (body, first))
        self.last[group] = max(first, number)

    def check(self):
        self.keep = 0
        limit = time.monotonic() + 90
        while time.monotonic() < limit and not self.writer.answered <= self.seen:
            time.sleep(0.1)
        for body in self.writer.answered - self.seen:
            self.ledger.violation("sqs: %s was answered and never received" % body)


# --------------------------------------------------------------------------------------------------------------- run ----

def create_topic(broker):
    from confluent_kafka.admin import AdminClient, NewTopic
    admin = AdminClient({"bootstrap.servers": broker.kafka, "log_level": 0})
    for future in admin.create_topics([NewTopic("k", PARTITIONS, 1), NewTopic("kc", PARTITIONS, 1),
                                       NewTopic("kt", 1, 1, config=KafkaTable.SETTINGS)]).values():
        future.result(20)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--shards", type=int, default=int(os.environ.get("HAWSER_SHARDS") or 1))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the data directory")
    options = parser.parse_args()
    chance = random.Random(options.seed)

    ledger = Ledger()
    broker = Broker(shards=options.shards).start()
    create_topic(broker)
    kafka, group, copier = KafkaWriter(broker, ledger), KafkaGroup(broker, ledger), KafkaCopier(broker, ledger)
    table = KafkaTable(broker, ledger)
    amqp = AmqpWriter(broker, ledger)
    readers = [AmqpReader(broker, ledger, amqp, queue) for queue in ("a", "b")]
    writers = [SqsWriter(broker, ledger, "s"), SqsWriter(broker, ledger, "f.fifo")]
    takers = [SqsReader(broker, ledger, w) for w in writers]
    workers = [kafka, table, group, copier, amqp] + readers + writers + takers
    for worker in workers:
        worker.start()

    passed, slowest = 0, 0.0
    for cycle in range(options.cycles):
        time.sleep(chance.uniform(0.2, 2.0))
        before = len(ledger.violations)
        for reader in readers:
            reader.killed_s = time.monotonic()
        broker.kill9()
        started = time.monotonic()
        try:
            broker.start(timeout_s=30)
        except BrokerFailed as e:
            ledger.violation("the broker does not start after kill %d: %s" % (cycle + 1, e))
            break
        slowest = max(slowest, time.monotonic() - started)
        passed += len(ledger.violations) == before
        print("cycle %d/%d: %s" % (cycle + 1, options.cycles, ledger.counts), flush=True)

    time.sleep(1)
    for worker in [kafka, table, amqp, group, copier] + writers:
        worker.finish(60)
    checks = [("kafka records", kafka.check), ("kafka table", table.check), ("group offsets", group.check), ("transactional copy", copier.check)]
    checks += [(r.name, r.check) for r in readers + takers]
    for name, check in checks:
        before = len(ledger.violations)
        try:
            check()
        except Exception as e:
            ledger.violation("%s: %r" % (name, e))
        passed += len(ledger.violations) == before
    for worker in readers + takers:
        worker.finish()
    with contextlib.suppress(Exception):
        broker.stop()
    broker.close(keep=options.keep or bool(ledger.violations))

    for violation in ledger.violations[:20]:
        print("  ", violation)
    print("kills %d, slowest start %.2f s, %s" % (options.cycles, slowest, ledger.counts))
    if ledger.violations:
        print("data and log: %s" % broker.home)
    print("%d passed, %d failed" % (passed, options.cycles + len(checks) - passed))
    return 1 if ledger.violations else 0


sys.exit(main())
