# Copy-up: what a file or directory brings along to the upper, and when it is brought at all.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

upper_is_empty() { assert_upper; }

@test "the data of a file is kept" {
	head -c 5000001 /dev/urandom >"$LOW/f"
	cp "$LOW/f" "$T/want"
	overlay_mount
	printf x >>"$MNT/f"
	printf x >>"$T/want"
	cmp "$MNT/f" "$T/want"
	cmp "$UP/f" "$T/want"
	printf y | dd of="$MNT/f" bs=1 seek=2500000 conv=notrunc status=none
	printf y | dd of="$T/want" bs=1 seek=2500000 conv=notrunc status=none
	overlay_remount
	cmp "$MNT/f" "$T/want"
}

large_file_is_kept() {
	head -c 67108865 /dev/urandom >"$LOW/f"
	sum=$(md5sum <"$LOW/f")
	overlay_mount
	chmod 600 "$MNT/f"
	assert_equal "$(md5sum <"$MNT/f")" "$sum"
	assert_equal "$(md5sum <"$UP/f")" "$sum"
}
@test "a large file is kept" {
	large_file_is_kept
}

@test "a large file of another file system is kept" {
	need root
	mount -t tmpfs tmpfs "$LOW"
	large_file_is_kept
	overlay_umount
	lowers_unchanged || fail 'a lower was changed'
	lower_may_change "$LOW"
	umount "$LOW"
}

@test "holes of a sparse file stay holes" {
	truncate -s 256M "$LOW/f"
	printf start | dd of="$LOW/f" conv=notrunc status=none
	printf middle | dd of="$LOW/f" bs=1M seek=100 conv=notrunc status=none
	printf end | dd of="$LOW/f" bs=1M seek=255 conv=notrunc status=none
	truncate -s 64M "$LOW/empty"
	overlay_mount
	py "$MNT/f" <<-'END' >"$T/before"
		import os, sys
		fd = os.open(sys.argv[1], os.O_RDONLY)
		pos = 0
		while True:
		    try:
		        a = os.lseek(fd, pos, os.SEEK_DATA)
		    except OSError:
		        break
		    pos = os.lseek(fd, a, os.SEEK_HOLE)
		    print(a, pos)
	END
	chmod 600 "$MNT/f" "$MNT/empty"
	assert [ "$(du -k "$UP/f" | cut -f1)" -lt 1024 ]
	assert [ "$(du -k "$UP/empty" | cut -f1)" -lt 64 ]
	assert_equal "$(stat -c %s "$UP/f" "$UP/empty" | xargs)" '268435456 67108864'
	assert [ "$(stat -c %b "$MNT/f")" -lt 2048 ]
	py "$MNT/f" <<-'END' | diff "$T/before" -
		import os, sys
		fd = os.open(sys.argv[1], os.O_RDONLY)
		pos = 0
		while True:
		    try:
		        a = os.lseek(fd, pos, os.SEEK_DATA)
		    except OSError:
		        break
		    pos = os.lseek(fd, a, os.SEEK_HOLE)
		    print(a, pos)
	END
	assert_equal "$(dd if="$MNT/f" bs=1M skip=100 count=1 status=none | head -c 6)" middle
}

@test "mode, owner, times to the nanosecond and attributes of a file are kept" {
	echo x >"$LOW/f"
	chmod 4751 "$LOW/f"
	setfattr -n user.one -v 1 "$LOW/f"
	setfattr -n user.empty "$LOW/f"
	setfattr -n user.binary -v 0x00ff0a "$LOW/f"
	setfacl -m u:12345:r-- "$LOW/f"
	if ((EUID == 0)); then
		chown 1234:5678 "$LOW/f"
		chmod 4751 "$LOW/f"
		setfattr -n trusted.two -v 2 "$LOW/f"
		setfattr -n security.three -v 3 "$LOW/f"
	fi
	touch -m -d '2009-02-13 23:31:30.123456789' "$LOW/f"
	overlay_mount
	"$PYTHON" "$LIB/tree.py" show "$MNT/f" +mtime >"$T/before"
	# The first change that keeps all of them: a new attribute, taken away again.
	setfattr -n user.new -v x "$MNT/f"
	setfattr -x user.new "$MNT/f"
	assert_exist "$UP/f"
	"$PYTHON" "$LIB/tree.py" show "$MNT/f" +mtime | diff "$T/before" -
	assert_equal "$(stat -c '%a %y' "$UP/f")" '4751 2009-02-13 23:31:30.123456789 +0000'
	overlay_remount
	"$PYTHON" "$LIB/tree.py" show "$MNT/f" +mtime | diff "$T/before" -
}

