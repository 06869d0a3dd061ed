# SPDX-License-Identifier: ISC
"""open(2), openat(2), creat(2) and their flags."""

import os
import stat

from common import at_cases, no_tree, path_cases, removed_directory
from kit import (A, B, CHAR, D, F, FIFO, GA, GB, H, L, NODES, P, PROGRAM, ROOT, S, SOCKET, Fd, FdPath,
                 NewTimes, case,
                 gone, no, ok, see)
from system import AT_FDCWD, AT_SYMLINK_FOLLOW, O_TMPFILE, acl

RD, WR, RDWR = os.O_RDONLY, os.O_WRONLY, os.O_RDWR
CREAT, EXCL, TRUNC, APPEND = os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND
MAKE = CREAT | WR
HELLO = F("f", data=b"hello")

path_cases("open", (), (RD,), result="+")
path_cases("open", (), (RDWR,), result="+")
path_cases("open", (), (MAKE | EXCL, 0o644), target=None, result="+")
path_cases("creat", (), (0o644,), target=None, result="+")
at_cases("openat", (), (RD,), result="+")
at_cases("openat", (), (MAKE, 0o644), target=None, result="+")
removed_directory("open", (), (MAKE | os.O_NOFOLLOW, 0o644), ())

# --- creation ---

case("O_CREAT: changes the times of the directory", [D("d"), D("d/e")],
     ok("open", "d/x", MAKE, 0o644, times="d:mc"), ok("open", "d/e/x", MAKE, 0o644, times="d/e:mc d:?"),
     see("d/x", size=0, nlink=1, type="file"))
case("O_CREAT: of a file that is there changes nothing", [D("d"), HELLO._replace(path="d/f")],
     ok("open", "d/f", CREAT | RD, 0o777, times="d/f:- d:-"), see("d/f", mode=0o644, data=b"hello"))
case("O_CREAT: its times are new", [F("old")], ok("utimensat", AT_FDCWD, "old", None, 0),
     ok("open", "x", MAKE, 0o644), NewTimes("x", "old"))
case("O_CREAT: belongs to the caller", [D("d", 0o777, own=ROOT), D("e", 0o2777, own=(ROOT, GB))],
     [[ok("open", "d/" + u.name, MAKE, 0o644, by=u), see("d/" + u.name, own=u),
       ok("open", "e/" + u.name, MAKE, 0o644, by=u), see("e/" + u.name, own=(u, GB))] for u in (A, P, B,
       ROOT)])
case("O_CREAT: setgid in another group's setgid directory", [D("d", 0o2777, own=(ROOT, GB))],
     ok("open", "d/x", MAKE, 0o2755, by=A), see("d/x", mode=0o755, own=(A, GB)),
     ok("open", "d/y", MAKE, 0o2644, by=A), see("d/y", mode=0o2644, own=(A, GB)),
     ok("open", "d/z", MAKE, 0o2755, by=B), see("d/z", mode=0o2755, own=(B, GB)),
     ok("open", "d/r", MAKE, 0o2755, by=ROOT), see("d/r", mode=0o2755, own=(ROOT, GB)))
for mask in (0, 0o22, 0o77, 0o777):
    case("O_CREAT: the mode under umask %03o" % mask, [], ok("umask", mask),
         [[ok("open", "x%o" % m, MAKE, m), see("x%o" % m, mode=m & ~mask)]
          for m in (0, 0o111, 0o222, 0o444, 0o600, 0o644, 0o666, 0o777, 0o1777, 0o4755)])
DEFAULT = acl(7, 5, 4, mask=7, users={7004: 7})
case("O_CREAT: a default ACL takes the place of the umask",
     [D("d", default=DEFAULT), D("e", default=acl(7, 5, 1))],
     ok("umask", 0o77), ok("open", "d/x", MAKE, 0o666),
     see("d/x", mode=0o664, acl=acl(6, 5, 4, mask=6, users={7004: 7})),
     ok("open", "d/y", MAKE, 0o600), see("d/y", mode=0o600, acl=acl(6, 5, 0, mask=0, users={7004: 7})),
     ok("open", "e/x", MAKE, 0o777), see("e/x", mode=0o751, acl=None))
