# SPDX-License-Identifier: ISC
"""Cases that hold for many calls alike: what can be wrong with a path or with a descriptor of a
directory, who may add and remove names, what the sticky bit forbids."""

import os

from kit import A, B, D, F, FIFO, GA, GB, L, NODES, P, ROOT, S
from kit import Absolute, Fd, NewTimes, case, gone, no, ok, see
from system import AT_FDCWD, BAD, acl

LONGEST = "n" * 255
TOO_LONG = "n" * 256


def _of_length(length, name):
    """A path to `name` of so many bytes."""
    dots = length - len(name)
    return "./" * (dots // 2) + "/" * (dots % 2) + name


def path_cases(name, before=(), after=(), target="file", follows=True, result="-", others=()):
    """What can be wrong with the path in name(*before, PATH, *after).

    target: the kind of object that the path names; None where the call makes the name.
    follows: whether a symbolic link as the last component is followed.
    result: "-" where the call removes the name, "+" where it is there afterwards.
    others: the objects that the other arguments need.
    """
    others = list(others)
    maker = {"file": F, "dir": D, "link": lambda p: L(p, "x"), None: None}[target]
    which = "%s%s" % (name, " (second path)" if before and isinstance(before[-1], str) else "")

    def fails(error, why, path, objects=()):
        case("%s: %s when %s" % (which, error, why), others + list(objects),
             no(error, name, *before, path, *after))

    def works(why, path, final):
        objects = [maker(final)] if maker else []
        case("%s: %s" % (which, why), others + objects, ok(name, *before, path, *after),
             see(final) if result == "+" else gone(final))

    fails("ENOTDIR", "a component of the prefix is a file", "f/x", [F("f")])
    fails("ENOTDIR", "a component of the prefix is a FIFO", "p/x", [FIFO("p")])
    fails("ENOENT", "a component of the prefix is missing", "none/x")
    fails("ENOENT", "the prefix is a dangling link", "l/x", [L("l", "none")])
    fails("ENOENT", "the path is empty", "")
    fails("ELOOP", "the prefix is a loop of links", "a/x", [L("a", "b"), L("b", "a")])
    fails("ELOOP", "the prefix is a link to itself", "a/x", [L("a", "a")])
    if not maker:
        fails("EACCES", "the prefix may not be searched", "d/x", [D("d", 0o600)])
    fails("ENAMETOOLONG", "the name has 256 bytes", TOO_LONG)
    fails("ENAMETOOLONG", "a name of the prefix has 256 bytes", TOO_LONG + "/x")
    fails("ENAMETOOLONG", "a name in a lower directory has 256 bytes", "d/" + TOO_LONG, [D("d")])
    fails("ENAMETOOLONG", "the path has 4096 bytes", _of_length(4096, "x"))
    fails("EFAULT", "the path is a bad pointer", BAD)
    works("a name of 255 bytes", LONGEST, LONGEST)
    works("a path of 4095 bytes", _of_length(4095, "x"), "x")
    works("a path from the root", Absolute("x"), "x")
    case("%s: a prefix through links" % which,
         others + [D("d"), L("l", "d"), L("m", "./l/../l/.")] + ([maker("d/x")] if maker else []),
         ok(name, *before, "m/x", *after), see("d/x") if result == "+" else gone("d/x"))
    for user, mode in ((A, 0o077), (P, 0o707), (S, 0o707), (B, 0o770)):
        case("%s: EACCES when %s may not search the prefix" % (which, user.name),
             others + [D("d", mode)] + ([maker("d/x")] if maker else []) + [D("d/e", 0o777)],
             no("EACCES", name, *before, "d/x", *after, by=user),
             no("EACCES", name, *before, "d/e/x", *after, by=user))
    if maker:
        fails("ENOENT", "the file is missing", "x")
        fails("ENOENT", "the file is missing in a directory", "d/x", [D("d"), F("d/y")])
    if target and follows:
        fails("ENOENT", "the path is a dangling link", "l", [L("l", "none")])
        fails("ELOOP", "the path is a loop of links", "a", [L("a", "b"), L("b", "a")])
    if target is None:
        removed_directory(name, before, after, others)


def removed_directory(name, before, after, others):
    """Nothing can be made in a directory that is gone."""
    case("%s: ENOENT in a removed directory" % name, list(others) + [D("d"), D("d/e")],
         ok("chdir", "d/e"), ok("rmdir", "../e"), no_tree("ENOENT", name, *before, "x", *after))


def no_tree(error, name, *args, **more):
    """Like no(), from a directory which is gone and therefore not compared."""
    step = no(error, name, *args, **more)
    step.before = lambda world: {}
    step.after = lambda world, before: None
    return step


def at_cases(name, before=(), after=(), target="file", result="-", others=()):
    """The same for the descriptor of a directory in name(*before, DIRFD, PATH, *after)."""
    others = list(others)
    maker = {"file": F, "dir": D, "link": lambda p: L(p, "x"), None: None}[target]
    objects = others + [D("d"), F("f")] + ([maker("d/x")] if maker else [])
    done = see("d/x") if result == "+" else gone("d/x")
    which = "%s%s" % (name, " (second path)" if before else "")

    def one(title, *steps):
        case("%s: %s" % (which, title), objects, *steps)

    one("relative to a descriptor", ok("open", "d", os.O_RDONLY | os.O_DIRECTORY, fd="d"),
        ok(name, *before, Fd("d"), "x", *after), done)
    one("relative to an O_PATH descriptor", ok("open", "d", os.O_PATH, fd="d"),
        ok(name, *before, Fd("d"), "x", *after), done)
    one("relative to a directory that was renamed", ok("open", "d", os.O_RDONLY, fd="d"),
        ok("rename", "d", "e"), ok(name, *before, Fd("d"), "x", *after),
        see("e/x") if result == "+" else gone("e/x"))
    one("relative to AT_FDCWD", ok(name, *before, AT_FDCWD, "d/x", *after), done)
    one("a path from the root and a bad descriptor",
        ok(name, *before, 9999, Absolute("d/x"), *after), done)
    one("EBADF for a descriptor that is not open", no("EBADF", name, *before, 9999, "x", *after))
    one("EBADF for a negative descriptor", no("EBADF", name, *before, -1, "x", *after))
    one("ENOTDIR for the descriptor of a file", ok("open", "f", os.O_RDONLY, fd="f"),
        no("ENOTDIR", name, *before, Fd("f"), "x", *after))
    case("%s: ENOENT relative to a removed directory" % which, others + [D("d")],
         ok("open", "d", os.O_RDONLY, fd="d"), ok("rmdir", "d"),
         no("ENOENT", name, *before, Fd("d"), "x", *after))


def create_cases(name, before=(), after=(), others=()):
    """Who may make a name in which directory, and what is changed by it."""
    others = list(others)

    def make(path, **more):
        return ok(name, *before, path, *after, **more)

    def refused(error, path, **more):
        return no(error, name, *before, path, *after, **more)

    case("%s: changes mtime and ctime of the directory" % name, others + [D("d"), D("d/e")],
         make("d/x", times="d:mc"), make("d/e/x", times="d/e:mc d:?"), see("d/x"), see("d/e/x"))
    for kind, obj in NODES.items():
        case("%s: EEXIST when the name is a %s" % (name, kind), others + [obj], refused("EEXIST", "x"))
    case("%s: EEXIST when the name is a link to a directory" % name, others + [D("d"), L("l", "d")],
         refused("EEXIST", "l"))
    case("%s: EEXIST for . and .." % name, others + [D("d")],
         refused("EEXIST", "."), refused("EEXIST", ".."), refused("EEXIST", "d/."),
         refused("EEXIST", "d/.."))
    case("%s: EACCES when the directory is not writable" % name, others + [D("d", 0o555)],
         refused("EACCES", "d/x"))
    case("%s: EEXIST comes before EACCES" % name, others + [D("d", 0o555), F("d/x")],
         refused("EEXIST", "d/x"), refused("EACCES", "d/z"))
    case("%s: needs write and search permission" % name,
         others + [D("d%o" % m, m << 6) for m in range(8)],
         [make("d%o/x" % m) if m & 3 == 3 else refused("EACCES", "d%o/x" % m) for m in range(8)])
    for mode, allowed in ((0o755, "A"), (0o775, "APS"), (0o757, "AB"), (0o075, "PS"), (0o007, "B")):
        case("%s: in a directory of mode %o" % (name, mode), others + [D("d", mode, own=(A, GA))],
             [make("d/" + u.name, by=u) if u.name in allowed else refused("EACCES", "d/" + u.name, by=u)
              for u in (A, P, S, B)], make("d/root", by=ROOT))
    case("%s: an ACL lets in and shuts out" % name,
         others + [D("d", 0o750, own=(A, GA),
                     acl=acl(7, 7, 0, mask=7, users={B.uid: 7, P.uid: 5}))],
         make("d/b", by=B), refused("EACCES", "d/p", by=P), make("d/s", by=S))
    case("%s: a name that was removed can be made again" % name, others + [F("x"), D("d"), F("d/f")],
         ok("unlink", "x"), make("x"), see("x"),
         ok("unlink", "d/f"), ok("rmdir", "d"), make("d"), see("d"))


def owner_cases(name, after, kind):
    """To whom a new file belongs; in a setgid directory to its group."""
    case("%s: the new %s belongs to the caller" % (name, kind), [D("d", 0o777, own=ROOT)],
         [[ok(name, "d/" + u.name, *after, by=u), see("d/" + u.name, own=(u, u.gid), type=kind)]
          for u in (A, P, S, B, ROOT)])
    setgid = {"mode": 0o2755} if kind == "dir" else {}
    case("%s: in a setgid directory it gets the directory's group" % name,
         [D("d", 0o2777, own=(ROOT, GB)), D("d/sub", 0o2777, own=(ROOT, GA))],
         ok("umask", 0o22),
         [[ok(name, "d/" + u.name, *after, by=u), see("d/" + u.name, own=(u, GB), **setgid),
           ok(name, "d/sub/" + u.name, *after, by=u), see("d/sub/" + u.name, own=(u, GA), **setgid)]
          for u in (A, P, B, ROOT)])
    case("%s: its times are new" % name, [F("old")],
         ok("utimensat", AT_FDCWD, "old", None, 0), ok(name, "x", *after), NewTimes("x", "old"))


def mode_cases(name, before, after, kind, modes, keeps=0o777, fmt=0):
    """The mode of a new object: name(path, *before, fmt | MODE, *after) under several masks."""
    for umask in (0, 0o22, 0o77, 0o777):
        case("%s: the mode under umask %03o" % (name, umask), [], ok("umask", umask),
             [[ok(name, "x%o" % m, *before, fmt | m, *after),
               see("x%o" % m, mode=m & keeps & ~umask, type=kind)] for m in modes],
             ok("umask", 0))
    default = acl(7, 5, 4, mask=7, users={7004: 7})
    plain = acl(7, 5, 1)
    handed_on = default if kind == "dir" else None
    case("%s: a default ACL takes the place of the umask" % name, [D("d", default=default)],
         ok("umask", 0o77), ok(name, "d/x", *before, fmt | 0o777, *after),
         see("d/x", mode=0o774, acl=acl(7, 5, 4, mask=7, users={7004: 7}), default=handed_on),
         ok(name, "d/y", *before, fmt | 0o640, *after),
         see("d/y", mode=0o640, acl=acl(6, 5, 0, mask=4, users={7004: 7}), default=handed_on))
    case("%s: a default ACL without more entries" % name, [D("d", default=plain)],
         ok("umask", 0o77), ok(name, "d/x", *before, fmt | 0o777, *after),
         see("d/x", mode=0o751, acl=None, default=plain if kind == "dir" else None))


def remove_cases(name, before, after, maker):
    """Who may take a name out of which directory."""
    def take(path, **more):
        return ok(name, *before, path, *after, **more)

    def refused(error, path, **more):
        return no(error, name, *before, path, *after, **more)

    case("%s: EACCES when the directory is not writable" % name, [D("d", 0o555), maker("d/x")],
         refused("EACCES", "d/x"))
    case("%s: changes mtime and ctime of the directory" % name, [D("d"), D("d/e"), maker("d/e/x")],
         take("d/e/x", times="d/e:mc d:?"), gone("d/e/x"))
    for mode, allowed in ((0o755, "A"), (0o775, "APS"), (0o757, "AB"), (0o075, "PS"), (0o007, "B")):
        case("%s: out of a directory of mode %o" % (name, mode),
             [D("d", mode, own=(A, GA))] + [maker("d/" + u.name, own=ROOT) for u in (A, P, S, B)],
             [take("d/" + u.name, by=u) if u.name in allowed else refused("EACCES", "d/" + u.name, by=u)
              for u in (A, P, S, B)])
    sticky_cases(name, take, refused, maker)


def sticky_cases(name, take, refused, maker):
    """In a sticky directory only the owner of the file, of the directory, or root may."""
    for dir_owner, owner in ((ROOT, A), (ROOT, B), (B, A), (A, B), (A, A), (B, ROOT)):
        objects = [D("d", 0o1777, own=dir_owner)]
        users = (A, P, S, B, ROOT)
        objects += [maker("d/" + u.name, own=owner) for u in users]
        case("%s: %s's file in %s's sticky directory" % (name, owner.name, dir_owner.name), objects,
             [take("d/" + u.name, by=u) if u in (dir_owner, owner, ROOT)
              else refused("EPERM", "d/" + u.name, by=u) for u in users])
    case("%s: a sticky directory that only the group may write" % name,
         [D("d", 0o1775, own=(ROOT, GA)), maker("d/P", own=P), maker("d/S", own=S), maker("d/B", own=B)],
         refused("EACCES", "d/B", by=B), refused("EPERM", "d/S", by=P), take("d/P", by=P),
         take("d/S", by=S))
