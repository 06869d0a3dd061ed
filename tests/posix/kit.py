# SPDX-License-Identifier: ISC
"""What a case is made of: objects, actions and expectations, all of them plain data.

    case("drops setgid when the owner is outside of the group",
         [F("f", 0o644, own=(A, GB))],
         ok("chmod", "f", 0o2755, times="f:c .:-"),
         see("f", mode=0o755))

Paths are relative to the case's private directory, which belongs to A, who also acts where
nothing else is said. A case that names users runs only when root runs the suite; in all
others A is whoever runs it.
"""

import collections
import mmap
import os
import resource
import socket
import stat
import subprocess
import sys
import time

import system

Actor = collections.namedtuple("Actor", "name uid gid groups")

GA, GX, GB = 7001, 7100, 7004
A = Actor("A", 7001, GA, (GX,))  # the owner
P = Actor("P", 7002, GA, ())  # has the owner's group as his own
S = Actor("S", 7003, 7003, (GA,))  # has it among his supplementary groups
B = Actor("B", 7004, GB, ())  # a stranger
ROOT = Actor("root", 0, 0, ())

CASES = []

Case = collections.namedtuple("Case", "call title objects steps readonly caveat users where")
Object = collections.namedtuple("Object", "kind path mode own extra")


def _object(kind, mode):
    def make(path, mode=mode, own=None, extra=None, **more):
        return Object(kind, path, mode, own, more or extra)

    return make


F = _object("file", 0o644)  # data=b"..." or size=N
D = _object("dir", 0o755)  # default=ACL, acl=ACL
FIFO = _object("fifo", 0o644)
SOCKET = _object("socket", 0o644)
CHAR = _object("char", 0o644)
BLOCK = _object("block", 0o644)
PROGRAM = _object("program", 0o755)  # sleeps for long


def L(path, target, own=None):
    """A symbolic link."""
    return Object("link", path, None, own, {"target": target})


def H(path, target):
    """One more name of an object."""
    return Object("name", path, None, None, {"target": target})


# One maker for each type of file, for the cases that hold for all of them.
NODES = {
    "file": F("x"),
    "dir": D("x"),
    "link": L("x", "nowhere"),
    "fifo": FIFO("x"),
    "socket": SOCKET("x"),
    "char": CHAR("x"),
    "block": BLOCK("x"),
}


class Fd(str):
    """A descriptor that an earlier step has opened."""

    def __repr__(self):
        return "Fd(%s)" % self


class FdPath(str):
    """The path of such a descriptor in /proc."""

    def __repr__(self):
        return "FdPath(%s)" % self


class Absolute(str):
    """A path that is to be given from the root."""

    def __repr__(self):
        return "Absolute(%s)" % self


class Other(str):
    """A path on another file system."""

    def __repr__(self):
        return "Other(%s)" % self


class Mismatch(Exception):
    """What was expected is not so."""


def case(title, objects, *steps, readonly=False, caveat=False):
    """readonly: for a read-only file system; caveat: what only a mount does, as overlayfs(1) says."""
    flat = list(_flatten(steps))
    users = any(o.own or o.kind in ("char", "block") for o in objects)
    users = users or any(s.by for s in flat)
    frame = sys._getframe(1)
    while not frame.f_globals["__name__"].startswith("cases."):
        frame = frame.f_back  # a case that common.py makes belongs to its caller
    where = "%s:%d" % (os.path.basename(frame.f_code.co_filename), frame.f_lineno)
    name = frame.f_globals["__name__"].rpartition(".")[2]
    CASES.append(Case(name, title, objects, flat, readonly, caveat, users, where))


def _flatten(steps):
    for s in steps:
        if isinstance(s, (list, tuple)):
            yield from _flatten(s)
        else:
            yield s


# --- the world of a case that runs -----------------------------------------------------------


