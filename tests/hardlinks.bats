# Hard links: all names of a file agree at once, also those that only a lower has.

load helpers

setup() {
	tree_begin
	mkdir "$LOW/d"
	echo content >"$LOW/a"
	ln "$LOW/a" "$LOW/b"
	ln "$LOW/a" "$LOW/d/c"
	echo single >"$LOW/single"
}
teardown() { tree_end; }

# All names of a file show the same size, mode, times, owner, link count, number and content.
agree() {
	local f all
	all=$(for f; do printf '%s %s\n' "$(stat -c '%s %a %y %z %u:%g %h %i' "$f")" "$(md5sum <"$f")"; done | sort -u)
	[[ $(wc -l <<<"$all") == 1 ]] || fail "$* disagree: $all"
}

@test "names of a lower file agree, and its link count is right" {
	overlay_mount
	agree "$MNT/a" "$MNT/b" "$MNT/d/c"
	assert_equal "$(stat -c %h "$MNT/a")" 3
}

@test "a write through one name of a lower file shows through all others" {
	overlay_mount
	# All of them are known to the kernel with the old data before.
	cat "$MNT/a" "$MNT/b" "$MNT/d/c" >/dev/null
	stat "$MNT/a" "$MNT/b" "$MNT/d/c" >/dev/null
	echo 'something longer' >"$MNT/b"
	for name in a b d/c; do assert_content "$MNT/$name" 'something longer'; done
	agree "$MNT/a" "$MNT/b" "$MNT/d/c"
	echo more >>"$MNT/d/c"
	assert_equal "$(xargs <"$MNT/a")" 'something longer more'
	agree "$MNT/a" "$MNT/b" "$MNT/d/c"
	overlay_remount
	assert_equal "$(xargs <"$MNT/a")" 'something longer more'
	agree "$MNT/a" "$MNT/b" "$MNT/d/c"
	assert_equal "$(stat -c %h "$MNT/a")" 3
}

@test "names of one upper file agree after each change" {
	overlay_mount
	echo x >"$MNT/u"
	ln "$MNT/u" "$MNT/d/v"
	ln "$MNT/d/v" "$MNT/w"
	names=("$MNT/u" "$MNT/d/v" "$MNT/w")
	agree "${names[@]}"
	assert_equal "$(stat -c %h "$MNT/u")" 3
	echo yy >>"$MNT/d/v"
	agree "${names[@]}"
	chmod 640 "$MNT/w"
	agree "${names[@]}"
	truncate -s 1 "$MNT/u"
	agree "${names[@]}"
	touch -d '2012-12-12 12:12:12.5' "$MNT/d/v"
	agree "${names[@]}"
	setfattr -n user.a -v b "$MNT/w"
	assert_equal "$(sysc getxattr "$MNT/u" user.a)" b
	rm "$MNT/u"
	agree "$MNT/d/v" "$MNT/w"
	assert_equal "$(stat -c %h "$MNT/w")" 2
	mv "$MNT/w" "$MNT/d/w"
	agree "$MNT/d/v" "$MNT/d/w"
	mv "$MNT/d" "$MNT/e"
	agree "$MNT/e/v" "$MNT/e/w"
	overlay_remount
	agree "$MNT/e/v" "$MNT/e/w"
	assert_equal "$(stat -c %h "$MNT/e/w")" 2
}

@test "chmod, chown, times and attributes of one lower name show through the others" {
	overlay_mount
	stat "$MNT/a" "$MNT/b" "$MNT/d/c" >/dev/null
	chmod 600 "$MNT/a"
	agree "$MNT/a" "$MNT/b" "$MNT/d/c"
	touch -d '2012-12-12 12:12:12.5' "$MNT/b"
	agree "$MNT/a" "$MNT/b" "$MNT/d/c"
	setfattr -n user.a -v b "$MNT/d/c"
	assert_equal "$(sysc getxattr "$MNT/a" user.a)" b
	if ((EUID == 0)); then
		chown 12:34 "$MNT/b"
		agree "$MNT/a" "$MNT/b" "$MNT/d/c"
	fi
	overlay_remount
	agree "$MNT/a" "$MNT/b" "$MNT/d/c"
	assert_equal "$(stat -c %a "$MNT/d/c")" 600
}

@test "linking to a lower file copies it up, and the new name is the same file" {
	overlay_mount
	ln "$MNT/single" "$MNT/d/link"
	agree "$MNT/single" "$MNT/d/link"
	assert_equal "$(stat -c %h "$MNT/single")" 2
	echo new >>"$MNT/single"
	agree "$MNT/single" "$MNT/d/link"
	overlay_remount
	agree "$MNT/single" "$MNT/d/link"
	echo newer >>"$MNT/d/link"
	agree "$MNT/single" "$MNT/d/link"
}

