# A mount without an upper, or with ro: nothing can be changed, everything can be read.

load helpers

setup() {
	tree_begin
	mkdir "$LOW/d" "$LOW/empty"
	echo x | tee "$LOW/f" >"$LOW/d/f"
	ln -s f "$LOW/l"
	LOWERS=("$LOW2" "$LOW")
}
teardown() { tree_end; }

every_change_is_erofs() {
	local op
	for op in "open $MNT/f WRONLY" "open $MNT/f RDWR" "open $MNT/f RDONLY|TRUNC" \
		"open $MNT/new CREAT|WRONLY" "open $MNT/d/new CREAT|EXCL|RDWR" "mkdir $MNT/new" \
		"rmdir $MNT/empty" "unlink $MNT/f" "rename $MNT/f $MNT/g" "rename $MNT/d $MNT/e" \
		"rename2 $MNT/f $MNT/d EXCHANGE" "link $MNT/f $MNT/g" "symlink x $MNT/s" \
		"mknod $MNT/p p" "chmod $MNT/f 600" "chmod $MNT/d 700" "chown $MNT/f 1 1" \
		"truncate $MNT/f 0" "utime $MNT/f 0 0" "setxattr $MNT/f user.a b" \
		"removexattr $MNT/f user.a" "access $MNT/f 2"; do
		run sysc $op
		[[ $output == EROFS || ($op == access* && $output == refused) ]] || fail "$op: $output"
	done
}

@test "without an upper every change is EROFS" {
	overlay_start -o "lowerdir=$LOW2:$LOW" "$MNT"
	every_change_is_erofs
}

@test "with ro every change is EROFS" {
	overlay_mount -o ro
	every_change_is_erofs
	assert_equal "$(find "$UP" -path "$UP/.wh..wh.work" -prune -o -mindepth 1 -print)" ''
}

@test "without an upper everything can be read" {
	echo y >"$LOW2/f"
	overlay_start "$LOW2:$LOW" "$MNT"
	assert_content "$MNT/f" y
	assert_content "$MNT/d/f" x
	assert_content "$MNT/l" y
	assert_names "$MNT" d empty f l
	assert_equal "$(find "$MNT" | wc -l)" 6
	stat -f "$MNT" >/dev/null
	assert_equal "$(sysc fsync "$MNT/f")" ok
}

@test "a single lower without an upper is a view of it" {
	overlay_start "$LOW" "$MNT"
	assert_same_tree "$LOW" "$MNT" +mtime
}

@test "ro shows what an earlier writable mount left" {
	overlay_mount
	rm "$MNT/f"
	mv "$MNT/d" "$MNT/e"
	echo new >"$MNT/new"
	overlay_remount -o ro
	assert_names "$MNT" e empty l new
	assert_names "$MNT/e" f
	overlay_umount
	# The same upper as the top one of a read-only union.
	LOWERS=("$UP" "$LOW2" "$LOW")
	overlay_start "$UP:$LOW2:$LOW" "$MNT"
	assert_names "$MNT" e empty l new
	assert_names "$MNT/e" f
}

@test "an ordinary user reads lowers that are not his" {
	need root
	tree_for_user
	chown -R 0:0 "$LOW"
	chmod 600 "$LOW/d/f"
	overlay_start "$LOW2:$LOW" "$MNT"
	assert_equal "$(as_user cat "$MNT/f")" x
	assert_equal "$(user_sysc open "$MNT/d/f" RDONLY)" EACCES
	assert_equal "$(as_user stat -c %u "$MNT/f")" 0
}
