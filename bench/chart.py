# SPDX-License-Identifier: ISC
"""The chart: how many times as long as overlayfs each peer takes, a row for each workload.

An SVG written by hand. The background is transparent and all colours are of middle brightness or
change with the viewer's scheme, so that it can be read on light and dark pages.
"""

import math
from xml.sax.saxutils import escape

from peers import Ours
from report import mean, ratio

COLOURS = {"kernel": "#2f9e63", "fuse-overlayfs": "#d9622b", "unionfs-fuse": "#8a63d2"}
ROW, LEFT, RIGHT, TOP, WIDTH = 17, 190, 24, 64, 860
LOW, HIGH = 0.125, 32.0
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #333a44; }
  .head { font-weight: 600; }
  .note { fill: #69727d; }
  .grid { stroke: #8b949e; stroke-opacity: .3; }
  .ours { stroke: #3b82d6; stroke-width: 2; }
  .band { fill: #8b949e; fill-opacity: .09; }
  @media (prefers-color-scheme: dark) { text { fill: #d0d7de; } .note { fill: #9aa4af; } }
"""


def place(value):
    """Where a ratio lies, on a logarithmic scale."""
    value = min(max(value, LOW), HIGH)
    part = math.log(value / LOW) / math.log(HIGH / LOW)
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def dot(name, x, y):
    """Each peer has a form of its own: colour is not all that tells them."""
    fill = f'fill="{COLOURS[name]}"'
    if name == "kernel":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {fill}/>'
    if name == "unionfs-fuse":
        return (f'<path d="M{x:.1f} {y - 5:.1f} l5 9 h-10 z" {fill}/>')
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" {fill}/>'


def label(x, y, text, kind="", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">'
            f'{escape(text)}</text>')


def legend(names):
    out, x = [label(LEFT, 18, "Time of each peer, overlayfs = 1; further right is slower", "head")], LEFT
    for name in names:
        out += [dot(name, x + 5, 34), label(x + 14, 38, name)]
        x += 130
    return out


def scale(bottom):
    out, value = [], LOW
    while value <= HIGH:
        x = place(value)
        kind = "ours" if value == 1 else "grid"
        text = f"{value:g}" if value >= 1 else f"1/{round(1 / value)}"
        out += [f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom}" class="{kind}"/>',
                label(x, TOP - 10, text, "note", "middle")]
        value *= 2
    return out


def row(y, title, times, bold=False):
    out = [label(LEFT - 10, y + 4, title, "head" if bold else "", "end")]
    for name, value in times.items():
        if value:
            out.append(dot(name, place(1 / value), y))
    return out


def chart(results, works, names):
    """The SVG's text; peers without a colour, such as the plain directory, are not in it."""
    names = [p for p in COLOURS if p in names]
    lines = [(w.name, {p: ratio(results[w.name], p) for p in names})
             for w in works if w.name in results and results[w.name][Ours.name]["seconds"]]
    bottom = TOP + ROW * (len(lines) + 1)
    body = [*legend(names), *scale(bottom)]
    for i, (title, times) in enumerate(lines):
        y = TOP + ROW * i + ROW / 2
        if i % 2 == 0:
            body.append(f'<rect x="0" y="{y - ROW / 2:.1f}" width="{WIDTH}" height="{ROW}" '
                        'class="band"/>')
        body += row(y, title, times)
    body += row(bottom - ROW / 2 + 2, "geometric mean",
                {p: mean(results, p) for p in names}, bold=True)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 8}" '
            f'width="{WIDTH}" height="{bottom + 8}">\n<style>{STYLE}</style>\n' +
            "\n".join(body) + "\n</svg>\n")
