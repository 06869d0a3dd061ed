# How a path becomes a file: merging, precedence, and what hides what.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

@test "the upper and all lowers are merged, the topmost entry wins" {
	LOWERS=("$LOW" "$LOW2" "$LOW3")
	for d in "$UP" "$LOW" "$LOW2" "$LOW3"; do
		mkdir "$d/dir"
		echo "${d##*/}" >"$d/all"
		echo "${d##*/}" >"$d/dir/all"
		echo "${d##*/}" >"$d/dir/only-${d##*/}"
	done
	rm "$UP/all" "$UP/dir/all" "$LOW/dir/all"
	overlay_mount
	assert_names "$MNT" all dir
	assert_names "$MNT/dir" all only-up only-low only-low2 only-low3
	assert_content "$MNT/all" low
	assert_content "$MNT/dir/all" low2
	assert_content "$MNT/dir/only-low3" low3
}

@test "a file hides a directory of the same name below it" {
	echo file >"$UP/a"
	mkdir "$LOW/a"
	echo hidden >"$LOW/a/x"
	overlay_mount
	assert_content "$MNT/a" file
	assert_equal "$(sysc lstat "$MNT/a/x")" ENOTDIR
	assert_names "$MNT" a
}

@test "a directory hides a file of the same name below it" {
	mkdir "$UP/a"
	echo hidden >"$LOW/a"
	overlay_mount
	assert [ -d "$MNT/a" ]
	assert_names "$MNT/a"
}

@test "a file in the middle ends the merging of directories above and below it" {
	LOWERS=("$LOW" "$LOW2")
	mkdir "$UP/a" "$LOW2/a"
	echo own >"$UP/a/own"
	echo middle >"$LOW/a"
	echo leak >"$LOW2/a/leak"
	overlay_mount
	assert_names "$MNT/a" own
	assert_gone "$MNT/a/leak"
}

@test "a symlink in a lower is not followed where the upper has a directory" {
	mkdir "$UP/a" "$T/target"
	echo secret >"$T/target/secret"
	ln -s "$T/target" "$LOW/a"
	ln -s /etc "$LOW/b"
	mkdir "$UP/b" "$LOW/real" "$UP/c"
	echo real >"$LOW/real/inside"
	ln -s real "$LOW/c"
	overlay_mount
	for name in a/secret b/passwd c/inside; do
		assert_gone "$MNT/$name"
	done
	assert_names "$MNT/a"
	assert_names "$MNT/b"
	assert_names "$MNT/c"
	echo new >"$MNT/a/secret"
	assert_content "$T/target/secret" secret
}

@test "a symlink in the middle of a lower's path is not followed" {
	mkdir -p "$UP/a/b/c" "$T/target/b/c" "$LOW/a"
	echo secret >"$T/target/b/c/secret"
	ln -s "$T/target/b" "$LOW/a/b"
	ln -s ../../.. "$LOW/a/up"
	mkdir "$UP/a/up"
	overlay_mount
	assert_gone "$MNT/a/b/c/secret"
	assert_names "$MNT/a/up"
	assert_names "$MNT/a/b" c
}

@test "a symlink in the middle layer ends the merging below it" {
	LOWERS=("$LOW" "$LOW2")
	mkdir "$UP/a" "$LOW2/a"
	echo leak >"$LOW2/a/leak"
	ln -s nowhere "$LOW/a"
	overlay_mount
	assert_names "$MNT/a"
	assert_gone "$MNT/a/leak"
}

@test "a symlink on top of a directory is a symlink" {
	ln -s other "$UP/a"
	mkdir "$LOW/a" "$LOW/other"
	echo x >"$LOW/other/x"
	echo hidden >"$LOW/a/y"
	overlay_mount
	assert_equal "$(readlink "$MNT/a")" other
	assert_names "$MNT/a/" x
}

