"""queue_book.py - what became of every message of one AMQP queue, and which of it the broker may not do.

    source      one connection that publishes; its messages are numbered in the order of sending
    boot        one start of the broker; a connection belongs to the boot in which it was made
    sure        of a settlement: it is on disk, because of what the same connection was answered later (below)

An ack has no answer.  A settlement is sure when tx.commit-ok has come for it, or by a *fence*: two messages that were published
behind it on its connection to the same queue, the second one when the first was confirmed, and both are confirmed.  (The session
sends the settlement before the first; so the turn that has the first one writes the settlement down at its end at the latest;
the second is of a later turn and so behind it in the journal, which is durable from its beginning on.)  Whatever else was
acknowledged may come again after a kill, and only then or when its connection has ended.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import hashlib
import random
import zlib

EARLY_S = 0.01                  # the broker counts in milliseconds, on a clock that nobody sets while it runs

NOISE = random.Random(1).randbytes(1 << 17)


def make_body(source, n, size):
    """Says whose it is, and every byte of it can be told."""
    at = zlib.crc32(b"%s %d" % (source.encode(), n)) & 0xffff
    head = b"%s:%d:%d:" % (source.encode(), n, size)
    rest = NOISE[at:at + size]
    return head + hashlib.md5(head + rest).digest() + rest


def read_body(body):
    """(source, n), or None if these are not the bytes that were sent."""
    try:
        source, n, size, _ = body.split(b":", 3)
        source, n, size = source.decode(), int(n), int(size)
        return (source, n) if body == make_body(source, n, size) else None
    except ValueError:
        return None


class Message:
    __slots__ = ("boot", "not_before_s", "doubles", "confirmed", "seen_boot", "holder", "settled", "rejected_boot", "sure_boot", "copies",
                 "trail")

    def __init__(self, boot, not_before_s, doubles):
        self.boot, self.not_before_s = boot, not_before_s
        self.doubles = doubles          # a kill may leave copy and original: dead letters, what a delay passed on
        self.confirmed, self.holder = False, None
        self.settled = None             # "ack" or "reject": what was said last
        self.seen_boot = self.sure_boot = self.rejected_boot = 0     # 0: never
        self.copies = 1
        self.trail = ["sent in boot %d" % boot]         # for whoever must find out what happened

    def note(self, holder, what):
        self.trail.append("%s %s in boot %d" % (holder.name, what, holder.boot))


class Holder:
    """One reader's connection."""

    def __init__(self, name, boot, is_first, fresh):
        self.name, self.boot, self.is_first = name, boot, is_first
        self.fresh = fresh              # source -> the last that came unmarked to this reader in this boot
        self.last = {}                  # source -> the last that came
        self.held = {}                  # delivery tag -> key
        self.suspects, self.proven = [], []     # held, and given to somebody else
        self.ended = False


