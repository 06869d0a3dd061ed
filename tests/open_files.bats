# Open files: unlinked, renamed over, or changed by others while a descriptor is held.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

# Nothing but what a test says is in the mount or, outside the work directory, in the upper.
no_hidden_files() {
	assert_equal "$(find "$MNT" -name '.fuse_hidden*' -o -name '.wh*')" ''
	assert_equal "$(find "$UP" -path "$UP/.wh..wh.work" -prune -o -name '*hidden*' -print)" ''
	assert_equal "$(work_leftovers)" ''
}

# The same program for a file of the upper, of the lower, and of both.
three_kinds() {
	echo 'old content' | tee "$UP/u" "$LOW/l" "$UP/b" >/dev/null
	echo hidden >"$LOW/b"
	overlay_mount
}

@test "an unlinked open file can be read, written, truncated, changed and synced" {
	three_kinds
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		for name in 'ulb':
		    path = mnt + '/' + name
		    fd = os.open(path, os.O_RDWR)
		    ino = os.fstat(fd).st_ino
		    os.unlink(path)
		    equal(attempt(os.lstat, path), 'ENOENT')
		    equal(sorted(os.listdir(mnt)).count(name), 0)
		    st = os.fstat(fd)
		    equal((st.st_nlink, st.st_ino, st.st_size), (0, ino, 12), name)
		    equal(os.pread(fd, 100, 0), b'old content\n')
		    os.pwrite(fd, b'NEW', 0)
		    equal(os.pread(fd, 100, 0), b'NEW content\n')
		    os.ftruncate(fd, 3)
		    equal(os.fstat(fd).st_size, 3)
		    os.ftruncate(fd, 100000)
		    os.pwrite(fd, b'end', 99997)
		    equal(os.fstat(fd).st_size, 100000)
		    os.fchmod(fd, 0o600)
		    equal(os.fstat(fd).st_mode & 0o777, 0o600)
		    os.utime(fd, (1, 2))
		    equal(os.fstat(fd).st_mtime, 2)
		    os.fsync(fd)
		    os.setxattr(fd, 'user.a', b'b')
		    equal(os.getxattr(fd, 'user.a'), b'b')
		    equal(os.pread(fd, 3, 99997), b'end')
		    equal(os.fstat(fd).st_nlink, 0)
		    os.close(fd)
		equal(os.listdir(mnt), [])
	END
	no_hidden_files
	overlay_remount
	assert_names "$MNT"
}

@test "an open file that is only read is not copied up when it is unlinked" {
	head -c 3000000 /dev/zero | tr '\0' x >"$LOW/f"
	mkdir "$LOW/d"
	echo x >"$LOW/d/g"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		fd = os.open(mnt + '/f', os.O_RDONLY)
		gd = os.open(mnt + '/d/g', os.O_RDONLY)
		os.unlink(mnt + '/f')
		os.rename(mnt + '/d/g', mnt + '/d/h')
		os.unlink(mnt + '/d/h')
		st = os.fstat(fd)
		equal((st.st_nlink, st.st_size), (0, 3000000))
		equal(len(os.read(fd, 4000000)), 3000000)
		equal(os.read(gd, 10), b'x\n')
		equal(os.fstat(gd).st_nlink, 0)
		os.close(fd)
	END
	assert_equal "$(find "$UP" -type f -size +0)" "$(find "$UP/.wh..wh.work" -type f -size +0)"
	assert_equal "$(du -sk "$UP" | cut -f1 | awk '{ print ($1 < 1000) }')" 1
	no_hidden_files
}

@test "an unlinked open file is opened again through /proc/self/fd" {
	three_kinds
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		for name in 'ulb':
		    path = mnt + '/' + name
		    fd = os.open(path, os.O_RDWR)
		    os.unlink(path)
		    again = os.open('/proc/self/fd/%d' % fd, os.O_RDONLY)
		    equal(os.read(again, 100), b'old content\n')
		    os.close(again)
		    again = os.open('/proc/self/fd/%d' % fd, os.O_RDWR)
		    os.pwrite(again, b'NEW', 0)
		    equal(os.pread(fd, 3, 0), b'NEW')
		    os.close(fd)
		    equal(os.pread(again, 100, 0), b'NEW content\n')
		    equal(os.fstat(again).st_nlink, 0)
		    os.truncate('/proc/self/fd/%d' % again, 1)
		    equal(os.fstat(again).st_size, 1)
		    os.chmod('/proc/self/fd/%d' % again, 0o640)
		    equal(os.stat('/proc/self/fd/%d' % again).st_mode & 0o777, 0o640)
		    os.close(again)
	END
	no_hidden_files
}