class World:
    def __init__(self, several, other):
        self.several = several  # whether there is more than one user
        self.other = other
        self.fds = {}
        self.opened = set()
        self.children = []
        self.failed_tree = None

    def become(self, actor):
        if not self.several:
            return
        os.setresuid(0, 0, 0)
        os.setgroups(actor.groups)
        os.setresgid(actor.gid, actor.gid, actor.gid)
        # The saved id is the way back; all that the kernel checks is the actor's.
        os.setresuid(actor.uid, actor.uid, 0)

    def ids(self, own):
        """(uid, gid) of an owner as the cases write it."""
        if isinstance(own, Actor):
            own = (own, own.gid)
        uid, gid = own
        return (uid.uid if isinstance(uid, Actor) else uid, gid)

    def resolve(self, arg):
        if isinstance(arg, Fd):
            return self.fds[arg]
        if isinstance(arg, FdPath):
            return "/proc/self/fd/%d" % self.fds[arg]
        if isinstance(arg, Absolute):
            return os.path.join(os.getcwd(), arg)
        if isinstance(arg, Other):
            return os.path.join(self.elsewhere(), arg)
        return arg

    def elsewhere(self):
        """A directory on the other file system, for one run of this case."""
        if not os.path.isdir(self.other):
            me = os.geteuid()
            os.seteuid(os.getresuid()[2])
            os.mkdir(self.other)
            os.chmod(self.other, 0o777)
            os.seteuid(me)
        return self.other

    def look(self, path, asked_ctime=False):
        """What the kernel tells, which must be what the file system says when asked again."""
        dirfd, name = (self.fds[path], "") if isinstance(path, Fd) else (-100, self.resolve(path))
        self.become(ROOT)
        known = system.statx(dirfd, name)
        asked = system.statx(dirfd, name, system.AT_SYMLINK_NOFOLLOW | system.AT_FORCE_SYNC)
        for field in known:
            if field in ("atime", "ctime"):
                continue  # see tree()
            if known[field] != asked[field] and not uncounted(field, known, asked):
                raise Mismatch("%s of %s is %s from the kernel's cache and %s when asked for" % (
                    field, path, known[field], asked[field]))
        if asked_ctime:
            known["ctime"] = asked["ctime"]
        return known

    def tree(self):
        """Everything in the case's directory.

        The ctime is what the file system says: a copy cannot be given that of what it is a copy
        of, and the kernel, whose cache has the old one, may learn of it at any later call.
        """
        self.become(ROOT)
        found = {}

        def visit(path):
            found[path] = {k: v for k, v in self.look(path, True).items() if k != "atime"}
            if found[path]["type"] != "dir":
                return
            try:
                names = os.listdir(path)
            except PermissionError:
                return
            for name in names:
                try:
                    visit(os.path.join(path, name))
                except (PermissionError, FileNotFoundError) as e:
                    found[os.path.join(path, name)] = {"error": e.errno}

        visit(".")
        return found

    def end(self):
        """Leave nothing to the next case in this process."""
        self.become(ROOT)
        for kind, limit in LIMITS.items():
            resource.setrlimit(kind, limit)
        for fd in self.opened:
            try:
                os.close(fd)
            except OSError:
                pass  # the case has closed it
        for started in self.children:
            started.kill()
            started.wait()


LIMITS = {kind: resource.getrlimit(kind) for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)}


def uncounted(field, *stats):
    """Where the links of directories are not counted, there is one."""
    return field == "nlink" and any(s["type"] == "dir" and s["nlink"] == 1 for s in stats)


def tick(*stats):
    """Wait until a change would get times that none of these has."""
    last = max((max(s.get("mtime", 0), s.get("ctime", 0)) for s in stats), default=0)
    end = time.monotonic() + 5
    while system.coarse_now() <= last and time.monotonic() < end:
        time.sleep(0.001)


# --- actions that are more than one system call ------------------------------------------------


def _start(world, path):
    """Run a program; returns when it runs."""
    child = subprocess.Popen(["./" + path, "1000"], stdin=subprocess.DEVNULL,
                             preexec_fn=system.die_with_parent)
    world.children.append(child)


def _bind(world, path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)


