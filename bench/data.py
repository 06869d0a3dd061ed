# SPDX-License-Identifier: ISC
"""Workloads that move data: one file, in order and at random, buffered and mapped."""

import contextlib
import mmap
import os
import random
import sqlite3

from shell import run
from workload import n, workload

SIZE = 128  # MiB
data = workload("data")


def big(dirs, _base):
    run("dd", "if=/dev/zero", f"of={dirs[0]}/big", "bs=1M", f"count={n(SIZE)}")


def offsets(count, block):
    """The same places for everybody."""
    blocks = n(SIZE) * (1 << 20) // block
    rng = random.Random(1)
    return [rng.randrange(blocks) * block for _ in range(count)]


def write_blocks(mnt, block, count):
    piece = b"x" * block
    fd = os.open(mnt / "new", os.O_CREAT | os.O_WRONLY, 0o644)
    for _ in range(count):
        os.write(fd, piece)
    os.close(fd)
    return os.stat(mnt / "new").st_size


def read_blocks(mnt, block):
    total = 0
    fd = os.open(mnt / "big", os.O_RDONLY)
    while got := len(os.read(fd, block)):
        total += got
    os.close(fd)
    return total


def copy_up(mnt, _base=None):
    with open(mnt / "big", "r+b") as f:
        f.write(b"x")


@data("write 1 MiB blocks", "{} MiB", SIZE)
def _(mnt, _base):
    return write_blocks(mnt, 1 << 20, n(SIZE))


@data("write 4 KiB blocks", "{} blocks", 16384)
def _(mnt, _base):
    return write_blocks(mnt, 4096, n(16384))


@data("write 1 MiB at random", "{} blocks in a new file", SIZE, big, before=copy_up)
def _(mnt, _base):
    fd = os.open(mnt / "big", os.O_WRONLY)
    for at in offsets(n(SIZE), 1 << 20):
        os.pwrite(fd, b"y" * (1 << 20), at)
    os.close(fd)


@data("write 4 KiB at random", "{} blocks in a new file", 8192, big, before=copy_up)
def _(mnt, _base):
    fd = os.open(mnt / "big", os.O_WRONLY)
    for at in offsets(n(8192), 4096):
        os.pwrite(fd, b"y" * 4096, at)
    os.close(fd)


@data("read 1 MiB blocks", "{} MiB of a lower file", SIZE, big, cold=True)
def _(mnt, _base):
    return read_blocks(mnt, 1 << 20)


@data("read 4 KiB blocks", "the same {} MiB", SIZE, big, cold=True)
def _(mnt, _base):
    return read_blocks(mnt, 4096)


@data("read 1 MiB at random", "{} blocks of a lower file", SIZE, big, cold=True)
def _(mnt, _base):
    fd = os.open(mnt / "big", os.O_RDONLY)
    total = sum(len(os.pread(fd, 1 << 20, at)) for at in offsets(n(SIZE), 1 << 20))
    os.close(fd)
    return total


@data("read 4 KiB at random", "{} blocks of a lower file", 8192, big, cold=True)
def _(mnt, _base):
    fd = os.open(mnt / "big", os.O_RDONLY)
    total = sum(len(os.pread(fd, 4096, at)) for at in offsets(n(8192), 4096))
    os.close(fd)
    return total


def mapped(path, write):
    fd = os.open(path, os.O_RDWR if write else os.O_RDONLY)
    try:
        return mmap.mmap(fd, 0, prot=mmap.PROT_READ | (mmap.PROT_WRITE if write else 0))
    finally:
        os.close(fd)


def touch(mnt, places, length):
    with mapped(mnt / "big", False) as m:
        return sum(len(m[at:at + length]) for at in places)


@data("mmap read", "{} MiB of a lower file, in order", SIZE, big, cold=True)
def _(mnt, _base):
    return touch(mnt, range(0, n(SIZE) << 20, 1 << 20), 1 << 20)


@data("mmap read at random", "{} pages of a lower file", 8192, big, cold=True)
def _(mnt, _base):
    return touch(mnt, offsets(n(8192), 4096), 4096)


@data("mmap write", "{} MiB, in order, and msync", SIZE, big, before=copy_up)
def _(mnt, _base):
    with mapped(mnt / "big", True) as m:
        for at in range(0, n(SIZE) << 20, 1 << 20):
            m[at:at + (1 << 20)] = b"z" * (1 << 20)
        m.flush()


@data("mmap write at random", "{} pages, and msync", 4096, big, before=copy_up)
def _(mnt, _base):
    with mapped(mnt / "big", True) as m:
        for at in offsets(n(4096), 4096):
            m[at:at + 4096] = b"z" * 4096
        m.flush()


@data("sqlite", "{} transactions", 200)
def _(mnt, _base):
    with contextlib.closing(sqlite3.connect(mnt / "db")) as db:
        db.execute("create table t (i integer primary key, s text)")
        for i in range(n(200)):
            db.execute("insert into t values (?, ?)", (i, "x" * 100))
            db.commit()
        return db.execute("select count(*) from t").fetchone()[0]
