"""guard.py - script/bench --quick: instructions of fixed work, against the baseline that is committed.

One broker under valgrind's callgrind, which counts every instruction of all its threads; six pieces of work, each after a warm-up of
the same kind, so that start and caches are not in the count.  Every piece is in lockstep: what is sent next waits for the
answer to what was sent, so that the broker meets the same inputs in the same portions, however loaded the machine is.

    script/bench --quick            compares with bench/baseline.json, and ends with 1 if something takes 5 % more
    script/bench --quick --write    makes what is measured now the baseline

Data is on a file system in memory, if there is one: syncs are not what is counted, and they would be most of the time.
The kernel's share is not counted, nor how long an instruction takes: for those there is the rest of bench/.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import glob
import json
import os
import platform
import subprocess
import tempfile
import time

from scenarios import words
from sides import PROGRAMS, ROOT, Hawser, load
from tables import table

BASELINE = os.path.join(ROOT, "bench", "baseline.json")
ALLOWED = 1.05


def amqp(**options):
    return "amqp_load", words(size=100, publishers=1, window=100, prefetch=100, ack=100, lockstep=1, **options)


def kafka(**options):
    return "kafka_load", words(connections=1, inflight=1, batch=16384, record=1024, max=65536, **options)


def sqs(**options):
    return "sqs_load", words(connections=1, size=1024, **options)


# (what, the unit, how many units, load program and options); half as much before warms up.  Deliver takes what publish has left,
# fetch reads what produce has written, receive (and delete) what send has sent.
WORK = [
    ("publish", "message", 30000, lambda n: amqp(consumers=0, count=n)),
    ("deliver", "message", 20000, lambda n: amqp(consumers=1, take=1, count=n)),
    ("produce", "batch of 16 KiB", 1000, lambda n: kafka(topic="guard", mb=n * 16384 // 1000000)),
    ("fetch", "64 KiB", 1000, lambda n: kafka(topic="guard", mode="fetch", mb=n * 65536 // 1000000)),
    ("send", "request", 1500, lambda n: sqs(phase="send", count=n)),
    ("receive", "message (two requests)", 1000, lambda n: sqs(phase="drain", count=n)),
]


class Watched(Hawser):
    """Hawser under callgrind."""

    def __init__(self, binary, folder):
        super().__init__("guarded", binary, folder=folder)
        self.out = os.path.join(folder, "callgrind")

    def command(self, data):
        return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.out}", "--quiet", *super().command(data)]

    def control(self, what):
        pid, _ = self.broker(())
        done = subprocess.run(["callgrind_control", what, str(pid)], capture_output=True, text=True)
        if done.returncode or "OK" not in done.stdout:
            raise RuntimeError(f"callgrind_control {what}: {(done.stdout + done.stderr).strip()}")

    def forget(self):
        self.control("-z")

    def instructions(self):
        """Since forget()."""
        before = set(glob.glob(self.out + "*"))
        self.control("-d")
        for _ in range(100):
            new = set(glob.glob(self.out + "*")) - before
            for path in new:
                found = totals(open(path).read())
                if found is not None:
                    return found
            time.sleep(0.1)
        raise RuntimeError("callgrind has written no counts")


def totals(text):
    """The number of a callgrind file; None while it is not whole."""
    lines = [line for line in text.splitlines() if line.startswith("totals:")]
    return int(lines[-1].split()[1]) if lines else None


def measure(binary, folder):
    """{what: instructions a unit}"""
    side, found = Watched(binary, folder), {}
    try:
        for what, _, count, make in WORK:
            for n in (count // 2, count):
                program, options = make(n)
                side.broker(())
                side.forget()
                lines = load(side, program, what, options)
                if not lines:
                    raise RuntimeError(f"{what}: the load program failed")
            done = float(lines[-1]["count"]) if program == "amqp_load" else units(what, lines[-1], count)
            found[what] = side.instructions() / done
    finally:
        side.stop()
    return found


def units(what, line, count):
    """Requests where bytes decide when the work ends."""
    return float(line.get("requests", count)) if what in ("produce", "fetch") else count


def judge(found, baseline):
    """The table's rows, and what has grown too much."""
    rows, worse = [], []
    for what, unit, _, _ in WORK:
        before, now = baseline.get(what), found[what]
        change = now / before - 1 if before else None
        grown = change is not None and now > before * ALLOWED
        rows.append([what, unit, f"{before:,.0f}" if before else "", f"{now:,.0f}", "" if change is None else f"{100 * change:+.1f} %",
                     "NO" if grown else "yes"])
        if grown:
            worse.append(what)
    return rows, worse


def toolchain():
    done = subprocess.run([os.environ.get("CC", "cc"), "--version"], capture_output=True, text=True)
    return f"{done.stdout.splitlines()[0] if done.stdout else 'cc'}, {platform.machine()}"


def main(binary, write):
    os.makedirs(PROGRAMS, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hawser-guard-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else PROGRAMS) as folder:
        found = measure(binary, folder)
    with open(BASELINE, encoding="utf-8") as f:
        baseline = json.load(f)
    rows, worse = judge(found, baseline["instructions"])
    print(table(["work", "unit", "baseline", "instructions now", "change", "within 5 %"], rows))
    print(f"\nbaseline: {baseline['toolchain']}; now: {toolchain()}")
    if write:
        with open(BASELINE, "w", encoding="utf-8") as f:
            json.dump({"toolchain": toolchain(), "instructions": {w: round(n) for w, n in found.items()}}, f, indent=2)
            f.write("\n")
        print(f"now the baseline: {os.path.relpath(BASELINE, ROOT)}")
        return 0
    print(f"{len(rows) - len(worse)} passed, {len(worse)} failed")
    return 1 if worse else 0

