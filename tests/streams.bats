# Directory streams of large directories, and while others change them: what is there for the whole
# listing appears exactly once, nothing twice, and positions stay what they are.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

# All but each thousandth.
hundred_thousand() {
	py "$MNT" <<-'END'
		import os, random, sys
		from ovl import *
		mnt = sys.argv[1]
		want = {'e%06d' % i for i in range(100000) if i % 1000}
		d = Dir(mnt)
		seen, places = [], []
		while True:
		    place = d.tell()
		    e = d.read()
		    if not e:
		        break
		    seen.append(e[0])
		    if len(seen) % 500 == 0:
		        places.append((place, e))
		equal(len(set(seen)), len(seen), 'names, without those that appear twice')
		equal(set(seen) - {'.', '..'} == want, True, '%d names' % len(seen))
		random.seed(1)
		random.shuffle(places)
		for place, e in places:
		    d.seek(place)
		    equal(d.read(), e)
		    equal(os.lstat(mnt + '/' + e[0]).st_ino if e[0][0] == 'e' else e[1], e[1])
		d.rewind()
		equal(sum(1 for _ in d), len(seen))
		d.close()
	END
}

make_entries() {
	py "$@" <<-'END'
		import os, sys
		root, first, last, step = sys.argv[1], *map(int, sys.argv[2:])
		os.chdir(root)
		for i in range(first, last, step):
		    os.mknod('e%06d' % i)
	END
}

@test "a hundred thousand entries of a lower" {
	make_entries "$LOW" 0 100000 1
	overlay_mount
	(cd "$MNT" && rm e???000)
	hundred_thousand
}

@test "a hundred thousand entries of both layers" {
	make_entries "$LOW" 0 60000 1
	make_entries "$UP" 40000 100000 1
	overlay_mount -o whiteout=xattr
	(cd "$MNT" && rm e???000)
	hundred_thousand
}

# The beginning of the programs below: what others do meanwhile, what must hold for those that stay.
stream_program() {
	cat - <<-'END'
		import ctypes, multiprocessing, os, platform, random, sys
		from collections import Counter
		from ovl import *

		STAY = ['stay%04d-%s' % (i, 'x' * (i % 60)) for i in range(1500)]

		def make(low, up):
		    for i, name in enumerate(STAY):
		        os.close(os.open('%s/%s' % ((low, up)[i % 2], name), os.O_CREAT | os.O_WRONLY))
		    for i in range(500):
		        os.mknod('%s/move%04d' % ((low, up)[i % 2], i))

		def others(mnt, stop, seed):
		    """Create, remove and rename, and change what stays."""
		    r = random.Random(seed)
		    names = ['move%04d' % i for i in range(seed, 500, 2)]
		    count = 0
		    while not stop.is_set():
		        count += 1
		        i = r.randrange(len(names))
		        new = 'new%d-%d-%s' % (seed, count, 'y' * r.randrange(40))
		        os.rename(mnt + '/' + names[i], mnt + '/' + new)
		        names[i] = new
		        write('%s/brief%d' % (mnt, seed), b'x')
		        os.mkdir('%s/dir%d' % (mnt, seed))
		        os.unlink('%s/brief%d' % (mnt, seed))
		        os.rmdir('%s/dir%d' % (mnt, seed))
		        os.chmod(mnt + '/' + r.choice(STAY), 0o600) # a lower one is copied up

		class Others:
		    def __init__(self, mnt):
		        self.stop = multiprocessing.Event()
		        self.all = [multiprocessing.Process(target=others, args=(mnt, self.stop, s)) for s in (0, 1)]

		    def __enter__(self):
		        for p in self.all:
		            p.start()

		    def __exit__(self, *_):
		        self.stop.set()
		        for p in self.all:
		            p.join()
		            if p.exitcode and not _[0]:
		                sys.exit('another process failed')

		def complete(names, what):
		    seen = Counter(names)
		    equal([n for n, c in seen.items() if c > 1], [], what + ': twice')
		    equal([n for n in STAY if n not in seen], [], what + ': missing')
		    equal([n for n in seen if n.startswith(('.fuse', '.wh'))], [], what)
	END
}

@test "a listing is complete while others create, remove, rename and copy up" {
	stream_program >"$T/program"
	cat >>"$T/program" <<-'END'
		mnt, low, up = sys.argv[1:]
		if mnt == 'make':
		    make(low, up)
		    sys.exit()
		with Others(mnt):
		    for i in range(20):
		        complete((n for n, _, _ in Dir(mnt)), 'listing %d' % i)
		    d = Dir(mnt)
		    for i in range(20): # one stream, from its beginning again
		        complete((n for n, _, _ in d), 'rewound %d' % i)
		        d.rewind()
		    for i in range(10): # with attributes
		        entries = list(os.scandir(mnt))
		        complete((e.name for e in entries), 'scandir %d' % i)
		        for e in entries:
		            if e.name.startswith('stay'):
		                equal(e.inode(), e.stat().st_ino, e.name)
	END
	for format in wh xattr; do
		py make "$LOW" "$UP" <"$T/program"
		overlay_mount -o "whiteout=$format"
		py "$MNT" "$LOW" "$UP" <"$T/program"
		overlay_umount
		lower_may_change "$LOW"
		rm -rf "$UP" "$LOW"
		mkdir "$UP" "$LOW"
	done
}

