# SPDX-License-Identifier: ISC
"""symlink(2), symlinkat(2)."""

import os

from common import at_cases, create_cases, path_cases
from kit import A, B, D, F, GB, L, ROOT, case, gone, no, ok, see
from system import BAD, acl

path_cases("symlink", ("target",), (), target=None, result="+")
at_cases("symlinkat", ("target",), (), target=None, result="+")
create_cases("symlink", ("target",), ())

for target in ("f", "none", "../..", "/", "a//b/./c", "x" * 255, "x" * 256, "\udcff\udc80 \n",
               "./" * 2047 + "x"):
    case("to %s" % (ascii(target) if len(target) < 20 else "%d bytes" % len(target)), [F("f")],
         ok("symlink", target, "l"),
         see("l", type="link", target=target, size=len(os.fsencode(target)), nlink=1))
    case("read a link to %s" % (ascii(target) if len(target) < 20 else "%d bytes" % len(target)),
         [L("l", target)],
         see("l", type="link", target=target, size=len(os.fsencode(target)), nlink=1))
case("ENAMETOOLONG for a target of 4096 bytes", [], no("ENAMETOOLONG", "symlink", "x" * 4096, "l"))
case("ENOENT for an empty target", [], no("ENOENT", "symlink", "", "l"))
case("EFAULT for a bad target", [], no("EFAULT", "symlink", BAD, "l"))
case("the mode is 0777 whatever the umask", [D("d", default=acl(7, 0, 0))], ok("umask", 0o777),
     ok("symlink", "x", "l"),
     see("l", mode=0o777), ok("symlink", "x", "d/l"), see("d/l", mode=0o777))
case("belongs to the caller", [D("d", 0o777, own=ROOT), D("e", 0o2777, own=(ROOT, GB))],
     [[ok("symlink", "x", "d/" + u.name, by=u), see("d/" + u.name, own=u),
       ok("symlink", "x", "e/" + u.name, by=u), see("e/" + u.name, own=(u, GB))] for u in (A, B, ROOT)])
case("ENOENT with a slash at the end", [], no("ENOENT", "symlink", "x", "l/"))
case("a link to a directory is one", [D("d"), F("d/f")], ok("symlink", "d", "l"), see("l/f"),
     see("l/", names=["f"]))
case("40 links are followed, 41 are not", [F("0")] + [L(str(n), str(n - 1)) for n in range(1, 42)],
     ok("open", "40", os.O_RDONLY), no("ELOOP", "open", "41", os.O_RDONLY))
case("a link in the place of a removed file", [F("f"), D("d"), F("d/f")], ok("unlink", "f"),
     ok("symlink", "d/f", "f"), see("f", type="link", target="d/f"), ok("open", "f", os.O_RDONLY))
case("a link in the place of a directory shows nothing of it", [D("d"), F("d/f"), D("e")],
     ok("unlink", "d/f"), ok("rmdir", "d"), ok("symlink", "e", "d"), see("d", type="link"), gone("d/f"))
case("EROFS", [D("d"), F("f")], no("EROFS", "symlink", "x", "l"), no("EROFS", "symlink", "x", "d/l"),
     no("EEXIST", "symlink", "x", "f"), no("ENOENT", "symlink", "x", "none/l"), readonly=True)
