# SPDX-License-Identifier: ISC
"""utimensat(2), futimens(3), utimes(2), and when access times change."""

import os

from common import at_cases, path_cases
from kit import A, B, D, F, FIFO, GA, H, L, NODES, P, ROOT, S, Fd, case, no, ok, see
from system import AT_FDCWD, AT_SYMLINK_NOFOLLOW, BAD, UTIME_NOW, UTIME_OMIT, Times

at_cases("utimensat", (), (None, 0), result="+")
path_cases("utimensat", (AT_FDCWD,), (Times((5, 6), (7, 8)), 0), result="+")
path_cases("utimensat", (AT_FDCWD,), (Times((5, 6), (7, 8)), AT_SYMLINK_NOFOLLOW), target="link",
           follows=False, result="+")

NOW, OMIT = (0, UTIME_NOW), (0, UTIME_OMIT)
SET = Times((1_000_000_001, 123_456_789), (1_200_000_002, 987_654_321))
ATIME, MTIME = 1_000_000_001_123_456_789, 1_200_000_002_987_654_321


def touch(path, when=SET, flags=0, **more):
    return ok("utimensat", AT_FDCWD, path, when, flags, **more)


for kind, obj in NODES.items():
    case("sets the times of a %s" % kind, [D("d"), obj._replace(path="d/x")],
         touch("d/x", SET, AT_SYMLINK_NOFOLLOW, times="d/x:mc< d:?"),
         see("d/x", atime=ATIME, mtime=MTIME, type=obj.kind))
    case("UTIME_OMIT and UTIME_NOW for a %s" % kind, [obj], touch("x", SET, AT_SYMLINK_NOFOLLOW),
         touch("x", Times(OMIT, (5, 0)), AT_SYMLINK_NOFOLLOW, times="x:mc<A"),
         see("x", atime=ATIME, mtime=5 * 10**9),
         touch("x", Times((6, 7), OMIT), AT_SYMLINK_NOFOLLOW, times="x:ca<"),
         see("x", atime=6 * 10**9 + 7, mtime=5 * 10**9),
         touch("x", Times(NOW, OMIT), AT_SYMLINK_NOFOLLOW, times="x:ca"), see("x", mtime=5 * 10**9),
         touch("x", Times((6, 7), NOW), AT_SYMLINK_NOFOLLOW, times="x:mca<"), see("x", atime=6 * 10**9 + 7))
case("without times it is now", [F("f")], touch("f"), touch("f", None, times="f:amc"))
case("UTIME_NOW for both", [F("f")], touch("f"), touch("f", Times(NOW, NOW), times="f:amc"))
case("UTIME_OMIT for both does nothing", [F("f"), D("d", 0), F("d/f")], touch("f"),
     touch("f", Times(OMIT, OMIT), times="f:A"), see("f", atime=ATIME, mtime=MTIME))
for seconds, what in ((0, "1970"), (-1, "1969"), (-(2**30), "1935"), (2**31, "2038"), (2**32 + 5, "2106"),
                      (2**33, "2242")):
    case("the year %s" % what, [F("f"), D("d")], touch("f", Times((seconds, 1), (seconds, 999_999_999))),
         see("f", atime=seconds * 10**9 + 1, mtime=seconds * 10**9 + 999_999_999),
         touch("d", Times((seconds, 0), (seconds, 500))), see("d", mtime=seconds * 10**9 + 500))
case("the seconds beside UTIME_NOW and UTIME_OMIT do not count", [F("f")], touch("f"),
     touch("f", Times((77, UTIME_OMIT), (77, UTIME_NOW)), times="f:mcA"), see("f", atime=ATIME))
case("EINVAL for nanoseconds out of range", [F("f")],
     [[no("EINVAL", "utimensat", AT_FDCWD, "f", Times((1, ns), (1, 0)), 0),
       no("EINVAL", "utimensat", AT_FDCWD, "f", Times((1, 0), (1, ns)), 0)] for ns in (-1, 10**9, 2**31,
       UTIME_NOW + 1)])
case("EINVAL for an unknown flag", [F("f")], no("EINVAL", "utimensat", AT_FDCWD, "f", None, 1))
case("EFAULT", [F("f")], no("EFAULT", "utimensat", AT_FDCWD, "f", BAD, 0))
case("follows a link, which stays", [F("f"), L("l", "f")], touch("l", times="f:mc< l:-"),
     see("f", mtime=MTIME),
     touch("l", Times((3, 0), (4, 0)), AT_SYMLINK_NOFOLLOW, times="l:mc< f:-"),
     see("l", atime=3 * 10**9, mtime=4 * 10**9))
case("all names of a file have its times", [F("f"), H("g", "f"), D("d"), H("d/h", "f")],
     touch("g", times="f:mc< d/h:mc<"),
     [see(n, atime=ATIME, mtime=MTIME, inode="g") for n in ("f", "d/h")],
     touch("d/h", None, times="f:mca g:mca"))
case("keeps mode, owner and content", [F("f", 0o640, data=b"hello", own=(A, GA))], touch("f", by=A),
     see("f", mode=0o640, own=(A, GA), data=b"hello"))