@test "linking to one of several lower names keeps all of them one file" {
	overlay_mount
	ln "$MNT/b" "$MNT/new"
	agree "$MNT/a" "$MNT/b" "$MNT/d/c" "$MNT/new"
	assert_equal "$(stat -c %h "$MNT/new")" 4
	echo x >>"$MNT/new"
	agree "$MNT/a" "$MNT/b" "$MNT/d/c" "$MNT/new"
	overlay_remount
	agree "$MNT/a" "$MNT/b" "$MNT/d/c" "$MNT/new"
	echo y >>"$MNT/a"
	agree "$MNT/a" "$MNT/b" "$MNT/d/c" "$MNT/new"
	assert_equal "$(stat -c %h "$MNT/new")" 4
}

@test "removing names counts down, before and after the copy-up" {
	overlay_mount
	rm "$MNT/a"
	assert_equal "$(stat -c %h "$MNT/b" "$MNT/d/c" | xargs)" '2 2'
	echo x >>"$MNT/b"
	agree "$MNT/b" "$MNT/d/c"
	rm "$MNT/d/c"
	assert_equal "$(stat -c %h "$MNT/b")" 1
	overlay_remount
	assert_names "$MNT" b d single
	assert_equal "$(stat -c %h "$MNT/b")" 1
	assert_equal "$(xargs <"$MNT/b")" 'content x'
	rm "$MNT/b"
	overlay_remount
	assert_names "$MNT" d single
}

@test "a name removed and made again is a new file, the others stay" {
	overlay_mount
	echo x >>"$MNT/a"
	rm "$MNT/b"
	echo fresh >"$MNT/b"
	for again in no yes; do
		agree "$MNT/a" "$MNT/d/c"
		assert_equal "$(stat -c %h "$MNT/a" "$MNT/b" | xargs)" '2 1'
		assert_content "$MNT/b" fresh
		assert_equal "$(xargs <"$MNT/d/c")" 'content x'
		[[ $again == yes ]] || overlay_remount
	done
}

@test "renaming a name of a lower file keeps it one of the names" {
	overlay_mount
	mv "$MNT/a" "$MNT/d/moved"
	agree "$MNT/d/moved" "$MNT/b" "$MNT/d/c"
	echo x >>"$MNT/b"
	agree "$MNT/d/moved" "$MNT/b" "$MNT/d/c"
	mv "$MNT/d" "$MNT/e"
	echo y >>"$MNT/e/moved"
	agree "$MNT/e/moved" "$MNT/b" "$MNT/e/c"
	overlay_remount
	agree "$MNT/e/moved" "$MNT/b" "$MNT/e/c"
	assert_equal "$(stat -c %h "$MNT/b")" 3
	echo z >>"$MNT/e/c"
	agree "$MNT/e/moved" "$MNT/b" "$MNT/e/c"
}

@test "a file renamed over one name leaves the other names alone" {
	overlay_mount
	echo new >"$MNT/new"
	mv -f "$MNT/new" "$MNT/a"
	assert_content "$MNT/a" new
	agree "$MNT/b" "$MNT/d/c"
	assert_equal "$(stat -c %h "$MNT/a" "$MNT/b" | xargs)" '1 2'
	echo x >>"$MNT/b"
	assert_content "$MNT/a" new
	agree "$MNT/b" "$MNT/d/c"
	overlay_remount
	agree "$MNT/b" "$MNT/d/c"
	assert_equal "$(stat -c %h "$MNT/a" "$MNT/b" | xargs)" '1 2'
}

@test "names in a lower directory that is renamed follow, too" {
	overlay_mount
	mv "$MNT/d" "$MNT/e"
	echo x >>"$MNT/e/c"
	agree "$MNT/a" "$MNT/b" "$MNT/e/c"
	overlay_remount
	agree "$MNT/a" "$MNT/b" "$MNT/e/c"
}

@test "an open descriptor of one name sees writes through another" {
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		a = os.open(mnt + '/a', os.O_RDONLY)
		c = os.open(mnt + '/d/c', os.O_RDONLY)
		os.pread(a, 10, 0)
		os.pread(c, 10, 0)
		write(mnt + '/b', b'new data, longer')
		equal(os.pread(a, 100, 0), b'new data, longer')
		equal(os.pread(c, 100, 0), b'new data, longer')
		equal(os.fstat(a).st_size, 16)
		with open(mnt + '/b', 'r+b') as f:
		    f.write(b'NEW')
		    f.flush()
		    equal(os.pread(a, 3, 0), b'NEW')
		    equal(read(mnt + '/d/c')[:3], b'NEW')
		    f.truncate(5)
		    equal(os.fstat(c).st_size, 5)
		os.unlink(mnt + '/b')
		equal(os.fstat(a).st_nlink, 2)
		equal(os.stat(mnt + '/a').st_nlink, 2)
	END
}

