#!/usr/bin/env python3
"""Do script/bench's tables, pictures, page and guard say what was measured?    tests/bench/check.py

On made-up results, with what goes wrong in practice: sides that failed, figures that nobody has, rounds that are missing.
"""
import json
import os
import sys
import tempfile
import xml.dom.minidom

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))

import guard  # noqa: E402
import page  # noqa: E402
import plots  # noqa: E402
import results  # noqa: E402
import scenarios  # noqa: E402
import sides  # noqa: E402
import tables  # noqa: E402


class Side:
    def __init__(self, name, durable):
        self.name, self.durable, self.durability = name, durable, f"{name} does what {durable} says"


def run(rate, cpu, p99=1000.0, **more):
    return {"name": "-", "rate": str(rate), "cpu_s_m": str(cpu), "p99_us": str(p99), "peak_mb": "10", **more}


def made_up(records, skipped=()):
    """`records`: (round, protocol, scenario, side, fields)"""
    with tempfile.TemporaryDirectory() as folder:
        r = results.Results(os.path.join(folder, "r.json"), [Side("hawser", "fsync"), Side("hawser-os", "os"), Side("apache-kafka", "fsync"),
                                                              Side("rabbitmq", "fsync"), Side("elasticmq-stored", "os")])
        for one in records:
            r.add(*one)
        for one in skipped:
            r.skip(*one)
        return results.Measured(r.path)


def kafka(side, *runs, scenario="produce"):
    return [(n + 1, "kafka", scenario, side, fields) for n, fields in enumerate(runs)]


def medians_and_spread():
    m = made_up(kafka("hawser", run(100, 5), run(300, 7), run(200, 6)))
    head, rows = tables.protocol_rows(m, "kafka")
    row = dict(zip(head, rows[0]))
    return row["records/s"] == "200 (100–300)" and row["broker CPU s per million records"] == "6.00 (5.00–7.00)" and row["durable"] == "fsync"


def an_even_number_of_rounds():
    return tables.spread([4.0, 1.0, 2.0, 3.0], 1) == "2.5 (1.0–4.0)" and tables.spread([], 1) == "" and tables.spread([7.0], 0) == "7"


def latencies_are_milliseconds():
    m = made_up(kafka("hawser", run(100, 5, p99=1234)))
    head, rows = tables.protocol_rows(m, "kafka")
    return dict(zip(head, rows[0]))["p99 ms"] == "1.23"


def a_figure_that_nobody_has_is_empty():
    m = made_up(kafka("hawser", run(100, 5)))
    head, rows = tables.protocol_rows(m, "kafka")
    return dict(zip(head, rows[0]))["p50 ms"] == ""


def a_skipped_side_is_told_once():
    m = made_up(kafka("hawser", run(1, 1)), [("kafka", "apache-kafka", "not\ninstalled")] * 2)
    return tables.report(m).count("apache-kafka: not measured: not installed") == 1


def settings_of_all_who_were_measured_and_nobody_else():
    m = made_up(kafka("hawser", run(1, 1)), [("kafka", "apache-kafka", "gone")])
    said = tables.settings(m)
    return [line.split(" ")[0] for line in said] == ["hawser", "apache-kafka"] and "fsync" in said[0]


def the_file_is_whole_after_every_record():
    with tempfile.TemporaryDirectory() as folder:
        r = results.Results(os.path.join(folder, "r.json"), [Side("hawser", "fsync")])
        r.add(1, "kafka", "a", "hawser", run(1, 1))
        first = json.load(open(r.path))
        r.add(1, "kafka", "b", "hawser", run(1, 1))
        return len(first["records"]) == 1 and len(json.load(open(r.path))["records"]) == 2


def ratios_are_theirs_by_ours():
    m = made_up(kafka("hawser", run(100, 2)) + kafka("apache-kafka", run(50, 50)))
    return page.ratios(m, "kafka", "cpu_s_m", "apache-kafka") == {"produce": 25.0} and "takes 25 times" in page.headline(m, "kafka") \
        and "does 2 times" in page.headline(m, "kafka")


def what_was_not_measured_has_no_ratio():
    m = made_up(kafka("hawser", run(100, 2)))
    return "was not measured" in page.headline(m, "kafka")


def where_we_are_behind_is_said():
    m = made_up(kafka("hawser", run(100, 2, p99=9000)) + kafka("apache-kafka", run(150, 50, p99=3000)))
    rows = page.behind(m)
    return [r[2] for r in rows] == ["a second", "p99 ms"] and rows[1][3:5] == ["9.00", "3.00"]


