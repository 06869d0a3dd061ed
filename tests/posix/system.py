# SPDX-License-Identifier: ISC
"""System calls by their C names, with the arguments that a C program would give."""

import ctypes
import errno
import os
import stat
import struct
import time

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
AT_FORCE_SYNC = 0x2000
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
UTIME_NOW, UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32
O_TMPFILE = os.O_TMPFILE
ACL_ACCESS, ACL_DEFAULT = "system.posix_acl_access", "system.posix_acl_default"

TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}

_libc = ctypes.CDLL(None, use_errno=True)
_CLOCK_REALTIME_COARSE = 5


class _Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


class Times:
    """The argument of utimensat(2): two pairs of seconds and nanoseconds."""

    def __init__(self, atime, mtime):
        self.pairs = (atime, mtime)

    def __repr__(self):
        return "Times(%s, %s)" % self.pairs

    def array(self):
        return (_Timespec * 2)(*[_Timespec(*p) for p in self.pairs])


class _Bad:
    """A pointer that leads nowhere."""

    def __repr__(self):
        return "BAD"


BAD = _Bad()


def _argument(value):
    if value is None:
        return ctypes.c_void_p(None)
    if value is BAD:
        return ctypes.c_void_p(1)
    if isinstance(value, Times):
        return value.array()
    if isinstance(value, int):
        return ctypes.c_long(value)
    return ctypes.c_char_p(os.fsencode(value))


def call(name, *args):
    """(value, None), or (None, name of the error)"""
    if name in ("posix_fallocate",):  # returns the number of the error
        number = getattr(_libc, name)(*map(_argument, args))
        return (0, None) if number == 0 else (None, error_name(number))
    value = getattr(_libc, name)(*map(_argument, args))
    return (value, None) if value != -1 else (None, error_name(ctypes.get_errno()))


def error_name(number):
    return "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode.get(number, str(number))


def statx(dirfd, path, flags=AT_SYMLINK_NOFOLLOW):
    """A dict of what stat(2) tells. An empty path is the descriptor itself."""
    buf = ctypes.create_string_buffer(256)
    if not path:
        flags |= AT_EMPTY_PATH
    if _libc.statx(dirfd, os.fsencode(path), flags, 0x7FF, buf):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    nlink, uid, gid, mode, _, ino, size = struct.unpack_from("=IIIHHQQ", buf, 16)
    ns = {}
    for name, at in (("atime", 64), ("ctime", 96), ("mtime", 112)):
        sec, nsec = struct.unpack_from("=qI", buf, at)
        ns[name] = sec * 10**9 + nsec
    return {
        "type": TYPES[stat.S_IFMT(mode)],
        "mode": stat.S_IMODE(mode),
        "uid": uid,
        "gid": gid,
        "nlink": nlink,
        "ino": ino,
        "size": size,
        "rdev": struct.unpack_from("=II", buf, 128),
        **ns,
    }


def die_with_parent():
    _libc.prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL


def coarse_now():
    """The clock that file times are taken from, in ns."""
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)


def acl(owner, group, other, mask=None, users=None, groups=None):
    """The value of an ACL attribute. users, groups: {id: permissions}"""
    none = 0xFFFFFFFF
    entries = [(0x01, owner, none)]
    entries += [(0x02, perm, uid) for uid, perm in sorted((users or {}).items())]
    entries += [(0x04, group, none)]
    entries += [(0x08, perm, gid) for gid, perm in sorted((groups or {}).items())]
    if mask is not None:
        entries += [(0x10, mask, none)]
    entries += [(0x20, other, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)
