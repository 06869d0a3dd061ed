#!/usr/bin/env python3
"""Kill the daemon at each system call with which an operation changes the upper, one by one.

kill.py make DIRECTORY                          the lower, and the upper to begin with
kill.py run DIRECTORY FORMAT OPERATION...       without names: all, or those with whiteouts

DIRECTORY has low, up, mnt. A first run under strace tells which calls there are. Then for each of
them: a mount, strace attached to it, the operation, in which the daemon dies; a new mount must
show the tree as it was or as the operation leaves it, and do the operation when it was not done.
"""
import errno
import os
import re
import shutil
import stat
import subprocess
import sys
import time

import ovl

CALLS = ('mkdirat openat open renameat2 renameat rename unlinkat unlink linkat symlinkat mknodat '
         'setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr ftruncate fallocate '
         'fchmod fchmodat chmod fchown fchownat utimensat copy_file_range ioctl pwrite64 pwritev2').split()
TRACE = ','.join('?' + c for c in CALLS)
OLD = 1_000_000_000
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)


def make(root):
    low, up = root + '/low', root + '/up'
    for d in ('d/sub', 'e', 'm', 'empty', 'gonedir'):
        os.makedirs(low + '/' + d)
    for name in ('f', 'g', 'h1', 'both', 'gone', 'd/a', 'd/sub/b', 'm/low', 'gonedir/old'):
        ovl.write(low + '/' + name, b'lower ' + name.encode() * 1000)
        os.chmod(low + '/' + name, 0o640)
    os.setxattr(low + '/f', 'user.x', b'y')
    os.link(low + '/h1', low + '/h2')
    os.link(low + '/h1', low + '/d/h3')
    os.symlink('target', low + '/link')
    for d in ('m', 'u', 'u/sub'):
        os.makedirs(up + '/' + d)
    for name in ('both', 'up', 'm/up', 'u/a', 'u/sub/b'):
        ovl.write(up + '/' + name, b'upper ' + name.encode() * 1000)
    for top in (low, up):
        for d, _, files in os.walk(top, topdown=False):
            for name in files:
                os.utime(d + '/' + name, (OLD, OLD), follow_symlinks=False)
            os.utime(d, (OLD, OLD))


def prepare(m):
    """Whiteouts, made through the mount in the format of the test."""
    os.unlink(m + '/gone')
    shutil.rmtree(m + '/gonedir')


def put(path, data, flags):
    fd = os.open(path, flags, 0o600)
    try:
        if data:
            os.write(fd, data)
    finally:
        os.close(fd)


def exchange(a, b):
    return lambda: ovl.renameat2(a, b, ovl.EXCHANGE)


def emptied(m):
    """A merged directory that is empty only through whiteouts."""
    for name in os.listdir(m + '/m'):
        os.unlink(m + '/m/' + name)


# name: what is done; those after WHITEOUTS differ between the formats of whiteouts.
PLAIN = {
    'create': lambda: put('new', b'', os.O_CREAT | os.O_EXCL | os.O_WRONLY),
    'create in a lower directory': lambda: put('d/sub/new', b'', os.O_CREAT | os.O_WRONLY),
    'append': lambda: put('f', b'more', os.O_WRONLY | os.O_APPEND),
    'truncate': lambda: os.truncate('f', 3),
    'open to truncate': lambda: put('f', b'', os.O_WRONLY | os.O_TRUNC),
    'chmod': lambda: os.chmod('d/sub/b', 0o600),
    'chmod a directory': lambda: os.chmod('d/sub', 0o700),
    'times': lambda: os.utime('f', (5, 6)),
    'attribute': lambda: os.setxattr('f', 'user.z', b'1'),
    'times of a link': lambda: os.utime('link', (5, 6), follow_symlinks=False),
    'chmod one of three names': lambda: os.chmod('h1', 0o600),
    'append to one of three names': lambda: put('d/h3', b'more', os.O_WRONLY | os.O_APPEND),
    'link': lambda: os.link('f', 'new'),
    'link one of three names': lambda: os.link('h2', 'd/new'),
    'symlink': lambda: os.symlink('x', 'new'),
    'fifo': lambda: os.mkfifo('new', 0o600),
    'mkdir': lambda: os.mkdir('new', 0o700),
    'unlink upper': lambda: os.unlink('up'),
    'rename upper': lambda: os.rename('up', 'new'),
    'rename an upper directory': lambda: os.rename('u', 'new'),
    'exchange files': exchange('f', 'up'),
    'exchange directories': exchange('d', 'm'),
    'exchange a file and a directory': exchange('h1', 'd'),
}
WHITEOUTS = {
    'create over a whiteout': lambda: put('gone', b'', os.O_CREAT | os.O_EXCL | os.O_WRONLY),
    'mkdir over a whiteout': lambda: os.mkdir('gonedir', 0o700),
    'symlink over a whiteout': lambda: os.symlink('x', 'gone'),
    'link over a whiteout': lambda: os.link('f', 'gone'),
    'unlink lower': lambda: os.unlink('d/sub/b'),
    'unlink upper and lower': lambda: os.unlink('both'),
    'unlink one of three names': lambda: os.unlink('h2'),
    'rmdir lower': lambda: os.rmdir('e'),
    'rmdir merged': lambda: os.rmdir('m'),
    'rename lower': lambda: os.rename('f', 'd/new'),
    'rename one of three names': lambda: os.rename('h1', 'new'),
    'rename over lower': lambda: os.rename('f', 'g'),
    'rename upper over lower': lambda: os.rename('up', 'g'),
    'rename over both': lambda: os.rename('f', 'both'),
    'rename both': lambda: os.rename('both', 'new'),
    'rename over a whiteout': lambda: os.rename('up', 'gone'),
    'rename over one of three names': lambda: os.rename('f', 'h1'),
    'rename a lower directory': lambda: os.rename('d', 'new'),
    'rename a merged directory': lambda: os.rename('m', 'd/new'),
    'rename a directory over an empty one': lambda: os.rename('d', 'e'),
    'rename an upper directory over an empty one': lambda: os.rename('u', 'e'),
    'rename a directory over a whiteout': lambda: os.rename('d', 'gonedir'),
    'rename a directory over one emptied': lambda: os.rename('u', 'm'),
}
BEFORE = {'rmdir merged': emptied, 'rename a directory over one emptied': emptied}


