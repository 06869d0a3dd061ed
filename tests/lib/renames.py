#!/usr/bin/env python3
"""Every kind of file renamed over every other, in an overlay and in a plain tree.

renames.py make UPPER LOWER LOWER2 PLAIN FLAG   one directory for each pair, in all of them
renames.py run MOUNT PLAIN                      do it and compare the errors
"""
import itertools
import os
import sys

import ovl

# What a name can be. Each function makes it in the layers (u, l, m: upper, lower, lower 2) and
# returns what it makes in the plain tree that the layers show.


def put(path, what):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if what is None:
        os.makedirs(path, exist_ok=True)
    elif what == 'link':
        os.symlink('some/target', path)
    elif what == 'fifo':
        os.mkfifo(path)
    else:
        ovl.write(path, what.encode())


def tree(path, **files):
    put(path, None)
    for name, what in files.items():
        put('%s/%s' % (path, name.replace('__', '/')), what)


def white(path):
    d, n = os.path.split(path)
    put('%s/.wh.%s' % (d, n), '')


KINDS = {
    'none': lambda u, l, m, p: None,
    'removed': lambda u, l, m, p: (white(u), put(l, 'removed')),
    'ufile': lambda u, l, m, p: (put(u, 'u'), put(p, 'u')),
    'lfile': lambda u, l, m, p: (put(l, 'l'), put(p, 'l')),
    'bfile': lambda u, l, m, p: (put(u, 'b'), put(l, 'hidden'), put(p, 'b')),
    'file_over_dir': lambda u, l, m, p: (put(u, 'f'), tree(l, leak='leak'), put(p, 'f')),
    'llink': lambda u, l, m, p: (put(l, 'link'), put(p, 'link')),
    'lfifo': lambda u, l, m, p: (put(l, 'fifo'), put(p, 'fifo')),
    'udir': lambda u, l, m, p: (tree(u), tree(p)),
    'ldir': lambda u, l, m, p: (tree(l), tree(p)),
    'mdir': lambda u, l, m, p: (tree(u), tree(l), tree(m), tree(p)),
    'emptied': lambda u, l, m, p: (tree(u), tree(l, gone='x', sub__x='x'), white(u + '/gone'),
                                   white(u + '/sub'), tree(p)),
    'udir_full': lambda u, l, m, p: (tree(u, a='a', s__b='b'), tree(p, a='a', s__b='b')),
    'ldir_full': lambda u, l, m, p: (tree(l, a='a', s__b='b'), tree(m, c='c', s__d='d'),
                                     tree(p, a='a', s__b='b', c='c', s__d='d')),
    'mdir_full': lambda u, l, m, p: (tree(u, a='a', s__e='e'), tree(l, a='hidden', s__b='b', g='g'),
                                     white(u + '/g'), tree(m, c='c', g='g', s__d='d'),
                                     tree(p, a='a', s__e='e', s__b='b', c='c', s__d='d')),
    'opaque': lambda u, l, m, p: (tree(u, a='a'), put(u + '/.wh..wh..opq', ''),
                                  tree(l, leak='leak'), tree(p, a='a')),
    'dir_over_file': lambda u, l, m, p: (tree(u, a='a'), put(l, 'hidden'), tree(p, a='a')),
}
PAIRS = list(itertools.product(KINDS, KINDS))


def make(up, low, low2, plain, flag):
    for src, dst in PAIRS:
        for kind, name in ((src, 'src'), (dst, 'dst')):
            case = '/%s-%s-%s/' % (flag, src, dst)
            for d in (low, plain):
                os.makedirs(d + case, exist_ok=True)
            KINDS[kind](up + case + name, low + case + name, low2 + case + name,
                        plain + case + name)


def run(mnt, plain):
    bad = 0
    for case in sorted(os.listdir(plain)):
        flag = {'0': 0, 'NOREPLACE': 1, 'EXCHANGE': 2}[case.split('-')[0]]
        results = []
        for root in (mnt, plain):
            d = root + '/' + case
            results.append(ovl.attempt(ovl.renameat2, d + '/src', d + '/dst', flag))
        # Both are right where source and target are wrong in two ways.
        if results[0] != results[1] and set(results) != {'ENOTEMPTY', 'EEXIST'}:
            print('%s: %s, in a plain directory %s' % (case, *results))
            bad += 1
    return bad


if sys.argv[1] == 'make':
    make(*sys.argv[2:])
else:
    sys.exit(1 if run(*sys.argv[2:]) else 0)
