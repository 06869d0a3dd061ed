# SPDX-License-Identifier: ISC
"""rmdir(2), unlinkat(2) with AT_REMOVEDIR."""

import os

from common import at_cases, no_tree, path_cases, remove_cases
from kit import A, D, F, L, NODES, ROOT, Fd, case, gone, no, ok, see
from system import AT_REMOVEDIR

path_cases("rmdir", target="dir", follows=False)
at_cases("unlinkat", (), (AT_REMOVEDIR,), target="dir")
remove_cases("rmdir", (), (), D)

for kind, obj in NODES.items():
    case("ENOTEMPTY with a %s inside" % kind, [D("d"), obj._replace(path="d/x")],
         no("ENOTEMPTY", "rmdir", "d"))
    if kind != "dir":
        case("ENOTDIR for a %s" % kind, [obj], no("ENOTDIR", "rmdir", "x"))
case("ENOTDIR for a link to a directory", [D("d"), L("l", "d")], no("ENOTDIR", "rmdir", "l"),
     no("ENOTDIR", "rmdir", "l/"))
case("EINVAL for .", [D("d")], no("EINVAL", "rmdir", "."), no("EINVAL", "rmdir", "d/."))
case("ENOTEMPTY for ..", [D("d"), D("d/e")], no("ENOTEMPTY", "rmdir", "d/e/.."),
     no("ENOTEMPTY", "rmdir", "d/.."))
case("EBUSY for the root", [], no("EBUSY", "rmdir", "/", by=ROOT))
case("EBUSY for a mount point", [D("d"), D("e")], ok("mount", "none", "d", "tmpfs", 0, None, by=ROOT),
     no("EBUSY", "rmdir", "d"), no("EBUSY", "rmdir", "d", by=ROOT), no("EBUSY", "rename", "d", "x"),
     no("EBUSY", "rename", "e", "d"), ok("umount2", "d", 0, by=ROOT), ok("rmdir", "d"), gone("d"))
case("a slash at the end does no harm", [D("d")], ok("rmdir", "d///"), gone("d"))
case("the links of the parent are counted", [D("d"), D("d/e"), D("d/f")],
     see("d", dirlinks=4), ok("rmdir", "d/e", times="d:mc"), see("d", dirlinks=3, names=["f"]),
     ok("rmdir", "d/f"), see("d", dirlinks=2, names=[]))
case("is empty when all that was in it is gone", [D("d"), F("d/f"), D("d/e"), F("d/e/f"), L("d/l", "x")],
     no("ENOTEMPTY", "rmdir", "d"), ok("unlink", "d/f"), ok("unlink", "d/l"), no("ENOTEMPTY", "rmdir", "d/e"),
     ok("unlink", "d/e/f"), ok("rmdir", "d/e"), ok("rmdir", "d"), gone("d"))
case("is empty when all that was in it was moved away", [D("d"), F("d/f"), D("d/e"), F("d/e/f")],
     ok("rename", "d/f", "f"), ok("rename", "d/e", "e"), ok("rmdir", "d"), gone("d"), see("e", names=["f"]))
case("an open directory goes on without a name", [D("d"), D("d/e")],
     ok("open", "d/e", os.O_RDONLY, fd="e"), ok("rmdir", "d/e"), see(Fd("e"), type="dir", nlink=0),
     no("ENOENT", "openat", Fd("e"), "x", os.O_CREAT | os.O_WRONLY, 0o600),
     no("ENOENT", "mkdirat", Fd("e"), "x", 0o700), see(Fd("e"), names=[]))
case("the working directory can go", [D("d"), D("d/e")], ok("chdir", "d/e"), ok("rmdir", "../e"),
     no_tree("ENOENT", "creat", "f", 0o600))
case("needs no permission on the directory", [D("d", 0, own=ROOT)], ok("rmdir", "d", by=A), gone("d"))
case("the same name again and again", [D("d"), F("d/f")], ok("unlink", "d/f"), ok("rmdir", "d"),
     [[ok("mkdir", "d", 0o755), see("d", names=[]), ok("creat", "d/g", 0o600), ok("unlink", "d/g"),
       ok("rmdir", "d")]
      for _ in range(5)], gone("d"))
case("EROFS", [F("f"), D("d"), D("e"), F("e/f")], no("EROFS", "rmdir", "d"), no("EROFS", "rmdir", "e"),
     no("ENOENT", "rmdir", "none/x"), readonly=True)
