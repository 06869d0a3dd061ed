# SPDX-License-Identifier: ISC
"""Which changes of a file's content clear set-user-ID and set-group-ID, for whom."""

import os

from kit import A, B, D, F, GA, GB, H, P, ROOT, S, Fd, case, no, ok, see

GROUPLESS = 0o2666  # setgid without group execute: kept for who may give it, else cleared


def expected(mode, user, group):
    """What is left of the mode after a change of the content by this user."""
    if user is ROOT:
        return mode
    left = mode & ~0o4000
    in_group = group == user.gid or group in user.groups
    if mode & 0o10 or not in_group:
        left &= ~0o2000
    return left


def by(user):
    """A is whoever runs a case that names nobody, so most of his need no other users."""
    return None if user is A else user


def through(user, path, flags, *step):
    """Open, and one more call."""
    return [ok("open", path, flags, by=by(user), fd=path), ok(step[0], Fd(path), *step[1:], by=by(user))]


WAYS = {
    "write": lambda u, f: through(u, f, os.O_WRONLY, "write", "x", 1),
    "a write at the end": lambda u, f: through(u, f, os.O_WRONLY | os.O_APPEND, "write", "x", 1),
    "truncate": lambda u, f: ok("truncate", f, 3, by=by(u)),
    "an extending truncate": lambda u, f: ok("truncate", f, 300, by=by(u)),
    "ftruncate": lambda u, f: through(u, f, os.O_RDWR, "ftruncate", 3),
    "O_TRUNC": lambda u, f: ok("open", f, os.O_WRONLY | os.O_TRUNC, by=by(u)),
    "fallocate": lambda u, f: through(u, f, os.O_WRONLY, "fallocate", 0, 0, 9000),
}
MODES = (0o4777, 0o2777, 0o6777, 0o777, 0o1777)
for how, steps in WAYS.items():
    for user in (A, P, S, B, ROOT):
        for modes, why in ((MODES, ""), ((GROUPLESS, 0o6666), " without group execute")):
            case("%s by %s%s" % (how, user.name, why), [F("f%o" % m, m, size=5) for m in modes],
                 [[steps(user, "f%o" % m), see("f%o" % m, mode=expected(m, user, GA))] for m in modes])
    for user in (A, ROOT):
        case("%s by %s, who is not in the group" % (how, user.name),
             [F("f%o" % m, m, size=5, own=(A, GB)) for m in (GROUPLESS, 0o6777)],
             [[steps(user, "f%o" % m), see("f%o" % m, mode=expected(m, user, GB))] for m in (GROUPLESS,
                     0o6777)])

for mode in (0o6777, GROUPLESS):
    for user in (A, B, ROOT):
        left = expected(mode, user, GA)
        who = "by %s of a file of mode %04o" % (user.name, mode)
        names = [D("d"), F("f", mode, size=5, own=(A, GA)), H("g", "f"), H("d/h", "f")]
        seen = [see(n, mode=left, nlink=3) for n in ("f", "g", "d/h")]
        case("a write through another name " + who, names, [see(n, mode=mode) for n in ("f", "g", "d/h")],
             ok("open", "g", os.O_WRONLY, by=user, fd="g"), ok("write", Fd("g"), "x", 1, by=user), seen)
        case("ftruncate through another name " + who, names, ok("open", "g", os.O_WRONLY, by=user, fd="g"),
             ok("ftruncate", Fd("g"), 2, by=user), see(Fd("g"), mode=left), seen)
        case("truncate of another name " + who, names, ok("truncate", "d/h", 2, by=user), seen)
        case("a write when the other names are new " + who, [D("d"), F("f", mode, size=5, own=(A, GA))],
             ok("link", "f", "g", by=A), ok("link", "f", "d/h", by=ROOT),
             ok("open", "d/h", os.O_WRONLY, by=user, fd="h"), ok("write", Fd("h"), "x", 1, by=user), seen)
        case("a write after the name is gone " + who, [F("f", mode, size=5, own=(A, GA))],
             ok("open", "f", os.O_RDWR, by=user, fd="f"), ok("unlink", "f"),
             ok("write", Fd("f"), "x", 1, by=user), see(Fd("f"), mode=left, nlink=0))
case("each write clears anew", [F("f", 0o6777, size=5, own=A)],
     ok("open", "f", os.O_WRONLY, by=B, fd="f"), ok("write", Fd("f"), "x", 1, by=B), see("f", mode=0o777),
     ok("chmod", "f", 0o6777, by=A), ok("write", Fd("f"), "x", 1, by=B), see("f", mode=0o777),
     ok("chmod", "f", 0o4777, by=A), ok("write", Fd("f"), "x", 1, by=A), see("f", mode=0o777))
case("who writes counts, not who opened", [F("f", 0o6777, size=5, own=A)],
     ok("open", "f", os.O_WRONLY, by=B, fd="f"), ok("write", Fd("f"), "x", 1, by=ROOT), see("f", mode=0o6777),
     ok("write", Fd("f"), "x", 1, by=B), see("f", mode=0o777))
case("reading and failing clear nothing", [F("f", 0o6755, size=5, own=A)],
     ok("open", "f", os.O_RDONLY, by=B, fd="f"), ok("read_fd", Fd("f"), 5, by=B), see("f", mode=0o6755),
     no("EACCES", "truncate", "f", 0, by=B), no("EACCES", "open", "f", os.O_WRONLY | os.O_TRUNC, by=B),
     no("EINVAL", "ftruncate", Fd("f"), 0, by=B), see("f", mode=0o6755))
case("a truncate that fails clears nothing", [F("f", 0o6777, size=5, own=A)],
     no("EFBIG", "truncate", "f", 2**63 - 1, by=B), ok("open", "f", os.O_RDWR, by=B, fd="f"),
     no("EFBIG", "ftruncate", Fd("f"), 2**63 - 1, by=B), see("f", mode=0o6777))
case("opening for writing clears nothing", [F("f", 0o6777, size=5, own=A)],
     ok("open", "f", os.O_RDWR, by=B, fd="f"), see("f", mode=0o6777), ok("close", Fd("f")),
     see("f", mode=0o6777))
case("a write of no bytes clears nothing", [F("f", 0o6777, size=5, own=A)],
     ok("open", "f", os.O_RDWR, by=B, fd="f"), ok("write", Fd("f"), "", 0, by=B), see("f", mode=0o6777))
case("link, rename and utimensat clear nothing", [F("f", 0o6755, own=A)],
     ok("link", "f", "g", by=A), ok("rename", "f", "h", by=A), ok("utimensat", -100, "h", None, 0, by=A),
     see("h", mode=0o6755), see("g", mode=0o6755))
