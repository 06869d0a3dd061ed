# SPDX-License-Identifier: ISC
"""The operations: each does one thing to one of the two trees and says what it saw.

A path is a pair (base, name): base None for the tree's root, or the slot of an open
directory. A slot holds a descriptor between operations. What an operation returns must be
equal for both trees; a dict with "mtime" in it is a file's attributes and is compared
field by field.
"""

import errno
import hashlib
import fcntl
import mmap
import os
import signal
import stat

import calls

MAX_READ = 1 << 22


class NoSlot(Exception):
    pass


class Escape(Exception):
    """The path leads out of the tree, where nothing can be compared."""


class Either:
    """The value that the plain tree gives, where the mount may also fail with one of the errors."""

    def __init__(self, value, *errors):
        self.value = value
        self.errors = errors


class Tree:
    """One of the two trees, as one process sees it."""

    def __init__(self, root, plain):
        self.root = root
        self.root_fd = os.open(root, os.O_PATH) if plain else -1
        self.plain = plain
        self.slots = {}
        self.maps = {}
        self.listings = {}

    def check(self, base, name, follow):
        """Raise Escape where the plain tree's path would leave it."""
        if base is not None:
            at = os.readlink(b"/proc/self/fd/%d" % self.fd(base))
            if not (at + b"/").startswith(self.root + b"/") or at.endswith(b" (deleted)"):
                return
            name = at[len(self.root) + 1 :] + b"/" + name
        if calls.leads_out(self.root_fd, name.lstrip(b"/"), follow):
            raise Escape

    def fd(self, slot):
        if slot not in self.slots:
            raise NoSlot
        return self.slots[slot]

    def at(self, path, follow=True):
        base, name = path
        if self.plain:
            self.check(base, name, follow)
        if base is None:
            return calls.AT_FDCWD, self.root + (b"/" + name if name else b"")
        return self.fd(base), name or b"."

    def path(self, path, follow=True):
        """For system calls that know no directory descriptor."""
        fd, name = self.at(path, follow)
        return name if fd == calls.AT_FDCWD else b"/proc/self/fd/%d/%s" % (fd, name)

    def keep(self, slot, fd):
        self.drop(slot)
        self.slots[slot] = fd

    def drop(self, slot):
        self.listings.pop(slot, None)
        if slot in self.slots:
            os.close(self.slots.pop(slot))

    def drop_all(self):
        """Also when the daemon was killed."""
        for m, fd in self.maps.values():
            m.close()
            try:
                os.close(fd)
            except OSError:
                pass
        self.maps.clear()
        for slot in list(self.slots):
            try:
                self.drop(slot)
            except OSError:
                pass


def _dir_fd(fd):
    return None if fd == calls.AT_FDCWD else fd


def _stat(t, fd, name, flags):
    st = calls.statx(fd, name, flags, t.plain)
    if stat.S_ISDIR(st["mode"]):
        st["size"] = 0
    return st


# Opening, and what is done through a descriptor.


def op_open(t, path, slot, flags, mode):
    fd, name = t.at(path)
    t.keep(slot, os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY, mode, dir_fd=_dir_fd(fd)))


def op_reopen(t, old, slot, flags):
    """By its descriptor, whatever has become of its name."""
    name = b"/proc/self/fd/%d" % t.fd(old)
    t.keep(slot, os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY))


def op_by_fd(t, slot, op, *args):
    """A change by path, where the path is a descriptor's."""
    getattr(os, op)(b"/proc/self/fd/%d" % t.fd(slot), *args)


def op_tmpfile(t, path, slot, mode):
    fd, name = t.at(path)
    t.keep(slot, os.open(name, os.O_TMPFILE | os.O_RDWR, mode, dir_fd=_dir_fd(fd)))


def op_close(t, slot):
    t.fd(slot)
    t.drop(slot)


def op_fstat(t, slot):
    return _stat(t, t.fd(slot), b"", calls.AT_EMPTY_PATH)


def op_read(t, slot, size):
    fd = t.fd(slot)
    if t.plain and stat.S_ISDIR(os.fstat(fd).st_mode):
        os.lseek(fd, 0, os.SEEK_SET)  # ext4's last position is out of range for read(2)
    return os.read(fd, size)


def op_pread(t, slot, size, offset):
    return os.pread(t.fd(slot), size, offset)


