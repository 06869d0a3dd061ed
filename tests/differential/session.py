# SPDX-License-Identifier: ISC
"""One case: layers, a mount of them, a plain tree, and operations on both.

Only worker processes ever enter the mount. When one does not answer, the daemon is killed,
which ends every system call that waits for it.
"""

import bisect
import multiprocessing.connection
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time

import calls
import layers
import operations

ANSWER_SECONDS = 60
MOUNT_SECONDS = 10
END_SECONDS = 60  # a mount namespace that somebody made meanwhile has the mount, too
CREDS = {1: (1001, 1001, [1001, 3000]), 2: (1002, 1002, [3000])}


def threads(pid):
    """Where each thread of a process is."""
    found = []
    for task in os.listdir("/proc/%d/task" % pid):
        for name in ("wchan", "syscall", "stack"):
            try:
                with open("/proc/%d/task/%s/%s" % (pid, task, name)) as f:
                    found.append(f.read().strip())
            except OSError:
                pass  # only root may see a stack
    return "; ".join(found)


class Failure(Exception):
    """kind: what counts as the same failure when operations are left out."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind
        self.text = text


class Mount:
    def __init__(self, binary, top, config, count):
        self.binary = binary
        self.top = top
        self.config = config
        self.count = count
        self.mnt = top + "/M/1/2/3/4/t"
        self.log = top + "/log"
        self.daemon = None

    def options(self):
        lower = ":".join("%s/l%d" % (self.top, i) for i in range(1, self.count))
        text = "lowerdir=%s,upperdir=%s/l0,whiteout=%s" % (lower, self.top, self.config["format"])
        if self.config["workdir"]:
            text += ",workdir=%s/work" % self.top
        if not self.config["redirect"]:
            text += ",redirect_dir=off"
        if self.config["timeout"] is not None:
            text += ",timeout=%g" % self.config["timeout"]
        return text

    def mounted(self):
        with open("/proc/self/mountinfo") as f:
            return any(line.split(" ")[4] == self.mnt for line in f)

    def start(self):
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen([self.binary, "-f", "-o", self.options(), self.mnt],
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + MOUNT_SECONDS
        while not self.mounted():
            if self.daemon.poll() is not None or time.monotonic() > end:
                raise Failure("mount", "cannot mount: " + self.messages())
            time.sleep(0.002)
        os.stat(self.mnt)  # until then the kernel takes its root for uid 0's

    def messages(self):
        with open(self.log, errors="replace") as f:
            return f.read()[-4000:]

    def unmount(self, lazy=False):
        """False when it is busy."""
        if os.geteuid() == 0:
            try:
                calls.umount(self.mnt.encode(), calls.MNT_DETACH if lazy else 0)
                return True
            except OSError:
                return False
        command = ["fusermount3", "-uz" if lazy else "-u", self.mnt]
        return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0

    def stop(self):
        end = time.monotonic() + 5
        while not self.unmount():
            if time.monotonic() > end:
                raise Failure("busy", "cannot unmount: busy")
            time.sleep(0.01)
        try:
            status = self.daemon.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure("stays", "the daemon does not end after unmounting: " + threads(self.daemon.pid)) from None
        self.daemon = None
        if status != 0:
            raise Failure("exit", "the daemon ended with status %d: %s" % (status, self.messages()))

    def kill(self):
        """Never fails, and leaves nothing mounted."""
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
            self.daemon = None
        for _ in range(10):
            if not self.mounted():
                break
            self.unmount(lazy=True)


def both(cred, op, trees):
    """Do it to the plain tree and to the mount, as somebody."""
    if cred is not None:
        calls.set_fs_creds(*CREDS[cred])
    answer = [operations.perform(trees[0], op)]
    answer += answer if answer[0] == ("escape",) else [operations.perform(trees[1], op)]
    if cred is not None:
        calls.reset_fs_creds()
    return answer


class Worker:
    """A process that performs operations on the plain tree and on the mount."""

    def __init__(self, mount, plain):
        self.mount = mount
        self.conn, theirs = multiprocessing.connection.Pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.conn.close()
                self.serve(theirs, mount.mnt.encode(), plain)
            finally:
                os._exit(0)
        theirs.close()

    @staticmethod
    def serve(conn, mnt, plain):
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.umask(0o022)
        trees = (operations.Tree(plain, True), operations.Tree(mnt, False))
        while True:
            cred, op = conn.recv()
            if op is None:
                return
            start = time.clock_gettime_ns(calls.CLOCK_REALTIME_COARSE)  # as for file times
            if op == "dump":
                answer = [operations.dump(t) for t in trees]
            elif op == "close":
                answer = [t.drop_all() for t in trees]
            elif op[0] == "several":
                answer = [both(cred, o, trees) for cred, o in op[1]]
            else:
                answer = both(cred, op, trees)
            conn.send((answer, start, time.time_ns()))

    def ask(self, cred, op):
        self.conn.send((cred, op))
        return self.answer(op)

    def answer(self, op):
        if not self.conn.poll(ANSWER_SECONDS):
            raise Failure("hang:" + (op if isinstance(op, str) else op[0]), "no answer: %r\n%s\ndaemon: %s"
                          % (op, threads(self.pid), threads(self.mount.daemon.pid)))
        try:
            return self.conn.recv()
        except EOFError:
            raise Failure("worker", "the worker died at %r" % (op,)) from None

    def end(self):
        try:
            self.conn.send((None, None))
        except OSError:
            pass  # it has ended
        self.conn.close()
        end = time.monotonic() + 1
        while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                break
            time.sleep(0.001)


class Case:
    """Use: with Case(...) as case: case.run(operations)."""

    def __init__(self, binary, spec, count, config):
        self.binary = binary
        self.spec = spec
        self.count = count
        self.config = config
        self.workers = []
        self.mount = None
        self.starts, self.ends = [], []
        self.numbers = {}
        self.linked = set()  # files that have had several names
        self.top = None

    def __enter__(self):
        self.top = tempfile.mkdtemp(prefix="overlayfs-diff.", dir=self.config.get("tmp"))
        try:
            self.setup()
        except BaseException:
            self.__exit__()
            raise
        return self

    def setup(self):
        os.chmod(self.top, 0o755)
        os.umask(0o022)
        self.plain = self.top.encode() + b"/P/1/2/3/4/t"
        os.makedirs(self.top + "/M/1/2/3/4/t")
        os.makedirs(self.plain)
        os.mkdir(self.top + "/work")
        os.mkdir(self.top + "/marks")  # see operations._blocks_unknown
        os.chmod(self.top + "/marks", 0o777)
        for i in range(self.count):
            os.mkdir("%s/l%d" % (self.top, i))
            layers.write_layer(self.spec, i, b"%s/l%d" % (self.top.encode(), i))
        layers.write_merged(layers.merge(self.spec, self.count), self.plain)
        self.canary = self.top + "/canary"
        os.mkdir(self.canary)
        os.utime(self.canary, (10**9, 10**9))
        self.root_id = calls.statx(calls.AT_FDCWD, self.plain, birth=True)["id"]
        self.began = time.clock_gettime_ns(calls.CLOCK_REALTIME_COARSE)
        self.ready = time.time_ns()  # not coarse: all was made before
        self.lowers = self.snapshots()
        self.mount = Mount(self.binary, self.top, self.config, self.count)

    def __exit__(self, *_):
        if self.mount is not None:
            self.mount.kill()
        for w in self.workers:
            w.end()
        if os.geteuid() != 0:
            subprocess.run(["chmod", "-R", "u+rwx", self.top], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.top, ignore_errors=True)

    def snapshots(self):
        return [layers.snapshot(b"%s/l%d" % (self.top.encode(), i)) for i in range(1, self.count)]

    def start(self):
        self.mount.start()
        if not self.workers:
            for _ in range(self.config["workers"]):
                self.workers.append(Worker(self.mount, self.plain))

    # Running.

    def ask(self, who, cred, op):
        try:
            answer, start, end = self.workers[who].ask(cred, op)
        except Failure:
            if self.mount.daemon is not None and self.mount.daemon.poll() is not None:
                self.died()
            raise
        self.starts.append(start)
        self.ends.append(end)
        return answer

    def died(self):
        status = self.mount.daemon.poll()
        if status is not None:
            raise Failure("died:%s" % status, "the daemon died with status %s: %s"
                          % (status, self.mount.messages()))

    def step(self, who, cred, op):
        """Perform one operation; returns what the plain tree said."""
        if op[0] == "compare":
            self.compare()
        elif op[0] in ("remount", "kill"):
            self.remount(op[0] == "kill")
        elif op[0] == "parallel":
            self.parallel(op[1:])
        else:
            plain, mount = self.ask(who, cred, op)
            self.died()
            self.check_result(op, plain, mount)
            return plain
        return None

    def parallel(self, lists):
        """Each process has a list of operations, in directories of its own, at the same time."""
        lists = lists[: len(self.workers)]
        for w, ops in zip(self.workers, lists):
            w.conn.send((None, ("several", ops)))
        answers = [w.answer(("parallel", ops)) for w, ops in zip(self.workers, lists)]
        self.starts.append(min(a[1] for a in answers))
        self.ends.append(max(a[2] for a in answers))
        self.died()
        for (answer, _, _), ops in zip(answers, lists):
            for (plain, mount), (_, op) in zip(answer, ops):
                self.check_result(op, plain, mount)

    def remount(self, kill):
        if os.geteuid() != 0:  # who may mount only with an upper that is writable
            self.step(0, None, ("chmod", (None, b""), 0o755))
        if kill:
            self.mount.daemon.send_signal(signal.SIGKILL)
            self.mount.daemon.wait()
        for who in range(len(self.workers)):
            self.ask(who, None, "close")
        if kill:
            self.mount.kill()
        else:
            self.mount.stop()
        if os.geteuid() != 0:  # links, devices: as a user they cannot carry their number
            self.numbers = {k: v for k, v in self.numbers.items() if v[1]}
        self.mount.start()

    def finish(self):
        self.compare()
        self.remount(False)
        self.compare()
        for who in range(len(self.workers)):
            self.ask(who, None, "close")
        self.mount.stop()
        self.check_left_over()
        self.check_lowers()
        text = self.mount.messages()
        if "Sanitizer" in text or "runtime error:" in text:
            raise Failure("sanitizer", text)

    # Comparing.

    def check_result(self, op, plain, mount):
        if plain[0] == "reserved":
            if mount[0] != "error" or mount[1] not in plain[1]:
                raise Failure("reserved:%s" % op[2][0], "%r: %r, not one of %r"
                              % (op[2], mount, plain[1]))
            return
        same = plain == mount
        what = ""
        if plain == ("ok", "any"):
            same = True
        elif plain[0] == "either":
            same = mount in [("ok", plain[1])] + [("error", e) for e in plain[2]]
            what = "%s/%s" % (plain[1], mount[1])
        elif plain[0] == mount[0] == "ok":
            if op[0] == "list_rest":
                always = plain[1]["always"]
                wrong = [n for n in sorted(always) if mount[1]["seen"].get(n) != 1]
                same, what = not wrong, "not once"
            elif isinstance(plain[1], dict):
                wrong = self.stat_differs(plain[1], mount[1])
                same, what = not wrong, ",".join(wrong)
            else:
                what = "value"
        elif not same:
            what = "%s/%s" % tuple(r[1] if r[0] == "error" else r[0] for r in (plain, mount))
        if not same and "%s:%s" % (op[0], what) not in self.config["tolerate"]:
            raise Failure("%s:%s" % (op[0], what), "%s\n  expected %r\n  but got  %r"
                          % (describe(op), plain, mount))

    def stat_differs(self, plain, mount):
        wrong = [k for k in plain if k not in ("mtime", "ctime", "id") and plain[k] != mount[k]]
        if stat.S_ISDIR(plain["mode"]) and "nlink" in wrong:
            # 1 says that nobody has counted; too many, e.g. hidden ones, only make find(1) look.
            if mount["nlink"] == 1 or mount["nlink"] > plain["nlink"]:
                wrong.remove("nlink")
        # The default work directory comes and goes in the upper's root.
        loose = plain["id"] == self.root_id and not self.config["workdir"]
        loose |= stat.S_ISFIFO(plain["mode"])  # written without a request
        if not loose and not self.time_agrees(plain["mtime"], mount["mtime"]):
            wrong.append("mtime")
        if not loose and not self.change_seen(plain, mount):
            wrong.append("ctime")
        if not wrong and not self.number_agrees(plain, mount):
            wrong.append("ino")
        return wrong

    def number_agrees(self, plain, mount):
        lasting = stat.S_IFMT(plain["mode"]) in (stat.S_IFREG, stat.S_IFDIR)
        known = self.numbers.setdefault(plain["id"], (mount["id"], lasting))
        return known[0] == mount["id"]

    def time_agrees(self, plain, mount):
        """Equal, or both set by the clock during the same operation."""
        if plain == mount:
            return True
        if plain < self.began or mount < self.began:
            return False
        # The operations that may have set the plain tree's time, and how long they took.
        first = bisect.bisect_left(self.ends, plain)
        last = bisect.bisect_right(self.starts, plain) - 1
        if last < 0 or first >= len(self.ends):
            return False
        return first <= last and self.starts[first] <= mount <= self.ends[last]

    def change_seen(self, plain, mount):
        """The change time may be later, by a copy-up, but not that of an earlier change."""
        if plain["nlink"] > 1 and not stat.S_ISDIR(plain["mode"]):
            self.linked.add(plain["id"])
        if mount["ctime"] >= plain["ctime"] or plain["ctime"] < self.ready:
            return True
        at = bisect.bisect_left(self.ends, plain["ctime"])
        if at == len(self.ends) or mount["ctime"] >= self.starts[at]:
            return at < len(self.ends)
        return plain["id"] in self.linked  # the removal of another name of a lower's (CAVEATS)

    def compare(self):
        plain, mount = self.ask(0, None, "dump")
        self.died()
        wrong = []
        for name in sorted(plain.keys() | mount.keys()):
            if name not in mount:
                wrong.append(("missing", name, plain[name].get("stat"), None))
            elif name not in plain:
                wrong.append(("extra", name, None, mount[name].get("stat")))
            else:
                wrong += self.entry_differs(name, plain[name], mount[name])
        wrong += self.numbers_differ(plain, mount)
        wrong = [w for w in wrong if "tree:" + w[0] not in self.config["tolerate"]]
        if wrong:
            kinds = sorted({w[0] for w in wrong})
            lines = ["%-8s %s\n  expected %r\n  but got  %r" % w for w in wrong[:8]]
            raise Failure("tree:" + ",".join(kinds), "the trees differ:\n" + "\n".join(lines))

    def entry_differs(self, name, p, m):
        wrong = []
        if isinstance(p["stat"], str) or isinstance(m["stat"], str):
            return [] if p["stat"] == m["stat"] else [("stat", name, p["stat"], m["stat"])]
        for field in self.stat_differs(p["stat"], m["stat"]):
            field = "id" if field == "ino" else field
            wrong.append((field, name, p["stat"][field], m["stat"][field]))
        for field in ("link", "content", "xattrs"):
            if p.get(field) != m.get(field):
                wrong.append((field, name, p.get(field), m.get(field)))
        if p.get("extents") is not None and p["extents"] != m.get("extents"):
            wrong.append(("extents", name, p["extents"], m.get("extents")))
        if "names" in p or "names" in m:
            a, b = p.get("names"), m.get("names")
            if not isinstance(a, str) and not isinstance(b, str):
                a, b = [sorted(n[:2] for n in names) for names in (a, b)]
            if a != b:
                wrong.append(("names", name, a, b))
        return wrong

    def numbers_differ(self, plain, mount):
        """One number for the names of one file, and no number for two."""
        wrong, owner = [], {}
        for name in sorted(plain.keys() & mount.keys()):
            p, m = plain[name].get("stat"), mount[name].get("stat")
            if isinstance(p, str) or isinstance(m, str):
                continue
            other = owner.setdefault(m["id"], (p["id"], name))
            if other[0] != p["id"]:
                wrong.append(("shared", name, other[1], m["id"]))
            names = mount[name].get("names")
            if names is None or isinstance(names, str):
                continue
            for child, _, number in names:
                path = name + b"/" + child if name else child
                if child == b".":
                    path = name
                elif child == b"..":
                    path = None if name == b"" else name.rpartition(b"/")[0]
                if path is not None and path in mount and not isinstance(mount[path]["stat"], str):
                    if mount[path]["stat"]["id"] != number:
                        wrong.append(("d_ino", name + b"/" + child, mount[path]["stat"]["id"],
                                      number))
        return wrong

    def check_left_over(self):
        work = self.top + ("/work" if self.config["workdir"] else "/l0/.wh..wh.work")
        if os.path.isdir(work):
            names = [n for n in os.listdir(work) if n != "index"]
            if names:
                raise Failure("work", "left in the work directory: %r" % names)

    def check_lowers(self):
        now = self.snapshots()
        if os.stat(self.canary).st_atime != 10**9:
            # Something that looks at the whole disk was here, and set access times itself.
            for found in self.lowers + now:
                for path, values in found.items():
                    found[path] = values[:10] + values[11:]
        for before, after in zip(self.lowers, now):
            for path in sorted(before.keys() | after.keys()):
                if before.get(path) != after.get(path):
                    raise Failure("lower", "a lower was changed: %r\n  before %r\n  after  %r"
                                  % (path, before.get(path), after.get(path)))


def describe(op):
    return "%s(%s)" % (op[0], ", ".join(show(a) for a in op[1:]))


def show(a):
    """Short and exact, but for long data."""
    if isinstance(a, tuple) and len(a) == 2 and isinstance(a[1], bytes):
        return ("" if a[0] is None else "fd%d/" % a[0]) + show(a[1])
    if isinstance(a, bytes) and b"/" in a:
        return "/".join(show(x)[2:-1] if not x[40:] else show(x) for x in a.split(b"/"))
    if isinstance(a, bytes) and len(a) > 40 and len(set(a)) == 1:
        return "%r*%d" % (a[:1], len(a))
    if isinstance(a, bytes) and len(a) > 40:
        return "%r..%d" % (a[:20], len(a))
    return repr(a)
