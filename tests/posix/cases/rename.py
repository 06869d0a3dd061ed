# SPDX-License-Identifier: ISC
"""rename(2), renameat(2), renameat2(2)."""

import os

from common import at_cases, path_cases, sticky_cases
from kit import A, B, D, F, GA, H, L, NODES, P, PROGRAM, ROOT, S, Fd, Other, case, gone, no, ok, see
from system import AT_FDCWD, RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT

path_cases("rename", (), ("new",), follows=False)
path_cases("rename", (), ("new",), target="dir", follows=False)
path_cases("rename", ("old",), (), target=None, result="+", others=[F("old")])
path_cases("rename", ("old",), (), target=None, result="+", others=[D("old"), F("old/inside")])
at_cases("renameat", (), (AT_FDCWD, "new"))
at_cases("renameat", (AT_FDCWD, "old"), (), target=None, result="+", others=[F("old")])
at_cases("renameat2", (), (AT_FDCWD, "new", RENAME_NOREPLACE), target="dir")


def swap(a, b, **more):
    return ok("renameat2", AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE, **more)


def refused_flag(error, a, b, flags, **more):
    return no(error, "renameat2", AT_FDCWD, a, AT_FDCWD, b, flags, **more)


# --- moving ---

for kind, obj in NODES.items():
    case("a %s within its directory" % kind, [D("d"), obj._replace(path="d/x")],
         ok("rename", "d/x", "d/y", times="d:mc .:?"), gone("d/x"), see("d/y", type=obj.kind),
         see("d", names=["y"]))
    case("a %s to another directory" % kind, [D("d"), obj._replace(path="d/x"), D("e"), D("e/f")],
         ok("rename", "d/x", "e/f/y", times="d:mc e/f:mc e:?"), gone("d/x"), see("e/f/y", type=obj.kind),
         ok("rename", "e/f/y", "z"), see("z", type=obj.kind), see("d", names=[]), see("e/f", names=[]))
    case("a %s that was made before" % kind, [obj, D("d")], ok("rename", "x", "d/x"),
         ok("rename", "d/x", "x"),
         see("x", type=obj.kind), gone("d/x"))
case("keeps number, mode, owner, times and content", [F("f", 0o640, data=b"hello", own=(A, GA))],
     ok("open", "f", os.O_RDONLY, fd="f"), ok("rename", "f", "g", times="@f:c"),
     see("g", inode=Fd("f"), mode=0o640, own=(A, GA), data=b"hello", nlink=1))
case("a directory with all that is in it",
     [D("d", 0o751), D("d/e"), F("d/e/f", data=b"hello"), L("d/l", "e/f"), D("d/e/g"), D("new")],
     ok("open", "d/e/f", os.O_RDWR, fd="f"), ok("rename", "d", "new/n", times="new:mc"), gone("d"),
     see("new/n", mode=0o751, names=["e", "l"]), see("new/n/e", names=["f", "g"]),
     see("new/n/e/f", data=b"hello", inode=Fd("f")),
     ok("pwrite", Fd("f"), b"J", 0), see("new/n/l", target="e/f"), see("new/n/e/f", data=b"Jello"),
     no("ENOENT", "open", "d/e/f", os.O_RDONLY))
case("a directory twice, and back", [D("a"), D("a/b"), F("a/b/f", data=b"1")], ok("rename", "a", "x"),
     ok("rename", "x/b", "c"),
     ok("rename", "x", "c/x"), see("c", names=["f", "x"]), ok("rename", "c", "a"), see("a/f", data=b"1"),
     ok("rename", "a/x", "b"),
     see("a", names=["f"]), see("b", names=[]))
case("a new one in the place of the moved directory", [D("d"), F("d/f"), D("d/e"), F("d/e/g")],
     ok("rename", "d", "x"),
     ok("mkdir", "d", 0o700), see("d", names=[]), ok("creat", "d/h", 0o600), see("x", names=["e", "f"]),
     see("d", names=["h"]),
     ok("mkdir", "d/e", 0o700), see("d/e", names=[]))
