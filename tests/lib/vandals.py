#!/usr/bin/env python3
"""Layers that are changed while the mount is used: who does what.

vandals.py vandal SEED LAYER OUTSIDE STOP   change a layer until the file STOP is there
vandals.py user SEED MOUNT COUNT            use the mount; an error is fine, a hang is not
vandals.py watcher MOUNT STOP               what nobody touches must be right all the time
vandals.py swapper LAYER STOP               a directory and a file are links, and not there, in turns
vandals.py racer MOUNT COUNT                which must not lead out, nor take the upper's file away

What they write tells who wrote it. OUTSIDE is a directory beside the layer to which links lead.
"""
import mmap
import os
import random
import signal
import sys

import ovl

NAMES = ['a', 'b', 'mix', 'mix/a', 'mix/b', 'mix/sub', 'mix/sub/a', 'mix/sub/b', 'mix/sub/deep',
         'mix/sub/deep/a', 'c', 'c/a', 'c/b']
# Which users only look at, as the upper has a file in it.
HELD = ['held', 'held', 'held/a', 'held/sub']
CALL = 30  # seconds that one call may take on a busy machine


def remove(path):
    """shutil.rmtree would wait for the writer of a FIFO that takes a directory's place."""
    if not os.path.isdir(path) or os.path.islink(path):
        os.unlink(path)
        return
    ovl.attempt(os.chmod, path, 0o755)
    for name in os.listdir(path):
        ovl.attempt(remove, path + '/' + name)
    os.rmdir(path)


