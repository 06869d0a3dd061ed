# What programs expect of a local file system besides plain reading and writing.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

# The same Python program in the mount, on a file of the upper and on one of the lower, gets
# the files' names as arguments.
on_both() {
	head -c 20000 /dev/zero | tr '\0' a | tee "$UP/u" >"$LOW/l"
	overlay_mount
	cat >"$T/program"
	for f in u l; do
		printf '%s\n' "$f"
		py "$MNT/$f" <"$T/program"
	done
}

@test "FIFOs carry data between two processes" {
	mkfifo "$LOW/low"
	overlay_mount
	mkfifo "$MNT/new"
	for f in low new; do
		timeout 10 sh -c 'echo hello >"$1"' sh "$MNT/$f" 3>&- &
		assert_equal "$(timeout 10 cat "$MNT/$f")" hello
		wait $!
	done
	assert_equal "$(stat -c %F "$MNT/new")" fifo
}

@test "AF_UNIX sockets connect, also after a rename" {
	mkdir "$LOW/d"
	overlay_mount
	py "$MNT" <<-'END'
		import os, socket, stat, sys
		mnt = sys.argv[1]
		os.chdir(mnt) # paths of sockets are short
		s = socket.socket(socket.AF_UNIX)
		s.bind('d/sock')
		s.listen()
		assert stat.S_ISSOCK(os.stat('d/sock').st_mode)
		for path in ('d/sock', 'moved'):
		    if path == 'moved':
		        os.rename('d/sock', 'moved')
		    c = socket.socket(socket.AF_UNIX)
		    c.connect(path)
		    a, _ = s.accept()
		    a.sendall(b'hello')
		    assert c.recv(10) == b'hello'
		os.unlink('moved')
		os.chdir('/')
	END
}

@test "device nodes work as root" {
	need root
	mknod "$LOW/null" c 1 3
	overlay_mount
	mknod -m 600 "$MNT/zero" c 1 5
	assert_equal "$(head -c 5 "$MNT/zero" | tr '\0' 0)" 00000
	echo x >"$MNT/null"
	assert_equal "$(cat "$MNT/null")" ''
	mv "$MNT/null" "$MNT/d"
	overlay_remount
	assert_equal "$(stat -c '%F %t,%T' "$MNT/d" "$MNT/zero" | xargs)" \
		'character special file 1,3 character special file 1,5'
}

@test "O_APPEND writes go to the end, from many processes at once" {
	: >"$LOW/log"
	overlay_mount
	pids=()
	for i in 1 2 3 4; do
		bash -c 'for i in {1..200}; do echo "line of process $1" >>"$2"; done' bash "$i" "$MNT/log" 3>&- &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p"; done
	assert_equal "$(wc -l <"$MNT/log") $(sort "$MNT/log" | uniq -c | awk '{ print $1 }' | xargs)" '800 200 200 200 200'
	py "$MNT/log" <<-'END'
		import os, sys
		from ovl import *
		a = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
		b = os.open(sys.argv[1], os.O_WRONLY)
		os.write(a, b'1')
		os.ftruncate(b, 0)
		os.write(a, b'2')
		equal(read(sys.argv[1]), b'2')
	END
}