case(".. of a moved directory leads to the new parent", [D("a"), D("b"), D("a/d"), F("b/here")],
     ok("open", "a/d", os.O_RDONLY, fd="d"),
     ok("rename", "a/d", "b/d"), ok("openat", Fd("d"), "../here", os.O_RDONLY), ok("chdir", "b/d"),
     see("..", names=["d", "here"]))
case("the links of the parents are counted", [D("a"), D("b"), D("a/d"), D("a/e")], see("a", dirlinks=4),
     ok("rename", "a/d", "b/d", times="a:mc b:mc"), see("a", dirlinks=3), see("b", dirlinks=3),
     ok("rename", "a/e", "b/d"),
     see("a", dirlinks=2), see("b", dirlinks=3))
case("a link is renamed, not followed", [F("f"), L("l", "f"), L("m", "none"), D("d"), L("n", "d")],
     ok("rename", "l", "k"),
     see("k", target="f"), see("f"), ok("rename", "m", "j"), see("j", target="none"), ok("rename", "n", "i"),
     see("i", target="d"),
     ok("rename", "f", "i"), see("i", type="file"), see("d", names=[]))
case("one of the names of a file", [F("f", data=b"x"), H("g", "f"), D("d")], ok("rename", "f", "d/h"),
     see("d/h", inode="g", nlink=2),
     see("g", nlink=2, data=b"x"))
case("a running program, and the file of an open descriptor", [PROGRAM("p"), F("f", data=b"x")],
     ok("start", "p"), ok("rename", "p", "q"),
     ok("open", "f", os.O_RDWR, fd="f"), ok("rename", "f", "p"), ok("write", Fd("f"), "y", 1),
     see("p", data=b"y"))
case("the working directory", [D("d"), D("d/e"), F("d/e/f")], ok("chdir", "d/e"),
     ok("rename", "../../d", "../../x"),
     see("f"), ok("creat", "g", 0o600), ok("chdir", "../.."), see("x/e", names=["f", "g"]))

# --- replacing ---

for kind, obj in NODES.items():
    for other, target in NODES.items():
        if "dir" in (kind, other):
            continue
        if kind != "file" and other != "file" and kind != other:
            continue  # a file against all, and each against its like
        case("a %s in the place of a %s" % (kind, other),
             [D("d"), obj._replace(path="d/x"), target._replace(path="d/y"), H("z", "d/y")],
             see("z", nlink=2), ok("rename", "d/x", "d/y", times="d:mc"), gone("d/x"),
             see("d/y", type=obj.kind, nlink=1),
             see("z", nlink=1, type=target.kind))
        case("a %s in the place of a later name of a %s" % (kind, other),
             [obj, target._replace(path="y"), D("d")],
             ok("link", "y", "d/z"), ok("rename", "x", "d/z", times="d:mc y:c"),
             see("y", nlink=1, type=target.kind))
    if kind != "dir":
        case("EISDIR for a %s in the place of a directory" % kind, [obj, D("d"), D("e"), F("e/f")],
             no("EISDIR", "rename", "x", "d"), no("EISDIR", "rename", "x", "e"))
        case("ENOTDIR for a directory in the place of a %s" % kind, [obj, D("d")],
             no("ENOTDIR", "rename", "d", "x"))
        case("ENOTEMPTY when the replaced directory has a %s" % kind,
             [D("d"), D("e"), obj._replace(path="e/x")],
             no("ENOTEMPTY", "rename", "d", "e"))
case("a directory in the place of an empty one", [D("p"), D("p/d", 0o700), F("p/d/f"), D("p/e")],
     see("p", dirlinks=4),
     ok("rename", "p/d", "p/e", times="p:mc"), gone("p/d"), see("p/e", names=["f"], mode=0o700),
     see("p", dirlinks=3, names=["e"]))
