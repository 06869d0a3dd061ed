# SPDX-License-Identifier: ISC
"""What must not grow: the cost per entry with the size of a directory or tree, of a look-up with
depth and layers; and memory, idle time, start and size of the program."""

import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from measure import mounted, progress
from peers import OURS, Ours
from report import table
from shell import ROOT, Failed, Missing, run
from workload import Workload, make_files, n

ENTRIES = {"quick": [1000, 2000], "default": [1000, 10000, 50000], "whole": [1000, 20000, 200000]}
FILES = {"quick": [1000, 2000], "default": [10000, 100000], "whole": [10000, 100000, 1000000]}
PER_DIR = 100
TRIES = 3
FREE_MIB = 24  # a daemon may have as much, and PER_FILE bytes for each file the kernel holds
PER_FILE = 200


def goal(name, value, unit, limit=None):
    """One line of the table; met says whether value <= limit."""
    return {"name": name, "value": value, "unit": unit, "limit": limit,
            "met": None if limit is None else value <= limit}


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def fixture(lowers, layers=1, cold=True, before=None):
    return Workload(None, "scaling", "scaling", "", 1, lowers, layers=layers, cold=cold,
                    before=before)


def cost(store, work, function, tries=TRIES):
    """The median time of function(mnt), each time in a fresh mount."""
    times = []
    store.make(work)
    try:
        for _ in range(tries):
            with mounted(work, Ours(), store) as layers:
                times.append(timed(lambda: function(layers.mnt)))
    finally:
        store.destroy()
    return statistics.median(times)


def entries(store, size):
    """Listing with attributes, and creating, in directories of growing size."""
    listing, creating = [], []
    for count in ENTRIES[size]:
        progress(f"scaling: a directory of {count:,} entries")
        work = fixture(lambda dirs, _, k=count: make_files(dirs[0] / "d", k))
        listing.append(cost(store, work, lambda mnt: run("ls", "-ln", mnt / "d")) / count)
        creating.append(cost(store, work, lambda mnt: make_files(mnt / "d", 1000, prefix="new"))
                        / 1000)
    first, last = ENTRIES[size][0], ENTRIES[size][-1]
    return [
        goal(f"ls -l, µs per entry, {first:,} entries", listing[0] * 1e6, "µs"),
        goal(f"ls -l, µs per entry, {last:,} entries", listing[-1] * 1e6, "µs", listing[0] * 1.5e6),
        goal(f"create, µs per file, beside {first:,} entries", creating[0] * 1e6, "µs"),
        goal(f"create, µs per file, beside {last:,} entries", creating[-1] * 1e6, "µs",
             creating[0] * 1.5e6)]