@test "rm -rf of a directory with an open file in it works" {
	mkdir -p "$LOW/d/e" "$UP/v/w"
	echo x | tee "$LOW/d/e/f" "$LOW/d/g" >"$UP/v/w/f"
	overlay_mount
	exec 7<"$MNT/d/e/f" 8<>"$MNT/v/w/f" 9<"$MNT/d/e"
	echo y >&8
	run -0 rm -rf "$MNT/d" "$MNT/v"
	assert_output ''
	assert_names "$MNT"
	no_hidden_files_now=$(find "$MNT" "$UP" -path "$UP/.wh..wh.work" -prune -o -name '.fuse*' -print)
	assert_equal "$no_hidden_files_now" ''
	assert_equal "$(cat <&7)" x
	echo z >&8
	exec 7<&- 8>&- 9<&-
	no_hidden_files
	mkdir "$MNT/d" "$MNT/v"
	assert_names "$MNT/d"
	overlay_remount
	assert_names "$MNT" d v
	assert_names "$MNT/d"
	assert_names "$MNT/v"
}

@test "while a file is open and unlinked nothing of it shows in listings" {
	three_kinds
	py "$MNT" "$UP" <<-'END'
		import os, sys
		from ovl import *
		mnt, up = sys.argv[1:]
		fds = [os.open(mnt + '/' + n, os.O_RDWR) for n in 'ulb']
		for n in 'ulb':
		    os.unlink(mnt + '/' + n)
		equal(os.listdir(mnt), [])
		shown = [n for n in os.listdir(up) if not n.startswith('.wh.')]
		equal(shown, [])
		# The name is free for another file, with another number.
		for fd, n in zip(fds, 'ulb'):
		    write(mnt + '/' + n, b'second')
		    assert os.stat(mnt + '/' + n).st_ino != os.fstat(fd).st_ino, n
		    equal(os.pread(fd, 3, 0), b'old')
		    equal(read(mnt + '/' + n), b'second')
		    equal(os.fstat(fd).st_nlink, 0)
		    equal(os.stat(mnt + '/' + n).st_nlink, 1)
		    os.pwrite(fd, b'XXX', 0)
		    equal(read(mnt + '/' + n), b'second')
		    os.unlink(mnt + '/' + n)
		    equal(os.pread(fd, 3, 0), b'XXX')
		equal(os.listdir(mnt), [])
	END
	no_hidden_files
}

@test "a file that is renamed over stays usable through its descriptors" {
	three_kinds
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		for name in 'ulb':
		    path = mnt + '/' + name
		    rw = os.open(path, os.O_RDWR)
		    ro = os.open(path, os.O_RDONLY)
		    ino = os.fstat(rw).st_ino
		    write(path + '.new', b'replacement')
		    os.rename(path + '.new', path)
		    for fd in (rw, ro):
		        equal(os.pread(fd, 100, 0), b'old content\n', name)
		        equal((os.fstat(fd).st_nlink, os.fstat(fd).st_ino), (0, ino), name)
		    os.pwrite(rw, b'NEW', 0)
		    os.ftruncate(rw, 5)
		    equal(os.pread(ro, 100, 0), b'NEW c')
		    equal(os.fstat(ro).st_size, 5)
		    equal(read(path), b'replacement')
		    os.close(rw)
		    equal(os.pread(ro, 100, 0), b'NEW c')
		    os.close(ro)
		equal(sorted(os.listdir(mnt)), ['b', 'l', 'u'])
	END
	no_hidden_files
	overlay_remount
	assert_equal "$(cat "$MNT/u" "$MNT/l" "$MNT/b")" replacementreplacementreplacement
}

