# SPDX-License-Identifier: ISC
"""mkdir(2), mkdirat(2)."""

from common import at_cases, create_cases, mode_cases, owner_cases, path_cases
from kit import A, D, F, GA, L, case, gone, no, ok, see

path_cases("mkdir", (), (0o755,), target=None, result="+")
at_cases("mkdirat", (), (0o755,), target=None, result="+")
create_cases("mkdir", (), (0o755,))
owner_cases("mkdir", (0o777,), "dir")
mode_cases("mkdir", (), (), "dir", (0, 0o111, 0o222, 0o444, 0o700, 0o755, 0o777, 0o1777, 0o7777),
           keeps=0o1777)

case("a new directory is empty and has two links", [],
     ok("mkdir", "d", 0o755), see("d", names=[], dirlinks=2, type="dir"))
case("the links of the parent are counted", [D("d"), D("d/one")],
     see("d", dirlinks=3), ok("mkdir", "d/two", 0o755), see("d", dirlinks=4),
     ok("rmdir", "d/one"), see("d", dirlinks=3))
case("a slash at the end does no harm", [], ok("mkdir", "d/", 0o755), ok("mkdir", "d/e///", 0o755),
     see("d/e", type="dir"))
case("EEXIST through a dangling link with a slash at the end", [L("l", "none")],
     no("EEXIST", "mkdir", "l/", 0o755), no("EEXIST", "mkdir", "l", 0o755), gone("none"))
case("EEXIST for the root", [], no("EEXIST", "mkdir", "/", 0o755))
case("a directory that was removed with its contents comes back empty",
     [D("d"), D("d/e"), F("d/e/f"), F("d/f")],
     ok("unlink", "d/e/f"), ok("rmdir", "d/e"), ok("unlink", "d/f"), ok("rmdir", "d"),
     ok("mkdir", "d", 0o755), see("d", names=[]), gone("d/f"),
     ok("mkdir", "d/e", 0o755), see("d/e", names=[]))
case("a directory in the place of a removed file", [F("x")],
     ok("unlink", "x"), ok("mkdir", "x", 0o700), see("x", type="dir", mode=0o700, names=[]))
case("a chain of directories", [],
     [ok("mkdir", "/".join("d" * n), 0o755) for n in range(1, 40)],
     see("/".join("d" * 39), names=[], dirlinks=2))
case("the mode does not stop the caller who makes it", [],
     ok("mkdir", "d", 0), no("EACCES", "mkdir", "d/e", 0o755), ok("chmod", "d", 0o700),
     ok("mkdir", "d/e", 0o755))
case("the setgid bit of the parent goes on to the next level", [D("d", 0o2775, own=(A, GA))],
     ok("umask", 0), ok("mkdir", "d/e", 0o700), ok("mkdir", "d/e/f", 0o750),
     see("d/e", mode=0o2700), see("d/e/f", mode=0o2750, own=(A, GA)))
case("EROFS", [D("d")], no("EROFS", "mkdir", "x", 0o755), no("EROFS", "mkdir", "d/x", 0o755),
     no("EEXIST", "mkdir", "d", 0o755), no("ENOENT", "mkdir", "none/x", 0o755), readonly=True)
