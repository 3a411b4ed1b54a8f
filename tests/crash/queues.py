"""queues.py - AMQP under faults: kill -9, connections that are cut, slow consumers, rejections; and what must come of it.

    c       classic, one reader: acknowledged
    q       quorum, two readers: acknowledged, given back, or rejected; what is rejected dies into `dead`
    dead    the dead letters of q
    later   behind an x-delayed-message exchange, with many delays
    s       stream: read by offset, from where the reader stopped, and once more as a whole at the end

Publishers have many messages under way, of 20 bytes to 8 KiB, to one queue or by a fanout to c, q and s.  In queue_book.py is what
is checked of each queue:

  lost         a confirmed message is acknowledged by somebody, or if it was rejected, its dead letter is; each confirmed one has
               its offset in s
  duplicated   what was settled for sure does not come again; nothing comes twice in one boot without the mark; nobody is given what
               another one holds; a message has one offset in s.  (A kill may leave two of a dead letter or delayed message.)
  reordered    what comes unmarked comes in the order of sending; to the first reader of a boot of c all does; s has no gap
  dead         what was rejected is in `dead` and says why; what was not is not
  early        a delayed message does not come before its time
  changed      every byte is as it was sent

The faults: SIGKILL of the broker, most often at the moment of a promise, also while it recovers; connections of all clients end by
FIN, by RST, in the middle of a frame, in silence; readers settle late (`slow`) or do not read at all until their sockets are full
(`deaf`).

Prints each violation, and at the end "N passed, N failed".

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import contextlib
import os
import random
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from broker import Broker, BrokerFailed  # noqa: E402
from lean_amqp import TX_COMMIT_OK, Amqp, Answer, Confirm, Deliver, Refused  # noqa: E402
from ledger import Ledger, Worker  # noqa: E402
from queue_book import Book, Holder, StreamBook, make_body  # noqa: E402

UNCONFIRMED = 200               # a publisher's messages under way, at most
DEAF_BYTES = 8192               # the receive buffer of one who may not read
FIRST, SECOND = 1, 2            # AMQP channels: a reader's deliveries, and its fences


class Run:
    """The broker, its boots, and everybody's books."""

    def __init__(self, options, number):
        self.random = random.Random("%d %d" % (options.seed, number))
        self.ledger, self.boot = Ledger(), 1
        self.broker = Broker(shards=options.shards)
        lock = threading.Lock()
        self.books = {name: Book(self.ledger, name, lock, in_order=name != "later", alone=name == "c") for name in ("c", "q", "later")}
        self.books["dead"] = Book(self.ledger, "dead", lock, in_order=False, dies_of=self.books["q"])
        self.books["s"] = StreamBook(self.ledger, "s", lock)
        self.first = {}                 # queue -> the boot that has had a reader
        self.sources = 0
        self.silent = []                # connections that nobody has told anything, and when they end
        self.lock = lock
        self.strike = None              # the next promise of this kind is answered by killing the broker

    def promised(self, kind):
        process = self.broker.process
        if self.strike == kind and process:
            self.strike = None
            process.kill()

    def source(self, name):
        with self.lock:
            self.sources += 1
            return "%s%d" % (name, self.sources)

    def is_first(self, queue, boot):
        with self.lock:
            first = self.first.get(queue) != boot
            self.first[queue] = boot
            return first

    def end_silent(self, now_s):
        for item in [i for i in self.silent if i[0] < now_s]:
            self.silent.remove(item)
            with contextlib.suppress(OSError):
                item[1].reset()

    def missing(self):
        return {name: book.missing() for name, book in self.books.items() if book.missing()}


