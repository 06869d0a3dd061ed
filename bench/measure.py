# SPDX-License-Identifier: ISC
"""Rounds of a workload over all peers, and their medians.

Each run gets fresh layers, a fresh mount and a fresh daemon. The peers take turns inside a round,
in another order each round, so that a busy moment of the machine does not hit one of them alone.
A number that a run returns (files seen, bytes read) must be the same for all peers.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time

from shell import Failed, Missing

RUN_LIMIT = 300  # seconds; a peer that needs longer has failed


def progress(text):
    """Say what is being done: on a terminal in one line, into a file with the time."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(time.strftime("%X"), text, file=sys.stderr, flush=True)


def reason(error):
    """One line of what went wrong."""
    if isinstance(error, subprocess.CalledProcessError):
        text = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        return text[-1] if text else str(error)
    return str(error)


@contextlib.contextmanager
def mounted(work, peer, store):
    """Fresh layers, mounted and prepared, for one run. Raises Failed."""
    watchdog = threading.Timer(RUN_LIMIT, getattr(peer, "kill", lambda: None))
    watchdog.daemon = True
    layers = store.begin(work)
    try:
        watchdog.start()
        peer.fill(layers)
        if work.cold:
            store.cool()
        peer.mount(layers)
        if work.before:
            work.before(layers.mnt, layers.base)
        os.sync()
        yield layers
    except (subprocess.CalledProcessError, OSError) as e:
        raise Failed(reason(e)) from e
    finally:
        watchdog.cancel()
        peer.unmount(layers)
        store.end(layers)


def measure(work, peer, store):
    """One run: {"seconds", "cpu", "rss_kib", "result", "remark"}. Raises Failed."""
    with mounted(work, peer, store) as layers:
        used = peer.usage()
        start = time.perf_counter()
        result = work.run(layers.mnt, layers.base)
        seconds = time.perf_counter() - start
        sample = {"seconds": seconds, "cpu": None, "rss_kib": None, "result": result,
                  "remark": None}
        if used:
            cpu, rss = peer.usage()
            sample.update(cpu=cpu - used[0], rss_kib=rss)
        if work.after and peer.name != "plain":
            sample["remark"] = work.after(layers)
        return sample


def bench_workload(work, peers, rounds, store):
    """All peers, all rounds: {peer: {"runs": [...], "error": text or None}}. Raises Missing."""
    out = {p.name: {"runs": [], "error": None} for p in peers}
    try:
        store.make(work)
        for i in range(rounds):
            k = i % len(peers)
            for peer in peers[k:] + peers[:k]:
                if out[peer.name]["error"]:
                    continue
                progress(f"{work.name}: round {i + 1} of {rounds}, {peer.name}")
                try:
                    out[peer.name]["runs"].append(measure(work, peer, store))
                except Failed as e:
                    out[peer.name]["error"] = str(e).replace(str(store.temp), "")
    except subprocess.CalledProcessError as e:
        raise Missing("a fixture: " + reason(e)) from e
    finally:
        progress("")
        store.destroy()
    summarise(out)
    return out


def summarise(out):
    """Medians; results that differ between peers become errors of the ones in the minority."""
    results = [r["result"] for o in out.values() for r in o["runs"]]
    common = statistics.mode(results) if results else None
    for o in out.values():
        wrong = [r["result"] for r in o["runs"] if r["result"] != common]
        if wrong and not o["error"]:
            o["error"] = f"wrong result: {wrong[0]} instead of {common}"
        for key in ("seconds", "cpu", "rss_kib"):
            values = [r[key] for r in o["runs"] if r[key] is not None]
            o[key] = statistics.median(values) if values and not o["error"] else None
