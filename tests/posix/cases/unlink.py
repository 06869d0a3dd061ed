# SPDX-License-Identifier: ISC
"""unlink(2), unlinkat(2)."""

import os

from common import at_cases, path_cases, remove_cases
from kit import (A, D, F, H, L, NODES, PROGRAM, ROOT, Fd, case, gone, no, ok, see)
from system import AT_FDCWD, AT_REMOVEDIR

path_cases("unlink", follows=False)
at_cases("unlinkat", (), (0,))
remove_cases("unlink", (), (), F)

for kind, obj in NODES.items():
    if kind == "dir":
        continue
    case("a %s" % kind, [D("d"), obj._replace(path="d/x"), F("d/y")],
         ok("unlink", "d/x", times="d:mc d/y:-"), gone("d/x"), see("d", names=["y"]),
         no("ENOENT", "unlink", "d/x"))
    case("one of the names of a %s" % kind, [obj, H("y", "x"), D("d"), H("d/z", "x")],
         see("x", nlink=3), ok("unlink", "x"), gone("x"), see("y", nlink=2, inode="d/z"),
         ok("unlink", "d/z"), see("y", nlink=1, type=obj.kind), ok("unlink", "y"), gone("y"))
    # Not of names that a lower has: their removal leaves the ctime of the others.
    case("one of the later names of a %s" % kind, [obj, D("d")], ok("link", "x", "y"), ok("link", "y", "d/z"),
         ok("unlink", "y", times="x:c d/z:c"), ok("unlink", "d/z", times="x:c"), see("x", nlink=1))
case("a link, not what it leads to", [F("f"), D("d"), L("l", "f"), L("m", "d")],
     ok("unlink", "l"), ok("unlink", "m"), gone("l"), gone("m"), see("f"), see("d"))
case("EISDIR for a directory", [D("d"), D("e"), F("e/f")], no("EISDIR", "unlink", "d"),
     no("EISDIR", "unlink", "d", by=ROOT), no("EISDIR", "unlink", "e"))
case("EISDIR for . and ..", [D("d")], no("EISDIR", "unlink", "."), no("EISDIR", "unlink", ".."),
     no("EISDIR", "unlink", "d/."), no("EISDIR", "unlink", "d/.."), no("EISDIR", "unlink", "/"))
case("a slash at the end", [F("f"), D("d"), L("l", "d")], no("ENOTDIR", "unlink", "f/"),
     no("EISDIR", "unlink", "d/"), no("ENOTDIR", "unlink", "l/"), no("ENOENT", "unlink", "none/"))
case("an open file goes on without a name", [F("f", data=b"hello")],
     ok("open", "f", os.O_RDWR, fd="f"), ok("unlink", "f", times="@f:c"), gone("f"),
     see(Fd("f"), nlink=0, data=b"hello"), ok("pwrite", Fd("f"), b"J", 0),
     see(Fd("f"), data=b"Jello", size=5),
     no("ENOENT", "open", "f", os.O_RDONLY))
case("a file that is open for reading only", [F("f", data=b"hello")],
     ok("open", "f", os.O_RDONLY, fd="f"), ok("unlink", "f"), see(Fd("f"), nlink=0, data=b"hello"),
     ok("creat", "f", 0o600), see("f", size=0), see(Fd("f"), nlink=0, data=b"hello"))
case("an open file whose other name stays", [F("f", data=b"hello"), H("g", "f")],
     ok("open", "f", os.O_RDWR, fd="f"), ok("unlink", "f"), see(Fd("f"), nlink=1, inode="g"),
     ok("pwrite", Fd("f"), b"J", 0), see("g", data=b"Jello"), ok("unlink", "g"), see(Fd("f"), nlink=0))
case("the directory of an open file can go", [D("d"), F("d/f", data=b"hello")],
     ok("open", "d/f", os.O_RDWR, fd="f"), ok("unlink", "d/f"), ok("rmdir", "d"), gone("d"),
     see(Fd("f"), nlink=0, data=b"hello"), ok("fchmod", Fd("f"), 0o600), see(Fd("f"), mode=0o600))
case("a running program", [PROGRAM("p")], ok("start", "p"), ok("unlink", "p"), gone("p"))
case("needs no permission on the file", [F("f", 0, own=ROOT)], ok("unlink", "f", by=A), gone("f"))
case("all of a directory, twice", [D("d")] + [F("d/%d" % n) for n in range(20)],
     [ok("unlink", "d/%d" % n) for n in range(20)], see("d", names=[]),
     [ok("creat", "d/%d" % n, 0o600) for n in range(20)], [ok("unlink", "d/%d" % n) for n in range(20)],
     see("d", names=[]), ok("rmdir", "d"))
case("unlinkat: AT_REMOVEDIR", [D("d"), F("f"), D("e"), F("e/f")],
     ok("unlinkat", AT_FDCWD, "d", AT_REMOVEDIR), gone("d"),
     no("ENOTDIR", "unlinkat", AT_FDCWD, "f", AT_REMOVEDIR),
     no("ENOTEMPTY", "unlinkat", AT_FDCWD, "e", AT_REMOVEDIR), no("EISDIR", "unlinkat", AT_FDCWD, "e", 0))
case("unlinkat: EINVAL for an unknown flag", [F("f")], no("EINVAL", "unlinkat", AT_FDCWD, "f", 1))
case("EROFS", [F("f"), D("d"), L("l", "none")], no("EROFS", "unlink", "f"), no("EROFS", "unlink", "l"),
     no("ENOENT", "unlink", "none/x"), readonly=True)
