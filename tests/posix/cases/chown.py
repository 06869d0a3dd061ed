# SPDX-License-Identifier: ISC
"""chown(2), lchown(2), fchown(2), fchownat(2)."""

import os

from common import at_cases, path_cases
from kit import A, B, BLOCK, CHAR, D, F, FIFO, GA, GB, GX, H, L, P, ROOT, S, SOCKET, Fd, case, no, ok, see
from system import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW

path_cases("chown", (), (-1, -1), result="+")
path_cases("lchown", (), (-1, -1), target="link", follows=False, result="+")
at_cases("fchownat", (), (-1, -1, 0), result="+")

OBJECTS = (("file", F("x")), ("directory", D("x")), ("link", L("x", "nowhere")), ("FIFO", FIFO("x")),
           ("socket", SOCKET("x")), ("character device", CHAR("x")), ("block device", BLOCK("x")))

for kind, obj in OBJECTS:
    case("root gives a %s away" % kind, [D("d"), obj._replace(path="d/x", own=(A, GA))],
         ok("lchown", "d/x", B.uid, GB, by=ROOT, times="d/x:c d:?"), see("d/x", own=(B, GB), type=obj.kind),
         ok("lchown", "d/x", -1, GX, by=ROOT, times="d/x:c"), see("d/x", own=(B, GX)),
         ok("lchown", "d/x", 0, -1, by=ROOT, times="d/x:c"), see("d/x", own=(ROOT, GX)))
    case("the owner of a %s gives it to his groups only" % kind, [obj._replace(own=(A, GA))],
         ok("lchown", "x", -1, GX, by=A, times="x:c"), see("x", own=(A, GX)),
         ok("lchown", "x", A.uid, GA, by=A), see("x", own=(A, GA)),
         no("EPERM", "lchown", "x", -1, GB, by=A), no("EPERM", "lchown", "x", -1, 0, by=A),
         no("EPERM", "lchown", "x", B.uid, -1, by=A), no("EPERM", "lchown", "x", B.uid, GA, by=A),
         no("EPERM", "lchown", "x", 0, 0, by=A))
    case("nobody but the owner of a %s" % kind, [obj._replace(own=(A, GA), mode=obj.mode and 0o777)],
         [[no("EPERM", "lchown", "x", u.uid, u.gid, by=u), no("EPERM", "lchown", "x", -1, u.gid, by=u),
           no("EPERM", "lchown", "x", A.uid, GA, by=u)] for u in (P, S, B)])
case("chown: follows a link, and leaves it", [F("f", own=A), L("l", "f", own=A)],
     ok("chown", "l", B.uid, GB, by=ROOT, times="f:c l:-"), see("f", own=B), see("l", own=A))
case("lchown: of the link itself", [F("f", own=A), L("l", "f", own=A)],
     ok("lchown", "l", B.uid, GB, by=ROOT, times="f:- l:c"), see("f", own=A), see("l", own=B, target="f"))
case("the highest numbers", [F("f", own=A)],
     ok("chown", "f", 2**32 - 2, 2**32 - 2, by=ROOT), see("f", uid=2**32 - 2, gid=2**32 - 2))
case("takes effect at once", [F("f", 0o600, own=A), D("d", 0o700, own=A), F("d/f", 0o666)],
     no("EACCES", "open", "f", os.O_RDONLY, by=B), no("EACCES", "open", "d/f", os.O_RDONLY, by=B),
     ok("chown", "f", B.uid, GB, by=ROOT), ok("chown", "d", B.uid, GB, by=ROOT),
     ok("open", "f", os.O_RDWR, by=B), ok("open", "d/f", os.O_RDWR, by=B),
     no("EACCES", "open", "f", os.O_RDONLY, by=A), no("EACCES", "open", "d/f", os.O_RDONLY, by=A))
case("a file that was given away is the other's", [F("f", own=A)],
     ok("chown", "f", B.uid, -1, by=ROOT), no("EPERM", "chmod", "f", 0o600, by=A),
     no("EPERM", "chown", "f", -1, GX, by=A), ok("chmod", "f", 0o600, by=B))
case("all names of a file have its owner", [F("f", own=A), H("g", "f"), D("d"), H("d/h", "f")],
     ok("chown", "g", B.uid, GX, by=ROOT, times="f:c g:c d/h:c"),
     [see(n, own=(B, GX), nlink=3, inode="f") for n in ("f", "g", "d/h")])
case("keeps mode, size and content", [F("f", 0o1640, data=b"hello", own=A)],
     ok("chown", "f", B.uid, GB, by=ROOT), see("f", mode=0o1640, size=5, data=b"hello"))
case("-1 and -1 change nothing", [F("f", 0o640, own=(A, GX))],
     ok("chown", "f", -1, -1, by=A), see("f", own=(A, GX), mode=0o640))

# What it clears: (mode, mode after the owner's chown, mode after root's).
CLEARED = ((0o4755, 0o755, 0o755), (0o2755, 0o755, 0o755), (0o6755, 0o755, 0o755), (0o2644, 0o2644, 0o2644),
           (0o6644, 0o2644, 0o2644), (0o7711, 0o1711, 0o1711), (0o6070, 0o70, 0o70), (0o755, 0o755, 0o755))
