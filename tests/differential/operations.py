# SPDX-License-Identifier: ISC
"""The operations: each does one thing to one of the two trees and says what it saw.

A path is a pair (base, name): base None for the tree's root, or the slot of an open
directory. A slot holds a descriptor between operations. What an operation returns must be
equal for both trees; a dict with "mtime" in it is a file's attributes and is compared
field by field.
"""

import errno
import hashlib
import mmap
import os
import stat

import calls

MAX_READ = 1 << 22


class NoSlot(Exception):
    pass


class Tree:
    """One of the two trees, as one process sees it."""

    def __init__(self, root, plain):
        self.root = root
        self.plain = plain
        self.slots = {}

    def fd(self, slot):
        if slot not in self.slots:
            raise NoSlot
        return self.slots[slot]

    def at(self, path):
        base, name = path
        if base is None:
            return calls.AT_FDCWD, self.root + (b"/" + name if name else b"")
        return self.fd(base), name or b"."

    def path(self, path):
        """For system calls that know no directory descriptor."""
        fd, name = self.at(path)
        return name if fd == calls.AT_FDCWD else b"/proc/self/fd/%d/%s" % (fd, name)

    def keep(self, slot, fd):
        self.drop(slot)
        self.slots[slot] = fd

    def drop(self, slot):
        if slot in self.slots:
            os.close(self.slots.pop(slot))

    def drop_all(self):
        for slot in list(self.slots):
            self.drop(slot)


def _dir_fd(fd):
    return None if fd == calls.AT_FDCWD else fd


def _stat(t, fd, name, flags):
    st = calls.statx(fd, name, flags, t.plain)
    if stat.S_ISDIR(st["mode"]):
        st["nlink"] = st["size"] = 0
    return st


# Opening, and what is done through a descriptor.


def op_open(t, path, slot, flags, mode):
    fd, name = t.at(path)
    t.keep(slot, os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY, mode, dir_fd=_dir_fd(fd)))


def op_tmpfile(t, path, slot, mode):
    fd, name = t.at(path)
    t.keep(slot, os.open(name, os.O_TMPFILE | os.O_RDWR, mode, dir_fd=_dir_fd(fd)))


def op_close(t, slot):
    t.fd(slot)
    t.drop(slot)


def op_fstat(t, slot):
    return _stat(t, t.fd(slot), b"", calls.AT_EMPTY_PATH)


def op_read(t, slot, size):
    return os.read(t.fd(slot), size)


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
    if whence in (os.SEEK_DATA, os.SEEK_HOLE) and t.plain:
        if stat.S_ISREG(os.fstat(fd).st_mode) and calls.has_unwritten(fd):
            os.lseek(fd, offset, os.SEEK_SET)
            return "any"
    return os.lseek(fd, offset, whence)


def op_ftruncate(t, slot, size):
    os.ftruncate(t.fd(slot), size)


def op_fsync(t, slot, data):
    (os.fdatasync if data else os.fsync)(t.fd(slot))


def op_fchmod(t, slot, mode):
    os.fchmod(t.fd(slot), mode)


def op_fchown(t, slot, uid, gid):
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
    return os.sendfile(t.fd(slot_out), t.fd(slot_in), offset, size)


def op_fdlist(t, slot):
    """The listing of an open directory, from its beginning."""
    os.lseek(t.fd(slot), 0, os.SEEK_SET)
    return sorted((name, kind) for name, kind, _ in calls.getdents(t.fd(slot)))


def _map(fd, private, write):
    size = os.fstat(fd).st_size
    if size == 0 or size > MAX_READ:
        return None
    prot = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
    return mmap.mmap(fd, size, mmap.MAP_PRIVATE if private else mmap.MAP_SHARED, prot)


def op_mmap_write(t, slot, offset, data):
    m = _map(t.fd(slot), False, True)
    if m is None:
        return None
    with m:
        offset %= len(m)
        data = data[: len(m) - offset]
        m[offset : offset + len(data)] = data
        m.flush()
    return len(data)


def op_mmap_read(t, slot, private):
    m = _map(t.fd(slot), private, False)
    if m is None:
        return None
    with m:
        return hashlib.sha1(m).hexdigest()


# By path.


def op_lstat(t, path):
    fd, name = t.at(path)
    return _stat(t, fd, name, calls.AT_SYMLINK_NOFOLLOW)


def op_stat(t, path):
    fd, name = t.at(path)
    return _stat(t, fd, name, 0)


def op_readlink(t, path):
    fd, name = t.at(path)
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
    fd, name = t.at(path)
    os.chown(name, uid, gid, dir_fd=_dir_fd(fd), follow_symlinks=follow)


def op_utimens(t, path, times, follow):
    fd, name = t.at(path)
    calls.utimensat(fd, name, times, 0 if follow else calls.AT_SYMLINK_NOFOLLOW)


def op_setxattr(t, path, name, value, flags, follow):
    os.setxattr(t.path(path), name, value, flags, follow_symlinks=follow)


def op_getxattr(t, path, name, follow):
    return os.getxattr(t.path(path), name, follow_symlinks=follow)


def op_listxattr(t, path, follow):
    return sorted(os.listxattr(t.path(path), follow_symlinks=follow))


def op_removexattr(t, path, name, follow):
    os.removexattr(t.path(path), name, follow_symlinks=follow)


def op_mkdir(t, path, mode):
    fd, name = t.at(path)
    os.mkdir(name, mode, dir_fd=_dir_fd(fd))


def op_rmdir(t, path):
    fd, name = t.at(path)
    os.rmdir(name, dir_fd=_dir_fd(fd))


def op_unlink(t, path):
    fd, name = t.at(path)
    os.unlink(name, dir_fd=_dir_fd(fd))


def op_mknod(t, path, mode, rdev):
    fd, name = t.at(path)
    os.mknod(name, mode, os.makedev(*rdev), dir_fd=_dir_fd(fd))


def op_symlink(t, target, path):
    fd, name = t.at(path)
    os.symlink(target, name, dir_fd=_dir_fd(fd))


def op_link(t, old, new, flags):
    calls.linkat(*t.at(old), *t.at(new), flags)


def op_flink(t, slot, new):
    """Give the file of a descriptor a (further) name."""
    proc = b"/proc/self/fd/%d" % t.fd(slot)
    calls.linkat(calls.AT_FDCWD, proc, *t.at(new), calls.AT_SYMLINK_FOLLOW)


def op_rename(t, old, new, flags):
    calls.renameat2(*t.at(old), *t.at(new), flags)


def op_replace(t, path, data):
    """Write a new file beside the old one and rename it over it."""
    fd, name = t.at(path)
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
        if not (t.plain and calls.has_unwritten(fd)):
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

    ("reserved", errors, operation): a name that only the overlay refuses.
    """
    if op[0] == "reserved":
        return ("reserved", op[1]) if t.plain else perform(t, op[2])
    try:
        return ("ok", globals()["op_" + op[0]](t, *op[1:]))
    except OSError as e:
        return ("error", errno.errorcode.get(e.errno, str(e.errno)))
    except NoSlot:
        return ("none",)
    except ValueError as e:
        return ("error", str(e))