def soon(condition):
    """Like ovl.until, but there are a thousand of these waits."""
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


class Mount:
    def __init__(self, root, options):
        self.mnt, self.trace = root + '/mnt', root + '/trace'
        self.log = open(root + '/kill.log', 'ab')
        self.daemon = subprocess.Popen(
            [os.environ['OVERLAYFS'], '-f', '-o', 'lowerdir=%s/low,upperdir=%s/up,max_threads=1,%s'
             % (root, root, options), self.mnt], stdout=self.log, stderr=self.log)
        above = os.stat(root).st_dev
        if not soon(lambda: os.stat(self.mnt).st_dev != above or self.daemon.poll()):
            sys.exit('the mount is not ready')
        if self.daemon.poll() is not None:
            sys.exit('the daemon ended instead of mounting: ' + ovl.read(root + '/kill.log').decode())
        os.chdir(self.mnt)

    def end(self, kill=False):
        os.chdir('/')
        if kill:
            self.daemon.kill()
            self.daemon.wait()
        self.unmount(lazy=kill)
        status = self.daemon.wait(20)
        self.log.close()
        if status != (-9 if kill else 0):
            sys.exit('the daemon ended with status %d' % status)

    def unmount(self, lazy):
        if os.geteuid() == 0:
            command = ['umount'] + ['-l'] * lazy
        else:
            command = ['fusermount3', '-u'] + ['-z'] * lazy
        command.append(self.mnt)
        if not soon(lambda: subprocess.run(command, stderr=self.log, check=False).returncode == 0):
            sys.exit('cannot unmount')

    def attach(self, *arguments):
        """Returns when strace sees what the daemon does: it is asked for a call that changes nothing."""
        if os.path.exists(self.trace):
            os.unlink(self.trace)
        tracer = subprocess.Popen(['strace', '-f', '-qq', '-o', self.trace, '-e', 'trace=fstatfs,' + TRACE,
                                   *arguments, '-p', str(self.daemon.pid)],
                                  stdout=self.log, stderr=self.log)
        if not soon(lambda: os.statvfs(self.mnt) and (self.traced() or tracer.poll() is not None)) or \
                tracer.poll() is not None:
            sys.exit('strace cannot attach')
        return tracer

    def traced(self):
        return os.path.exists(self.trace) and b'fstatfs' in ovl.read(self.trace)


def entry(path, known):
    st = os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    data, links = b'', st.st_nlink
    if kind == stat.S_IFREG:
        data = ovl.read(path)
        data = '%.20s... %d' % (data.decode(), len(data))
    elif kind == stat.S_IFLNK:
        data = os.readlink(path)
    elif kind == stat.S_IFDIR:
        data, links = sorted(os.listdir(path)), 0
    attrs = [(a, os.getxattr(path, a, follow_symlinks=False))
             for a in sorted(os.listxattr(path, follow_symlinks=False))]
    mtime = st.st_mtime_ns if st.st_mtime < 1.5 * OLD else 'now'
    return (mtime, known.get(st.st_ino, 'new'), oct(st.st_mode), st.st_uid, st.st_gid, links, data, attrs)


def paths():
    for d, dirs, files in os.walk('.'):
        dirs.sort()
        for name in ['.'] * (d == '.') + sorted(dirs + files):
            yield d + '/' + name


def numbers():
    """inode number -> path"""
    known = {}
    for p in paths():
        known.setdefault(os.lstat(p).st_ino, p)
    return known


