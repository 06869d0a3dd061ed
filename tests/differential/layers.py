# SPDX-License-Identifier: ISC
"""Random layers, and what they must look like when merged.

A specification is a list of entries, each a dict:

    layer   0 is the upper, 1 the topmost lower, and so on
    path    tuple of names below the layer's root; () is the root itself
    kind    f d l p s c b; w: a whiteout, w-form in "form"; j: what must be ignored
    node    entries of one layer with the same number are names of one file
    ...     content, size, mode, uid, gid, mtime, xattrs, target, rdev, opaque, xwh, redirect, space

It can be written to disk as layers, or merged and written as a plain tree. The merging
knows nothing of the program under test. An entry whose parent is missing is left out, so
a failure can be reduced by dropping entries.
"""

import os
import random
import struct

COMMON = [b"a", b"b", b"c", b"d", b"e", b"f"]
ODD = [
    b"\x01",
    b"*",
    b"%s%n",
    b"~",
    b"#0",
    b"\x7f\x80\xbf",
    b"n" * 255,
    b"m" * 252,
    b"k" * 251,
    b"\xff\xfe\x01",
    b"new\nline",
    b" ",
    b"-rf",
    b"...",
    b".wh",
    b".w",
    b"x.wh.y",
    b"caf\xc3\xa9",
    b"back\\slash",
    b"q'uo\"te",
    b".fuse_hidden",
    b"a:b,c=d",
]
DIR_MODES = [0o755] * 6 + [0o700, 0o555, 0o2775, 0o1777, 0o775, 0o750, 0o711]
FILE_MODES = [0o644] * 6 + [0o600, 0o444, 0o755, 0o640, 0o666, 0o4755, 0o2755, 0o6711]
UNREADABLE = [0, 0o200, 0o111]
UIDS = [0, 0, 0, 1001, 1002]
GIDS = [0, 0, 0, 1001, 1002, 3000]
PREFIXES = (
    "user.overlay.",
    "user.overlayfs.",
    "user.fuseoverlayfs.",
    "trusted.overlay.",
    "trusted.overlayfs.",
)


