# Extended attributes: those of users, ours and overlayfs's that stay hidden, and escaping.

load helpers

setup() {
	tree_begin
	echo x >"$LOW/low"
	mkdir "$LOW/d"
	echo x >"$UP/up"
}
teardown() { tree_end; }

@test "attributes are set, read, listed, replaced and removed" {
	setfattr -n user.lower -v l "$LOW/low"
	setfattr -n user.lower -v l "$LOW/d"
	overlay_mount
	for f in low up d; do
		assert_equal "$(sysc setxattr "$MNT/$f" user.a one)" ok
		assert_equal "$(sysc getxattr "$MNT/$f" user.a)" one
		assert_equal "$(sysc setxattr "$MNT/$f" user.a two)" ok
		assert_equal "$(sysc setxattr "$MNT/$f" user.b '')" ok
		assert_equal "$(sysc getxattr "$MNT/$f" user.a) $(sysc getxattr "$MNT/$f" user.b)" 'two '
		[[ $f == up ]] || assert_equal "$(sysc listxattr "$MNT/$f")" 'user.a user.b user.lower'
		assert_equal "$(sysc removexattr "$MNT/$f" user.a)" ok
		assert_equal "$(sysc getxattr "$MNT/$f" user.a)" ENODATA
		assert_equal "$(sysc removexattr "$MNT/$f" user.a)" ENODATA
	done
	assert_equal "$(sysc removexattr "$MNT/low" user.lower)" ok
	overlay_remount
	assert_equal "$(sysc listxattr "$MNT/low") $(sysc listxattr "$MNT/d") $(sysc listxattr "$MNT/up")" \
		'user.b user.b user.lower user.b'
}

@test "the flags XATTR_CREATE and XATTR_REPLACE are obeyed, and small buffers are ERANGE" {
	overlay_mount
	py "$MNT" <<-'END'
		import ctypes, os, sys
		from ovl import *
		for f in ('low', 'up'):
		    p = sys.argv[1] + '/' + f
		    equal(attempt(os.setxattr, p, 'user.a', b'1', os.XATTR_REPLACE), 'ENODATA')
		    equal(attempt(os.setxattr, p, 'user.a', b'1', os.XATTR_CREATE), 'ok')
		    equal(attempt(os.setxattr, p, 'user.a', b'2', os.XATTR_CREATE), 'EEXIST')
		    equal(attempt(os.setxattr, p, 'user.a', b'22', os.XATTR_REPLACE), 'ok')
		    buf = ctypes.create_string_buffer(1)
		    equal(libc.getxattr(p.encode(), b'user.a', buf, 1), -1)
		    equal(ctypes.get_errno(), 34)
		    equal(libc.listxattr(p.encode(), buf, 1), -1)
		    equal(ctypes.get_errno(), 34)
		    equal(libc.getxattr(p.encode(), b'user.a', None, 0), 2)
		    equal(libc.listxattr(p.encode(), None, 0), 7)
		    os.setxattr(p, 'user.big', b'x' * 3000)
		    equal(len(os.getxattr(p, 'user.big')), 3000)
	END
}

@test "reading attributes of a lower file copies nothing up, setting one does" {
	setfattr -n user.a -v b "$LOW/low"
	overlay_mount
	sysc getxattr "$MNT/low" user.a
	sysc listxattr "$MNT/low"
	assert_equal "$(sysc removexattr "$MNT/low" user.none)" ENODATA
	assert_upper up
	sysc setxattr "$MNT/low" user.c d
	assert_upper up low
	assert_equal "$(sysc getxattr "$MNT/low" user.a)" b
}

HIDDEN=(user.overlay.opaque user.overlay.redirect user.overlay.whiteout user.overlay.origin
	user.overlay.anything user.fuseoverlayfs.opaque user.fuseoverlayfs.anything
	user.overlayfs.origin user.overlayfs.anything)

@test "our attributes and those of other overlays are hidden from listing and reading" {
	local target names=("${HIDDEN[@]}")
	((EUID != 0)) || names+=(trusted.overlay.opaque trusted.overlay.redirect trusted.overlay.anything)
	for target in "$UP/up" "$LOW/low" "$LOW/d"; do
		setfattr -n user.visible -v 1 "$target"
		for name in "${names[@]}"; do
			[[ $name == *redirect || $name == *opaque ]] || setfattr -n "$name" -v n "$target"
		done
	done
	setfattr -n user.overlay.opaque -v y "$LOW/d"
	overlay_mount
	for f in up low d; do
		assert_equal "$(sysc listxattr "$MNT/$f")" user.visible
		for name in "${names[@]}"; do
			assert_equal "$name $(sysc getxattr "$MNT/$f" "$name")" "$name ENODATA"
		done
	done
	# Changes, which make attributes of ours, do not show either.
	chmod 600 "$MNT/low"
	mv "$MNT/d" "$MNT/e"
	ln "$MNT/low" "$MNT/link"
	for f in up low e link; do
		assert_equal "$(sysc listxattr "$MNT/$f")" user.visible
	done
}

@test "a user's attribute with an overlay's name is kept apart from the overlay's own" {
	local names=(user.overlay.opaque user.overlay.redirect user.fuseoverlayfs.opaque user.overlayfs.origin)
	((EUID != 0)) || names+=(trusted.overlay.opaque)
	echo x >"$LOW/d/f"
	overlay_mount
	for f in up low d; do
		for name in "${names[@]}"; do
			assert_equal "$f $name: $(sysc setxattr "$MNT/$f" "$name" y)" "$f $name: ok"
			assert_equal "$(sysc getxattr "$MNT/$f" "$name")" y
		done
		assert_equal "$(sysc listxattr "$MNT/$f" | tr ' ' '\n' | grep -c overlay)" "${#names[@]}"
	done
	# None of them means anything here.
	assert_names "$MNT/d" f
	run -0 getfattr --only-values --absolute-names -n user.overlay.overlay.opaque "$UP/d"
	assert_output y
	for f in up low d; do
		for name in "${names[@]}"; do
			assert_equal "$f $name: $(sysc removexattr "$MNT/$f" "$name")" "$f $name: ok"
			assert_equal "$(sysc getxattr "$MNT/$f" "$name")" ENODATA
		done
	done
}

