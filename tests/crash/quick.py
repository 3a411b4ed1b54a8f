"""quick.py - kill -9 about once a second: lean clients, and a check of every promise after every start.

What is promised, and checked as soon as the broker is up again:

  bulk, small   Kafka acks=all, batches of 300 KiB and of some hundred bytes: at the acknowledged offset with the same bytes,
                now and for as long as nobody deletes them (DeleteRecords follows behind, so that the disk does not fill)
  relaxed       the same in a topic with hawser.durability=os: what the operating system has survives the process
  retained      the same in a topic with retention.bytes: what lies at or above the log's start is whole
  compacted     cleanup.policy=compact: of each key the last acknowledged value, or a later one that was sent
  amqp          every confirmed message is delivered; one whose ack was answered (tx.commit-ok) never again
  sqs           every answered send is received, not before its delay is over; one whose delete was answered never again; a
                leased one not before its visibility timeout ends
  fifo          a send that was not answered is repeated with its deduplication id, some that were are too: in order, deleted once
  all           nothing comes that was not sent

Everything that was promised is looked at again at the end.  Prints violations, and "N passed, N failed".

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import contextlib
import http.client
import os
import random
import sys
import time

from pika import spec

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from amqp_raw import Raw  # noqa: E402
from broker import Broker, BrokerFailed  # noqa: E402
from ledger import Ledger, Worker  # noqa: E402
from lean import Kafka, Refused, Sqs, make_batch  # noqa: E402

LEASE_S, DELAY_S = 3, 1
GROUPS = 8


class LeanWorker(Worker):
    # AssertionError: Raw's, when the connection ends within an exchange.
    expected = (OSError, EOFError, AssertionError, Refused, http.client.HTTPException)
    again_s = 0.02

    def __init__(self, broker, ledger, name, pause_s):
        super().__init__(broker, ledger, name)
        self.pause_s = pause_s

    def rest(self):
        """Between two steps: the broker and its disk are to be under load, not the machine."""
        time.sleep(self.random.random() * 2 * self.pause_s)


# ------------------------------------------------------------------------------------------------------------- Kafka ----

class KafkaWriter(LeanWorker):
    """Batches with some in flight.  acked: what was promised, by partition and offset."""

    def __init__(self, broker, ledger, topic, size, pause_s, partitions=2, inflight=3, configs=()):
        super().__init__(broker, ledger, topic, pause_s)
        self.topic, self.size, self.partitions, self.inflight = topic, size, partitions, inflight
        self.configs = configs
        self.next = 0
        self.acked = {}         # (partition, offset) -> number
        self.new = {}           # the same, not looked at since the last kill

    def create(self):
        with contextlib.closing(Kafka(self.broker.kafka)) as k:
            k.create(self.topic, self.partitions, self.configs)

    def value(self, number):
        """Any part of it says which one it is."""
        return (b"%s-%d." % (self.topic.encode(), number) * (self.size // 8 + 1))[:self.size]

    def records(self):
        """As (key, value) with their numbers."""
        count = 3 if self.size > 10000 else self.random.randint(1, 5)
        numbers = range(self.next, self.next + count)
        self.next += count
        return numbers, [(None, self.value(n)) for n in numbers]

    def round(self):
        with contextlib.closing(Kafka(self.broker.kafka)) as k:
            waiting = []
            while not self.ends.is_set():
                partition = self.random.randrange(self.partitions)
                numbers, records = self.records()
                k.send_produce(self.topic, partition, make_batch(records, int(time.time() * 1000)))
                waiting.append((partition, numbers))
                if len(waiting) == self.inflight:
                    partition, numbers = waiting.pop(0)
                    self.promised(partition, k.receive_produced(self.topic), numbers)
                self.rest()

    def promised(self, partition, offset, numbers):
        for i, number in enumerate(numbers):
            self.new[partition, offset + i] = number
        self.ledger.count(self.topic + " acknowledged", len(numbers))

    def check(self):
        new, self.new = self.new, {}
        self.look(new)
        self.acked.update(new)

    def look(self, promised):
        with contextlib.closing(Kafka(self.broker.kafka)) as k:
            for partition in range(self.partitions):
                offsets = sorted(o for p, o in promised if p == partition)
                if offsets:
                    self.look_at(k, partition, offsets, promised)

    def look_at(self, k, partition, offsets, promised):
        missing = dict.fromkeys(offsets)
        start = k.offset(self.topic, partition, -2)
        at = max(offsets[0], start)
        while at <= offsets[-1]:
            high, start, records = k.fetch(self.topic, partition, at)
            if not records:
                break
            for offset, _, value in records:
                number = promised.get((partition, offset))
                if number is not None and value != self.value(number):
                    self.ledger.violation("%s: %d/%d has %r, acknowledged as number %d" % (self.topic, partition, offset,
                                                                                         value[:40], number))
                missing.pop(offset, None)
            at = records[-1][0] + 1
        lost = [o for o in missing if o >= start]
        if lost:
            self.ledger.violation("%s: %d acknowledged are not in partition %d [%d, %d): %s" % (self.topic, len(lost), partition,
                                                                                                start, at, lost[:5]))

    def check_all(self):
        self.check()
        self.look(self.acked)

    def forget(self):
        """DeleteRecords of the older half of what has been looked at."""
        with contextlib.closing(Kafka(self.broker.kafka)) as k:
            for partition in range(self.partitions):
                offsets = sorted(o for p, o in self.acked if p == partition)
                if len(offsets) > 1:
                    k.delete_records(self.topic, partition, offsets[len(offsets) // 2])
                    for offset in offsets[:len(offsets) // 2]:
                        del self.acked[partition, offset]


class Compacted(KafkaWriter):
    """Few keys, always new values."""
    KEYS = 40

    def __init__(self, broker, ledger):
        super().__init__(broker, ledger, "compacted", 200, 0.01, partitions=1, configs=(
            ("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01"), ("segment.bytes", "1048576")))
        self.last = {}          # key -> the number that was promised last

    def records(self):
        numbers, records = super().records()
        return numbers, [(b"key-%d" % (n % self.KEYS), value) for n, (_, value) in zip(numbers, records)]

    def promised(self, partition, offset, numbers):
        for number in numbers:
            self.last[number % self.KEYS] = max(number, self.last.get(number % self.KEYS, -1))
        self.ledger.count("compacted acknowledged", len(numbers))

    def check(self):
        promised, found, at = dict(self.last), {}, 0
        with contextlib.closing(Kafka(self.broker.kafka)) as k:
            at = k.offset(self.topic, 0, -2)
            while True:
                _, _, records = k.fetch(self.topic, 0, at)
                if not records:
                    break
                for offset, key, value in records:
                    number = int(value.split(b".")[0].split(b"-")[1])
                    if offset < at or number >= self.next or value != self.value(number) or key != b"key-%d" % (number % self.KEYS):
                        self.ledger.violation("compacted: %d has %r = %r" % (offset, key, value[:40]))
                    found[number % self.KEYS] = number
                    at = offset + 1
        for key, number in promised.items():
            # With several in flight a later number may have come first, and then a compaction kept the other one.
            if found.get(key, -1) < number:
                self.ledger.violation("compacted: key %d was acknowledged with %d, found %s" % (key, number, found.get(key)))

    def check_all(self):
        self.check()

    def forget(self):
        pass


# -------------------------------------------------------------------------------------------------------------- AMQP ----

class AmqpWriter(LeanWorker):
    def __init__(self, broker, ledger):
        super().__init__(broker, ledger, "amqp writer", 0.004)
        self.next = 0
        self.confirmed = set()

    def round(self):
        raw = Raw(self.broker.amqp)
        with contextlib.closing(raw.socket):
            raw.open()
            raw.channel(1)
            raw.method(1, spec.Queue.Declare(queue="q", durable=True))
            raw.expect(spec.Queue.DeclareOk)
            raw.method(1, spec.Confirm.Select())
            raw.expect(spec.Confirm.SelectOk)
            tags = 0
            while not self.ends.is_set():
                first, count = self.next, self.random.randint(1, 20)
                self.next += count
                for n in range(first, first + count):
                    raw.content(1, spec.Basic.Publish(exchange="", routing_key="q"), spec.BasicProperties(delivery_mode=2),
                                b"m-%d" % n)
                confirmed = 0
                while confirmed < count:
                    ack = raw.expect(spec.Basic.Ack)
                    confirmed = ack.delivery_tag - tags if ack.multiple else confirmed + 1
                tags += count
                self.confirmed.update(range(first, first + count))
                self.ledger.count("amqp confirmed", count)
                self.rest()


class AmqpReader(LeanWorker):
    """Acknowledges in transactions, because tx.commit-ok is the one answer that an ack can have."""

    def __init__(self, broker, ledger, writer):
        super().__init__(broker, ledger, "amqp reader", 0)
        self.writer = writer
        self.seen, self.settled = set(), set()

    def round(self):
        raw = Raw(self.broker.amqp)
        with contextlib.closing(raw.socket):
            raw.open()
            raw.channel(1)
            raw.method(1, spec.Tx.Select())
            raw.expect(spec.Tx.SelectOk)
            raw.method(1, spec.Basic.Qos(prefetch_count=100))
            raw.expect(spec.Basic.QosOk)
            raw.method(1, spec.Queue.Declare(queue="q", durable=True))
            raw.expect(spec.Queue.DeclareOk)
            raw.method(1, spec.Basic.Consume(queue="q"))
            raw.expect(spec.Basic.ConsumeOk)
            self.consume(raw)

    def consume(self, raw):
        coming, tag, got, committing = 0, 0, [], []
        while not self.ends.is_set():
            frame = raw.read()
            if frame is None:
                raise EOFError
            method = getattr(frame, "method", None)
            if isinstance(method, spec.Basic.Deliver):
                coming = method.delivery_tag
            elif isinstance(method, spec.Tx.CommitOk):
                self.settled.update(committing)
                self.ledger.count("amqp settled", len(committing))
                committing = []
            elif hasattr(frame, "fragment"):
                got.append(self.take(frame.fragment))
                tag = coming
            if got and not committing:
                raw.method(1, spec.Basic.Ack(tag, multiple=True))
                raw.method(1, spec.Tx.Commit())
                committing, got = got, []

    def take(self, body):
        number = int(body[2:])
        if number >= self.writer.next:
            self.ledger.violation("amqp: %r was never sent" % body)
        if number in self.settled:
            self.ledger.violation("amqp: %d came again, though its ack was committed" % number)
        self.seen.add(number)
        return number

    def check_all(self):
        wait(lambda: self.writer.confirmed <= self.seen, 60)
        lost = self.writer.confirmed - self.seen
        if lost:
            self.ledger.violation("amqp: %d confirmed never came: %s" % (len(lost), sorted(lost)[:5]))


# --------------------------------------------------------------------------------------------------------------- SQS ----

class SqsWriter(LeanWorker):
    def __init__(self, broker, ledger, queue):
        super().__init__(broker, ledger, "sqs writer " + queue, 0.01)
        self.queue, self.fifo = queue, queue.endswith(".fifo")
        self.next = 0
        self.unsure = None              # FIFO: a number whose send was not answered
        self.answered = set()
        self.not_before = {}            # number -> when its delay is over at the earliest

    def round(self):
        sqs = Sqs(self.broker.sqs)
        with contextlib.closing(sqs):
            attributes = {"VisibilityTimeout": str(LEASE_S)}
            if self.fifo:
                attributes["FifoQueue"] = "true"
            sqs("CreateQueue", QueueName=self.queue, Attributes=attributes)
            while not self.ends.is_set():
                if self.fifo:
                    self.send_fifo(sqs)
                else:
                    self.send(sqs)
                self.rest()

    def send(self, sqs):
        number, self.next = self.next, self.next + 1
        delay = DELAY_S if number % 4 == 0 else 0
        self.not_before[number] = time.monotonic() + delay - 0.05       # the clock of a broker ticks once a turn
        sqs("SendMessage", QueueUrl=self.queue, MessageBody="s-%d" % number, DelaySeconds=delay)
        self.promised(number)

    def send_fifo(self, sqs):
        number = self.next if self.unsure is None else self.unsure
        if self.unsure is None and number and self.random.random() < 0.1:
            number = max(0, number - self.random.randint(1, 20))        # again, though it was answered
        self.next = max(self.next, number + 1)
        self.unsure = number
        sqs("SendMessage", QueueUrl=self.queue, MessageBody="f-%d" % number, MessageGroupId="g%d" % (number % GROUPS),
            MessageDeduplicationId="d-%d" % number)
        self.unsure = None
        self.promised(number)

    def promised(self, number):
        self.answered.add(number)
        self.ledger.count(self.queue + " sent")


class SqsReader(LeanWorker):
    def __init__(self, broker, ledger, writer):
        super().__init__(broker, ledger, "sqs reader " + writer.queue, 0)
        self.writer = writer
        self.seen, self.deleted, self.leases, self.last = set(), set(), {}, {}
        self.keep = 0.003 if writer.fifo else 0.05      # a kept message of a FIFO queue blocks its whole group

    def round(self):
        sqs = Sqs(self.broker.sqs)
        with contextlib.closing(sqs):
            while not self.ends.is_set():
                asked = time.monotonic()
                got = sqs("ReceiveMessage", QueueUrl=self.writer.queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
                messages = [(int(m["Body"][2:]), m["ReceiptHandle"]) for m in got.get("Messages", [])]
                for number, _ in messages:
                    self.take(number, asked)
                kept = {n for n, _ in messages if self.random.random() < self.keep}
                for number, handle in messages:
                    if number not in kept:
                        sqs("DeleteMessage", QueueUrl=self.writer.queue, ReceiptHandle=handle)
                        self.deleted.add(number)
                        self.leases.pop(number, None)
                        self.ledger.count(self.writer.queue + " deleted")

    def take(self, number, asked):
        name, now = "%s: %d" % (self.writer.queue, number), time.monotonic()
        if number >= self.writer.next:
            self.ledger.violation(name + " was never sent")
        if number in self.deleted:
            self.ledger.violation(name + " came again after it was deleted")
        if now < self.writer.not_before.get(number, 0):
            self.ledger.violation(name + " came %.2f s before its delay was over" % (self.writer.not_before[number] - now))
        if now < self.leases.get(number, 0):
            self.ledger.violation(name + " was handed out while it was leased")
        first = self.last.get(number % GROUPS, -1)
        if self.writer.fifo and number < first and number not in self.seen:
            self.ledger.violation(name + " came after %d of its group" % first)
        self.last[number % GROUPS] = max(first, number)
        self.seen.add(number)
        self.leases[number] = asked + LEASE_S - 0.2

    def check_all(self):
        wait(lambda: self.writer.answered <= self.seen, 60)
        lost = self.writer.answered - self.seen
        if lost:
            self.ledger.violation("%s: %d answered never came: %s" % (self.writer.queue, len(lost), sorted(lost)[:5]))


# --------------------------------------------------------------------------------------------------------------- run ----

def wait(true, timeout_s):
    limit = time.monotonic() + timeout_s
    while not true() and time.monotonic() < limit:
        time.sleep(0.1)


def attempt(ledger, name, what):
    """False, and a violation, if it cannot be looked at or something is wrong."""
    before = len(ledger.violations)
    try:
        what()
    except Exception as e:
        ledger.violation("%s: %r" % (name, e))
    return len(ledger.violations) == before


def cycle(broker, ledger, writers, chance, number):
    """One life and one death.  The seconds that the next start took, or None if there is none."""
    time.sleep(chance.uniform(0.05, 0.6))
    broker.kill9()
    began = time.monotonic()
    try:
        broker.start(timeout_s=30)
    except BrokerFailed as e:
        ledger.violation("the broker does not start after kill %d: %s" % (number, e))
        return None
    took = time.monotonic() - began
    for w in writers:
        if w.topic != "compacted" or number % 5 == 0:
            attempt(ledger, w.topic, w.check)
        if number % 25 == 0:
            attempt(ledger, w.topic, w.forget)
    return took


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--shards", type=int, default=int(os.environ.get("HAWSER_SHARDS") or 1))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the data directory")
    options = parser.parse_args()
    chance = random.Random(options.seed)

    # Retention looks often enough to be at work in lives of a second.
    settings = ["--set", "log.retention.check.interval.ms=100"]
    ledger, broker = Ledger(), Broker(shards=options.shards, options=settings).start()
    writers = [KafkaWriter(broker, ledger, "bulk", 100000, 0.03), KafkaWriter(broker, ledger, "small", 100, 0.004),
               KafkaWriter(broker, ledger, "retained", 5000, 0.01,
                           configs=(("retention.bytes", "3000000"), ("segment.bytes", "1048576"))),
               KafkaWriter(broker, ledger, "relaxed", 2000, 0.01, configs=(("hawser.durability", "os"),)),
               Compacted(broker, ledger)]
    for w in writers[:]:
        try:
            w.create()
        except Refused as e:
            print("%s topics are not served, so not tested: %s" % (w.topic, e))
            writers.remove(w)
    amqp, sqs, fifo = AmqpWriter(broker, ledger), SqsWriter(broker, ledger, "s"), SqsWriter(broker, ledger, "f.fifo")
    readers = [AmqpReader(broker, ledger, amqp), SqsReader(broker, ledger, sqs), SqsReader(broker, ledger, fifo)]
    senders = writers + [amqp, sqs, fifo]
    for worker in senders + readers:
        worker.start()

    began, passed, starts = time.monotonic(), 0, []
    for number in range(1, options.cycles + 1):
        before = len(ledger.violations)
        took = cycle(broker, ledger, writers, chance, number)
        if took is None:
            break
        starts.append(took)
        passed += len(ledger.violations) == before
        if number % 20 == 0:
            print("cycle %d/%d, %.2f s each, the last starts %.2f s, at most %.2f: %s" % (
                number, options.cycles, (time.monotonic() - began) / number, sum(starts[-20:]) / 20, max(starts),
                ledger.counts), flush=True)
    seconds = (time.monotonic() - began) / max(1, len(starts))

    time.sleep(1)
    for worker in senders:
        worker.ends.set()
    for worker in senders:
        worker.join(20)
    checks = [(w.name, w.check_all) for w in writers + readers]
    passed += sum(attempt(ledger, name, what) for name, what in checks)
    # Who has not got anything done has shown nothing.
    idle = [w.topic for w in writers if not ledger.counts.get(w.topic + " acknowledged")]
    idle += [n for n in ("amqp confirmed", "amqp settled", "s sent", "s deleted", "f.fifo sent", "f.fifo deleted")
             if not ledger.counts.get(n)]
    passed += attempt(ledger, "nothing was done of", lambda: idle and ledger.violation("idle: %s" % idle))
    for worker in readers:
        worker.ends.set()
    for worker in readers:
        worker.join(5)
    with contextlib.suppress(Exception):
        broker.stop()
    broker.close(keep=options.keep or bool(ledger.violations))

    for violation in ledger.violations[:20]:
        print("  ", violation)
    print("kills %d, %.2f s each, starts %.2f s, at most %.2f; %s" % (
        len(starts), seconds, sum(starts) / max(1, len(starts)), max(starts, default=0), ledger.counts))
    if ledger.violations:
        print("data and log: %s" % broker.home)
    print("%d passed, %d failed" % (passed, options.cycles + len(checks) + 1 - passed))
    return 1 if ledger.violations else 0


if __name__ == "__main__":
    sys.exit(main())