for mode in (0, 0o200, 0o444):
    case("O_CREAT: the mode %03o does not hold for the descriptor that made it" % mode, [],
         ok("open", "x", CREAT | RDWR, mode, fd="x"), ok("write", Fd("x"), "hello", 5),
         see("x", mode=mode, size=5),
         see(Fd("x"), data=b"hello"), no("EACCES", "open", "x", RDWR))
case("O_CREAT: EACCES when the directory is not writable", [D("d", 0o555), F("d/f")],
     no("EACCES", "open", "d/x", MAKE, 0o644), ok("open", "d/f", MAKE, 0o644))
case("O_CREAT: needs write and search permission", [D("d%o" % m, m << 6) for m in range(8)],
     [ok("open", "d%o/x" % m, MAKE, 0o644) if m & 3 == 3 else no("EACCES", "open", "d%o/x" % m, MAKE, 0o644)
      for m in range(8)])
for mode, allowed in ((0o755, "A"), (0o775, "APS"), (0o757, "AB"), (0o075, "PS"), (0o007, "B")):
    case("O_CREAT: in a directory of mode %o" % mode, [D("d", mode, own=(A, GA))],
         [ok("open", "d/" + u.name, MAKE, 0o644, by=u) if u.name in allowed + "root"
          else no("EACCES", "open", "d/" + u.name, MAKE, 0o644, by=u) for u in (A, P, S, B, ROOT)])
case("O_CREAT: through a dangling link", [D("d"), L("l", "d/new")], ok("open", "l", MAKE, 0o644),
     see("d/new", size=0),
     see("l", target="d/new"))
case("O_CREAT: EISDIR", [D("d"), L("l", "d")], no("EISDIR", "open", "d", MAKE, 0o644),
     no("EISDIR", "open", "d", CREAT, 0o644),
     no("EISDIR", "open", "l", MAKE, 0o644), no("EISDIR", "open", ".", CREAT, 0o644),
     no("EISDIR", "open", "x/", MAKE, 0o644))
case("O_CREAT: a file that was removed comes back empty", [HELLO, D("d"), F("d/f", data=b"old")],
     ok("unlink", "f"),
     ok("open", "f", MAKE, 0o600), see("f", mode=0o600, data=b""), ok("unlink", "d/f"), ok("rmdir", "d"),
     ok("open", "d", MAKE, 0o644), see("d", type="file", data=b""))
for kind, obj in NODES.items():
    case("O_EXCL: EEXIST for a %s" % kind, [obj], no("EEXIST", "open", "x", MAKE | EXCL, 0o644))
case("O_EXCL: does not follow links", [L("l", "new"), F("f"), L("m", "f")],
     no("EEXIST", "open", "l", MAKE | EXCL, 0o644),
     no("EEXIST", "open", "m", MAKE | EXCL, 0o644), gone("new"))
case("creat: empties the file and keeps its mode", [F("f", 0o640, data=b"hello")],
     ok("creat", "f", 0o777, times="f:mc .:?"),
     see("f", mode=0o640, data=b""))

# --- permissions ---

ACCESS = ((RD, 4), (WR, 2), (RDWR, 6))
for user, shift in ((A, 6), (P, 3), (S, 3), (B, 0)):
    # All other classes have what this one has not: the class decides.
    modes = {p: p << shift | (0o777 & ~(7 << shift) & ~(p * 0o111)) for p in range(8)}
    case("the mode decides what %s may open" % user.name,
         [F("f%o" % p, m, own=(A, GA)) for p, m in modes.items()],
         [[ok("open", "f%o" % p, flags, by=user) if p & want == want
           else no("EACCES", "open", "f%o" % p, flags, by=user) for flags, want in ACCESS] for p in modes])
    case("the mode decides which directories %s may list and search" % user.name,
         [o for p, m in modes.items() for o in (D("d%o" % p, m, own=(A, GA)), F("d%o/f" % p, 0o666, own=A))],
         [[ok("open", "d%o" % p, RD, by=user) if p & 4 else no("EACCES", "open", "d%o" % p, RD, by=user),
           ok("open", "d%o/f" % p, RDWR, by=user) if p & 1 else no("EACCES", "open", "d%o/f" % p, RD,
                                                                   by=user)]
          for p in modes])