@test "the access time of the lower file is kept, too" {
	echo x >"$LOW/f"
	overlay_mount
	before=$(stat -c %x "$MNT/f")
	chmod 600 "$MNT/f"
	assert_equal "$(stat -c %x "$MNT/f")" "$before"
}

@test "setgid, mode, owner, times, attributes and ACLs of a directory are kept" {
	mkdir -p "$LOW/d/e"
	echo x >"$LOW/d/e/f"
	((EUID != 0)) || chown "1234:$TEST_GID" "$LOW/d" "$LOW/d/e"
	chmod 2775 "$LOW/d"
	chmod 3711 "$LOW/d/e"
	setfattr -n user.one -v 1 "$LOW/d/e"
	setfacl -m u:12345:rwx "$LOW/d/e"
	setfacl -d -m g:12345:r-x "$LOW/d/e"
	touch -d '2009-02-13 23:31:30.123456789' "$LOW/d/e" "$LOW/d"
	overlay_mount
	"$PYTHON" "$LIB/tree.py" show "$MNT" +mtime | sed 1d >"$T/before"
	echo y >"$T/y"
	touch -r "$LOW/d/e/f" "$T/y"
	setfattr -n user.x -v x "$MNT/d/e/f" # copies the parents up, and nothing else
	setfattr -x user.x "$MNT/d/e/f"
	assert_exist "$UP/d/e/f"
	"$PYTHON" "$LIB/tree.py" show "$MNT" +mtime | sed 1d | diff "$T/before" -
	assert_equal "$(stat -c '%a %y' "$UP/d")" '2775 2009-02-13 23:31:30.123456789 +0000'
	overlay_remount
	"$PYTHON" "$LIB/tree.py" show "$MNT" +mtime | sed 1d | diff "$T/before" -
	: >"$MNT/d/new"
	mkdir "$MNT/d/newdir"
	assert_equal "$(stat -c '%g' "$MNT/d/new") $(stat -c '%g %a' "$MNT/d/newdir")" \
		"$(stat -c %g "$MNT/d") $(stat -c %g "$MNT/d") 2755"
}

@test "a new file in a lower setgid directory belongs to the directory's group" {
	need root
	mkdir "$LOW/d"
	chown "0:$TEST_GID" "$LOW/d"
	chmod 2777 "$LOW/d"
	overlay_mount
	: >"$MNT/d/f"
	mkdir "$MNT/d/sub"
	assert_equal "$(stat -c '%u:%g %a' "$MNT/d/f" "$MNT/d/sub" | xargs)" \
		"0:$TEST_GID 644 0:$TEST_GID 2755"
}

@test "capabilities are kept by copy-up and cleared by writing, as on any file system" {
	need root
	for f in chmod write chown truncate; do
		cp /bin/true "$LOW/$f"
		setcap cap_net_raw+ep "$LOW/$f"
	done
	overlay_mount
	for f in chmod write chown truncate; do
		[[ $(getcap "$MNT/$f") == *cap_net_raw* ]] || fail "not seen on $f"
	done
	chmod 700 "$MNT/chmod"
	[[ $(getcap "$MNT/chmod") == *cap_net_raw* ]]
	[[ $(getcap "$UP/chmod") == *cap_net_raw* ]]
	echo x >>"$MNT/write"
	assert_equal "$(getcap "$MNT/write")" ''
	chown 1:1 "$MNT/chown"
	assert_equal "$(getcap "$MNT/chown")" ''
	truncate -s 5 "$MNT/truncate"
	assert_equal "$(getcap "$MNT/truncate")" ''
}

