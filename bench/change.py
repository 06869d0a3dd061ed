# SPDX-License-Identifier: ISC
"""Workloads that change a tree: creating, removing, copy-up, renaming, unpacking."""

import os

from shell import parallel, run
from workload import files_below, make_tree, n, tree, workload

NEW, TREE = 10000, 6000
change = workload("change")


def create_files(directory, count):
    os.mkdir(directory)
    for i in range(count):
        os.close(os.open(f"{directory}/{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    return count


def create_many(mnt, _base=None):
    for d in range(4):
        create_files(f"{mnt}/{d}", n(NEW) // 4)


@change("create", "{} empty files in 4 directories", NEW)
def _(mnt, _base):
    create_many(mnt)


@change("create, 4 processes", "the same by 4 processes at once", NEW)
def _(mnt, _base):
    return parallel(lambda d: create_files(f"{mnt}/{d}", n(NEW) // 4), range(4))


@change("unlink", "of {} new files", NEW, before=create_many)
def _(mnt, _base):
    for d in range(4):
        for i in range(n(NEW) // 4):
            os.unlink(f"{mnt}/{d}/{i}")
        os.rmdir(f"{mnt}/{d}")
    return len(os.listdir(mnt))


@change("append 1 byte", "to each of {} lower files", 4000, tree(4000))
def _(mnt, _base):
    names = files_below(mnt)
    for name in names:
        fd = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"x")
        os.close(fd)
    return len(names)


def big(dirs, _base):
    run("dd", "if=/dev/urandom", f"of={dirs[0]}/big", "bs=1M", f"count={n(512)}")


def append_big(mnt, _base):
    with open(mnt / "big", "ab") as f:
        f.write(b"x")
    return os.stat(mnt / "big").st_size


change("copy-up of 512 MiB", "1 byte appended to a lower file of {} MiB", 512, big)(append_big)


def extents_shared(layers):
    """Whether the copy has the blocks of the lower file: filefrag tells."""
    os.sync()
    listing = run("filefrag", "-v", layers.upper / "big").decode()
    return "shared with the lower" if "shared" in listing else "copied"


change("copy-up with reflinks", "the same on xfs, where no data need be copied", 512, big,
       filesystem="xfs", after=extents_shared)(append_big)


@change("chmod -R", "of {} lower files", 4000, tree(4000))
def _(mnt, _base):
    run("chmod", "-R", "g+w", mnt / "tree")


@change("rm -rf of a lower tree", "{} files", TREE, tree(TREE))
def _(mnt, _base):
    run("rm", "-rf", mnt / "tree")
    return os.path.lexists(mnt / "tree")


@change("mv of a lower tree", "{} files", TREE, tree(TREE))
def _(mnt, _base):
    run("mv", mnt / "tree", mnt / "moved")
    return len(os.listdir(mnt / "moved"))


def tarball(_dirs, base):
    make_tree(base / "src", n(TREE))
    run("tar", "cf", base / "src.tar", "-C", base, "src")


@change("untar", "{} files", TREE, tarball)
def _(mnt, base):
    run("tar", "xf", base / "src.tar", "-C", mnt)


@change("cp -a", "of {} lower files within the mount", TREE, tree(TREE))
def _(mnt, _base):
    run("cp", "-a", mnt / "tree", mnt / "copy")
    return len(os.listdir(mnt / "copy"))