case("root may open everything", [F("f", 0), D("d", 0), F("d/f", 0)], ok("open", "f", RDWR, by=ROOT),
     ok("open", "d/f", RDWR, by=ROOT), ok("open", "d", RD, by=ROOT))
case("every directory of the prefix must be searchable", [D("d"), D("d/e", 0o600), F("d/e/f", 0o666)],
     no("EACCES", "open", "d/e/f", RD, by=A), ok("chmod", "d/e", 0o100, by=A),
     ok("open", "d/e/f", RDWR, by=A))

# --- what is opened ---

case("EISDIR for a directory that is to be written", [D("d")], no("EISDIR", "open", "d", WR),
     no("EISDIR", "open", "d", RDWR),
     no("EISDIR", "open", "d", RD | TRUNC), ok("open", "d", RD))
case("O_DIRECTORY", [HELLO, D("d"), L("l", "d"), L("m", "f"), FIFO("p")], ok("open", "d", os.O_DIRECTORY),
     ok("open", "l", os.O_DIRECTORY), no("ENOTDIR", "open", "f", os.O_DIRECTORY),
     no("ENOTDIR", "open", "m", os.O_DIRECTORY), no("ENOTDIR", "open", "p", os.O_DIRECTORY),
     no("ENOENT", "open", "x", os.O_DIRECTORY))
case("O_NOFOLLOW", [HELLO, D("d"), F("d/f"), L("l", "f"), L("m", "d"), L("n", "none")],
     no("ELOOP", "open", "l", os.O_NOFOLLOW), no("ELOOP", "open", "n", os.O_NOFOLLOW | MAKE, 0o644),
     gone("none"),
     ok("open", "f", os.O_NOFOLLOW), ok("open", "m/f", os.O_NOFOLLOW),
     no("ENOTDIR", "open", "m", os.O_NOFOLLOW | os.O_DIRECTORY))
case("O_PATH", [F("f", 0, data=b"hello"), L("l", "f"), D("d", 0)], ok("open", "f", os.O_PATH, fd="f"),
     see(Fd("f"), size=5), no("EBADF", "read_fd", Fd("f"), 1), no("EBADF", "write", Fd("f"), "x", 1),
     ok("open", "l", os.O_PATH | os.O_NOFOLLOW, fd="l"), see(Fd("l"), type="link"),
     ok("open", "d", os.O_PATH))
case("a slash behind the name of a file", [HELLO, D("d"), L("l", "f")], no("ENOTDIR", "open", "f/", RD),
     ok("open", "d/", RD),
     no("ENOTDIR", "open", "l/", RD))
case("ENXIO for a FIFO without a reader", [FIFO("p")], no("ENXIO", "open", "p", WR | os.O_NONBLOCK),
     ok("open", "p", RD | os.O_NONBLOCK, fd="r"), ok("open", "p", WR | os.O_NONBLOCK, fd="w"),
     ok("write", Fd("w"), "x", 1), ok("read_fd", Fd("r"), 5, ret=b"x"))
case("ENXIO for a socket", [SOCKET("s")], no("ENXIO", "open", "s", RD), no("ENXIO", "open", "s", RDWR))
case("a device", [CHAR("c", 0o666)], ok("open", "c", RDWR, fd="c"), no("ENOSPC", "write", Fd("c"), "x", 1),
     ok("read_fd", Fd("c"), 3, ret=bytes(3)))
case("ENXIO for a device that is not there", [],
     ok("mknod", "c", stat.S_IFCHR | 0o666, os.makedev(511, 70000), by=ROOT),
     no("ENXIO", "open", "c", RD))
case("ETXTBSY for a running program", [PROGRAM("p")], ok("start", "p"), no("ETXTBSY", "open", "p", WR),
     no("ETXTBSY", "open", "p", RDWR), no("ETXTBSY", "open", "p", WR | TRUNC),
     no("ETXTBSY", "creat", "p", 0o755),
     ok("open", "p", RD))
case("ETXTBSY for a program that is open for writing", [PROGRAM("p")], ok("exec", "p"),
     ok("open", "p", RDWR, fd="p"),
     no("ETXTBSY", "exec", "p"), ok("close", Fd("p")), ok("exec", "p"))