case("a directory in the place of one that was emptied",
     [D("d"), F("d/f"), D("e"), F("e/g"), D("e/h"), F("e/h/i")],
     no("ENOTEMPTY", "rename", "d", "e"), ok("unlink", "e/g"), ok("unlink", "e/h/i"), ok("rmdir", "e/h"),
     ok("rename", "d", "e"),
     see("e", names=["f"]), gone("d"), no("ENOENT", "open", "e/g", os.O_RDONLY))
case("the replaced file goes on in its descriptor", [F("f", data=b"new"), F("g", data=b"old")],
     ok("open", "g", os.O_RDWR, fd="g"),
     ok("rename", "f", "g", times="@g:c"), see(Fd("g"), nlink=0, data=b"old"),
     ok("pwrite", Fd("g"), b"OLD", 0), see("g", data=b"new"),
     see(Fd("g"), data=b"OLD"))
case("the replaced directory goes on in its descriptor", [D("d"), F("d/f"), D("e")],
     ok("open", "e", os.O_RDONLY, fd="e"),
     ok("rename", "d", "e"), see(Fd("e"), nlink=0, names=[]), no("ENOENT", "mkdirat", Fd("e"), "x", 0o700))
case("two names of one file: nothing happens", [F("f"), H("g", "f"), D("d"), H("d/h", "f")],
     ok("rename", "f", "g", times="f:- .:-"),
     ok("rename", "g", "d/h", times="f:- d:-"), see("f", nlink=3, inode="g"), see("d/h", inode="g"))
case("a name to itself", [F("f"), D("d"), F("d/g")], ok("rename", "f", "f", times="f:- .:-"),
     ok("rename", "d", "d", times="d:- .:-"),
     ok("rename", "d/g", "d/../d/g"), see("d", names=["g"]))

# --- what may not be ---

case("EINVAL into itself", [D("d"), D("d/e"), D("d/e/f")], no("EINVAL", "rename", "d", "d/x"),
     no("EINVAL", "rename", "d", "d/e"),
     no("EINVAL", "rename", "d", "d/e/f/x"), no("EINVAL", "rename", "d", "d/e/../e/f/x"))
case("ENOTEMPTY onto a directory above", [D("d"), D("d/e"), F("d/e/f")],
     no("ENOTEMPTY", "rename", "d/e", "d"),
     no("ENOTEMPTY", "rename", "d/e/f", "d"))
case("EBUSY for . and ..", [D("d"), D("d/e"), D("x")], no("EBUSY", "rename", "d/.", "y"),
     no("EBUSY", "rename", "d/e/..", "y"),
     no("EBUSY", "rename", ".", "y"), no("EBUSY", "rename", "..", "y"), no("EBUSY", "rename", "x", "d/."),
     no("EBUSY", "rename", "x", "d/e/.."),
     no("EBUSY", "rename", "x", "."), no("EBUSY", "rename", "x", ".."))
case("a slash at the end", [F("f"), F("g"), D("d"), L("l", "d"), D("e")], no("ENOTDIR", "rename", "f/", "h"),
     no("ENOTDIR", "rename", "f", "h/"),
     no("ENOTDIR", "rename", "f", "g/"), no("ENOTDIR", "rename", "l/", "m"), ok("rename", "d/", "x/"),
     see("x", type="dir"),
     ok("rename", "x", "e/"), see("e", names=[]), gone("x"))
case("EXDEV", [F("f"), D("d"), F("d/g"), L("l", "none")], no("EXDEV", "rename", "f", Other("f")),
     no("EXDEV", "rename", "d", Other("d")),
     no("EXDEV", "rename", "l", Other("l")), ok("creat", Other("x"), 0o600),
     no("EXDEV", "rename", Other("x"), "x"))
case("ENOENT", [F("f")], no("ENOENT", "rename", "x", "f"), no("ENOENT", "rename", "f", "d/x"),
     no("ENOENT", "rename", "f", ""))

# --- who may ---