def opener(path, flags):
    """Nobody waits for the other end of a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK, 0o644)


def put(path, data, mode):
    with open(path, mode, opener=opener) as f:
        f.write(data)


def get(path):
    with open(path, 'rb', buffering=0, opener=opener) as f:
        f.read()


def vandal(seed, layer, outside, stop):
    rnd = random.Random(seed)

    def path():
        return layer + '/' + rnd.choice(NAMES + HELD)

    def lead_out(name):
        """To a directory beside the layer; from the mount it leads nowhere."""
        os.symlink('../' * (name.count('/') + 1) + outside, layer + '/' + name)

    def mark(parent, name):
        return os.path.join(parent, name)

    ops = [
        lambda: put(path(), b'VANDAL' * rnd.randrange(2000), 'wb'),
        lambda: put(path(), b'VANDAL', 'ab'),
        lambda: os.truncate(path(), rnd.randrange(20000)),
        lambda: remove(path()),
        lambda: os.rename(path(), path()),
        lambda: os.makedirs(path(), exist_ok=True),
        lambda: os.makedirs(path(), exist_ok=True),
        lambda: lead_out(rnd.choice(NAMES + HELD)),
        lambda: os.symlink('b', path()),
        lambda: os.link(path(), path()),
        lambda: os.mkfifo(path()),
        lambda: os.chmod(path(), rnd.choice((0, 0o500, 0o755, 0o755, 0o755))),
        lambda: os.utime(path(), ns=(1, rnd.randrange(10**18))),
        lambda: put(mark(path(), '.wh.a'), b'', 'wb'),
        lambda: put(mark(path(), '.wh..wh..opq'), b'', 'wb'),
        lambda: os.unlink(mark(path(), '.wh..wh..opq')),
        lambda: os.unlink(mark(path(), '.wh.a')),
        lambda: os.setxattr(path(), 'user.overlay.opaque', rnd.choice((b'x', b'y', b'z'))),
        lambda: os.removexattr(path(), 'user.overlay.opaque'),
        lambda: os.setxattr(path(), 'user.overlay.whiteout', b'y'),
        lambda: os.setxattr(path(), 'user.overlay.redirect',
                            rnd.choice((b'/c', b'b', b'/mix/sub', b'..', b'/../..', b'/mix'))),
        lambda: os.removexattr(path(), 'user.overlay.redirect'),
        lambda: os.setxattr(path(), 'user.overlayfs.origin', b'1 %x junk' % rnd.randrange(2**64)),
    ]
    while not os.path.exists(stop):
        ovl.attempt(rnd.choice(ops))


def mapped(path):
    with open(path, 'rb', opener=opener) as f:
        m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        m.close()


def kept_open(path, rnd):
    """A descriptor that outlives its name."""
    with open(path, 'r+b', buffering=0, opener=opener) as f:
        for _ in range(3):
            for op in (lambda: os.pread(f.fileno(), 4096, rnd.randrange(9000)), lambda: os.fstat(f.fileno()),
                       lambda: os.pwrite(f.fileno(), b'USER', rnd.randrange(9000)),
                       lambda: os.unlink(path), lambda: os.fsync(f.fileno()),
                       lambda: os.ftruncate(f.fileno(), rnd.randrange(9000))):
                ovl.attempt(op)


def user(seed, mount, count):
    rnd = random.Random(seed)

    def path():
        return mount + '/' + rnd.choice(NAMES)

    def hung(*_):
        sys.exit('a call took more than %d seconds' % CALL)

    def mapping():
        try:
            mapped(path())
        except ValueError:  # an empty file has none
            pass

    ops = [
        lambda: get(path()), lambda: os.stat(path()), lambda: os.listdir(path()),
        lambda: [e.stat() for e in os.scandir(path())], lambda: os.readlink(path()),
        lambda: put(path(), b'USER' * rnd.randrange(2000), 'wb'), lambda: put(path(), b'USER', 'ab'),
        lambda: os.truncate(path(), rnd.randrange(20000)), lambda: os.unlink(path()),
        lambda: os.rmdir(path()), lambda: os.mkdir(path()), lambda: os.rename(path(), path()),
        lambda: ovl.renameat2(path(), path(), ovl.EXCHANGE), lambda: os.link(path(), path()),
        lambda: os.symlink('b', path()), lambda: os.chmod(path(), 0o755),
        lambda: os.setxattr(path(), 'user.x', b'USER'), lambda: os.listxattr(path()),
        lambda: os.utime(path()), lambda: remove(path()), mapping,
        lambda: kept_open(path(), rnd), lambda: os.statvfs(path()),
    ]
    signal.signal(signal.SIGALRM, hung)
    for _ in range(count):
        op = rnd.choice(ops)
        signal.alarm(CALL)
        ovl.attempt(op)
    signal.alarm(0)


def watcher(mount, stop):
    rounds = 0
    while not os.path.exists(stop):
        rounds += 1
        for n in range(5):
            ovl.equal(ovl.read('%s/stable/sub/%d' % (mount, n)), b'stable %d' % n)
        ovl.equal(sorted(os.listdir(mount + '/stable')), ['both', 'low', 'sub', 'up'])
        ovl.equal(ovl.read(mount + '/stable/both'), b'upper')
        try:
            ovl.equal(ovl.read(mount + '/held/stable'), b'upper')
        except PermissionError:  # a directory below was closed
            pass
    if rounds == 0:
        sys.exit('nothing was watched')


def swapper(layer, stop):
    while not os.path.exists(stop):
        for name in ('dir', 'file'):
            ovl.renameat2(layer + '/' + name, layer + '/link-for-' + name, ovl.EXCHANGE)
            ovl.renameat2(layer + '/' + name, layer + '/link-for-' + name, ovl.EXCHANGE)
            os.rename(layer + '/' + name, layer + '/away')
            os.rename(layer + '/away', layer + '/' + name)


def racer(mount, count):
    for _ in range(count):
        ovl.equal(ovl.read(mount + '/dir/upper'), b'upper')
        names = os.listdir(mount + '/dir')
        if 'secret' in names or os.path.lexists(mount + '/dir/secret'):
            sys.exit('a link of a lower was followed')
        try:
            ovl.equal(ovl.read(mount + '/file'), b'inside')
        except OSError:
            pass


def main():
    role, args = sys.argv[1], sys.argv[2:]
    if role == 'vandal':
        vandal(int(args[0]), *args[1:])
    elif role == 'user':
        user(int(args[0]), args[1], int(args[2]))
    elif role == 'swapper':
        swapper(*args)
    elif role == 'racer':
        racer(args[0], int(args[1]))
    else:
        watcher(*args)


main()