@test "an open file follows its own renames and those of its parents" {
	mkdir -p "$LOW/d/e"
	echo content >"$LOW/d/e/f"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		fd = os.open(mnt + '/d/e/f', os.O_RDWR)
		ro = os.open(mnt + '/d/e/f', os.O_RDONLY)
		d = os.open(mnt + '/d/e', os.O_RDONLY)
		os.rename(mnt + '/d', mnt + '/moved')
		os.pwrite(fd, b'CON', 0)
		equal(read(mnt + '/moved/e/f'), b'CONtent\n')
		os.rename(mnt + '/moved/e/f', mnt + '/g')
		os.fchmod(fd, 0o640)
		equal(os.stat(mnt + '/g').st_mode & 0o777, 0o640)
		os.ftruncate(fd, 3)
		equal(read(mnt + '/g'), b'CON')
		equal(os.pread(ro, 100, 0), b'CON')
		equal(os.fstat(ro).st_nlink, 1)
		equal(os.listdir(d), [])
		os.mkdir('sub', dir_fd=d)
		equal(os.listdir(mnt + '/moved/e'), ['sub'])
	END
}

@test "a descriptor opened for reading before the copy-up sees the new data" {
	echo 'old content' >"$LOW/f"
	echo 'old content' >"$LOW/g"
	overlay_mount
	exec 7<"$MNT/f" 8<"$MNT/g"
	py <<-'END' # reading once puts the old pages into the cache
		import os
		os.pread(7, 100, 0)
	END
	# Another process writes.
	echo 'new content!' >"$MNT/f"
	printf NEW | dd of="$MNT/g" conv=notrunc status=none
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		equal(os.pread(7, 100, 0), b'new content!\n')
		equal(os.fstat(7).st_size, 13)
		equal(os.pread(8, 100, 0), b'NEW content\n')
		equal(os.fstat(7).st_ino, os.stat(sys.argv[1] + '/f').st_ino)
	END
	chmod 600 "$MNT/f"
	py <<-'END'
		import os
		assert os.fstat(7).st_mode & 0o777 == 0o600
	END
	exec 7<&- 8<&-
}

@test "a shared mapping of a lower file sees what is written later" {
	head -c 8192 /dev/zero | tr '\0' a >"$LOW/f"
	overlay_mount
	py "$MNT/f" <<-'END'
		import mmap, os, sys
		from ovl import *
		path = sys.argv[1]
		fd = os.open(path, os.O_RDONLY)
		m = mmap.mmap(fd, 8192, mmap.MAP_SHARED, mmap.PROT_READ)
		equal(m[:3], b'aaa')
		w = os.open(path, os.O_RDWR)
		os.pwrite(w, b'bbb', 0)
		equal(os.pread(fd, 3, 0), b'bbb')
		assert until(5, lambda: m[:3] == b'bbb'), m[:3]
	END
}