def op_write(t, slot, data):
    n = os.write(t.fd(slot), data)
    return n, os.lseek(t.fd(slot), 0, os.SEEK_CUR)


def op_pwrite(t, slot, data, offset):
    return os.pwrite(t.fd(slot), data, offset)


def op_lseek(t, slot, offset, whence):
    fd = t.fd(slot)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        return None  # positions are the file system's own
    if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
        return os.lseek(fd, offset, whence)
    try:
        if t.plain and stat.S_ISREG(os.fstat(fd).st_mode) and (
                calls.has_unwritten(fd) or _blocks_unknown(t, fd)):
            return "any"
        return os.lseek(fd, offset, whence)
    finally:
        os.lseek(fd, offset, os.SEEK_SET)


def op_ftruncate(t, slot, size):
    os.ftruncate(t.fd(slot), size)


def op_fsync(t, slot, data):
    (os.fdatasync if data else os.fsync)(t.fd(slot))


def op_fchmod(t, slot, mode):
    os.fchmod(t.fd(slot), mode)


def _caveat_of_chown(file, uid, gid, follow=True):
    """A chown that names nobody, of a file with capabilities: its set-id bits stay (CAVEATS)."""
    try:
        if uid == gid == -1 and "security.capability" in os.listxattr(file, follow_symlinks=follow):
            raise NoSlot
    except OSError:
        pass  # what it is, the call itself will say


def op_fchown(t, slot, uid, gid):
    _caveat_of_chown("/proc/self/fd/%d" % t.fd(slot), uid, gid)
    os.fchown(t.fd(slot), uid, gid)


def op_futimens(t, slot, times):
    calls.utimensat(t.fd(slot), None, times, 0)


def op_fsetxattr(t, slot, name, value, flags):
    os.setxattr(t.fd(slot), name, value, flags)


def op_fgetxattr(t, slot, name):
    return os.getxattr(t.fd(slot), name)


def op_flistxattr(t, slot):
    return sorted(os.listxattr(t.fd(slot)))


def op_fremovexattr(t, slot, name):
    os.removexattr(t.fd(slot), name)


def op_fallocate(t, slot, mode, offset, length):
    calls.fallocate(t.fd(slot), mode, offset, length)


def op_copy_range(t, slot_in, slot_out, offset_in, offset_out, size):
    return os.copy_file_range(t.fd(slot_in), t.fd(slot_out), size, offset_in, offset_out)


def op_sendfile(t, slot_in, slot_out, offset, size):
    """Not within one file: what overlapping ranges give depends on the sizes of the pieces."""
    if os.path.sameopenfile(t.fd(slot_in), t.fd(slot_out)):
        raise NoSlot
    return os.sendfile(t.fd(slot_out), t.fd(slot_in), offset, size)


def op_fdlist(t, slot):
    """The listing of an open directory, from its beginning."""
    t.listings.pop(slot, None)
    os.lseek(t.fd(slot), 0, os.SEEK_SET)
    return sorted((name, kind) for name, kind, _ in calls.getdents(t.fd(slot)))


def op_list_half(t, slot, count):
    """Read some entries of an open directory, and remember which there are."""
    fd = t.fd(slot)
    os.lseek(fd, 0, os.SEEK_SET)
    names = {e[0] for e in calls.getdents(fd)}
    os.lseek(fd, 0, os.SEEK_SET)
    seen = calls.getdents(fd, 400, count)
    t.listings[slot] = _unchanged(fd, names), [e[0] for e in seen]
    return "any"


def op_list_rest(t, slot):
    """Then the others, from where that ended. How often each was seen, and which were always there."""
    fd = t.fd(slot)
    if slot not in t.listings:
        raise NoSlot
    before, seen = t.listings.pop(slot)
    seen = seen + [e[0] for e in calls.getdents(fd)]
    always = {n for n, x in _unchanged(fd, before).items() if x == before[n]}
    return {"seen": {n: seen.count(n) for n in set(seen)}, "always": always}


def _unchanged(fd, names):
    """What tells whether an entry is the same as before, and where it was."""
    found = {}
    for name in names:
        try:
            st = os.stat(name, dir_fd=fd, follow_symlinks=False)
            found[name] = st.st_ino, st.st_ctime_ns if name not in (b".", b"..") else 0
        except OSError:
            pass
    return found