def acl(entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


def random_acl(rng):
    bits = rng.choice([4, 5, 6, 7])
    none = 0xFFFFFFFF
    return acl(
        [
            (1, 7, none),
            (2, bits, rng.choice([1001, 1002])),
            (4, rng.choice([0, 4, 5]), none),
            (16, rng.choice([4, 5, 7]), none),
            (32, rng.choice([0, 4, 5]), none),
        ]
    )


def random_content(rng):
    """A list of (offset, bytes), and the size."""
    form = rng.random()
    if form < 0.15:
        return [], 0
    if form < 0.6:
        data = bytes(rng.choices(b"abcdefghijklmnop\n", k=rng.randint(1, 60)))
        return [(0, data)], len(data)
    if form < 0.8:
        size = rng.choice([4095, 4096, 4097, 10000, 70000])
        return [(0, rng.randbytes(16) * (size // 16) + b"z" * (size % 16))], size
    parts = [(rng.randrange(0, 256) * 4096, rng.randbytes(rng.choice([1, 4096])))
             for _ in range(rng.randint(0, 3))]
    end = max([o + len(d) for o, d in parts], default=0)
    return parts, max(end, rng.choice([0, 8192, 1 << 20, (1 << 20) + 5]))


def random_xattrs(rng, root, isdir):
    x = {}
    if rng.random() < 0.25:
        x["user.one"] = rng.randbytes(rng.choice([0, 3, 40]))
    if rng.random() < 0.05:
        x["user.overlay.mine"] = b"nested"
    if rng.random() < 0.03:
        x["user.overlay.opaque"] = b"y"
    if rng.random() < 0.03:
        x["user.overlayfs.origin"] = b"?"
    if rng.random() < 0.1:
        x["system.posix_acl_access"] = random_acl(rng)
    if isdir and rng.random() < 0.1:
        x["system.posix_acl_default"] = random_acl(rng)
    if root and rng.random() < 0.05:
        x["trusted.one"] = b"t"
    if root and rng.random() < 0.02:
        x["trusted.overlay.redirect"] = b"/a"
    if root and not isdir and rng.random() < 0.04:
        x["security.capability"] = struct.pack("<IIIII", 0x02000001, 0x400, 0, 0, 0)
    return x


class _Maker:
    def __init__(self, rng, root):
        self.rng = rng
        self.root = root
        self.entries = []
        self.nodes = 0

    def name(self):
        return self.rng.choice(COMMON if self.rng.random() < 0.75 else ODD)

    def meta(self, kind):
        rng, root = self.rng, self.root
        modes = DIR_MODES if kind == "d" else FILE_MODES
        if root and rng.random() < 0.04:
            modes = UNREADABLE
        self.nodes += 1
        return {
            "node": self.nodes,
            "mode": rng.choice(modes),
            "uid": rng.choice(UIDS) if root else os.geteuid(),
            "gid": rng.choice(GIDS) if root else os.getegid(),
            "mtime": rng.randrange(10**9, 16 * 10**8) * 10**9 + rng.randrange(10**9),
        }

    def add(self, layer, path, kind, **more):
        self.entries.append({"layer": layer, "path": path, "kind": kind, **more})

    def directory(self, layer, path):
        rng = self.rng
        e = self.meta("d")
        e["xattrs"] = random_xattrs(rng, self.root, True) if path else {}
        if not path:
            e.update(mode=0o755, uid=UIDS[0] if self.root else e["uid"])
        spaces = ["user", "trusted"] if self.root else ["user"]
        e["xwh"] = rng.choice(spaces) if rng.random() < 0.3 else None
        e["opaque"] = []
        if rng.random() < (0.15 if path else 0.02):
            forms = ["wh", "user.fuseoverlayfs.opaque"] + [
                s + ".overlay.opaque" for s in spaces if s != e["xwh"]
            ]
            e["opaque"] = rng.sample(forms, rng.choice([1, 1, 1, 2]))
        self.add(layer, path, "d", **e)
        used = set()
        for _ in range(rng.randint(0, 7) if path else rng.randint(3, 9)):
            self.child(layer, path, e, used)
        if rng.random() < 0.05:
            self.add(layer, path + (b".wh..wh.plnk",), "j", form="dir")
        if rng.random() < 0.03:
            self.add(layer, path + (b".wh..wh.orph",), "j", form="file")

    def child(self, layer, path, parent, used):
        rng = self.rng
        name = self.name()
        roll = rng.random()
        if name in used:
            return
        used.add(name)
        where = path + (name,)
        if roll < 0.15:
            forms = ["chardev"]
            if len(name) <= 251:
                forms += ["wh", "wh"]
            if parent["xwh"]:
                forms += [parent["xwh"]] * 3
            form = rng.choice(forms)
            self.add(layer, where, "w", form=form)
            if form != "wh" or rng.random() < 0.6:
                return  # else an entry stands beside its whiteout
            roll = rng.uniform(0.15, 1)
        if roll < 0.42 and len(path) < 4:
            self.directory(layer, where)
            return
        if roll < 0.75:
            kind = "f"
        elif roll < 0.88:
            kind = "l"
        else:
            kind = rng.choice("pppsscb" if self.root else "ppps")
        e = self.meta(kind)
        e["xattrs"] = {}
        if kind == "f":
            e["content"], e["size"] = random_content(rng)
            e["xattrs"] = random_xattrs(rng, self.root, False)
            if rng.random() < 0.03 and layer > 0:
                # No whiteout: not empty, or not in such a directory. In the upper it becomes one when
                # it is truncated or when its directory gets such a whiteout, as in the kernel's.
                if e["size"] > 0 or not parent["xwh"]:
                    e["decoy"] = True
        elif kind == "l":
            e["target"] = random_target(rng)
        elif kind in "cb":
            e["rdev"] = rng.choice([(1, 3), (1, 5)]) if kind == "c" else (240, 99)
        if kind in "ps":
            e["mode"] &= 0o777
        self.add(layer, where, kind, **e)

    def moved(self, layer, count):
        """What a rename of a lower directory leaves: a whiteout, and a redirect at another place."""
        rng = self.rng
        trees = [_tree(self.entries, i) for i in range(count)]
        top, below = trees[layer], [t for t in trees[layer + 1 :] if t]
        if top is None or not below:
            return
        found, todo = [], [((), _cut(below))]
        while todo:
            path, dirs = todo.pop()
            for name in sorted({n for d in dirs for n in d.children}):
                parts = _parts(trees, dirs, name)
                if isinstance(parts, list) and parts:
                    found.append(path + (name,))
                    todo.append((path + (name,), parts))
        old = rng.choice(found) if found else ()
        here, missing = top, None
        for i, name in enumerate(old):
            if here.entry["opaque"] or here.entry.get("redirect") or name in here.whiteouts:
                return
            here = here.children.get(name)
            if here is None:
                missing = i
                break
            if not isinstance(here, _Dir) or i == len(old) - 1:
                return
        if missing is None:
            return
        plain = {"xattrs": {}, "opaque": [], "xwh": None}
        for i in range(missing + 1, len(old)):
            self.add(layer, old[:i], "d", **{**self.meta("d"), **plain})
        self.add(layer, old, "w", form="chardev" if len(old[-1]) > 251 else rng.choice(["wh", "chardev"]))
        tree = _tree(self.entries, layer)
        dirs = [e["path"] for e in self.entries if e["layer"] == layer and e["kind"] == "d"]
        into = rng.choice(dirs)
        for name in into:
            tree = tree.children[name]
        free = [n for n in COMMON + [b"moved"] if n not in tree.children and n not in tree.whiteouts]
        if not free:
            return
        name = rng.choice(free)
        redirect = b"/" + b"/".join(old)
        if into == old[:-1] and rng.random() < 0.7:
            redirect = old[-1]
        space = rng.choice(["user", "trusted"]) if self.root else "user"
        e = {**self.meta("d"), **plain, "redirect": redirect, "space": space}
        self.add(layer, into + (name,), "d", **e)
        parent = next(x for x in self.entries if x["kind"] == "d" and (x["layer"], x["path"]) == (layer, into))
        parent["impure"] = space  # the kernel says so of a directory that got one
        used = set()
        for _ in range(rng.randint(0, 3)):
            self.child(layer, into + (name,), e, used)

    def links(self, layer):
        files = [e for e in self.entries if e["layer"] == layer and e["kind"] in "flpsc"
                 and not e.get("decoy")]
        dirs = [e for e in self.entries if e["layer"] == layer and e["kind"] == "d"]
        for i in range(self.rng.choice([0, 0, 1, 2, 3, 5]) if files else 0):
            old = self.rng.choice(files)
            where = self.rng.choice(dirs)["path"] + (b"hl%d%d" % (layer, i),)
            self.entries.append({**old, "path": where})


def random_target(rng):
    """Never so many steps up that operations could leave the directory around the tree."""
    if rng.random() < 0.1:
        return rng.choice([b"nowhere", b"../../x", b"t" * 300, b".", b".."])
    up = rng.choice([0, 0, 1, 2])
    return b"/".join([b".."] * up + rng.choices(COMMON, k=rng.randint(1, 3)))


def random_layers(rng, root):
    """(specification, number of layers): links whose other names are hidden are not kept."""
    maker = _Maker(rng, root)
    count = rng.choice([2, 2, 3, 3, 4, 5, 6])
    for layer in range(count):
        if layer == 0 and rng.random() < 0.3:  # an upper that is empty at first
            maker.add(0, (), "d", **{**maker.meta("d"), "mode": 0o755, "xattrs": {},
                                     "opaque": [], "xwh": None})
            continue
        maker.directory(layer, ())
    for layer in range(count - 2, -1, -1):
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            maker.moved(layer, count)
    for layer in range(count):
        maker.links(layer)
    entries = maker.entries
    while True:
        seen = _visible(merge(entries, count))
        bad = {(e["layer"], e["node"]) for e in entries
               if e["kind"] not in "dwj" and id(e) not in seen}
        keep, names = [], set()
        for e in entries:
            key = (e["layer"], e.get("node"))
            if e["kind"] in "dwj" or key not in bad or key not in names:
                keep.append(e)
            names.add(key)
        if len(keep) == len(entries):
            return entries, count
        entries = keep


# Merging.


class _Dir:
    def __init__(self, entry):
        self.entry = entry
        self.children = {}
        self.whiteouts = set()


def _tree(entries, layer):
    """One layer as nested _Dir; None when it has no root."""
    dirs = {}
    for e in sorted((e for e in entries if e["layer"] == layer), key=lambda e: len(e["path"])):
        path = e["path"]
        parent = dirs.get(path[:-1]) if path else None
        if e["kind"] == "d":
            if path and parent is None:
                continue
            dirs[path] = _Dir(e)
            if parent is not None:
                parent.children[path[-1]] = dirs[path]
        elif parent is None:
            continue
        elif e["kind"] == "w":
            parent.whiteouts.add(path[-1])
        elif e["kind"] != "j":
            parent.children[path[-1]] = e
    return dirs.get(())


def _cut(dirs):
    """Without what lies below the first opaque one."""
    for i, d in enumerate(dirs):
        if d.entry["opaque"]:
            return dirs[: i + 1]
    return dirs


def _parts(trees, dirs, name):
    """What name leads to below these contributions: the entry of a file, or directories, or []."""
    found = []
    for d in dirs:
        child = d.children.get(name)
        redirect = None
        if isinstance(child, _Dir):
            found.append(child)
            redirect = child.entry.get("redirect")
            if child.entry["opaque"]:
                break
            if redirect is not None and redirect.startswith(b"/"):
                found += _resolve(trees[child.entry["layer"] + 1 :], redirect[1:].split(b"/"), trees)
                break
        elif child is not None:
            return found or child
        if redirect is not None:
            name = redirect  # a whiteout of the old name hides something else
        elif name in d.whiteouts:
            break
    return _cut(found)


def _resolve(stack, names, trees):
    """The contributions of some layers to a path."""
    dirs = _cut([t for t in stack if t])
    for name in names:
        dirs = _parts(trees, dirs, name)
        if not isinstance(dirs, list):
            return []
    return dirs


def _merge_dirs(trees, dirs):
    """dirs: the contributions, top first. Returns (entry, {name: entry or such a pair})."""
    merged = {}
    for name in sorted({name for d in dirs for name in d.children}):
        found = _parts(trees, dirs, name)
        if isinstance(found, dict):
            merged[name] = found
        elif found:
            merged[name] = _merge_dirs(trees, found)
    return dirs[0].entry, merged


def merge(entries, count):
    trees = [_tree(entries, i) for i in range(count)]
    return _merge_dirs(trees, _cut([t for t in trees if t]))


def _visible(merged):
    seen = set()
    for child in merged[1].values():
        if isinstance(child, tuple):
            seen |= _visible(child)
        else:
            seen.add(id(child))
    return seen


# Writing.


def _escaped(name):
    for p in PREFIXES:
        if name.startswith(p):
            return p + "overlay." + name[len(p) :]
    return name


def _finish(path, e, on_disk, extra=None):
    """Owner, mode, attributes, times: in the order in which none undoes another."""
    islink = e["kind"] == "l"
    os.chown(path, e["uid"], e["gid"], follow_symlinks=False)
    if not islink:
        os.chmod(path, e["mode"] | 0o700 if e["kind"] == "d" else e["mode"] | 0o600)
        for name, value in e["xattrs"].items():
            os.setxattr(path, _escaped(name) if on_disk else name, value)
        for name, value in (extra or {}).items():
            os.setxattr(path, name, value)
        if not e["xattrs"].get("system.posix_acl_access"):
            os.chmod(path, e["mode"])
    os.utime(path, ns=(10**18, e["mtime"]), follow_symlinks=False)


def _make(path, e, nodes, on_disk):
    key = (e["layer"], e["node"])
    if key in nodes:
        os.link(nodes[key], path, follow_symlinks=False)
        return
    nodes[key] = path
    kind = e["kind"]
    if kind == "f":
        with open(path, "xb") as f:
            for offset, data in e["content"]:
                f.seek(offset)
                f.write(data)
            f.truncate(e["size"])
    elif kind == "l":
        os.symlink(e["target"], path)
    else:
        types = {"p": 0o010000, "s": 0o140000, "c": 0o020000, "b": 0o060000}
        os.mknod(path, types[kind] | 0o600, os.makedev(*e.get("rdev", (0, 0))))
    extra = {"user.overlay.whiteout": b"y"} if on_disk and e.get("decoy") else None
    _finish(path, e, on_disk, extra)


def write_merged(merged, path, nodes=None):
    entry, children = merged
    nodes = {} if nodes is None else nodes
    os.makedirs(path, exist_ok=True)
    for name, child in children.items():
        where = path + b"/" + name
        if isinstance(child, tuple):
            write_merged(child, where, nodes)
        else:
            _make(where, child, nodes, False)
    _finish(path, entry, False)


def _make_whiteout(path, form):
    parent, name = os.path.split(path)
    if form == "chardev":
        os.mknod(path, 0o020000, 0)
    elif form == "wh":
        os.close(os.open(parent + b"/.wh." + name, os.O_CREAT | os.O_EXCL, 0o644))
    else:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o644))
        os.setxattr(path, form + ".overlay.whiteout", b"y")


def write_layer(entries, layer, root):
    """Write one layer into the directory root; directories get their attributes last."""
    dirs, nodes = [], {}
    for e in sorted((e for e in entries if e["layer"] == layer), key=lambda e: len(e["path"])):
        path = root + b"".join(b"/" + name for name in e["path"])
        if e["path"] and not os.path.isdir(os.path.dirname(path)):
            continue
        if e["kind"] == "d":
            os.makedirs(path, exist_ok=True)
            dirs.append((path, e))
        elif e["kind"] == "w":
            _make_whiteout(path, e["form"])
        elif e["kind"] == "j":
            (os.mkdir if e["form"] == "dir" else os.mknod)(path)
        else:
            _make(path, e, nodes, True)
    for path, e in reversed(dirs):
        extra = {}
        if e.get("impure"):
            extra[e["impure"] + ".overlay.impure"] = b"y"
        if e.get("redirect"):
            extra[e["space"] + ".overlay.redirect"] = e["redirect"]
        if e["xwh"]:
            extra[e["xwh"] + ".overlay.opaque"] = b"x"
        for form in e["opaque"]:
            if form == "wh":
                os.mknod(path + b"/.wh..wh..opq")
            else:
                extra[form] = b"y"
        _finish(path, e, True, extra)


def snapshot(root):
    """All that must not change in a lower, read without changing it."""
    found = {}

    def visit(path):
        st = os.lstat(path)
        kind = st.st_mode & 0o170000
        atime = st.st_atime_ns if kind != 0o120000 else 0
        data = None
        if kind == 0o120000:
            data = os.readlink(path)
        elif kind in (0o040000, 0o100000):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
            except PermissionError:
                fd = -1
            if fd != -1:
                with os.fdopen(fd, "rb", closefd=True) if kind == 0o100000 else _Fd(fd) as f:
                    data = f.read() if kind == 0o100000 else sorted(os.listdir(fd))
        xattrs = {n: os.getxattr(path, n, follow_symlinks=False)
                  for n in os.listxattr(path, follow_symlinks=False)}
        found[path] = (st.st_ino, st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_size,
                       st.st_rdev, st.st_mtime_ns, st.st_ctime_ns, st.st_blocks, atime,
                       data, xattrs)
        if kind == 0o040000:
            for name in data or []:
                visit(path + b"/" + os.fsencode(name))

    visit(root)
    return found


class _Fd:
    def __init__(self, fd):
        self.fd = fd

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)