for mode, allowed in ((0o755, "A"), (0o775, "APS"), (0o757, "AB"), (0o075, "PS"), (0o007, "B")):
    users = (A, P, S, B)
    case("out of a directory of mode %o" % mode,
         [D("d", mode, own=(A, GA)), D("to", 0o777)] + [F("d/" + u.name, own=ROOT) for u in users],
         [ok("rename", "d/" + u.name, "to/" + u.name, by=u) if u.name in allowed
          else no("EACCES", "rename", "d/" + u.name, "to/" + u.name, by=u) for u in users])
    case("into a directory of mode %o" % mode,
         [D("d", mode, own=(A, GA)), D("from", 0o777)] + [F("from/" + u.name, own=ROOT) for u in users],
         [ok("rename", "from/" + u.name, "d/" + u.name, by=u) if u.name in allowed
          else no("EACCES", "rename", "from/" + u.name, "d/" + u.name, by=u) for u in users])
case("EACCES when one directory is not writable", [D("a", 0o555), F("a/f"), D("b"), F("b/f")],
     no("EACCES", "rename", "a/f", "b/g"),
     no("EACCES", "rename", "b/f", "a/g"), no("EACCES", "rename", "b/f", "a/f"),
     no("EACCES", "rename", "a/f", "a/g"))
case("a directory that is not writable can be renamed, but not moved",
     [D("d", 0o555, own=A), D("to", 0o777, own=A)],
     ok("rename", "d", "e", by=A), no("EACCES", "rename", "e", "to/e", by=A),
     ok("rename", "e", "to/e", by=ROOT))
case("somebody else's directory can be renamed, but not moved",
     [D("p", 0o777), D("p/d", 0o755, own=B), D("to", 0o777)],
     ok("rename", "p/d", "p/e", by=A), no("EACCES", "rename", "p/e", "to/e", by=A),
     ok("rename", "p/e", "to/e", by=B))
case("needs no permission on the file",
     [D("d", 0o777), F("d/f", 0, own=ROOT), D("e", 0o777), F("e/f", 0, own=B)],
     ok("rename", "d/f", "e/g", by=A), ok("rename", "e/g", "e/f", by=A))
sticky_cases("rename from", lambda p, **m: ok("rename", p, p + ".new", **m), lambda e, p,
             **m: no(e, "rename", p, p + ".new", **m), F)
sticky_cases("rename of directories from", lambda p, **m: ok("rename", p, p + ".new", **m), lambda e, p,
             **m: no(e, "rename", p, p + ".new", **m), D)


for owner, dir_owner in ((A, ROOT), (B, ROOT), (A, B), (B, A)):
    users = (A, P, S, B, ROOT)
    case("onto %s's file in %s's sticky directory" % (owner.name, dir_owner.name),
         [D("from", 0o777), D("d", 0o1777, own=dir_owner)] + [F("d/" + u.name, own=owner) for u in users]
         + [F("from/" + u.name, own=u) for u in users],
         [ok("rename", "from/" + u.name, "d/" + u.name, by=u) if u in (owner, dir_owner, ROOT)
          else no("EPERM", "rename", "from/" + u.name, "d/" + u.name, by=u) for u in users])
case("into a sticky directory", [D("d", 0o1777, own=ROOT), F("f", own=B), D("e", 0o777), F("e/f", own=B)],
     ok("rename", "e/f", "d/f", by=A),
     no("EPERM", "rename", "d/f", "e/f", by=A), no("EPERM", "rename", "d/f", "d/g", by=A),
     ok("rename", "d/f", "d/g", by=B))

# --- flags ---

for kind, obj in NODES.items():
    case("RENAME_NOREPLACE: EEXIST for a %s" % kind, [F("f"), obj],
         refused_flag("EEXIST", "f", "x", RENAME_NOREPLACE),
         refused_flag("EEXIST", "x", "f", RENAME_NOREPLACE),
         refused_flag("EEXIST", "x", "x", RENAME_NOREPLACE))
    case("RENAME_NOREPLACE: of a %s to a new name" % kind, [D("d"), obj],
         ok("renameat2", AT_FDCWD, "x", AT_FDCWD, "d/y", RENAME_NOREPLACE, times="d:mc"),
         see("d/y", type=obj.kind), gone("x"))
    case("RENAME_EXCHANGE: of a %s and a file" % kind,
         [D("d"), D("e"), obj._replace(path="d/x"), F("e/y", data=b"hello")],
         swap("d/x", "e/y", times="d:mc e:mc"), see("e/y", type=obj.kind), see("d/x", data=b"hello"),
         swap("e/y", "d/x"),
         see("d/x", type=obj.kind), see("e/y", data=b"hello"))
    case("RENAME_EXCHANGE: of a %s and a directory" % kind, [obj, D("d"), F("d/f"), D("e")],
         swap("x", "d", times=".:mc"),
         see("d", type=obj.kind), see("x", names=["f"]), swap("x", "e"), see("x", names=[]),
         see("e", names=["f"]))
