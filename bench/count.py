# SPDX-License-Identifier: ISC
"""Requests per operation, from what the daemon prints with -d, and its system calls per request,
from strace -c -f. Two runs, as each disturbs the other."""

import collections
import contextlib
import re
import signal
import subprocess
import time

from measure import mounted
from peers import Daemon
from report import table
from shell import Failed, need

SILENT = {"FORGET", "BATCH_FORGET", "INTERRUPT"}  # without an answer, and not on anybody's behalf


def count_requests(work, peer, store):
    """{opcode: how often}"""
    peer.extra = ("-d",)
    try:
        with mounted(work, peer, store) as layers:
            log = layers.run / "log"
            start = log.stat().st_size
            work.run(layers.mnt, layers.base)
            with open(log, "rb") as f:
                f.seek(start)
                opcodes = re.findall(rb"opcode: (\w+)", f.read())
    finally:
        peer.extra = ()
    return dict(collections.Counter(o.decode() for o in opcodes).most_common())


def count_calls(work, peer, store):
    """{system call: how often}"""
    with mounted(work, peer, store) as layers:
        out = store.temp / "strace"
        trace = subprocess.Popen(["strace", "-c", "-f", "-o", out, "-p", str(peer.daemon.pid)],
                                 stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)  # strace says nothing when it has attached
        work.run(layers.mnt, layers.base)
        trace.send_signal(signal.SIGINT)
        trace.wait()
        calls = {}
        for line in out.read_text(encoding="ascii").splitlines():
            with contextlib.suppress(ValueError, IndexError):
                fields = line.split()
                if fields[-1] != "total":
                    calls[fields[-1]] = int(fields[3])
    return dict(sorted(calls.items(), key=lambda c: -c[1]))


def count_workload(work, peers, store):
    """{peer: {"requests", "calls", "error"}} of the peers that are daemons. Raises Missing."""
    need("strace")
    results = {}
    try:
        store.make(work)
        for peer in peers:
            if not isinstance(peer, Daemon):
                continue
            out = results[peer.name] = {"requests": {}, "calls": {}, "error": None}
            try:
                out["requests"] = count_requests(work, peer, store)
                out["calls"] = count_calls(work, peer, store)
            except Failed as e:
                out["error"] = str(e)
    finally:
        store.destroy()
    return results


def largest(counts, ops, total):
    """The largest of the counts, per operation."""
    return ", ".join(f"{name} {c / ops:.2f}" for name, c in list(counts.items())[:7]
                     if c * 50 > total)


def report(works, results):
    rows = []
    for work in works:
        for peer, out in results.get(work.name, {}).items():
            requests = {k: c for k, c in out["requests"].items() if k not in SILENT}
            asked, calls = sum(requests.values()), sum(out["calls"].values())
            rows.append([work.name, peer, out["error"] or f"{asked / work.ops:.2f}",
                         largest(requests, work.ops, asked),
                         f"{calls / asked:.2f}" if asked else "-",
                         largest(out["calls"], asked or 1, calls)])
    print(table(["workload", "daemon", "requests per operation", "which", "calls per request",
                 "which"], rows))
