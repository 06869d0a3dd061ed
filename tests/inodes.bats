# Inode numbers: the same over changes and mounts, one for all names of a file, never shared.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

ino() { stat -c %i "$@" | xargs; }

# All names with their numbers.
numbers() { (cd "$MNT" && find . -printf '%P %i\n' | sort); }

layers_of_all_kinds() {
	mkdir -p "$LOW/dir/sub" "$LOW/merged" "$UP/merged" "$UP/updir" "$LOW2/dir"
	echo x | tee "$LOW/file" "$LOW/dir/file" "$LOW/dir/sub/file" "$LOW/merged/low" "$UP/merged/up" \
		"$UP/upfile" "$UP/updir/file" "$LOW/both" "$UP/both" >"$LOW2/dir/file2"
	ln -s file "$LOW/link"
	ln -s file "$UP/uplink"
	mkfifo "$LOW/fifo"
	ln "$LOW/file" "$LOW/dir/hard"
	ln "$UP/upfile" "$UP/updir/hard"
}

@test "the numbers are the same on every mount" {
	LOWERS=("$LOW" "$LOW2")
	layers_of_all_kinds
	overlay_mount
	numbers >"$T/first"
	overlay_remount
	numbers | diff "$T/first" -
}

@test "the numbers are the same whatever was looked at first, and after the caches are dropped" {
	LOWERS=("$LOW" "$LOW2")
	layers_of_all_kinds
	if ((EUID == 0)); then mknod "$LOW/null" c 1 3; fi
	sysc socket "$LOW/sock"
	overlay_mount
	numbers >"$T/first"
	overlay_remount
	stat "$MNT/dir/sub/file" >/dev/null
	if ((EUID == 0)); then
		echo 2 >/proc/sys/vm/drop_caches
		numbers | diff "$T/first" -
		echo 3 >/proc/sys/vm/drop_caches
	fi
	(cd "$MNT" && find . | tac | xargs -d'\n' stat -c '%n %i' | sed 's,^\./,,; s,^\. , ,' | sort) | diff "$T/first" -
}

