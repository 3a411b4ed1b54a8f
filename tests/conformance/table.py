#!/usr/bin/env python3
# table.py - turn the results of the scenarios into docs/compatibility.md.
#
#     table.py RESULTS... > docs/compatibility.md      RESULTS.census, where there is one, goes into it, too
#     table.py --count RESULTS...          only "N passed, N failed, N skipped"
#     table.py --failed RESULTS...         one line per failure
#
# RESULTS are the files that the scenarios wrote (HAWSER_TEST_RESULTS): a JSON line for each.
# A row is a scenario, a column a client.  Cases of one scenario share a row
# while they agree; where they do not, the row says which failed.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import sys
from collections import OrderedDict

RANK = {"failed": 2, "passed": 1, "skipped": 0}
SIGN = {"failed": "**no**", "passed": "yes", "skipped": "–", None: ""}
CHAPTERS = ["The article's examples", "Kafka", "Kafka, every client", "Kafka, Apache's tools", "Connections and channels",
            "Exchanges and bindings", "Queues", "Publishing and confirms", "Consuming and acknowledging", "AMQP from the command line", "SQS",
            "SQS on the wire", "Crossing protocols", "The command"]


def load(paths):
    """One result for each (chapter, scenario, client): a failure outweighs all."""
    found = OrderedDict()
    for path in paths:
        with open(path) as f:
            for line in f:
                it = json.loads(line)
                key = (it["chapter"], it["scenario"], it["client"])
                if key not in found or RANK[it["outcome"]] > RANK[found[key]["outcome"]]:
                    found[key] = it
    return list(found.values())


def count(results):
    total = {name: sum(r["outcome"] == name for r in results) for name in RANK}
    return "%d passed, %d failed, %d skipped" % (total["passed"], total["failed"], total["skipped"])


def split(scenario):
    """'a batch comes back (gzip)' -> ('a batch comes back', 'gzip')"""
    words, _, case = scenario.partition(" (")
    return words, case.rstrip(")")


def rows_of(results):
    """{scenario: {client: {case: outcome}}} in the order of the files."""
    rows = OrderedDict()
    for r in sorted(results, key=lambda r: (rank_of_file(r["order"][0]), r["order"])):
        words, case = split(r["scenario"])
        rows.setdefault(words, {}).setdefault(r["client"], OrderedDict())[case] = r["outcome"]
    return rows


def rank_of_file(name):
    """The libraries first: they tell more scenarios than the command line tools."""
    return 0 if "python" in name or "boto3" in name else 1


def cell(cases):
    if not cases:
        return ""
    outcomes = set(cases.values())
    if len(outcomes) == 1:
        return SIGN[outcomes.pop()]
    failed = [case for case, outcome in cases.items() if outcome == "failed"]
    if not failed:
        return "yes; – " + ", ".join(case for case, outcome in cases.items() if outcome == "skipped")
    return "**no**: " + ", ".join(failed)


def chapter(title, results):
    clients = sorted({r["client"] for r in results}, key=lambda c: (min(
        rank_of_file(r["order"][0]) for r in results if r["client"] == c), c))
    lines = ["## " + title, "", "| scenario | " + " | ".join(clients) + " |", "|---" * (len(clients) + 1) + "|"]
    for words, by_client in rows_of(results).items():
        cases = [case for case in next(iter(by_client.values())) if case]
        label = words.replace("|", "\\|") + (" (%s)" % ", ".join(cases).replace("|", "\\|") if 0 < len(cases) <= 6 else "")
        lines.append("| %s | %s |" % (label, " | ".join(cell(by_client.get(c)) for c in clients)))
    lines += ["", "%s." % count(results), ""]
    return lines


SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "protocols", "kafka", "kafka.schema")


def ranges(versions):
    """{1, 2, 3, 7} -> '1-3, 7'"""
    spans = []
    for v in sorted(versions):
        if spans and v == spans[-1][1] + 1:
            spans[-1][1] = v
        else:
            spans.append([v, v])
    return ", ".join("%d" % a if a == b else "%d-%d" % (a, b) for a, b in spans)


def census(paths):
    """What the clients asked for: the wire between them and the broker was read (kafka/census.py)."""
    used = {}                                           # {client: {API key: versions}}
    for path in paths:
        if os.path.exists(path + ".census"):
            with open(path + ".census") as f:
                for it in map(json.loads, f):
                    used.setdefault(it["client"], {}).setdefault(it["api"], set()).add(it["version"])
    if not used:
        return []
    with open(SCHEMA) as f:
        offered = re.findall(r"^api (\d+) +(\w+) .* serve (\S+)$", f.read(), re.M)
    clients = sorted(used)
    lines = ["## Kafka, which client asks for what", "",
             "The versions of each API that were seen on the wire in the scenarios above; a library takes the newest that it and the",
             "broker know.", "", "| API | offered | " + " | ".join(clients) + " |", "|---" * (len(clients) + 2) + "|"]
    for key, name, served in offered:
        lines.append("| %s %s | %s | %s |" % (key, name, served, " | ".join(ranges(used[c].get(int(key), ())) for c in clients)))
    return lines + [""]


def table(results, paths):
    lines = [
        "# What works with which client", "",
        "Generated by `tests/conformance/run` from what unmodified clients did at a running broker; do not edit. A row is a",
        "scenario, whose text is in `tests/conformance/`; **no** is a failure, – means that the client cannot say it or is not there, an",
        "empty cell that nobody wrote it for this client. Scenarios can be run at RabbitMQ 3.10 and at",
        "Apache Kafka, too (`tests/conformance/peers/`), which not all of them were; what SQS answers was recorded at AWS by others.", "",
        "In all: %s." % count(results), "",
    ]
    for title in CHAPTERS + sorted({r["chapter"] for r in results} - set(CHAPTERS)):
        mine = [r for r in results if r["chapter"] == title]
        if mine:
            lines += chapter(title, mine)
        if title == "Kafka, every client":
            lines += census(paths)
    return "\n".join(lines)


def main():
    words = [a for a in sys.argv[1:] if a.startswith("--")]
    paths = [a for a in sys.argv[1:] if not a.startswith("--")]
    results = load(paths)
    if "--count" in words:
        print(count(results))
    elif "--failed" in words:
        for r in results:
            if r["outcome"] == "failed":
                print("%s: %s [%s]\n    %s" % (r["chapter"], r["scenario"], r["client"], r["why"].splitlines()[0] if r["why"] else ""))
    else:
        print(table(results, paths))


if __name__ == "__main__":
    main()
