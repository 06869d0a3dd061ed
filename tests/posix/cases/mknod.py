# SPDX-License-Identifier: ISC
"""mknod(2), mknodat(2), and bind(2), which makes sockets."""

import os
import stat

from common import at_cases, create_cases, mode_cases, owner_cases, path_cases
from kit import A, B, D, F, L, ROOT, case, gone, no, ok, see

KINDS = {"file": stat.S_IFREG, "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}
MODES = (0, 0o111, 0o222, 0o444, 0o644, 0o777, 0o1777, 0o4755)

path_cases("mknod", (), (stat.S_IFREG | 0o644, 0), target=None, result="+")
at_cases("mknodat", (), (stat.S_IFIFO | 0o644, 0), target=None, result="+")
create_cases("mknod", (), (stat.S_IFREG | 0o644, 0))
for kind, bits in KINDS.items():
    owner_cases("mknod", (bits | 0o644, 0), kind)
    case("every mode of a %s" % kind, [],
         [[ok("mknod", "x%o" % m, bits | m, 0),
           see("x%o" % m, mode=m, type=kind, nlink=1, size=0)] for m in MODES])
    case("the umask holds for a %s" % kind, [], ok("umask", 0o27), ok("mknod", "x", bits | 0o666, 0),
         see("x", mode=0o640))
case("without a type it is a file", [], ok("mknod", "f", 0o644, 0),
     see("f", type="file", mode=0o644, data=b""))
case("EPERM for a directory", [], no("EPERM", "mknod", "d", stat.S_IFDIR | 0o755, 0))
case("EINVAL for a link and for an unknown type", [],
     no("EINVAL", "mknod", "l", stat.S_IFLNK | 0o777, 0), no("EINVAL", "mknod", "x", 0o030644, 0))
case("EPERM for a device of an ordinary user", [D("d", 0o777)],
     no("EPERM", "mknod", "c", stat.S_IFCHR | 0o600, os.makedev(1, 3)),
     no("EPERM", "mknod", "b", stat.S_IFBLK | 0o600, os.makedev(7, 1)),
     no("EPERM", "mknod", "d/c", stat.S_IFCHR | 0o600, os.makedev(1, 3)))
for kind, bits in (("char", stat.S_IFCHR), ("block", stat.S_IFBLK)):
    case("root makes a %s device" % kind, [D("d")],
         [[ok("mknod", "d/x%d.%d" % n, bits | 0o640, os.makedev(*n), by=ROOT, times="d:mc"),
           see("d/x%d.%d" % n, type=kind, rdev=n, mode=0o640, own=ROOT)]
          for n in ((1, 3), (7, 200), (0, 1), (511, 70000))])
    case("EEXIST for a %s device" % kind, [F("f"), L("l", "none")],
         no("EEXIST", "mknod", "f", bits | 0o600, os.makedev(1, 3), by=ROOT),
         no("EEXIST", "mknod", "l", bits | 0o600, os.makedev(1, 3), by=ROOT), gone("none"))
case("the device works", [], ok("mknod", "null", stat.S_IFCHR | 0o666, os.makedev(1, 3), by=ROOT),
     ok("open", "null", os.O_RDWR, by=B, fd="n"), see("null", own=ROOT))
case("ENOENT with a slash at the end", [], no("ENOENT", "mknod", "f/", stat.S_IFREG | 0o644, 0))
case("bind: makes a socket", [D("d", own=A)], ok("umask", 0o22), ok("bind", "d/s", by=A, times="d:mc"),
     see("d/s", type="socket", mode=0o755, own=A))
case("bind: EADDRINUSE for every name that is there", [F("f"), D("d"), L("l", "none")],
     no("EADDRINUSE", "bind", "f"), no("EADDRINUSE", "bind", "d"), no("EADDRINUSE", "bind", "l"),
     gone("none"))
case("bind: EACCES when the directory is not writable", [D("d", 0o555)], no("EACCES", "bind", "d/s"))
case("EROFS", [D("d"), F("f")], no("EROFS", "mknod", "x", stat.S_IFREG | 0o644, 0),
     no("EROFS", "mknod", "d/x", stat.S_IFSOCK | 0o644, 0),
     no("EEXIST", "mknod", "f", stat.S_IFIFO | 0o644, 0),
     no("EROFS", "bind", "s"), readonly=True)
mode_cases("mknod", (), (0,), "file", (0o644, 0o777), keeps=0o7777, fmt=stat.S_IFREG)