def op_list_seek(t, slot):
    """From each position the listing goes on with the same entries."""
    fd = t.fd(slot)
    t.listings.pop(slot, None)
    os.lseek(fd, 0, os.SEEK_SET)
    whole = calls.getdents(fd, positions=True)
    for i in range(0, len(whole), 3):
        os.lseek(fd, whole[i][3], os.SEEK_SET)
        if [e[0] for e in calls.getdents(fd)] != [e[0] for e in whole[i + 1 :]]:
            return "after %r: something else" % whole[i][0]
    return len(whole)


def op_flock(t, slot, how):
    fcntl.flock(t.fd(slot), how | (0 if how == fcntl.LOCK_UN else fcntl.LOCK_NB))


def op_lock(t, slot, how, start, length):
    how |= 0 if how == fcntl.LOCK_UN else fcntl.LOCK_NB
    fcntl.lockf(t.fd(slot), how, length, start)


def op_direct(t, path, data, pages, offset):
    """O_DIRECT, with what it requires of addresses and lengths."""
    fd, name = t.at(path)
    flags = os.O_RDONLY if data is None else os.O_RDWR
    fd = os.open(name, flags | os.O_DIRECT | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=_dir_fd(fd))
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return "no file"
        with mmap.mmap(-1, pages * 4096) as m:
            if data is None:
                n = os.preadv(fd, [m], offset * 4096)
                return hashlib.sha1(m[:n]).hexdigest()
            m[:] = data * (pages * 4096)
            return os.pwritev(fd, [m], offset * 4096)
    finally:
        os.close(fd)


def op_exec(t, path):
    """The exit status of a program, or why it cannot be executed."""
    name = t.path(path)
    if not os.path.isfile(name):
        return None
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open("/dev/null", os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            signal.alarm(10)
            os.execve(name, [b"program"], {})
        except OSError as e:
            os.write(w, errno.errorcode[e.errno].encode())
        finally:
            os._exit(127)
    os.close(w)
    error = os.read(r, 64)
    os.close(r)
    status = os.waitpid(pid, 0)[1]
    return error or status


def op_makedirs(t, path):
    fd, name = t.at(path, False)
    made = 0
    for i in [i for i, c in enumerate(name) if c == b"/"[0] and i > len(t.root)] + [len(name)]:
        try:
            os.mkdir(name[:i], dir_fd=_dir_fd(fd))
            made += 1
        except FileExistsError:
            pass
    return made


def _map(fd, private, write):
    st = os.fstat(fd)
    size = 4096 if stat.S_ISDIR(st.st_mode) else st.st_size  # what a directory has is its own affair
    if size == 0 or size > MAX_READ:
        return None
    prot = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
    return mmap.mmap(fd, size, mmap.MAP_PRIVATE if private else mmap.MAP_SHARED, prot)


def op_mmap_write(t, slot, offset, data):
    _caveat_of_store(t.fd(slot))
    m = _map(t.fd(slot), False, True)
    if m is None:
        return None
    with m:
        offset %= len(m)
        data = data[: len(m) - offset]
        m[offset : offset + len(data)] = data
        m.flush()
    if data:
        _blocks_unknown(t, t.fd(slot), True)
    return len(data)


def _blocks_unknown(t, fd, note=False):
    """After a store to a mapping: the local file system may allocate more than a page around it.

    What a process notes, all must know, hence a file.
    """
    mark = os.path.normpath(t.root + b"/../../../../../../marks/%d" % os.fstat(fd).st_ino)
    if note and t.plain and not os.path.exists(mark):
        os.close(os.open(mark, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    return t.plain and os.path.exists(mark)


def _caveat_of_store(fd):
    """What storing to a mapping clears depends on who writes it to the layer (CAVEATS)."""
    mode = os.fstat(fd).st_mode
    lost = stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0)
    if "security.capability" in os.listxattr(fd) or (os.getuid() != 0 and mode & lost):
        raise NoSlot


# A shared mapping that is held open while other things are done. It has a descriptor of its own,
# as what lies behind the end of the file must not be touched.


def _unmap(t, key):
    m, fd = t.maps.pop(key)
    m.close()
    os.close(fd)


def op_map(t, slot, key, write):
    m = _map(t.fd(slot), False, write)
    if m is None:
        return None
    if key in t.maps:
        _unmap(t, key)
    t.maps[key] = m, os.dup(t.fd(slot))
    return len(m)


def op_map_load(t, key):
    if key not in t.maps:
        raise NoSlot
    m, fd = t.maps[key]
    return hashlib.sha1(m[: min(len(m), os.fstat(fd).st_size)]).hexdigest()


def op_map_store(t, key, offset, data):
    if key not in t.maps:
        raise NoSlot
    m, fd = t.maps[key]
    _caveat_of_store(fd)
    size = min(len(m), os.fstat(fd).st_size)
    if size == 0:
        return None
    offset %= size
    data = data[: size - offset]
    try:
        m[offset : offset + len(data)] = data
    except TypeError:
        return "read-only"
    m.flush()
    if data:
        _blocks_unknown(t, fd, True)
    return len(data)


def op_unmap(t, key):
    if key not in t.maps:
        raise NoSlot
    _unmap(t, key)


def op_mmap_read(t, slot, private):
    m = _map(t.fd(slot), private, False)
    if m is None:
        return None
    with m:
        return hashlib.sha1(m).hexdigest()


# By path.


def op_lstat(t, path):
    fd, name = t.at(path, False)
    return _stat(t, fd, name, calls.AT_SYMLINK_NOFOLLOW)


def op_stat(t, path):
    fd, name = t.at(path)
    return _stat(t, fd, name, 0)


def op_readlink(t, path):
    fd, name = t.at(path, False)
    return os.readlink(name, dir_fd=_dir_fd(fd))


def op_access(t, path, mode):
    fd, name = t.at(path)
    return os.access(name, mode, dir_fd=_dir_fd(fd), effective_ids=True)


def op_cat(t, path):
    fd, name = t.at(path)
    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=_dir_fd(fd))
    try:
        return digest(fd)
    finally:
        os.close(fd)


def op_list(t, path):
    fd, name = t.at(path)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=_dir_fd(fd))
    try:
        return sorted((name, kind) for name, kind, _ in calls.getdents(fd))
    finally:
        os.close(fd)


