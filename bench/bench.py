"""bench.py - runs the load programs against Hawser and others in turn, and prints tables.  Called by script/bench.

Rounds are interleaved: every scenario runs on every side before the next scenario, and all of it is repeated.  What was measured
is in build/bench/results.json after every run, so that a run that is cut short has not been for nothing.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import os
import resource
import shutil
import subprocess
import sys
import time

import guard
import log_bars
import mixed
import page
import tables
import tools
from peers import Missing, sides_of
from results import Measured, Results
from scenarios import scenarios
from sides import DATA, PROGRAMS, ROOT, Hawser, load, parse

RESULTS = os.path.join(PROGRAMS, "results.json")
SHORT = 0.2                             # of the counts
SECONDS, SHORT_SECONDS = 6, 2           # for a row
COMPARED_SECONDS, COMPARED_MINUTES = 3, 17


class Bench:
    """Who is measured, what was measured, and who is out of it."""

    def __init__(self, sides, options):
        self.sides, self.o, self.results = sides, options, Results(RESULTS, sides)
        self.out = set()
        self.round = 0

    def skip(self, side, protocol, why):
        self.out.add(side.name)
        self.results.skip(protocol, side.name, why)
        print(f"{side.name} is left out: {why}", file=sys.stderr, flush=True)

    def wanted(self, row):
        return (not self.o.main or row.main) and (self.o.only in row.name or not row.shown or row.name in self.o.needs)

    def run_row(self, row, side):
        options = row.options if isinstance(side, Hawser) else replaced(row.options, row.less)
        settings = row.settings if isinstance(side, Hawser) else ()
        side.broker(settings)
        if row.cold:
            forget(side.data(settings) if isinstance(side, Hawser) else side.data())
        measure = tools.run if row.program in tools.TOOLS else load
        lines = measure(side, row.program, row.name, options, settings)
        for fields in lines if row.program != "queues_load" else lines[-1:]:
            if row.shown:
                self.results.add(self.round, row.protocol, fields["name"], side.name, fields)

    def try_row(self, row, side):
        """What fails leaves a sentence, and the others are worth having: a side that is not there is left out, a row once."""
        try:
            self.run_row(row, side)
        except (Missing, OSError) as e:
            self.skip(side, row.protocol, str(e))
        except RuntimeError as e:
            print(f"{row.name}, {side.name}: {e}", file=sys.stderr, flush=True)

    def rounds(self, rows):
        for self.round in range(1, self.o.rounds + 1):
            began = time.monotonic()
            for row in rows:
                for side in self.sides:
                    if row.protocol in side.protocols and side.name not in self.out and self.wanted(row):
                        os.sync()               # what the row before left to be written is not this one's
                        self.try_row(row, side)
            self.mix()
            for side in self.sides:
                side.stop()
            took = time.monotonic() - began
            print(f"round {self.round} of {self.o.rounds}: {time.monotonic() - self.o.began:.0f} s", file=sys.stderr, flush=True)
            if self.o.minutes and time.monotonic() - self.o.began + took > self.o.minutes * 60:
                break                           # another round would not fit

    def mix(self):
        """Hawser alone, then a peer for each protocol, if there is one."""
        if self.o.what not in ("mixed", "all") or self.o.only not in mixed.NAME:
            return
        for durable in ("fsync", "os"):
            ours = [s for s in self.sides if isinstance(s, Hawser) and s.durable == durable and s.name not in self.out]
            peers = {p: s for s in reversed(self.sides) for p in s.protocols
                     if not isinstance(s, Hawser) and s.name not in self.out and (s.durable == durable or p != "kafka")}
            for name, sides in [(s.name, dict.fromkeys(("amqp", "kafka", "sqs"), s)) for s in ours] + [("three peers, " + durable, peers)]:
                if len(sides) == 3:
                    self.mix_one(name, sides)

    def mix_one(self, name, sides):
        os.sync()
        try:
            for side in sides.values():
                side.broker(())
            if name.startswith("three"):
                name = ", ".join(s.name for s in sides.values())
                self.results.head["sides"][name] = {"durable": "", "durability": "side by side, as above"}
            mixed.run(sides, 2)         # warm-up
            self.results.add(self.round, "mixed", mixed.NAME, name, mixed.run(sides, 4 if self.o.short else 8))
        except (Missing, OSError, RuntimeError) as e:
            print(f"mixed, {name}: {e}", file=sys.stderr)
            self.results.skip("mixed", name, str(e))

    def starts(self):
        for side in self.sides:
            if isinstance(side, Hawser) and side.durable == "fsync":
                measure_start(self.results, side, self.o.short)

    def peer_starts(self):
        """How long the others took, each time that they were started."""
        for side in self.sides:
            for n, seconds in enumerate([] if isinstance(side, Hawser) else side.start_s):
                self.results.add(n + 1, "start", "new directory", side.name, {"ready_ms": seconds * 1e3})


def replaced(options, less):
    found = list(options)
    for name, value in less.items():
        found[found.index(name) + 1] = str(value)
    return found


def forget(folder):
    """The page cache lets go of a folder's files: what is read next comes from the disk."""
    os.sync()
    for path, _, files in os.walk(folder):
        for name in files:
            fd = os.open(os.path.join(path, name), os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


def measure_start(results, side, short):
    for i in range(3 if short else 10):
        data = os.path.join(DATA, f"{side.name}-start")
        if i == 0:
            shutil.rmtree(data, ignore_errors=True)
        command = [os.path.join(PROGRAMS, "start_load"), "--name", "new directory" if i == 0 else "existing directory", "--"]
        for fields in parse(subprocess.run(command + side.command(data), capture_output=True, text=True).stdout):
            results.add(i + 1, "start", fields["name"], side.name, fields)
    for fields in load(side, "amqp_load", "idle connections", ["--idle", "200" if short else "2000"]):
        results.add(1, "start", fields["name"], side.name, fields)
    side.stop()


def read_options():
    p = argparse.ArgumentParser(prog="script/bench")
    p.add_argument("what", nargs="?", default="all", choices=["kafka", "amqp", "sqs", "mixed", "start", "all", "compare", "log"])
    p.add_argument("--against", action="append", default=[], metavar="NAME,...", help="apache-kafka, rabbitmq, elasticmq, or a binary of hawser")
    p.add_argument("--relaxed", action="store_true", help="Hawser with durability = os, too")
    p.add_argument("--main", action="store_true", help="the rows of docs/performance.md only")
    p.add_argument("--short", action="store_true", help="a fifth of the messages, fewer rounds: whether it runs, not how fast")
    p.add_argument("--rounds", type=int)
    p.add_argument("--only", default="", help="scenarios whose name contains this")
    p.add_argument("--write", action="store_true", help="log: put the table into bench/README.md; --quick: make this the baseline")
    p.add_argument("--quick", action="store_true", help="instructions of fixed work, against the baseline that is committed")
    o = p.parse_args()
    if o.write and o.what != "log" and not o.quick:
        p.error("--write goes with log, or with --quick")
    o.rounds = o.rounds or (1 if o.short else 3)
    o.minutes, o.keep, o.seconds = 0, o.what == "compare", SHORT_SECONDS if o.short else SECONDS
    if o.keep:
        o.what, o.main, o.relaxed, o.minutes = "all", True, True, COMPARED_MINUTES
        o.against = o.against or ["apache-kafka,rabbitmq,elasticmq"]
        o.seconds = SHORT_SECONDS if o.short else COMPARED_SECONDS
    o.against = [name for names in o.against for name in names.split(",")]
    o.began = time.monotonic()
    return o


def all_sides(o):
    sides = [Hawser("hawser", os.path.join(ROOT, "build", "hawser"))]
    if o.relaxed:
        sides.append(Hawser("hawser-os", os.path.join(ROOT, "build", "hawser"), "os"))
    for name in o.against:
        sides += sides_of(name) or [Hawser(os.path.basename(name), os.path.abspath(name))]
    return sides


def keep(short):
    """What was measured, however far it came, becomes docs/performance.md; a short run only shows that it would."""
    if short:
        print(page.page(Measured(RESULTS)))
        return
    os.makedirs(os.path.dirname(page.KEPT), exist_ok=True)
    shutil.copyfile(RESULTS, page.KEPT)
    page.write()


def main():
    o = read_options()
    if o.quick:
        sys.exit(guard.main(os.path.join(ROOT, "build", "hawser"), o.write))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.makedirs(DATA, exist_ok=True)
    if o.what == "log":
        try:
            log_bars.main(o.short, o.only, o.write)
        finally:
            shutil.rmtree(DATA, ignore_errors=True)
        return
    rows = scenarios(o.what, SHORT if o.short else 1, o.seconds)
    o.needs = {r.name for r in rows if r.program == "kafka_load" and o.only and "consume" in o.only and "produce" in r.name}
    bench = Bench(all_sides(o), o)
    try:
        bench.rounds(rows)
        if o.what in ("start", "all"):
            bench.starts()
        bench.peer_starts()
    finally:
        for side in bench.sides:
            side.stop()
            side.end()
        shutil.rmtree(DATA, ignore_errors=True)
        if o.keep and bench.results.records:
            keep(o.short)
    print(tables.report(Measured(RESULTS)))


if __name__ == "__main__":
    main()