class Client(Worker):
    def __init__(self, run, name):
        super().__init__(run.broker, run.ledger, name)
        self.run_, self.random = run, random.Random("%s %s" % (name, run.random.random()))

    def round(self):
        boot = self.run_.boot
        deaf = self.random.random() < 0.3
        connection = Amqp(self.broker.amqp, receive_bytes=DEAF_BYTES if deaf else None)
        if self.run_.boot != boot:
            return connection.end()
        try:
            self.work(connection, boot, deaf, time.monotonic() + self.random.uniform(0.5, 6))
            self.before_cut()
            self.cut(connection)
        except OSError:
            raise                       # the broker was killed
        except Exception as e:
            self.ledger.violation("%s: %s" % (self.name, traceback.format_exc() if not isinstance(e, Refused) else e))
        finally:
            self.before_cut()
            connection.end()

    def before_cut(self):
        pass

    def cut(self, connection):
        how = self.random.choice(["fin", "reset", "broken off", "silent", "closed"])
        self.ledger.count(how)
        if how == "silent":
            self.run_.silent.append((time.monotonic() + self.random.uniform(0.5, 5), connection))
            connection.end = lambda: None
        else:
            {"fin": connection.end, "reset": connection.reset, "broken off": connection.break_off, "closed": connection.close}[how]()

    def until(self, end_s):
        return not self.ends.is_set() and time.monotonic() < end_s


class Publisher:
    """A connection that publishes with confirms, on one AMQP channel; what it sends is in the books of the queues that get it."""

    def __init__(self, run, connection, channel, boot, name):
        self.run, self.connection, self.channel, self.boot = run, connection, channel, boot
        self.source, self.n = run.source(name), 0
        self.under_way = {}             # delivery tag -> queues
        connection.open(channel)
        connection.confirm(channel)

    def publish(self, exchange, key, queues, size, delay_ms=0):
        key_of, now_s = (self.source, self.n), time.time()
        self.n += 1
        for queue in queues:
            self.run.books[queue].sent(key_of, self.boot, *([now_s + delay_ms / 1000] if delay_ms else []))
        self.under_way[self.n] = queues
        body = make_body(self.source, key_of[1], size)
        self.connection.publish(self.channel, exchange, key, body, {"x-delay": delay_ms} if delay_ms else None)
        self.run.ledger.count("published")

    def on_confirm(self, c):
        tags = [t for t in self.under_way if t <= c.tag] if c.multiple else [c.tag]
        for tag in tags:
            for queue in self.under_way.pop(tag):
                if c.ok:
                    self.run.books[queue].confirmed((self.source, tag - 1))
        self.run.ledger.count("confirmed" if c.ok else "refused", len(tags))
        self.run.promised("confirm")


class Writer(Client):
    """Bursts of messages to one queue, some of them by `fan` to all."""

    def __init__(self, run, queue, exchange=""):
        super().__init__(run, "writer of " + queue)
        self.queue, self.exchange = queue, exchange

    def work(self, connection, boot, deaf, until_s):
        p = Publisher(self.run_, connection, FIRST, boot, "w")
        while self.until(until_s):
            for _ in range(self.random.choice([1, 5, 30])):
                if len(p.under_way) < UNCONFIRMED:
                    self.publish(p)
            self.ends.wait(self.random.uniform(0, 0.1))
            for event in connection.events(0.1):
                p.on_confirm(event)

    def publish(self, p):
        size = self.random.choice([0, 100, 1000, 8000])
        if self.exchange:
            p.publish(self.exchange, self.queue, [self.queue], size, self.random.choice([20, 200, 1500, 4000]))
        elif self.random.random() < 0.2:
            p.publish("fan", "", ["c", "q", "s"], size)
        else:
            p.publish("", self.queue, [self.queue], size)


