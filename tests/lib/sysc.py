#!/usr/bin/env python3
"""One system call: prints its value, "ok", or the name of the error."""
import os
import socket
import stat
import sys

import ovl

FLAGS = {'NOREPLACE': 1, 'EXCHANGE': 2, 'WHITEOUT': 4}


def flags_of(text):
    value = 0
    for name in text.split('|'):
        value |= getattr(os, 'O_' + name)
    return value


def do_open(path, flags, mode='644'):
    os.close(os.open(path, flags_of(flags), int(mode, 8)))


def do_write(path, flags, data):
    fd = os.open(path, flags_of(flags), 0o644)
    os.write(fd, data.encode())
    os.close(fd)


def do_mknod(path, kind, mode='644', major='0', minor='0'):
    fmt = {'p': stat.S_IFIFO, 'c': stat.S_IFCHR, 'b': stat.S_IFBLK, 'f': stat.S_IFREG,
           's': stat.S_IFSOCK}[kind]
    os.mknod(path, fmt | int(mode, 8), os.makedev(int(major), int(minor)))


def do_socket(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)


def do_utime(path, atime_ns, mtime_ns):
    os.utime(path, ns=(int(atime_ns), int(mtime_ns)), follow_symlinks=False)


def do_fsync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)


OPS = {
    'open': do_open,
    'write': do_write,
    'mkdir': lambda p, m='755': os.mkdir(p, int(m, 8)),
    'rmdir': os.rmdir,
    'unlink': os.unlink,
    'rename': os.rename,
    'rename2': lambda a, b, f: ovl.renameat2(a, b, FLAGS[f]),
    'link': lambda a, b: os.link(a, b, follow_symlinks=False),
    'symlink': os.symlink,
    'mknod': do_mknod,
    'socket': do_socket,
    'chmod': lambda p, m: os.chmod(p, int(m, 8)),
    'chown': lambda p, u, g: os.chown(p, int(u), int(g), follow_symlinks=False),
    'truncate': lambda p, n: os.truncate(p, int(n)),
    'readlink': os.readlink,
    'lstat': lambda p: None if os.lstat(p) else None,
    'stat': lambda p: None if os.stat(p) else None,
    'access': lambda p, m: 'ok' if os.access(p, int(m)) else 'refused',
    'setxattr': lambda p, n, v: os.setxattr(p, n, v.encode(), follow_symlinks=False),
    'getxattr': lambda p, n: os.getxattr(p, n, follow_symlinks=False).decode(),
    'listxattr': lambda p: ' '.join(sorted(os.listxattr(p, follow_symlinks=False))),
    'removexattr': lambda p, n: os.removexattr(p, n, follow_symlinks=False),
    'utime': do_utime,
    'listdir': lambda p: ' '.join(sorted(os.listdir(p))),
    'fsync': do_fsync,
    'statvfs': lambda p: None if os.statvfs(p) else None,
}

try:
    result = OPS[sys.argv[1]](*sys.argv[2:])
    print('ok' if result is None else result)
except OSError as e:
    print(ovl.name_of(e))
