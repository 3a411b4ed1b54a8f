"""page.py - docs/performance.md and its pictures, and the tables of bench/README.md, written from a file of results.

    python3 bench/page.py        again from bench/results/comparison.json, without measuring

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import os
import statistics

import plots
import tables
from results import Measured
from sides import ROOT

PAGE = os.path.join(ROOT, "docs", "performance.md")
PICTURES = os.path.join(ROOT, "docs", "performance")
FIGURES = os.path.join(ROOT, "bench", "README.md")
BEGIN, END = "<!-- script/bench compare -->\n", "<!-- end of compare -->\n"
KEPT = os.path.join(ROOT, "bench", "results", "comparison.json")
US = "hawser"
PROTOCOLS = ("kafka", "amqp", "sqs")
NAMES = {"kafka": "Apache Kafka", "amqp": "RabbitMQ", "sqs": "ElasticMQ"}
# A side's rival at the durability that it has, or the nearest that can be had.
EQUAL = {"kafka": "apache-kafka", "amqp": "rabbitmq", "sqs": "elasticmq-stored"}


def ratios(measured, protocol, figure, rival):
    """{scenario: theirs divided by ours}"""
    found = {}
    for scenario in measured.scenarios(protocol):
        ours, theirs = (measured.median((protocol, scenario, side), figure) for side in (US, rival))
        if ours and theirs:
            found[scenario] = theirs / ours
    return found


def span(values, digits=0):
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def headline(measured, protocol):
    cpu = ratios(measured, protocol, "cpu_s_m", EQUAL[protocol]).values()
    rate = [1 / r for s, r in ratios(measured, protocol, "rate", EQUAL[protocol]).items() if "a second" not in s]
    if not cpu or not rate:
        return f"- **{tables.TITLES[protocol]}**: {NAMES[protocol]} was not measured beside it."
    return (f"- **{tables.TITLES[protocol]}**: for the same work {NAMES[protocol]} takes {statistics.median(cpu):.0f} times the processor time "
            f"({span(cpu)}); Hawser does {statistics.median(rate):.0f} times as much a second ({span(rate, 1)}).")


def mixed_headline(measured):
    best = {}
    for scenario in measured.scenarios("mixed"):
        for side in measured.sides_of("mixed", scenario):
            key = ("mixed", scenario, side)
            best[side] = (measured.median(key, "cores"), measured.median(key, "resident_mb"))
    others = [best[s] for s in best if not s.startswith(US)]
    if US not in best or not others:
        return []
    (cores, memory), (their_cores, their_memory) = best[US], others[0]
    return [f"- **All three at once**, the same fixed load: {cores:.2f} cores and {memory:.0f} MB, where three brokers side by side take "
            f"{their_cores:.2f} cores and {their_memory:.0f} MB."]


def behind(measured):
    """Where a rival of equal durability is better: a row for each figure."""
    rows = []
    for protocol in PROTOCOLS:
        for rival in {s for _, _, s in measured.rows if not s.startswith(US) and measured.sides[s]["durable"] == measured.sides[US]["durable"]}:
            for figure, title, scale, more in (("rate", "a second", 1, True), ("p50_us", "p50 ms", 1e-3, False), ("p99_us", "p99 ms", 1e-3, False),
                                               ("cpu_s_m", "CPU s per million", 1, False), ("peak_mb", "peak MB", 1, False)):
                for scenario, ratio in ratios(measured, protocol, figure, rival).items():
                    if (ratio > 1.02 and more and " a second" not in scenario) or (ratio < 0.98 and not more):
                        ours, theirs = (measured.median((protocol, scenario, s), figure) * scale for s in (US, rival))
                        rows.append([tables.TITLES[protocol], scenario, title, plots.number(ours), plots.number(theirs), rival])
    return rows


def picture(measured, protocol):
    unit = tables.UNITS[protocol]
    scenarios = measured.scenarios(protocol)
    sides_of = {s: measured.sides_of(protocol, s) for s in scenarios}
    panels = [plots.Panel(title, what, {(s, side): tables.median_of(measured, (protocol, s, side), figure, scale)
                                        for s in scenarios for side in sides_of[s]})
              for title, what, figure, scale in (("Rate", f"{unit}s a second; longer is better", "rate", 1),
                                                 ("Processor time", f"s per million {unit}s; shorter is better", "cpu_s_m", 1),
                                                 ("Latency, p99", "ms; shorter is better", "p99_us", 1e-3))]
    labels = {name: f"{name} ({one['durable']})" for name, one in measured.sides.items()}
    return plots.picture(tables.TITLES[protocol], scenarios, sides_of, panels, labels)


def mixed_picture(measured):
    scenarios = measured.scenarios("mixed")
    sides_of = {s: sorted(measured.sides_of("mixed", s), key=lambda side: not side.startswith(US)) for s in scenarios}
    names = {s: "all three at once" for s in scenarios}
    panels = [plots.Panel(title, what, {(names[s], side): tables.median_of(measured, ("mixed", s, side), figure, scale)
                                        for s in scenarios for side in sides_of[s]})
              for title, what, figure, scale in (("Processor time", "cores in use; shorter is better", "cores", 1),
                                                 ("Memory", "MB resident; shorter is better", "resident_mb", 1),
                                                 ("Kafka's latency, p99", "ms; shorter is better", "kafka_p99_us", 1e-3))]
    return plots.picture(tables.TITLES["mixed"], list(names.values()), {names[s]: sides_of[s] for s in scenarios}, panels, {})


def page(measured):
    m = measured.machine
    present = [p for p in PROTOCOLS if p in measured.protocols()]
    lines = ["# Performance", "", "<!-- Written by script/bench compare. -->", "",
             "Hawser beside what it stands in for, on one machine, in one run, with one load for all, at equal durability: an acknowledged message is",
             "on disk. What is marked `os` or `memory` is relaxed: acknowledged sooner, and lost with the power.", ""]
    if m["load_before"] > m["cores"] / 2:
        lines += [f"The machine was busy with other work when this was measured (load average {m['load_before']:.0f}): of these figures trust the ratios of",
                  "processor time, not rates and latencies.", ""]
    lines += [headline(measured, p) for p in present] + mixed_headline(measured) + [""]
    for protocol in present:
        lines += [f"## {tables.TITLES[protocol]}", "", f"![{tables.TITLES[protocol]}: rate, processor time and latency](performance/{protocol}.svg)", ""]
    if "mixed" in measured.protocols():
        lines += ["## All three protocols at once", "", f"{measured.scenarios('mixed')[0]}, on Hawser alone and on three brokers side by side.", "",
                  "![processor time, memory and latency](performance/mixed.svg)", "", tables.table(*tables.mixed_rows(measured)), ""]
    rows = behind(measured)
    lines += ["## Where Hawser is behind", ""]
    lines += [tables.table(["protocol", "scenario", "figure", "hawser", "rival", "whose"], rows)] if rows else [
        "In no row at equal durability, this time."]
    lines += ["", "## Who was measured", "", *[f"- {line}" for line in tables.settings(measured)]]
    lines += [f"- {line}" for r in dict.fromkeys(r["protocol"] for r in measured.skipped) for line in tables.skipped(measured, r)]
    lines += ["", f"{m['cores']} cores ({m['cpu']}), {m['memory_gb']} GB, Linux {m['kernel']}; load average {m['load_before']} before; medians of "
              f"{measured.rounds()} interleaved rounds; load and brokers share the cores. `script/bench compare` repeats it, in less than twenty minutes.",
              "All figures with their spread, how it is measured, and what was found and changed: [bench/README.md](../bench/README.md).", ""]
    return "\n".join(lines)


def figures(measured):
    """Everything in numbers."""
    parts = [f"### {tables.TITLES[p]}\n\n{tables.table(*tables.rows_of(measured, p))}\n" for p in measured.protocols() if p != "mixed"]
    m = measured.machine
    return "\n".join(parts + [f"Commit {m['commit']}; medians of {measured.rounds()} rounds, and (smallest–largest); load average {m['load_before']} before.\n"])


def replaced(text, begin, end, inside):
    """`text` with other words between its two marks."""
    before, rest = text.split(begin)
    return before + begin + "\n" + inside + "\n" + end + rest.split(end)[1]


def write(path=KEPT):
    measured = Measured(path)
    os.makedirs(PICTURES, exist_ok=True)
    pictures = {p: picture(measured, p) for p in PROTOCOLS if p in measured.protocols()}
    if "mixed" in measured.protocols():
        pictures["mixed"] = mixed_picture(measured)
    for name, svg in pictures.items():
        with open(os.path.join(PICTURES, name + ".svg"), "w", encoding="utf-8") as f:
            f.write(svg)
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(page(measured))
    with open(FIGURES, encoding="utf-8") as f:
        text = f.read()
    with open(FIGURES, "w", encoding="utf-8") as f:
        f.write(replaced(text, BEGIN, END, figures(measured)))


if __name__ == "__main__":
    write()
