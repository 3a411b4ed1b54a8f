"""scenarios.py - the rows of the comparison: a load program, its options, and whether the short comparison has it, too.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
from dataclasses import dataclass, field

KEYS = ("BENCHBENCHBENCHBENCH", "benchbenchbenchbenchbenchbenchbenchbench")
SIGNED = ("--set", f"sqs.access_key={KEYS[0]}", "--set", f"sqs.secret_key={KEYS[1]}")
TIMED = ("amqp_load", "kafka_load", "sqs_load")            # the others run for a count, or for as long as their rate says


@dataclass
class Scenario:
    protocol: str
    name: str               # (in brackets: run, but not shown)
    program: str
    options: list
    main: bool = False      # a row of the short comparison
    settings: tuple = ()    # of Hawser
    cold: bool = False      # the page cache is emptied of the side's data before
    less: dict = field(default_factory=dict)        # options for the others, which would take too long

    @property
    def shown(self):
        return not self.name.startswith("(")


def words(**options):
    return [word for name, value in options.items() for word in ("--" + name.replace("_", "-"), str(value))]


def amqp(count):
    many = words(publishers=10, consumers=10, queues=10, window=200, prefetch=200, ack=20)
    wide = words(publishers=100, consumers=100, queues=100, window=50, prefetch=100, ack=20)
    fan = words(fanout=1, publishers=1, consumers=100, queues=100, window=100, ack=20)

    def row(name, options, main=False, **other):
        return Scenario("amqp", name, "amqp_load", options, main, **other)

    return [
        row("(warm-up)", words(size=1024, count=count(350000), window=4000), True),
        row("16 B", words(size=16, count=count(500000)), True),
        row("1 KiB", words(size=1024, count=count(200000)), True),
        row("16 B, 10 queues", words(size=16, count=count(300000)) + many),
        row("1 KiB, 10 queues", words(size=1024, count=count(200000)) + many, True),
        row("64 KiB", words(size=65536, count=count(10000), window=100, prefetch=100, ack=10)),
        row("16 B, 100 queues", words(size=16, count=count(300000)) + wide),
        row("1 KiB, 100 queues", words(size=1024, count=count(200000)) + wide),
        row("16 B, fan-out to 100 queues", words(size=16, count=count(5000)) + fan),
        row("1 KiB, fan-out to 100 queues", words(size=1024, count=count(5000)) + fan, True),
        row("1 KiB, each acked", words(size=1024, count=count(100000), ack=1)),
        row("16 B, transient", words(size=16, count=count(300000), transient=1)),
        row("1 KiB, publish then drain", words(size=1024, count=count(100000), drain=1)),
        row("1 KiB, one by one", words(size=1024, count=count(3000), window=1, ack=1)),
        row("1 KiB, 5000 a second", words(size=1024, count=count(15000), rate=5000, ack=1), True),
        Scenario("amqp", "topic routing, 1,000 bindings", "queues_load",
                 words(queues=100, connections=16, in_flight=2000, topics=1000, publish=count(300000)), True,
                 less={"--publish": count(30000)}),
        Scenario("amqp", "PerfTest, 1 KiB, 2 and 2", "PerfTest",
                 words(producers=2, consumers=2, confirm=3000, multi_ack_every=3000, qos=3000, size=1024, pmessages=count(50000),
                       cmessages=count(50000))),
        Scenario("amqp", "request and reply, 500 a second", "reply_load", words(rate=500, count=count(2000)), True),
    ]


def kafka(count):
    def produce(name, topic, main=False, mb=400, **options):
        return Scenario("kafka", name, "kafka_load", words(topic=topic, mb=count(mb), **options), main)

    def fetch(name, topic, main=False, cold=False, mb=1500, **options):
        return Scenario("kafka", name, "kafka_load", words(mode="fetch", topic=topic, mb=count(mb), **options), main, cold=cold)

    b16, one, hundred = 16384, 102600, 102400
    rows = [
        produce("(warm-up)", "warm", True, mb=300, batch=b16),
        produce("produce 100 B", "k100b", True, mb=200, batch=b16, record=100),
        produce("produce 1 KiB", "k1k", True, batch=b16),
        produce("produce 100 KiB", "k100k", True, batch=one, record=hundred),
        produce("produce 1 KiB, 100 partitions", "k1kp", True, batch=b16, connections=10, partitions=100, spread=1),
        produce("produce 1 KiB, lz4", "k1kz", True, batch=b16, lz4=1),
        produce("produce 1 KiB, 10 connections", "k1kc", batch=b16, connections=10),
        produce("produce 1 KiB, 100 connections", "k1kcc", True, batch=b16, connections=100, partitions=100),
        produce("produce 1 KiB, batches of 1 MB", "k1m", batch=1000000),
        produce("produce 1 KiB, 500 a second", "krate", True, batch=1100, record=1024, rate=500, connections=10, mb=2.2),
    ]
    for size, topic, options in (("100 B", "k100b", {"batch": b16, "record": 100}), ("1 KiB", "k1k", {"batch": b16}),
                                 ("100 KiB", "k100k", {"batch": one, "record": hundred})):
        rows += [produce(f"produce {size}, acks {acks}", f"{topic}a{acks}", acks == 1 and size == "1 KiB", mb=200, acks=acks, **options)
                 for acks in (1, 0)]
    rows += [
        Scenario("kafka", "producer-perf-test, 1 KiB", "producer-perf-test",
                 words(topic="k1k", num_records=count(300000), record_size=1024, warmup_records=count(50000))),
        fetch("consume 100 B", "k100b"),
        fetch("consume 1 KiB", "k1k", True),
        fetch("consume 100 KiB", "k100k"),
        fetch("consume 1 KiB, lz4", "k1kz"),
        fetch("consume 1 KiB, 100 partitions", "k1kp", connections=100, partitions=100),
        fetch("consume 1 KiB, from cold data", "k1k", True, cold=True, mb=400, once=1),
    ]
    return rows


def sqs(count):
    keys = ["--key", KEYS[0], "--secret", KEYS[1]]

    def row(name, options, main=False, signed=True, program="sqs_load"):
        return Scenario("sqs", name, program, options + (keys if signed else []), main, SIGNED if signed else ())

    return [
        row("(warm-up)", words(connections=16, count=count(10000)), True),
        row("1 connection", words(connections=1, count=count(4000)), True),
        row("16 connections", words(connections=16, count=count(40000)), True),
        row("256 connections", words(connections=256, count=count(60000)), True),
        row("1 connection, tens", words(connections=1, count=count(40000), batch=10)),
        row("16 connections, tens", words(connections=16, count=count(200000), batch=10), True),
        row("256 connections, tens", words(connections=256, count=count(200000), batch=10)),
        row("16 connections, unsigned", words(connections=16, count=count(40000)), signed=False),
        row("send to waiting receive, 200 a second", words(rate=200, count=count(1000)), True, program="poll_load"),
    ]


def scenarios(what, share, seconds):
    """The rows of one protocol, or of all; `share` of the full counts, and `seconds` at most for those that end by time."""
    def count(full):
        return max(1, int(full * share))

    found = [row for protocol, rows in (("amqp", amqp), ("kafka", kafka), ("sqs", sqs)) if what in (protocol, "all")
             for row in rows(count)]
    for row in found:
        if row.program in TIMED:
            row.options += words(seconds=seconds)
    return found
