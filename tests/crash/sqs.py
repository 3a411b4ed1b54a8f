"""sqs.py - SQS under faults: kill -9, connections that are cut, slow consumers; and what must come of it.

    plain           standard: delays, changes of visibility, deletes of every kind
    poison          standard: every seventh message dies into poison-dead after three receives
    order.fifo      eight groups, batches, deduplication ids that are sent again
    content.fifo    the body is the deduplication id, or one is given; a queue with a delay
    high.fifo       deduplication within each group: the ids are the same in all of them
    mortal.fifo     each twenty-third message dies into mortal-dead.fifo after two receives, and its group waits for that

  lost         every message whose send was answered comes, from its queue or where it died, until somebody deletes it; at the end every
               queue says that it is empty
  twice        a fifo message that is sent again within five minutes is accepted once, and answered as the first time, kills or not
  order        a message of a group is given out when all before it are gone, or in front of it in the same receive
  visibility   a message that was received, or changed since, is given to nobody before its time; neither is one that is delayed
  deleted      what was deleted comes no more
  dead         a message dies after so many receives, not fewer and not more, not while it is leased, and once unless the broker was killed
  counts       ApproximateReceiveCount grows with each receive, and by no more than there were receives

Which of it is certain from outside is in sqs_book.py.  Connections that were cut leave the broker with half a request, or with an
answer for nobody.  Prints each violation, and at the end "N passed, N failed": one for each run.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import collections
import contextlib
import json
import multiprocessing
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from broker import Broker, BrokerFailed  # noqa: E402
from lean import Refused, Sqs  # noqa: E402
from ledger import Ledger, Worker  # noqa: E402
from sqs_book import Book, now  # noqa: E402

GROUPS = 8
AGAIN = 400             # so many of the newest messages are sent again
EVERYTHING = ["All"]


class Line(Sqs):
    """A connection that is cut now and then: as a network that is gone, nobody says goodbye."""

    def __init__(self, worker):
        super().__init__(worker.broker.sqs)
        self.worker = worker

    def __call__(self, action, **parameters):
        chance = self.worker.random.random()
        if self.worker.calm or chance > 0.01:
            return super().__call__(action, **parameters)
        self.worker.ledger.count("cuts")
        if chance < 0.003:
            self.half(action, parameters)
        else:
            self.unheard(action, parameters)
        raise ConnectionError("cut")

    def half(self, action, parameters):
        body = json.dumps(parameters).encode()
        if not self.connection.sock:
            self.connection.connect()
        self.connection.sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-amz-json-1.0\r\n"
                                     b"X-Amz-Target: AmazonSQS.%s\r\nContent-Length: %d\r\n\r\n%s" % (
                                         action.encode(), len(body), body[:len(body) // 2]))
        self.close()

    def unheard(self, action, parameters):
        self.connection.request("POST", "/", json.dumps(parameters), {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS." + action})
        time.sleep(self.worker.random.choice([0, 0, 0.001, 0.01]))
        self.close()


class Client(Worker):
    calm = False                        # at the end: no faults, and everything is deleted

    def __init__(self, broker, ledger, book, name):
        super().__init__(broker, ledger, name)
        self.book = book

    def round(self):
        line = Line(self)
        with contextlib.closing(line):
            until = now() + self.random.uniform(1, 8)
            while not self.ends.is_set() and now() < until:
                self.turn(line)

    def settle_batch(self, line, action, entries):
        """The ids that succeeded, and the others with the reason."""
        answer = line(action + "Batch", QueueUrl=self.book.name, Entries=[dict(e, Id=str(i)) for i, e in enumerate(entries)])
        failed = {int(f["Id"]): f for f in answer.get("Failed", [])}
        done = {int(s["Id"]): s for s in answer.get("Successful", [])}
        if sorted([*failed, *done]) != list(range(len(entries))):
            self.book.wrong("%sBatch of %d was answered with %s", action, len(entries), answer)
        return done, failed


class Writer(Client):
    def __init__(self, broker, ledger, book):
        super().__init__(broker, ledger, book, "writer of " + book.name)
        self.unsure = []                # fifo: sent, and not answered: sent again until it is
        self.in_group, self.groups = {}, [0] * GROUPS   # high.fifo: number -> its place in its group

    def body_of(self, n):
        return "%d %s" % (n, "x" * (n * 37 % 1500))

    def turn(self, line):
        if self.book.fifo:
            self.send_ordered(line)
        else:
            self.send_delayed(line)
        time.sleep(self.random.uniform(0, 0.06))

    def send_delayed(self, line):
        if self.random.random() < 0.3:
            delays = [self.random.choice([0, 0, 1, 2]) for _ in range(self.random.randint(2, 10))]
        else:
            delays = [self.random.choice([0, 0, 0, 1, 3])]
        self.send(line, [self.book.sends(None, self.body_of, delay) for delay in delays],
                  [{"DelaySeconds": delay} for delay in delays])

    def send_ordered(self, line):
        chance = self.random.random()
        if not self.unsure and chance < 0.15 and self.book.sent:        # once more, though it was answered
            newest = len(self.book.sent) - 1
            again = {self.random.randint(max(0, newest - AGAIN), newest) for _ in range(self.random.choice([1, 1, 3]))}
            self.ledger.count("sent again", len(again))
            self.send(line, [self.book.sent[n] for n in again], [self.named(self.book.sent[n]) for n in again])
            return
        if not self.unsure:
            self.unsure = [self.new() for _ in range(self.random.randint(2, 10) if chance < 0.4 else 1)]
        self.send(line, self.unsure, [self.named(sent) for sent in self.unsure])
        self.unsure = []

    def new(self):
        group = self.random.randrange(GROUPS)
        sent = self.book.sends("g%d" % group, self.body_of, 1 if self.book.name == "content.fifo" else 0)
        self.in_group[sent.n] = self.groups[group]
        self.groups[group] += 1
        return sent

    def named(self, sent):
        """How it is told from others."""
        if self.book.name == "content.fifo" and sent.n % 3:
            return {"MessageGroupId": sent.group}
        if self.book.name == "high.fifo":
            return {"MessageGroupId": sent.group, "MessageDeduplicationId": "d%d" % self.in_group[sent.n]}
        return {"MessageGroupId": sent.group, "MessageDeduplicationId": "d%d" % sent.n}

    def send(self, line, sent, parameters):
        entries = [dict(p, MessageBody=s.body) for s, p in zip(sent, parameters)]
        if len(sent) == 1:
            self.book.confirmed(sent[0], line("SendMessage", QueueUrl=self.book.name, **entries[0]))
        else:
            done, failed = self.settle_batch(line, "SendMessage", entries)
            for i in failed:
                self.book.wrong("%d of a batch was refused: %s", sent[i].n, failed[i])
            for i in done:
                self.book.confirmed(sent[i], done[i])
        self.ledger.count("sent", len(sent))


class Reader(Client):
    def __init__(self, broker, ledger, book, number):
        super().__init__(broker, ledger, book, "reader %d of %s" % (number, book.name))
        self.number, self.attempts, self.attempt = number, 0, None      # attempt: (id, lease) of a receive that broke

    def turn(self, line):
        receipts, lease_s = self.receive(line)
        if not receipts:
            return
        self.ledger.count("received", len(receipts))
        if not self.calm and self.random.random() < 0.02:
            self.ledger.count("slow")
            time.sleep(lease_s + self.random.uniform(0, 0.5))           # a slow consumer: its leases have run out
        fates = {}
        for receipt in receipts:
            fates.setdefault(self.fate(receipt), []).append(receipt)
        for fate, some in fates.items():
            getattr(self, fate)(line, some)

    def receive(self, line):
        attempt, lease_s = self.attempt or (None, self.random.choice([1, 1, 2, 3]))
        if self.book.fifo and not attempt and self.random.random() < 0.3:
            self.attempts += 1
            attempt = "r%d-%d" % (self.number, self.attempts)
        receipts = self.ask(line, attempt, lease_s)
        if attempt and receipts and self.random.random() < 0.3:
            self.ledger.count("received again")
            self.book.repeated(receipts, self.ask(line, attempt, lease_s))
        return receipts, lease_s

    def ask(self, line, attempt, lease_s):
        more = {"ReceiveRequestAttemptId": attempt} if attempt else {}
        self.attempt = (attempt, lease_s) if attempt else None
        asked = self.book.receive_begins()
        try:
            answer = line("ReceiveMessage", QueueUrl=self.book.name, MaxNumberOfMessages=self.random.choice([1, 3, 10]),
                          VisibilityTimeout=lease_s, WaitTimeSeconds=1, MessageSystemAttributeNames=EVERYTHING, **more)
        except Exception:
            self.book.receive_broke()
            raise
        self.attempt = None
        return self.book.received(asked, answer, lease_s, attempt)

    def fate(self, receipt):
        if self.book.max_receives and receipt.n % (23 if self.book.fifo else 7) == 0:
            return "give_back" if self.calm else self.random.choice(["keep", "give_back"])
        if self.calm or self.random.random() < 0.75:
            return "delete"
        return self.random.choice(["keep", "give_back", "shorten", "lengthen", "lengthen_and_delete"])

    def keep(self, line, receipts):
        self.ledger.count("kept", len(receipts))

    def delete(self, line, receipts):
        alone = len(receipts) == 1 or self.random.random() < 0.3
        for some in [[r] for r in receipts] if alone else [receipts]:
            self.book.delete_asked(some)
            done = self.settle(line, "DeleteMessage", some, {}, self.book.delete_refused)
            self.book.deleted(done)
            self.ledger.count("deleted", len(done))

    def give_back(self, line, receipts):
        self.change(line, receipts, 0)

    def shorten(self, line, receipts):
        self.change(line, receipts, 1)

    def lengthen(self, line, receipts):
        self.change(line, receipts, 4)

    def lengthen_and_delete(self, line, receipts):
        self.change(line, receipts, 4)
        time.sleep(self.random.uniform(0, 1.5))
        self.delete(line, receipts)

    def change(self, line, receipts, seconds):
        self.book.change_asked(receipts, seconds)
        done = self.settle(line, "ChangeMessageVisibility", receipts, {"VisibilityTimeout": seconds}, self.book.change_refused)
        self.book.changed(done)
        self.ledger.count("changed", len(done))

    def settle(self, line, action, receipts, parameters, refused):
        """The receipts for which it was done."""
        if len(receipts) == 1 and self.random.random() < 0.7:
            try:
                line(action, QueueUrl=self.book.name, ReceiptHandle=receipts[0].handle, **parameters)
            except Refused as e:
                refused(receipts[0], e)
                return []
            return receipts
        done, failed = self.settle_batch(line, action, [dict(parameters, ReceiptHandle=r.handle) for r in receipts])
        for i in failed:
            refused(receipts[i], failed[i]["Message"])
        return [receipts[i] for i in done]


# --------------------------------------------------------------------------------------------------------------- run ----

def declare(broker, ledger, kills):
    """The books of all queues, as (book, attributes)."""
    line = Sqs(broker.sqs)

    def make(name, **attributes):
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        line("CreateQueue", QueueName=name, Attributes=attributes)
        return line("GetQueueAttributes", QueueUrl=name, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def mortal(name, dead, receives):
        make(name, RedrivePolicy=json.dumps({"deadLetterTargetArn": make(dead), "maxReceiveCount": receives}))
        book = Book(name, ledger, kills, max_receives=receives)
        return [book, Book(dead, ledger, kills, source=book)]

    make("plain", SqsManagedSseEnabled="false")
    make("order.fifo")
    make("content.fifo", ContentBasedDeduplication="true", DelaySeconds="1")
    make("high.fifo", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    books = [Book(name, ledger, kills) for name in ("plain", "order.fifo", "content.fifo", "high.fifo")]
    return books + mortal("poison", "poison-dead", 3) + mortal("mortal.fifo", "mortal-dead.fifo", 2)


def faults(broker, ledger, kills, options, chance):
    """False: it does not start any more."""
    end = now() + options.seconds
    while now() < end and not (options.stop and ledger.violations):
        time.sleep(min(chance.uniform(1, 8), max(0, end - now())))
        broker.kill9()
        kills.append(now())
        try:
            broker.start(timeout_s=60)
        except BrokerFailed as e:
            ledger.violation("the broker does not start after kill %d: %s" % (len(kills), e))
            return False
    return True


def settled(broker, book, patience_s):
    """What is left when nothing has changed for so long: messages that nobody got, and what the queue says that it has."""
    line, last, since = Sqs(broker.sqs), None, now()
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    while True:
        says = line("GetQueueAttributes", QueueUrl=book.name, AttributeNames=names)["Attributes"]
        says = {name: int(says[name]) for name in names if int(says[name])}
        left = [] if book.source else book.left()
        if (left, says) != last:
            last, since = (left, says), now()
        if (not left and not says) or now() > since + patience_s:
            line.close()
            return left, says
        time.sleep(0.2)


def finish(workers):
    for worker in workers:
        worker.ends.set()
    for worker in workers:
        worker.finish()


def one_run(options, number):
    """What was done and seen."""
    chance = random.Random("%d %d" % (options.seed, number))
    ledger, kills, began = Ledger(), [], now()
    broker = Broker(shards=options.shards).start()
    books = declare(broker, ledger, kills)
    writers = [Writer(broker, ledger, book) for book in books if not book.source]
    readers = [Reader(broker, ledger, book, i) for book in books for i in range(2)]
    for worker in writers + readers:
        worker.random = random.Random("%s %d %d" % (worker.name, options.seed, number))
        worker.start()
    alive = faults(broker, ledger, kills, options, chance)
    finish(writers)
    for reader in readers:
        reader.calm = True
    if alive and not (options.stop and ledger.violations):
        judge_the_end(broker, ledger, books)
    finish(readers)
    for book in books:
        book.judge_counts()
    for what in () if ledger.violations else ("sent", "sent again", "received", "received again", "deleted", "changed", "kept"):
        if not ledger.counts.get(what):
            ledger.violation("nothing was %s" % what)
    with contextlib.suppress(Exception):
        broker.stop()
    broker.close(keep=options.keep or bool(ledger.violations and not options.stop))
    figures = dict(ledger.counts, kills=len(kills), dead=sum(len(book.of) for book in books if book.source),
                   violations=len(ledger.violations))
    print("run %d, %d s: %s%s" % (number, now() - began, json.dumps(figures),
                                  ", data and log: %s" % broker.home if os.path.exists(broker.home) else ""), flush=True)
    return figures


def judge_the_end(broker, ledger, books):
    for book in books:
        left, says = settled(broker, book, patience_s=60)
        if left:
            book.wrong("%d messages never came: %s", len(left), left[:5])
        if says:
            book.wrong("still says, with nobody to get it: %s", says)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="so many runs at once, each with a broker of its own")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--shards", type=int, default=int(os.environ.get("HAWSER_SHARDS") or 1))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stop", action="store_true", help="a run ends with its first violation")
    parser.add_argument("--keep", action="store_true", help="keep the data directories")
    options = parser.parse_args()
    with multiprocessing.Pool(options.jobs, maxtasksperchild=1) as pool:
        runs = [pool.apply_async(one_run, (options, number + 1)) for number in range(options.runs)]
        figures = [run.get() for run in runs]
    if options.runs > 1:
        print("all: %s" % json.dumps(sum(map(collections.Counter, figures), collections.Counter())))
    passed = sum(not f["violations"] for f in figures)
    print("%d passed, %d failed" % (passed, options.runs - passed))
    return 0 if passed == options.runs else 1


sys.exit(main())
