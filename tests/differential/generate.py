# SPDX-License-Identifier: ISC
"""Random operations, chosen by what the plain tree holds at the moment.

An operation is made of literals only, so a recorded list can be replayed, shortened and
printed.
"""

import fcntl
import os
import stat
import struct

import calls
import layers

SLOTS = 6
MODES = [0o644, 0o755, 0o600, 0o777, 0o666, 0o700, 0o444, 0o4755, 0o2755, 0o1777, 0o6711, 0o2770]
OLD = [(10**9, 5), (1_234_567_890, 123_456_789), (0, 0), (-5, 999_999_999), (3 * 10**9, 1)]


class NothingOpen(Exception):
    """args[0]: what has to be opened first."""


class Generator:
    def __init__(self, rng, root, user_is_root, workers, redirects, skip):
        self.rng = rng
        self.root = root
        self.is_root = user_is_root
        self.workers = workers
        self.redirects = redirects
        self.skip = skip
        self.slots = [{} for _ in range(workers)]  # slot: "d" or "f"
        self.maps = [set() for _ in range(workers)]
        self.entries = []
        self.recent = []
        self.queue = []
        self.later = []  # [in so many operations, what]
        self.age = 99
        self.count = 0
        self.choices = [(w, getattr(self, "make_" + n)) for n, w in WEIGHTS.items()]

    # What there is.

    def scan(self):
        found, todo = [], [b""]
        while todo:
            name = todo.pop()
            try:
                with os.scandir(self.root + b"/" + name) as it:
                    for e in it:
                        rel = name + b"/" + e.name if name else e.name
                        st = e.stat(follow_symlinks=False)
                        found.append((rel, stat.S_IFMT(st.st_mode), st))
                        if stat.S_ISDIR(st.st_mode):
                            todo.append(rel)
            except OSError:
                pass
        found.sort(key=lambda e: e[0])
        self.entries = found
        self.age = 0

    def existing(self, *kinds):
        some = [e[0] for e in self.entries if not kinds or e[1] in kinds]
        return self.rng.choice(some) if some else b"a"

    def any_dir(self):
        if self.rng.random() < 0.15:
            return b""
        some = [e[0] for e in self.entries if e[1] == stat.S_IFDIR]
        return self.rng.choice(some) if some else b""

    def name(self):
        r = self.rng.random()
        if r < 0.75:
            return self.rng.choice(layers.COMMON)
        if r < 0.98:
            return self.rng.choice(layers.ODD)
        return self.rng.choice([b"L" * 256, b"a/", b".", b".."])

    def new(self):
        """A path that may or may not exist."""
        r = self.rng.random()
        if r < 0.2 and self.recent:
            return self.rng.choice(self.recent)
        d = self.any_dir() if r < 0.95 else self.existing()
        return (d + b"/" if d else b"") + self.name()

    def weird(self, rel):
        r = self.rng.random()
        if r < 0.02:
            return rel + b"/"
        if r < 0.03:
            return b"./" + rel
        if r < 0.04:
            return rel + b"/."
        if r < 0.05:
            return rel + b"/x"
        return rel

    def based(self, who, rel):
        """Now and then by way of an open directory."""
        rel = self.weird(rel)
        dirs = [s for s, k in self.slots[who].items() if k == "d"]
        if dirs and self.rng.random() < 0.15:
            return (self.rng.choice(dirs), rel.rsplit(b"/", 1)[-1] or b".")
        return (None, rel)

    def old(self, who, *kinds):
        r = self.rng.random()
        if r < 0.06:
            return self.based(who, self.new())
        if r < 0.08:
            return (None, b"")
        return self.based(who, self.existing(*kinds))

    def slot(self, who, kind="f"):
        some = [s for s, k in self.slots[who].items() if k == kind]
        if self.rng.random() < 0.03:
            return self.rng.randrange(SLOTS)
        if not some:
            raise NothingOpen(kind)
        return self.rng.choice(some)

    def data(self):
        n = self.rng.choice([0, 1, 5, 20, 20, 20, 200, 4096, 5000])
        return bytes(self.rng.choices(b"ABCDEFGHIJKLMNOP\n", k=n))

    def offset(self):
        return self.rng.choice([0, 0, 1, 10, 100, 4095, 4096, 8192, 65536, 1 << 20])

    def mode(self):
        mode = self.rng.choice(MODES)
        return mode if self.is_root else mode | 0o500

    def times(self):
        rng = self.rng
        if rng.random() < 0.15:
            return None
        return tuple(
            rng.choice(OLD) if rng.random() < 0.75
            else (0, rng.choice([calls.UTIME_NOW, calls.UTIME_OMIT]))
            for _ in range(2)
        )

    def xattr(self):
        rng = self.rng
        names = ["user.one", "user.two", "user.overlay.opaque", "user.overlay.mine",
                 "user.overlayfs.origin", "system.posix_acl_access", "system.posix_acl_default",
                 "user.fuseoverlayfs.opaque", "trusted.one", "trusted.overlay.opaque",
                 "user.overlay.whiteout", "user.", "bad", "security.capability"]
        weights = [10, 5, 2, 1, 1, 6, 3, 1, 1, 1, 1, 0.3, 0.3, 1.5]
        return rng.choices(names, weights)[0]

    def xvalue(self, name):
        rng = self.rng
        if name.startswith("system.posix_acl"):
            return layers.random_acl(rng) if rng.random() < 0.9 else b"junk"
        if name == "security.capability":
            return struct.pack("<IIIII", 0x02000001, 0x400, 0, 0, 0)
        return rng.choice([b"", b"y", b"x", b"value", rng.randbytes(60)])

    def owner(self):
        if not self.is_root and self.rng.random() < 0.7:
            return self.rng.choice([-1, os.geteuid()]), self.rng.choice([-1, os.getegid(), 3000])
        return self.rng.choice([-1, 0, 1001, 1002]), self.rng.choice([-1, 0, 1001, 3000])

    # Operations; each returns the name and the arguments.

    def make_open(self, who):
        rng = self.rng
        slot = rng.randrange(SLOTS)
        flags = rng.choice([os.O_RDONLY, os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
        for flag, p in ((os.O_CREAT, 0.35), (os.O_EXCL, 0.1), (os.O_TRUNC, 0.12),
                        (os.O_APPEND, 0.2), (os.O_NOFOLLOW, 0.1), (os.O_DIRECTORY, 0.03)):
            if rng.random() < p:
                flags |= flag
        if flags & os.O_CREAT and rng.random() < 0.6:
            path = self.based(who, self.new())
        else:
            path = self.old(who, stat.S_IFREG)
        return "open", path, slot, flags, self.mode()

    def make_opendir(self, who):
        path = self.old(who, stat.S_IFDIR)
        return "open", path, self.rng.randrange(SLOTS), os.O_RDONLY | os.O_DIRECTORY, 0

    def make_tmpfile(self, who):
        path = (None, self.any_dir())
        return "tmpfile", path, self.rng.randrange(SLOTS), self.mode()

    def make_reopen(self, who):
        flags = self.rng.choice([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
        flags |= self.rng.choice([0, 0, 0, os.O_TRUNC, os.O_APPEND])
        return "reopen", self.slot(who), self.rng.randrange(SLOTS), flags

    def make_by_fd(self, who):
        rng, slot = self.rng, self.slot(who, self.rng.choice("fffd"))
        name = self.xattr()
        return "by_fd", slot, *rng.choice([
            ("chmod", self.mode()), ("truncate", self.offset()), ("chown", *self.owner()),
            ("setxattr", name, self.xvalue(name)), ("removexattr", name)])

    def make_close(self, who):
        return "close", self.slot(who, self.rng.choice("fd"))

    def make_fstat(self, who):
        return "fstat", self.slot(who, self.rng.choice("fffd"))

    def make_read(self, who):
        return "read", self.slot(who), self.rng.choice([1, 100, 4096, 100000])

    def make_pread(self, who):
        return "pread", self.slot(who), self.rng.choice([1, 100, 4096, 100000]), self.offset()

    def make_write(self, who):
        return "write", self.slot(who), self.data()

    def make_pwrite(self, who):
        return "pwrite", self.slot(who), self.data(), self.offset()

    def make_lseek(self, who):
        whence = self.rng.choice([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END, os.SEEK_DATA,
                                  os.SEEK_HOLE, os.SEEK_DATA, os.SEEK_HOLE])
        return "lseek", self.slot(who), self.offset(), whence

    def make_ftruncate(self, who):
        return "ftruncate", self.slot(who), self.offset()

    def make_fsync(self, who):
        return "fsync", self.slot(who, self.rng.choice("fd")), self.rng.random() < 0.5

    def make_fmeta(self, who):
        slot = self.slot(who, self.rng.choice("fffd"))
        kind = self.rng.randrange(7)
        if kind <= 1:
            return "fchmod", slot, self.mode()
        if kind == 2:
            return "fchown", slot, *self.owner()
        if kind == 3:
            return "futimens", slot, self.times()
        name = self.xattr()
        if kind == 4:
            return "fsetxattr", slot, name, self.xvalue(name), self.rng.choice([0, 0, 0, 1, 2])
        if kind == 5:
            return "fremovexattr", slot, name
        if self.rng.random() < 0.5:
            return "flistxattr", slot
        return "fgetxattr", slot, name

    def make_fallocate(self, who):
        mode = self.rng.choice([0, 0, 1, 3, 3, 16, 17, 2, 64])
        return ("fallocate", self.slot(who), mode, self.offset(),
                self.rng.choice([1, 4096, 10000, 65536]))

    def make_copy_range(self, who):
        return ("copy_range", self.slot(who), self.slot(who), self.offset(), self.offset(),
                self.rng.choice([1, 100, 4096, 100000]))

    def make_sendfile(self, who):
        return ("sendfile", self.slot(who), self.slot(who), self.offset(),
                self.rng.choice([1, 100, 4096, 100000]))

    def make_map(self, who):
        """Opened for it, and used some time later."""
        rng, slot, key = self.rng, self.rng.randrange(SLOTS), self.rng.randrange(3)
        path = (None, self.existing(stat.S_IFREG))
        self.queue.append((who, None, ("map", slot, key, True)))
        for _ in range(rng.randrange(1, 5)):
            use = ("map_load", key) if rng.random() < 0.5 else (
                "map_store", key, self.offset(), self.data())
            self.later.append([rng.randrange(4, 12), (who, None, use)])
        if rng.random() < 0.5:
            return "open", path, slot, os.O_RDWR, 0
        self.queue.insert(0, (who, None, ("open", path, slot, os.O_RDWR, 0)))
        return "truncate", path, rng.choice([100, 5000, 8192])

    def make_map_use(self, who):
        if not self.maps[who]:
            return self.make_map(who)
        key = self.rng.choice(sorted(self.maps[who]))
        return self.rng.choice([("map_load", key), ("map_load", key), ("unmap", key),
                                ("map_store", key, self.offset(), self.data()),
                                ("map_store", key, self.offset(), self.data())])

    def make_list_half(self, who):
        slot = self.slot(who, "d")
        self.later.append([self.rng.randrange(2, 9), (who, None, ("list_rest", slot))])
        return "list_half", slot, self.rng.randrange(1, 6)

    def make_list_seek(self, who):
        return "list_seek", self.slot(who, "d")

    def make_contend(self, who):
        """Locks of two processes on one file, perhaps by different names."""
        path, other = self.existing(stat.S_IFREG), self.rng.randrange(self.workers)
        same = [e for e in self.entries if e[0] == path]
        names = [x[0] for x in self.entries if same and x[2].st_ino == same[0][2].st_ino] or [path]
        slots = self.rng.randrange(SLOTS), self.rng.randrange(SLOTS)
        lock = self.rng.choice([("flock",), ("lock",)])
        tail = () if lock == ("flock",) else (0, 0)
        how = self.rng.choice([fcntl.LOCK_SH, fcntl.LOCK_EX]), self.rng.choice([fcntl.LOCK_SH, fcntl.LOCK_EX])
        for w, s, h in ((who, slots[0], how[0]), (other, slots[1], how[1])):
            self.queue.append((w, None, ("open", (None, self.rng.choice(names)), s, os.O_RDWR, 0)))
            self.queue.append((w, None, lock + (s, h) + tail))
        self.queue += [(other, None, ("write", slots[1], self.data())), (who, None, ("close", slots[0])),
                       (other, None, lock + (slots[1], how[1]) + tail)]
        return self.queue.pop(0)[2]

    def make_lock(self, who):
        how = self.rng.choice([fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN])
        if self.rng.random() < 0.5:
            return "flock", self.slot(who), how
        return "lock", self.slot(who), how, self.offset(), self.rng.choice([0, 1, 4096])

    def make_direct(self, who):
        data = self.rng.choice([None, b"D", b"E"])
        return ("direct", self.old(who, stat.S_IFREG), data, self.rng.choice([1, 2, 16]),
                self.rng.choice([0, 0, 1, 2, 256]))

    def make_exec(self, who):
        path = self.old(who, stat.S_IFREG) if self.rng.random() < 0.6 else (None, self.new())
        if self.rng.random() < 0.5:
            self.queue += [(who, None, ("chmod", path, 0o755)), (who, self.cred(), ("exec", path))]
            return "save", path, b"#!/bin/sh\nexit %d\n" % self.rng.randrange(9), 0o755
        return "exec", path

    def make_makedirs(self, who):
        names = self.rng.choices(layers.COMMON, k=self.rng.randrange(5, 30))
        return "makedirs", (None, b"/".join([self.new()] + names))

    def make_parallel(self, who):
        """Work of two processes, as two users, in two directories of which none holds the other."""
        dirs = [e[0] for e in self.entries if e[1] == stat.S_IFDIR]
        if len(dirs) < 2 or self.workers < 2:
            return self.make_look(who)
        a, b = self.rng.sample(dirs, 2)
        if (a + b"/").startswith(b + b"/") or (b + b"/").startswith(a + b"/"):
            return self.make_look(who)
        self.age = 99
        return "parallel", self.private_work(a), self.private_work(b)

    def private_work(self, top):
        """No links: they could lead out. Names that come and go."""
        rng, names = self.rng, [top + b"/p%d" % i for i in range(4)]
        names += [names[0] + b"/q", names[1] + b"/q"]
        cred, ops = self.cred(), []
        for _ in range(rng.randrange(5, 25)):
            one, two = (None, rng.choice(names)), (None, rng.choice(names))
            ops.append((cred, rng.choice([
                ("mkdir", one, 0o755), ("rmdir", one), ("unlink", one), ("rename", one, two, 0),
                ("rename", one, two, calls.RENAME_NOREPLACE), ("save", one, self.data(), 0o644),
                ("append", one, self.data()), ("lstat", one), ("cat", one), ("list", one),
                ("chmod", one, self.mode()), ("truncate", one, self.offset()),
                ("setxattr", one, "user.one", b"p", 0, False), ("listxattr", one, False),
                ("list", (None, top)), ("lstat", (None, top)), ("utimens", one, self.times(), False),
                ("save", one, self.data(), 0o600), ("mkdir", one, 0o777)])))
        return ops

    def make_fdlist(self, who):
        return "fdlist", self.slot(who, "d")

    def make_mmap_write(self, who):
        return "mmap_write", self.slot(who), self.offset(), self.data()

    def make_mmap_read(self, who):
        return "mmap_read", self.slot(who), self.rng.random() < 0.5

    def make_look(self, who):
        rng = self.rng
        kind = rng.choice(["lstat"] * 4 + ["stat"] * 2 + ["readlink", "access", "cat", "cat", "list",
                                                          "list", "listxattr", "getxattr"])
        if kind == "cat":
            return kind, self.old(who, stat.S_IFREG)
        if kind == "list":
            return kind, self.old(who, stat.S_IFDIR)
        if kind == "readlink":
            return kind, self.old(who, stat.S_IFLNK)
        if kind == "access":
            return kind, self.old(who), rng.randrange(8)
        if kind == "listxattr":
            return kind, self.old(who), rng.random() < 0.5
        if kind == "getxattr":
            return kind, self.old(who), self.xattr(), rng.random() < 0.5
        return kind, self.old(who) if rng.random() < 0.8 else (None, self.new())

    def make_save(self, who):
        path = self.old(who, stat.S_IFREG) if self.rng.random() < 0.6 else (None, self.new())
        return "save", path, self.data(), self.mode()

    def make_append(self, who):
        return "append", self.old(who, stat.S_IFREG), self.data()

    def make_replace(self, who):
        path = self.existing(stat.S_IFREG, stat.S_IFLNK) if self.rng.random() < 0.7 else self.new()
        return "replace", (None, path), self.data()

    def make_truncate(self, who):
        return "truncate", self.old(who, stat.S_IFREG), self.offset()

    def make_chmod(self, who):
        return "chmod", self.old(who), self.mode()

    def make_chown(self, who):
        return "chown", self.old(who), *self.owner(), self.rng.random() < 0.5

    def make_utimens(self, who):
        return "utimens", self.old(who), self.times(), self.rng.random() < 0.3

    def make_setxattr(self, who):
        name = self.xattr()
        kinds = (stat.S_IFREG, stat.S_IFDIR) if self.rng.random() < 0.8 else ()
        return ("setxattr", self.old(who, *kinds), name, self.xvalue(name),
                self.rng.choice([0, 0, 0, 1, 2]), self.rng.random() < 0.3)

    def make_removexattr(self, who):
        return "removexattr", self.old(who), self.xattr(), self.rng.random() < 0.3

    def make_mkdir(self, who):
        return "mkdir", self.based(who, self.new()), self.mode()

    def make_rmdir(self, who):
        if self.rng.random() < 0.6:
            full = {e[0].rpartition(b"/")[0] for e in self.entries}
            empty = [e[0] for e in self.entries if e[1] == stat.S_IFDIR and e[0] not in full]
            if empty:
                return "rmdir", self.based(who, self.rng.choice(empty))
        path = self.old(who, stat.S_IFDIR)
        return ("rmdir", path) if path[1].strip(b"/") else self.make_unlink(who)

    def make_remove_tree(self, who):
        """rm -r of a small tree: only so do directories of lowers become empty."""
        top = self.existing(stat.S_IFDIR)
        below = [e for e in self.entries if e[0].startswith(top + b"/")]
        if len(below) > 25:
            return self.make_unlink(who)
        ops = [("rmdir" if k == stat.S_IFDIR else "unlink", (None, rel))
               for rel, k, _ in sorted(below, key=lambda e: e[0], reverse=True)]
        if self.rng.random() < 0.7:
            ops.append(("rmdir", (None, top)))
            self.recent.append(top)
        self.queue += [(who, None, op) for op in ops[1:]]
        return ops[0] if ops else ("rmdir", (None, top))

    def make_unlink(self, who):
        kinds = () if self.rng.random() < 0.1 else (
            stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
        return "unlink", self.old(who, *kinds)

    def make_mknod(self, who):
        kinds = [(stat.S_IFIFO, (0, 0)), (stat.S_IFSOCK, (0, 0)), (stat.S_IFREG, (0, 0)),
                 (stat.S_IFCHR, (1, 3))]
        kind, rdev = self.rng.choice(kinds)
        return "mknod", self.based(who, self.new()), kind | self.mode() & 0o777, rdev

    def make_symlink(self, who):
        return "symlink", layers.random_target(self.rng), self.based(who, self.new())

    def make_link(self, who):
        old = self.old(who) if self.rng.random() < 0.3 else self.old(
            who, stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO)
        return ("link", old, self.based(who, self.new()),
                self.rng.choice([0, 0, 0, calls.AT_SYMLINK_FOLLOW]))

    def make_flink(self, who):
        return "flink", self.slot(who), self.based(who, self.new())

    def make_relink(self, who):
        """A file that is open gets a new name after it has lost one; mostly it has others."""
        files = [e for e in self.entries if e[1] == stat.S_IFREG]
        several = [e[0] for e in files if e[2].st_nlink > 1]
        path = (None, self.rng.choice(several) if several else self.existing(stat.S_IFREG))
        slot, new = self.rng.randrange(SLOTS), (None, self.new())
        ops = [("unlink", path), ("flink", slot, new), ("fstat", slot), ("close", slot),
               ("lstat", new)]
        if self.rng.random() < 0.5:
            ops.insert(1, ("chmod", (None, self.existing(stat.S_IFREG)), self.mode()))
        self.queue += [(who, None, op) for op in ops]
        return "open", path, slot, self.rng.choice([os.O_RDONLY, os.O_RDWR]), 0

    def make_rename(self, who):
        rng = self.rng
        kinds = rng.choice([(), (stat.S_IFDIR,), (stat.S_IFREG,)])
        old = self.old(who, *kinds)
        new = self.old(who, *kinds) if rng.random() < 0.4 else self.based(who, self.new())
        if b"" in (old[1].strip(b"/"), new[1].strip(b"/")):
            return self.make_rename(who)  # the root is a mount point
        flags = 0
        roll = rng.random()
        if roll < 0.08:
            flags = calls.RENAME_NOREPLACE
        elif roll < 0.25 and self.redirects:
            flags = calls.RENAME_EXCHANGE
            new = (None, self.existing())
        return "rename", old, new, flags

    def make_umask(self, who):
        return "umask", self.rng.choice([0o022, 0o022, 0, 0o077, 0o002, 0o027])

    def make_reserved(self, who):
        """What only an overlay refuses: names that begin with .wh. are its own."""
        rng = self.rng
        d = self.any_dir()
        path = (None, (d + b"/" if d else b"") + b".wh." + rng.choice(layers.COMMON + [b".wh..opq"]))
        old = (None, self.existing())
        refused = [("mkdir", path, 0o755), ("open", path, SLOTS, os.O_CREAT | os.O_RDWR, 0o644),
                   ("mknod", path, stat.S_IFIFO | 0o644, (0, 0)), ("symlink", b"x", path),
                   ("link", old, path, 0), ("rename", old, path, 0)]
        absent = [("lstat", path), ("unlink", path), ("rmdir", path), ("cat", path),
                  ("rename", path, old, 0), ("chmod", path, 0o700)]
        if rng.random() < 0.6:
            op, errors = rng.choice(refused), ("EINVAL", "EPERM")
        else:
            op, errors = rng.choice(absent), ()
        return "reserved", ("ENOENT", "EACCES", "ENOTDIR", "ELOOP", "ENAMETOOLONG") + errors, op

    # One after the other.

    def cred(self):
        if not self.is_root:
            return None
        return self.rng.choices([None, 1, 2], [8, 1, 1])[0]

    def follow_up(self, who, cred, op):
        """Look at what the operation may have touched: most of it must not look stale."""
        rng = self.rng
        paths = [a[1] for a in op[1:] if isinstance(a, tuple) and len(a) == 2 and a[0] is None
                 and isinstance(a[1], bytes)]
        if not paths or op[0] == "reserved" or rng.random() < 0.5:
            return
        other = rng.randrange(self.workers)
        for rel in paths[:2]:
            parent = rel.rpartition(b"/")[0]
            look = rng.choice([("lstat", (None, rel)), ("lstat", (None, rel)), ("cat", (None, rel)),
                               ("list", (None, parent)), ("lstat", (None, parent)),
                               ("listxattr", (None, rel), False)])
            self.queue.append((other, None, look))
            for e in self.entries:
                if e[0] == rel and e[2].st_nlink > 1 and e[1] != stat.S_IFDIR:
                    same = [x[0] for x in self.entries if x[2].st_ino == e[2].st_ino]
                    self.queue.append((other, None, (rng.choice(["lstat", "cat"]),
                                                     (None, rng.choice(same)))))

    def next(self):
        """(process, credentials, operation)"""
        rng = self.rng
        self.age += 1
        if self.age > 4:
            self.scan()
        for waiting in self.later:
            waiting[0] -= 1
        if self.later and self.later[0][0] <= 0:
            return self.later.pop(0)[1]
        if self.queue:
            return self.queue.pop(0)
        who, cred = rng.randrange(self.workers), self.cred()
        while True:
            make = rng.choices([c[1] for c in self.choices], [c[0] for c in self.choices])[0]
            try:
                op = make(who)
            except NothingOpen as e:
                op = self.make_opendir(who) if e.args[0] == "d" else self.make_open(who)
            if op[0] not in self.skip and (op[0] != "reserved" or op[2][0] not in self.skip):
                break
            self.queue.clear()
        if op[0] in ("unlink", "rmdir", "rename") and op[1][0] is None:
            self.recent = (self.recent + [op[1][1]])[-12:]
        if op[0] in ("chown", "fchown") and op[2:4] == (-1, -1) or op[2:] == ("chown", -1, -1):
            cred = None  # see setid.h: it is not known whether it is one, so there is no EPERM
        self.follow_up(who, cred, op)
        return who, cred, op

    def done(self, who, op, result):
        if op[0] in ("open", "tmpfile", "reopen") and result[0] == "ok":
            isdir = op[0] == "open" and op[3] & os.O_DIRECTORY
            self.slots[who][op[2]] = "d" if isdir else "f"
        elif op[0] == "map" and result[0] == "ok" and result[1] is not None:
            self.maps[who].add(op[2])
        elif op[0] == "unmap":
            self.maps[who].discard(op[1])
        elif op[0] == "close":
            self.slots[who].pop(op[1], None)

    def closed_all(self):
        self.later.clear()
        for m in self.maps:
            m.clear()
        for s in self.slots:
            s.clear()


WEIGHTS = {
    "open": 9, "opendir": 2, "tmpfile": 1, "reopen": 1.5, "by_fd": 1.5, "close": 3, "fstat": 3, "read": 2, "pread": 2,
    "write": 4, "pwrite": 3, "lseek": 2, "ftruncate": 2, "fsync": 0.5, "fmeta": 5,
    "fallocate": 1.5, "copy_range": 1.5, "sendfile": 0.7, "fdlist": 1.5, "mmap_write": 2,
    "mmap_read": 1.5, "look": 12, "save": 3, "append": 3, "replace": 2, "truncate": 2, "chmod": 3,
    "chown": 1.5, "utimens": 3, "setxattr": 3, "removexattr": 1.5, "mkdir": 4, "rmdir": 2,
    "remove_tree": 1.5, "unlink": 5, "mknod": 1.5, "symlink": 2, "link": 4, "flink": 1, "relink": 0.5,
    "rename": 9, "umask": 0.3, "reserved": 0.8,
    "map": 1, "map_use": 3, "list_half": 0.8, "list_seek": 0.5, "lock": 1, "contend": 0.5, "direct": 1,
    "exec": 1,
    "makedirs": 0.3, "parallel": 0.6,
}
