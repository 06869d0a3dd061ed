#!/usr/bin/env python3
"""Operations during which the daemon is killed, and what must hold afterwards.

crash.py make LOWER PROGRAM            the lower
crash.py run MOUNT JOURNAL PROGRAM N   do it; each step is written down before and after
crash.py check MOUNT JOURNAL PROGRAM   after the next mount
"""
import os
import random
import sys

import ovl

COUNT = 60
SIZE = 150_000


def body(i, version):
    return (b'%d %s ' % (i, version.encode())) * (SIZE // 12)


class Program:
    """One kind of operation on file number i; old and new are the states a crash may leave."""

    def __init__(self, root):
        self.root = root

    def path(self, *parts):
        return '/'.join((self.root,) + tuple(str(p) for p in parts))

    def state(self, *parts):
        try:
            return ovl.read(self.path(*parts))
        except OSError as e:
            return ovl.name_of(e)

    def prepare(self, i):
        os.makedirs(self.path('d%d' % (i % 7), 'sub'), exist_ok=True)
        ovl.write(self.file(i), body(i, 'old'))

    def file(self, i):
        return self.path('d%d' % (i % 7), 'sub', i)

    def finish(self):
        pass


class copyup(Program):
    def step(self, i):
        ovl.write(self.file(i), b'appended', 'ab')

    def check(self, i, done, begun):
        got, old = self.state('d%d' % (i % 7), 'sub', i), body(i, 'old')
        new = old + b'appended'
        return got == new if done else got in (old, new) if begun else got == old


class remove(Program):
    def step(self, i):
        os.unlink(self.file(i))

    def check(self, i, done, begun):
        got, old = self.state('d%d' % (i % 7), 'sub', i), body(i, 'old')
        names = os.listdir(self.path('d%d' % (i % 7), 'sub'))
        if (str(i) in names) != (got != 'ENOENT'):
            return False
        return got == 'ENOENT' if done else got in (old, 'ENOENT') if begun else got == old


class rename(Program):
    """Files and the directories that hold others."""

    def prepare(self, i):
        super().prepare(i)
        os.makedirs(self.path('dir%d' % i, 'x'))
        ovl.write(self.path('dir%d' % i, 'x', 'f'), body(i, 'dir'))

    def step(self, i):
        os.rename(self.file(i), self.path('moved%d' % i))
        os.rename(self.path('dir%d' % i), self.path('d%d' % (i % 7), 'moved%d' % i))

    def check(self, i, done, begun):
        old, d = body(i, 'old'), 'd%d' % (i % 7)
        file = (self.state(d, 'sub', i), self.state('moved%d' % i))
        tree = (self.state('dir%d' % i, 'x', 'f'), self.state(d, 'moved%d' % i, 'x', 'f'))
        at_old = (old, 'ENOENT')
        at_new = ('ENOENT', old)
        dir_old, dir_new = (body(i, 'dir'), 'ENOENT'), ('ENOENT', body(i, 'dir'))
        if done:
            return file == at_new and tree == dir_new
        if not begun:
            return file == at_old and tree == dir_old
        return file in (at_old, at_new) and tree in (dir_old, dir_new)


class replace(Program):
    """Write beside, sync, rename over."""

    def step(self, i):
        tmp = self.file(i) + '.tmp'
        ovl.write(tmp, body(i, 'new'))
        os.rename(tmp, self.file(i))

    def check(self, i, done, begun):
        got = self.state('d%d' % (i % 7), 'sub', i)
        old, new = body(i, 'old'), body(i, 'new')
        return got == new if done else got in (old, new) if begun else got == old


class remake(Program):
    def prepare(self, i):
        os.makedirs(self.path('r%d' % i, 'sub'))
        ovl.write(self.path('r%d' % i, 'sub', 'old'), b'old')
        ovl.write(self.path('r%d' % i, 'old'), b'old')

    def step(self, i):
        os.unlink(self.path('r%d' % i, 'sub', 'old'))
        os.rmdir(self.path('r%d' % i, 'sub'))
        os.unlink(self.path('r%d' % i, 'old'))
        os.rmdir(self.path('r%d' % i))
        os.mkdir(self.path('r%d' % i))
        os.mkdir(self.path('r%d' % i, 'sub'))
        ovl.write(self.path('r%d' % i, 'new'), b'new')

    def tree(self, i):
        out = []
        for d, dirs, files in os.walk(self.path('r%d' % i)):
            dirs.sort()
            rel = os.path.relpath(d, self.path('r%d' % i))
            out += [os.path.normpath(rel + '/' + n) for n in sorted(dirs + files)]
        return tuple(sorted(out)) if os.path.isdir(self.path('r%d' % i)) else None

    def check(self, i, done, begun):
        states = [('old', 'sub', 'sub/old'), ('old', 'sub'), ('old',), (), None, (), ('sub',),
                  ('new', 'sub')]
        got = self.tree(i)
        return got == states[-1] if done else got in states if begun else got == states[0]


class links(Program):
    def prepare(self, i):
        super().prepare(i)
        os.link(self.file(i), self.path('link%d' % i))

    def step(self, i):
        ovl.write(self.path('link%d' % i), b'appended', 'ab')
        os.link(self.file(i), self.path('third%d' % i))
        os.unlink(self.path('link%d' % i))

    def check(self, i, done, begun):
        old = body(i, 'old')
        new = old + b'appended'
        a, b, c = (self.state('d%d' % (i % 7), 'sub', i), self.state('link%d' % i),
                   self.state('third%d' % i))
        states = [(old, old, 'ENOENT'), (new, new, 'ENOENT'), (new, new, new), (new, 'ENOENT', new)]
        if (a, b, c) not in (states[-1:] if done else states if begun else states[:1]):
            return False
        names = [self.path(n) for n in ('d%d/sub/%d' % (i % 7, i), 'link%d' % i, 'third%d' % i)
                 if os.path.lexists(self.path(n))]
        return len({(os.stat(n).st_ino, os.stat(n).st_size) for n in names}) == 1


def order(seed):
    numbers = list(range(COUNT))
    random.Random(seed).shuffle(numbers)
    return numbers


def main():
    cmd, root = sys.argv[1:3]
    if cmd == 'make':
        program = globals()[sys.argv[3]](root)
        for i in range(COUNT):
            program.prepare(i)
        return
    journal, program = sys.argv[3], globals()[sys.argv[4]](root)
    if cmd == 'run':
        with open(journal, 'ab', buffering=0) as j:
            for i in order(int(sys.argv[5])):
                j.write(b'begin %d\n' % i)
                try:
                    program.step(i)
                except OSError:
                    return
                j.write(b'done %d\n' % i)
        return
    begun, done = set(), set()
    with open(journal) as f:
        for line in f:
            what, i = line.split()
            (begun if what == 'begin' else done).add(int(i))
    bad = []
    for i in range(COUNT):
        if not program.check(i, i in done, i in begun):
            bad.append(i)
            print('%d: begun %s, done %s' % (i, i in begun, i in done))
    sys.exit(1 if bad else 0)


main()
