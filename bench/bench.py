"""bench.py - runs the load programs against Hawser and others in turn, and prints a table.  Called by script/bench.

Rounds are interleaved: every scenario runs on every side before the next scenario, and all of it is repeated.  The table has
medians, and for what one compares (processor time) the smallest and the largest value too.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import argparse
import os
import resource
import shutil
import statistics
import subprocess

import log_bars
from sides import DATA, PROGRAMS, ROOT, Hawser, RabbitMQ, load, parse

KEYS = ("BENCHBENCHBENCHBENCH", "benchbenchbenchbenchbenchbenchbenchbench")
SIGNED = ("--set", f"sqs.access_key={KEYS[0]}", "--set", f"sqs.secret_key={KEYS[1]}")


def scenarios(what, quick):
    """(protocol, name, options, settings of the broker); options of the load program."""
    n = 0.2 if quick else 1

    def count(full):
        return str(int(full * n))

    many = ["--publishers", "10", "--consumers", "10", "--queues", "10", "--window", "200", "--prefetch", "200", "--ack", "20"]
    wide = ["--publishers", "100", "--consumers", "100", "--queues", "100", "--window", "50", "--prefetch", "100", "--ack", "20"]
    fan = ["--fanout", "1", "--publishers", "1", "--consumers", "100", "--queues", "100", "--window", "100", "--ack", "20"]
    amqp = [
        ("(warm-up)", ["--size", "1024", "--count", count(350000), "--window", "4000"]),
        ("16 B", ["--size", "16", "--count", count(500000)]),
        ("1 KiB", ["--size", "1024", "--count", count(200000)]),
        ("16 B, 10 queues", ["--size", "16", "--count", count(300000)] + many),
        ("1 KiB, 10 queues", ["--size", "1024", "--count", count(200000)] + many),
        ("64 KiB", ["--size", "65536", "--count", count(10000), "--window", "100", "--prefetch", "100", "--ack", "10"]),
        ("16 B, 100 queues", ["--size", "16", "--count", count(300000)] + wide),
        ("1 KiB, 100 queues", ["--size", "1024", "--count", count(200000)] + wide),
        ("16 B, fan-out to 100 queues", ["--size", "16", "--count", count(5000)] + fan),
        ("1 KiB, fan-out to 100 queues", ["--size", "1024", "--count", count(5000)] + fan),
        ("1 KiB, each acked", ["--size", "1024", "--count", count(100000), "--ack", "1"]),
        ("16 B, transient", ["--size", "16", "--count", count(300000), "--transient", "1"]),
        ("1 KiB, publish then drain", ["--size", "1024", "--count", count(100000), "--drain", "1"]),
        ("1 KiB, one by one", ["--size", "1024", "--count", count(3000), "--window", "1", "--ack", "1"]),
        ("1 KiB, 5000 a second", ["--size", "1024", "--count", count(30000), "--rate", "5000", "--ack", "1"]),
    ]
    kafka = [
        ("produce 16 KiB", ["--topic", "k16", "--batch", "16384", "--mb", count(200), "--inflight", "5"]),
        ("produce 16 KiB, 16 connections", ["--topic", "k16b", "--batch", "16384", "--mb", count(400), "--connections", "16",
                                           "--partitions", "16"]),
        ("produce 64 KiB", ["--topic", "k64", "--batch", "65536", "--mb", count(400)]),
        ("produce 1 MiB", ["--topic", "k1m", "--batch", "1000000", "--mb", count(600)]),
        ("produce 64 KiB, 100 B records", ["--topic", "k100", "--batch", "65536", "--record", "100", "--mb", count(300)]),
        ("(make 32 MB)", ["--topic", "tail", "--batch", "65536", "--mb", "32"]),
        ("fetch, recent 32 MB", ["--mode", "fetch", "--topic", "tail", "--mb", count(4000)]),
        ("(make 400 MB)", ["--topic", "big", "--batch", "1000000", "--mb", "400"]),
        ("fetch, page cache", ["--mode", "fetch", "--topic", "big", "--mb", count(2000)]),
    ]
    sqs = [(f"{c} connections", ["--connections", str(c), "--count", count(k)], ())
           for c, k in ((1, 3000), (16, 40000), (64, 60000))]
    sqs += [
        ("16 connections, tens", ["--connections", "16", "--count", count(200000), "--batch", "10"], ()),
        ("16 connections, signed", ["--connections", "16", "--count", count(40000), "--key", KEYS[0], "--secret", KEYS[1]], SIGNED),
    ]
    every = {"amqp": [(*s, ()) for s in amqp], "kafka": [(*s, ()) for s in kafka], "sqs": sqs}
    return [(p, *s) for p in every if what in (p, "all") for s in every[p]]


def run_one(side, protocol, name, options, settings, results):
    for fields in load(side, f"{protocol}_load", name, options, settings):
        results.setdefault((protocol, fields["name"], side.name), []).append(fields)


def measure_start(side, results, quick):
    for i in range(3 if quick else 10):
        data = os.path.join(DATA, f"{side.name}-start")
        if i == 0:
            shutil.rmtree(data, ignore_errors=True)
        command = [os.path.join(PROGRAMS, "start_load"), "--name", "new directory" if i == 0 else "existing directory", "--"]
        for fields in parse(subprocess.run(command + side.command(data), capture_output=True, text=True).stdout):
            results.setdefault(("start", fields["name"], side.name), []).append(fields)
    run_one(side, "amqp", "idle connections", ["--idle", "200" if quick else "2000"], (), results)
    side.stop()


def numbers(rows, field):
    return [float(r[field]) for r in rows if field in r]


def median(rows, field, form="{:.0f}", scale=1):
    values = numbers(rows, field)
    return form.format(statistics.median(values) * scale) if values else ""


def spread(rows, field, form="{:.2f}"):
    values = sorted(numbers(rows, field))
    if not values:
        return ""
    return form.format(statistics.median(values)) + " (" + form.format(values[0]) + "–" + form.format(values[-1]) + ")"


def print_table(head, rows):
    widths = [max(len(str(r[i])) for r in [head] + rows) for i in range(len(head))]
    for row in [head, ["-" * w for w in widths]] + rows:
        print("| " + " | ".join(str(c).ljust(w) for c, w in zip(row, widths)) + " |")
    print()


def report(results, rounds):
    loads = [k for k in results if k[0] != "start" and k[1] != "idle connections" and not k[1].startswith("(")]
    for protocol, unit in (("amqp", "message"), ("kafka", "record"), ("sqs", "request")):
        rows = []
        for key in (k for k in loads if k[0] == protocol):
            r = results[key]
            cpu = spread(r, "cpu_s_gb") if protocol == "kafka" else spread(r, "cpu_s_m")
            rows.append([key[1], key[2], median(r, "rate"), median(r, "mb_s"), median(r, "p50_us", "{:.2f}", 1e-3),
                         median(r, "p99_us", "{:.2f}", 1e-3), cpu, median(r, "user_s_m", "{:.2f}"),
                         median(r, "load_cpu_s_m", "{:.2f}"), median(r, "peak_mb"), median(r, "written", "{:.2f}")])
        if rows:
            per = "broker CPU s/GB" if protocol == "kafka" else f"broker CPU s per million {unit}s"
            print(f"{protocol}, {rounds} rounds: median, and (smallest–largest)\n")
            print_table(["scenario", "side", f"{unit}s/s", "MB/s", "p50 ms", "p99 ms", per, "user s/M", "load's CPU s/M",
                         "peak MB", "written/byte"], rows)
    rows = [[k[1], k[2], spread(r, "ready_ms", "{:.1f}"), median(r, "idle_mb", "{:.1f}"), median(r, "kb_each", "{:.1f}")]
            for k, r in results.items() if k[0] == "start" or k[1] == "idle connections"]
    if rows:
        print_table(["start", "side", "ready after ms", "resident MB", "KB per connection"], rows)


def main():
    p = argparse.ArgumentParser(prog="script/bench")
    p.add_argument("what", nargs="?", default="all", choices=["kafka", "amqp", "sqs", "start", "all", "log"])
    p.add_argument("--quick", action="store_true", help="a fifth of the messages, fewer rounds")
    p.add_argument("--against", action="append", default=[], metavar="rabbitmq|BINARY", help="another side: may be given again")
    p.add_argument("--rounds", type=int)
    p.add_argument("--only", default="", help="scenarios whose name contains this")
    p.add_argument("--write", action="store_true", help="log: put the table into bench/README.md")
    a = p.parse_args()
    if a.write and a.what != "log":
        p.error("--write goes with log")
    rounds = a.rounds or (2 if a.quick else 5)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.makedirs(DATA, exist_ok=True)
    if a.what == "log":
        try:
            log_bars.main(a.quick, a.only, a.write)
        finally:
            shutil.rmtree(DATA, ignore_errors=True)
        return
    sides = [Hawser("hawser", os.path.join(ROOT, "build", "hawser"))]
    for other in a.against:
        sides.append(RabbitMQ() if other == "rabbitmq" else Hawser(os.path.basename(other), other))

    results = {}
    try:
        for _ in range(rounds):
            for protocol, name, options, settings in scenarios(a.what, a.quick):
                for side in sides:
                    if protocol in side.protocols and (a.only in name or name.startswith("(")):
                        run_one(side, protocol, name, options, settings, results)
            for side in sides:
                side.stop()
        for side in sides:
            if a.what in ("start", "all") and isinstance(side, Hawser):
                measure_start(side, results, a.quick)
    finally:
        for side in sides:
            side.stop()
            if isinstance(side, RabbitMQ):
                side.end()
        shutil.rmtree(DATA, ignore_errors=True)
    report(results, rounds)
    for side in sides:
        print(f"{side.name}: {side.durability}")


main()