@test "O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW and O_PATH do what they say" {
	echo x >"$LOW/f"
	ln -s f "$LOW/l"
	mkdir "$LOW/d"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		m = sys.argv[1] + '/'
		equal(attempt(os.open, m + 'f', os.O_CREAT | os.O_EXCL | os.O_WRONLY), 'EEXIST')
		equal(attempt(os.open, m + 'l', os.O_CREAT | os.O_EXCL | os.O_WRONLY), 'EEXIST')
		equal(attempt(os.open, m + 'f', os.O_DIRECTORY), 'ENOTDIR')
		equal(attempt(os.open, m + 'l', os.O_NOFOLLOW), 'ELOOP')
		equal(attempt(os.open, m + 'd', os.O_RDWR), 'EISDIR')
		equal(attempt(os.open, m + 'd', os.O_CREAT | os.O_RDONLY), 'EISDIR')
		fd = os.open(m + 'f', os.O_PATH)
		equal(os.fstat(fd).st_size, 2)
		equal(attempt(os.read, fd, 1), 'EBADF')
		fd = os.open(m + 'l', os.O_PATH | os.O_NOFOLLOW)
		equal(os.readlink('', dir_fd=fd), 'f')
		equal(attempt(os.write, os.open(m + 'f', os.O_RDONLY), b'x'), 'EBADF')
		equal(attempt(os.read, os.open(m + 'f', os.O_WRONLY), 1), 'EBADF')
		fd = os.open(m + 'sync', os.O_CREAT | os.O_WRONLY | os.O_SYNC)
		os.write(fd, b'x')
		equal(read(m + 'sync'), b'x')
		for f in ('f', 'd', '.', 'sync'):
		    os.fsync(os.open(m + f, os.O_RDONLY))
		os.fdatasync(os.open(m + 'f', os.O_RDWR))
		syncfs(os.open(m, os.O_RDONLY))
	END
}

@test "O_TMPFILE makes a nameless file that can be given a name" {
	mkdir "$LOW/d"
	overlay_mount
	py "$MNT/d" "$T/run" <<-'END'
		import os, sys
		from ovl import *
		d, plain = sys.argv[1:]
		# Through FUSE the kernel asks for it since 6.1; a daemon may not know it.
		r = attempt(os.open, d, os.O_TMPFILE | os.O_RDWR, 0o640)
		if r != 'ok':
		    equal(r, 'EOPNOTSUPP')
		    sys.exit()
		fd = os.open(d, os.O_TMPFILE | os.O_RDWR, 0o640)
		os.write(fd, b'data')
		equal(os.fstat(fd).st_nlink, 0)
		equal(os.listdir(d), [])
		linkat_fd(fd, d + '/named')
		equal(read(d + '/named'), b'data')
		equal(os.stat(d + '/named').st_mode & 0o777, 0o640)
		equal(os.fstat(fd).st_nlink, 1)
	END
	assert_equal "$(work_leftovers)" ''
}

@test "O_DIRECT reads and writes" {
	on_both <<-'END'
		import mmap, os, sys
		from ovl import *
		path = sys.argv[1]
		r = attempt(os.open, path, os.O_RDWR | os.O_DIRECT)
		equal(r, 'ok')
		fd = os.open(path, os.O_RDWR | os.O_DIRECT)
		buf = mmap.mmap(-1, 4096)
		buf[:] = b'd' * 4096
		equal(os.pwritev(fd, [buf], 4096), 4096)
		got = mmap.mmap(-1, 4096)
		equal(os.preadv(fd, [got], 4096), 4096)
		equal(got[:], b'd' * 4096)
		equal(read(path)[4090:8200], b'a' * 6 + b'd' * 4096 + b'a' * 8)
		# Mixed with buffered access: one sees what the other wrote.
		with open(path, 'r+b') as f:
		    f.seek(4096)
		    f.write(b'e' * 4096)
		equal(os.preadv(fd, [got], 4096), 4096)
		equal(got[:], b'e' * 4096)
	END
}