@test "lower FIFOs, sockets and devices are found again after the kernel forgot them" {
	need root
	mkdir "$LOW/d"
	mkfifo "$LOW/d/fifo"
	sysc socket "$LOW/d/sock"
	mknod "$LOW/d/null" c 1 3
	mknod "$LOW/d/loop" b 7 99
	overlay_mount
	ls -li "$MNT/d" >"$T/first"
	for i in 1 2 3; do
		echo 3 >/proc/sys/vm/drop_caches
		ls -li "$MNT/d" | diff "$T/first" -
	done
	echo x >"$MNT/d/null"
	chmod 600 "$MNT"/d/*
	before=$(ino "$MNT"/d/*)
	echo 3 >/proc/sys/vm/drop_caches
	assert_equal "$(ino "$MNT"/d/*)" "$before"
	assert_equal "$(stat -c '%F' "$MNT"/d/* | xargs)" \
		'fifo block special file character special file socket'
}

@test "a number survives copy-up by any change, and the next mount" {
	for f in append chmod utime xattr truncate trunc chown link; do echo x >"$LOW/$f"; done
	mkdir -p "$LOW/d/e"
	echo x >"$LOW/d/e/f"
	overlay_mount
	(cd "$MNT" && find . -type f -printf '%P %i\n' | sort) >"$T/first"
	dirs=$(ino "$MNT/d" "$MNT/d/e")
	echo y >>"$MNT/append"
	chmod 600 "$MNT/chmod"
	touch "$MNT/utime"
	setfattr -n user.a -v b "$MNT/xattr"
	truncate -s 0 "$MNT/truncate"
	echo y >"$MNT/trunc"
	chown "$(id -u):$(id -g)" "$MNT/chown"
	ln "$MNT/link" "$MNT/d/other"
	rm "$MNT/d/other"
	echo y >>"$MNT/d/e/f"
	(cd "$MNT" && find . -type f -printf '%P %i\n' | sort) | diff "$T/first" -
	assert_equal "$(ino "$MNT/d" "$MNT/d/e")" "$dirs"
	overlay_remount
	(cd "$MNT" && find . -type f -printf '%P %i\n' | sort) | diff "$T/first" -
	assert_equal "$(ino "$MNT/d" "$MNT/d/e")" "$dirs"
	chmod 700 "$MNT/d"
	overlay_remount
	assert_equal "$(ino "$MNT/d" "$MNT/d/e")" "$dirs"
}

@test "an open descriptor shows the same number before and after the copy-up" {
	echo x >"$LOW/f"
	overlay_mount
	py "$MNT/f" <<-'END'
		import os, sys
		from ovl import *
		ro = os.open(sys.argv[1], os.O_RDONLY)
		ino = os.fstat(ro).st_ino
		rw = os.open(sys.argv[1], os.O_RDWR)
		os.write(rw, b'y')
		equal((os.fstat(ro).st_ino, os.fstat(rw).st_ino, os.stat(sys.argv[1]).st_ino), (ino,) * 3)
	END
}

@test "a number survives renames of the file and of its parents, and the next mount" {
	mkdir -p "$LOW/d/e" "$UP/u/v"
	echo x | tee "$LOW/f" "$LOW/d/e/f" "$UP/g" >"$UP/u/v/f"
	overlay_mount
	before=$(ino "$MNT/f" "$MNT/g" "$MNT/d" "$MNT/d/e" "$MNT/d/e/f" "$MNT/u" "$MNT/u/v" "$MNT/u/v/f")
	mv "$MNT/f" "$MNT/f2"
	mv "$MNT/g" "$MNT/g2"
	mv "$MNT/d" "$MNT/d2"
	mv "$MNT/u" "$MNT/d2/u2"
	after() { ino "$MNT/f2" "$MNT/g2" "$MNT/d2" "$MNT/d2/e" "$MNT/d2/e/f" "$MNT/d2/u2" "$MNT/d2/u2/v" "$MNT/d2/u2/v/f"; }
	assert_equal "$(after)" "$before"
	overlay_remount
	assert_equal "$(after)" "$before"
	echo y >>"$MNT/d2/e/f"
	chmod 700 "$MNT/d2/e"
	assert_equal "$(after)" "$before"
	overlay_remount
	assert_equal "$(after)" "$before"
	mv "$MNT/d2/e" "$MNT/e"
	mv "$MNT/e/f" "$MNT/f3"
	assert_equal "$(ino "$MNT/f3")" "$(echo "$before" | cut -d' ' -f5)"
	overlay_remount
	assert_equal "$(ino "$MNT/f3")" "$(echo "$before" | cut -d' ' -f5)"
}

@test "links, FIFOs and sockets keep their numbers for the life of the mount" {
	ln -s x "$LOW/link"
	mkfifo "$LOW/fifo"
	sysc socket "$LOW/sock"
	overlay_mount
	before=$(ino "$MNT/link" "$MNT/fifo" "$MNT/sock")
	touch -h -d 2012-12-12 "$MNT/link"
	chmod 600 "$MNT/fifo" "$MNT/sock"
	assert_equal "$(ino "$MNT/link" "$MNT/fifo" "$MNT/sock")" "$before"
	mv "$MNT/link" "$MNT/l2"
	mv "$MNT/fifo" "$MNT/f2"
	mv "$MNT/sock" "$MNT/s2"
	assert_equal "$(ino "$MNT/l2" "$MNT/f2" "$MNT/s2")" "$before"
}

@test "create a, rename a to b, create a: two files, two numbers" {
	mkdir "$LOW/d"
	echo x | tee "$LOW/low" >"$LOW/d/f"
	overlay_mount
	echo x >"$MNT/a"
	mv "$MNT/a" "$MNT/b"
	echo x >"$MNT/a"
	mv "$MNT/low" "$MNT/low2"
	echo x >"$MNT/low"
	mv "$MNT/d" "$MNT/d2"
	mkdir "$MNT/d"
	echo x >"$MNT/d/f"
	for again in no yes; do
		assert_equal "$(find "$MNT" -printf '%i\n' | sort | uniq -d)" ''
		numbers >"$T/now"
		[[ $again == no ]] || diff "$T/first" "$T/now"
		mv "$T/now" "$T/first"
		[[ $again == yes ]] || overlay_remount
	done
}

@test "a file that replaces another by rename brings its own number" {
	echo x >"$LOW/f"
	overlay_mount
	echo y >"$MNT/new"
	new=$(ino "$MNT/new")
	assert_not_equal "$new" "$(ino "$MNT/f")"
	mv "$MNT/new" "$MNT/f"
	assert_equal "$(ino "$MNT/f")" "$new"
	overlay_remount
	assert_equal "$(ino "$MNT/f")" "$new"
}

@test "an exchange exchanges the numbers" {
	mkdir "$LOW/d"
	echo x | tee "$LOW/a" "$LOW/d/f" >"$UP/b"
	overlay_mount
	read -r a b d f < <(ino "$MNT/a" "$MNT/b" "$MNT/d" "$MNT/d/f")
	sysc rename2 "$MNT/a" "$MNT/b" EXCHANGE
	assert_equal "$(ino "$MNT/a" "$MNT/b")" "$b $a"
	sysc rename2 "$MNT/a" "$MNT/d" EXCHANGE
	assert_equal "$(ino "$MNT/a" "$MNT/d" "$MNT/a/f")" "$d $b $f"
	overlay_remount
	assert_equal "$(ino "$MNT/a" "$MNT/d" "$MNT/b" "$MNT/a/f")" "$d $b $a $f"
}

@test "all names of a hard-linked file show one number, in lower and upper" {
	mkdir "$LOW/d" "$UP/u"
	echo x | tee "$LOW/a" >"$UP/v"
	ln "$LOW/a" "$LOW/b"
	ln "$LOW/a" "$LOW/d/c"
	ln "$UP/v" "$UP/u/w"
	overlay_mount
	assert_equal "$(ino "$MNT/a" "$MNT/b" "$MNT/d/c" | tr ' ' '\n' | sort -u | wc -l)" 1
	assert_equal "$(ino "$MNT/v")" "$(ino "$MNT/u/w")"
	a=$(ino "$MNT/a") v=$(ino "$MNT/v")
	echo y >>"$MNT/b"
	mv "$MNT/d/c" "$MNT/c"
	mv "$MNT/u/w" "$MNT/w"
	assert_equal "$(ino "$MNT/a" "$MNT/b" "$MNT/c")" "$a $a $a"
	assert_equal "$(ino "$MNT/v" "$MNT/w")" "$v $v"
	overlay_remount
	assert_equal "$(ino "$MNT/a" "$MNT/b" "$MNT/c")" "$a $a $a"
	assert_equal "$(ino "$MNT/v" "$MNT/w")" "$v $v"
}

@test "a new hard link does not change the number, nor does its removal" {
	echo x | tee "$LOW/low" >"$UP/up"
	overlay_mount
	echo x >"$MNT/new"
	for f in low up new; do
		before=$(ino "$MNT/$f")
		ln "$MNT/$f" "$MNT/link"
		assert_equal "$(ino "$MNT/$f" "$MNT/link")" "$before $before"
		overlay_remount
		assert_equal "$(ino "$MNT/$f" "$MNT/link")" "$before $before"
		rm "$MNT/$f"
		assert_equal "$(ino "$MNT/link")" "$before"
		overlay_remount
		assert_equal "$(ino "$MNT/link")" "$before"
		rm "$MNT/link"
	done
}

@test "no two files of a large tree share a number, and none is 0 or 1" {
	py "$LOW" "$UP" <<-'END'
		import os, sys
		for k, root in enumerate(sys.argv[1:]):
		    for i in range(60):
		        os.makedirs('%s/%d/%d' % (root, i, k))
		        for j in range(40):
		            os.mknod('%s/%d/%d/%d' % (root, i, k, j))
		            os.mknod('%s/%d/same%d' % (root, i, j))
	END
	overlay_mount
	find "$MNT" -mindepth 1 -printf '%i\n' | sort >"$T/all"
	assert_equal "$(uniq -d "$T/all")" ''
	assert_equal "$(grep -cxE '[01]' "$T/all")" 0
	assert_equal "$(wc -l <"$T/all")" "$(find "$MNT" -mindepth 1 | wc -l)"
}

@test "layers on different file systems never share a number" {
	need root
	mkdir "$T/fs1" "$T/fs2"
	mount -t tmpfs tmpfs "$T/fs1"
	mount -t tmpfs tmpfs "$T/fs2"
	for i in {1..100}; do
		echo x >"$T/fs1/a$i"
		echo x >"$T/fs2/b$i"
		ln "$T/fs1/a$i" "$T/fs1/A$i"
		ln "$T/fs2/b$i" "$T/fs2/B$i"
	done
	LOWERS=("$T/fs1" "$T/fs2")
	overlay_mount
	assert_equal "$(find "$MNT" -type f -printf '%i\n' | sort | uniq -c | awk '$1 != 2')" ''
	assert_equal "$(find "$MNT" -printf '%D\n' | sort -u | wc -l)" 1
	overlay_umount
	lowers_unchanged
	SNAPPED=() # teardown unmounts them
}

@test "a file unlinked while open and its successor have different numbers" {
	echo x >"$LOW/f"
	overlay_mount
	exec 7<"$MNT/f"
	rm "$MNT/f"
	echo y >"$MNT/f"
	assert_not_equal "$(stat -L -c %i /proc/self/fd/7)" "$(ino "$MNT/f")"
	exec 7<&-
}

@test "programs that compare numbers are content: cp, mv, tar, rsync, git" {
	mkdir -p "$LOW/d/e"
	for i in 1 2 3 4 5; do echo "$i" >"$LOW/d/e/$i"; done
	ln "$LOW/d/e/1" "$LOW/d/hard"
	overlay_mount
	cp -a "$MNT/d" "$MNT/copy"
	mv "$MNT/d" "$MNT/moved"
	assert_equal "$(stat -c %h "$MNT/copy/hard")" 2
	tar -C "$MNT" -cf "$T/tar" copy moved
	mkdir "$T/out"
	tar -C "$T/out" -xf "$T/tar"
	diff -r "$T/out/copy" "$MNT/moved"
	assert [ "$T/out/moved/hard" -ef "$T/out/moved/e/1" ]
	run rm "$MNT/moved/hard" "$MNT/moved/e/1"
	assert_success
	run cp "$MNT/copy/hard" "$MNT/copy/e/1"
	assert_output --partial 'are the same file'
}

@test "an inode of the upper that is used again does not bring an old number along" {
	echo x >"$LOW/h1"
	ln "$LOW/h1" "$LOW/h2"
	overlay_mount
	touch "$MNT/h1"
	overlay_remount
	old=$(stat -c %i "$MNT/h1")
	rm "$MNT/h1" "$MNT/h2"
	for i in {1..20}; do echo "$i" >"$MNT/new$i"; done
	before=$(cd "$MNT" && stat -c '%n %i' new*)
	[[ $before != *" $old"* ]]
	overlay_remount
	assert_equal "$(cd "$MNT" && stat -c '%n %i' new*)" "$before"
}

@test "the number stays when the owner may not read the file any more" {
	echo x >"$LOW/f"
	mkdir "$LOW/d"
	tree_for_user
	overlay_mount
	want=$(as_user stat -c %i "$MNT/f" "$MNT/d")
	as_user chmod 200 "$MNT/f" "$MNT/d"
	assert_equal "$(as_user stat -c %i "$MNT/f" "$MNT/d")" "$want"
	as_user sh -c 'echo y >"$1"' sh "$MNT/f"
	((EUID != 0)) || echo 2 >/proc/sys/vm/drop_caches
	assert_equal "$(as_user stat -c %i "$MNT/f" "$MNT/d")" "$want"
}

@test "a directory that kernel overlayfs moved into a new one has one number and enough links" {
	mkdir -p "$LOW"/d/{1,2,3} "$UP/new/x"
	setfattr -n user.overlay.redirect -v /d "$UP/new/x"
	setfattr -n user.overlay.impure -v y "$UP/new"
	overlay_mount
	assert_names "$MNT/new/x" 1 2 3
	py <<-'EOF'
		import os, ovl
		x = os.environ['MNT'] + '/new/x'
		st = os.stat(x)
		listed = {name: number for name, number, _ in ovl.Dir(x)}
		ovl.equal(listed['.'], st.st_ino)
		ovl.equal({name: number for name, number, _ in ovl.Dir(x + '/1')}['..'], st.st_ino)
		assert st.st_nlink in (1, 5), st.st_nlink
	EOF
}
