# Whiteouts and opaque directories: every form is read in every layer, each format is written.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

READ_FORMS=(wh chardev user-xattr)
((EUID != 0)) || READ_FORMS+=(trusted-xattr)

long_name() { printf "%0$1d" 1; }

# --- reading ---------------------------------------------------------------------------------

@test "a whiteout of any form hides the name in the layers below, in the upper and in the middle" {
	LOWERS=("$LOW" "$LOW2")
	for form in "${READ_FORMS[@]}"; do
		for layer in "$UP" "$LOW"; do
			d=$form-${layer##*/}
			mkdir -p "$LOW2/$d/hidden-dir/sub"
			echo low2 >"$LOW2/$d/hidden"
			echo low2 >"$LOW2/$d/seen"
			echo low2 >"$LOW2/$d/hidden-dir/sub/x"
			make_whiteout "$layer/$d" hidden "$form"
			make_whiteout "$layer/$d" hidden-dir "$form"
			make_whiteout "$layer/$d" in-no-layer "$form"
		done
	done
	overlay_mount
	for form in "${READ_FORMS[@]}"; do
		for layer in up low; do
			assert_names "$MNT/$form-$layer" seen
			assert_gone "$MNT/$form-$layer/hidden"
			assert_gone "$MNT/$form-$layer/hidden-dir/sub/x"
			assert_gone "$MNT/$form-$layer/in-no-layer"
		done
	done
}

@test "a whiteout hides only the layers below its own" {
	LOWERS=("$LOW" "$LOW2" "$LOW3")
	for form in "${READ_FORMS[@]}"; do
		mkdir -p "$UP/$form" "$LOW/$form" "$LOW2/$form" "$LOW3/$form"
		echo up >"$UP/$form/a"
		echo low >"$LOW/$form/b"
		make_whiteout "$LOW2/$form" a "$form"
		make_whiteout "$LOW2/$form" b "$form"
		make_whiteout "$LOW2/$form" c "$form"
		echo low3 | tee "$LOW3/$form/a" "$LOW3/$form/b" >"$LOW3/$form/c"
	done
	overlay_mount
	for form in "${READ_FORMS[@]}"; do
		assert_names "$MNT/$form" a b
		assert_content "$MNT/$form/a" up
		assert_content "$MNT/$form/b" low
	done
}

@test "a whiteout of a directory hides its contents from directories above, at any depth" {
	LOWERS=("$LOW" "$LOW2")
	for form in "${READ_FORMS[@]}"; do
		mkdir -p "$UP/$form/d/sub/deep" "$LOW2/$form/d/sub/deep"
		echo own >"$UP/$form/d/sub/own"
		make_whiteout "$LOW/$form" d "$form"
		echo leak >"$LOW2/$form/d/leak"
		echo leak >"$LOW2/$form/d/sub/deep/leak"
	done
	overlay_mount
	for form in "${READ_FORMS[@]}"; do
		assert_names "$MNT/$form/d" sub
		assert_names "$MNT/$form/d/sub" own deep
		assert_names "$MNT/$form/d/sub/deep"
		assert_gone "$MNT/$form/d/sub/deep/leak"
	done
}

@test "an entry beside its whiteout in the same layer is visible" {
	LOWERS=("$LOW" "$LOW2")
	for layer in "$UP" "$LOW"; do
		d=${layer##*/}
		mkdir -p "$layer/$d/dir" "$LOW2/$d/dir"
		echo own >"$layer/$d/file"
		: >"$layer/$d/.wh.file"
		echo own >"$layer/$d/dir/own"
		: >"$layer/$d/.wh.dir"
		echo hidden >"$LOW2/$d/file"
		echo leak >"$LOW2/$d/dir/leak"
	done
	overlay_mount
	for d in up low; do
		assert_names "$MNT/$d" dir file
		assert_content "$MNT/$d/file" own
		assert_names "$MNT/$d/dir" own
		assert_gone "$MNT/$d/dir/leak"
	done
}

@test "a whiteout at the root does not hide the name elsewhere" {
	for form in "${READ_FORMS[@]}"; do
		mkdir -p "$LOW/d-$form/e"
		echo x >"$LOW/name-$form"
		echo x >"$LOW/d-$form/name-$form"
		echo x >"$LOW/d-$form/e/name-$form"
		make_whiteout "$UP" "name-$form" "$form"
	done
	overlay_mount
	for form in "${READ_FORMS[@]}"; do
		assert_gone "$MNT/name-$form"
		assert_content "$MNT/d-$form/name-$form" x
		assert_content "$MNT/d-$form/e/name-$form" x
	done
}

@test "an empty file with the attribute is a whiteout only in a directory marked x" {
	mkdir "$UP/d" "$LOW/d"
	echo low >"$LOW/d/f"
	: >"$UP/d/f"
	setfattr -n user.overlay.whiteout -v y "$UP/d/f"
	overlay_mount
	assert_names "$MNT/d" f
	assert_content "$MNT/d/f" ''
}

@test "a file that is not empty is no whiteout in spite of the attribute" {
	mkdir "$UP/d" "$LOW/d"
	echo full >"$UP/d/f"
	setfattr -n user.overlay.whiteout -v y "$UP/d/f"
	setfattr -n user.overlay.opaque -v x "$UP/d"
	overlay_mount
	assert_content "$MNT/d/f" full
}

@test "a directory marked x is merged with those below it" {
	make_whiteout "$UP/d" gone user-xattr
	mkdir "$LOW/d"
	echo low >"$LOW/d/f"
	overlay_mount
	assert_names "$MNT/d" f
}

@test "other character devices are no whiteouts" {
	need root
	mknod "$LOW/null" c 1 3
	mknod "$UP/zero" c 1 5
	mknod "$LOW/block00" b 0 0
	overlay_mount
	assert_names "$MNT" block00 null zero
	echo x >"$MNT/null"
	assert_equal "$(stat -c '%F %t,%T' "$MNT/zero")" 'character special file 1,5'
}

# --- reserved names --------------------------------------------------------------------------

@test "names that begin with .wh. are hidden in listings and look-ups, in every layer" {
	LOWERS=("$LOW" "$LOW2")
	for layer in "$UP" "$LOW" "$LOW2"; do
		mkdir -p "$layer/d" "$layer/.wh.dir"
		for name in .wh. .wh.x .wh..wh.x .wh..wh..opq; do
			[[ $name == .wh..wh..opq && $layer != "$LOW2" ]] || : >"$layer/$name"
			[[ $name == .wh..wh..opq && $layer != "$LOW2" ]] || : >"$layer/d/$name"
		done
		: >"$layer/.wh.dir/inside"
		: >"$layer/.who"
		: >"$layer/a.wh.b"
	done
	overlay_mount
	assert_names "$MNT" .who a.wh.b d
	assert_names "$MNT/d"
	for name in .wh. .wh.x .wh..wh.x .wh..wh..opq .wh.dir .wh.dir/inside .wh..wh.work \
		.wh..wh.work/lock d/.wh. d/.wh.x; do
		assert_equal "$name: $(sysc lstat "$MNT/$name")" "$name: ENOENT"
		assert_equal "$name: $(sysc open "$MNT/$name" RDONLY)" "$name: ENOENT"
	done
}

@test "making a name that begins with .wh. fails with EINVAL and leaves no trace" {
	echo f >"$LOW/f"
	mkdir -p "$LOW/dir/sub" "$UP/updir"
	overlay_mount
	before=$(find "$UP" -path "$UP/.wh..wh.work" -prune -o -printf '%p %y\n' | sort)
	for where in '' dir/ dir/sub/ updir/; do
		for name in .wh. .wh.x .wh.f .wh..wh..opq .wh..wh.work; do
			new=$MNT/$where$name
			for op in "open $new CREAT|WRONLY" "open $new CREAT|EXCL|RDWR" "mkdir $new" \
				"mknod $new p" "mknod $new f" "socket $new" "symlink f $new" \
				"link $MNT/f $new" "rename $MNT/f $new" "rename $MNT/dir $new" \
				"rename2 $MNT/f $new NOREPLACE"; do
				assert_equal "$op: $(sysc $op)" "$op: EINVAL"
			done
		done
	done
	assert_equal "$(find "$UP" -path "$UP/.wh..wh.work" -prune -o -printf '%p %y\n' | sort)" "$before"
	assert_equal "$(work_leftovers)" ''
	assert_content "$MNT/f" f
	assert_names "$MNT" dir f updir
}

@test "changing or removing a name that begins with .wh. is ENOENT" {
	echo f >"$LOW/f"
	: >"$UP/.wh.gone"
	overlay_mount
	for op in "unlink $MNT/.wh.gone" "rmdir $MNT/.wh.gone" "rename $MNT/.wh.gone $MNT/g" \
		"chmod $MNT/.wh.gone 644" "truncate $MNT/.wh.gone 0" "open $MNT/.wh.gone WRONLY" \
		"link $MNT/.wh.gone $MNT/g" "rename2 $MNT/f $MNT/.wh.gone EXCHANGE" \
		"setxattr $MNT/.wh.gone user.a b" "utime $MNT/.wh.gone 0 0"; do
		run sysc $op
		[[ $output == ENOENT || ($op == *EXCHANGE && $output == EINVAL) ]] || fail "$op: $output"
	done
	assert_file_exist "$UP/.wh.gone"
	assert_content "$MNT/f" f
}

@test "a character device 0:0 cannot be made through the mount" {
	overlay_mount
	assert_equal "$(sysc mknod "$MNT/w" c 644 0 0)" EPERM
	assert_gone "$MNT/w"
	assert_upper
}

# --- writing ---------------------------------------------------------------------------------

removed_stays_removed() {
	mkdir -p "$LOW/d/e"
	echo x | tee "$LOW/f" "$LOW/d/f" "$LOW/d/e/f" >"$LOW/keep"
	mkdir "$LOW/empty"
	ln -s f "$LOW/link"
	mkfifo "$LOW/fifo"
	overlay_mount -o "whiteout=$1"
	rm "$MNT/f" "$MNT/d/f" "$MNT/link" "$MNT/fifo"
	rmdir "$MNT/empty"
	for again in no yes; do
		for name in f d/f link fifo empty; do assert_gone "$MNT/$name"; done
		assert_names "$MNT" d keep
		assert_names "$MNT/d" e
		[[ $again == yes ]] || overlay_remount
	done
	for name in f link fifo empty; do assert_whiteout . "$name" "$1"; done
	assert_whiteout d f "$1"
	# Another format reads and goes on with what this one wrote.
	for other in wh chardev xattr; do
		overlay_remount -o "whiteout=$other"
		assert_names "$MNT" d keep
		assert_names "$MNT/d" e
	done
	rm "$MNT/d/e/f"
	echo new >"$MNT/f"
	mkdir "$MNT/empty"
	overlay_remount -o "whiteout=$1"
	assert_names "$MNT" d empty f keep
	assert_names "$MNT/empty"
	assert_names "$MNT/d/e"
	assert_content "$MNT/f" new
}
@test "what is removed stays removed after a remount, in each format" {
	for_formats removed_stays_removed
}

removed_tree_is_one_whiteout() {
	mkdir -p "$LOW/d/a/b" "$LOW/d/c"
	echo x | tee "$LOW/d/a/1" "$LOW/d/a/b/2" "$LOW/d/c/3" >"$LOW/d/4"
	overlay_mount -o "whiteout=$1"
	echo changed >"$MNT/d/a/1"
	echo new >"$MNT/d/c/new"
	rm -r "$MNT/d"
	assert_gone "$MNT/d"
	assert_whiteout . d "$1"
	assert_equal "$(upper_names | wc -w)" 1
	overlay_remount
	assert_names "$MNT"
}
@test "rm -r of a directory leaves one whiteout and nothing else" {
	for_formats removed_tree_is_one_whiteout
}

no_needless_whiteout() {
	mkdir -p "$LOW/d/sub"
	echo low >"$LOW/d/f"
	overlay_mount -o "whiteout=$1"
	echo x >"$MNT/new"
	rm "$MNT/new"
	mkdir "$MNT/newdir"
	echo x >"$MNT/newdir/f"
	rm -r "$MNT/newdir"
	assert_upper
	# Nothing shows through a directory made anew, so nothing in it needs a whiteout.
	rm -r "$MNT/d"
	mkdir "$MNT/d"
	echo x >"$MNT/d/f"
	mkdir "$MNT/d/sub"
	rm "$MNT/d/f"
	rmdir "$MNT/d/sub"
	marker=()
	[[ $1 != wh ]] || marker=(.wh..wh..opq)
	assert_names "$UP/d" "${marker[@]}"
	mkdir "$MNT/d/sub"
	echo x >"$MNT/d/sub/f"
	rm "$MNT/d/sub/f"
	assert_names "$UP/d/sub"
	overlay_remount
	assert_names "$MNT/d" sub
	assert_names "$MNT/d/sub"
}
@test "no whiteout is written where nothing below would show" {
	for_formats no_needless_whiteout
}

over_whiteout() {
	for name in create mkdir symlink fifo link rename renamedir excl; do echo "old $name" >"$LOW/$name"; done
	echo source >"$LOW/source"
	mkdir "$LOW/olddir"
	echo old >"$LOW/olddir/old"
	overlay_mount -o "whiteout=$1"
	rm "$MNT"/{create,mkdir,symlink,fifo,link,rename,renamedir,excl}
	rm -r "$MNT/olddir"
	mkdir "$MNT/srcdir"
	echo in >"$MNT/srcdir/in"
	echo new >"$MNT/create"
	assert_equal "$(sysc open "$MNT/excl" 'CREAT|EXCL|WRONLY')" ok
	assert_equal "$(sysc mkdir "$MNT/mkdir")" ok
	assert_equal "$(sysc symlink target "$MNT/symlink")" ok
	assert_equal "$(sysc mknod "$MNT/fifo" p)" ok
	assert_equal "$(sysc link "$MNT/source" "$MNT/link")" ok
	assert_equal "$(sysc rename "$MNT/source" "$MNT/rename")" ok
	assert_equal "$(sysc rename2 "$MNT/srcdir" "$MNT/renamedir" NOREPLACE)" ok
	assert_equal "$(sysc open "$MNT/olddir" 'CREAT|EXCL|WRONLY')" ok
	for again in no yes; do
		assert_names "$MNT" create excl fifo link mkdir olddir rename renamedir symlink
		assert_content "$MNT/create" new
		assert_content "$MNT/excl" ''
		assert_names "$MNT/mkdir"
		assert_equal "$(readlink "$MNT/symlink")" target
		assert [ -p "$MNT/fifo" ]
		assert_content "$MNT/link" source
		assert_content "$MNT/rename" source
		assert_names "$MNT/renamedir" in
		assert_equal "$(stat -c %F "$MNT/olddir")" 'regular empty file'
		[[ $again == yes ]] || overlay_remount
	done
	for name in create excl fifo link mkdir rename renamedir symlink; do
		assert_not_exist "$UP/.wh.$name"
	done
	rm -r "${MNT:?}"/*
	assert_names "$MNT"
	overlay_remount
	assert_names "$MNT"
}
becomes_opaque() {
	mkdir -p "$LOW/new/sub"
	make_whiteout "$UP/old" gone user-xattr
	touch -d @1000000000 "$UP/old"
	overlay_mount -o "whiteout=$1"
	rmdir "$MNT/new/sub"
	assert_names "$MNT/old"
	assert_equal "$(sysc rename2 "$MNT/old" "$MNT/new" EXCHANGE)" ok
	assert_names "$MNT/new"
	assert_equal "$(stat -c %Y "$MNT/new")" 1000000000
	overlay_remount
	assert_names "$MNT/new"
}
@test "whiteouts by attribute do not show when their directory becomes opaque, in each format" {
	for_formats becomes_opaque
}

@test "making a name anew over its whiteout works and is not EEXIST" {
	for_formats over_whiteout
}

recreated_dir() {
	mkdir -p "$LOW/d/sub/deep" "$LOW/p/q"
	echo old | tee "$LOW/d/old" "$LOW/d/sub/old" "$LOW/d/sub/deep/old" >"$LOW/p/q/old"
	overlay_mount -o "whiteout=$1"
	rm -r "$MNT/d" "$MNT/p/q"
	mkdir "$MNT/d" "$MNT/p/q"
	assert_names "$MNT/d"
	assert_names "$MNT/p/q"
	overlay_remount
	assert_names "$MNT/d"
	assert_names "$MNT/p/q"
	mkdir -p "$MNT/d/sub/deep"
	echo new >"$MNT/d/sub/new"
	for again in no yes; do
		assert_names "$MNT/d" sub
		assert_names "$MNT/d/sub" deep new
		assert_names "$MNT/d/sub/deep"
		assert_gone "$MNT/d/old"
		assert_gone "$MNT/d/sub/old"
		assert_gone "$MNT/d/sub/deep/old"
		[[ $again == yes ]] || overlay_remount
	done
}
@test "a directory removed and made again does not show its old lower entries" {
	for_formats recreated_dir
}

@test "an opaque directory is marked by the attribute, and for OCI by a file" {
	mkdir "$LOW/d" "$LOW/e"
	overlay_mount
	rmdir "$MNT/d"
	mkdir "$MNT/d"
	assert_equal "$(getfattr --only-values -n user.overlay.opaque "$UP/d")" y
	assert_file_exist "$UP/d/.wh..wh..opq"
	assert_not_exist "$UP/.wh.d"
	overlay_remount -o whiteout=xattr
	rmdir "$MNT/e"
	mkdir "$MNT/e"
	assert_equal "$(getfattr --only-values -n user.overlay.opaque "$UP/e")" y
	assert_names "$UP/e"
}

long_names() {
	for n in 250 251 252 253 254 255; do
		name=$(long_name $n)
		mkdir "$LOW/d$n"
		echo low | tee "$LOW/$name" >"$LOW/d$n/$name"
		mkdir "$LOW/d$n/x${name#?}"
		echo deep >"$LOW/d$n/x${name#?}/leak"
	done
	overlay_mount -o "whiteout=$1"
	for n in 250 251 252 253 254 255; do
		name=$(long_name $n)
		rm "$MNT/$name" "$MNT/d$n/$name"
		rm -r "$MNT/d$n/x${name#?}"
		assert_gone "$MNT/$name"
		assert_names "$MNT/d$n"
	done
	overlay_remount
	assert_names "$MNT" d250 d251 d252 d253 d254 d255
	for n in 250 251 252 253 254 255; do
		name=$(long_name $n)
		assert_names "$MNT/d$n"
		assert_equal "$(sysc open "$MNT/$name" 'CREAT|EXCL|WRONLY')" ok
		mkdir "$MNT/d$n/$name" "$MNT/d$n/x${name#?}"
	done
	overlay_remount
	for n in 250 251 252 253 254 255; do
		name=$(long_name $n)
		assert_content "$MNT/$name" ''
		assert_names "$MNT/d$n" "$name" "x${name#?}"
		assert_names "$MNT/d$n/x${name#?}"
		mv "$MNT/$name" "$MNT/d$n/x${name#?}/$name"
		rmdir "$MNT/d$n/$name"
	done
	overlay_remount
	for n in 250 251 252 253 254 255; do
		name=$(long_name $n)
		assert_names "$MNT/d$n" "x${name#?}"
		assert_gone "$MNT/$name"
		rm -r "$MNT/d$n"
	done
	assert_names "$MNT"
}
@test "names of 250 to 255 bytes can be deleted and made again, in each format" {
	for_formats long_names
}

rmdir_of_whiteouts() {
	mkdir -p "$LOW/d/sub" "$LOW/full"
	echo x | tee "$LOW/d/a" "$LOW/d/b" >"$LOW/full/a"
	overlay_mount -o "whiteout=$1"
	assert_equal "$(sysc rmdir "$MNT/d")" ENOTEMPTY
	assert_equal "$(sysc rmdir "$MNT/full")" ENOTEMPTY
	rm "$MNT/d/a" "$MNT/d/b"
	assert_equal "$(sysc rmdir "$MNT/d")" ENOTEMPTY
	rmdir "$MNT/d/sub"
	assert_equal "$(sysc rmdir "$MNT/d")" ok
	assert_gone "$MNT/d"
	overlay_remount
	assert_gone "$MNT/d"
	assert_names "$MNT/full" a
	assert_equal "$(upper_names | wc -w)" 1
}
@test "a directory that is empty only through whiteouts can be removed" {
	for_formats rmdir_of_whiteouts
}

again_and_again() {
	mkdir -p "$LOW/d"
	echo low >"$LOW/d/f"
	overlay_mount -o "whiteout=$1"
	for i in 1 2 3 4 5; do
		rm "$MNT/d/f"
		assert_gone "$MNT/d/f"
		mkdir "$MNT/d/f"
		assert_names "$MNT/d/f"
		rmdir "$MNT/d/f"
		echo "$i" >"$MNT/d/f"
		assert_content "$MNT/d/f" "$i"
		rm -r "$MNT/d"
		mkdir "$MNT/d"
		echo "$i" >"$MNT/d/f"
	done
	overlay_remount
	assert_names "$MNT/d" f
	assert_content "$MNT/d/f" 5
	rm -r "$MNT/d"
	overlay_remount
	assert_names "$MNT"
}
@test "removing and making a name again and again gives the last state" {
	for_formats again_and_again
}

@test "an OCI image layer, given as upper, is read by its rules" {
	# What an image builder leaves: whiteouts, opaque directories and new entries together.
	mkdir -p "$LOW/etc/conf.d" "$LOW/usr/share/doc/pkg" "$LOW/var/old"
	echo base | tee "$LOW/etc/a" "$LOW/etc/b" "$LOW/etc/conf.d/1" "$LOW/usr/share/doc/pkg/x" >"$LOW/var/old/y"
	mkdir -p "$UP/etc/conf.d" "$UP/usr/share" "$UP/var/old"
	: >"$UP/etc/.wh.a"
	: >"$UP/etc/conf.d/.wh..wh..opq"
	echo layer >"$UP/etc/conf.d/2"
	: >"$UP/usr/share/.wh.doc"
	: >"$UP/var/.wh.old"
	echo layer >"$UP/var/old/z"
	overlay_mount
	assert_equal "$(cd "$MNT" && find . -type f | sort | xargs)" './etc/b ./etc/conf.d/2 ./var/old/z'
}

@test "a tar of an upper is an OCI image layer" {
	mkdir -p "$LOW/d/sub" "$LOW/re"
	echo x | tee "$LOW/d/f" "$LOW/re/old" >"$LOW/f"
	overlay_mount
	rm "$MNT/f" "$MNT/d/f"
	rm -r "$MNT/re"
	mkdir "$MNT/re"
	echo new >"$MNT/re/new"
	echo beside >"$MNT/f"
	rm -r "$MNT/d/sub"
	overlay_umount
	run -0 tar -C "$UP" --exclude=./.wh..wh.work -cf "$T/layer.tar" .
	run -0 tar tf "$T/layer.tar"
	assert_equal "$(printf '%s\n' "${lines[@]}" | sort | xargs)" \
		'./ ./d/ ./d/.wh.f ./d/.wh.sub ./f ./re/ ./re/.wh..wh..opq ./re/new'
}

# --- the kernel's overlayfs ------------------------------------------------------------------

kernel_mount() {
	mkdir -p "$T/kwork"
	mount -t overlay overlay -o "lowerdir=$LOW,upperdir=$UP,workdir=$T/kwork,redirect_dir=on,index=off" "$MNT"
}

a_history() {
	rm "$MNT/f" "$MNT/d/f"
	rm -r "$MNT/tree" "$MNT/again"
	mkdir "$MNT/again"
	echo new >"$MNT/again/new"
	echo changed >"$MNT/d/changed"
	echo new >"$MNT/new"
	mv "$MNT/move" "$MNT/moved"
	rm "$MNT/moved/gone"
	mkdir "$MNT/d/newdir"
	mv "$MNT/d/newdir" "$MNT/moved/newdir"
}
history_of() {
	mkdir -p "$LOW/d" "$LOW/tree/sub" "$LOW/again" "$LOW/move/sub"
	echo low | tee "$LOW/f" "$LOW/d/f" "$LOW/d/changed" "$LOW/tree/sub/x" "$LOW/again/old" \
		"$LOW/move/gone" "$LOW/move/sub/x" >"$LOW/keep"
}
expect_history() {
	assert_names "$MNT" again d keep moved new
	assert_names "$MNT/d" changed
	assert_names "$MNT/again" new
	assert_names "$MNT/moved" newdir sub
	assert_content "$MNT/moved/sub/x" low
	assert_content "$MNT/d/changed" changed
}

@test "an upper written by kernel overlayfs is read as it meant it" {
	need kernel-overlay
	history_of
	kernel_mount
	a_history
	expect_history
	umount "$MNT"
	overlay_mount
	expect_history
	rm -r "$MNT/moved"
	overlay_remount
	assert_names "$MNT" again d keep new
}

@test "an upper written with whiteout=chardev is read by kernel overlayfs as meant" {
	need kernel-overlay
	history_of
	overlay_mount -o whiteout=chardev
	a_history
	expect_history
	overlay_umount
	mount -t overlay overlay -o "lowerdir=$UP:$LOW,userxattr" "$MNT" # a redirect needs trusted.
	assert_names "$MNT/d" changed
	assert_names "$MNT" again d keep moved new
	umount "$MNT"
	mount -t overlay overlay -o "lowerdir=$UP:$LOW,redirect_dir=follow" "$MNT"
	assert_names "$MNT" again d keep moved new
	assert_names "$MNT/again" new
	umount "$MNT"
}

@test "a whiteout in the lowest layer shows in no form" {
	mkdir "$LOW/x"
	: >"$LOW/.wh.a"
	: >"$LOW/x/b"
	: >"$LOW/x/seen"
	setfattr -n user.overlay.opaque -v x "$LOW/x"
	setfattr -n user.overlay.whiteout -v y "$LOW/x/b"
	overlay_mount
	assert_names "$MNT/x" seen
	assert_not_exist "$MNT/x/b"
	assert_not_exist "$MNT/.wh.a"
}

@test "what a whiteout hides can be made again where no lower has the directory" {
	mkdir "$UP/d" "$UP/moved"
	setfattr -n user.overlay.opaque -v x "$UP/d"
	for name in dir file link target; do
		: >"$UP/d/$name"
		setfattr -n user.overlay.whiteout -v y "$UP/d/$name"
	done
	echo x >"$UP/f"
	overlay_mount
	assert_names "$MNT/d"
	mkdir "$MNT/d/dir"
	echo x >"$MNT/d/file"
	ln "$MNT/f" "$MNT/d/link"
	mv "$MNT/moved" "$MNT/d/target"
	assert_names "$MNT/d" dir file link target
	overlay_remount
	assert_names "$MNT/d" dir file link target
}

@test "a user removes and makes directories that the owner may not write to" {
	mkdir "$UP/marked"
	: >"$UP/marked/.wh.x"
	chmod 555 "$UP/marked"
	mkdir "$LOW/b"
	tree_for_user
	DAEMON_AS=("${USER_CMD[@]}")
	overlay_mount
	as_user rmdir "$MNT/marked"
	as_user rmdir "$MNT/b"
	as_user mkdir -m 544 "$MNT/b"
	as_user rmdir "$MNT/b"
	assert_not_exist "$MNT/b"
}