def tree(known):
    return {p: entry(p, known) for p in paths()}


def same_entry(got, want, other):
    """Equal, but for traces of a crash in directories that nobody can prevent: one into which a copy
    is renamed has a new time before it gets the old one back, and an empty one that is about to be
    removed may have a number of its own."""
    if got[2].startswith('0o12') and os.geteuid() != 0: # an ordinary user's link carries no number
        return got[:1] + got[2:] == want[:1] + want[2:]
    if not got[2].startswith('0o4'):
        return got == want
    return (got[0] in (want[0], other[0], 'now') and got[2:] == want[2:] and
            (got[1] == want[1] or (got[1] == 'new' and got[6] == [])))


def same(got, want, other):
    return got.keys() == want.keys() and all(
        same_entry(got[p], want[p], other.get(p, want[p])) for p in got)


def show(got, want):
    lines = ['%s: %s, not %s' % (p, got.get(p), want.get(p))
             for p in sorted(set(got) | set(want)) if got.get(p) != want.get(p)]
    return '\n    '.join(lines)


class Trial:
    """One operation in one format."""

    def __init__(self, root, options, name):
        self.root, self.options, self.name = root, options, name
        self.do = {**PLAIN, **WHITEOUTS}[name]
        m = self.fresh('start')
        prepare(m.mnt)
        BEFORE.get(name, lambda _: None)(m.mnt)
        m.end()
        self.copy('up', 'prepared')

    def copy(self, a, b):
        shutil.rmtree('%s/%s' % (self.root, b), ignore_errors=True)
        subprocess.run(['cp', '-a', '%s/%s' % (self.root, a), '%s/%s' % (self.root, b)], check=True)

    def fresh(self, start='prepared'):
        self.copy(start, 'up')
        return Mount(self.root, self.options)

    def calls(self):
        """Those that change something, as (name, how many of that name until then)."""
        m = self.fresh()
        known = numbers()
        self.old = tree(known)
        tracer = m.attach()
        self.do()
        tracer.terminate()
        tracer.wait()
        self.new = tree(known)
        m.end()
        counts, found, staged = {}, [], False
        for line in ovl.read(self.root + '/trace').decode(errors='replace').splitlines():
            match = re.match(r'\d+ +(\w+)\((.*)', line)
            if not match or match[1] not in CALLS:
                continue
            call = match[1]
            counts[call] = counts.get(call, 0) + 1
            harmless = call.startswith('open') and 'O_CREAT' not in line and 'O_TRUNC' not in line
            # Half a copy in the work directory is like another half.
            building = '"#' in line and not call.startswith(('rename', 'link'))
            if not harmless and ' = -1 ' not in line and not (building and staged):
                found.append((call, counts[call]))
            staged = building or (staged and '"#' not in line)
        return found

    def kill_at(self, call, n):
        """Whether the daemon died there."""
        m = self.fresh()
        known = numbers()
        tree(known)
        tracer = m.attach('-e', 'inject=%s:signal=KILL:when=%d' % (call, n))
        killed = False
        try:
            self.do()
        except OSError as e:
            if e.errno not in GONE:
                raise
            killed = True
        m.end(kill=True)
        tracer.wait(20)
        m = Mount(self.root, self.options)
        self.check('killed at %s number %d' % (call, n), tree(known))
        left = [x for x in os.listdir(self.root + '/up/.wh..wh.work') if x not in ('index', 'lock')]
        if left:
            self.fail('left in the work directory: %s' % left)
        if same(tree(known), self.old, self.new):
            self.do()
            if not same(tree(known), self.new, self.old):
                self.fail('killed at %s number %d and done again:\n    %s'
                          % (call, n, show(tree(known), self.new)))
        m.end()
        return killed

    def check(self, when, got):
        if not same(got, self.old, self.new) and not same(got, self.new, self.old):
            self.fail('%s:\n  from the old tree:\n    %s\n  from the new tree:\n    %s'
                      % (when, show(got, self.old), show(got, self.new)))

    def fail(self, text):
        print('%s (%s): %s' % (self.name, self.options, text), flush=True)
        FAILED.append(self.name)


FAILED = []


def run(root, options, names):
    if not os.path.isdir(root + '/start'):
        shutil.copytree(root + '/up', root + '/start', symlinks=True)
    kills = 0
    for name in names or list(WHITEOUTS) + ([] if 'chardev' in options or 'xattr' in options else list(PLAIN)):
        trial = Trial(root, options, name)
        calls = trial.calls()
        if not calls:
            trial.fail('changes nothing')
        kills += sum(trial.kill_at(call, n) for call, n in calls)
    print('%d kills' % kills)
    sys.exit(1 if FAILED else 0)


def main():
    if sys.argv[1] == 'make':
        make(sys.argv[2])
    else:
        run(sys.argv[2], sys.argv[3], sys.argv[4:])


main()