@test "a directory nested below an opaque one does not leak lower files" {
	need root
	for form in user.overlay.opaque trusted.overlay.opaque user.fuseoverlayfs.opaque wh; do
		printf '%s\n' "$form"
		make_opaque "$UP/a" "$form"
		mkdir -p "$UP/a/b/c" "$LOW/a/b/c"
		echo own >"$UP/a/b/own"
		echo leak >"$LOW/a/leak"
		echo leak >"$LOW/a/b/leak"
		echo leak >"$LOW/a/b/c/leak"
		overlay_mount
		assert_names "$MNT/a" b
		assert_names "$MNT/a/b" own c
		assert_names "$MNT/a/b/c"
		assert_gone "$MNT/a/b/leak"
		assert_gone "$MNT/a/b/c/leak"
		mkdir "$MNT/a/b/new"
		assert_names "$MNT/a/b/new"
		overlay_umount
		tree_end
		tree_begin
	done
}

@test "an opaque directory in the middle hides what is below it, and only that" {
	LOWERS=("$LOW" "$LOW2" "$LOW3")
	for form in user.overlay.opaque user.fuseoverlayfs.opaque wh; do
		printf '%s\n' "$form"
		make_opaque "$LOW2/a/$form" "$form"
		mkdir -p "$UP/a/$form/b" "$LOW/a/$form/b" "$LOW2/a/$form/b" "$LOW3/a/$form/b"
		echo low >"$LOW/a/$form/b/low"
		echo low2 >"$LOW2/a/$form/b/low2"
		echo leak >"$LOW3/a/$form/b/leak"
		echo leak >"$LOW3/a/$form/leak"
		echo seen >"$LOW3/a/seen"
	done
	overlay_mount
	for form in user.overlay.opaque user.fuseoverlayfs.opaque wh; do
		assert_names "$MNT/a/$form" b
		assert_names "$MNT/a/$form/b" low low2
		assert_gone "$MNT/a/$form/b/leak"
	done
	assert_content "$MNT/a/seen" seen
}

@test "an opaque root of a layer hides all layers below" {
	LOWERS=("$LOW" "$LOW2")
	make_opaque "$LOW" user.overlay.opaque
	mkdir "$LOW/d" "$LOW2/d"
	echo own >"$LOW/d/own"
	echo leak >"$LOW2/d/leak"
	echo leak >"$LOW2/leak"
	overlay_mount
	assert_names "$MNT" d
	assert_names "$MNT/d" own
}

@test "the attributes of a merged directory are those of the topmost one" {
	LOWERS=("$LOW" "$LOW2")
	mkdir -m 0751 "$LOW/d"
	mkdir -m 0700 "$LOW2/d"
	touch -d '2011-01-01 12:00:00.123456789' "$LOW/d"
	chmod 0755 "$UP"
	overlay_mount
	assert_equal "$(stat -c '%a %y' "$MNT/d")" '751 2011-01-01 12:00:00.123456789 +0000'
	assert_equal "$(stat -c %a "$MNT")" 755
}

@test "missing names are ENOENT, names below files ENOTDIR" {
	echo x >"$LOW/file"
	mkdir "$LOW/dir"
	overlay_mount
	assert_equal "$(sysc lstat "$MNT/none")" ENOENT
	assert_equal "$(sysc lstat "$MNT/dir/none/more")" ENOENT
	assert_equal "$(sysc lstat "$MNT/file/none")" ENOTDIR
	assert_equal "$(sysc open "$MNT/file/none" 'CREAT|WRONLY')" ENOTDIR
	assert_equal "$(sysc rmdir "$MNT/file")" ENOTDIR
	assert_equal "$(sysc unlink "$MNT/dir")" EISDIR
	assert_equal "$(sysc listdir "$MNT/file")" ENOTDIR
	assert_equal "$(sysc readlink "$MNT/file")" EINVAL
	# Asked once, then made: the negative answer must not stick.
	echo y >"$MNT/none"
	assert_content "$MNT/none" y
}