def relaxed_rivals_are_no_reason_to_be_behind():
    m = made_up([(1, "sqs", "16 connections", "hawser", run(100, 2)), (1, "sqs", "16 connections", "elasticmq-stored", run(900, 1))])
    return page.behind(m) == []


def the_fixed_rate_is_nobodys_merit():
    name = "produce 1 KiB, 500 a second"
    m = made_up(kafka("hawser", run(499, 2), scenario=name) + kafka("apache-kafka", run(520, 50), scenario=name))
    return page.behind(m) == []


def bar_lengths(svg):
    document = xml.dom.minidom.parseString(svg)
    return [float(r.getAttribute("width")) for r in document.getElementsByTagName("rect") if r.getAttribute("height") == str(plots.BAR - 3)]


def bars_are_as_long_as_their_values():
    panel = plots.Panel("t", "u", {("s", "a"): 10.0, ("s", "b"): 5.0, ("z", "a"): 0.0, ("z", "b"): None})
    lengths = bar_lengths(plots.picture("x", ["s", "z"], {"s": ["a", "b"], "z": ["a", "b"]}, [panel], {}))
    return lengths == [plots.PANEL - plots.NUMBER, (plots.PANEL - plots.NUMBER) / 2, 1.0]


def names_are_escaped_in_pictures():
    svg = plots.picture("a & b", ["<s>"], {"<s>": ["a"]}, [plots.Panel("t", "u", {("<s>", "a"): 1.0})], {"a": "<a>"})
    return bool(xml.dom.minidom.parseString(svg))


def the_page_stands_with_little():
    m = made_up(kafka("hawser", run(100, 2)) + [(1, "mixed", "all", "hawser", {"cores": "0.2", "resident_mb": "50"})])
    text = page.page(m)
    return "performance/kafka.svg" in text and "performance/amqp.svg" not in text and "mixed.svg" in text


def only_what_is_between_the_marks_is_replaced():
    return page.replaced("a\n<b>\nold\n<e>\nz\n", "<b>\n", "<e>\n", "new\n") == "a\n<b>\n\nnew\n\n<e>\nz\n"


def mixed_is_compared():
    fields = {"cores": "0.2", "resident_mb": "50"}
    m = made_up([(1, "mixed", "all", "hawser", fields), (1, "mixed", "all", "apache-kafka", {"cores": "1.5", "resident_mb": "2000"})])
    return "0.20 cores and 50 MB, where three brokers side by side take 1.50 cores and 2000 MB" in page.mixed_headline(m)[0]


def the_guard_fails_beyond_five_percent():
    base = {w: 1000 for w, *_ in guard.WORK}
    same, slower = dict(base), dict(base, fetch=1051)
    faster = dict(base, fetch=500)
    return guard.judge(same, base)[1] == [] and guard.judge(slower, base)[1] == ["fetch"] and guard.judge(faster, base)[1] == [] \
        and guard.judge(dict(base, fetch=1049), base)[1] == []


def the_guard_knows_each_piece_of_its_baseline():
    with open(guard.BASELINE) as f:
        return set(json.load(f)["instructions"]) == {w for w, *_ in guard.WORK}


def totals_of_a_callgrind_file():
    return guard.totals("events: Ir\nfn=a\n1 5\ntotals: 123\n") == 123 and guard.totals("events: Ir\nfn=a\n") is None


def result_lines_are_read_with_blanks_in_names():
    line = "name=produce 1 KiB, lz4 count=3 rate=12.5\nnoise\n"
    return list(sides.parse(line)) == [{"name": "produce 1 KiB, lz4", "count": "3", "rate": "12.5"}]


def no_scenario_breaks_the_result_line():
    names = [(s.protocol, s.name) for s in scenarios.scenarios("all", 1, 1)]
    return not any("=" in name for _, name in names) and len(set(names)) == len(names)


def what_is_fetched_was_produced():
    made = set()
    for s in scenarios.scenarios("kafka", 1, 1):
        topic = s.options[s.options.index("--topic") + 1]
        if "fetch" in s.options and (topic not in made if not s.main else (topic, True) not in made):
            return False
        made |= {topic, (topic, s.main)}
    return True


def main():
    checks = [f for name, f in globals().items() if callable(f) and getattr(f, "__code__", None) and f.__code__.co_argcount == 0
              and f.__module__ == __name__ and name != "main"]
    wrong = 0
    for check in checks:
        try:
            good = check()
        except Exception as e:  # one that raises has failed
            good = False
            print(f"{check.__name__}: {type(e).__name__}: {e}")
        if not good:
            wrong += 1
            print(f"{check.__name__}: no")
    print(f"{len(checks) - wrong} passed, {wrong} failed")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