class Reader(Client):
    """Consumes one queue and settles, singly or several at once, with a transaction or without; `ways`: ack, reject, back."""

    def __init__(self, run, queue, ways=("ack",), number=""):
        super().__init__(run, "reader%s of %s" % (number, queue))
        self.queue, self.book, self.ways = queue, run.books[queue], ways
        self.fresh, self.fresh_boot = {}, 0
        self.h = None

    def work(self, connection, boot, deaf, until_s):
        if boot != self.fresh_boot:
            self.fresh, self.fresh_boot = {}, boot
        self.c, self.h = connection, Holder(self.name, boot, self.run_.is_first(self.queue, boot), self.fresh)
        self.tx = self.random.random() < 0.3
        self.committing, self.said = None, []           # keys: in the transaction that is being committed; settled and not sure
        self.fence, self.behind = 0, []                 # which of two is under way; the keys before them
        connection.open(FIRST)
        if self.tx:
            connection.transactions(FIRST)
        self.fences = Publisher(self.run_, connection, SECOND, boot, "f")
        connection.consume(FIRST, self.queue, 1000 if deaf else self.random.choice([1, 20, 200]))
        slow = self.random.random() < 0.2
        while self.until(until_s):
            if deaf and self.random.random() < 0.1:
                self.be_deaf()
            for event in connection.events(0.05):
                self.on_event(event)
            if slow and self.h.held and self.random.random() < 0.1:
                self.ledger.count("slow")
                self.ends.wait(self.random.uniform(0.1, 1.5))
            self.settle_some()
            self.make_sure()

    def be_deaf(self):
        self.ends.wait(self.random.uniform(0.2, 3))
        self.ledger.count("deaf" if self.c.waiting_bytes() >= DEAF_BYTES // 2 else "deaf, and nothing came")

    def before_cut(self):
        if self.h:
            self.book.ended(self.h)

    def on_event(self, event):
        if isinstance(event, Deliver):
            key = self.book.delivered(self.h, event, time.time())
            self.look(key, event)
            if key:
                self.h.held[event.tag] = key
            self.ledger.count("delivered")
        elif isinstance(event, Confirm):
            self.fences.on_confirm(event)
            self.on_fence()
        elif isinstance(event, Answer) and event.method == TX_COMMIT_OK:
            self.book.sure(self.h, self.committing)
            self.committing = None
            self.run_.promised("commit-ok")

    def look(self, key, event):
        pass

    # -- settling --

    def settle_some(self):
        if self.committing is not None:
            return
        while self.h.held and self.random.random() < 0.97:
            tags = list(self.h.held)
            how = self.random.choice(self.ways)
            if self.random.random() < 0.1:
                self.settle(tags[:self.random.randint(1, len(tags))], how, multiple=True)
            else:
                self.settle([tags[0] if how == "ack" else self.random.choice(tags)], how, multiple=False)
        if self.tx and self.said:
            self.committing, self.said = self.said, []
            self.c.commit(FIRST)

    def settle(self, tags, how, multiple):
        tag = tags[-1]
        for key in [self.h.held.pop(t) for t in tags]:
            if how == "back":
                self.book.gives_back(self.h, key)
            else:
                self.book.settles(self.h, key, how)
                self.said.append(key)
        if how == "ack":
            self.c.ack(FIRST, tag, multiple)
        elif how == "reject" and not multiple:
            self.c.reject(FIRST, tag)
        else:
            self.c.nack(FIRST, tag, how == "back", multiple)

    # -- fences: see queue_book.py --

    def make_sure(self):
        if not self.tx and self.fence == 0 and len(self.said) > 8:
            self.behind, self.said = self.said, []
            self.raise_fence(1)

    def raise_fence(self, which):
        self.fence = which
        self.fences.publish("", self.queue, [self.queue], 0)

    def on_fence(self):
        self.book.answered(self.h)
        if self.fence == 1:
            self.raise_fence(2)
        else:
            self.book.sure(self.h, self.behind)
            self.fence, self.behind = 0, []


class Mourner(Reader):
    """Of what has died in q."""

    def look(self, key, event):
        if not key or not self.book.is_dead_letter(key):
            return
        death = (event.headers.get("x-death") or [{}])[0]
        said = (death.get("queue"), death.get("reason"), death.get("count"), death.get("exchange"), death.get("routing-keys"))
        if said[:3] != ("q", "rejected", 1) or said[3:] not in (("", ["q"]), ("fan", [""])):
            self.book.wrong("%s:%d says of its death %r", *key, said)


class Follower(Client):
    """Reads a stream on from where it has come to."""

    def __init__(self, run, name="follower"):
        super().__init__(run, name)
        self.book, self.next, self.last = run.books["s"], 0, {}

    def work(self, connection, boot, deaf, until_s):
        connection.open(FIRST)
        connection.consume(FIRST, "s", self.random.choice([1, 20, 200]), {"x-stream-offset": self.next})
        while self.until(until_s):
            if deaf and self.random.random() < 0.1:
                self.ends.wait(self.random.uniform(0.2, 3))
            for event in connection.events(0.05):
                self.book.delivered(event.headers["x-stream-offset"], self.next, self.last, event)
                self.next = event.headers["x-stream-offset"] + 1
                connection.ack(FIRST, event.tag)
                self.ledger.count("read")


# ------------------------------------------------------------------------------------------------------------ a run ----

def declare(broker):
    c = Amqp(broker.amqp)
    c.open(FIRST)
    for queue in ("c", "dead", "later"):
        c.declare(FIRST, queue)
    c.declare(FIRST, "q", {"x-queue-type": "quorum", "x-delivery-limit": -1, "x-dead-letter-exchange": "",
                           "x-dead-letter-routing-key": "dead"})
    c.declare(FIRST, "s", {"x-queue-type": "stream"})
    c.declare_exchange(FIRST, "delay", "x-delayed-message", {"x-delayed-type": "direct"})
    c.declare_exchange(FIRST, "fan", "fanout")
    c.bind(FIRST, "later", "delay", "later")
    for queue in ("c", "q", "s"):
        c.bind(FIRST, queue, "fan", "")
    c.close()


def kill_and_start(run):
    """Sometimes again while it recovers."""
    while True:
        run.broker.kill9()
        run.ledger.count("kills")
        run.boot += 1
        again = run.random.random() < 0.2
        with contextlib.suppress(BrokerFailed) if again else contextlib.nullcontext():
            run.broker.start(timeout_s=run.random.uniform(0, 0.06) if again else 60)
        if not again:
            return


def be_at_fault(run, seconds):
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        kill_s = min(time.monotonic() + run.random.uniform(0.5, 6), end_s)
        while time.monotonic() < kill_s:
            time.sleep(0.1)
            run.end_silent(time.monotonic())
        if run.random.random() < 0.7:
            run.strike = run.random.choice(["confirm", "commit-ok"])
            time.sleep(0.5)
            run.strike = None
        kill_and_start(run)


def come_to_rest(run, limit_s=90):
    """Until nothing is missing; what then is."""
    limit_s += time.monotonic()
    missing = run.missing()
    while missing and time.monotonic() < limit_s:
        time.sleep(0.2)
        run.end_silent(time.monotonic())
        missing = run.missing()         # once: fences go on, and one may be under way at any later moment
    return missing


def one_run(options, number):
    run = Run(options, number)
    ledger = run.ledger
    run.broker.start()
    declare(run.broker)
    writers = [Writer(run, name) for name in ("c", "q", "s")] + [Writer(run, "later", "delay")]
    follower = Follower(run)
    readers = [Reader(run, "c"), Reader(run, "later"), Mourner(run, "dead"), follower]
    readers += [Reader(run, "q", ("ack", "ack", "ack", "reject", "back"), n) for n in (1, 2)]
    for worker in writers + readers:
        worker.start()
    try:
        be_at_fault(run, options.seconds)
        for writer in writers:
            writer.finish(60)
        for name, keys in come_to_rest(run).items():
            ledger.violation("%s: %d confirmed messages are missing: %s" % (
                name, len(keys), "; ".join(run.books[name].tell(key) for key in sorted(keys)[:5])))
        kill_and_start(run)             # nothing that is sure comes again
        time.sleep(2)
        whole = Follower(run, "last reading")
        whole.start()
        end_s = time.monotonic() + 60
        while whole.next < follower.next and time.monotonic() < end_s:
            time.sleep(0.1)
        if whole.next < follower.next:
            ledger.violation("s: read as a whole it ends at %d, and before at %d" % (whole.next, follower.next))
        whole.finish()
    except BrokerFailed as e:
        ledger.violation("the broker does not start after %d kills: %s" % (ledger.counts["kills"], e))
    for worker in writers + readers:
        worker.ends.set()
    for worker in writers + readers:
        worker.finish()
    run.end_silent(float("inf"))
    with contextlib.suppress(BrokerFailed):
        run.broker.stop()
    run.broker.close(keep=options.keep or bool(ledger.violations))
    print("run %d: %s; %d violations%s" % (number, ", ".join("%d %s" % (n, what) for what, n in sorted(ledger.counts.items())),
                                           len(ledger.violations), "; data and log: " + run.broker.home if ledger.violations else ""),
          flush=True)
    return not ledger.violations


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
