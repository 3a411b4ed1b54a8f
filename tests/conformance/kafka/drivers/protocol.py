# protocol.py - the Python drivers' side of the protocol: README.md says what it is.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import queue
import sys
import threading
import time


class Cannot(Exception):
    """The library has no way to say it."""


def text(octets):
    return None if octets is None else octets.decode()


def octets(string):
    return None if string is None else string.encode()


def record(offset, key, value, headers=(), timestamp=None, partition=None):
    return {"offset": offset, "key": text(key), "value": text(value), "timestamp": timestamp, "partition": partition,
            "headers": [[name, text(value)] for name, value in headers or ()]}


def take(box, count, wait_ms):
    """Up to `count` of what somebody else puts into the list `box`, waiting for them."""
    end = time.monotonic() + wait_ms / 1000
    while len(box) < count and time.monotonic() < end:
        time.sleep(0.01)
    taken, box[:count] = box[:count], []
    return taken


def positions(taken):
    """{partition: the offset to commit} after the records that were taken."""
    return {r["partition"]: r["offset"] + 1 for r in taken}


class Member(threading.Thread):
    """A member of a group.  Only its thread touches the consumer; others leave work for it.

    A library says in `poll` how it reads once, and which partitions it has."""

    def __init__(self, consumer, topic):
        super().__init__(daemon=True)
        self.consumer, self.topic = consumer, topic
        self.box, self.assigned, self.taken = [], [], {}
        self.work, self.ended = queue.Queue(), False
        self.start()

    def run(self):
        self.consumer.subscribe([self.topic])
        while not self.ended:
            self.poll()
            while not self.work.empty():
                job, answer = self.work.get()
                try:
                    answer.put((job(self.consumer), None))
                except Exception as e:
                    answer.put((None, e))

    def do(self, job):
        answer = queue.Queue()
        self.work.put((job, answer))
        result, error = answer.get(timeout=30)
        if error:
            raise error
        return result

    def take(self, count, wait_ms):
        taken = take(self.box, count, wait_ms)
        self.taken.update(positions(taken))
        return taken

    def leave(self, how):
        def last(consumer):
            self.ended = True
            how(consumer)
        self.do(last)


def serve(driver, code_of):
    """Answer commands with the methods of `driver` until standard input ends.  `code_of` finds Kafka's number in an exception."""
    for line in sys.stdin:
        asked = json.loads(line)
        method = getattr(driver, asked.pop("do"), None)
        try:
            answer = {"ok": method(**asked)} if method else {"cannot": "the library has no such call"}
        except Cannot as e:
            answer = {"cannot": str(e)}
        except Exception as e:                                          # whatever it is, the scenario judges it
            answer = {"error": "%s: %s" % (type(e).__name__, e), "code": code_of(e)}
        print(json.dumps(answer), flush=True)