def op_save(t, path, data, mode):
    """What an editor or a shell's redirection does."""
    fd, name = t.at(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY
    fd = os.open(name, flags, mode, dir_fd=_dir_fd(fd))
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def op_append(t, path, data):
    fd, name = t.at(path)
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY
    fd = os.open(name, flags, dir_fd=_dir_fd(fd))
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def op_truncate(t, path, size):
    os.truncate(t.path(path), size)


def op_chmod(t, path, mode):
    fd, name = t.at(path)
    os.chmod(name, mode, dir_fd=_dir_fd(fd))


def op_chown(t, path, uid, gid, follow):
    fd, name = t.at(path, follow)
    base = b"" if fd == calls.AT_FDCWD else b"/proc/self/fd/%d/" % fd
    _caveat_of_chown(base + name, uid, gid, follow)
    os.chown(name, uid, gid, dir_fd=_dir_fd(fd), follow_symlinks=follow)


def op_utimens(t, path, times, follow):
    fd, name = t.at(path, follow)
    calls.utimensat(fd, name, times, 0 if follow else calls.AT_SYMLINK_NOFOLLOW)


def op_setxattr(t, path, name, value, flags, follow):
    os.setxattr(t.path(path, follow), name, value, flags, follow_symlinks=follow)


def op_getxattr(t, path, name, follow):
    return os.getxattr(t.path(path, follow), name, follow_symlinks=follow)


def op_listxattr(t, path, follow):
    return sorted(os.listxattr(t.path(path, follow), follow_symlinks=follow))


def op_removexattr(t, path, name, follow):
    os.removexattr(t.path(path, follow), name, follow_symlinks=follow)


def op_mkdir(t, path, mode):
    fd, name = t.at(path, False)
    os.mkdir(name, mode, dir_fd=_dir_fd(fd))


def op_rmdir(t, path):
    fd, name = t.at(path, False)
    os.rmdir(name, dir_fd=_dir_fd(fd))


def op_unlink(t, path):
    fd, name = t.at(path, False)
    os.unlink(name, dir_fd=_dir_fd(fd))


def op_mknod(t, path, mode, rdev):
    fd, name = t.at(path, False)
    os.mknod(name, mode, os.makedev(*rdev), dir_fd=_dir_fd(fd))


def op_symlink(t, target, path):
    fd, name = t.at(path, False)
    os.symlink(target, name, dir_fd=_dir_fd(fd))


def op_link(t, old, new, flags):
    calls.linkat(*t.at(old, flags != 0), *t.at(new, False), flags)


def op_flink(t, slot, new):
    """Give the file of a descriptor a (further) name."""
    proc = b"/proc/self/fd/%d" % t.fd(slot)
    calls.linkat(calls.AT_FDCWD, proc, *t.at(new, False), calls.AT_SYMLINK_FOLLOW)


def _same_file(a, b):
    try:
        return calls.statx(*a)["id"] == calls.statx(*b)["id"]
    except OSError:
        return False


def op_rename(t, old, new, flags):
    a, b = t.at(old, False), t.at(new, False)
    same = t.plain and _same_file(a, b)
    calls.renameat2(*a, *b, flags)
    # Nothing is done, and permitted to all. On the mount the kernel sees two files, and asks whether
    # the directories may be written before it asks the daemon.
    return Either(None, "EACCES", "EPERM") if same and os.geteuid() != 0 else None


def op_replace(t, path, data):
    """Write a new file beside the old one and rename it over it."""
    fd, name = t.at(path, False)
    temp = name + b"~"
    new = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=_dir_fd(fd))
    os.write(new, data)
    os.close(new)
    try:
        calls.renameat2(fd, temp, fd, name, 0)
    except OSError:
        os.unlink(temp, dir_fd=_dir_fd(fd))
        raise


