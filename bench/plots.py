"""plots.py - what was measured as pictures (SVG): one for each protocol, and one for all three at once.

Every line of a picture is a scenario with a bar for each side, in each of its panels.  A panel's bars are scaled to the longest of
their own scenario, for scenarios differ by a factor of a thousand; the numbers are beside them.

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, NAME, PANEL, GAP = 1080, 190, 270, 26
BAR, SPACE, TOP = 13, 12, 90
NUMBER = 78                     # room behind a bar for its number
COLOURS = ["#1f6feb", "#8db8f5", "#d1495b", "#edae49", "#9aa5b1", "#5c677d"]
FONT = 'font-family="Helvetica, Arial, sans-serif"'


@dataclass
class Panel:
    title: str
    unit: str
    values: dict                # {(scenario, side): value or None}


def number(value):
    """Three digits that matter, and no more."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def text(x, y, words, size=11, anchor="start", weight="normal", fill="#24292f"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}">{escape(words)}</text>'


def colour(sides, side):
    return COLOURS[sides.index(side) % len(COLOURS)]


def legend(sides, labels):
    parts, x = [], NAME
    for side in sides:
        label = labels.get(side, side)
        parts.append(f'<rect x="{x}" y="34" width="11" height="11" fill="{colour(sides, side)}"/>')
        parts.append(text(x + 16, 44, label))
        x += 16 + 6.3 * len(label) + 22
    return parts


def bars(panel, scenario, sides, all_sides, x, y):
    parts, longest = [], max((panel.values.get((scenario, s)) or 0 for s in sides), default=0)
    for i, side in enumerate(sides):
        value, at = panel.values.get((scenario, side)), y + i * BAR
        if value is None:
            parts.append(text(x, at + 10, "–", fill="#8c959f"))
            continue
        length = max(1.0, (PANEL - NUMBER) * value / longest) if longest else 1.0
        parts.append(f'<rect x="{x}" y="{at}" width="{length:.1f}" height="{BAR - 3}" fill="{colour(all_sides, side)}"/>')
        parts.append(text(x + length + 5, at + 9.5, number(value), size=10))
    return parts


def picture(title, scenarios, sides_of, panels, labels):
    """An SVG.  `sides_of` a scenario: who has a bar in its line, in order."""
    all_sides = list(dict.fromkeys(side for s in scenarios for side in sides_of[s]))
    parts, y = legend(all_sides, labels), TOP
    for i, panel in enumerate(panels):
        parts.append(text(NAME + i * (PANEL + GAP), 64, panel.title, weight="bold"))
        parts.append(text(NAME + i * (PANEL + GAP), 79, panel.unit, size=10, fill="#57606a"))
    for scenario in scenarios:
        sides = sides_of[scenario]
        height = len(sides) * BAR
        parts.append(text(NAME - 10, y + height / 2 + 3, scenario, anchor="end"))
        for i, panel in enumerate(panels):
            parts += bars(panel, scenario, sides, all_sides, NAME + i * (PANEL + GAP), y)
        y += height + SPACE
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" {FONT}>\n'
            f'<title>{escape(title)}</title>\n<rect width="{WIDTH}" height="{y}" fill="white"/>')
    return "\n".join([head, text(10, 20, title, size=15, weight="bold"), *parts, "</svg>"]) + "\n"