@test "attributes of another overlay's lower files are not copied up as marks" {
	mkdir "$LOW2/t"
	LOWERS=("$LOW2" "$LOW")
	setfattr -n user.overlay.opaque -v y "$LOW/d"
	setfattr -n user.keep -v k "$LOW/d"
	echo x >"$LOW/d/f"
	overlay_mount
	chmod 700 "$MNT/d"
	echo y >"$MNT/d/new"
	assert_names "$MNT/d" f new
	assert_equal "$(sysc listxattr "$MNT/d")" user.keep
	overlay_remount
	assert_names "$MNT/d" f new
}

@test "user.overlay.overlay.NAME in a layer is user.overlay.NAME in the mount" {
	setfattr -n user.overlay.overlay.opaque -v y "$LOW/d"
	echo x >"$LOW/d/f"
	overlay_mount
	# It is an attribute like any other here: not a mark, and seen without one prefix.
	assert_names "$MNT/d" f
	assert_equal "$(sysc getxattr "$MNT/d" user.overlay.opaque)" y
	assert_equal "$(sysc listxattr "$MNT/d")" user.overlay.opaque
	chmod 700 "$MNT/d"
	assert_equal "$(sysc getxattr "$MNT/d" user.overlay.opaque)" y
	assert_equal "$(getfattr --only-values --absolute-names -n user.overlay.overlay.opaque "$UP/d")" y
}

@test "an overlay inside an overlay works" {
	echo low | tee "$LOW/d/a" >"$LOW/d/b"
	mkdir "$LOW/inner-low" "$LOW/inner-low/d" "$T/mnt2"
	echo inner | tee "$LOW/inner-low/a" "$LOW/inner-low/d/x" >"$LOW/inner-low/b"
	overlay_mount
	mkdir "$MNT/inner-up" "$MNT/inner-work"
	lower_may_change none
	overlay_mount_background -o "whiteout=xattr,lowerdir=$MNT/inner-low,upperdir=$MNT/inner-up,workdir=$MNT/inner-work" "$T/mnt2"
	rm "$T/mnt2/a"
	rm -r "$T/mnt2/d"
	mkdir "$T/mnt2/d"
	echo new >"$T/mnt2/b"
	mv "$T/mnt2/b" "$T/mnt2/d/c"
	assert_names "$T/mnt2" d
	assert_names "$T/mnt2/d" c
	umount_one "$T/mnt2"
	overlay_mount_background -o "whiteout=xattr,lowerdir=$MNT/inner-low,upperdir=$MNT/inner-up,workdir=$MNT/inner-work" "$T/mnt2"
	assert_names "$T/mnt2" d
	assert_names "$T/mnt2/d" c
	assert_content "$T/mnt2/d/c" new
	umount_one "$T/mnt2"
	# Without these two options the inner one could not keep its marks, and says so.
	run -1 "$OVERLAYFS" -u "$MNT/inner-up" "$MNT/inner-low" "$T/mnt2"
	assert_output --partial 'give workdir= and whiteout=xattr'
	run -1 "$OVERLAYFS" -o "lowerdir=$MNT/inner-low,upperdir=$MNT/inner-up,workdir=$MNT/inner-work" "$T/mnt2"
	assert_output --partial 'give workdir= and whiteout=xattr'
	# The outer one is not confused by the inner one's marks.
	assert_names "$MNT/inner-low" a b d
	overlay_remount
	assert_names "$MNT" d inner-low inner-up inner-work low up
}

@test "attributes of symbolic links and special files give the usual errors" {
	ln -s low "$LOW/link"
	mkfifo "$LOW/fifo"
	overlay_mount
	assert_equal "$(sysc setxattr "$MNT/link" user.a b)" EPERM
	assert_equal "$(sysc setxattr "$MNT/fifo" user.a b)" EPERM
	assert_equal "$(sysc listxattr "$MNT/link")" ''
	assert_equal "$(sysc listxattr "$MNT/fifo")" ''
	assert_upper up
	if ((EUID == 0)); then
		assert_equal "$(sysc setxattr "$MNT/link" trusted.a b)" ok
		assert_equal "$(sysc getxattr "$MNT/link" trusted.a)" b
		assert_equal "$(readlink "$MNT/link")" low
	fi
}

@test "the attributes of the root directory can be changed, too" {
	overlay_mount
	assert_equal "$(sysc setxattr "$MNT" user.a b)" ok
	assert_equal "$(sysc listxattr "$MNT")" user.a
	chmod 711 "$MNT"
	touch -d 2012-12-12 "$MNT"
	overlay_remount
	assert_equal "$(sysc getxattr "$MNT" user.a) $(stat -c '%a %Y' "$MNT")" 'b 711 1355270400'
}

@test "removing an ACL that is not there succeeds, as on ext4" {
	overlay_mount
	for f in up low d; do
		assert_equal "$(sysc removexattr "$MNT/$f" system.posix_acl_access)" ok
	done
	assert_upper up
}

@test "trusted attributes are listed for root only" {
	need root
	setfattr -n trusted.secret -v x "$LOW/low"
	overlay_mount
	assert_equal "$(sysc listxattr "$MNT/low")" trusted.secret
	assert_equal "$(user_sysc listxattr "$MNT/low")" ''
}
