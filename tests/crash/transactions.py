"""transactions.py - a copy in transactions while its workers and the broker are killed: nothing lost, nothing twice.

A writer fills the topic `src`.  Some workers, processes of one group, copy it to `dst`: records and their offsets in one
transaction, read_committed.  Some transactions they abort, and now and then one leaves the group and comes back.  Every few
seconds a worker is killed in the middle of what it does, so that the group rebalances and the next one with its
transactional id aborts what it left; and now and then the broker.  At the end every record of `src` must be in `dst`
exactly once, and none of what was aborted.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import time

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from broker import Broker  # noqa: E402

SOURCES, TARGETS = 6, 4
PATIENCE_S = 120
# librdkafka 2.16 can wait for ever in send_offsets_to_transaction(), whatever time it was given, when the broker was killed:
# AddOffsetsToTxn is answered, and it never sends TxnOffsetCommit.  A worker in that state is ended, as an operator would.
STUCK_S = 20
ABORTED = b"aborted"


def consumer(address, **more):
    settings = {"bootstrap.servers": address, "group.id": "copy", "enable.auto.commit": False, "log_level": 0,
                "auto.offset.reset": "earliest", "isolation.level": "read_committed", "session.timeout.ms": 6000}
    settings.update(more)
    return confluent_kafka.Consumer(settings)


def work(address, name):
    """What a worker process does until it is killed, or until librdkafka says that it cannot go on."""
    producer = confluent_kafka.Producer({"bootstrap.servers": address, "transactional.id": name, "log_level": 0,
                                         "transaction.timeout.ms": 8000, "message.timeout.ms": 8000})
    chance = random.Random()
    signal.alarm(30 + STUCK_S)
    producer.init_transactions(30)
    while True:
        reader = consumer(address)
        reader.subscribe(["src"])
        for _ in range(chance.randint(20, 200)):
            signal.alarm(STUCK_S)
            copy(producer, reader, abort=chance.random() < 0.1)
        reader.close()


def copy(producer, reader, abort):
    """One transaction, if there is something to copy."""
    messages = [m for m in reader.consume(50, timeout=0.3) if not m.error()]
    if not messages:
        return
    producer.begin_transaction()
    for m in messages:
        producer.produce("dst", ABORTED if abort else b"%d:%d" % (m.partition(), m.offset()))
    producer.send_offsets_to_transaction(reader.position(reader.assignment()), reader.consumer_group_metadata(), 10)
    if not abort:
        producer.commit_transaction(10)
        return
    producer.flush(10)                  # what is only here would not be there to be seen
    producer.abort_transaction(10)
    for m in reversed(messages):        # the first of each partition has the last word
        reader.seek(confluent_kafka.TopicPartition("src", m.partition(), m.offset()))


class Workers:
    def __init__(self, address, n):
        self.address, self.processes, self.stuck = address, {}, 0
        for i in range(n):
            self.start(i)

    def start(self, i):
        self.processes[i] = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--work", self.address, "copy-%d" % i],
                                             stderr=subprocess.DEVNULL)

    def look_after(self):
        for i, process in list(self.processes.items()):
            if process.poll() is not None:
                self.stuck += process.returncode == -signal.SIGALRM
                self.start(i)

    def kill(self, i):
        self.processes[i].kill()
        self.processes[i].wait()
        self.start(i)

    def end(self):
        for process in self.processes.values():
            process.kill()


def count(address):
    """How often each value is in `dst`."""
    reader, found = consumer(address), collections.Counter()
    for partition in range(TARGETS):
        where = confluent_kafka.TopicPartition("dst", partition, 0)
        high = reader.get_watermark_offsets(where, timeout=20)[1]
        reader.assign([where])
        limit = time.monotonic() + 30
        while high and reader.position([where])[0].offset < high and time.monotonic() < limit:
            for message in reader.consume(1000, timeout=0.3):
                if not message.error():
                    found[message.value()] += 1
    reader.close()
    return found


def disturb(broker, workers, writer, seconds, chance):
    """Write, kill, and kill; returns how much was written, and how often what was killed."""
    sent, kills, broker_kills = 0, 0, 0
    now = time.monotonic()
    end, next_kill, next_broker_kill = now + seconds, now + 8, now + 15
    while (now := time.monotonic()) < end:
        for _ in range(20):
            writer.produce("src", b"%d" % sent)
            sent += 1
        writer.poll(0.05)
        time.sleep(0.05)
        workers.look_after()
        if now > next_kill:
            workers.kill(chance.choice(list(workers.processes)))
            kills += 1
            next_kill = now + chance.uniform(3, 7)
        if now > next_broker_kill:
            broker.kill9()
            broker.start(timeout_s=30)
            broker_kills += 1
            next_broker_kill = now + chance.uniform(12, 20)
    return sent, kills, broker_kills


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--shards", type=int, default=int(os.environ.get("HAWSER_SHARDS") or 2))
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work)

    broker = Broker(shards=options.shards).start()
    admin = AdminClient({"bootstrap.servers": broker.kafka, "log_level": 0})
    for future in admin.create_topics([NewTopic("src", SOURCES, 1), NewTopic("dst", TARGETS, 1)]).values():
        future.result(20)
    writer = confluent_kafka.Producer({"bootstrap.servers": broker.kafka, "enable.idempotence": True, "log_level": 0,
                                       "message.timeout.ms": 120000})
    workers = Workers(broker.kafka, options.workers)
    sent, kills, broker_kills = disturb(broker, workers, writer, options.seconds, random.Random(options.seed))
    left = writer.flush(60)

    limit = time.monotonic() + PATIENCE_S
    found = count(broker.kafka)
    while len(found.keys() - {ABORTED}) < sent and time.monotonic() < limit:
        workers.look_after()
        time.sleep(2)
        found = count(broker.kafka)
    workers.end()
    broker.stop()
    broker.close()

    aborted = found.pop(ABORTED, 0)
    twice = sum(n > 1 for n in found.values())
    print("%d records, %d workers killed and %d stuck, the broker killed %d times: %d lost, %d twice, %d of what was aborted"
          % (sent, kills, workers.stuck, broker_kills, sent - left - len(found), twice, aborted))
    good = left == 0 and len(found) == sent and twice == 0 and aborted == 0
    print("%d passed, %d failed" % (good, not good))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
