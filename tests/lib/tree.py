#!/usr/bin/env python3
"""Describe a tree in lines that diff(1) can compare, without disturbing access times.

tree.py age DIR...                    make the access times old, so that reading shows
tree.py snapshot [--reader UID] DIR   everything, for "is it as before?"
tree.py show DIR [-FIELD|+FIELD...]   what a user compares: two trees with the same content
"""
import hashlib
import os
import stat
import sys

KIND = {stat.S_IFREG: 'file', stat.S_IFDIR: 'dir', stat.S_IFLNK: 'link', stat.S_IFIFO: 'fifo',
        stat.S_IFSOCK: 'sock', stat.S_IFCHR: 'char', stat.S_IFBLK: 'block'}
OLD = 1_000_000_000


def quiet_open(name, flags, dir_fd):
    try:
        return os.open(name, flags | os.O_NOATIME | os.O_NOFOLLOW, dir_fd=dir_fd)
    except PermissionError:
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=dir_fd)


def checksum(fd, extents):
    """Of the content; of where the data lies, too, which spares reading the holes."""
    h = hashlib.md5()
    while extents:
        try:
            pos = os.lseek(fd, os.lseek(fd, 0, os.SEEK_CUR), os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(fd, pos, os.SEEK_HOLE)
        os.lseek(fd, pos, os.SEEK_SET)
        h.update(b'%d-%d' % (pos, end))
        while pos < end and (chunk := os.read(fd, min(1 << 20, end - pos))):
            h.update(chunk)
            pos += len(chunk)
    while not extents and (chunk := os.read(fd, 1 << 20)):
        h.update(chunk)
    return h.hexdigest()


def attributes(path):
    """Of an O_PATH descriptor, or of a symbolic link, through /proc."""
    out = []
    try:
        for name in sorted(os.listxattr(path)):
            try:
                out.append('%s=%s' % (name, os.getxattr(path, name).hex()))
            except OSError as e:
                out.append('%s!%d' % (name, e.errno))
    except OSError as e:
        return '!%d' % e.errno
    return ','.join(out)


def walk(dir_fd, name, rel, visit):
    st = os.lstat(name, dir_fd=dir_fd) if dir_fd is not None else os.lstat(name)
    visit(dir_fd, name, rel, st)
    if not stat.S_ISDIR(st.st_mode):
        return
    try:
        fd = quiet_open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd)
    except PermissionError:
        print('%r cannot be listed' % rel)
        return
    try:
        for child in sorted(os.listdir(fd), key=os.fsencode):
            walk(fd, child, rel + '/' + child if rel else child, visit)
    finally:
        os.close(fd)


def describe(fields, reader=None):
    def visit(dir_fd, name, rel, st):
        kind = KIND[stat.S_IFMT(st.st_mode)]
        out = [ascii(os.fsencode(rel))[1:], kind]
        if 'mode' in fields and kind != 'link':
            out.append('%04o' % stat.S_IMODE(st.st_mode))
        if 'owner' in fields:
            out.append('%d:%d' % (st.st_uid, st.st_gid))
        if 'size' in fields and kind != 'dir':
            out.append('size=%d' % st.st_size)
        if kind in ('char', 'block'):
            out.append('rdev=%d,%d' % (os.major(st.st_rdev), os.minor(st.st_rdev)))
        if 'nlink' in fields and kind != 'dir':
            out.append('nlink=%d' % st.st_nlink)
        if 'mtime' in fields:
            out.append('mtime=%d' % st.st_mtime_ns)
        if 'all' in fields:
            out.append('ino=%d links=%d ctime=%d' % (st.st_ino, st.st_nlink, st.st_ctime_ns))
            # readlink(2) has no O_NOATIME, and neither have other people's files.
            if kind != 'link' and (reader is None or reader == st.st_uid):
                out.append('atime=%d' % st.st_atime_ns)
        if kind == 'link':
            out.append('-> %r' % os.fsencode(os.readlink(name, dir_fd=dir_fd)))
        if kind == 'file':
            try:
                fd = quiet_open(name, os.O_RDONLY, dir_fd)
                out.append(checksum(fd, 'all' in fields) if 'data' in fields else '')
                if 'xattr' in fields:
                    out.append(attributes(fd))
                os.close(fd)
            except PermissionError:
                out.append('unreadable')
        elif kind == 'dir' and 'xattr' in fields:
            try:
                fd = quiet_open(name, os.O_RDONLY, dir_fd)
                out.append(attributes(fd))
                os.close(fd)
            except PermissionError:
                out.append('unreadable')
        print(' '.join(out))
    return visit


def age(dir_fd, name, rel, st):
    if not stat.S_ISLNK(st.st_mode):
        os.utime(name, ns=(OLD * 10**9, st.st_mtime_ns), dir_fd=dir_fd)


def main():
    cmd, args = sys.argv[1], sys.argv[2:]
    sys.setrecursionlimit(10000)
    if cmd == 'age':
        for d in args:
            walk(None, d, '', age)
        return
    reader = None
    fields = {'mode', 'owner', 'size', 'data', 'xattr'}
    if cmd == 'snapshot':
        fields |= {'mtime', 'all'}
        if args[0] == '--reader':
            reader = int(args[1])
            args = args[2:]
    for a in args[1:]:
        (fields.add if a[0] == '+' else fields.discard)(a[1:])
    walk(None, args[0], '', describe(fields, reader))


main()
