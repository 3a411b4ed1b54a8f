"""ledger.py - what clients were told, and the threads that are told it.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import random
import threading
import time


class Ledger:
    """Counts and violations, under one lock; violations are collected, not raised."""

    def __init__(self):
        self.lock = threading.Lock()
        self.violations, self.counts = [], {}

    def violation(self, text):
        with self.lock:
            self.violations.append(text)
        print("VIOLATION", text, flush=True)

    def count(self, what, n=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + n


class Worker(threading.Thread):
    """A client that works in rounds until told to stop; a round that ends with one of `expected` is followed by another."""

    expected = (Exception,)         # the broker was killed: that is the point
    again_s = 0.05                  # between two rounds

    def __init__(self, broker, ledger, name):
        super().__init__(daemon=True, name=name)
        self.broker, self.ledger = broker, ledger
        self.ends = threading.Event()
        self.random = random.Random(name)

    def run(self):
        while not self.ends.is_set():
            try:
                self.round()
            except self.expected:
                pass
            time.sleep(self.again_s)

    def finish(self, timeout_s=20):
        self.ends.set()
        self.join(timeout_s)
