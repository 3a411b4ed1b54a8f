"""log_bars.py - the storage engine against its bars: one table, each figure beside what limits it, in the same run.

    script/bench log                all of it, under a quarter of an hour
    script/bench log --short        a tenth of the data: whether it runs, not how fast
    script/bench log --only fetch   the scenarios whose name contains this
    script/bench log --write        the table goes into bench/README.md, too

A share of the disk is taken of fio's sequential write, before and after each produce run, on the same file system; a share
of the network of iperf3 over loopback.  The figures of a scenario that failed are missing, and it is said why.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

from peers import RabbitMQ
from sides import DATA, ROOT, Hawser, load

MB = 1000000
HEAD = ["figure", "bar", "now", "met", "beside"]
PAGE = os.path.join(ROOT, "bench", "README.md")
BEGIN, END = "<!-- script/bench log --write -->\n", "<!-- end -->\n"


class Bars:
    """The table as it grows: figure, bar, what was measured, whether that is enough, and what stood beside it."""

    def __init__(self):
        self.rows = []

    def add(self, figure, bar, value, met=None, beside=""):
        self.rows.append([figure, bar, value, "" if met is None else "yes" if met else "NO", beside])
        print(" | ".join(self.rows[-1]), file=sys.stderr, flush=True)

    def table(self):
        return "\n".join("| " + " | ".join(row) + " |" for row in [HEAD, ["---"] * len(HEAD)] + self.rows)


class Lab:
    """One broker at a time, on fresh data."""

    def __init__(self, quick):
        self.bars, self.quick = Bars(), quick
        self.side = Hawser("hawser", os.environ.get("HAWSER_BINARY", os.path.join(ROOT, "build", "hawser")))

    def amount(self, full, least=1):
        return max(least, full // 10 if self.quick else full)

    def run(self, program, name, *options, settings=()):
        """The last line of results of one load program; an empty dictionary if it failed."""
        lines = load(self.side, program, name, [str(o) for o in options], settings)
        return {k: float(v) if k != "name" else v for k, v in lines[-1].items()} if lines else {}

    def fresh(self, keep=False):
        self.side.stop()
        if not keep:
            shutil.rmtree(DATA, ignore_errors=True)
        os.makedirs(DATA, exist_ok=True)


# ------------------------------------------------------------------------------------------------------ what limits ----

def fio(lab):
    """MB/s of one sequential writer with writes of 1 MiB and a sync at the end."""
    size = lab.amount(1024, 128)
    done = subprocess.run(["fio", "--name=limit", f"--directory={DATA}", "--rw=write", "--bs=1M", f"--size={size}M", "--ioengine=psync",
                           "--end_fsync=1", "--unlink=1", "--output-format=json"], capture_output=True, text=True)
    return json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]["write"]["bw_bytes"] / MB


def iperf_once(seconds):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    server = subprocess.Popen(["iperf3", "-s", "-1", "--forceflush", "-B", "127.0.0.1", "-p", port], stdout=subprocess.PIPE, text=True)
    try:
        server.stdout.readline()        # it listens
        time.sleep(0.2)
        done = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", port, "-t", str(seconds), "-J"], capture_output=True, text=True)
        return json.loads(done.stdout).get("end", {}).get("sum_received", {}).get("bits_per_second", 0) / 8 / MB
    finally:
        server.kill()
        server.wait()


def iperf(lab):
    """MB/s of one stream over loopback; on a busy machine the first attempt may fail."""
    for _ in range(3):
        rate = iperf_once(1 if lab.quick else 3)
        if rate:
            return rate
    raise RuntimeError("iperf3 gives no result")


class Syscalls:
    """strace counts what a broker's threads ask of the kernel."""

    def __init__(self, pid):
        self.file = os.path.join(DATA, "strace")
        self.process = subprocess.Popen(["strace", "-f", "-c", "-q", "-o", self.file, "-p", str(pid)], stderr=subprocess.DEVNULL)
        time.sleep(0.7)

    def counts(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        found = {}
        for line in open(self.file):
            words = line.split()
            if len(words) >= 5 and words[3].isdigit():
                found[words[-1]] = int(words[3])
        found.pop("total", None)
        return found


# -------------------------------------------------------------------------------------------------------- scenarios ----

def bulk(lab):
    """acks=all with fsync: a share of the disk, processor time, bytes written."""
    for text, batch, connections in (("16 KiB", 16384, 64), ("64 KiB", 65536, 16), ("1 MiB", 1000000, 4)):
        name = f"produce {text}, {connections} connections"
        lab.fresh()
        before = fio(lab)
        shape = ["--batch", batch, "--connections", connections, "--partitions", 4]
        lab.run("kafka_load", "warm-up", *shape, "--mb", lab.amount(600), "--topic", "warm")
        r = lab.run("kafka_load", name, *shape, "--mb", lab.amount(1500))
        if not r:
            continue
        lab.side.stop()
        disk = (before + fio(lab)) / 2
        share = r["mb_s"] / disk
        lab.bars.add(name, "85 % of fio", f"{100 * share:.0f} %", share >= .85, f"{r['mb_s']:.0f} of {disk:.0f} MB/s")
        lab.bars.add(name + ": processor time", "1.3 CPU s/GB", f"{r['cpu_s_gb']:.2f}", r["cpu_s_gb"] <= 1.3,
                     f"p50 {r['p50_us'] / 1e3:.1f}, p99 {r['p99_us'] / 1e3:.1f} ms")
        lab.bars.add(name + ": written per byte", "1.1", f"{r['written']:.2f}", r["written"] <= 1.1,
                     f"{r['stored']:.2f} to the disk by the kernel's count")


def stay(lab):
    """Small appends that stay: once to the journal, once to a segment."""
    lab.fresh()
    shape = ["--batch", 1100, "--record", 1000, "--connections", 64, "--partitions", 64, "--inflight", 32]
    lab.run("kafka_load", "warm-up", *shape, "--mb", lab.amount(500), "--topic", "stay")
    r = lab.run("kafka_load", "small appends that stay", *shape, "--mb", lab.amount(1000), "--topic", "stay")
    if r:
        lab.bars.add("1 KiB appends that stay: written per byte", "2.1", f"{r['written']:.2f}", r["written"] <= 2.1,
                     f"{r['stored']:.2f} to the disk; {r['mb_s']:.0f} MB/s, {r['rate']:.0f} a second")


def long_lived(lab):
    """Queues in which one of ten messages is not settled."""
    lab.fresh()
    shape = ["--size", 1024, "--publishers", 4, "--consumers", 4, "--queues", 4, "--window", 500, "--ack", 1, "--keep", 10,
             "--prefetch", 0]
    lab.run("amqp_load", "warm-up", *shape, "--count", lab.amount(400000))
    r = lab.run("amqp_load", "10 % long-lived", *shape, "--count", lab.amount(800000))
    if r:
        lab.bars.add("queues, 10 % stay: written per byte", "1.5", f"{r['written']:.2f}", r["written"] <= 1.5,
                     f"{r['stored']:.2f} to the disk; {r['mb_s']:.0f} MB/s")


def fetch(lab):
    """Cached data over loopback: a share of iperf3, processor time, system calls."""
    for name, mb, full in (("fetch, recent 32 MB", 32, 8000), ("fetch, 400 MB in the page cache", 400, 8000)):
        lab.fresh()
        lab.run("kafka_load", "fill", "--topic", "cached", "--batch", 1000000 if mb > 100 else 65536, "--mb", mb)
        lab.run("kafka_load", "warm-up", "--mode", "fetch", "--topic", "cached", "--mb", 2 * mb)
        before = iperf(lab)
        r = lab.run("kafka_load", name, "--mode", "fetch", "--topic", "cached", "--mb", lab.amount(full))
        net = (before + iperf(lab)) / 2
        if not r:
            continue
        calls = Syscalls(lab.side.broker(())[0])
        lab.run("kafka_load", name, "--mode", "fetch", "--topic", "cached", "--mb", 500)
        counts = calls.counts()
        share = r["mb_s"] / net
        top = ", ".join(f"{k} {v / 500:.1f}" for k, v in sorted(counts.items(), key=lambda c: -c[1])[:4])
        lab.bars.add(name, "70 % of iperf3", f"{100 * share:.0f} %", share >= .7, f"{r['mb_s']:.0f} of {net:.0f} MB/s")
        lab.bars.add(name + ": processor time", "0.5 CPU s/GB", f"{r['cpu_s_gb']:.2f}", r["cpu_s_gb"] <= .5)
        lab.bars.add(name + ": system calls per MB", "", f"{sum(counts.values()) / 500:.1f}", None, top)


def many_producers(lab):
    """Small messages of 10,000 connections to 1,000 queues, each waiting for its confirm."""
    lab.fresh()
    shape = ["--size", 100, "--publishers", 10000, "--consumers", 0, "--queues", 1000, "--window", 1]
    name = "10,000 producers, 1,000 queues"
    lab.run("amqp_load", "warm-up", *shape, "--count", lab.amount(200000))
    before = lab.side.metrics()
    r = lab.run("amqp_load", name, *shape, "--count", lab.amount(1000000))
    after = lab.side.metrics()
    if not r:
        return
    syncs = after["fsync_seconds_count"] - before["fsync_seconds_count"]
    commits = after["commits_total"] - before["commits_total"]
    lab.bars.add(f"{name}: messages per fsync", "", f"{r['count'] / syncs:.0f}", None,
                 f"{r['count'] / commits:.0f} a commit; {r['rate']:.0f} a second, {r['cpu_s_m']:.1f} CPU s/M")
    half = lab.run("amqp_load", name, *shape, "--count", lab.amount(200000), "--rate", int(r["rate"] / 2))
    if half:
        lab.bars.add(f"{name}: latency at half load", "", f"p50 {half['p50_us'] / 1e3:.1f} ms", None,
                     f"p99 {half['p99_us'] / 1e3:.1f}, p99.9 {half['p999_us'] / 1e3:.1f} ms at {half['rate']:.0f} a second, open loop")


def latency(lab):
    """A confirm at 5,000 a second, beside RabbitMQ, interleaved; and at half of what one publisher can do."""
    shape = ["--size", 1024, "--ack", 1]
    count = lab.amount(30000)
    sides = [lab.side]
    if shutil.which("rabbitmq-server"):
        sides.append(RabbitMQ())
    runs = {side.name: [] for side in sides}
    lab.fresh()
    try:
        for _ in range(1 if lab.quick else 3):
            for side in sides:
                runs[side.name] += load(side, "amqp_load", "5000 a second", [str(o) for o in shape] + ["--count", str(count), "--rate", "5000"])
        most = lab.run("amqp_load", "all out", "--size", 1024, "--count", lab.amount(300000))
        half = lab.run("amqp_load", "half", *shape[:2], "--count", lab.amount(300000), "--rate", int(most["rate"] / 2)) if most else {}
    finally:
        for side in sides[1:]:
            side.end()
    middle = {n: {q: statistics.median(float(r[q]) / 1e3 for r in rows) for q in ("p50_us", "p99_us", "p999_us")}
              for n, rows in runs.items() if rows}
    ours, theirs = middle.get("hawser"), middle.get("rabbitmq")
    if ours:
        text = {n: f"p50 {m['p50_us']:.1f}, p99.9 {m['p999_us']:.1f}" for n, m in middle.items()}
        beside = f"RabbitMQ p99 {theirs['p99_us']:.1f} ({text['rabbitmq']})" if theirs else "RabbitMQ is not installed"
        lab.bars.add("confirm at 5,000 a second: p99", "RabbitMQ's", f"{ours['p99_us']:.1f} ms",
                     ours["p99_us"] <= theirs["p99_us"] if theirs else None, f"{text['hawser']}; {beside}")
    if half:
        lab.bars.add("one publisher at half load", "", f"p50 {half['p50_us'] / 1e3:.1f} ms", None,
                     f"p99 {half['p99_us'] / 1e3:.1f}, p99.9 {half['p999_us'] / 1e3:.1f} ms at {half['rate']:.0f} a second, open loop")


def active(lab):
    """Durable rate with 10,000 active queues, and partitions, beside the rate with one."""
    rates = {}
    for what, size, more in (("queues, 100 B", 100, ()), ("queues, 1000 B", 1000, ()), ("queues, 100 B, consumed", 100, ("--consume", 1))):
        for queues in (1, 10000):
            lab.fresh()
            shape = ["--queues", queues, "--connections", 16, "--size", size, "--in-flight", 20000]
            lab.run("queues_load", "warm-up", *shape, "--publish", lab.amount(500000))
            r = lab.run("queues_load", f"{queues} {what}", *shape, "--declare", 0, "--publish", lab.amount(2000000 if size < 1000 else 800000),
                        *more)
            rates[what, queues] = r
    for partitions in (1, 10000):
        lab.fresh()
        shape = ["--batch", 1100, "--record", 1000, "--connections", 16, "--inflight", 60, "--partitions", partitions, "--spread", 1]
        lab.run("kafka_load", "warm-up", *shape, "--mb", lab.amount(200))
        r = lab.run("kafka_load", f"{partitions} partitions", *shape, "--mb", lab.amount(400))
        rates["partitions", partitions] = r
    for what in dict.fromkeys(what for what, _ in rates):
        one, many = rates[what, 1], rates[what, 10000]
        if one and many:
            share = many["rate"] / one["rate"]
            lab.bars.add(f"10,000 active {what}", "0.9 of one", f"{share:.2f}", share >= .9,
                         f"{many['rate']:.0f} of {one['rate']:.0f} a second; CPU s/M {many['cpu_s_m']:.2f} and {one['cpu_s_m']:.2f}")


def routing(lab):
    """A topic exchange with 100,000 bindings beside the default exchange: messages to the same 1,000 queues."""
    lab.fresh()
    shape = ["--queues", 1000, "--connections", 16, "--in-flight", 10000, "--publish", lab.amount(500000)]
    bindings = lab.amount(100000)
    routed = lab.run("queues_load", "topics", *shape, "--topics", bindings)
    direct = lab.run("queues_load", "direct", *shape, "--declare", 0)
    if routed and direct:
        lab.bars.add(f"routing with {bindings:,} topic bindings", "", f"{routed['cpu_s_m'] - direct['cpu_s_m']:.1f} us a message", None,
                     f"CPU s/M {routed['cpu_s_m']:.1f}, by queue name {direct['cpu_s_m']:.1f}; {routed['rate']:.0f} a second")


def idle_queues(lab):
    """A million queues that nothing happens to."""
    lab.fresh()
    count = lab.amount(1000000)
    before = lab.side.broker(()) and lab.side.resident_mb()
    r = lab.run("queues_load", "declare", "--queues", count, "--connections", 16)
    if not r:
        return
    now = lab.side.resident_mb()
    again = lab.side.restart()
    lab.bars.add(f"{count:,} idle queues: memory", "400 MB", f"{now:.0f} MB", now < 400,
                 f"{(now - before) * 2**20 / count:.0f} bytes each; {r['rate']:.0f} declared a second; "
                 f"after kill -9 ready in {again:.1f} s with {lab.side.resident_mb():.0f} MB")


def one_queue(lab):
    """A hundred million messages in one queue."""
    lab.fresh()
    count = lab.amount(100000000) // (10 if lab.quick else 1)
    r = lab.run("queues_load", "fill", "--queues", 1, "--connections", 4, "--size", 16, "--in-flight", 40000, "--publish", count)
    if not r:
        return
    now = lab.side.resident_mb()
    again = lab.side.restart()
    after = lab.side.resident_mb()
    lab.bars.add(f"{count:,} messages in one queue: memory", "512 MB", f"{max(now, after):.0f} MB", max(now, after) < 512,
                 f"{now:.0f} when filled, {after:.0f} after a restart; peak {r['peak_mb']:.0f}; {r['rate']:.0f} a second")
    lab.bars.add(f"{count:,} messages in one queue: restart", "10 s", f"{again:.1f} s", again < 10, "after kill -9")


SCENARIOS = [bulk, stay, long_lived, fetch, many_producers, latency, active, routing, idle_queues, one_queue]


def write(text):
    """Into the page, in the place of what was measured before."""
    page = open(PAGE, encoding="utf-8").read()
    before, rest = page.split(BEGIN)
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + "\n" + text + "\n\n" + END + rest.split(END)[1])


def main(quick, only, to_page):
    lab = Lab(quick)
    began, load_before = time.monotonic(), os.getloadavg()[0]
    for scenario in SCENARIOS:
        if only in scenario.__name__:
            try:
                scenario(lab)
            except Exception as e:      # the others are worth having
                print(f"{scenario.__name__}: {type(e).__name__}: {e}", file=sys.stderr)
            lab.fresh()
    text = lab.bars.table() + (f"\n\n{time.monotonic() - began:.0f} s; {os.cpu_count()} cores; load average {load_before:.1f} before,"
                               f" {os.getloadavg()[0]:.1f} after; {lab.side.durability}.")
    print(text)
    if to_page:
        write(text)
