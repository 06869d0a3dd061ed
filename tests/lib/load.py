#!/usr/bin/env python3
"""Several processes work on the same names of a mount, each verifying what it did.

load.py make LOWER UPPER             the files of both
load.py run MOUNT STATE OPERATIONS   in four processes; with STOP in STATE they end when the
                                     daemon is killed, and STATE tells what each had done
load.py check MOUNT STATE            what must hold of that after the next mount

A file has a page with its identity, which never changes, and one page for each process, which
nobody else writes. So each can tell whether a descriptor still leads to the same file, and
whether its own data are there, whatever the others do to the names meanwhile.
"""
import errno
import json
import mmap
import multiprocessing
import os
import random
import re
import shutil
import sys
import traceback

import ovl

WORKERS, PAGE = 4, 4096
SIZE = (1 + WORKERS) * PAGE
DIRS = ('s', 't', 's/sub')
SHARED = [d + '/' + n for d in DIRS for n in ('l0', 'l1', 'l2', 'u0', 'u1', 'new0', 'new1', 'h0', 'h1')]
EMPTY = b'.' * PAGE
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO) # the daemon was killed


def own_name(w, k):
    return '%s/own%d-%d' % (DIRS[k % len(DIRS)], w, k)


def page_of(text):
    return (text.encode() + b'\n').ljust(PAGE, b' ')


def identity_of(fd):
    return os.pread(fd, PAGE, 0).split(b'\n')[0].decode()


def new_file(path, identity):
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    os.pwrite(fd, page_of(identity) + EMPTY * WORKERS, 0)
    return fd


def make(lower, upper):
    for root in (lower, upper):
        for d in DIRS:
            os.makedirs('%s/%s' % (root, d), exist_ok=True)
    for d in DIRS:
        for n in ('l0', 'l1', 'l2', 'h0'):
            os.close(new_file('%s/%s/%s' % (lower, d, n), 'lower:%s/%s' % (d, n)))
        os.link('%s/%s/h0' % (lower, d), '%s/%s/h1' % (lower, d))
        for n in ('u0', 'u1'):
            os.close(new_file('%s/%s/%s' % (upper, d, n), 'upper:%s/%s' % (d, n)))
    os.link(lower + '/s/h0', lower + '/t/l3')
    for w in range(WORKERS):
        for k in range(6):
            os.close(new_file('%s/%s' % (lower, own_name(w, k)), 'own:%d-%d' % (w, k)))


class Handle:
    def __init__(self, fd, identity, writable):
        self.fd, self.identity, self.writable = fd, identity, writable
        self.ino = os.fstat(fd).st_ino
        self.map = None

    def close(self):
        if self.map:
            self.map.close()
        os.close(self.fd)


