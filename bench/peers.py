# SPDX-License-Identifier: ISC
"""What is compared. To add a peer, derive from Peer and put it into PEERS."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from shell import QUIET, ROOT, Failed, is_mounted

OURS = os.environ.get("OVERLAYFS", "./overlayfs")


class Peer:
    """Something that shows layers at layers.mnt."""

    name = ""
    daemon = None

    def missing(self):
        """Why this peer cannot take part, or None."""
        return None

    def fill(self, layers):
        """Untimed, before the mount and before caches are dropped."""

    def mount(self, layers):
        raise NotImplementedError

    def unmount(self, layers):
        if is_mounted(layers.mnt):
            tool = ["umount"] if ROOT else ["fusermount3", "-u"]
            for _ in range(50):  # busy for a moment after the last close
                if subprocess.run([*tool, layers.mnt], check=False, **QUIET).returncode == 0:
                    break
                time.sleep(0.1)
            else:
                subprocess.run([*tool, "-l" if ROOT else "-z", layers.mnt], check=False, **QUIET)

    def usage(self):
        """(CPU seconds, peak RSS in KiB) of the daemon so far; None without one."""
        return None


class Plain(Peer):
    """An ordinary directory with the same contents: what the disk and the tools alone cost."""

    name = "plain"

    def fill(self, layers):
        for lower in reversed(layers.lowers):
            subprocess.run(["cp", "-a", "--reflink=auto", f"{lower}/.", layers.mnt], check=True)

    def mount(self, layers):
        pass


class Kernel(Peer):
    name = "kernel"

    def missing(self):
        if not ROOT:
            return "only root can mount it"
        if "\toverlay\n" not in Path("/proc/filesystems").read_text(encoding="ascii"):
            if shutil.which("modprobe"):
                subprocess.run(["modprobe", "overlay"], check=False, **QUIET)
            if "\toverlay\n" not in Path("/proc/filesystems").read_text(encoding="ascii"):
                return "this kernel has no overlayfs"
        return None

    def mount(self, layers):
        command = ["mount", "-t", "overlay", "overlay", "-o", layers.options(), layers.mnt]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(done.stderr.strip())


class Daemon(Peer):
    """A FUSE file system, run in the foreground so that its pid is known."""

    program = ""
    extra = ()  # options of this run, such as -d

    def command(self, layers):
        return [self.program, "-f", *self.extra, "-o", layers.options(), str(layers.mnt)]

    def missing(self):
        if shutil.which(self.program) is None:
            return f"{self.program}: no such program"
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return "/dev/fuse cannot be opened"
        return None

    def mount(self, layers):
        with open(layers.run / "log", "w", encoding="utf-8") as log:
            self.daemon = subprocess.Popen(
                self.command(layers), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)  # Ctrl-C is for the bench, which then unmounts
        end = time.monotonic() + 10
        while not is_mounted(layers.mnt):
            if self.daemon.poll() is not None or time.monotonic() > end:
                text = (layers.run / "log").read_text(encoding="utf-8", errors="replace").strip()
                raise Failed("does not mount: " + (text.splitlines() or ["no message"])[-1])
            time.sleep(0.001)
        os.stat(layers.mnt)  # answered once the daemon is ready

    def unmount(self, layers):
        super().unmount(layers)
        if self.daemon is not None:
            try:
                self.daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()
                self.daemon.wait()
            self.daemon = None

    def kill(self):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGKILL)

    def status(self, name):
        """A number from /proc/PID/status."""
        text = Path(f"/proc/{self.daemon.pid}/status").read_text(encoding="utf-8")
        return int(re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE).group(1))

    def usage(self):
        if self.daemon is None or self.daemon.poll() is not None:
            raise Failed("the daemon has died")
        text = Path(f"/proc/{self.daemon.pid}/stat").read_text(encoding="ascii")
        fields = text.rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK"), self.status("VmHWM")


class Ours(Daemon):
    name = "overlayfs"
    program = OURS


class FuseOverlayfs(Daemon):
    name = "fuse-overlayfs"
    program = "fuse-overlayfs"


class Unionfs(Daemon):
    name = "unionfs-fuse"
    program = "unionfs"

    def command(self, layers):
        branches = ":".join([f"{layers.upper}=RW"] + [f"{d}=RO" for d in layers.lowers])
        return [self.program, "-f", *self.extra, "-o", "cow,allow_other" if ROOT else "cow",
                branches, str(layers.mnt)]


PEERS = [Plain, Kernel, Ours, FuseOverlayfs, Unionfs]