@test "reading copies nothing up" {
	mkdir -p "$LOW/d/e"
	cp /bin/true "$LOW/d/true"
	echo text | tee "$LOW/f" "$LOW/d/f" >"$LOW/d/e/f"
	ln -s f "$LOW/link"
	mkfifo "$LOW/fifo"
	setfattr -n user.a -v b "$LOW/f"
	setfacl -m u:12345:r "$LOW/f"
	overlay_mount
	cat "$MNT/f" "$MNT/d/e/f" "$MNT/link" >/dev/null
	ls -laR "$MNT" >/dev/null
	stat "$MNT/f" "$MNT/d" >/dev/null
	readlink "$MNT/link" >/dev/null
	getfattr -d -m - -R "$MNT" >/dev/null 2>&1
	getfacl -R "$MNT" >/dev/null
	"$MNT/d/true"
	test -r "$MNT/f" && test -w "$MNT/f"
	grep -rq text "$MNT"/d
	tar -C "$MNT" -cf - . >/dev/null
	stat -f "$MNT" >/dev/null
	py "$MNT" <<-'END'
		import fcntl, mmap, os, sys
		mnt = sys.argv[1]
		with open(mnt + '/f', 'rb') as f:
		    m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
		    m[:]
		    fcntl.flock(f, fcntl.LOCK_EX)
		    os.fsync(f.fileno())
		m = os.open(mnt + '/d', os.O_RDONLY)
		os.fsync(m)
		# O_CREAT of a file that is there.
		os.close(os.open(mnt + '/f', os.O_RDONLY | os.O_CREAT))
	END
	for op in "mkdir $MNT/d" "rmdir $MNT/d" "open $MNT/f CREAT|EXCL|WRONLY" "unlink $MNT/d" \
		"rename $MNT/none $MNT/f" "link $MNT/f $MNT/link" "removexattr $MNT/d user.none"; do
		[[ $(sysc $op) != ok ]] || fail "$op should fail"
	done
	upper_is_empty
}

@test "O_TRUNC copies no data" {
	need root
	mkdir "$T/small"
	mount -t tmpfs -o size=2M tmpfs "$T/small"
	mkdir "$T/small/up"
	UP=$T/small/up
	head -c 8M /dev/urandom | tee "$LOW/a" >"$LOW/b"
	chmod 640 "$LOW/a"
	overlay_mount
	echo new >"$MNT/a"
	assert_content "$MNT/a" new
	assert_equal "$(stat -c %a "$MNT/a")" 640
	assert_equal "$(sysc open "$MNT/b" 'RDWR|TRUNC')" ok
	assert_equal "$(stat -c %s "$MNT/b")" 0
}

@test "a copy-up that fails leaves nothing behind and returns the true error" {
	need root
	mkdir "$T/small"
	mount -t tmpfs -o size=2M tmpfs "$T/small"
	mkdir "$T/small/up"
	UP=$T/small/up
	mkdir "$LOW/d"
	head -c 8M /dev/urandom >"$LOW/d/big"
	sum=$(md5sum <"$LOW/d/big")
	overlay_mount
	assert_equal "$(sysc write "$MNT/d/big" 'WRONLY|APPEND' x)" ENOSPC
	assert_equal "$(sysc open "$MNT/d/big" RDWR)" ENOSPC
	assert_equal "$(sysc chmod "$MNT/d/big" 600)" ENOSPC
	assert_equal "$(sysc link "$MNT/d/big" "$MNT/d/l")" ENOSPC
	assert_equal "$(sysc truncate "$MNT/d/big" 8000000)" ENOSPC
	assert_names "$MNT/d" big
	assert_equal "$(md5sum <"$MNT/d/big")" "$sum"
	assert_equal "$(stat -c %a "$MNT/d/big")" 644
	assert_not_exist "$UP/d/big"
	assert_equal "$(work_leftovers)" ''
	# And there is room for what fits.
	echo small >"$MNT/d/small"
	assert_content "$MNT/d/small" small
	assert_equal "$(sysc unlink "$MNT/d/big")" ok
	assert_gone "$MNT/d/big"
}

@test "a file that one does not own is copied up when its mode allows writing" {
	need root
	mkdir -m 755 "$LOW/d"
	mkdir -m 777 "$LOW/open"
	echo root >"$LOW/d/f"
	echo root >"$LOW/d/closed"
	echo root >"$LOW/open/g"
	setfattr -n user.a -v b "$LOW/d/f"
	tree_for_user
	chown -R 0:0 "$LOW"
	chmod 666 "$LOW/d/f"
	chmod 644 "$LOW/d/closed"
	overlay_mount
	assert_equal "$(user_sysc open "$MNT/d/new" 'CREAT|WRONLY')" EACCES
	as_user sh -c 'echo user >>"$1/d/f"' sh "$MNT"
	assert_equal "$(as_user cat "$MNT/d/f" | xargs)" 'root user'
	assert_equal "$(as_user getfattr --only-values -n user.a "$MNT/d/f")" b
	# What the mode forbids stays forbidden.
	assert_equal "$(user_sysc open "$MNT/d/closed" WRONLY)" EACCES
	as_user sh -c 'echo new >"$1/open/new" && mkdir "$1/open/dir" && rm "$1/open/g"' sh "$MNT"
	assert_equal "$(as_user ls "$MNT/open" | xargs)" 'dir new'
	overlay_remount
	assert_equal "$(as_user cat "$MNT/d/f" | xargs)" 'root user'
	assert_equal "$(as_user ls "$MNT/open" | xargs)" 'dir new'
}