class Book:
    """Called by the queue's readers and by those who send to it; one lock for all."""

    def __init__(self, ledger, name, lock, in_order=True, dies_of=None, alone=False):
        self.ledger, self.name, self.lock = ledger, name, lock
        self.in_order = in_order
        self.dies_of, self.grave = dies_of, None        # the book of the queue whose rejected messages come here; where ours go
        self.alone = alone              # one reader, which gives nothing back
        self.messages = {}              # (source, n)
        if dies_of:
            dies_of.grave = self

    def wrong(self, text, *values):
        self.ledger.violation("%s: %s" % (self.name, text % values))

    def sent(self, key, boot, not_before_s=0.0):
        with self.lock:
            self.messages[key] = Message(boot, not_before_s, doubles=not_before_s > 0)

    def confirmed(self, key):
        with self.lock:
            self.messages[key].confirmed = True

    def find(self, key):
        m = self.messages.get(key)
        if not m and self.dies_of and key in self.dies_of.messages:
            boot = self.dies_of.messages[key].rejected_boot
            if not boot:
                self.wrong("%s:%d is here and was never rejected", *key)
            m = self.messages[key] = Message(boot, 0, doubles=True)
        return m

    def is_dead_letter(self, key):
        return self.dies_of is not None and key in self.dies_of.messages

    # -- a delivery --

    def delivered(self, holder, d, now_s):
        """The message's key, or None when it is nobody's."""
        with self.lock:
            key = read_body(d.body)
            m = key and self.find(key)
            if not m:
                self.wrong("%r was never sent here with these bytes", d.body[:40])
                return None
            m.note(holder, "gets it again" if d.redelivered else "gets it")
            self.judge_return(holder, key, m, d.redelivered)
            self.judge_order(holder, key, d.redelivered)
            if now_s < m.not_before_s - EARLY_S:
                self.wrong("%s:%d came %.3f s too early", *key, m.not_before_s - now_s)
            if m.seen_boot <= holder.boot:      # else it has lain in the socket since an earlier boot
                m.seen_boot, m.holder = holder.boot, holder
            return key

    def judge_return(self, holder, key, m, redelivered):
        another = m.doubles and holder.boot > m.boot            # it may be the other copy
        if m.sure_boot and m.sure_boot <= holder.boot:
            if another and m.copies <= holder.boot - m.boot:
                m.copies += 1
                m.sure_boot = m.seen_boot = 0
                self.ledger.count("doubles in " + self.name)
            else:
                self.wrong("came again in boot %d and its settlement was sure in boot %d: %s", holder.boot, m.sure_boot, self.tell(key))
        elif m.settled and m.seen_boot < holder.boot:
            self.ledger.count("unsure came again" if redelivered else "unsure came again, unmarked")
        if m.seen_boot == holder.boot and not redelivered and not another:
            self.wrong("%s:%d came twice in boot %d, the second time unmarked", *key, holder.boot)
        other = m.holder
        if other and other is not holder and not other.ended and other.boot == holder.boot and not another:
            other.suspects.append(key)

    def judge_order(self, holder, key, redelivered):
        """
        What comes unmarked comes in the order of sending, for the whole of a boot.  The first to come in a boot, if nobody gives
        anything back, gets all in order: what others had in an earlier boot is in its old place again.
        """
        source, n = key
        if not self.in_order:
            return
        if not redelivered:
            if n <= holder.fresh.get(source, -1):
                self.wrong("%s:%d came unmarked after :%d", source, n, holder.fresh[source])
            holder.fresh[source] = n
        if self.alone and holder.is_first:
            if n <= holder.last.get(source, -1):
                self.wrong("%s:%d came after :%d to the first reader of boot %d", source, n, holder.last[source], holder.boot)
            holder.last[source] = n

    # -- what the reader says of it --

    def gives_back(self, holder, key):
        with self.lock:
            m = self.messages[key]
            m.note(holder, "gives it back")
            if m.holder is holder:
                m.holder = None

    def settles(self, holder, key, how):
        """Before it is sent."""
        with self.lock:
            m = self.messages[key]
            m.note(holder, how + "s it")
            if m.holder is not holder:
                return                          # what it says now the broker of today never hears
            m.holder, m.settled = None, how
            if how == "reject":
                m.rejected_boot = m.rejected_boot or holder.boot
        self.ledger.count(how)

    def sure(self, holder, keys):
        with self.lock:
            for key in keys:
                self.messages[key].sure_boot = holder.boot
                self.messages[key].note(holder, "is sure")
        self.ledger.count("sure", len(keys))

    def answered(self, holder):
        """...something that it asked when it had been answered the last time: it was alive, and held what it holds."""
        with self.lock:
            for key in holder.proven:
                if key in holder.held.values():
                    self.wrong("%s:%d is held by one reader and was given to another", *key)
            holder.proven, holder.suspects = holder.suspects, []

    def ended(self, holder):
        """Before its connection does."""
        with self.lock:
            holder.ended = True

    # -- at the end --

    def is_buried(self, key):
        return self.grave is not None and key in self.grave.messages and self.grave.messages[key].settled == "ack"

    def owed(self, key, m):
        """Confirmed or surely rejected, and neither acknowledged nor, if it was rejected, where its dead letter comes to."""
        if m.settled == "reject":
            return not self.is_buried(key) and (m.confirmed or m.sure_boot)
        return m.confirmed and not m.settled

    def missing(self):
        with self.lock:
            return [key for key, m in self.messages.items() if self.owed(key, m)]

    def tell(self, key):
        there = self.grave and self.grave.messages.get(key)
        return "%s:%d %s%s" % (*key, ", ".join(self.messages[key].trail), "; there: " + ", ".join(there.trail) if there else "")


class StreamBook:
    """Read by offset: each offset has one message for ever, each message one offset."""

    def __init__(self, ledger, name, lock):
        self.ledger, self.name, self.lock = ledger, name, lock
        self.messages, self.at, self.end = {}, {}, 0    # key -> confirmed?; offset -> key

    def wrong(self, text, *values):
        self.ledger.violation("%s: %s" % (self.name, text % values))

    def sent(self, key, boot):
        with self.lock:
            self.messages[key] = False

    def confirmed(self, key):
        with self.lock:
            self.messages[key] = True

    def delivered(self, offset, expected, last, d):
        """`last`: of each source the number that came last to this reading, which began at the beginning."""
        with self.lock:
            key = read_body(d.body)
            if not key or key not in self.messages:
                self.wrong("%r was never sent here with these bytes", d.body[:40])
                return
            if offset != expected:
                self.wrong("offset %d came, not %d", offset, expected)
            if self.at.setdefault(offset, key) != key:
                self.wrong("%s:%d is at offset %d, which was %s:%d", *key, offset, *self.at[offset])
            if key[1] <= last.get(key[0], -1):
                self.wrong("%s:%d is at offset %d, behind :%d", *key, offset, last[key[0]])
            last[key[0]] = key[1]

    def missing(self):
        with self.lock:
            there = set(self.at.values())
            return [key for key, confirmed in self.messages.items() if confirmed and key not in there]

    def tell(self, key):
        return "%s:%d" % key