@test "any bytes are names" {
	overlay_mount
	py "$LOW" "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = os.fsencode(sys.argv[2])
		names = [b' ', b'a b', b'a\nb', b'\\', b'\xff\xfe', b':', b',', b'a:b,c=d', b'%s%n', b'-rf',
		         b'"', b"'", b'\x01\x7f', b'..a', b'...', b'.w', b'.wh', b'wh.a', 'é'.encode(),
		         b'x' * 255, 'é'.encode() * 127, b'\\:', b'*?[', b'~', b'#']
		for n in names:
		    write(mnt + b'/' + n, n)
		    os.mkdir(mnt + b'/d' + n[:200])
		    write(mnt + b'/d' + n[:200] + b'/' + n, n)
		equal(sorted(os.listdir(mnt)), sorted(names + [b'd' + n[:200] for n in names]))
		for n in names:
		    equal(read(mnt + b'/' + n), n)
		    equal(read(mnt + b'/d' + n[:200] + b'/' + n), n)
	END
	overlay_umount
	lower_may_change "$LOW"
	rm -rf "$LOW"
	mv "$UP" "$LOW"
	rm -rf "$LOW/.wh..wh.work"
	mkdir "$UP"
	overlay_mount
	# The same names in a lower: change half of them, remove the others.
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = os.fsencode(sys.argv[1])
		all = sorted(os.listdir(mnt))
		for i, n in enumerate(all):
		    p = mnt + b'/' + n
		    if os.path.isdir(p):
		        os.rename(p, mnt + b'/r%d' % i)
		    elif i % 2:
		        write(p, b'changed')
		        equal(read(p), b'changed')
		    else:
		        os.unlink(p)
		        equal(attempt(os.lstat, p), 'ENOENT')
		for n in os.listdir(mnt):
		    if n.startswith(b'r'):
		        equal(len(os.listdir(mnt + b'/' + n)), 1)
	END
}

@test "a name of 255 bytes works and one of 256 is ENAMETOOLONG everywhere" {
	long=$(printf '%0255d' 1)
	over=${long}x
	echo low >"$LOW/$long"
	mkdir "$LOW/d"
	echo f >"$LOW/f"
	overlay_mount
	assert_content "$MNT/$long" low
	echo new >>"$MNT/$long"
	echo x >"$MNT/d/$long"
	assert_content "$MNT/d/$long" x
	for op in "lstat $MNT/$over" "open $MNT/$over RDONLY" "open $MNT/$over CREAT|WRONLY" \
		"mkdir $MNT/$over" "rmdir $MNT/$over" "unlink $MNT/$over" "mknod $MNT/$over p" \
		"symlink t $MNT/$over" "link $MNT/f $MNT/$over" "rename $MNT/f $MNT/$over" \
		"rename $MNT/$over $MNT/g" "chmod $MNT/$over 644" "truncate $MNT/$over 0" \
		"readlink $MNT/$over" "getxattr $MNT/$over user.x" "setxattr $MNT/$over user.x y" \
		"lstat $MNT/$over/x" "mkdir $MNT/d/$over" "lstat $MNT/none/$over"; do
		want=ENAMETOOLONG
		[[ $op != *none* ]] || want=ENOENT
		assert_equal "$op: $(sysc $op)" "$op: $want"
	done
	assert_names "$MNT/d" "$long"
}

