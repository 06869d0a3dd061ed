# SPDX-License-Identifier: ISC
"""Where layers lie.

As root, the layers of a run are a file system of their own, a copy of an image with the fixture of
the workload. That makes "cold" really cold, and it is needed for fair numbers: ext4 does not use an
inode again for minutes after its deletion, and walks past all of these at each creation, so that
whoever comes after an rm -rf of 15,000 files creates its files twenty times slower.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from shell import QUIET, ROOT, Missing, is_mounted, remove, run

MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-m", "reflink=1"],
}
MOUNT = {"ext4": "loop,noinit_itable,relatime", "xfs": "loop,relatime"}


class Layers:
    """The directories of a run: lowers (topmost first) from the fixture, the rest its own."""

    def __init__(self, top, count):
        self.base = top / "fixture"  # also holds what is not a layer, such as an archive
        self.lowers = [self.base / f"lower{i}" for i in range(count)]
        self.run = top / "run"
        self.upper, self.work, self.mnt = self.run / "upper", self.run / "work", self.run / "mnt"

    def options(self):
        lowers = ":".join(map(str, self.lowers))
        return f"lowerdir={lowers},upperdir={self.upper},workdir={self.work}"


class Store:
    """Directories, the fixture of a workload being made only once."""

    def __init__(self, temp):
        self.temp = temp
        self.top = temp / "fs"
        self.top.mkdir()

    def make(self, work):
        """Make the workload's fixture."""
        if work.filesystem:
            raise Missing(f"a file system of its own, {work.filesystem}")
        self.fill(work)

    def fill(self, work):
        layers = Layers(self.top, work.layers)
        for d in layers.lowers:
            d.mkdir(parents=True)
        if work.lowers:
            work.lowers(layers.lowers, layers.base)

    def begin(self, work):
        """Fresh layers for one run."""
        layers = Layers(self.top, work.layers)
        for d in (layers.upper, layers.work, layers.mnt):
            d.mkdir(parents=True)
        return layers

    def cool(self):
        """Empty the caches as far as possible."""
        os.sync()
        if ROOT:
            with contextlib.suppress(OSError):  # a container may not
                Path("/proc/sys/vm/drop_caches").write_text("2\n", encoding="ascii")

    def end(self, layers):
        if is_mounted(layers.mnt):
            raise SystemExit(f"bench: {layers.mnt} cannot be unmounted")
        remove(layers.run)

    def destroy(self):
        """The fixture is no longer needed."""
        remove(self.top / "fixture")


class ImageStore(Store):
    """The same on a file system of its own, copied for each run from one with the fixture."""

    def __init__(self, temp):
        super().__init__(temp)
        self.template, self.image = temp / "template.img", temp / "run.img"
        self.kind = "ext4"
        self.create()
        self.umount()

    def create(self):
        if shutil.which(MAKE[self.kind][0]) is None:
            raise Missing(f"{MAKE[self.kind][0]}: no such program")
        with open(self.template, "wb") as f:
            f.truncate(16 << 30)
        run(*MAKE[self.kind], self.template)
        self.mount(self.template)

    def mount(self, image):
        run("mount", "-o", MOUNT[self.kind], image, self.top)

    def umount(self):
        if is_mounted(self.top):
            for _ in range(50):
                if subprocess.run(["umount", self.top], check=False, **QUIET).returncode == 0:
                    return
                time.sleep(0.1)
            raise SystemExit(f"bench: {self.top} cannot be unmounted")

    def make(self, work):
        self.kind = work.filesystem or "ext4"
        self.create()
        self.fill(work)
        self.umount()

    def begin(self, work):
        run("cp", "--sparse=always", self.template, self.image)
        self.mount(self.image)
        return super().begin(work)

    def cool(self):
        self.umount()
        self.mount(self.image)

    def end(self, layers):
        self.umount()
        self.image.unlink(missing_ok=True)

    def destroy(self):
        self.umount()
        self.template.unlink(missing_ok=True)


def make_store(temp):
    if ROOT:
        try:
            return ImageStore(temp)
        except (OSError, subprocess.CalledProcessError, Missing):
            shutil.rmtree(temp / "fs")
    print("bench: no file system for each run: numbers depend on what ran before", file=sys.stderr)
    return Store(temp)
