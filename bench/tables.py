"""tables.py - the medians as tables, for people (aligned) and for pages (Markdown: the same text).

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
UNITS = {"amqp": "message", "kafka": "record", "sqs": "request"}
TITLES = {"amqp": "AMQP 0-9-1", "kafka": "Kafka", "sqs": "SQS", "mixed": "All three protocols at once", "start": "Start"}


def shown(value, digits):
    return "" if value is None else f"{value:,.{digits}f}"


def spread(values, digits):
    """The median with the smallest and the largest, if there are several."""
    if not values:
        return ""
    middle = sorted(values)[len(values) // 2] if len(values) % 2 else sum(sorted(values)[len(values) // 2 - 1:len(values) // 2 + 1]) / 2
    text = shown(middle, digits)
    return text if len(values) == 1 else f"{text} ({shown(min(values), digits)}–{shown(max(values), digits)})"


def columns(protocol):
    """(title, figure, digits, scale, with its spread)"""
    unit = UNITS[protocol]
    found = [(f"{unit}s/s", "rate", 0, 1, True), ("MB/s", "mb_s", 1, 1, False),
             ("p50 ms", "p50_us", 2, 1e-3, False), ("p99 ms", "p99_us", 2, 1e-3, False), ("p99.9 ms", "p999_us", 2, 1e-3, False),
             (f"broker CPU s per million {unit}s", "cpu_s_m", 2, 1, True)]
    if protocol == "kafka":
        found.append(("broker CPU s/GB", "cpu_s_gb", 2, 1, False))
    return found + [("load's CPU s/M", "load_cpu_s_m", 2, 1, False), ("peak MB", "peak_mb", 0, 1, False),
                    ("written/byte", "written", 2, 1, False), ("to disk/byte", "stored", 2, 1, False)]


def protocol_rows(measured, protocol):
    head = ["scenario", "side", "durable"] + [c[0] for c in columns(protocol)]
    rows = []
    for scenario in measured.scenarios(protocol):
        for side in measured.sides_of(protocol, scenario):
            key = (protocol, scenario, side)
            cells = [scenario, side, measured.sides[side]["durable"]]
            for _, figure, digits, scale, spreads in columns(protocol):
                values = [v * scale for v in measured.values(key, figure)]
                cells.append(spread(values, digits) if spreads else shown(median_of(measured, key, figure, scale), digits))
            rows.append(cells)
    return head, rows


def median_of(measured, key, figure, scale):
    value = measured.median(key, figure)
    return None if value is None else value * scale


def mixed_rows(measured):
    head = ["what", "cores used", "resident MB", "AMQP p50, p99 ms", "Kafka p50, p99 ms", "SQS p50, p99 ms"]
    rows = []
    for scenario in measured.scenarios("mixed"):
        for side in measured.sides_of("mixed", scenario):
            key = ("mixed", scenario, side)
            pairs = [", ".join(shown(median_of(measured, key, f"{p}_{q}_us", 1e-3), 2) for q in ("p50", "p99"))
                     for p in ("amqp", "kafka", "sqs")]
            rows.append([side, spread(measured.values(key, "cores"), 2), shown(measured.median(key, "resident_mb"), 0), *pairs])
    return head, rows


def start_rows(measured):
    head = ["start", "side", "ready after ms", "resident MB when idle", "KB per idle connection"]
    rows = []
    for scenario in measured.scenarios("start"):
        for side in measured.sides_of("start", scenario):
            key = ("start", scenario, side)
            rows.append([scenario, side, spread(measured.values(key, "ready_ms"), 1), shown(measured.median(key, "idle_mb"), 1),
                         shown(measured.median(key, "kb_each"), 1)])
    return head, rows


def rows_of(measured, protocol):
    if protocol == "mixed":
        return mixed_rows(measured)
    if protocol == "start":
        return start_rows(measured)
    return protocol_rows(measured, protocol)


def table(head, rows):
    widths = [max(len(str(r[i])) for r in [head] + rows) for i in range(len(head))]
    lines = [head, ["-" * w for w in widths]] + rows
    return "\n".join("| " + " | ".join(str(c).ljust(w) for c, w in zip(row, widths)) + " |" for row in lines)


def skipped(measured, protocol):
    return [f"{r['side']}: not measured: {r['skipped']}" for r in measured.skipped if r["protocol"] == protocol]


def settings(measured):
    """Who was measured with what durability: below every set of tables."""
    used = {side for _, _, side in measured.rows} | {r["side"] for r in measured.skipped}
    return [f"{name} ({one['durable']}): {one['durability']}" for name, one in measured.sides.items()
            if name in used and one["durable"]]


def report(measured):
    parts = []
    for protocol in measured.protocols():
        head, rows = rows_of(measured, protocol)
        parts.append(f"{TITLES[protocol]}: medians of {measured.rounds()} rounds, and (smallest–largest)\n\n{table(head, rows)}")
    notes = [line for p in dict.fromkeys(r["protocol"] for r in measured.skipped) for line in skipped(measured, p)]
    return "\n\n".join(parts + ["\n".join(settings(measured) + notes)])