@test "paths up to PATH_MAX work, longer ones give ENAMETOOLONG and never harm" {
	overlay_mount
	py "$LOW" "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[2]
		part = 'p' * 100
		path = mnt
		while len(path) + 101 < 4000:
		    path += '/' + part
		    os.mkdir(path)
		write(path + '/f', b'deep')
		equal(read(path + '/f'), b'deep')
		os.rename(path + '/f', mnt + '/f')
		os.rename(mnt + '/f', path + '/g')
		equal(os.listdir(path), ['g'])
		# Step by step one gets further than any path reaches.
		fd = os.open(path, os.O_RDONLY)
		depth = 0
		for _ in range(60):
		    r = attempt(os.mkdir, part, dir_fd=fd)
		    if r != 'ok':
		        equal(r, 'ENAMETOOLONG')
		        equal(attempt(os.open, part, os.O_RDONLY, dir_fd=fd), 'ENAMETOOLONG')
		        break
		    n = os.open(part, os.O_RDONLY, dir_fd=fd)
		    os.close(fd)
		    fd = n
		    depth += 1
		os.close(fd)
		equal(read(path + '/g'), b'deep')
	END
	rm -rf "${MNT:?}"/*
	assert_names "$MNT"
}

@test "a deep path in many layers is found and changed" {
	LOWERS=("$LOW" "$LOW2" "$LOW3")
	path=$(printf 'level%s/' {1..24})
	mkdir -p "$UP/${path%%/*}" "$LOW/$path" "$LOW2/$path" "$LOW3/$path"
	echo 1 >"$LOW/$path/a"
	echo 2 >"$LOW2/$path/b"
	echo 3 >"$LOW3/$path/c"
	overlay_mount
	assert_names "$MNT/$path" a b c
	echo new >"$MNT/$path/c"
	rm "$MNT/$path/a"
	overlay_remount
	assert_names "$MNT/$path" b c
	assert_content "$MNT/$path/c" new
}

@test "a redirect names the place of a directory's lower part" {
	mkdir -p "$LOW/old/sub" "$LOW/other" "$UP/new" "$UP/dir/rel" "$LOW/dir/was" "$LOW/dir/rel"
	echo lower >"$LOW/old/f"
	echo lower >"$LOW/old/sub/f"
	echo upper >"$UP/new/own"
	echo was >"$LOW/dir/was/w"
	echo rel >"$LOW/dir/rel/not"
	setfattr -n user.overlay.redirect -v /old "$UP/new"
	setfattr -n user.overlay.redirect -v was "$UP/dir/rel"
	overlay_mount
	assert_names "$MNT/new" f own sub
	assert_content "$MNT/new/sub/f" lower
	assert_names "$MNT/dir/rel" w
	# Without a whiteout the old place shows the same.
	assert_content "$MNT/old/f" lower
	echo changed >"$MNT/new/sub/f"
	assert_content "$UP/new/sub/f" changed
	assert_content "$MNT/old/sub/f" lower
}

@test "a redirect in the trusted name space counts for root" {
	need root
	mkdir -p "$LOW/old" "$UP/new"
	echo lower >"$LOW/old/f"
	setfattr -n trusted.overlay.redirect -v /old "$UP/new"
	overlay_mount
	assert_content "$MNT/new/f" lower
}

@test "redirects of several layers add up" {
	LOWERS=("$LOW" "$LOW2")
	mkdir -p "$UP/c" "$LOW/b" "$LOW2/a"
	echo a >"$LOW2/a/fa"
	echo b >"$LOW/b/fb"
	setfattr -n user.overlay.redirect -v /b "$UP/c"
	setfattr -n user.overlay.redirect -v /a "$LOW/b"
	overlay_mount
	assert_names "$MNT/c" fa fb
	assert_content "$MNT/c/fa" a
}

@test "a redirect cannot lead out of the layers" {
	mkdir -p "$LOW/d" "$T/outside"
	echo secret >"$T/outside/secret"
	ln -s ../outside "$LOW/link"
	i=0
	for target in /../outside ../outside /d/../../outside .. /.. / . '' /link "$T/outside" \
		../../../../../etc link/../../outside; do
		i=$((i + 1))
		mkdir -p "$UP/r$i"
		setfattr -n user.overlay.redirect -v "$target" "$UP/r$i"
	done
	overlay_mount
	for ((; i > 0; i--)); do
		run ls "$MNT/r$i"
		refute_output --partial secret
		refute_output --partial passwd
	done
	kill -0 "$DAEMON"
}

@test "a lower directory that turns into a symlink while mounted is not followed" {
	# What the link names from the layer is not what it names from the mount.
	mkdir -p "$LOW/layer/d/e" "$LOW/outside/e"
	LOWERS=("$LOW/layer")
	echo secret >"$LOW/outside/secret"
	echo secret >"$LOW/outside/e/secret"
	overlay_mount -o timeout=0
	assert_names "$MNT/d" e
	lower_may_change "$LOW/layer"
	rm -r "$LOW/layer/d"
	ln -s ../outside "$LOW/layer/d"
	for name in secret e/secret; do
		run cat "$MNT/d/$name"
		assert_failure
		refute_output secret
	done
	echo x 2>/dev/null >"$MNT/d/e/new" || :
	assert_not_exist "$LOW/outside/e/new"
	kill -0 "$DAEMON"
}

@test "other file systems mounted inside a lower are part of the view" {
	need root
	mkdir "$LOW/mounted" "$LOW/single"
	echo single >"$LOW/file"
	mount -t tmpfs tmpfs "$LOW/mounted"
	echo inner >"$LOW/mounted/inner"
	mkdir "$LOW/mounted/dir"
	overlay_mount
	lower_may_change "$LOW" # its access time is that of what is mounted there
	assert_names "$MNT/mounted" dir inner
	assert_content "$MNT/mounted/inner" inner
	echo new >"$MNT/mounted/inner"
	mkdir "$MNT/mounted/dir/new"
	rm -r "$MNT/mounted/dir"
	mv "$MNT/mounted" "$MNT/moved"
	assert_names "$MNT/moved" inner
	assert_content "$MNT/moved/inner" new
	assert_content "$LOW/mounted/inner" inner
	overlay_umount
	umount "$LOW/mounted"
}

# asked TRACE: how often a layer was asked for a name that begins with "only".
asked() { grep -c '"only' "$1"; }

@test "lower directories that do not have a name are not asked for it, unless case is ignored there" {
	need root
	need command strace
	mount -t tmpfs tmpfs "$LOW"
	mkdir -p "$LOW"/{1,2,3,4}/d
	touch "$LOW"/{1,2,3,4}/d/common "$LOW"/4/d/only{1..50} "$LOW/1/d/.wh.only1"
	mknod "$LOW/2/d/only2" c 0 0
	LOWERS=("$LOW"/{1,2,3,4})
	DAEMON_AS=(env "ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0" strace -f -qq -e "trace=%%stat,ioctl"
		-o "$T/run/trace")
	overlay_mount
	stat "$MNT/d/only"{3..50} >/dev/null
	assert_equal "$(sysc lstat "$MNT/d/only1") $(sysc lstat "$MNT/d/only2")" 'ENOENT ENOENT'
	overlay_umount
	# The upper and the last lower, and a few that the others are not sure of.
	(("$(asked "$T/run/trace")" < 160)) || fail "asked $(asked "$T/run/trace") times"
	DAEMON_AS+=(-e inject=ioctl:retval=0:poke_exit=@arg3=00000040) # FS_CASEFOLD_FL
	overlay_mount
	stat "$MNT/d/only"{3..50} >/dev/null
	overlay_umount
	DAEMON_AS=()
	(("$(asked "$T/run/trace")" >= 48 * 4)) || fail "asked $(asked "$T/run/trace") times"
	lowers_unchanged || fail 'a lower was changed'
	for i in 1 2 3 4; do lower_may_change "$LOW/$i"; done
	umount "$LOW"
}

@test "lower directories that may be entered but not read are merged by name" {
	need root
	LOWERS=("$LOW" "$LOW2")
	mkdir -p "$LOW/d/sub" "$LOW/o/sub" "$LOW2/d/sub" "$LOW2/o/sub"
	echo low >"$LOW/d/f"
	: >"$LOW/d/.wh.gone"
	mknod "$LOW/d/gone2" c 0 0
	: >"$LOW/o/.wh..wh..opq"
	echo low2 | tee "$LOW2/d/gone" "$LOW2/d/gone2" "$LOW2/d/seen" "$LOW2/d/sub/x" "$LOW2/o/leak" \
		>"$LOW2/o/sub/leak"
	tree_for_user
	chown -R 0:0 "$LOW" "$LOW2"
	chmod 711 "$LOW/d" "$LOW/o"
	overlay_mount
	assert_equal "$(as_user cat "$MNT/d/f" "$MNT/d/seen" "$MNT/d/sub/x" | xargs)" 'low low2 low2'
	for name in d/gone d/gone2 d/.wh.gone o/leak o/sub/leak; do
		assert_equal "$name $(user_sysc lstat "$MNT/$name")" "$name ENOENT"
	done
	assert_equal "$(user_sysc listdir "$MNT/d")" EACCES
}
