# SPDX-License-Identifier: ISC
"""Make a failure small: fewer operations, fewer entries of the layers; then print it."""

import os
import time

import session


def replay(binary, case, pause=0):
    """The failure of a recorded case, or None. The pause lets times of operations differ."""
    try:
        with session.Case(binary, case["spec"], case["count"], case["config"]) as c:
            c.start()
            for who, cred, op in case["ops"]:
                time.sleep(pause)
                if op[0] == "finish":
                    c.finish()
                else:
                    c.step(who, cred, op)
    except session.Failure as f:
        return f
    except OSError:
        return None  # entries that cannot be made without others
    return None


def _drop(items, fails, deadline):
    """The usual halving: leave out larger, then smaller pieces as long as it still fails."""
    size = max(1, len(items) // 2)
    while size >= 1:
        i = len(items)
        while i > 0:
            less = items[: max(0, i - size)] + items[i:]
            if time.monotonic() > deadline:
                return items
            if len(less) < len(items) and fails(less):
                items = less
            i -= size
        size //= 2
    return items


def _plainer(e):
    """Simpler forms of one entry, the simplest first."""
    if e.get("xattrs"):
        yield {**e, "xattrs": {}}
        for name in e["xattrs"]:
            yield {**e, "xattrs": {k: v for k, v in e["xattrs"].items() if k != name}}
    if e["kind"] == "d" and e["mode"] != 0o755:
        yield {**e, "mode": 0o755}
    if e["kind"] == "f" and e["mode"] != 0o644:
        yield {**e, "mode": 0o644}
    if os.geteuid() == 0 and (e.get("uid", 0) or e.get("gid", 0)):
        yield {**e, "uid": 0, "gid": 0}
    if e.get("opaque"):
        yield {**e, "opaque": []}
    if e["kind"] == "f" and e["size"] > 3:
        yield {**e, "content": [(0, b"old")], "size": 3}


def reduce(binary, case, failure, seconds):
    """(smaller case, its failure) after so many seconds at most"""
    best = {"failure": failure}
    pause = 0.005 if "mtime" in failure.kind else 0
    deadline = time.monotonic() + seconds

    def fails(**change):
        f = replay(binary, {**case, **change}, pause)
        if f is not None and f.kind == failure.kind:
            best["failure"] = f
            return True
        return False

    def entries(spec):
        return fails(spec=[e for e in case["spec"] if e["path"] == () or e in spec])

    if not fails():
        return case, failure
    for _ in range(2):
        last = case["ops"][-1:]
        ops = _drop(case["ops"][:-1], lambda x: fails(ops=x + last), deadline)
        case["ops"] = ops + last
        inner = [e for e in case["spec"] if e["path"] != ()]
        inner = _drop(inner, entries, deadline)
        case["spec"] = [e for e in case["spec"] if e["path"] == () or e in inner]
    for layer in range(case["count"] - 1, 0, -1):
        spec = [{**e, "layer": e["layer"] - (e["layer"] > layer)}
                for e in case["spec"] if e["layer"] != layer]
        if time.monotonic() < deadline and fails(spec=spec, count=case["count"] - 1):
            case["spec"], case["count"] = spec, case["count"] - 1
    for i in range(len(case["spec"])):
        for simple in _plainer(case["spec"][i]):
            spec = case["spec"][:i] + [simple] + case["spec"][i + 1 :]
            if time.monotonic() < deadline and fails(spec=spec):
                case["spec"] = spec
    for name, value in (("workers", 1), ("redirect", True), ("timeout", None), ("workdir", True)):
        config = {**case["config"], name: value}
        ops = case["ops"]
        if name == "workers":
            ops = [(0, cred, op) for _, cred, op in ops]
        if time.monotonic() < deadline and fails(config=config, ops=ops):
            case["config"], case["ops"] = config, ops
    return case, best["failure"]


def script(case):
    lines = ["config %r" % {k: v for k, v in case["config"].items()
                              if k != "tolerate"}]
    for e in sorted(case["spec"], key=lambda e: (e["layer"], e["path"])):
        rest = {k: v for k, v in e.items()
                if k not in ("layer", "path", "kind", "content", "mtime") and v not in (None, [], {})}
        if "mode" in rest:
            rest["mode"] = "%04o" % rest["mode"]
        layer = "upper" if e["layer"] == 0 else "lower%d" % e["layer"]
        lines.append("%s %s %s %s" % (layer, e["kind"], session.show(b"/".join(e["path"])),
                                      " ".join("%s=%r" % x for x in rest.items())))
    for who, cred, op in case["ops"]:
        by = "" if cred is None else " as %d" % session.CREDS[cred][0]
        lines.append("process %d%s: %s" % (who, by, session.describe(op)))
    return "\n".join(lines)
