# SPDX-License-Identifier: ISC
"""What a workload is, and the trees that most of them work on."""

import os

WORKLOADS = []
SCALE = 1.0


def set_scale(scale):
    global SCALE
    SCALE = scale


def n(count):
    """A count of the benchmark's default size, scaled to the wanted one."""
    return max(4, int(count * SCALE))


class Workload:
    """What is timed (run), on which lowers, after what.

    group, about        for the reader; {} in about is the number of operations
    ops                 how many operations one run is, at the default size
    lowers(dirs, base)  fills the lower directories, topmost first; base is for other fixtures
    before(mnt, base)   untimed, in the mount, after it is made
    after(layers)       untimed; returns a remark for the report, or None
    cold                the kernel's caches are dropped before the mount
    filesystem          the layers need one of this kind
    """

    def __init__(self, run, name, group, about, ops, lowers=None, layers=1, cold=False,
                 before=None, after=None, filesystem=None):
        self.run, self.name, self.group, self.about, self.base_ops = run, name, group, about, ops
        self.lowers, self.layers, self.cold = lowers, layers, cold
        self.before, self.after, self.filesystem = before, after, filesystem

    @property
    def ops(self):
        return n(self.base_ops) if self.base_ops > 4 else self.base_ops

    @property
    def text(self):
        return self.about.format(f"{self.ops:,}")


def workload(group):
    """A decorator for the workloads of a group: what is decorated is what is timed."""
    def maker(name, about, ops=1, lowers=None, **kw):
        def register(run):
            WORKLOADS.append(Workload(run, name, group, about, ops, lowers, **kw))
            return run
        return register
    return maker


def make_files(directory, count, size=0, prefix="f"):
    directory.mkdir(parents=True, exist_ok=True)
    data = (b"the quick brown fox jumps over the lazy dog\n" * (size // 44 + 1))[:size]
    for i in range(count):
        (directory / f"{prefix}{i:05}").write_bytes(data)


def tree_dirs(files):
    """The directories of a tree and how many files each has: a hundred at most."""
    for d in range((files + 99) // 100):
        yield d, f"d{d // 10:02}/s{d % 10}", min(100, files - d * 100)


def make_tree(directory, files):
    """Files of 0.5 to 8 KiB, a hundred per directory, ten directories per parent."""
    for d, name, count in tree_dirs(files):
        make_files(directory / name, count, 512 << (d % 5))


def tree_names(files):
    """What make_tree makes."""
    return [f"{name}/f{i:05}" for _, name, count in tree_dirs(files) for i in range(count)]


def tree(count):
    """A fixture: a tree of so many files in the one lower."""
    def lowers(dirs, _base):
        make_tree(dirs[0] / "tree", n(count))
    return lowers


def files_below(top):
    return [f"{root}/{name}" for root, _, names in os.walk(top) for name in names]


def parts(items, count=4):
    """The items, dealt out to so many processes."""
    return [items[i::count] for i in range(count)]
