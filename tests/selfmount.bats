# A lower that contains the mount point, the upper, the work directory or other mounts.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

@test "the mount point inside a lower is an empty directory, and nothing hangs" {
	mkdir "$LOW/mnt" "$LOW/d"
	echo x >"$LOW/d/f"
	MNT=$LOW/mnt
	lowers_remember
	overlay_mount
	lower_may_change "$LOW" # its mount point is another directory now
	run -0 timeout -k 5 30 find "$MNT"
	assert_equal "$(printf '%s\n' "${lines[@]#"$MNT"}" | sort | xargs)" '/d /d/f /mnt'
	run -0 timeout -k 5 30 ls -la "$MNT/mnt" "$MNT/mnt/.."
	timeout 10 touch "$MNT/new"
	timeout 10 rm -r "$MNT/d"
	assert_names "$MNT" mnt new
	run -0 timeout 10 stat "$LOW/mnt/mnt"
}

@test "the upper and the work directory inside a lower are hidden" {
	mkdir -p "$LOW/a/up" "$LOW/a/work" "$LOW/a/other"
	echo x >"$LOW/a/up/seen-once"
	UP=$LOW/a/up
	WORK=$LOW/a/work
	overlay_mount
	lower_may_change "$LOW"
	assert_names "$MNT" a seen-once
	assert_names "$MNT/a" other
	assert_gone "$MNT/a/up"
	assert_gone "$MNT/a/work"
	echo y >"$MNT/a/new"
	assert_content "$LOW/a/up/a/new" y
	assert_names "$MNT/a" new other
	run -0 timeout -k 5 30 find "$MNT"
	assert_equal "${#lines[@]}" 5
	assert_equal "$(sysc mkdir "$MNT/a/up")" ok
	assert_names "$MNT/a/up"
	echo z >"$MNT/a/up/z"
	rm -r "$MNT/a"
	overlay_remount
	lower_may_change "$LOW"
	assert_names "$MNT" seen-once
}

@test "an upper inside a lower whose directory is renamed or removed is not touched" {
	mkdir -p "$LOW/a/b/up" "$LOW/a/b/c"
	UP=$LOW/a/b/up
	overlay_mount
	lower_may_change "$LOW"
	mv "$MNT/a" "$MNT/moved"
	assert_names "$MNT/moved/b" c
	rm -r "$MNT/moved"
	mkdir "$MNT/a"
	assert_names "$MNT/a"
	assert [ -d "$LOW/a/b/up" ]
}

@test "other overlays mounted inside a lower are part of the view" {
	mkdir "$LOW/inner" "$LOW2/d" "$T/up2"
	echo two >"$LOW2/d/f"
	overlay_start -u "$T/up2" "$LOW2" "$LOW/inner"
	SNAPPED=()
	overlay_mount
	lower_may_change "$LOW"
	assert_content "$MNT/inner/d/f" two
	echo changed >"$MNT/inner/d/f"
	assert_content "$LOW/inner/d/f" two
	mv "$MNT/inner/d" "$MNT/d"
	assert_content "$MNT/d/f" changed
	overlay_umount
}

@test "with / as lower the whole machine is seen, without a hang" {
	need root
	LOWERS=()
	overlay_start -u "$UP" / "$MNT"
	assert_equal "$(names "$MNT")" "$(names /)"
	diff /etc/passwd "$MNT/etc/passwd"
	assert_names "$MNT/$T/mnt"
	assert_gone "$MNT/$T/up"
	# Everything but the kernel's own file systems and other tests is walked.
	run timeout -k 5 100 find "$MNT" -xdev \( -path "$MNT/proc" -o -path "$MNT/sys" -o -path "$MNT/work" \
		-o -path "$MNT/home" -o -path "$MNT/tmp" -o -path "$MNT/usr/lib" -o -path "$MNT/opt" \
		-o -path "$MNT/root" -o -path "$MNT/farm" \) -prune -o -printf x
	[[ $status -lt 124 ]] || fail 'the walk did not end'
	assert [ "$(printf %s "$output" | tr -cd x | wc -c)" -gt 3000 ]
	timeout 20 ls "$MNT/proc/self" >/dev/null
	timeout 20 ls "$MNT/sys" "$MNT/dev" >/dev/null
	echo new >"$MNT/etc/overlayfs-test"
	assert_not_exist /etc/overlayfs-test
	rm "$MNT/etc/passwd"
	assert_exist /etc/passwd
	run -0 timeout 30 chroot "$MNT" /bin/sh -c 'cat /etc/overlayfs-test; test ! -e /etc/passwd'
	assert_output new
	overlay_umount
	poll 10 no_daemons
}

@test "with / as lower an ordinary user works, too" {
	tree_for_user
	LOWERS=()
	overlay_start -u "$UP" / "$MNT"
	as_user diff /etc/passwd "$MNT/etc/passwd"
	assert_equal "$(as_user ls -A "$MNT/$MNT")" ''
	run as_user timeout -k 5 60 find "$MNT/etc" "$MNT/usr/bin" "$MNT/$T"
	[[ $status -lt 124 ]] || fail 'the walk did not end'
	as_user sh -c 'echo new >"$1"' sh "$MNT/$T/run/new"
	assert_not_exist "$T/run/new"
	assert_equal "$(as_user cat "$MNT/$T/run/new")" new
}

@test "the mount point may be the lower itself" {
	echo x >"$LOW/f"
	lowers_remember
	MNT=$LOW
	overlay_start -u "$UP" "$LOW" "$LOW"
	assert_content "$LOW/f" x
	echo y >"$LOW/f"
	rm "$LOW/f"
	assert_names "$LOW"
	run -0 timeout -k 5 20 find "$LOW"
	overlay_umount "$LOW"
	assert_file_exist "$LOW/f"
}

@test "two mounts that have each other in their lowers do not hang" {
	mkdir "$LOW/m1" "$LOW/m2" "$T/up1" "$T/up2" "$LOW/d"
	echo x >"$LOW/d/f"
	LOWERS=() # of these no snapshot can be made
	overlay_start -u "$T/up1" "$LOW" "$LOW/m1"
	overlay_start -u "$T/up2" "$LOW" "$LOW/m2"
	run timeout -k 5 20 ls -lR "$LOW/m1/d" "$LOW/m2/d"
	assert_success
	# The first one sees the second one, and in it itself: no deeper than that.
	run timeout -k 5 60 find "$LOW/m2" -maxdepth 4
	[[ $status -lt 124 ]] || fail 'the walk did not end'
	run timeout -k 5 60 find "$LOW/m1" -maxdepth 4
	[[ $status -lt 124 ]] || fail 'the walk did not end'
	umount_one "$LOW/m2"
	umount_one "$LOW/m1"
}
