"""sqs_book.py - what SQS clients know of a queue, and what must therefore not happen: the judge of tests/crash/sqs.

A Book holds one queue and judges each receive when its answer is there.  It knows the clients' clock only: what a request changes has
changed between `asked`, when the request began, and `answered`, when its answer was there.  A lease runs at least until `asked` plus
its visibility timeout, and whoever gets the message next has got it at `answered` at the latest: only what contradicts that is a
violation.  What a request does that was never answered may happen or not.

    Sent        a message as it was sent; its number is its body's first word, and unique in its Book
    Copy        a message in the queue.  There is one for each Sent: more if the queue takes dead letters, and the broker was killed
    Lease       one receive of a Copy, known by its ApproximateReceiveCount

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import base64
import hashlib
import threading
import time

# A broker reads its clock once a turn, and a turn may stand still on a loaded machine between reading it and reading a request.
MARGIN_S = 0.3
# A request whose connection was cut may still be on its way to the broker.
UNDERWAY_S = 2


def now():
    return time.monotonic()


class Sent:
    def __init__(self, n, group, body, delay_s):
        self.n, self.group, self.body = n, group, body
        self.asked, self.confirmed, self.ids = now(), False, None
        self.not_before = self.asked + delay_s - MARGIN_S if delay_s else 0


class Lease:
    def __init__(self, asked, answered, seconds, attempt):
        self.asked, self.answered, self.attempt = asked, answered, attempt
        self.until = asked + seconds - MARGIN_S         # nobody else has the message before


class Copy:
    def __init__(self, sent):
        self.sent, self.leases = sent, {}
        self.deletes = 0                                # those that were asked for, and not refused
        self.gone = None                                # when a delete was answered


class Receipt:
    """What a client has in its hand."""

    def __init__(self, copy, count, handle):
        self.copy, self.count, self.handle = copy, count, handle
        self.n, self.lease = copy.sent.n, copy.leases[count]

    def sure(self):
        """The lease runs, whatever has happened."""
        return now() < self.lease.until


def place_of(handle):
    """Where a message lies, which all its handles begin with: channel, partition and offset (src/protocols/sqs/receipt.c)."""
    return base64.b64decode(handle)[1:17]


class Book:
    def __init__(self, name, ledger, kills, source=None, max_receives=None):
        self.name, self.ledger, self.kills = name, ledger, kills
        self.fifo = name.endswith(".fifo")
        self.source, self.dead, self.max_receives = source, None, max_receives
        self.lock = source.lock if source else threading.RLock()
        self.sent = source.sent if source else {}       # number -> Sent
        self.by_ids = {}                                # (message id, sequence number) -> number
        self.copies = {}                                # place -> Copy
        self.of = {}                                    # number -> [Copy]
        self.present = {}                               # fifo: group -> numbers that are in the queue
        self.newest = {}                                # fifo, of dead letters: group -> the newest that has come
        self.broken, self.open = [], 0                  # when receives broke; how many are under way
        if source:
            source.dead = self

    def wrong(self, text, *values):
        self.ledger.violation("%s: %s" % (self.name, text % values))

    # ---- sending ----

    def sends(self, group, body_of, delay_s=0):
        """The next message; it is in the queue from now on, perhaps."""
        with self.lock:
            n = len(self.sent)
            sent = self.sent[n] = Sent(n, group, body_of(n), delay_s)
            if self.fifo:
                self.present.setdefault(group, set()).add(n)
            return sent

    def confirmed(self, sent, answer):
        """Each send of the same message within five minutes is answered with what the first was answered with."""
        ids = (answer["MessageId"], answer.get("SequenceNumber"))
        with self.lock:
            if answer["MD5OfMessageBody"] != hashlib.md5(sent.body.encode()).hexdigest():
                self.wrong("%d was answered with the digest of another body", sent.n)
            if sent.ids and sent.ids != ids:
                self.wrong("%d was accepted twice, as %s and %s", sent.n, sent.ids, ids)
            if self.by_ids.setdefault(ids, sent.n) != sent.n:
                self.wrong("%d was answered with the ids of %d", sent.n, self.by_ids[ids])
            sent.ids, sent.confirmed = ids, True

    # ---- receiving ----

    def receive_begins(self):
        with self.lock:
            self.open += 1
        return now()

    def receive_broke(self):
        with self.lock:
            self.open -= 1
            self.broken.append(now())

    def maybe_received(self, sent):
        """How many receives may have got it that nobody knows of."""
        return self.open + sum(1 for broke in self.broken if broke + UNDERWAY_S >= sent.asked)

    def received(self, asked, answer, lease_s, attempt=None):
        """The receipts of a receive's messages.  `attempt`: its ReceiveRequestAttemptId."""
        answered, receipts = now(), []
        with self.lock:
            self.open -= 1
            for m in answer.get("Messages", []):
                receipt = self.take(m, Lease(asked, answered, lease_s, attempt), [r.n for r in receipts])
                if receipt:
                    receipts.append(receipt)
        return receipts

    def take(self, m, lease, before):
        attributes, count = m["Attributes"], int(m["Attributes"]["ApproximateReceiveCount"])
        sent = self.sent.get(int(m["Body"].split()[0]))
        if not sent or sent.body != m["Body"] or m["MD5OfBody"] != hashlib.md5(sent.body.encode()).hexdigest():
            self.wrong("%r was never sent", m["Body"][:40])
            return None
        copy = self.copy_of(sent, m)
        self.judge_ids(sent, m, attributes)
        if lease.answered < sent.not_before:
            self.wrong("%d came %.2f s before its delay was over", sent.n, sent.not_before - lease.answered)
        if copy.gone is not None and lease.asked > copy.gone:
            self.wrong("%d came again, %.2f s after its deletion was answered", sent.n, lease.asked - copy.gone)
        self.judge_lease(copy, count, lease)
        if self.max_receives:
            self.judge_life(copy, count, lease.asked)
        if self.source:
            self.judge_death(copy, count, attributes, lease.answered)
        if self.fifo:
            self.judge_order(sent, before, lease.answered)
        return Receipt(copy, count, m["ReceiptHandle"])

    def copy_of(self, sent, m):
        place = place_of(m["ReceiptHandle"])
        copy = self.copies.get(place)
        if copy and copy.sent is not sent:
            self.wrong("%d lies where %d was", sent.n, copy.sent.n)
        if copy:
            return copy
        copy = self.copies[place] = Copy(sent)
        copies = self.of.setdefault(sent.n, [])
        copies.append(copy)
        # A kill between copying a dead letter and settling the original leaves both, and the original dies again.
        kills = sum(1 for killed in self.kills if killed >= sent.asked) if self.source else 0
        if len(copies) > 1 + kills:
            self.wrong("%d is there %d times", sent.n, len(copies))
        elif len(copies) > 1:
            self.ledger.count("died twice")
        if self.fifo and self.source:
            self.judge_dying(sent, len(copies) == 1)
        return copy

    def judge_dying(self, sent, first):
        """A group dies in its order, as each blocks those behind it."""
        newest = self.newest.get(sent.group, -1)
        if first and sent.n < newest:
            self.wrong("%d died after %d of its group", sent.n, newest)
        self.newest[sent.group] = max(newest, sent.n)
        self.present.setdefault(sent.group, set()).add(sent.n)

    def judge_ids(self, sent, m, attributes):
        if sent.ids and sent.ids[0] != m["MessageId"]:
            self.wrong("%d came as %s, and was sent as %s", sent.n, m["MessageId"], sent.ids[0])
        sequence = attributes.get("SequenceNumber")
        if sent.ids and not self.source and sent.ids[1] != sequence:
            self.wrong("%d came as number %s, and was sent as %s", sent.n, sequence, sent.ids[1])
        if attributes.get("MessageGroupId") != sent.group:
            self.wrong("%d came with group %s, and was sent with %s", sent.n, attributes.get("MessageGroupId"), sent.group)

    def judge_lease(self, copy, count, lease):
        n, known = copy.sent.n, copy.leases
        if count in known:
            if lease.attempt and lease.attempt == known[count].attempt:
                known[count].until = max(known[count].until, lease.until)
            else:
                self.wrong("%d was received twice for the %dth time", n, count)
            return
        earlier = max((c for c in known if c < count), default=None)
        later = min((c for c in known if c > count), default=None)
        if earlier is not None and lease.answered < known[earlier].until:
            self.wrong("%d was given out %.2f s before its visibility timeout was over", n, known[earlier].until - lease.answered)
        if later is not None and lease.asked > known[later].answered:
            self.wrong("%d was received for the %dth time after the %dth", n, count, later)
        known[count] = lease

    # ---- dying ----

    def receives_at_most(self, n):
        sent = self.sent[n]
        return sum(len(copy.leases) for copy in self.of.get(n, [])) + self.maybe_received(sent)

    def judge_life(self, copy, count, asked):
        n = copy.sent.n
        if count > self.max_receives:
            self.wrong("%d was received %d times, and not dead-lettered after %d", n, count, self.max_receives)
        for dead in self.dead.of.get(n, []):
            if any(asked > lease.answered for lease in dead.leases.values()):
                self.wrong("%d came again after it was dead-lettered", n)
                break

    def judge_death(self, copy, count, attributes, answered):
        n, source = copy.sent.n, self.source
        at_most = source.receives_at_most(n)
        if at_most < source.max_receives:
            self.wrong("%d died after %d receives, not %d", n, at_most, source.max_receives)
        if count <= source.max_receives:
            self.wrong("%d is a dead letter that was received %d times", n, count)
        if not attributes.get("DeadLetterQueueSourceArn", "").endswith(":" + source.name):
            self.wrong("%d does not say where it died: %s", n, attributes)
        for original in source.of.get(n, []):
            if any(answered < lease.until for lease in original.leases.values()):
                self.wrong("%d died while its visibility timeout was running", n)
            if original.gone is not None:
                self.wrong("%d died although its deletion was answered", n)

    def maybe_dead(self, n, answered):
        return (self.max_receives and self.receives_at_most(n) >= self.max_receives and
                not any(answered < lease.until for copy in self.of.get(n, []) for lease in copy.leases.values()))

    # ---- order ----

    def judge_order(self, sent, before, answered):
        """Whatever was sent before it to its group is gone, or is given out in front of it by the same receive."""
        for n in sorted(n for n in self.present.get(sent.group, ()) if n < sent.n and n not in before):
            if not self.maybe_dead(n, answered):
                self.wrong("%d was given out while %d of its group was %s", sent.n, n, self.whereabouts(n, answered))
                break

    def whereabouts(self, n, answered):
        leases = [lease for copy in self.of.get(n, []) for lease in copy.leases.values()]
        return "in flight" if any(answered < lease.until for lease in leases) else "waiting"

    # ---- settling ----

    def delete_asked(self, receipts):
        with self.lock:
            for r in receipts:
                r.copy.deletes += 1
                if self.fifo:
                    self.present[r.copy.sent.group].discard(r.n)

    def deleted(self, receipts):
        """A message that may have died before may have been deleted here and be there."""
        with self.lock:
            for r in receipts:
                if r.sure() or not self.max_receives:
                    r.copy.gone = r.copy.gone or now()

    def delete_refused(self, receipt, why):
        with self.lock:
            receipt.copy.deletes -= 1
            if self.fifo and not receipt.copy.deletes:
                self.present[receipt.copy.sent.group].add(receipt.n)
            if receipt.sure():
                self.wrong("%d was not deleted, though its lease was running: %s", receipt.n, why)

    def change_asked(self, receipts, seconds):
        with self.lock:
            for r in receipts:
                r.until_before, r.changed = r.lease.until, now() + seconds - MARGIN_S
                r.lease.until = min(r.lease.until, r.changed)

    def changed(self, receipts):
        """A standard queue says yes to a change of what is visible again; a fifo queue only of a lease that runs."""
        with self.lock:
            for r in receipts:
                if self.fifo or now() < r.until_before:
                    r.lease.until = r.changed

    def change_refused(self, receipt, why):
        """An old handle is enough to delete from a standard queue what somebody else has now."""
        with self.lock:
            if now() < receipt.until_before and not receipt.copy.deletes:
                self.wrong("%d was not changed, though its lease was running: %s", receipt.n, why)

    def repeated(self, first, again):
        """A receive was repeated on the same connection with the same id, before anything was done to what the first one got."""
        if all(r.sure() for r in first) and [r.handle for r in first] != [r.handle for r in again]:
            self.wrong("a repeated receive got %s, not %s", [r.n for r in again], [r.n for r in first])

    # ---- at the end ----

    def left(self):
        """Of what was sent for sure: what nobody has tried to delete yet."""
        with self.lock:
            books = [self, self.dead] if self.dead else [self]
            done = {copy.sent.n for book in books for copy in book.copies.values() if copy.deletes}
            return sorted(n for n, sent in self.sent.items() if sent.confirmed and n not in done)

    def judge_counts(self):
        """Each time that it was received, somebody asked for it."""
        first = self.source.max_receives if self.source else 0
        for copy in self.copies.values():
            most, known = max(copy.leases) - first, len(copy.leases) + self.maybe_received(copy.sent)
            if most > known:
                self.wrong("%d says that it was received %d times, %d were possible", copy.sent.n, most, known)