def make_many(top, files):
    for d in range(files // PER_DIR):
        make_files(top / f"{d // 1000:03}" / f"{d % 1000:03}", PER_DIR)


def walk(mnt):
    run("find", mnt, "-printf", "%s")


def memory(store, daemon, files):
    """MiB at the start, after a walk, and after the kernel has forgotten what it saw."""
    values = [daemon.status("VmRSS")]
    walk(store.top / "run" / "mnt")
    values += [daemon.status("VmRSS"), daemon.status("VmHWM")]
    if ROOT:
        Path("/proc/sys/vm/drop_caches").write_text("2\n", encoding="ascii")
        time.sleep(2)  # forgetting goes on behind it
    values.append(daemon.status("VmRSS"))
    start, walked, peak, forgot = (v / 1024 for v in values)
    room = FREE_MIB + files * PER_FILE / (1 << 20)
    out = [goal("memory at the start", start, "MiB"),
           goal(f"after a walk over {files:,} files", walked, "MiB"),
           goal("at its peak", peak, "MiB", room)]
    if ROOT:
        out.append(goal("after the kernel has forgotten them", forgot, "MiB",
                        max(start * 1.5, start + 4)))
    return out


def trees(store, size):
    """Walking trees of growing size, and the memory for the largest."""
    walking, out = [], []
    for count in FILES[size]:
        progress(f"scaling: a tree of {count:,} files")
        work = fixture(lambda dirs, _, k=count: make_many(dirs[0] / "t", k))
        walking.append(cost(store, work, walk, 1 if count > 200000 else TRIES) / count)
        if count == FILES[size][-1]:
            store.make(work)
            peer = Ours()
            try:
                with mounted(work, peer, store):
                    out = memory(store, peer, count)
            finally:
                store.destroy()
    first, last = FILES[size][0], FILES[size][-1]
    return [goal(f"walk, µs per file, {first:,} files", walking[0] * 1e6, "µs"),
            goal(f"walk, µs per file, {last:,} files", walking[-1] * 1e6, "µs",
                 walking[0] * 1.5e6), *out]


def stat_all(directory, count):
    for i in range(count):
        os.lstat(f"{directory}/f{i:05}")


def depth(store):
    """First look-ups in a directory below 24 levels of 20 lowers, against one level of one."""
    progress("scaling: depth and layers")
    count = n(4000)
    deep = "/".join(f"l{i:02}" for i in range(24))

    def lookups(path, layers, where):
        def lowers(dirs, _base):
            for i, d in enumerate(dirs):
                make_files(d / path, 10, prefix=f"o{i}-")
            make_files(dirs[where] / path, count)

        work = fixture(lowers, layers, before=lambda mnt, _: os.lstat(f"{mnt}/{path}/o0-00000"))
        return cost(store, work, lambda mnt: stat_all(f"{mnt}/{path}", count)) / count * 1e6

    flat = lookups("d", 1, 0)
    return [goal("stat, 1 level, 1 lower", flat, "µs"),
            goal("stat, 24 levels, 20 lowers, in the first", lookups(deep, 20, 0), "µs",
                 flat * 1.5),
            goal("stat, 24 levels, 20 lowers, in the last", lookups(deep, 20, -1), "µs",
                 flat * 1.5)]


def start_and_idle(store):
    progress("scaling: start, idle")
    times = []
    work = fixture(lambda dirs, _: make_files(dirs[0] / "d", 10), cold=False)
    store.make(work)
    peer = Ours()
    try:
        for _ in range(10):
            layers = store.begin(work)
            try:
                times.append(timed(lambda k=layers: peer.mount(k)))
            finally:
                peer.unmount(layers)
                store.end(layers)
        with mounted(work, peer, store):
            before = peer.usage()[0], peer.status("voluntary_ctxt_switches")
            time.sleep(3)
            idle = peer.usage()[0] - before[0]
            wakes = peer.status("voluntary_ctxt_switches") - before[1]
    finally:
        store.destroy()
    return [goal("mount ready", statistics.median(times) * 1e3, "ms", 20),
            goal("idle, CPU in 3 s", idle, "s", 0),
            goal("idle, wake-ups in 3 s", wakes, "", 0)]


def binary(store):
    """Size of the program without symbols."""
    path = shutil.which(OURS)
    out = store.temp / "stripped"
    try:
        run("strip", "-o", out, path)
    except (OSError, subprocess.CalledProcessError):
        shutil.copy(path, out)
    return [goal("program, stripped", out.stat().st_size / 1024, "KiB", 200)]


def measure(store, size):
    """All of it: a list of goals."""
    out = []
    for part in (lambda: entries(store, size), lambda: trees(store, size), lambda: depth(store),
                 lambda: start_and_idle(store), lambda: binary(store)):
        try:
            out += part()
        except (Failed, Missing) as e:
            out.append({"name": f"failed: {e}", "value": None, "unit": "", "limit": None,
                        "met": False})
    progress("")
    return out


def goals_table(goals):
    rows = []
    for g in goals:
        value = "-" if g["value"] is None else f"{g['value']:.4g} {g['unit']}".rstrip()
        limit = "" if g["limit"] is None else f"{g['limit']:.4g} {g['unit']}".rstrip()
        rows.append([g["name"], value, limit, {True: "yes", False: "NO", None: ""}[g["met"]]])
    return table(["what", "measured", "goal", "met"], rows) if rows else ""
