# SPDX-License-Identifier: ISC
"""chmod(2), fchmod(2), fchmodat(2)."""

import os

from common import at_cases, path_cases
from kit import (A, B, CHAR, BLOCK, D, F, FIFO, GA, GB, GX, H, L, P, ROOT, S, SOCKET, Fd, case, no, ok,
                 see)
from system import AT_FDCWD, AT_SYMLINK_NOFOLLOW, acl

MODES = (0, 0o1, 0o70, 0o400, 0o644, 0o777, 0o1777, 0o2711, 0o4755, 0o6755, 0o7777)

path_cases("chmod", (), (0o600,), result="+")
at_cases("fchmodat", (), (0o600, 0), result="+")

for kind, obj in (("file", F("x")), ("directory", D("x")), ("FIFO", FIFO("x")), ("socket", SOCKET("x")),
                  ("character device", CHAR("x")), ("block device", BLOCK("x"))):
    case("changes the mode and ctime of a %s, and nothing else" % kind, [D("d"), obj._replace(path="d/x")],
         ok("chmod", "d/x", 0o751, times="d/x:c d:?"), see("d/x", mode=0o751, type=obj.kind),
         ok("chmod", "d/x", 0o751, times="d/x:c d:-"), see("d/x", mode=0o751))
    case("every mode of a %s" % kind, [obj], [[ok("chmod", "x", m), see("x", mode=m)] for m in MODES])
case("bits beyond the mode are ignored", [F("f")], ok("chmod", "f", 0o170644),
     see("f", mode=0o644, type="file"))
case("keeps owner, size and content", [F("f", data=b"hello", own=(A, GX))],
     ok("chmod", "f", 0o640), see("f", own=(A, GX), size=5, data=b"hello"))
case("follows a link and leaves it as it is", [F("f"), L("l", "f"), L("m", "l")],
     ok("chmod", "m", 0o601, times="f:c l:- m:-"), see("f", mode=0o601), see("l", mode=0o777))
case("all names of a file have its mode", [F("f"), H("g", "f"), D("d"), H("d/h", "f")],
     ok("chmod", "g", 0o601, times="f:c g:c d/h:c"), [see(n, mode=0o601, nlink=3) for n in ("f", "g", "d/h")],
     ok("chmod", "d/h", 0o4700), [see(n, mode=0o4700, inode="f") for n in ("f", "g", "d/h")])
case("of a new file through another name", [D("d")],
     ok("creat", "f", 0o644, fd="f"), ok("link", "f", "d/g"), ok("chmod", "d/g", 0o600), see("f", mode=0o600),
     see(Fd("f"), mode=0o600), ok("fchmod", Fd("f"), 0o640), see("d/g", mode=0o640))
case("takes effect at once", [F("f", data=b"x"), D("d"), F("d/f")],
     ok("open", "f", os.O_RDWR, fd="f"), ok("chmod", "f", 0), no("EACCES", "open", "f", os.O_RDONLY),
     ok("pwrite", Fd("f"), b"still", 0), ok("chmod", "f", 0o400), ok("open", "f", os.O_RDONLY),
     no("EACCES", "open", "f", os.O_WRONLY), ok("chmod", "d", 0o400),
     no("EACCES", "open", "d/f", os.O_RDONLY),
     ok("chmod", "d", 0o100), ok("open", "d/f", os.O_RDONLY), no("EACCES", "list", "d"))

for user in (P, S, B):
    case("EPERM for %s, who is not the owner" % user.name, [F("f", 0o666), D("d", 0o777)],
         no("EPERM", "chmod", "f", 0o600, by=user), no("EPERM", "chmod", "f", 0o666, by=user),
         no("EPERM", "chmod", "d", 0o700, by=user))
case("EPERM for the owner of the directory", [D("d", 0o777, own=A), F("d/f", 0o666, own=B)],
     no("EPERM", "chmod", "d/f", 0o600, by=A), ok("chmod", "d/f", 0o600, by=B))
case("root may", [F("f", own=A), D("d", own=B)], ok("chmod", "f", 0o6711, by=ROOT),
     see("f", mode=0o6711, own=A),
     ok("chmod", "d", 0o7711, by=ROOT), see("d", mode=0o7711, own=B))
case("the owner needs no permission", [F("f", 0), D("d", 0)],
     ok("chmod", "f", 0o600, by=A), ok("chmod", "d", 0o700, by=A), see("f", mode=0o600), see("d", mode=0o700))

for maker, what in ((F, "file"), (D, "directory")):
    for group, why, keeps in ((GA, "has the owner's group", True),
                              (GX, "has one of the owner's groups", True),
                              (GB, "has a group that the owner is not in", False)):
        bits = 0o2000 if keeps else 0
        case("setgid %s when the %s %s" % ("stays" if keeps else "is dropped", what, why),
             [maker("x", 0o644, own=(A, group))],
             ok("chmod", "x", 0o2755, times="x:c"), see("x", mode=bits | 0o755),
             ok("chmod", "x", 0o6744), see("x", mode=bits | 0o4744),
             ok("open", "x", os.O_RDONLY, fd="x"), ok("fchmod", Fd("x"), 0o2711), see("x", mode=bits | 0o711))
    case("root may give setgid to a %s of any group" % what, [maker("x", 0o644, own=(A, GB))],
         ok("chmod", "x", 0o2755, by=ROOT), see("x", mode=0o2755))