@test "a position leads to the same entry while others create, remove, rename and copy up" {
	stream_program >"$T/program"
	cat >>"$T/program" <<-'END'
		mnt, low, up = sys.argv[1:]
		if mnt == 'make':
		    make(low, up)
		    sys.exit()
		def next_that_stays(d):
		    while e := d.read():
		        if e[0].startswith('stay'):
		            return e[0]
		    return None
		with Others(mnt):
		    d = Dir(mnt)
		    places = []
		    while True:
		        place = d.tell()
		        name = next_that_stays(d)
		        places.append((place, name))
		        if name is None:
		            break
		    equal(sorted(n for _, n in places[:-1]), sorted(STAY))
		    random.seed(2)
		    for place, name in random.sample(places, 400):
		        d.seek(place)
		        equal(next_that_stays(d), name)
		    # Another stream knows the same places, also one that has read nothing yet.
		    other = Dir(mnt)
		    for place, name in random.sample(places, 50):
		        other.seek(place)
		        equal(next_that_stays(other), name)
	END
	py make "$LOW" "$UP" <"$T/program"
	overlay_mount
	py "$MNT" "$LOW" "$UP" <"$T/program"
}

@test "a listing in pieces of a few entries is complete while others change the directory" {
	stream_program >"$T/program"
	cat >>"$T/program" <<-'END'
		mnt, low, up = sys.argv[1:]
		if mnt == 'make':
		    make(low, up)
		    sys.exit()
		GETDENTS64 = {'x86_64': 217, 'aarch64': 61, 'riscv64': 61}[platform.machine()]
		def pieces(path, size):
		    """Names, by system calls with a small buffer; a new descriptor goes on after each."""
		    offset, buf = 0, ctypes.create_string_buffer(size)
		    while True:
		        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
		        os.lseek(fd, offset, os.SEEK_SET)
		        n = libc.syscall(GETDENTS64, fd, buf, size)
		        os.close(fd)
		        if n == 0:
		            return
		        assert n > 0, os.strerror(ctypes.get_errno())
		        pos = 0
		        while pos < n:
		            e = dirent.from_buffer_copy(buf.raw[pos:pos + 280].ljust(280, b'\0'))
		            yield os.fsdecode(e.d_name)
		            offset = e.d_off
		            pos += e.d_reclen
		with Others(mnt):
		    complete(pieces(mnt, 300), 'pieces of 300 bytes')
		    complete(pieces(mnt, 2000), 'pieces of 2000 bytes')
	END
	py make "$LOW" "$UP" <"$T/program"
	overlay_mount
	py "$MNT" "$LOW" "$UP" <"$T/program"
}

@test "a stream goes on when its directory, or a parent, is renamed or removed" {
	mkdir -p "$LOW/p/d" "$UP/q"
	make_entries "$LOW/p/d" 0 3000 1
	make_entries "$UP/q" 0 3000 1
	overlay_mount
	py "$MNT" <<-'END'
		import os, shutil, sys
		from ovl import *
		mnt = sys.argv[1]
		want = sorted(['.', '..'] + ['e%06d' % i for i in range(3000)])
		def some(d, n):
		    return [d.read()[0] for _ in range(n)]
		d, q = Dir(mnt + '/p/d'), Dir(mnt + '/q')
		seen, qseen = some(d, 700), some(q, 700)
		os.rename(mnt + '/p', mnt + '/P')
		os.rename(mnt + '/q', mnt + '/P/q')
		seen += some(d, 700)
		qseen += some(q, 700)
		os.rename(mnt + '/P/d', mnt + '/D')
		seen += [n for n, _, _ in d]
		qseen += [n for n, _, _ in q]
		equal(sorted(seen) == want, True, 'the listing of a lower directory')
		equal(sorted(qseen) == want, True, 'the listing of an upper directory')
		write(mnt + '/D/new', b'')
		d.rewind()
		equal(sorted(n for n, _, _ in d) == sorted(want + ['new']), True, 'a name that is new')
		d.rewind()
		some(d, 10)
		shutil.rmtree(mnt + '/D')
		d.rewind()
		equal([n for n, _, _ in d if n not in ('.', '..')], [])
		d.close()
	END
}
