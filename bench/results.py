"""results.py - what was measured: a file of records that is whole after every run, and the medians of it.

The file is JSON: {"machine": {...}, "sides": {name: {"durable", "durability"}}, "records": [...]}.  A record is one run: round,
protocol, scenario, side, and the figures of the load program; or "skipped": a sentence, for a side that could not be measured.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import platform
import statistics
import subprocess

from sides import ROOT


def text_of(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read()
    except OSError:
        return ""


def machine():
    cpu = [line.split(":", 1)[1].strip() for line in text_of("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    memory = text_of("/proc/meminfo").split()
    disk = subprocess.run(["stat", "-f", "-c", "%T", ROOT], capture_output=True, text=True).stdout.strip()
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {"cores": os.cpu_count(), "cpu": cpu[0] if cpu else platform.machine(), "memory_gb": round(int(memory[1]) / 1e6) if memory else 0,
            "kernel": platform.release(), "filesystem": disk, "commit": commit, "load_before": round(os.getloadavg()[0], 1)}


class Results:
    """Records as they come.  The file is replaced whole, so that what was measured survives whatever ends the run."""

    def __init__(self, path, sides):
        self.path, self.records = path, []
        self.head = {"machine": machine(), "sides": {s.name: {"durable": s.durable, "durability": s.durability} for s in sides}}

    def add(self, round_, protocol, scenario, side, fields):
        figures = {k: number(v) for k, v in fields.items() if k != "name"}
        self.records.append({"round": round_, "protocol": protocol, "scenario": scenario, "side": side, **figures})
        self.save()

    def skip(self, protocol, side, why):
        """Said once for a protocol, however many of its rows are missing, and in one line."""
        why = " ".join(why.split())[:200]
        if not any(r["protocol"] == protocol and r["side"] == side and "skipped" in r for r in self.records):
            self.records.append({"protocol": protocol, "side": side, "skipped": why})
            self.save()

    def save(self):
        with open(self.path + ".new", "w", encoding="utf-8") as f:
            records = ",\n".join("  " + json.dumps(r) for r in self.records)
            f.write('{"machine": %s,\n "sides": %s,\n "records": [\n%s\n]}\n' % (
                json.dumps(self.head["machine"]), json.dumps(self.head["sides"]), records))
        os.replace(self.path + ".new", self.path)


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


class Measured:
    """The file, read: rows in the order in which they were measured first."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            whole = json.load(f)
        self.machine, self.sides = whole["machine"], whole["sides"]
        self.skipped = [r for r in whole["records"] if "skipped" in r]
        self.rows = {}
        for r in whole["records"]:
            if "skipped" not in r:
                self.rows.setdefault((r["protocol"], r["scenario"], r["side"]), []).append(r)

    def rounds(self):
        return max((int(r["round"]) for (p, _, _), rows in self.rows.items() if p != "start" for r in rows), default=0)

    def protocols(self):
        return list(dict.fromkeys(p for p, _, _ in self.rows))

    def scenarios(self, protocol):
        return list(dict.fromkeys(s for p, s, _ in self.rows if p == protocol))

    def sides_of(self, protocol, scenario):
        return [side for p, s, side in self.rows if (p, s) == (protocol, scenario)]

    def values(self, key, figure):
        return sorted(r[figure] for r in self.rows.get(key, []) if isinstance(r.get(figure), float))

    def median(self, key, figure):
        """None if nobody measured that."""
        values = self.values(key, figure)
        return statistics.median(values) if values else None