@test "links to symlinks, FIFOs and devices work" {
	ln -s target "$LOW/link"
	mkfifo "$LOW/fifo"
	if ((EUID == 0)); then mknod "$LOW/null" c 1 3; fi
	overlay_mount
	for f in link fifo null; do
		[[ -e $LOW/$f || -L $LOW/$f ]] || continue
		assert_equal "$(sysc link "$MNT/$f" "$MNT/d/$f")" ok
		assert_equal "$(stat -c '%i %h %F' "$MNT/$f")" "$(stat -c '%i %h %F' "$MNT/d/$f")"
		assert_equal "$(stat -c %h "$MNT/$f")" 2
	done
	assert_equal "$(readlink "$MNT/d/link")" target
}

@test "the errors of link are the usual ones" {
	overlay_mount
	assert_equal "$(sysc link "$MNT/a" "$MNT/b")" EEXIST
	assert_equal "$(sysc link "$MNT/d" "$MNT/e")" EPERM
	assert_equal "$(sysc link "$MNT/none" "$MNT/e")" ENOENT
	assert_equal "$(sysc link "$MNT/a" "$MNT/none/e")" ENOENT
	assert_equal "$(sysc link "$MNT/a" "$MNT/single/e")" ENOTDIR
	assert_upper
}

@test "a lower file with names outside the layer works" {
	ln "$LOW/single" "$T/outside"
	overlay_mount
	echo x >>"$MNT/single"
	assert_equal "$(xargs <"$MNT/single")" 'single x'
	rm "$MNT/single"
	assert_gone "$MNT/single"
	overlay_remount
	assert_gone "$MNT/single"
	assert_file_exist "$T/outside"
}

@test "two lower names changed by an ordinary user agree" {
	tree_for_user
	overlay_mount
	as_user sh -ec 'cd "$1"; cat a b >/dev/null; echo x >>a; echo y >>b; ln single d/s; echo z >d/s' sh "$MNT"
	assert_equal "$(as_user cat "$MNT/d/c" | xargs)" 'content x y'
	assert_equal "$(as_user cat "$MNT/single")" z
	overlay_remount
	assert_equal "$(as_user cat "$MNT/d/c" | xargs)" 'content x y'
}

@test "names of one file are one inode: mappings, positions and locks are shared" {
	overlay_mount
	py "$MNT" <<-'END'
		import fcntl, mmap, os, sys
		from ovl import equal
		os.chdir(sys.argv[1])
		for a, b in (("a", "b"), ("u", "v")):
		    if a == "u":
		        open(a, "w").write("content\n")
		        os.link(a, b)
		    read = os.open(b, os.O_RDONLY)
		    one, two = os.open(a, os.O_RDWR), os.open(b, os.O_RDWR)
		    first, second = mmap.mmap(one, 8), mmap.mmap(two, 8)
		    first[0:1] = b"C"
		    equal(second[:8], b"Content\n")
		    equal(os.pread(read, 8, 0), b"Content\n")
		    append = os.open(a, os.O_WRONLY | os.O_APPEND)
		    os.write(two, b"0123456789")
		    os.write(append, b"x")
		    equal(os.lseek(append, 0, os.SEEK_CUR), 11)
		    fcntl.flock(one, fcntl.LOCK_EX)
		    try:
		        fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
		        equal("the lock excludes", "it does not")
		    except BlockingIOError:
		        pass
	END
}

@test "an open file that loses one name after the other is the same as its last one" {
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import equal
		os.chdir(sys.argv[1])
		fd = os.open("x", os.O_CREAT | os.O_RDWR)
		os.link("x", "y")
		os.unlink("x")
		equal((os.fstat(fd).st_nlink, os.stat("y").st_size), (1, 0))
		os.write(fd, b"new")
		equal((os.stat("y").st_size, open("y").read()), (3, "new"))
		os.unlink("y")
		equal(os.fstat(fd).st_nlink, 0)
		equal(os.pread(fd, 3, 0), b"new")
		# The name that was used for opening is not the one that is left.
		for gone, stays in (("p", "q"), ("q", "p")):
		    fd = os.open("p", os.O_CREAT | os.O_RDWR)
		    os.link("p", "q")
		    other = os.open("q", os.O_RDWR)
		    os.rename("single", gone)
		    equal(os.fstat(fd).st_nlink, 1)
		    os.write(other, b"1")
		    os.fchmod(fd, 0o601)
		    equal((open(stays).read(), os.stat(stays).st_mode & 0o777), ("1", 0o601))
		    os.unlink(stays)
		    equal((os.fstat(fd).st_nlink, os.fstat(other).st_nlink), (0, 0))
		    equal(os.pread(fd, 1, 0), b"1")
		    os.rename(gone, "single")
		    os.close(fd)
		    os.close(other)
	END
}