class Worker:
    def __init__(self, root, w, maps):
        self.root, self.w = root, w
        self.maps = maps # writing to a mapping whose mount is dead would be SIGBUS
        self.random = random.Random(w)
        self.serial = 0
        self.handles = []
        self.records = {} # identity -> the pages that the file may hold of ours; else EMPTY
        self.numbers = {} # identity -> inode number
        self.names = {own_name(w, k): ['own:%d-%d' % (w, k)] for k in range(6)} # or None: no file

    def path(self, name):
        return self.root + '/' + name

    def hold(self, fd, identity, writable):
        h = Handle(fd, identity, writable)
        self.expect(self.numbers.setdefault(identity, h.ino), h.ino, 'number of ' + identity)
        self.handles.append(h)
        return h

    def expect(self, want, got, what):
        if want != got:
            want, got = (re.sub(r'([. \\0])\1{9,}', r'\1..', repr(x)) for x in (want, got))
            raise AssertionError('%s: got %s, want %s' % (what, got, want))

    def written(self, identity):
        return self.records.get(identity, [EMPTY])

    # Operations. Each gives up quietly where another process was faster.

    def open(self):
        flags = self.random.choice((os.O_RDONLY, os.O_RDWR, os.O_RDWR))
        name = self.random.choice(SHARED + [own_name(self.random.randrange(WORKERS), 0)])
        fd = os.open(self.path(name), flags)
        identity = identity_of(fd)
        if identity:
            self.hold(fd, identity, flags == os.O_RDWR)
        else: # its owner is about to write it
            os.close(fd)

    def reopen(self):
        h = self.some()
        if h: # also a file without a name, which is copied up then
            fd = os.open('/proc/self/fd/%d' % h.fd, os.O_RDWR)
            self.expect(h.identity, identity_of(fd), 'the file of a descriptor')
            self.hold(fd, h.identity, True)

    def create(self):
        """A file made beside and then moved or linked to a shared name."""
        self.serial += 1
        identity = 'new:%d-%d' % (self.w, self.serial)
        to = self.random.choice(SHARED)
        temp = '%s/temp%d-%d' % (os.path.dirname(self.random.choice(SHARED)), self.w, self.serial)
        h = self.hold(new_file(self.path(temp), identity), identity, True)
        self.expect(1, os.fstat(h.fd).st_nlink, 'links of a new file')
        if self.random.random() < 0.5:
            os.rename(self.path(temp), self.path(to))
            return
        try:
            os.link(self.path(temp), self.path(to))
        finally:
            os.unlink(self.path(temp))

    def unlink(self):
        os.unlink(self.path(self.random.choice(SHARED)))

    def rename(self):
        os.rename(*(self.path(self.random.choice(SHARED)) for _ in 'ab'))

    def link(self):
        os.link(*(self.path(self.random.choice(SHARED)) for _ in 'ab'))

    def own(self):
        """Remove, rename or make again a name of our own: after a crash it is one or the other."""
        name, other = self.random.sample(sorted(self.names), 2)
        now, there = self.names[name][-1], self.names[other][-1]
        if now is None:
            self.serial += 1
            identity = 'new:%d-%d' % (self.w, self.serial)
            self.names[name] = [None, 'part', identity]
            os.close(new_file(self.path(name), identity))
            self.names[name] = [identity]
        elif self.random.random() < 0.5:
            self.names[name] = [now, None]
            os.unlink(self.path(name))
            self.names[name] = [None]
        else:
            self.names[name], self.names[other] = [now, None], [there, now]
            os.rename(self.path(name), self.path(other))
            self.names[name], self.names[other] = [None], [now]

    def some(self, writable=False):
        found = [h for h in self.handles if h.writable or not writable]
        return self.random.choice(found) if found else None

    def write(self):
        h = self.some(writable=True)
        if not h:
            return
        self.serial += 1
        page = page_of('%d wrote %d' % (self.w, self.serial))
        pos = (1 + self.w) * PAGE
        self.records[h.identity] = self.written(h.identity) + [page]
        if self.maps and self.random.random() < 0.4:
            if not h.map:
                h.map = mmap.mmap(h.fd, PAGE, offset=pos)
            h.map[:] = page
            self.expect(page, os.pread(h.fd, PAGE, pos), 'what a mapping wrote')
            h.map.flush()
        else:
            self.expect(PAGE, os.pwrite(h.fd, page, pos), 'written')
            if h.map:
                self.expect(page, h.map[:], 'what a mapping shows of a write')
        self.records[h.identity] = [page]
        self.expect(page, os.pread(h.fd, PAGE, pos), 'what was written to ' + h.identity)

    def look(self):
        h = self.some()
        if h:
            self.expect(h.identity, identity_of(h.fd), 'the file of a descriptor')
            self.expect(self.written(h.identity)[-1], os.pread(h.fd, PAGE, (1 + self.w) * PAGE),
                        'our page of ' + h.identity)
            if h.map:
                self.expect(self.written(h.identity)[-1], h.map[:], 'our mapping of ' + h.identity)
            st = os.fstat(h.fd)
            self.expect(h.ino, st.st_ino, 'the number of a descriptor')
            self.expect(True, st.st_size >= SIZE, 'size %d of %s' % (st.st_size, h.identity))

    def change(self):
        h = self.some(writable=True)
        if h:
            self.random.choice((lambda: os.ftruncate(h.fd, SIZE + self.random.randrange(5000)),
                                lambda: os.fchmod(h.fd, 0o600 | self.random.randrange(64)),
                                lambda: os.utime(h.fd, (1, self.random.randrange(1 << 30))),
                                lambda: os.setxattr(h.fd, 'user.w%d' % self.w, b'%d' % self.serial),
                                lambda: os.fsync(h.fd)))()

    def close(self):
        if len(self.handles) > 12:
            self.handles.pop(self.random.randrange(len(self.handles))).close()

    def alone(self):
        """All that a file nobody else knows must do, in a directory that others use."""
        self.serial += 1
        base = self.path('%s/dir%d-%d' % (self.random.choice(DIRS), self.w, self.serial))
        os.mkdir(base)
        identity = 'alone:%d-%d' % (self.w, self.serial)
        fd = new_file(base + '/a', identity)
        ro = os.open(base + '/a', os.O_RDONLY)
        os.link(base + '/a', base + '/b')
        self.expect(2, os.fstat(fd).st_nlink, 'links')
        os.unlink(base + '/a')
        self.expect((1, 1), (os.fstat(fd).st_nlink, os.fstat(ro).st_nlink), 'links')
        os.rename(base + '/b', base + '/c')
        os.close(new_file(base + '/over', 'over'))
        os.rename(base + '/over', base + '/c')
        self.expect(['c'], os.listdir(base), 'names')
        os.unlink(base + '/c')
        os.rmdir(base)
        self.expect((0, 0), (os.fstat(fd).st_nlink, os.fstat(ro).st_nlink), 'links')
        self.expect(identity, identity_of(ro), 'the file of a descriptor')
        os.fchmod(fd, 0o640)
        os.ftruncate(fd, 3)
        self.expect((3, 0o640), (os.fstat(ro).st_size, os.fstat(ro).st_mode & 0o777), 'attributes')
        os.ftruncate(fd, PAGE)
        if self.maps:
            with mmap.mmap(fd, PAGE) as m:
                m[100:103] = b'map'
                self.expect(b'map', os.pread(ro, 3, 100), 'what a mapping wrote')
                os.pwrite(fd, b'MAP', 100)
                self.expect(b'MAP', m[100:103], 'what a mapping shows')
        os.close(fd)
        os.close(ro)

    def drop_caches(self):
        if self.w == 0 and os.geteuid() == 0 and self.random.random() < 0.3:
            ovl.write('/proc/sys/vm/drop_caches', b'%d' % self.random.choice((2, 3)))

    OPERATIONS = [open] * 6 + [reopen] * 2 + [create] * 3 + [unlink, rename, link] * 2 + [own] * 3 + [write] * 8 + \
        [look] * 6 + [change] * 4 + [close] * 6 + [alone] * 2 + [drop_caches]

    def run(self, count, progress=None):
        for _ in range(count):
            if progress and self.w == 0:
                ovl.write(progress, b'.', 'ab')
            op = self.random.choice(self.OPERATIONS)
            try:
                op(self)
            except (FileNotFoundError, FileExistsError):
                if op not in (Worker.open, Worker.create, Worker.unlink, Worker.rename, Worker.link):
                    raise

    # At rest: nobody changes anything.

    def state(self):
        return {'records': {i: [p.decode() for p in r] for i, r in self.records.items()},
                'numbers': self.numbers, 'names': self.names,
                'links': [(h.identity, h.ino, os.fstat(h.fd).st_nlink) for h in self.handles]}

    def verify(self, states):
        """Every descriptor shows what all the processes have written."""
        for h in self.handles:
            self.expect(h.identity, identity_of(h.fd), 'the file of a descriptor')
            for w, s in enumerate(states):
                want = s['records'].get(h.identity, [EMPTY.decode()])[-1]
                got = os.pread(h.fd, PAGE, (1 + w) * PAGE).decode()
                self.expect(want, got, 'the page of process %d in %s' % (w, h.identity))

    def close_all(self):
        while self.handles:
            self.handles.pop().close()