case("EACCES for a program without execute permission", [PROGRAM("p", 0o644), PROGRAM("q", 0o111)],
     no("EACCES", "exec", "p", by=A), ok("exec", "q", by=A))
case("EMFILE", [HELLO], ok("limit_files", 20), [ok("open", "f", RD, fd="f%d" % n) for n in range(5)],
     ok("limit_files", 0), no_tree("EMFILE", "open", "f", RD), no_tree("EMFILE", "open", "x", MAKE, 0o644),
     ok("limit_files", 100), gone("x"))

# --- reading and writing ---

case("O_TRUNC", [D("d"), HELLO._replace(path="d/f")], ok("open", "d/f", WR | TRUNC, times="d/f:mc d:?"),
     see("d/f", data=b"", mode=0o644))
case("O_TRUNC: of an empty file", [F("f")], ok("open", "f", WR | TRUNC, times="f:mc"), see("f", data=b""))
case("O_TRUNC: all names of the file are empty", [HELLO, H("g", "f")], ok("open", "g", RDWR | TRUNC),
     see("f", data=b"", nlink=2))
case("O_TRUNC: an open descriptor sees it", [HELLO], ok("open", "f", RD, fd="f"),
     ok("open", "f", WR | TRUNC, fd="g"),
     see(Fd("f"), size=0, data=b""), ok("write", Fd("g"), "new", 3), see(Fd("f"), size=3, data=b"new"))
case("O_TRUNC: EACCES without write permission", [F("f", 0o444, data=b"hello")],
     no("EACCES", "open", "f", WR | TRUNC),
     no("EACCES", "open", "f", RD | TRUNC), no("EACCES", "creat", "f", 0o644), see("f", data=b"hello"))
case("O_TRUNC: of a FIFO does nothing", [FIFO("p")], ok("open", "p", RDWR | TRUNC, times="p:-"))
case("O_APPEND", [HELLO], ok("open", "f", RDWR | APPEND, fd="f"), ok("open", "f", WR, fd="g"),
     ok("write", Fd("f"), " one", 4), ok("pwrite", Fd("g"), b"H", 0), ok("truncate", "f", 5),
     ok("write", Fd("f"), "!", 1),
     see("f", data=b"Hello!"), ok("lseek", Fd("f"), 0, 0), ok("write", Fd("f"), "?", 1),
     see("f", data=b"Hello!?"))
case("O_APPEND: through two names", [HELLO, H("g", "f")], ok("open", "f", WR | APPEND, fd="f"),
     ok("open", "g", WR | APPEND, fd="g"),
     [[ok("write", Fd("f"), "1", 1), ok("write", Fd("g"), "2", 1)] for _ in range(3)],
     see("f", data=b"hello121212"),
     see("g", data=b"hello121212", size=11))
case("opening changes no time", [D("d"), HELLO._replace(path="d/f")],
     ok("open", "d/f", RD, times="d/f:- d:-"),
     ok("open", "d", RD, times="d:- d/f:-"))
case("a write changes mtime and ctime", [D("d"), HELLO._replace(path="d/f")], ok("open", "d/f", WR, fd="f"),
     ok("write", Fd("f"), "J", 1, times="d/f:mc @f:mc d:?"), see("d/f", data=b"Jello", size=5))
case("a write of no bytes changes nothing", [HELLO], ok("open", "f", WR, fd="f"),
     ok("write", Fd("f"), "", 0, times="f:-"))
for name in ("O_SYNC", "O_DSYNC", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_ASYNC", "O_LARGEFILE",
             "O_NOATIME"):
    case(name, [HELLO], ok("open", "f", RDWR | getattr(os, name), fd="f"), ok("write", Fd("f"), "J", 1),
         see("f", data=b"Jello"), see(Fd("f"), data=b"Jello"),
         ok("open", "x", MAKE | getattr(os, name), 0o600), see("x"))
case("O_DIRECT", [F("f", size=8192)], ok("open", "f", RDWR | os.O_DIRECT, fd="f"),
     ok("direct_write", Fd("f"), 4096),
     see("f", data=b"x" * 4096 + b"D" * 4096), ok("open", "x", MAKE | os.O_DIRECT, 0o600, fd="x"),
     ok("direct_write", Fd("x"), 0), see("x", size=4096))