STRANGERS = (P, S, B)
case("to now, by who may write", [F("f", 0o666, own=A), F("g", 0o664, own=A), D("d", 0o777, own=A)],
     [[touch(n, None, by=u, times=n + ":mca"),
       touch(n, Times(NOW, NOW), by=u)] for u in STRANGERS for n in ("f", "d")],
     [touch("g", None, by=u) for u in (P, S)], no("EACCES", "utimensat", AT_FDCWD, "g", None, 0, by=B))
case("EACCES to now without write permission", [F("f", 0o444, own=A)],
     [[no("EACCES", "utimensat", AT_FDCWD, "f", None, 0, by=u),
       no("EACCES", "utimensat", AT_FDCWD, "f", Times(NOW, NOW), 0, by=u)] for u in STRANGERS])
case("EPERM for other times, by who may write", [F("f", 0o666, own=A)],
     [no("EPERM", "utimensat", AT_FDCWD, "f", t, 0, by=u) for u in STRANGERS
      for t in (SET, Times(NOW, OMIT), Times(OMIT, NOW), Times((1, 0), OMIT), Times((1, 0), NOW))])
case("UTIME_OMIT for both, by anyone", [F("f", 0o600, own=A)],
     [touch("f", Times(OMIT, OMIT), by=u, times="f:-") for u in STRANGERS])
case("the owner needs no write permission", [F("f", 0, own=A), D("d", 0, own=A)], touch("f", by=A),
     touch("f", None, by=A),
     touch("d", by=A), see("d", mtime=MTIME))
case("root may", [F("f", 0, own=A)], touch("f", by=ROOT), see("f", mtime=MTIME), touch("f", None, by=ROOT))

case("futimens: through any descriptor", [F("f"), D("d")], ok("open", "f", os.O_RDONLY, fd="r"),
     ok("open", "f", os.O_WRONLY, fd="w"),
     ok("futimens", Fd("r"), SET, times="f:mc< @r:mc<"), see("f", atime=ATIME, mtime=MTIME),
     ok("futimens", Fd("w"), None, times="f:mca"),
     ok("open", "d", os.O_RDONLY, fd="d"), ok("futimens", Fd("d"), SET), see("d", mtime=MTIME))
case("futimens: of a file without a name", [F("f")], ok("open", "f", os.O_RDONLY, fd="f"), ok("unlink", "f"),
     ok("futimens", Fd("f"), SET, times="@f:mc<"), see(Fd("f"), atime=ATIME, mtime=MTIME, nlink=0))
case("futimens: EBADF", [F("f")], no("EBADF", "futimens", 9999, None), ok("open", "f", os.O_PATH, fd="f"),
     no("EBADF", "futimens", Fd("f"), None))
case("futimens: EPERM and EACCES for the holder of a descriptor", [F("f", 0o644, own=A)],
     ok("open", "f", os.O_RDONLY, by=B, fd="f"),
     no("EPERM", "futimens", Fd("f"), SET, by=B), no("EACCES", "futimens", Fd("f"), None, by=B))
case("a write after the times were set", [F("f", data=b"hello")], ok("open", "f", os.O_RDWR, fd="f"),
     ok("futimens", Fd("f"), SET),
     ok("write", Fd("f"), "J", 1, times="f:mcA"), ok("futimens", Fd("f"), SET, times="f:mc<"),
     ok("close", Fd("f")),
     see("f", atime=ATIME, mtime=MTIME))
case("the times of a directory in which a file was made", [D("d")], touch("d"), see("d", mtime=MTIME),
     ok("creat", "d/f", 0o600, times="d:mc"), touch("d"), see("d", atime=ATIME, mtime=MTIME),
     ok("chmod", "d/f", 0o644),
     see("d", mtime=MTIME), ok("open", "d/f", os.O_WRONLY, fd="f"), ok("write", Fd("f"), "x", 1),
     see("d", mtime=MTIME))
case("reading changes an access time that is older than the change", [F("f", data=b"hello"), FIFO("p")],
     touch("f"),
     ok("read_all", "f", times="f:a"), touch("f"), ok("stat_all", "f"), see("f", atime=ATIME))
case("listing changes an access time that is older than the change", [D("d"), F("d/f")], touch("d"),
     ok("list", "d", times="d:a"))
case("O_NOATIME leaves the access time", [F("f", data=b"hello")], touch("f"),
     ok("open", "f", os.O_RDONLY | os.O_NOATIME, fd="f"),
     ok("read_fd", Fd("f"), 5), see("f", atime=ATIME))
case("ENOTDIR with a slash behind the name of a file", [F("f")],
     no("ENOTDIR", "utimensat", AT_FDCWD, "f/", None, 0))
case("EROFS", [F("f"), D("d"), L("l", "f")], no("EROFS", "utimensat", AT_FDCWD, "f", None, 0),
     no("EROFS", "utimensat", AT_FDCWD, "f", SET, 0),
     no("EROFS", "utimensat", AT_FDCWD, "d", SET, 0),
     no("EROFS", "utimensat", AT_FDCWD, "l", SET, AT_SYMLINK_NOFOLLOW),
     ok("open", "f", os.O_RDONLY, fd="f"), no("EROFS", "futimens", Fd("f"), SET),
     no("ENOENT", "utimensat", AT_FDCWD, "none", SET, 0),
     readonly=True)