@test "a 0444 file can be copied with cp and written while it is open" {
	echo data >"$LOW/f"
	chmod 444 "$LOW/f"
	mkdir "$LOW/d"
	tree_for_user
	overlay_mount
	as_user sh -ec 'cd "$1"; umask 022
		cp f copy; cp -p f d/copy; install -m 0444 f d/inst; cp f d/g; chmod 000 d/g
		cp --preserve=all f d/all; cat copy d/copy d/inst d/all' sh "$MNT"
	user_py "$MNT" <<-'END'
		import os, sys
		fd = os.open(sys.argv[1] + '/zero', os.O_CREAT | os.O_RDWR | os.O_EXCL, 0)
		os.write(fd, b'x' * 100000)
		os.fsync(fd)
		os.ftruncate(fd, 50000)
		assert len(os.pread(fd, 100000, 0)) == 50000
		os.fchmod(fd, 0o444)
		os.write(fd, b'y')
	END
	assert_equal "$(as_user stat -c '%a %s' "$MNT/zero")" '444 100001'
	overlay_remount
	assert_equal "$(as_user cat "$MNT/copy" "$MNT/d/copy" "$MNT/d/inst" | xargs)" 'data data data'
}

@test "a 0444 lower file of one's own can be made writable and changed" {
	echo data >"$LOW/f"
	chmod 444 "$LOW/f"
	tree_for_user
	overlay_mount
	assert_equal "$(user_sysc open "$MNT/f" WRONLY)" \
		EACCES
	as_user sh -ec 'touch "$1/f"; chmod u+w "$1/f"; echo new >>"$1/f"; chmod 444 "$1/f"' sh "$MNT"
	as_user setfattr -n user.a -v b "$MNT/f" 2>/dev/null || :
	assert_equal "$(as_user cat "$MNT/f" | xargs)" 'data new'
	assert_equal "$(as_user stat -c %a "$MNT/f")" 444
}

@test "a file in a lower directory without write permission can be changed" {
	mkdir -p "$LOW/d/e"
	echo low | tee "$LOW/d/f" "$LOW/d/g" "$LOW/d/e/h" >"$LOW/d/e/i"
	setfattr -n user.a -v b "$LOW/d"
	tree_for_user
	chmod 555 "$LOW/d/e" "$LOW/d"
	overlay_mount
	as_user sh -ec 'cd "$1/d"; echo new >>f; chmod 600 g; echo new >>e/h; echo new >e/i' sh "$MNT"
	assert_equal "$(as_user cat "$MNT/d/f" "$MNT/d/e/h" "$MNT/d/e/i" | xargs)" 'low new low new new'
	assert_equal "$(as_user stat -c %a "$MNT/d" "$MNT/d/e" "$MNT/d/g" | xargs)" '555 555 600'
	assert_equal "$(user_sysc unlink "$MNT/d/f")" EACCES
	assert_equal "$(user_sysc open "$MNT/d/n" 'CREAT|WRONLY')" EACCES
	overlay_remount
	as_user sh -ec 'cd "$1/d"; chmod u+w . e; rm f; rm -r e; echo x >n' sh "$MNT"
	assert_equal "$(as_user ls "$MNT/d" | xargs)" 'g n'
	chmod -R u+w "$UP"
}

@test "what is copied up inherits no ACL, neither from the upper nor from the work directory" {
	mkdir "$LOW/d" "$WORK"
	touch "$LOW/d/f"
	setfacl -d -m u:12:rwx "$UP" "$WORK"
	overlay_mount
	echo x >>"$MNT/d/f"
	assert_equal "$(getfacl -cps "$MNT/d" "$MNT/d/f" | xargs)" ''
	overlay_umount
	rm -r "$WORK" "$UP/d"
	overlay_mount
	echo x >>"$MNT/d/f"
	assert_equal "$(getfacl -cps "$MNT/d" "$MNT/d/f" | xargs)" ''
	assert_equal "$(getfacl -cpd "$MNT" | grep -c user:)" 2
}

@test "chmod and chown of a lower FIFO, socket or device copies it up" {
	need root
	mkfifo "$LOW/fifo"
	sysc socket "$LOW/sock"
	mknod "$LOW/char" c 1 3
	mknod "$LOW/block" b 7 99
	overlay_mount
	for f in fifo sock char block; do
		before=$(stat -c '%F %t %T' "$MNT/$f")
		chmod 604 "$MNT/$f"
		chown 12:34 "$MNT/$f"
		touch -d '2012-12-12' "$MNT/$f"
		assert_equal "$(stat -c '%F %t %T' "$MNT/$f")" "$before"
		assert_equal "$(stat -c '%a %u:%g %Y' "$MNT/$f")" '604 12:34 1355270400'
		assert_equal "$(stat -c '%F %t %T' "$UP/$f")" "$before"
	done
	overlay_remount
	for f in fifo sock char block; do
		assert_equal "$(stat -c '%a %u:%g %Y' "$MNT/$f")" '604 12:34 1355270400'
	done
	assert_equal "$(head -c1 "$MNT/char" | wc -c)" 0
}

