# SPDX-License-Identifier: ISC
"""Tables of what was measured, for a terminal and in Markdown."""

import math

from peers import PEERS, Daemon, Ours


GROUPS = {"look": "looking at files", "change": "changing files", "data": "moving data",
          "programs": "programs", None: "all"}


def show(value, form):
    return "-" if value is None else form.format(value)


def ratio(out, name):
    """How many times as long as the peer we take, or None."""
    ours, theirs = out.get(Ours.name, {}).get("seconds"), out.get(name, {}).get("seconds")
    return ours / theirs if ours and theirs else None


def mean(results, name, works=None):
    """The geometric mean of all ratios to a peer, or None."""
    ratios = [r for w, out in results.items() if works is None or w in works
              if (r := ratio(out, name))]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def table(head, rows):
    """A table that reads well as it is, and is Markdown."""
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    lines = []
    for i, row in enumerate([head, ["-" * w for w in widths], *rows]):
        cells = [c.ljust(w) if k == 0 or i == 1 else c.rjust(w)
                 for k, (c, w) in enumerate(zip(row, widths))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratios(results, works, names):
    """Ours to each peer, by workload."""
    others = [name for name in names if name != Ours.name]
    rows = [[w.name, w.text, *(show(ratio(results[w.name], p), "{:.2f}") for p in others)]
            for w in works if w.name in results]
    return table(["workload", "what it does", *(f"/{p}" for p in others)], rows)


def means(results, works, names):
    """The geometric means of each group and of all."""
    others = [name for name in names if name != Ours.name]
    rows = []
    for group in [*dict.fromkeys(w.group for w in works if w.name in results), None]:
        members = {w.name for w in works if group in (None, w.group) and w.name in results}
        rows.append([f"{GROUPS[group]}, {len(members)} workloads",
                     *(show(mean(results, p, members), "{:.2f}") for p in others)])
    return table(["geometric mean", *(f"/{p}" for p in others)], rows)


def seconds(results, names):
    return table(["workload", *names],
                 [[w, *(show(out[p]["seconds"], "{:.3f}") for p in names)]
                  for w, out in results.items()])


def daemons(results, names):
    names = [p.name for p in PEERS if issubclass(p, Daemon) and p.name in names]
    return table(["workload", *names],
                 [[w, *(show(out[p]["cpu"], "{:.2f}") + " / " +
                        show(out[p]["rss_kib"] and out[p]["rss_kib"] / 1024, "{:.1f}")
                        for p in names)] for w, out in results.items()]) if names else ""


def remarks(results):
    lines = [f"{w}: {p}: {r['remark']}" for w, out in results.items()
             for p, o in out.items() for r in o["runs"][:1] if r.get("remark")]
    lines += [f"{w}: {p}: FAILED: {o['error']}" for w, out in results.items()
              for p, o in out.items() if o["error"]]
    return "\n".join(lines)


def compared(results, works, names):
    """The sections about peers, each a title and a table."""
    if not results or Ours.name not in names or len(names) == 1:
        return []
    return [("How many times as long as each peer overlayfs takes", ratios(results, works, names)),
            ("The same, together", means(results, works, names))]


def report(results, works, names, skipped):
    """Everything, on stdout."""
    sections = []
    if results:
        sections = [("Seconds (median)", seconds(results, names)),
                    ("The daemon: CPU seconds / peak RSS in MiB (median)",
                     daemons(results, names)),
                    *compared(results, works, names), ("Remarks", remarks(results))]
    sections.append(("Not measured", "\n".join(f"{w}: needs {why}" for w, why in skipped.items())))
    for title, text in sections:
        if text:
            print(f"\n{title}\n\n{text}")


def document(results, works, names, goals):
    """The ratios and the goals as a page."""
    sections = [*compared(results, works, names), ("Cost of size, memory, start", goals)]
    return "# What bench/bench measured\n" + "".join(
        f"\n## {title}\n\n{text}\n" for title, text in sections if text)