def serve(root, w, maps, pipe):
    worker = Worker(root, w, maps)
    while True:
        command = pipe.recv()
        if command is None:
            return
        try:
            answer = getattr(worker, command[0])(*command[1:])
        except Exception as e: # pylint: disable=broad-except
            if isinstance(e, OSError) and e.errno in GONE:
                # Nothing can be asked of a dead mount, but what was done is known.
                worker.handles = []
                answer = worker.state()
                answer['gone'] = True
            else:
                answer = 'process %d: %s' % (w, traceback.format_exc())
        pipe.send(answer)


def visible(root):
    """identity -> paths, with the checks that hold for all that is there."""
    found = {}
    for d, dirs, files in os.walk(root):
        for name in dirs + files:
            if name.startswith(('.fuse_hidden', '.wh.')):
                sys.exit('%s/%s is visible' % (d, name))
        for e in os.scandir(d):
            if e.is_file():
                ovl.equal(e.inode(), e.stat().st_ino, e.path)
        for name in files:
            path = d + '/' + name
            fd = os.open(path, os.O_RDONLY)
            found.setdefault(identity_of(fd), []).append(path)
            os.close(fd)
    return found


def names_agree(root, found):
    numbers = {}
    for identity, paths in found.items():
        for path in paths:
            st = os.stat(path)
            if identity not in ('', 'over'): # a file that a crash left half written
                ovl.equal((st.st_ino, st.st_nlink), (os.stat(paths[0]).st_ino, len(paths)),
                          '%s of %s' % (path, paths))
            if numbers.setdefault(st.st_ino, identity) != identity:
                sys.exit('%s and %s share a number' % (identity, numbers[st.st_ino]))
    return numbers


