"""queues.py - AMQP under faults: kill -9, connections that are cut, slow consumers, rejections; and what must come of it.

    c       classic: acknowledged
    q       quorum: acknowledged, given back, or rejected; what is rejected dies into `dead`
    s       stream: read by offset, from where the reader stopped
    later   behind an x-delayed-message exchange: acknowledged

  lost         every confirmed message is consumed: from c and later; from q or dead; each offset of s has one
  duplicated   what was acknowledged or rejected more than SETTLED_S before a message was sent that is confirmed before a fault does not come again; an offset of s
               is read once.  (A dead letter and a delayed message may: a fault may leave copy and original.)
  reordered    in c, q and s: what comes to a connection for the first time comes in the order of sending; a stream's offsets have no gap
  dead         what was rejected is in `dead`, with the queue that it died in; what was acknowledged is not
  early        a delayed message does not come before its time

Prints each violation, and at the end "N passed, N failed": one for each kind of queue and run.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import contextlib
import os
import random
import sys
import time

import pika

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from broker import Broker, BrokerFailed  # noqa: E402
from ledger import Ledger, Worker  # noqa: E402

SETTLED_S = 0.5
DELAY_S = 1.5



def connect(broker):
    host, port = broker.amqp.rsplit(":", 1)
    return pika.BlockingConnection(pika.ConnectionParameters(host, int(port), socket_timeout=5, blocked_connection_timeout=5))


def cut(connection):
    """As a network that is gone: neither side says goodbye."""
    with contextlib.suppress(Exception):
        connection._impl._transport._sock.close()


class Client(Worker):
    def round(self):
        connection = connect(self.broker)
        try:
            self.work(connection, connection.channel(), time.monotonic() + self.random.uniform(1, 8))
            cut(connection)
        finally:
            with contextlib.suppress(Exception):
                connection.close()


class Writer(Client):
    def __init__(self, broker, ledger, queue, exchange="", headers=None):
        super().__init__(broker, ledger, "writer of " + queue)
        self.queue, self.exchange = queue, exchange
        self.properties = pika.BasicProperties(delivery_mode=2, headers=headers)
        self.sent, self.confirmed, self.next = {}, set(), 0
        self.sure_s = 0.0               # when the last message was sent that was confirmed

    def work(self, connection, channel, until):
        channel.confirm_delivery()
        while not self.ends.is_set() and time.monotonic() < until:
            n, self.next = self.next, self.next + 1
            self.sent[n], sent_s = time.time(), time.monotonic()
            channel.basic_publish(self.exchange, self.queue, b"%d" % n, self.properties)
            self.confirmed.add(n)
            self.sure_s = sent_s
            self.ledger.count("confirmed")


class Reader(Client):
    """Consumes, and settles as `decide` says: ack, back or reject."""

    def __init__(self, broker, ledger, writer, queue, decide):
        super().__init__(broker, ledger, "reader of " + queue)
        self.writer, self.queue, self.decide = writer, queue, decide
        self.acked, self.rejected, self.deaths = {}, {}, {}     # number -> when
        self.fault_s = 0.0

    def work(self, connection, channel, until):
        self.connection, self.newest, self.since = connection, -1, time.monotonic()
        channel.basic_qos(prefetch_count=self.random.choice([1, 20, 200]))
        channel.basic_consume(self.queue, self.on_message)
        while not self.ends.is_set() and time.monotonic() < until:
            connection.process_data_events(time_limit=0.1)
        self.fault()

    def fault(self):
        """What was settled well before a message that has been confirmed meanwhile is on disk as well."""
        self.fault_s = min(time.monotonic(), self.writer.sure_s)

    def wrong(self, text, *values):
        self.ledger.violation("%s: %s" % (self.queue, text % values))

    def on_message(self, channel, method, properties, body):
        n = int(body)
        if n not in self.writer.sent:
            self.wrong("%d was never sent", n)
        self.judge_order(n, method.redelivered)
        self.look(n, properties)
        how = self.decide(self.random)
        if self.random.random() < 0.002:
            time.sleep(self.random.uniform(0, 0.5))             # a slow consumer
        if how == "ack":
            self.acked[n] = time.monotonic()
            channel.basic_ack(method.delivery_tag)
        elif how == "reject":
            self.rejected[n] = time.monotonic()
            channel.basic_reject(method.delivery_tag, requeue=False)
        else:
            channel.basic_nack(method.delivery_tag, requeue=True)
        self.ledger.count(how)

    def judge_order(self, n, redelivered):
        if not redelivered and n <= self.newest:
            self.wrong("%d came for the first time after %d", n, self.newest)
        if not redelivered:
            self.newest = n
        settled = self.acked.get(n) or self.rejected.get(n)
        if settled and settled < min(self.fault_s, self.since) - SETTLED_S:
            self.wrong("%d came again, settled %.2f s before what was confirmed before the fault", n, self.fault_s - settled)

    def look(self, n, properties):
        pass

    def done(self):
        return set(self.acked) | set(self.rejected)


class Mourner(Reader):
    """Of what has died in q: in the order of dying, and a fault between copy and settlement leaves both."""

    def judge_order(self, n, redelivered):
        pass

    def look(self, n, properties):
        death = (properties.headers or {}).get("x-death", [{}])[0]
        if (death.get("queue"), death.get("reason")) != ("q", "rejected"):
            self.wrong("%d does not say that it was rejected in q: %r", n, death)


class Waiter(Reader):
    def look(self, n, properties):
        early = self.writer.sent[n] + DELAY_S - time.time()
        if early > 0.05:
            self.wrong("%d came %.2f s too early", n, early)

    def judge_order(self, n, redelivered):
        self.newest = -1                # in the order of their times, about
        super().judge_order(n, redelivered)


class Follower(Client):
    """Reads a stream on from where it has come to."""

    def __init__(self, broker, ledger, writer, queue):
        super().__init__(broker, ledger, "follower of " + queue)
        self.writer, self.queue, self.at, self.next = writer, queue, [], 0

    def work(self, connection, channel, until):
        channel.basic_qos(prefetch_count=self.random.choice([1, 20, 200]))
        channel.basic_consume(self.queue, self.on_message, arguments={"x-stream-offset": self.next})
        while not self.ends.is_set() and time.monotonic() < until:
            connection.process_data_events(time_limit=0.1)

    def on_message(self, channel, method, properties, body):
        offset, n = properties.headers["x-stream-offset"], int(body)
        if offset != self.next:
            self.ledger.violation("s: offset %d came, not %d" % (offset, self.next))
        if self.at and n <= self.at[-1]:
            self.ledger.violation("s: %d at %d, behind %d" % (n, offset, self.at[-1]))
        self.next = offset + 1
        self.at.append(n)
        channel.basic_ack(method.delivery_tag)
        self.ledger.count("read")

    def fault(self):
        pass

    def done(self):
        return set(self.at)


def declare(broker):
    connection = connect(broker)
    channel = connection.channel()
    channel.queue_declare("c", durable=True)
    channel.queue_declare("dead", durable=True)
    channel.queue_declare("q", durable=True, arguments={
        "x-queue-type": "quorum", "x-delivery-limit": -1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    channel.queue_declare("s", durable=True, arguments={"x-queue-type": "stream"})
    channel.queue_declare("later", durable=True)
    channel.exchange_declare("delay", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
    channel.queue_bind("later", "delay", "later")
    connection.close()


def one_run(options, number):
    chance = random.Random("%d %d" % (options.seed, number))
    ledger = Ledger()
    broker = Broker(shards=options.shards).start()
    declare(broker)
    writers = {name: Writer(broker, ledger, name) for name in ("c", "q", "s")}
    writers["later"] = Writer(broker, ledger, "later", "delay", {"x-delay": int(DELAY_S * 1000)})
    always = lambda _: "ack"                                    # noqa: E731
    readers = {
        "c": Reader(broker, ledger, writers["c"], "c", always),
        "q": Reader(broker, ledger, writers["q"], "q", lambda r: r.choice(["ack", "ack", "ack", "reject", "back"])),
        "dead": Mourner(broker, ledger, writers["q"], "dead", always),
        "s": Follower(broker, ledger, writers["s"], "s"),
        "later": Waiter(broker, ledger, writers["later"], "later", always),
    }
    workers = list(writers.values()) + list(readers.values())
    for worker in workers:
        worker.start()

    end, kills = time.monotonic() + options.seconds, 0
    while time.monotonic() < end:
        time.sleep(min(chance.uniform(2, 10), max(0, end - time.monotonic())))
        for reader in readers.values():
            reader.fault()
        broker.kill9()
        kills += 1
        try:
            broker.start(timeout_s=30)
        except BrokerFailed as e:
            ledger.violation("the broker does not start after kill %d: %s" % (kills, e))
            break

    for writer in writers.values():
        writer.finish(60)
    for name in ("c", "s", "later"):
        lost = drained(writers[name].confirmed, readers[name].done)
        if lost:
            ledger.violation("%s: %d confirmed messages never came: %s" % (name, len(lost), sorted(lost)[:5]))
    q, dead = readers["q"], readers["dead"]
    lost = drained(writers["q"].confirmed, lambda: set(q.acked) | set(dead.acked))
    if lost:
        ledger.violation("q: %d confirmed messages were neither acknowledged nor came to dead: %s" % (len(lost), sorted(lost)[:5]))
    for worker in readers.values():
        worker.finish(20)
    for n in set(dead.acked) - set(q.rejected):
        ledger.violation("dead: %d was never rejected" % n)
    with contextlib.suppress(Exception):
        broker.stop()
    broker.close(keep=options.keep or bool(ledger.violations))
    print("run %d: %d kills, %s, %d violations%s" % (number, kills, ledger.counts, len(ledger.violations),
                                                     ", data and log: %s" % broker.home if ledger.violations else ""), flush=True)
    return not ledger.violations


def drained(confirmed, done, limit_s=60):
    """What is still missing when nothing more comes."""
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit and confirmed - done():
        time.sleep(0.1)
    return confirmed - done()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--shards", type=int, default=int(os.environ.get("HAWSER_SHARDS") or 1))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the data directories")
    options = parser.parse_args()
    passed = sum(one_run(options, number + 1) for number in range(options.runs))
    print("%d passed, %d failed" % (passed, options.runs - passed))
    return 0 if passed == options.runs else 1


sys.exit(main())