@test "using one name while another is removed and made again never fails" {
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys, threading
		from ovl import equal
		os.chdir(sys.argv[1])
		done, errors, caches = threading.Event(), [], "/proc/sys/vm/drop_caches"

		def flip():
		    for i in range(3000):
		        os.unlink("a")
		        os.link("b", "a")
		        if i % 500 == 0 and os.access(caches, os.W_OK):
		            open(caches, "w").write("2")
		    done.set()

		def use():
		    while not done.is_set():
		        try:
		            fd = os.open("b", os.O_RDONLY)
		            equal((os.fstat(fd).st_size, os.pread(fd, 3, 0)), (8, b"con"))
		            os.close(fd)
		            os.utime("b")
		            equal(os.stat("b").st_size, 8)
		        except Exception as e:
		            errors.append(repr(e))
		            break

		threads = [threading.Thread(target=f) for f in (flip, use, use)]
		for t in threads:
		    t.start()
		for t in threads:
		    t.join()
		equal(errors, [])
	END
	# The kernel forgets all of them, as often as it was given them.
	((EUID != 0)) || echo 3 >/proc/sys/vm/drop_caches
	agree "$MNT/a" "$MNT/b" "$MNT/d/c"
}


@test "a descriptor sees what another name wrote, also after changing mode, times or size" {
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		a, b = sys.argv[1] + '/new', sys.argv[1] + '/link'
		changes = {'mode': lambda fd: os.fchmod(fd, 0o600), 'times': lambda fd: os.utime(fd, (1, 2)),
		           'size': lambda fd: os.ftruncate(fd, 8192), 'owner': lambda fd: os.fchown(fd, -1, os.getgid()),
		           'attribute': lambda fd: os.setxattr(fd, 'user.a', b'b')}
		for what, change in changes.items():
		    write(a, b'old' * 1000)
		    os.link(a, b)
		    fd = os.open(b, os.O_RDWR)
		    equal(os.pread(fd, 3, 0), b'old')
		    with open(a, 'r+b') as f:
		        f.write(b'NEW')
		    change(fd)
		    equal(os.pread(fd, 3, 0), b'NEW', what)
		    os.close(fd)
		    os.unlink(a)
		    os.unlink(b)
	END
}

@test "names that are left to a lower file follow it when it is changed by a removed one" {
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		a, b = os.open(mnt + '/a', os.O_RDONLY), os.open(mnt + '/b', os.O_RDONLY)
		os.unlink(mnt + '/a')
		os.fchmod(a, 0o600)
		equal([os.stat(mnt + '/' + n).st_mode & 0o777 for n in ('b', 'd/c')], [0o600] * 2)
		w = os.open('/proc/self/fd/%d' % a, os.O_RDWR)
		os.pwrite(w, b'CON', 0)
		for data in (os.pread(b, 9, 0), os.pread(a, 9, 0), read(mnt + '/b'), read(mnt + '/d/c')):
		    equal(data, b'CONtent\n')
		write(mnt + '/d/c', b'more', 'ab')
		equal(os.pread(w, 20, 0), b'CONtent\nmore')
		equal([os.fstat(fd).st_nlink for fd in (a, b, w)], [2] * 3)
	END
	agree "$MNT/b" "$MNT/d/c"
	overlay_remount
	agree "$MNT/b" "$MNT/d/c"
	assert_equal "$(stat -c '%h %a' "$MNT/b") $(xargs <"$MNT/b")" '2 600 CONtent more'
	rm "$MNT/b" "$MNT/d/c"
	assert_equal "$(find "$UP/.wh..wh.work/index" -mindepth 1)" ''
}

@test "an upper that was emptied by hand has no copies, also when the work directory is left" {
	for_formats emptied_by_hand
}
emptied_by_hand() {
	echo old >"$LOW/h1"
	ln "$LOW/h1" "$LOW/h2"
	ln "$LOW/h1" "$LOW/h3"
	overlay_mount -o "whiteout=$1"
	echo new >"$MNT/h1"
	rm "$MNT/h3"
	assert_equal "$(cat "$MNT/h2")" new
	overlay_umount
	assert [ -n "$(ls -A "$UP"/.wh..wh.work/index)" ]
	find "$UP" -mindepth 1 -maxdepth 1 ! -name .wh..wh.work -exec rm -r {} +
	overlay_mount -o "whiteout=$1"
	assert_equal "$(cat "$MNT/h1" "$MNT/h2" "$MNT/h3" | xargs)" 'old old old'
	assert_equal "$(stat -c %h "$MNT/h2")" 3
	overlay_umount
}