def _limit(world, size):
    """RLIMIT_FSIZE. Python ignores the signal that comes with the error."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, LIMITS[resource.RLIMIT_FSIZE][1]))


def _files_limit(world, count):
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, LIMITS[resource.RLIMIT_NOFILE][1]))


def _read(world, path):
    with open(path, "rb") as f:
        f.read()


def _direct_write(world, fd, at):
    """One block, from memory that is aligned."""
    with mmap.mmap(-1, 4096) as block:
        block.write(b"D" * 4096)
        os.pwrite(fd, block, at)


ACTIONS = {
    "direct_write": _direct_write,
    "stat_all": lambda world, path: os.stat(path) and os.access(path, os.R_OK),
    "start": _start,
    "bind": _bind,
    "limit_size": _limit,
    "limit_files": _files_limit,
    "read_all": _read,
    "list": lambda world, path: os.listdir(path),
    "exec": lambda world, path: subprocess.run(["./" + path, "0"], check=True),
    "setxattr": lambda world, path, name, value: os.setxattr(path, name, value, follow_symlinks=False),
    "read_fd": lambda world, fd, size: os.read(fd, size),
    "pwrite": lambda world, fd, data, at: os.pwrite(fd, data, at),
}


def perform(world, name, args):
    """(value, None), or (None, name of the error)"""
    args = [world.resolve(a) for a in args]
    if name not in ACTIONS:
        return system.call(name, *args)
    try:
        return ACTIONS[name](world, *args), None
    except OSError as e:
        return None, system.error_name(e.errno)


OPENING = ("open", "openat", "creat")


# --- steps -------------------------------------------------------------------------------------


class Call:
    """One call, by one user, and what must come of it."""

    def __init__(self, error, name, args, by=None, fd=None, times="", ret=None):
        self.error, self.name, self.args = error, name, args
        self.by, self.fd, self.times, self.ret = by, fd, times, ret

    def __str__(self):
        shown = ["%s..." % repr(a)[:40] if len(repr(a)) > 60 else oct(a) if _is_mode(a) else repr(a)
                 for a in self.args]
        return "%s(%s)%s" % (self.name, ", ".join(shown), " by " + self.by.name if self.by else "")

    def run(self, world):
        before = self.before(world)
        world.failed_tree = None
        world.become(self.by or A)
        value, error = perform(world, self.name, self.args)
        world.become(ROOT)
        if error is None and self.name in OPENING:
            world.opened.add(value)
        if error != self.error:
            raise Mismatch("%s, not %s" % (error or "succeeds", self.error or "success"))
        if self.ret is not None and value != self.ret:
            raise Mismatch("%r, not %r" % (value, self.ret))
        if self.fd:
            world.fds[self.fd] = value
        self.after(world, before)

    def before(self, world):
        if self.error:
            # What the last call left alone is still the same.
            before = world.failed_tree or world.tree()
            tick(*before.values())
            return before
        before = {p: world.look(p, True) for p, _ in _spec(self.times)}
        if before:
            tick(*before.values())
        return before

    def after(self, world, before):
        if self.error:
            world.failed_tree = world.tree()
            _nothing_changed(before, world.failed_tree, "?" in self.times)
            return
        for path, letters in _spec(self.times):
            now = world.look(path)
            for name in ("atime", "mtime", "ctime"):
                wanted = name[0] in letters
                if name[0] == "c" and not wanted:
                    now = world.look(path, True)
                changed = now[name] != before[path][name]
                if name[0] == "a" and not {"a", "A"} & set(letters):
                    continue
                if changed != wanted and not (name[0] == "c" and "?" in letters):
                    raise Mismatch("%s of %s is %s" % (name, path, "new" if changed else "the old one"))
                if wanted and now[name] < before[path][name] and (name[0] == "c" or "<" not in letters):
                    raise Mismatch("%s of %s goes back" % (name, path))


def _is_mode(value):
    return isinstance(value, int) and value > 8


def _spec(times):
    """Which of the times change: "f:mc .:-" (none of m and c), "d:?" (no m, c may),
    "f:A" (no a), "f:<m" (m may become an earlier one), "@x:c" (of the descriptor x)."""
    for word in times.split():
        path, letters = word.rsplit(":", 1)
        yield Fd(path[1:]) if path[0] == "@" else path, letters


def _nothing_changed(before, after, but_times):
    for path in sorted(set(before) | set(after)):
        if path not in after:
            raise Mismatch("the failed call removed %s" % path)
        if path not in before:
            raise Mismatch("the failed call left %s" % path)
        for field, value in before[path].items():
            if but_times and field in ("mtime", "ctime"):
                continue
            if after[path].get(field) != value and not uncounted(field, before[path], after[path]):
                raise Mismatch("the failed call changed %s of %s from %s to %s" % (
                    field, path, value, after[path].get(field)))


def ok(name, *args, **more):
    """The call succeeds. by: who calls; fd: the name for its result; ret: its result;
    times: see _spec."""
    return Call(None, name, args, **more)


def no(error, name, *args, **more):
    """The call fails with this error, and nothing has changed; times="?": but the times may have."""
    return Call(error, name, args, **more)


class See:
    """What stat(2) and its like tell of a path or of a descriptor.

    own: (user, group); dirlinks: nlink of a directory, which may be 1 where directories are not
    counted; inode: the path or descriptor that is the same file; names: what a directory has;
    data, target, acl, default: the contents.
    """

    by = None

    def __init__(self, path, fields):
        self.path, self.fields = path, fields

    def __str__(self):
        return "see(%r)" % self.path

    def run(self, world):
        got = world.look(self.path)
        for field, want in self.fields.items():
            value = self.value(world, got, field)
            if field == "own":
                want = world.ids(want)
            elif field == "inode":
                want = world.look(want)["ino"]
            elif field == "names":
                want = sorted(want)
            if value == want or (field == "dirlinks" and value == 1):
                continue
            if field == "mode":
                value, want = oct(value), oct(want)
            raise Mismatch("%s is %r, not %r" % (field, value, want))

    def value(self, world, got, field):
        path = world.fds[self.path] if isinstance(self.path, Fd) else world.resolve(self.path)
        if field in ("acl", "default"):
            name = system.ACL_ACCESS if field == "acl" else system.ACL_DEFAULT
            try:
                return os.getxattr(path, name)
            except OSError:
                return None
        if field == "data":
            with open(os.dup(path) if isinstance(path, int) else path, "rb") as f:
                f.seek(0)
                return f.read()
        special = {
            "own": lambda: (got["uid"], got["gid"]),
            "inode": lambda: got["ino"],
            "dirlinks": lambda: got["nlink"],
            "names": lambda: sorted(os.listdir(path)),
            "target": lambda: os.readlink(path),
        }
        return special[field]() if field in special else got[field]


def see(path, **fields):
    return See(path, fields)


class Gone:
    """No file has this name, and no listing shows it."""

    by = None

    def __init__(self, path):
        self.path = path

    def __str__(self):
        return "gone(%r)" % self.path

    def run(self, world):
        world.become(ROOT)
        if os.path.lexists(world.resolve(self.path)):
            raise Mismatch("it is there")
        parent, name = os.path.split(self.path)
        if name in os.listdir(parent or "."):
            raise Mismatch("it is listed")


def gone(path):
    return Gone(path)


class NewTimes:
    """All times of a new file are those of its creation."""

    by = None

    def __init__(self, path, older):
        self.path, self.older = path, older

    def __str__(self):
        return "times of %s" % self.path

    def run(self, world):
        new, old = world.look(self.path), world.look(self.older)
        for name in ("atime", "mtime", "ctime"):
            if new[name] < old["mtime"]:
                raise Mismatch("%s is from before the creation" % name)


# --- making the objects ------------------------------------------------------------------------


def make(obj, owner):
    """Make one object. owner: (uid, gid) where it belongs to somebody else than the maker."""
    extra = obj.extra or {}
    if obj.kind == "file":
        with open(obj.path, "wb") as f:
            f.write(extra.get("data", b"x" * extra.get("size", 0)))
    elif obj.kind == "program":
        with open(obj.path, "wb") as f, open("/bin/sleep", "rb") as program:
            f.write(program.read())
    elif obj.kind == "dir":
        os.mkdir(obj.path)
    elif obj.kind == "link":
        os.symlink(extra["target"], obj.path)
    elif obj.kind == "name":
        os.link(extra["target"], obj.path, follow_symlinks=False)
        return
    elif obj.kind == "socket":
        _bind(None, obj.path)
    else:
        kind = {"fifo": stat.S_IFIFO, "char": stat.S_IFCHR, "block": stat.S_IFBLK}[obj.kind]
        os.mknod(obj.path, kind | 0o600, os.makedev(1, 7) if obj.kind != "fifo" else 0)
    if owner:
        os.chown(obj.path, *owner, follow_symlinks=False)
    if obj.kind not in ("link", "dir"):
        _set_mode(obj)


def finish(objects):
    """What would hinder the making, or be inherited: the modes and ACLs of directories."""
    for obj in reversed(objects):
        if obj.kind == "dir":
            _set_mode(obj)


def _set_mode(obj):
    os.chmod(obj.path, obj.mode)
    for name, attribute in (("acl", system.ACL_ACCESS), ("default", system.ACL_DEFAULT)):
        if obj.extra and name in obj.extra:
            os.setxattr(obj.path, attribute, obj.extra[name])
