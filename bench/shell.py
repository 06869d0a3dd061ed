# SPDX-License-Identifier: ISC
"""Commands, and processes that work side by side."""

import os
import shutil
import subprocess

ROOT = os.geteuid() == 0
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}


class Failed(Exception):
    """One run cannot be counted; the text says why."""


class Missing(Exception):
    """A workload cannot be measured here; the text says what it needs."""


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            raise Missing(f"{program}: no such program")


def need_root():
    if not ROOT:
        raise Missing("only root can do it")


def run(*command, **kw):
    """The output of a command that must succeed."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, **kw).stdout


def remove(path):
    subprocess.run(["rm", "-rf", "--one-file-system", path], check=False)


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return any(line.split()[4] == str(path) for line in f)


def parallel(function, items):
    """Call function(item), which returns a number, in a process for each item; their sum."""
    children = []
    for item in items:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.write(write, str(function(item)).encode("ascii"))
                status = 0
            finally:
                os._exit(status)  # nothing of the parent is to be cleaned up here
        os.close(write)
        children.append((pid, read))
    total, failed = 0, False
    for pid, read in children:
        with open(read, "rb") as f:
            text = f.read()
        failed |= os.waitpid(pid, 0)[1] != 0
        total += int(text or b"0")
    if failed:
        raise Failed("one of the processes that work side by side has failed")
    return total