case("O_NOATIME: EPERM for who is not the owner", [F("f", 0o666, data=b"x", own=A)],
     no("EPERM", "open", "f", RD | os.O_NOATIME, by=B), ok("open", "f", RD | os.O_NOATIME, by=A),
     ok("open", "f", RD | os.O_NOATIME, by=ROOT))
case("EBADF for the wrong direction", [HELLO], ok("open", "f", RD, fd="r"),
     no("EBADF", "write", Fd("r"), "x", 1),
     ok("open", "f", WR, fd="w"), no("EBADF", "read_fd", Fd("w"), 1))
case("EISDIR for reading a directory", [D("d")], ok("open", "d", RD, fd="d"),
     no("EISDIR", "read_fd", Fd("d"), 1))
case("EFBIG for a write beyond the limit of the process", [F("f", size=1000)], ok("limit_size", 1000),
     ok("open", "f", WR | APPEND, fd="f"), no("EFBIG", "write", Fd("f"), "x", 1))
case("a descriptor for reading sees what is written later", [HELLO], ok("open", "f", RD, fd="r"),
     see(Fd("r"), data=b"hello"),
     ok("open", "f", WR, fd="w"), ok("write", Fd("w"), "HELLO, WORLD", 12),
     see(Fd("r"), data=b"HELLO, WORLD", size=12))

# --- O_TMPFILE ---

case("O_TMPFILE: has no name and changes no directory", [D("d")],
     ok("open", "d", O_TMPFILE | RDWR, 0o640, fd="t", times="d:?"),
     see(Fd("t"), type="file", nlink=0, size=0, mode=0o640), see("d", names=[]),
     ok("write", Fd("t"), "hello", 5),
     see(Fd("t"), data=b"hello", size=5), ok("rmdir", "d"), see(Fd("t"), data=b"hello"))
case("O_TMPFILE: with O_EXCL", [D("d")], ok("open", "d", O_TMPFILE | WR | EXCL, 0o600, fd="t"),
     see(Fd("t"), nlink=0))
case("O_TMPFILE: EINVAL for reading only", [D("d")], no("EINVAL", "open", "d", O_TMPFILE | RD, 0o600))
case("O_TMPFILE: ENOTDIR, ENOENT, EACCES", [HELLO, D("d", 0o555), D("e", 0o666)],
     no("ENOTDIR", "open", "f", O_TMPFILE | RDWR, 0o600),
     no("ENOENT", "open", "none", O_TMPFILE | RDWR, 0o600),
     no("EACCES", "open", "d", O_TMPFILE | RDWR, 0o600), no("EACCES", "open", "e", O_TMPFILE | RDWR, 0o600))
case("O_TMPFILE: owner, umask and setgid directory", [D("d", 0o2777, own=(ROOT, GB))], ok("umask", 0o27),
     ok("open", "d", O_TMPFILE | RDWR, 0o666, by=A, fd="t"), see(Fd("t"), own=(A, GB), mode=0o640),
     ok("linkat", AT_FDCWD, FdPath("t"), AT_FDCWD, "f", AT_SYMLINK_FOLLOW, by=A),
     see("f", own=(A, GB), mode=0o640, nlink=1))

case("EROFS", [HELLO, D("d")], [no("EROFS", "open", "f", flags) for flags in (WR, RDWR, RD | TRUNC,
        WR | TRUNC)],
     no("EROFS", "open", "x", MAKE, 0o644), no("EROFS", "open", "x", CREAT | RD, 0o644),
     no("EROFS", "open", "x", MAKE | EXCL, 0o644),
     no("EROFS", "creat", "f", 0o644), no("EROFS", "open", "d/x", MAKE, 0o644),
     no("EEXIST", "open", "f", MAKE | EXCL, 0o644),
     no("EISDIR", "open", "d", WR), no("ENOENT", "open", "none/x", MAKE, 0o644),
     no("EROFS", "open", "d", O_TMPFILE | RDWR, 0o600),
     ok("open", "f", RD), ok("open", "f", CREAT | RD, 0o644), readonly=True)