for mode, by_owner, by_root in CLEARED:
    case("the owner's chown of a file of mode %04o" % mode, [F("f", mode, own=A), F("g", mode, own=A)],
         ok("chown", "f", -1, GX, by=A), see("f", mode=by_owner),
         ok("chown", "g", A.uid, GA, by=A), see("g", mode=by_owner))
    case("root's chown of a file of mode %04o" % mode, [F("f", mode, own=A), F("g", mode, own=A)],
         ok("chown", "f", B.uid, GB, by=ROOT), see("f", mode=by_root),
         ok("chown", "g", -1, GB, by=ROOT), see("g", mode=by_root))
    case("the owner's chown of -1 and -1 of a file of mode %04o" % mode, [F("f", mode, own=A)],
         ok("chown", "f", -1, -1, by=A), see("f", mode=by_owner))
    case("the owner's fchown of a file of mode %04o" % mode, [F("f", mode | 0o400, own=A)],
         ok("open", "f", os.O_RDONLY, by=A, fd="f"), ok("fchown", Fd("f"), -1, GX, by=A),
         see("f", mode=by_owner | 0o400), see(Fd("f"), mode=by_owner | 0o400))
case("an owner outside of the file's group clears setgid without group execute",
     [F("f", 0o2644, own=(A, GB))], ok("chown", "f", -1, GA, by=A), see("f", mode=0o644, own=A))
for mode in (0o4755, 0o2755, 0o6755, 0o7777):
    case("chown leaves a directory of mode %04o" % mode, [D("d", mode, own=A)],
         ok("chown", "d", -1, GX, by=A), see("d", mode=mode), ok("chown", "d", B.uid, GB, by=ROOT),
         see("d", mode=mode))
case("a refused chown clears nothing", [F("f", 0o6777, own=A)],
     no("EPERM", "chown", "f", B.uid, -1, by=A), no("EPERM", "chown", "f", -1, GB, by=B),
     see("f", mode=0o6777))
case("the set-id bits of all names of a file", [F("f", 0o6755, own=A), H("g", "f")],
     ok("chown", "g", -1, GX, by=A), see("f", mode=0o755), see("g", mode=0o755))

case("fchown: through a descriptor for reading", [F("f", own=A)],
     ok("open", "f", os.O_RDONLY, by=A, fd="f"), ok("fchown", Fd("f"), -1, GX, by=A, times="f:c @f:c"),
     see("f", own=(A, GX)), see(Fd("f"), own=(A, GX)))
case("fchown: of a directory", [D("d", own=A)], ok("open", "d", os.O_RDONLY, by=A, fd="d"),
     ok("fchown", Fd("d"), -1, GX, by=A, times="d:c"), see("d", own=(A, GX)))
case("fchown: of a file without a name", [F("f", 0o6755, own=A)], ok("open", "f", os.O_RDONLY, by=A, fd="f"),
     ok("unlink", "f"), ok("fchown", Fd("f"), B.uid, GB, by=ROOT, times="@f:c"),
     see(Fd("f"), own=B, mode=0o755, nlink=0))
case("fchown: EBADF", [F("f")], no("EBADF", "fchown", 9999, -1, -1), no("EBADF", "fchown", -1, -1, -1),
     ok("open", "f", os.O_PATH, fd="f"), no("EBADF", "fchown", Fd("f"), -1, -1))
case("fchown: EPERM for the holder of a descriptor who is not the owner", [F("f", 0o666, own=A)],
     ok("open", "f", os.O_RDWR, by=B, fd="f"), no("EPERM", "fchown", Fd("f"), B.uid, -1, by=B),
     no("EPERM", "fchown", Fd("f"), -1, GB, by=B))
case("fchownat: AT_SYMLINK_NOFOLLOW", [F("f", own=A), L("l", "f", own=A)],
     ok("fchownat", AT_FDCWD, "l", B.uid, GB, AT_SYMLINK_NOFOLLOW, by=ROOT), see("l", own=B), see("f", own=A))
case("fchownat: AT_EMPTY_PATH", [F("f", own=A), L("l", "f", own=A)],
     ok("open", "f", os.O_PATH, fd="f"),
     ok("fchownat", Fd("f"), "", -1, GX, AT_EMPTY_PATH, by=A, times="f:c"),
     see("f", own=(A, GX)), ok("open", "l", os.O_PATH | os.O_NOFOLLOW, fd="l"),
     ok("fchownat", Fd("l"), "", -1, GX, AT_EMPTY_PATH, by=A, times="l:c"), see("l", own=(A, GX)),
     no("ENOENT", "fchownat", Fd("f"), "", -1, GA, 0, by=A))
case("fchownat: EINVAL for an unknown flag", [F("f")], no("EINVAL", "fchownat", AT_FDCWD, "f", -1, -1, 1))
case("ENOTDIR with a slash behind the name of a file", [F("f"), L("l", "f")],
     no("ENOTDIR", "chown", "f/", -1, -1), no("ENOTDIR", "lchown", "l/", -1, -1))
case("EROFS", [F("f"), D("d"), L("l", "f")],
     no("EROFS", "chown", "f", -1, -1), no("EROFS", "chown", "d", -1, -1), no("EROFS", "lchown", "l", -1, -1),
     no("ENOENT", "chown", "none", -1, -1), ok("open", "f", os.O_RDONLY, fd="f"),
     no("EROFS", "fchown", Fd("f"), -1, -1), readonly=True)