def at_rest(root, pipes):
    states = ask(pipes, 'state')
    found = visible(root)
    numbers = names_agree(root, found)
    for s in states:
        for identity, ino, links in s['links']:
            ovl.equal(links, len(found.get(identity, [])), 'links of ' + identity)
            ovl.equal(numbers.get(ino, identity), identity, 'number %d' % ino)
        for name, want in s['names'].items():
            ovl.equal([i for i, p in found.items() if root + '/' + name in p],
                      want[-1:] if want[-1] else [], name)
        for identity, ino in s['numbers'].items():
            for other in states:
                ovl.equal(other['numbers'].get(identity, ino), ino, 'number of ' + identity)
    ask(pipes, 'verify', states)


def ask(pipes, *command):
    for p in pipes:
        p.send(command)
    answers = [p.recv() for p in pipes]
    bad = [a for a in answers if isinstance(a, str)]
    if bad:
        sys.exit('\n'.join(bad))
    return answers


def run(root, state, operations):
    crash = os.path.exists(state + '/stop')
    pipes = []
    for w in range(WORKERS):
        ours, theirs = multiprocessing.Pipe()
        multiprocessing.Process(target=serve, args=(root, w, not crash, theirs), daemon=True).start()
        pipes.append(ours)
    if crash: # all at once, to be killed anywhere; the caller looks at the progress
        answers = ask(pipes, 'run', operations, state + '/progress')
        if not all(a and a.get('gone') for a in answers):
            sys.exit('the daemon was killed too late')
        ovl.write(state + '/states', json.dumps(answers).encode())
        return
    for _ in range(8):
        ask(pipes, 'run', operations // 8)
        at_rest(root, pipes)
    # With all descriptors still open.
    for d in set(d.split('/')[0] for d in DIRS):
        shutil.rmtree(root + '/' + d)
    ovl.equal(os.listdir(root), [])
    ask(pipes, 'verify', ask(pipes, 'state'))
    ask(pipes, 'close_all')


def check(root, state):
    states = json.loads(ovl.read(state + '/states'))
    found = visible(root)
    names_agree(root, found)
    for w, s in enumerate(states):
        for identity, paths in found.items():
            allowed = s['records'].get(identity, [EMPTY.decode()])
            if identity in ('', 'over'): # a crash may have left it half written
                continue
            for path in paths:
                fd = os.open(path, os.O_RDONLY)
                got = os.pread(fd, PAGE, (1 + w) * PAGE).decode()
                if got not in allowed:
                    sys.exit('%s, page of %d: %r' % (path, w, got.strip()))
                os.close(fd)
        for name, allowed in s['names'].items():
            got = [i for i, p in found.items() if root + '/' + name in p]
            if (got[0] or 'part' if got else None) not in allowed:
                sys.exit('%s is %s, not %s' % (name, got, allowed))


def main():
    command, args = sys.argv[1], sys.argv[2:]
    if command == 'make':
        make(*args)
    elif command == 'run':
        run(args[0], args[1], int(args[2]))
    else:
        check(*args)


main()