@test "fallocate in all its modes does what it does on the upper's file system" {
	on_both <<-'END'
		import os, sys
		from ovl import *
		path = sys.argv[1]
		plain = os.environ['T'] + '/run/plain' + path[-1]
		write(plain, b'a' * 20000)
		for mode, off, length in ((0, 0, 40000), (KEEP_SIZE, 40000, 100000),
		                          (PUNCH_HOLE | KEEP_SIZE, 4096, 4096), (ZERO_RANGE, 100, 1000),
		                          (ZERO_RANGE | KEEP_SIZE, 39000, 5000), (COLLAPSE_RANGE, 0, 4096),
		                          (INSERT_RANGE, 4096, 8192), (PUNCH_HOLE, 0, 10), (COLLAPSE_RANGE, 1, 2),
		                          (0, 0, 0), (0, -1, 10), (0x1000, 0, 1)):
		    results = []
		    for p in (path, plain):
		        fd = os.open(p, os.O_RDWR)
		        results.append((attempt(fallocate, fd, mode, off, length), os.fstat(fd).st_size, read(p)))
		        os.close(fd)
		    what = 'mode %d at %d for %d' % (mode, off, length)
		    a, b = results
		    if a[0] == 'EOPNOTSUPP' != b[0] and mode & (COLLAPSE_RANGE | INSERT_RANGE | 0x1000):
		        # FUSE has no such request.
		        os.truncate(plain, 0)
		        write(plain, read(path))
		        continue
		    equal(a[0], b[0], what)
		    equal(a[1:], b[1:], what)
		fd = os.open(path, os.O_RDONLY)
		equal(attempt(fallocate, fd, 0, 0, 10), 'EBADF')
	END
}

@test "SEEK_DATA and SEEK_HOLE find the holes" {
	truncate -s 1M "$LOW/l" "$UP/u"
	for f in "$LOW/l" "$UP/u"; do printf data | dd of="$f" bs=64k seek=8 conv=notrunc status=none; done
	overlay_mount
	for f in l u; do
		py "$MNT/$f" <<-'END'
			import os, sys
			from ovl import *
			fd = os.open(sys.argv[1], os.O_RDONLY)
			equal(os.lseek(fd, 0, os.SEEK_HOLE), 0)
			equal(os.lseek(fd, 0, os.SEEK_DATA), 8 * 65536)
			hole = os.lseek(fd, 8 * 65536, os.SEEK_HOLE)
			assert 8 * 65536 < hole < 1 << 20, hole
			equal(attempt(os.lseek, fd, hole, os.SEEK_DATA), 'ENXIO')
			equal(attempt(os.lseek, fd, 1 << 20, os.SEEK_HOLE), 'ENXIO')
			equal(os.lseek(fd, -1, os.SEEK_END), (1 << 20) - 1)
		END
	done
}

@test "copy_file_range and sendfile copy between files of all layers" {
	on_both <<-'END'
		import os, sys
		from ovl import *
		path = sys.argv[1]
		dst = path + '.copy'
		for src in (path, dst):
		    s = os.open(src, os.O_RDONLY)
		    d = os.open(dst + '2', os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o644)
		    done = 0
		    while done < 20000:
		        n = os.copy_file_range(s, d, 20000 - done)
		        assert n > 0
		        done += n
		    equal(read(dst + '2'), b'a' * 20000)
		    os.ftruncate(d, 0)
		    os.lseek(d, 0, 0)
		    done = 0
		    while done < 20000:
		        done += os.sendfile(d, s, done, 20000 - done)
		    equal(read(dst + '2'), b'a' * 20000)
		    os.rename(dst + '2', dst)
		# Within one file, with offsets.
		fd = os.open(path, os.O_RDWR)
		os.pwrite(fd, b'XYZ', 0)
		equal(os.copy_file_range(fd, fd, 3, 0, 10000), 3)
		equal(os.pread(fd, 5, 9999), b'aXYZa')
	END
}

