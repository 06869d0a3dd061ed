# SPDX-License-Identifier: ISC
"""Workloads that look at a tree: walking, stat, reading many files, absent names."""

import os

from shell import parallel, run
from workload import make_files, make_tree, n, parts, tree, tree_names, workload

TREE = 6000
look = workload("look")


def names():
    """Of the files in the tree, known without asking the mount or the lower."""
    return ["tree/" + name for name in tree_names(n(TREE))]


def walk(mnt, _base=None):
    return run("find", mnt, "-printf", "%s %m\n").count(b"\n")


def stat_files(mnt, which):
    for name in which:
        os.lstat(f"{mnt}/{name}")
    return len(which)


def read_files(mnt, which):
    total = 0
    for name in which:
        fd = os.open(f"{mnt}/{name}", os.O_RDONLY)
        while data := os.read(fd, 1 << 17):
            total += len(data)
        os.close(fd)
    return total


def all_stat(mnt, _base=None):
    return stat_files(mnt, names())


def all_read(mnt, _base=None):
    return read_files(mnt, names())


@look("walk cold", "find -printf '%s %m' over {} files, first time", TREE, tree(TREE), cold=True)
def _(mnt, _base):
    return walk(mnt)


@look("walk warm", "the same again, 5 times", TREE, tree(TREE), before=walk)
def _(mnt, _base):
    return sum(walk(mnt) for _ in range(5))


@look("walk 4 threads", "four finds over {} files at once, first time", TREE, tree(TREE),
      cold=True)
def _(mnt, _base):
    return parallel(lambda dirs: sum(walk(d) for d in dirs),
                    parts(sorted((mnt / "tree").iterdir())))


@look("stat cold", "lstat of {} files by name, first time", TREE, tree(TREE), cold=True)
def _(mnt, _base):
    return all_stat(mnt)


@look("stat warm", "the same again, 5 times", TREE, tree(TREE), before=all_stat)
def _(mnt, _base):
    return sum(all_stat(mnt) for _ in range(5))


@look("stat 4 threads", "four processes lstat {} files, first time", TREE, tree(TREE), cold=True)
def _(mnt, _base):
    return parallel(lambda part: stat_files(mnt, part), parts(names()))


@look("read cold", "read {} files of 0.5 to 8 KiB, first time", TREE, tree(TREE), cold=True)
def _(mnt, _base):
    return all_read(mnt)


@look("read warm", "the same again", TREE, tree(TREE), before=all_read)
def _(mnt, _base):
    return all_read(mnt)


@look("read 4 threads", "four processes read {} files, first time", TREE, tree(TREE), cold=True)
def _(mnt, _base):
    return parallel(lambda part: read_files(mnt, part), parts(names()))


def few(dirs, _base):
    for directory in dirs:
        make_files(directory / "dir", 100)


def stat_absent(mnt, _base=None):
    found = 0
    for i in range(n(10000)):
        try:
            os.lstat(f"{mnt}/dir/absent{i}")
            found += 1
        except FileNotFoundError:
            pass
    return found


@look("absent names", "lstat of {} names that 3 lowers do not have", 10000, few, layers=3,
      cold=True)
def _(mnt, _base):
    return stat_absent(mnt)


@look("absent names again", "the same again", 10000, few, layers=3, before=stat_absent)
def _(mnt, _base):
    return stat_absent(mnt)


DEEP = "/".join(f"level{i:02}" for i in range(24))


def deep(dirs, _base):
    for i, directory in enumerate(dirs):
        make_files(directory / DEEP, n(1000), prefix=f"l{i}-")


@look("deep paths", "lstat of {} files at depth 24 in 3 lowers", 3000, deep, layers=3, cold=True)
def _(mnt, _base):
    for i in range(3):
        for k in range(n(1000)):
            os.lstat(f"{mnt}/{DEEP}/l{i}-{k:05}")


def wide(dirs, _base):
    make_files(dirs[0] / "wide", n(20000))


@look("ls -l of a wide directory", "{} entries, first time", 20000, wide, cold=True)
def _(mnt, _base):
    return run("ls", "-ln", mnt / "wide").count(b"\n")


@look("grep -r", "over {} files, first time", TREE, tree(TREE), cold=True)
def _(mnt, _base):
    return run("grep", "-rc", "lazy dog", mnt / "tree").count(b"\n")


@look("du", "over {} files, first time", TREE, tree(TREE), cold=True)
def _(mnt, _base):
    return run("du", "-a", "--apparent-size", mnt / "tree").count(b"\n")


def stack(dirs, _base):
    for i, directory in enumerate(dirs):
        for d in range(6):
            make_files(directory / f"all{d}", n(50), 100, f"l{i}-")
        make_tree(directory / f"own{i}", n(100))


@look("du of 20 layers", "{} files in merged and other directories, first time", 8000, stack,
      layers=20, cold=True)
def _(mnt, _base):
    return run("du", "-a", "--apparent-size", mnt).count(b"\n")