@test "an ordinary user's FIFO and socket of a lower are copied up, too" {
	mkfifo "$LOW/fifo"
	sysc socket "$LOW/sock"
	tree_for_user
	overlay_mount
	as_user chmod 600 "$MNT/fifo" "$MNT/sock"
	assert_equal "$(as_user stat -c '%F %a' "$MNT/fifo" "$MNT/sock" | xargs)" 'fifo 600 socket 600'
	as_user mv "$MNT/fifo" "$MNT/fifo2"
	assert_equal "$(as_user ls "$MNT" | xargs)" 'fifo2 sock'
}

@test "a lower symlink keeps its target when its owner or times change" {
	ln -s some/where "$LOW/l"
	ln -s /nonexistent "$LOW/m"
	overlay_mount
	touch -h -d '2012-12-12 01:02:03.456' "$MNT/l"
	assert_equal "$(stat -c '%y' "$MNT/l")" '2012-12-12 01:02:03.456000000 +0000'
	if ((EUID == 0)); then
		chown -h 12:34 "$MNT/m"
		assert_equal "$(stat -c '%u:%g' "$MNT/m")" 12:34
	fi
	assert_equal "$(readlink "$MNT/l") $(readlink "$MNT/m")" 'some/where /nonexistent'
	overlay_remount
	assert_equal "$(readlink "$MNT/l") $(readlink "$MNT/m")" 'some/where /nonexistent'
	assert_equal "$(stat -c '%y' "$MNT/l")" '2012-12-12 01:02:03.456000000 +0000'
}

@test "truncate shortens and lengthens a lower file" {
	for f in a b c d; do echo 0123456789 >"$LOW/$f"; done
	overlay_mount
	truncate -s 4 "$MNT/a"
	assert_content "$MNT/a" 0123
	truncate -s 20 "$MNT/b"
	assert_equal "$(stat -c %s "$MNT/b") $(tr -d '\0' <"$MNT/b")" '20 0123456789'
	truncate -s 0 "$MNT/c"
	assert_equal "$(stat -c %s "$MNT/c")" 0
	assert_equal "$(sysc truncate "$MNT/d" 11)" ok
	assert_content "$MNT/d" 0123456789
	overlay_remount
	assert_equal "$(stat -c %s "$MNT/a" "$MNT/b" "$MNT/c" | xargs)" '4 20 0'
}

@test "each kind of change copies up what it changes, once" {
	for f in append chmod utime xattr truncate rename link; do echo "$f" >"$LOW/$f"; done
	LOWERS=("$LOW2" "$LOW")
	overlay_mount
	echo x >>"$MNT/append"
	assert_upper append
	chmod 600 "$MNT/chmod"
	touch -d 2012-12-12 "$MNT/utime"
	setfattr -n user.a -v b "$MNT/xattr"
	truncate -s 1 "$MNT/truncate"
	assert_upper append chmod truncate utime xattr
	for f in append chmod truncate utime xattr; do
		assert_equal "$(head -c1 "$UP/$f")" "${f:0:1}"
	done
	assert_equal "$(work_leftovers)" ''
}

@test "many programs that change one lower file at once copy it up once, completely" {
	head -c 20M /dev/urandom >"$LOW/f"
	sum=$(md5sum <"$LOW/f")
	mkdir -p "$LOW/d/e/f"
	for i in {1..40}; do echo "$i" >"$LOW/d/e/f/$i"; done
	overlay_mount
	for i in 1 2 3 4 5 6 7 8; do
		chmod "60$((i % 8))" "$MNT/f" 3>&- &
		jobs[i]=$!
	done
	for i in {1..40}; do
		bash -c 'echo new >>"$1"' bash "$MNT/d/e/f/$i" 3>&- &
		jobs[i + 10]=$!
	done
	for j in "${jobs[@]}"; do wait "$j"; done
	assert_equal "$(md5sum <"$MNT/f")" "$sum"
	assert_equal "$(cat "$MNT"/d/e/f/* | grep -c new)" 40
	assert_equal "$(work_leftovers)" ''
}