case("the sticky bit of a file is kept", [F("f")], ok("chmod", "f", 0o1644), see("f", mode=0o1644))

case("with an ACL the group's bits are its mask",
     [F("f", 0o640, acl=acl(6, 4, 0, mask=6, users={B.uid: 6}), own=A)],
     see("f", mode=0o660), ok("open", "f", os.O_RDWR, by=B), ok("chmod", "f", 0o640, by=A),
     see("f", mode=0o640, acl=acl(6, 4, 0, mask=4, users={B.uid: 6})),
     ok("open", "f", os.O_RDONLY, by=B), no("EACCES", "open", "f", os.O_WRONLY, by=B),
     ok("chmod", "f", 0o770, by=A), see("f", acl=acl(7, 4, 0, mask=7, users={B.uid: 6})),
     ok("open", "f", os.O_WRONLY, by=B), no("EACCES", "open", "f", os.O_WRONLY, by=P))
case("a default ACL is not touched", [D("d", 0o755, default=acl(7, 5, 5))],
     ok("chmod", "d", 0o700), see("d", mode=0o700, default=acl(7, 5, 5)))
for group, mode in ((GA, 0o2755), (GB, 0o755)):
    case("an ACL set by an owner who is%s in the file's group" % (" not" if group == GB else ""),
         [F("f", 0o2755, own=(A, group))],
         ok("setxattr", "f", "system.posix_acl_access", acl(7, 5, 5), by=A), see("f", mode=mode))
    case("a longer ACL set by an owner who is%s in the file's group" % (" not" if group == GB else ""),
         [F("f", 0o2750, own=(A, group))],
         ok("setxattr", "f", "system.posix_acl_access", acl(7, 5, 0, mask=7, users={B.uid: 5}), by=A),
         see("f", mode=mode & 0o2000 | 0o770))

for flags, name in ((os.O_RDONLY, "O_RDONLY"), (os.O_RDWR, "O_RDWR")):
    case("fchmod: through a descriptor with %s" % name, [F("f")],
         ok("open", "f", flags, fd="f"), ok("fchmod", Fd("f"), 0o701, times="f:c @f:c"),
         see("f", mode=0o701), see(Fd("f"), mode=0o701))
case("fchmod: of a directory", [D("d")], ok("open", "d", os.O_RDONLY, fd="d"),
     ok("fchmod", Fd("d"), 0o1750, times="d:c"), see("d", mode=0o1750))
case("fchmod: EBADF", [F("f")], no("EBADF", "fchmod", 9999, 0o600), no("EBADF", "fchmod", -1, 0o600),
     ok("open", "f", os.O_PATH, fd="f"), no("EBADF", "fchmod", Fd("f"), 0o600))
case("fchmod: of a file without a name", [F("f", data=b"x")], ok("open", "f", os.O_RDWR, fd="f"),
     ok("unlink", "f"),
     ok("fchmod", Fd("f"), 0o4701, times="@f:c"), see(Fd("f"), mode=0o4701, nlink=0, data=b"x"))
case("fchmod: through a descriptor of another name", [F("f"), H("g", "f")],
     ok("open", "g", os.O_RDONLY, fd="g"), ok("fchmod", Fd("g"), 0o711), see("f", mode=0o711),
     ok("unlink", "g"), ok("fchmod", Fd("g"), 0o700), see("f", mode=0o700, nlink=1))
case("fchmod: of a file that was renamed", [F("f"), D("d")],
     ok("open", "f", os.O_RDONLY, fd="f"), ok("rename", "f", "d/g"), ok("fchmod", Fd("f"), 0o711),
     see("d/g", mode=0o711), ok("rename", "d", "e"), ok("fchmod", Fd("f"), 0o700), see("e/g", mode=0o700))
case("fchmod: EPERM for the holder of a descriptor who is not the owner", [F("f", 0o666)],
     ok("open", "f", os.O_RDWR, by=B, fd="f"), no("EPERM", "fchmod", Fd("f"), 0o600, by=B))
case("fchmodat: EINVAL for an unknown flag", [F("f")], no("EINVAL", "fchmodat", AT_FDCWD, "f", 0o600, 1))
case("fchmodat: AT_SYMLINK_NOFOLLOW of what is no link", [F("f"), D("d")],
     ok("fchmodat", AT_FDCWD, "f", 0o601, AT_SYMLINK_NOFOLLOW), see("f", mode=0o601),
     ok("fchmodat", AT_FDCWD, "d", 0o701, AT_SYMLINK_NOFOLLOW), see("d", mode=0o701))
case("fchmodat: EOPNOTSUPP for a link with AT_SYMLINK_NOFOLLOW", [F("f"), L("l", "f")],
     no("EOPNOTSUPP", "fchmodat", AT_FDCWD, "l", 0o600, AT_SYMLINK_NOFOLLOW))
case("ENOTDIR with a slash behind the name of a file", [F("f"), D("d")],
     no("ENOTDIR", "chmod", "f/", 0o600), ok("chmod", "d/", 0o700), see("d", mode=0o700))
case("EROFS", [F("f"), D("d"), L("l", "f")],
     no("EROFS", "chmod", "f", 0o600), no("EROFS", "chmod", "f", 0o644), no("EROFS", "chmod", "d", 0o700),
     no("EROFS", "chmod", "l", 0o700), no("ENOENT", "chmod", "none", 0o600),
     ok("open", "f", os.O_RDONLY, fd="f"), no("EROFS", "fchmod", Fd("f"), 0o600), readonly=True)
