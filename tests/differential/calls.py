# SPDX-License-Identifier: ISC
"""System calls that Python's os module does not have, or not in full."""

import ctypes
import errno
import fcntl
import os
import platform
import struct

AT_FDCWD = -100
CLOCK_REALTIME_COARSE = 5
AT_SYMLINK_NOFOLLOW = 0x100
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
UTIME_NOW, UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE
MNT_DETACH = 2
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE = 1, 2, 16

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_GETDENTS64 = {"x86_64": 217, "aarch64": 61, "riscv64": 61}[platform.machine()]
_STATX_BASIC, _STATX_BTIME = 0x7FF, 0x800
_off = ctypes.c_longlong


class _Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


def _check(value):
    if value == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return value


def renameat2(from_fd, from_path, to_fd, to_path, flags):
    _check(_libc.renameat2(from_fd, from_path, to_fd, to_path, ctypes.c_uint(flags)))


def linkat(from_fd, from_path, to_fd, to_path, flags):
    _check(_libc.linkat(from_fd, from_path, to_fd, to_path, flags))


def utimensat(fd, path, times, flags):
    """times: two pairs of seconds and nanoseconds, or None; path None: fd itself."""
    array = None
    if times is not None:
        array = (_Timespec * 2)(*[_Timespec(*t) for t in times])
    if path is None:
        _check(_libc.futimens(fd, array))
    else:
        _check(_libc.utimensat(fd, path, array, flags))


def fallocate(fd, mode, offset, length):
    _check(_libc.fallocate(fd, mode, _off(offset), _off(length)))


def umount(path, flags=0):
    _check(_libc.umount2(path, flags))


def _handle(fd, path, flags):
    """The file's handle, in which local file systems have a generation; empty without one."""
    buf = ctypes.create_string_buffer(8 + 128)
    struct.pack_into("=I", buf, 0, 128)
    mount = ctypes.c_int()
    follow = 0 if flags & AT_SYMLINK_NOFOLLOW else AT_SYMLINK_FOLLOW
    flags = flags & AT_EMPTY_PATH | follow
    if _libc.name_to_handle_at(fd, path, buf, ctypes.byref(mount), flags) == -1:
        return b""
    return buf.raw[8 : 8 + struct.unpack_from("=I", buf, 0)[0]]


def statx(fd, path, flags=AT_SYMLINK_NOFOLLOW, birth=False):
    """A dict of the fields that are compared, and "id": what names the file in its tree.

    Birth time and handle make the id of a new file differ from that of a removed one whose
    inode number it got, perhaps within the same tick of the clock.
    """
    buf = ctypes.create_string_buffer(256)
    mask = _STATX_BASIC | (_STATX_BTIME if birth else 0)
    _check(_libc.statx(fd, path, flags, mask, buf))
    (_, _, _, nlink, uid, gid, mode, _, ino, size) = struct.unpack_from("=IIQIIIHHQQ", buf)
    btime = struct.unpack_from("=qI", buf, 80)
    ctime = struct.unpack_from("=qI", buf, 96)
    mtime = struct.unpack_from("=qI", buf, 112)
    rdev = struct.unpack_from("=II", buf, 128)
    return {
        "mode": mode,
        "uid": uid,
        "gid": gid,
        "size": size,
        "nlink": nlink,
        "rdev": rdev,
        "mtime": mtime[0] * 10**9 + mtime[1],
        "ctime": ctime[0] * 10**9 + ctime[1],
        "id": (ino, btime, _handle(fd, path, flags)) if birth else ino,
    }


class _OpenHow(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint64) for n in ("flags", "mode", "resolve")]


def leads_out(root_fd, name, follow):
    """Whether a path has to leave the directory root_fd, whatever the permissions are."""
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW), 0, 8)  # RESOLVE_BENEATH
    fd = _libc.syscall(437, root_fd, name or b".", ctypes.byref(how), ctypes.sizeof(how))
    if fd == -1:
        return ctypes.get_errno() == errno.EXDEV
    os.close(fd)
    return False


def getdents(fd, room=32768, count=1 << 30, positions=False):
    """All entries from the position of fd on: a list of name, type, inode number.

    room: of each call; count: make no more when there are so many.
    """
    buf = ctypes.create_string_buffer(room)
    found = []
    while len(found) < count:
        n = _check(_libc.syscall(_SYS_GETDENTS64, fd, buf, len(buf)))
        if n == 0:
            break
        at = 0
        while at < n:
            ino, position, length, kind = struct.unpack_from("=QqHB", buf, at)
            name = buf.raw[at + 19 : at + length].split(b"\0", 1)[0]
            found.append((name, kind, ino) + ((position,) if positions else ()))
            at += length
    return found


def set_fs_creds(uid, gid, groups):
    """Become somebody for the permission checks, as a thread of root."""
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)


def reset_fs_creds():
    os.seteuid(0)
    os.setegid(0)
    os.setgroups([])


def has_unwritten(fd):
    """Whether some extent is allocated and not written: lseek(2) may call it data or a hole."""
    count = 64
    buf = bytearray(32 + 56 * count)
    struct.pack_into("=QQIIII", buf, 0, 0, 2**64 - 1, 0, 0, count, 0)
    fcntl.ioctl(fd, 0xC020660B, buf)  # FS_IOC_FIEMAP
    mapped = struct.unpack_from("=I", buf, 20)[0]
    flags = [struct.unpack_from("=I", buf, 32 + 56 * i + 40)[0] for i in range(mapped)]
    return any(f & 0x800 for f in flags) or mapped == count
