"""System calls that the shell lacks, for the tests' Python programs."""
import ctypes
import errno
import os
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32


def _check(r):
    if r < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return r


def renameat2(a, b, flags=0):
    _check(libc.renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), flags))


def fallocate(fd, mode, off, length):
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    _check(libc.fallocate(fd, mode, off, length))


def linkat_fd(fd, path):
    """Give a nameless file (O_TMPFILE) a name."""
    AT_SYMLINK_FOLLOW = 0x400
    _check(libc.linkat(AT_FDCWD, b'/proc/self/fd/%d' % fd, AT_FDCWD, os.fsencode(path),
                       AT_SYMLINK_FOLLOW))


def syncfs(fd):
    _check(libc.syncfs(fd))


class dirent(ctypes.Structure):
    _fields_ = [('d_ino', ctypes.c_uint64), ('d_off', ctypes.c_int64),
                ('d_reclen', ctypes.c_ushort), ('d_type', ctypes.c_ubyte),
                ('d_name', ctypes.c_char * 256)]


libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.POINTER(dirent)
libc.readdir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.telldir.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
libc.rewinddir.argtypes = [ctypes.c_void_p]
libc.closedir.argtypes = [ctypes.c_void_p]


class Dir:
    """opendir(3) and its relatives."""

    def __init__(self, path):
        self.d = libc.opendir(os.fsencode(path))
        if not self.d:
            _check(-1)

    def read(self):
        """(name, inode number, type), or None at the end."""
        ctypes.set_errno(0)
        e = libc.readdir(self.d)
        if not e:
            if ctypes.get_errno():
                _check(-1)
            return None
        return os.fsdecode(e.contents.d_name), e.contents.d_ino, e.contents.d_type

    def tell(self):
        return libc.telldir(self.d)

    def seek(self, pos):
        libc.seekdir(self.d, pos)

    def rewind(self):
        libc.rewinddir(self.d)

    def close(self):
        libc.closedir(self.d)

    def __iter__(self):
        while e := self.read():
            yield e


def name_of(e):
    if e.errno == errno.EOPNOTSUPP:
        return 'EOPNOTSUPP' # two names, one number
    return errno.errorcode.get(e.errno, str(e.errno))


def attempt(f, *args, **kw):
    """The name of the error that f gives, or "ok"."""
    try:
        f(*args, **kw)
        return 'ok'
    except OSError as e:
        return name_of(e)


def equal(got, want, what=''):
    if got != want:
        sys.exit('%s: got %r, want %r' % (what or 'line %d' % sys._getframe(1).f_lineno,
                                          got, want))


def until(seconds, condition):
    """Wait, bounded, until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def write(path, data, mode='wb'):
    with open(path, mode) as f:
        f.write(data)
