# SPDX-License-Identifier: ISC
"""link(2), linkat(2)."""

import os

from common import at_cases, create_cases, path_cases
from kit import A, B, D, F, GA, H, L, NODES, ROOT, Fd, FdPath, Other, P, case, gone, no, ok, see
from system import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, O_TMPFILE

path_cases("link", (), ("new",), follows=False, result="+")
path_cases("link", ("old",), (), target=None, result="+", others=[F("old")])
at_cases("linkat", (), (AT_FDCWD, "new", 0), result="+")
at_cases("linkat", (AT_FDCWD, "old"), (0,), target=None, result="+", others=[F("old")])
create_cases("link", ("old",), (), others=[F("old", 0o666)])

for kind, obj in NODES.items():
    if kind == "dir":
        continue
    case("a second name of a %s" % kind, [obj, D("d"), D("e")],
         ok("link", "x", "d/y", times="x:c d:mc .:?"), see("x", nlink=2),
         see("d/y", nlink=2, inode="x", type=obj.kind),
         ok("link", "d/y", "e/z", times="x:c d/y:c e:mc d:-"), see("e/z", nlink=3, inode="x"),
         see("x", nlink=3))
case("EPERM for a directory", [D("d")], no("EPERM", "link", "d", "e"), no("EPERM", "link", "d", "e", by=ROOT),
     no("EPERM", "link", ".", "e"), no("EPERM", "link", "d/..", "e"))
case("EEXIST for the file itself", [F("f"), H("g", "f")], no("EEXIST", "link", "f", "f"),
     no("EEXIST", "link", "f", "g"))
case("a link is linked, not followed", [F("f"), L("l", "f"), L("m", "none")],
     ok("link", "l", "k"), see("k", type="link", target="f", inode="l", nlink=2), see("f", nlink=1),
     ok("link", "m", "n"), see("n", type="link", target="none"))
case("AT_SYMLINK_FOLLOW", [F("f"), L("l", "f"), L("m", "none"), D("d"), L("n", "d")],
     ok("linkat", AT_FDCWD, "l", AT_FDCWD, "k", AT_SYMLINK_FOLLOW), see("k", type="file", inode="f", nlink=2),
     no("ENOENT", "linkat", AT_FDCWD, "m", AT_FDCWD, "j", AT_SYMLINK_FOLLOW),
     no("EPERM", "linkat", AT_FDCWD, "n", AT_FDCWD, "j", AT_SYMLINK_FOLLOW))
case("AT_EMPTY_PATH needs root for a descriptor of somebody else", [F("f", data=b"x")],
     ok("open", "f", os.O_PATH, by=ROOT, fd="f"),
     no("ENOENT", "linkat", Fd("f"), "", AT_FDCWD, "g", AT_EMPTY_PATH, by=A),
     ok("linkat", Fd("f"), "", AT_FDCWD, "g", AT_EMPTY_PATH, by=ROOT, times="f:c"),
     see("g", inode="f", nlink=2))
case("EPERM for a directory with AT_EMPTY_PATH", [D("d")], ok("open", "d", os.O_PATH, by=ROOT, fd="d"),
     no("EPERM", "linkat", Fd("d"), "", AT_FDCWD, "e", AT_EMPTY_PATH, by=ROOT))
case("EINVAL for an unknown flag", [F("f")], no("EINVAL", "linkat", AT_FDCWD, "f", AT_FDCWD, "g", 1))
case("through the name of a descriptor in /proc", [F("f", data=b"x")], ok("open", "f", os.O_RDONLY, fd="f"),
     ok("linkat", AT_FDCWD, FdPath("f"), AT_FDCWD, "g", AT_SYMLINK_FOLLOW),
     see("g", inode="f", nlink=2, data=b"x"))
case("ENOENT for a descriptor of a removed file", [F("f")], ok("open", "f", os.O_RDONLY, fd="f"),
     ok("unlink", "f"),
     no("ENOENT", "linkat", AT_FDCWD, FdPath("f"), AT_FDCWD, "g", AT_SYMLINK_FOLLOW))