@test "shared and private mappings write what they should" {
	head -c 10000 /dev/zero | tr '\0' a >"$LOW/l"
	cp "$LOW/l" "$UP/u"
	overlay_mount
	py "$MNT" <<-'END'
		import mmap, os, sys
		from ovl import *
		mnt = sys.argv[1]
		for n in 'lu':
		    fd = os.open(mnt + '/' + n, os.O_RDWR)
		    p = mmap.mmap(fd, 10000, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
		    p[5:8] = b'ppp'
		    s = mmap.mmap(fd, 10000, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
		    s[9000:9003] = b'sss'
		    s.flush()
		    equal(read(mnt + '/' + n), b'a' * 9000 + b'sss' + b'a' * 997)
		    os.close(fd)
		    os.unlink(mnt + '/' + n)
		    s[0:3] = b'xyz'
		    s.flush()
		    equal(s[0:3] + p[5:8], b'xyzppp')
		    s.close()
	END
	no_hidden_files
}

@test "what a mapping wrote is there after the descriptor is closed and after a remount" {
	head -c 10000 /dev/zero >"$LOW/f"
	overlay_mount
	py "$MNT/f" <<-'END'
		import mmap, os, sys
		fd = os.open(sys.argv[1], os.O_RDWR)
		s = mmap.mmap(fd, 10000)
		os.close(fd)
		s[5000:5003] = b'new'
		s.close()
	END
	assert_equal "$(tr -d '\0' <"$MNT/f")" new
	overlay_remount
	assert_equal "$(tr -d '\0' <"$MNT/f")" new
}

@test "what a mapping stores changes the times that stat shows, at the latest with msync" {
	three_kinds
	py "$MNT" <<-'END'
		import mmap, os, sys
		from ovl import *
		mnt = sys.argv[1]
		for name in 'ulb':
		    path = mnt + '/' + name
		    os.utime(path, (1, 2))
		    equal(os.stat(path).st_mtime, 2)
		    fd = os.open(path, os.O_RDWR)
		    m = mmap.mmap(fd, 12)
		    equal(os.stat(path).st_mtime, 2)
		    os.close(fd)
		    equal(os.stat(path).st_mtime, 2)
		    m[0:3] = b'NEW'
		    m.flush()
		    if os.stat(path).st_mtime < 3:
		        raise SystemExit(name + ': the old time')
		    equal(open(path).read(), 'NEW content\n')
		    m.close()
		fd = os.open(mnt + '/created', os.O_RDWR | os.O_CREAT)
		os.ftruncate(fd, 100)
		os.utime(fd, (1, 2))
		equal(os.stat(mnt + '/created').st_mtime, 2)
		m = mmap.mmap(fd, 100)
		os.close(fd)
		m[0:3] = b'NEW'
		m.flush()
		if os.stat(mnt + '/created').st_mtime < 3:
		    raise SystemExit('created: the old time')
	END
}

# Root's kernel may do the I/O of files in the upper itself, but not while one is open that was
# in a lower; what it keeps in memory the one way must not show the other way.
@test "a file shows what was written last whoever reads, writes and has it open" {
	three_kinds
	chmod 666 "$MNT"/*
	py "$MNT" "$TEST_UID" <<-'END'
		import os, random, sys
		from ovl import *
		mnt, uid = sys.argv[1], int(sys.argv[2])
		rng = random.Random(1)
		for name in 'ulb':
		    path = mnt + '/' + name
		    content, fds = b'old content\n', []
		    fds.append(os.open(path, os.O_RDONLY))
		    for i in range(300):
		        what = rng.randrange(6)
		        if os.geteuid() in (0, uid) and os.getuid() == 0:
		            os.seteuid(rng.choice((0, uid)))
		        if what == 0 and len(fds) < 6:
		            fds.append(os.open(path, rng.choice((os.O_RDONLY, os.O_RDWR))))
		        elif what == 1 and fds:
		            os.close(fds.pop(rng.randrange(len(fds))))
		        elif what == 2:
		            at, data = rng.randrange(8), b'%04d' % i
		            fd = os.open(path, rng.choice((os.O_WRONLY, os.O_RDWR)))
		            os.pwrite(fd, data, at)
		            os.close(fd)
		            content = content[:at] + data + content[at + 4:]
		        elif what == 3:
		            data = b'+%d' % (i % 10)
		            with open(path, 'ab') as f:
		                f.write(data)
		            content += data
		        elif what == 4:
		            content = content[:12]
		            os.truncate(path, 12)
		        for fd in fds:
		            equal(os.pread(fd, 2000, 0), content, 'a descriptor')
		            equal(os.fstat(fd).st_size, len(content))
		        with open(path, 'rb') as f:
		            equal(f.read(), content, 'a new one')
		    for fd in fds:
		        os.close(fd)
	END
	for f in u l b; do cmp "$MNT/$f" "$UP/$f"; done
}

@test "an unlinked file with another name lives on under that name" {
	echo x >"$UP/a"
	ln "$UP/a" "$UP/b"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		fd = os.open(mnt + '/a', os.O_RDWR)
		equal(os.fstat(fd).st_nlink, 2)
		os.unlink(mnt + '/a')
		equal(os.fstat(fd).st_nlink, 1)
		os.pwrite(fd, b'y', 0)
		equal(read(mnt + '/b'), b'y\n')
		os.unlink(mnt + '/b')
		equal(os.fstat(fd).st_nlink, 0)
		equal(os.pread(fd, 5, 0), b'y\n')
	END
	no_hidden_files
}

@test "a file that is open by a removed name and has one name left is still one file" {
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		a, b = sys.argv[1] + '/a', sys.argv[1] + '/b'
		def removed():
		    fd = os.open(a, os.O_CREAT | os.O_RDWR)
		    os.link(a, b)
		    os.unlink(a)
		    return fd
		def nameless():
		    fd = os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR)
		    linkat_fd(fd, b)
		    return fd
		for make in (removed, nameless):
		    fd = make()
		    name = os.open(b, os.O_RDWR)
		    for i in range(3):
		        equal((os.stat(b).st_size, os.fstat(fd).st_nlink), (3 * i, 1), make.__name__)
		        os.pwrite(fd, b'abc', 3 * i)
		        equal(os.pread(name, 100, 0), b'abc' * (i + 1))
		    os.pwrite(name, b'ABC', 0)
		    equal(os.pread(fd, 3, 0), b'ABC')
		    os.fchmod(fd, 0o600 + i)
		    equal(os.stat(b).st_mode & 0o777, 0o600 + i)
		    equal(os.fstat(fd).st_nlink, 1)
		    os.unlink(b)
		    equal((os.fstat(fd).st_nlink, os.fstat(name).st_nlink), (0, 0), make.__name__)
	END
	no_hidden_files
}

@test "fstat counts the names of an open lower file down to none" {
	echo x >"$LOW/a"
	ln "$LOW/a" "$LOW/b"
	ln "$LOW/a" "$LOW/c"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		fds = [os.open(sys.argv[1] + '/' + n, os.O_RDONLY) for n in 'abc']
		for left, n in ((2, 'a'), (1, 'b'), (0, 'c')):
		    os.unlink(sys.argv[1] + '/' + n)
		    equal([os.fstat(fd).st_nlink for fd in fds], [left] * 3, n)
		    equal([os.pread(fd, 9, 0) for fd in fds], [b'x\n'] * 3)
	END
	no_hidden_files
}

@test "an open directory that is removed can be closed, and shows nothing" {
	mkdir -p "$LOW/d"
	echo x >"$LOW/d/f"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		fd = os.open(mnt + '/d', os.O_RDONLY)
		equal(os.listdir(fd), ['f'])
		os.unlink(mnt + '/d/f')
		os.rmdir(mnt + '/d')
		os.mkdir(mnt + '/d')
		write(mnt + '/d/other', b'')
		assert attempt(os.lstat, 'other', dir_fd=fd) != 'ok'
		assert attempt(os.mkdir, 'x', dir_fd=fd) != 'ok'
		os.close(fd)
		equal(os.listdir(mnt + '/d'), ['other'])
	END
	no_hidden_files
}

removed_directory() {
	mkdir -m 750 "$LOW/d"
	touch -d @1000000000 "$LOW/d/f" "$LOW/d"
	mkdir -m 2750 "$LOW/over"
	overlay_mount -o "whiteout=$1"
	py <<-'EOF'
		import os
		os.chdir(os.environ['MNT'])
		def state(fd):
		    st = os.fstat(fd)
		    return oct(st.st_mode), st.st_mtime_ns, st.st_uid
		os.unlink('d/f')
		os.utime('d', ns=(0, 5))
		os.mkdir('e')
		fd, over = os.open('d', os.O_RDONLY), os.open('over', os.O_RDONLY)
		before = state(fd), state(over)
		os.rmdir('d')
		os.rename('e', 'over')
		assert (state(fd), state(over)) == before, (state(fd), state(over), before)
		for gone in fd, over: # of the upper, and of a lower only
		    os.fchmod(gone, 0o700)
		    os.setxattr(gone, 'user.late', b'x')
		    os.utime(gone, ns=(0, 7))
		    st = os.fstat(gone)
		    assert (st.st_mode & 0o7777, st.st_nlink, st.st_mtime_ns) == (0o700, 0, 7), st
		    assert os.listxattr(gone) == ['user.late']
	EOF
}
@test "an open directory that is removed keeps its mode and times and can be changed, in each format" {
	for_formats removed_directory
}

@test "what is removed while it is open has a new change time, also where only a lower has it" {
	mkdir "$LOW/d" "$LOW/over" "$LOW/moved"
	touch "$LOW/f" "$LOW/g"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys, time
		from ovl import *
		os.chdir(sys.argv[1])
		def opened(name):
		    return os.open(name, os.O_RDONLY)
		def changed(fd, before, what):
		    st = os.fstat(fd)
		    equal((st.st_nlink, st.st_ctime_ns > before), (0, True), what)
		    equal(st.st_mtime_ns <= before, True, what)
		fds = {n: opened(n) for n in ('d', 'over', 'f', 'g')}
		before = max(os.fstat(fd).st_ctime_ns for fd in fds.values())
		os.mkdir('new')
		write('h', b'')
		os.rmdir('d')
		os.rename('new', 'over')
		os.unlink('f')
		os.rename('h', 'g')
		for name, fd in fds.items():
		    changed(fd, before, name)
	END
}

@test "in a directory that was removed every name is ENOENT" {
	mkdir -p "$LOW/d"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		fd = os.open(mnt + '/d', os.O_RDONLY)
		os.rmdir(mnt + '/d')
		equal(attempt(os.mkdir, 'x', dir_fd=fd), 'ENOENT')
		equal(attempt(os.lstat, 'f', dir_fd=fd), 'ENOENT')
		equal(attempt(os.open, 'f', os.O_CREAT | os.O_WRONLY, dir_fd=fd), 'ENOENT')
		os.fstat(fd)
	END
}

@test "a hundred files are open and unlinked at once" {
	for i in {1..50}; do echo "$i" >"$LOW/l$i"; echo "$i" >"$UP/u$i"; done
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		fds = {}
		for n in os.listdir(mnt):
		    fds[n] = os.open(mnt + '/' + n, os.O_RDWR if n.startswith('u') else os.O_RDONLY)
		for n in fds:
		    os.unlink(mnt + '/' + n)
		equal(os.listdir(mnt), [])
		for n, fd in fds.items():
		    equal(os.pread(fd, 10, 0), n[1:].encode() + b'\n')
	END
	no_hidden_files
}

@test "after a crash with unlinked open files nothing of them is left" {
	echo x | tee "$LOW/l" >"$UP/u"
	overlay_mount
	EXPECT_STATUS=any
	exec 7<>"$MNT/u" 8<>"$MNT/l"
	echo y >&8
	rm "$MNT/u" "$MNT/l"
	kill -KILL "$DAEMON"
	poll 10 ended "$DAEMON"
	exec 7>&- 8>&-
	umount -l "$MNT" || fusermount3 -uz "$MNT"
	overlay_mount
	assert_names "$MNT"
	no_hidden_files
}

@test "temporary files without a name or removed at once work as programs use them" {
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys, tempfile
		mnt = sys.argv[1]
		for maker in (tempfile.TemporaryFile, tempfile.NamedTemporaryFile):
		    with maker(dir=mnt) as f:
		        f.write(b'x' * 100000)
		        f.flush()
		        f.seek(0)
		        assert len(f.read()) == 100000
		with tempfile.TemporaryDirectory(dir=mnt) as d:
		    for i in range(20):
		        open('%s/%d' % (d, i), 'w').write('x')
		assert os.listdir(mnt) == []
	END
	no_hidden_files
}

@test "a FIFO and a link that are open when they are removed stay what they are" {
	mkfifo "$LOW/fifo" "$UP/upper"
	ln -s target "$LOW/link"
	overlay_mount
	py "$MNT" <<-'END'
		import os, stat, sys
		from ovl import *
		mnt = sys.argv[1]
		for name in ('fifo', 'upper'):
		    fd = os.open(mnt + '/' + name, os.O_RDWR)
		    os.unlink(mnt + '/' + name)
		    st = os.fstat(fd)
		    equal((stat.S_ISFIFO(st.st_mode), st.st_nlink), (True, 0))
		fd = os.open(mnt + '/link', os.O_PATH | os.O_NOFOLLOW)
		os.unlink(mnt + '/link')
		equal(os.fstat(fd).st_nlink, 0)
	END
	no_hidden_files
}

@test "a file without a name keeps its attributes when its directory is gone" {
	mkdir "$LOW/d"
	echo data >"$LOW/d/f"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		fd = os.open(mnt + '/d/f', os.O_RDWR)
		os.setxattr(fd, 'user.a', b'1')
		os.unlink(mnt + '/d/f')
		os.rmdir(mnt + '/d')
		equal(os.getxattr(fd, 'user.a'), b'1')
		os.setxattr(fd, 'user.b', b'2')
		equal(sorted(os.listxattr(fd)), ['user.a', 'user.b'])
		equal(os.lseek(fd, 0, os.SEEK_DATA), 0)
		equal(os.fstat(fd).st_nlink, 0)
		os.mkdir(mnt + '/d')
		fd = os.open(mnt + '/d', os.O_TMPFILE | os.O_RDWR, 0o600)
		os.rmdir(mnt + '/d')
		equal(os.fstat(fd).st_nlink, 0)
		os.fchmod(fd, 0o640)
		equal(os.fstat(fd).st_mode & 0o7777, 0o640)
	END
	no_hidden_files
}

@test "what was removed with its directory can be opened and linked by its descriptor" {
	mkdir "$LOW/d"
	echo data >"$LOW/d/f"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		os.chdir(sys.argv[1])
		dir = os.open('d', os.O_RDONLY)
		fd = os.open('d/f', os.O_RDONLY)
		os.unlink('d/f')
		os.rmdir('d')
		again = os.open('/proc/self/fd/%d' % fd, os.O_RDWR)
		equal(os.read(again, 9), b'data\n')
		os.pwrite(again, b'DATA', 0)
		equal(os.pread(fd, 9, 0), b'DATA\n')
		os.close(fd)
		equal(os.fstat(again).st_nlink, 0)
		os.close(os.open('.', os.O_RDONLY, dir_fd=dir))
		os.mkdir('d')
		fd = os.open('d', os.O_TMPFILE | os.O_RDWR, 0o600)
		os.write(fd, b'new')
		os.rmdir('d')
		linkat_fd(fd, 'named')
		equal((os.stat('named').st_nlink, open('named').read()), (1, 'new'))
	END
	no_hidden_files
}

@test "a file that is given a name again by its descriptor keeps its number" {
	mkdir "$LOW/a" "$LOW/b" "$LOW/c"
	echo data >"$LOW/a/f"
	mkfifo "$LOW/a/p"
	ln -s f "$LOW/a/l"
	ln "$LOW"/a/* "$LOW/b"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		os.chdir(sys.argv[1])
		for name in 'f', 'p', 'l':
		    fd = os.open('a/' + name, os.O_RDONLY if name == 'f' else os.O_PATH | os.O_NOFOLLOW)
		    number = os.fstat(fd).st_ino
		    os.unlink('a/' + name)
		    linkat_fd(fd, 'c/' + name)
		    for st in os.fstat(fd), os.lstat('c/' + name), os.lstat('b/' + name):
		        equal((st.st_ino, st.st_nlink), (number, 2))
		    os.close(fd)
		    equal([e.inode() for e in os.scandir('c') if e.name == name], [number])
	END
	overlay_remount
	for name in f p l; do
		assert_equal "$(stat -c %i "$MNT/c/$name")" "$(stat -c %i "$MNT/b/$name")"
	done
}

@test "a file that has lost the name it was opened by has as many links after a change" {
	mkdir "$UP/a" "$UP/b"
	echo data >"$UP/a/f"
	ln "$UP/a/f" "$UP/b/f"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		os.chdir(sys.argv[1])
		fd = os.open('a/f', os.O_RDONLY)
		open('a/new', 'w').close()
		os.rename('a/new', 'a/f')
		os.chmod('/proc/self/fd/%d' % fd, 0o600)
		equal(os.fstat(fd).st_nlink, 1)
		os.utime('/proc/self/fd/%d' % fd)
		equal(os.fstat(fd).st_nlink, 1)
		equal(os.stat('b/f').st_nlink, 1)
	END
}

@test "a copy of a file without a name that finds no room leaves nothing behind" {
	need root
	mkdir "$T/small"
	mount -t tmpfs -o size=6m tmpfs "$T/small"
	mkdir "$T/small/u" "$T/small/w"
	dd if=/dev/urandom of="$LOW/big" bs=1M count=8 status=none
	overlay_start -o "lowerdir=$LOW,upperdir=$T/small/u,workdir=$T/small/w" "$MNT"
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		fd = os.open(sys.argv[1] + '/big', os.O_RDONLY)
		os.unlink(sys.argv[1] + '/big')
		equal(attempt(os.fchmod, fd, 0o600), 'ENOSPC')
	END
	assert_equal "$(find "$T/small/w" -type f -size +0 | wc -l)" 0
	overlay_umount
	umount "$T/small"
}