def op_umask(t, mask):
    os.umask(mask)


def digest(fd):
    """Content by hash; of endless devices the beginning."""
    h, n = hashlib.sha1(), 0
    while n < MAX_READ:
        data = os.read(fd, 1 << 17)
        if not data:
            break
        h.update(data)
        n += len(data)
    return n, h.hexdigest()


# Whole trees.


def _segments(fd, size):
    """The extents of a sparse file as lseek(2) tells them."""
    found, at = [], 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as e:
            if e.errno == errno.ENXIO:
                break
            raise
        end = os.lseek(fd, at, os.SEEK_HOLE)
        found.append((at, end))
        at = end
    return found


def _dump_file(t, path, size):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        known = {"content": digest(fd)}
        if not (t.plain and (calls.has_unwritten(fd) or _blocks_unknown(t, fd))):
            known["extents"] = _segments(fd, size)
        return known
    finally:
        os.close(fd)


def _dump_dir(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        return calls.getdents(fd)
    finally:
        os.close(fd)


def _try(function, *args):
    try:
        return function(*args)
    except OSError as e:
        return errno.errorcode[e.errno]


def _xattrs(path):
    names = os.listxattr(path, follow_symlinks=False)
    return {n: os.getxattr(path, n, follow_symlinks=False) for n in names}


def dump(t):
    """All that can be seen below the root: {name: what is known}."""
    found, todo = {}, [b""]
    while todo:
        name = todo.pop()
        path = t.root + b"/" + name if name else t.root
        st = _try(_stat, t, calls.AT_FDCWD, path, calls.AT_SYMLINK_NOFOLLOW)
        if isinstance(st, str):
            found[name] = {"stat": st}
            continue
        info = found[name] = {"stat": st, "xattrs": _try(_xattrs, path)}
        kind = stat.S_IFMT(st["mode"])
        if kind == stat.S_IFLNK:
            info["link"] = _try(os.readlink, path)
        elif kind == stat.S_IFREG:
            data = _try(_dump_file, t, path, st["size"])
            info.update(data if isinstance(data, dict) else {"content": data})
        elif kind == stat.S_IFDIR:
            names = info["names"] = _try(_dump_dir, path)
            if not isinstance(names, str):
                for child, _, _ in names:
                    if child not in (b".", b".."):
                        todo.append(name + b"/" + child if name else child)
    return found


def perform(t, op):
    """("ok", value), ("error", name of errno) or ("none",) when a slot is not open.

    ("reserved", errors): a name that only the overlay refuses, with one of these.
    ("either", value, errors): the mount may fail with one of these.
    ("escape",): a path that leads out of the tree.
    """
    if op[0] == "reserved":
        return ("reserved", op[1]) if t.plain else perform(t, op[2])
    try:
        value = globals()["op_" + op[0]](t, *op[1:])
        if isinstance(value, Either):
            return ("either", value.value, value.errors)
        return ("ok", value)
    except Escape:
        return ("escape",)
    except OSError as e:
        return ("error", errno.errorcode.get(e.errno, str(e.errno)))
    except NoSlot:
        return ("none",)
    except ValueError as e:
        return ("error", str(e))