case("a file without a name gets one", [D("d")], ok("open", ".", O_TMPFILE | os.O_RDWR, 0o640, fd="t"),
     ok("write", Fd("t"), "hello", 5), see(Fd("t"), nlink=0),
     ok("linkat", AT_FDCWD, FdPath("t"), AT_FDCWD, "d/f", AT_SYMLINK_FOLLOW, times="d:mc"),
     see("d/f", data=b"hello", nlink=1, mode=0o640, inode=Fd("t")), ok("write", Fd("t"), "!", 1),
     see("d/f", data=b"hello!"), ok("link", "d/f", "g"), see(Fd("t"), nlink=2))
case("ENOENT for a file without a name made with O_EXCL", [],
     ok("open", ".", O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o640, fd="t"),
     no("ENOENT", "linkat", AT_FDCWD, FdPath("t"), AT_FDCWD, "f", AT_SYMLINK_FOLLOW), gone("f"))
case("EXDEV", [F("f"), D("d"), L("l", "none")], no("EXDEV", "link", "f", Other("f")),
     no("EXDEV", "link", "l", Other("l")),
     ok("creat", Other("x"), 0o600), no("EXDEV", "link", Other("x"), "x"))
case("EACCES when the new directory is not writable", [F("f"), D("d", 0o555)],
     no("EACCES", "link", "f", "d/g"))
case("the directory of the old name need not be writable", [D("d", 0o555), F("d/f", own=A)],
     ok("link", "d/f", "g", by=A), see("g", inode="d/f", nlink=2))
case("the new name leaves owner and group in a setgid directory",
     [F("f", own=(A, GA)), D("d", 0o2777, own=B)],
     ok("link", "f", "d/g", by=A), see("d/g", own=(A, GA), nlink=2))
with open("/proc/sys/fs/protected_hardlinks", encoding="ascii") as protected:
    if protected.read().strip() == "1":
        case("EPERM for somebody else's file that may not be written", [F("f", 0o644, own=A), D("d", 0o777)],
             no("EPERM", "link", "f", "d/g", by=B), no("EPERM", "link", "f", "d/g", by=P),
             ok("link", "f", "d/g", by=ROOT))
        case("EPERM for somebody else's setuid file", [F("f", 0o4777, own=A), D("d", 0o777)],
             no("EPERM", "link", "f", "d/g", by=B))
case("somebody else's file that may be read and written", [F("f", 0o666, own=A), D("d", 0o777)],
     ok("link", "f", "d/g", by=B), see("d/g", own=A, inode="f"))
case("what one name gets, all names have", [F("f", data=b"x"), D("d")],
     ok("link", "f", "d/g"), ok("open", "d/g", os.O_WRONLY | os.O_APPEND, fd="g"),
     ok("write", Fd("g"), "yz", 2),
     see("f", data=b"xyz", size=3), ok("chmod", "f", 0o600), see("d/g", mode=0o600),
     ok("rename", "f", "h"), see("d/g", nlink=2, inode="h"), ok("rename", "d", "e"), see("h", inode="e/g"),
     ok("unlink", "h"), see("e/g", nlink=1, data=b"xyz"))
case("100 names", [F("f")], [ok("link", "f", "g%d" % n) for n in range(99)], see("f", nlink=100),
     [ok("unlink", "g%d" % n) for n in range(0, 99, 2)], see("g1", nlink=50, inode="f"))
case("a name that was removed", [F("f", data=b"x"), F("g"), D("d"), F("d/h")], ok("unlink", "g"),
     ok("link", "f", "g"),
     see("g", inode="f", data=b"x"), ok("unlink", "d/h"), ok("rmdir", "d"), ok("link", "f", "d"),
     see("d", type="file", nlink=3))
case("a slash at the end", [F("f")], no("ENOENT", "link", "f", "g/"), no("ENOTDIR", "link", "f/", "g"))
case("EROFS", [F("f"), D("d")], no("EROFS", "link", "f", "g"), no("EROFS", "link", "f", "d/g"),
     no("EEXIST", "link", "f", "d"), no("ENOENT", "link", "none", "g"), readonly=True)