case("RENAME_EXCHANGE: the links of the parents are counted", [D("a"), D("b"), D("a/d"), F("b/f")],
     swap("a/d", "b/f"),
     see("a", dirlinks=2), see("b", dirlinks=3))
case("RENAME_EXCHANGE: of two names of a file", [F("f"), H("g", "f")], swap("f", "g"),
     see("f", nlink=2, inode="g"))
case("RENAME_EXCHANGE: of a name with itself", [F("f"), D("d")], swap("f", "f"), swap("d", "d"), see("f"),
     see("d"))
case("RENAME_EXCHANGE: of directories with contents",
     [D("a"), F("a/f", data=b"1"), D("a/s"), F("a/s/t"), D("b"), F("b/f", data=b"2")], swap("a", "b"),
     see("a", names=["f"]), see("b", names=["f", "s"]), see("a/f", data=b"2"), see("b/f", data=b"1"),
     see("b/s", names=["t"]),
     ok("unlink", "a/f"), see("b/f", data=b"1"), ok("creat", "a/s", 0o600), see("b/s", names=["t"]))
case("RENAME_EXCHANGE: ENOENT", [F("f")], refused_flag("ENOENT", "f", "x", RENAME_EXCHANGE),
     refused_flag("ENOENT", "x", "f", RENAME_EXCHANGE))
case("RENAME_EXCHANGE: EINVAL with a directory above", [D("d"), D("d/e"), F("d/f")],
     refused_flag("EINVAL", "d", "d/e", RENAME_EXCHANGE),
     refused_flag("EINVAL", "d", "d/f", RENAME_EXCHANGE), refused_flag("EINVAL", "d/e", "d", RENAME_EXCHANGE))
case("RENAME_EXCHANGE: who may",
     [D("d", 0o1777, own=ROOT), F("d/a", own=A), F("d/b", own=B), D("e", 0o555), F("e/f"), F("f")],
     refused_flag("EPERM", "d/a", "d/b", RENAME_EXCHANGE, by=A),
     refused_flag("EPERM", "d/a", "d/b", RENAME_EXCHANGE, by=B),
     refused_flag("EACCES", "e/f", "f", RENAME_EXCHANGE, by=A), swap("d/a", "d/b", by=ROOT),
     see("d/a", own=B))
case("RENAME_EXCHANGE: EXDEV", [F("f")], ok("creat", Other("x"), 0o600),
     refused_flag("EXDEV", "f", Other("x"), RENAME_EXCHANGE))
case("EINVAL for flags that do not go together, or do not exist", [F("f"), F("g")],
     refused_flag("EINVAL", "f", "g", RENAME_NOREPLACE | RENAME_EXCHANGE),
     refused_flag("EINVAL", "f", "g", RENAME_WHITEOUT | RENAME_EXCHANGE),
     refused_flag("EINVAL", "f", "g", 0x4000), refused_flag("EINVAL", "f", "x", 0x4000))
case("EROFS", [F("f"), F("g"), D("d"), D("e"), F("e/f")], no("EROFS", "rename", "f", "x"),
     no("EROFS", "rename", "f", "g"),
     no("EROFS", "rename", "d", "x"), no("EROFS", "rename", "f", "d/x"), no("EROFS", "rename", "d", "e"),
     refused_flag("EROFS", "f", "g", RENAME_EXCHANGE), readonly=True)