@test "flock and fcntl locks exclude other processes" {
	on_both <<-'END'
		import fcntl, os, subprocess, sys
		from ovl import *
		path = sys.argv[1]
		child = '''
		import fcntl, sys
		f = open(sys.argv[1], 'r+b')
		try:
		    if sys.argv[2] == 'flock':
		        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
		    else:
		        a, b = sys.argv[2].split('-')
		        fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, int(b) - int(a), int(a))
		    print('got')
		except OSError:
		    print('busy')
		'''.replace('\n\t\t', '\n')
		def other(what):
		    return subprocess.run([sys.executable, '-c', child, path, what], stdout=subprocess.PIPE,
		                          check=True).stdout.decode().strip()
		f = open(path, 'r+b')
		fcntl.flock(f, fcntl.LOCK_EX)
		equal(other('flock'), 'busy')
		equal(other('0-10'), 'got') # locks of two kinds that do not meet
		fcntl.flock(f, fcntl.LOCK_UN)
		equal(other('flock'), 'got')
		fcntl.lockf(f, fcntl.LOCK_EX, 10, 0)
		equal(other('5-15'), 'busy')
		equal(other('10-20'), 'got')
		fcntl.lockf(f, fcntl.LOCK_UN, 5, 0)
		equal(other('0-5'), 'got')
		equal(other('4-6'), 'busy')
		f.close()
		equal(other('0-10'), 'got')
		# The end of a process gives its locks back.
		f = open(path, 'r+b')
		p = subprocess.Popen([sys.executable, '-c', "import fcntl, sys; f = open(sys.argv[1], 'r+b'); "
		                      "fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()", path],
		                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
		p.stdout.readline()
		equal(attempt(fcntl.flock, f, fcntl.LOCK_EX | fcntl.LOCK_NB), 'EAGAIN')
		p.kill()
		p.wait()
		assert until(5, lambda: attempt(fcntl.flock, f, fcntl.LOCK_EX | fcntl.LOCK_NB) == 'ok')
	END
}

@test "a waiting lock is granted when the holder lets go, and can be interrupted" {
	on_both <<-'END'
		import fcntl, os, signal, subprocess, sys, time
		from ovl import *
		path = sys.argv[1]
		for kind in ('flock', 'lockf'):
		    f = open(path, 'r+b')
		    getattr(fcntl, kind)(f, fcntl.LOCK_EX)
		    p = subprocess.Popen([sys.executable, '-c', "import fcntl, sys; f = open(sys.argv[1], 'r+b'); "
		                          "print('waiting', flush=True); fcntl.%s(f, fcntl.LOCK_EX)" % kind, path],
		                         stdout=subprocess.PIPE)
		    p.stdout.readline()
		    # Another file operation meanwhile: a waiting lock must not take the daemon's threads.
		    for _ in range(20):
		        os.stat(path)
		        os.listdir(os.path.dirname(path))
		    equal(p.poll(), None)
		    getattr(fcntl, kind)(f, fcntl.LOCK_UN)
		    assert until(10, lambda: p.poll() is not None)
		    equal(p.returncode, 0)
		    getattr(fcntl, kind)(f, fcntl.LOCK_EX)
		    p = subprocess.Popen([sys.executable, '-c', "import fcntl, sys; f = open(sys.argv[1], 'r+b'); "
		                          "print('waiting', flush=True); fcntl.%s(f, fcntl.LOCK_EX)" % kind, path],
		                         stdout=subprocess.PIPE)
		    p.stdout.readline()
		    p.kill()
		    assert until(10, lambda: p.poll() is not None)
		    f.close()
	END
}

@test "inotify reports what happens through the mount" {
	mkdir "$LOW/d"
	echo x >"$LOW/d/low"
	overlay_mount
	py "$MNT/d" <<-'END'
		import os, struct, sys
		from ovl import *
		d = sys.argv[1]
		fd = libc.inotify_init1(os.O_NONBLOCK)
		assert fd >= 0
		assert libc.inotify_add_watch(fd, d.encode(), 0x3c2) >= 0 # create delete moved modify
		write(d + '/new', b'x')
		write(d + '/low', b'y')
		os.rename(d + '/new', d + '/renamed')
		os.unlink(d + '/renamed')
		os.unlink(d + '/low')
		data = os.read(fd, 65536)
		seen = []
		while data:
		    _, mask, _, n = struct.unpack('iIII', data[:16])
		    seen.append((mask, data[16:16 + n].rstrip(b'\0').decode()))
		    data = data[16 + n:]
		for want in ((0x100, 'new'), (2, 'new'), (2, 'low'), (0x40, 'new'), (0x80, 'renamed'),
		             (0x200, 'renamed'), (0x200, 'low')):
		    assert want in seen, (want, seen)
	END
}

@test "programs run from every layer, and a running one is ETXTBSY" {
	cp "$(command -v sleep)" "$LOW/low"
	cp "$(command -v sleep)" "$UP/up"
	printf '#!/bin/sh\necho script\n' >"$LOW/script"
	chmod +x "$LOW/script"
	overlay_mount
	cp "$LOW/low" "$T/run/own" && cp "$T/run/own" "$MNT/new"
	lower_may_change "$LOW" # read by this test
	assert_equal "$("$MNT/script")" script
	for f in low up new; do
		"$MNT/$f" 60 3>&- &
		pid=$!
		running() { [[ $(readlink "/proc/$pid/exe") == "$MNT/$f" ]]; }
		poll 5 running
		assert_equal "$f $(sysc open "$MNT/$f" WRONLY)" "$f ETXTBSY"
		kill "$pid"
		wait "$pid" || :
		assert_equal "$f $(sysc open "$MNT/$f" WRONLY)" "$f ok"
	done
	exec 7>>"$MNT/new"
	run -126 "$MNT/new" 0
	exec 7>&-
	run -0 "$MNT/new" 0
}

@test "a program that is replaced while it runs goes on" {
	cp "$(command -v sleep)" "$LOW/prog"
	overlay_mount
	"$MNT/prog" 60 3>&- &
	pid=$!
	running() { [[ $(readlink "/proc/$pid/exe") == "$MNT/prog" ]]; }
	poll 5 running
	cp /bin/true "$MNT/prog.new"
	mv "$MNT/prog.new" "$MNT/prog"
	"$MNT/prog"
	kill -0 "$pid"
	cmp "/proc/$pid/exe" "$(command -v sleep)"
	kill "$pid"
	wait "$pid" || :
}

@test "statfs reports the upper's file system" {
	need root
	mkdir "$T/small"
	mount -t tmpfs -o size=8M tmpfs "$T/small"
	mkdir "$T/small/up"
	UP=$T/small/up
	echo x >"$LOW/f"
	overlay_mount
	assert_equal "$(stat -f -c '%S %b %l' "$MNT")" "$(stat -f -c '%S %b %l' "$UP")"
	assert_equal "$(df --output=size "$MNT/f" | tail -1 | xargs)" 8192
	before=$(stat -f -c %f "$MNT")
	head -c 1M /dev/zero >"$MNT/big"
	assert [ "$(stat -f -c %f "$MNT")" -lt "$before" ]
}

@test "a full upper gives ENOSPC, and room again after removing" {
	need root
	mkdir "$T/small"
	mount -t tmpfs -o size=4M,nr_inodes=300 tmpfs "$T/small"
	mkdir "$T/small/up"
	UP=$T/small/up
	overlay_mount
	run -1 dd if=/dev/zero of="$MNT/big" bs=64k count=200 status=none
	assert_output --partial 'No space left'
	rm "$MNT/big"
	echo fits >"$MNT/small"
	assert_content "$MNT/small" fits
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		r = 'ok'
		for i in range(400):
		    r = attempt(os.mkdir, '%s/%d' % (sys.argv[1], i))
		    if r != 'ok':
		        break
		equal(r, 'ENOSPC')
		equal(len(os.listdir(sys.argv[1])), i + 1)
	END
	assert_equal "$(work_leftovers)" ''
	rm -r "$MNT"/[0-9]*
	mkdir "$MNT/again"
}

@test "FS_IOC_GETFLAGS is answered or not known, other requests are ENOTTY" {
	echo x >"$LOW/f"
	mkdir "$LOW/d"
	overlay_mount
	py "$MNT" "$LOW" <<-'END'
		import fcntl, os, struct, sys
		from ovl import *
		def flags(path):
		    fd = os.open(path, os.O_RDONLY)
		    try:
		        return fcntl.ioctl(fd, 0x80086601, b'\0' * 8)
		    except OSError as e:
		        return e.errno
		mnt, low = sys.argv[1:]
		for p in ('/f', '/d'):
		    equal(flags(mnt + p), flags(low + p))
		    fd = os.open(mnt + p, os.O_RDONLY)
		    equal(attempt(fcntl.ioctl, fd, 0x5401, b'\0' * 64), 'ENOTTY')
		    equal(os.isatty(fd), False)
	END
	assert_upper
}

@test "a file that may only be appended to is appended to" {
	need root
	echo one >"$UP/log"
	chattr +a "$UP/log" # or the layers' file system has no flags
	overlay_mount
	echo two >>"$MNT/log"
	assert_equal "$(xargs <"$MNT/log")" 'one two'
	run ! bash -c ': >"$0"' "$MNT/log"
	run ! bash -c 'echo x 1<>"$0"' "$MNT/log"
	chattr -a "$UP/log"
	assert_equal "$(xargs <"$UP/log")" 'one two'
}

# Those that the layers' file system has, but for what it sets by itself.
flags_of() { lsattr -d "$@" | cut -d ' ' -f 1 | tr -d -- -eI | xargs; }

@test "chattr sets flags of files and directories in all layers, the privileged ones for root only" {
	need root
	mkdir -p "$LOW/d/e" "$T/plain"
	touch "$LOW/f" "$LOW/d/f" "$T/plain/f"
	chattr +A "$T/plain/f" # or the layers' file system has no flags
	overlay_mount
	touch "$MNT/new"
	mkdir "$MNT/newdir"
	chown "$TEST_UID" "$MNT"/{new,newdir,f,d,d/e}
	as_user chattr +Ad "$MNT"/{new,newdir,f,d/e}
	assert_equal "$(flags_of "$MNT"/{new,newdir,f,d/e,d,d/f})" 'dA dA dA dA'
	assert_equal "$(flags_of "$UP"/{f,d/e})" 'dA dA'
	assert_not_exist "$UP/d/f"
	for name in new newdir f d/e; do
		run ! as_user chattr +i "$MNT/$name"
		run ! as_user chattr +a "$MNT/$name"
		chattr +i "$MNT/$name"
		run ! as_user chattr -i "$MNT/$name"
		run ! rm -r "${MNT:?}/$name"
		chattr -i "$MNT/$name"
	done
	chattr +i "$MNT/f" "$MNT/d/e"
	errors="$(sysc write "$MNT/f" WRONLY x) $(sysc mkdir "$MNT/d/e/x") $(sysc rmdir "$MNT/d/e")"
	chattr -i "$MNT/f" "$MNT/d/e"
	assert_equal "$errors" 'EPERM EPERM EPERM'
	assert_equal "$(sysc write "$MNT/f" WRONLY x) $(sysc mkdir "$MNT/d/e/x")" 'ok ok'
}

@test "chattr finds a lower file that was renamed, and none that only has its name" {
	need root
	touch "$LOW/f" "$T/run/f"
	mkdir "$LOW/d"
	chattr +A "$T/run/f" # or the layers' file system has no flags
	overlay_mount
	chattr +A "$MNT/f"
	mv "$MNT/f" "$MNT/g"
	mv "$MNT/d" "$MNT/e"
	mkdir "$MNT/d"
	touch "$MNT/f"
	chattr +d "$MNT/g" "$MNT/e"
	assert_equal "$(flags_of "$MNT/g" "$MNT/e")" 'dA d'
	assert_equal "$(flags_of "$MNT/f" "$MNT/d")" ''
}

@test "large, unaligned and vectored reads and writes keep every byte" {
	overlay_mount
	py "$MNT/f" <<-'END'
		import os, random, sys
		from ovl import *
		path = sys.argv[1]
		rnd = random.Random(7)
		want = bytearray()
		fd = os.open(path, os.O_CREAT | os.O_RDWR)
		for _ in range(150):
		    off, n = rnd.randrange(3 << 20), rnd.choice((1, 100, 4095, 4097, 131072, 1 << 20))
		    data = rnd.randbytes(n)
		    if len(want) < off + n:
		        want.extend(bytes(off + n - len(want)))
		    want[off:off + n] = data
		    if rnd.random() < .5:
		        equal(os.pwrite(fd, data, off), n)
		    else:
		        equal(os.pwritev(fd, [data[:n // 3], data[n // 3:]], off), n)
		    if rnd.random() < .1:
		        size = rnd.randrange(4 << 20)
		        os.ftruncate(fd, size)
		        del want[size:]
		        want.extend(bytes(size - len(want)))
		    a = rnd.randrange(4 << 20)
		    equal(os.pread(fd, 70000, a), bytes(want[a:a + 70000]))
		equal(read(path), bytes(want))
	END
	sum=$(md5sum <"$MNT/f")
	overlay_remount
	assert_equal "$(md5sum <"$MNT/f")" "$sum"
}

@test "files larger than four gigabytes have their size" {
	truncate -s 6G "$LOW/low"
	overlay_mount
	printf end | dd of="$MNT/low" bs=1 seek=5000000000 conv=notrunc status=none
	printf end | dd of="$MNT/new" bs=1 seek=5000000000 conv=notrunc status=none
	assert_equal "$(stat -c %s "$MNT/low" "$MNT/new" | xargs)" '6442450944 5000000003'
	assert_equal "$(dd if="$MNT/low" bs=1 skip=5000000000 count=3 status=none)" end
	assert [ "$(du -k "$UP/low" | cut -f1)" -lt 1000 ]
}

@test "times are set to the nanosecond, to now, and left alone" {
	echo x | tee "$LOW/f" >"$UP/u"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys, time
		from ovl import *
		for f in ('f', 'u'):
		    p = sys.argv[1] + '/' + f
		    os.utime(p, ns=(1_111_111_111_123_456_789, 1_222_222_222_987_654_321))
		    st = os.stat(p)
		    equal((st.st_atime_ns, st.st_mtime_ns), (1_111_111_111_123_456_789, 1_222_222_222_987_654_321))
		    os.utime(p)
		    assert abs(os.stat(p).st_mtime - time.time()) < 60
		    os.utime(p, ns=(1, 2))
		    ctime = os.stat(p).st_ctime_ns
		    time.sleep(.02)
		    os.chmod(p, 0o600)
		    assert os.stat(p).st_ctime_ns > ctime
		    equal(os.stat(p).st_mtime_ns, 2)
		    with open(p, 'ab') as f:
		        f.write(b'y')
		    assert abs(os.stat(p).st_mtime - time.time()) < 60
	END
	touch -a -d 2012-12-12 "$MNT/f"
	assert_equal "$(stat -c %X "$MNT/f")" 1355270400
}

@test "sqlite's locks, journal and mappings work" {
	overlay_mount
	py "$MNT/db" <<-'END'
		import sqlite3, sys
		for mode in ('delete', 'wal'):
		    a = sqlite3.connect(sys.argv[1], isolation_level=None)
		    assert a.execute('pragma journal_mode=' + mode).fetchone()[0] == mode
		    a.execute('create table if not exists t(x)')
		    for i in range(50):
		        a.execute('insert into t values(?)', (i,))
		    b = sqlite3.connect(sys.argv[1], timeout=0)
		    a.execute('begin immediate')
		    try:
		        b.execute('insert into t values(1)')
		        sys.exit('no lock')
		    except sqlite3.OperationalError:
		        pass
		    a.execute('rollback')
		    assert b.execute('pragma integrity_check').fetchone()[0] == 'ok'
		    a.close()
		    b.close()
	END
}
