# The command line: every form of mounting, options, and how the daemon starts and ends.

load helpers

setup() {
	tree_begin
	echo low >"$LOW/file"
	mkdir "$LOW/dir"
	echo deep >"$LOW/dir/deep"
}
teardown() { tree_end; }

# Run a command where overlayfs is installed: in a name space with the program in
# /usr/local/sbin, because mount(8) looks in the usual directories whatever PATH says.
installed() {
	mkdir -p "$T/bin"
	install -m 755 "$OVERLAYFS" "$T/bin/overlayfs"
	run -0 timeout 30 unshare -m bash -ec 'mount --bind "$T/bin" /usr/local/sbin; eval "$1"' bash "$1" 3>&-
}

mount_field() {
	awk -v m="$MNT" -v f="$1" '$5 == m { for (i = 7; $i != "-"; i++); print f == "options" ? $6 : $(i + f) }' \
		/proc/self/mountinfo
}

@test "-o lowerdir, upperdir and workdir mount a writable view" {
	mkdir "$WORK"
	overlay_mount_background -o "lowerdir=$LOW,upperdir=$UP,workdir=$WORK" "$MNT"
	assert_content "$MNT/file" low
	echo new >"$MNT/file"
	assert_content "$UP/file" new
	overlay_umount
}

@test "-o options may be spread over several -o and come after the mount point" {
	overlay_mount_background -o "lowerdir=$LOW" -o "upperdir=$UP" "$MNT"
	echo new >"$MNT/file"
	overlay_umount
	mkdir "$T/up2"
	lowers_remember
	timeout 20 "$OVERLAYFS" "$MNT" -o "lowerdir=$LOW,upperdir=$T/up2" 3>&-
	is_mounted "$MNT"
	assert_content "$MNT/file" low
}

@test "-u UPPER LOWER MOUNTPOINT mounts a writable view" {
	overlay_mount_background -u "$UP" "$LOW" "$MNT"
	echo new >"$MNT/file"
	assert_content "$UP/file" new
}

@test "-u takes several lowers, the first one on top" {
	LOWERS=("$LOW2" "$LOW")
	echo two >"$LOW2/file"
	overlay_mount_background -u "$UP" "$LOW2:$LOW" "$MNT"
	assert_content "$MNT/file" two
	assert_content "$MNT/dir/deep" deep
}

@test "LOWER MOUNTPOINT mounts a read-only union" {
	LOWERS=("$LOW2" "$LOW")
	echo two >"$LOW2/other"
	overlay_mount_background "$LOW2:$LOW" "$MNT"
	assert_content "$MNT/file" low
	assert_content "$MNT/other" two
	assert_equal "$(sysc open "$MNT/new" 'CREAT|WRONLY')" EROFS
	assert_equal "$(sysc unlink "$MNT/file")" EROFS
}

@test "--tmp mounts a throw-away upper that is gone after unmounting" {
	mkdir "$T/tmp"
	chmod 1777 "$T/tmp"
	TMPDIR=$T/tmp overlay_mount_background --tmp "$LOW" "$MNT"
	echo new >"$MNT/file"
	rm -r "$MNT/dir"
	assert_content "$MNT/file" new
	overlay_umount
	poll 10 no_daemons
	assert_equal "$(find "$T/tmp" -mindepth 1)" ''
}

@test "--tmp removes its upper also when the daemon is told to end" {
	mkdir "$T/tmp"
	chmod 1777 "$T/tmp"
	TMPDIR=$T/tmp overlay_start --tmp "$LOW" "$MNT"
	mkdir -p "$MNT/a/b/c"
	chmod 500 "$MNT/a/b"
	kill -TERM "$DAEMON"
	poll 10 ended "$DAEMON"
	assert_equal "$(find "$T/tmp" -mindepth 1)" ''
}

@test "umount MOUNTPOINT unmounts, and says so when nothing is mounted" {
	overlay_mount
	run -0 "$OVERLAYFS" umount "$MNT"
	assert_output ''
	! is_mounted "$MNT"
	poll 10 ended "$DAEMON"
	run -1 "$OVERLAYFS" umount "$MNT"
	assert_output --regexp "^overlayfs: .*$MNT"
	assert_equal "${#lines[@]}" 1
}

@test "an ordinary user mounts and unmounts without privilege" {
	tree_for_user
	overlay_mount_background -u "$UP" "$LOW" "$MNT"
	as_user sh -c 'echo new >"$1/dir/deep" && rm "$1/file"' sh "$MNT"
	assert_equal "$(as_user cat "$MNT/dir/deep")" new
	run -0 as_user "$OVERLAYFS" umount "$MNT"
	poll 10 no_daemons
	assert_content "$UP/dir/deep" new
}

@test "-h prints the usage and -V the version, with status 0" {
	run -0 "$OVERLAYFS" -h
	assert_output --partial lowerdir=
	assert_output --partial umount
	run -0 "$OVERLAYFS" -V
	assert_output --regexp '[0-9]+\.[0-9]+'
	run -0 "$OVERLAYFS" --help
	run -0 "$OVERLAYFS" --version
}

@test "no arguments print a short usage on stderr, with status 1" {
	run -1 --separate-stderr "$OVERLAYFS"
	assert_output ''
	[[ $stderr == *verlayfs* ]]
}

@test "the mount is ready when the command returns" {
	for _ in 1 2 3 4 5; do
		overlay_mount_background -o "lowerdir=$LOW,upperdir=$UP" "$MNT"
		assert_content "$MNT/dir/deep" deep
		overlay_umount
	done
}

@test "in the background the daemon keeps no terminal, pipe or directory of its caller" {
	mkdir "$T/cwd"
	cd "$T/cwd"
	lowers_remember
	# Reading to the end of the pipe ends only when nobody has it open any more.
	run -0 timeout 20 bash -c '"$OVERLAYFS" -u "$UP" "$LOW" "$MNT" 2>&1 3>&- | cat'
	assert_output ''
	pid=$(daemons)
	assert [ -n "$pid" ]
	[[ $(readlink "/proc/$pid/cwd") != "$T/cwd" ]]
	assert_equal "$(readlink "/proc/$pid/fd/1")" /dev/null
	assert_equal "$(ps -o tty= -p "$pid")" '?'
}

@test "the daemon exits when it is unmounted, with status 0" {
	overlay_mount
	umount_one "$MNT"
	poll 10 ended "$DAEMON"
	status=0
	wait "$DAEMON" || status=$?
	assert_equal "$status" 0
}

@test "SIGTERM, SIGINT and SIGHUP unmount cleanly" {
	for signal in TERM INT HUP; do
		printf '%s\n' "$signal"
		overlay_mount
		echo "$signal" >"$MNT/file"
		kill "-$signal" "$DAEMON"
		poll 10 ended "$DAEMON"
		! is_mounted "$MNT"
		assert_content "$UP/file" "$signal"
		assert_equal "$(work_leftovers)" ''
	done
}

@test "signals end a daemon in the background, too" {
	for signal in TERM INT HUP; do
		overlay_mount_background -u "$UP" "$LOW" "$MNT"
		kill "-$signal" "$(daemons)"
		poll 10 no_daemons
		! is_mounted "$MNT"
	done
}

@test "relative paths are resolved before going to the background" {
	cd "$T"
	lowers_remember
	timeout 20 "$OVERLAYFS" -o lowerdir=low2:low,upperdir=up mnt 3>&-
	assert_content "$MNT/dir/deep" deep
	cd /
	echo new >"$MNT/dir/deep"
	assert_content "$UP/dir/deep" new
	overlay_umount
	cd "$T/run"
	timeout 20 "$OVERLAYFS" -u ../up ../low ../mnt 3>&-
	assert_content "$MNT/dir/deep" new
}

@test "a layer or mount point may be named through a symbolic link" {
	ln -s low "$T/low.link"
	ln -s up "$T/up.link"
	overlay_mount_background -u "$T/up.link" "$T/low.link" "$MNT"
	echo new >"$MNT/file"
	assert_content "$UP/file" new
}

@test "colons and commas in paths are escaped with backslashes" {
	local odd="$T/a:b,c d\\e"
	mkdir -p "$odd/low" "$odd/up" "$odd/work"
	echo odd >"$odd/low/file"
	local esc="$T/a\\:b\\,c d\\\\e"
	LOWERS=()
	overlay_mount_background -o "lowerdir=$esc/low:$LOW,upperdir=$esc/up,workdir=$esc/work" "$MNT"
	assert_content "$MNT/file" odd
	assert_content "$MNT/dir/deep" deep
	echo new >"$MNT/file"
	assert_content "$odd/up/file" new
}

@test "colons are escaped in the short form, too, and commas need not be" {
	local odd="$T/a:b,c"
	mkdir -p "$odd/low"
	echo odd >"$odd/low/file"
	overlay_mount_background -u "$UP" "$T/a\\:b,c/low:$LOW" "$MNT"
	assert_content "$MNT/file" odd
	assert_content "$MNT/dir/deep" deep
}

@test "three hundred lowers work" {
	local i stack=''
	LOWERS=()
	for ((i = 0; i < 300; i++)); do
		mkdir -p "$T/many/$i/shared"
		echo "$i" >"$T/many/$i/shared/own-$i"
		echo "$i" >"$T/many/$i/all"
		stack+=":$T/many/$i"
	done
	stack=${stack#:}
	assert [ ${#stack} -gt 4096 ]
	overlay_mount_background -o "lowerdir=$stack,upperdir=$UP" "$MNT"
	assert_content "$MNT/all" 0
	assert_equal "$(find "$MNT/shared" -type f | wc -l)" 300
	assert_content "$MNT/shared/own-299" 299
	echo new >"$MNT/shared/own-299"
	rm "$MNT/all"
	assert_gone "$MNT/all"
	assert_content "$MNT/shared/own-299" new
}

@test "three hundred lowers work as an ordinary user" {
	local i stack=''
	for ((i = 0; i < 300; i++)); do
		mkdir -p "$T/many/$i"
		echo "$i" >"$T/many/$i/own-$i"
		stack+=":$T/many/$i"
	done
	tree_for_user
	overlay_mount_background -o "lowerdir=${stack#:},upperdir=$UP" "$MNT"
	assert_equal "$(as_user find "$MNT" -type f | wc -l)" 300
	assert_equal "$(as_user cat "$MNT/own-299")" 299
}

@test "a source before the mount point is ignored when lowerdir is given" {
	overlay_mount_background none "$MNT" -o "lowerdir=$LOW,upperdir=$UP"
}

@test "mount -t fuse.overlayfs works after installation" {
	need root
	need command mount.fuse3
	lowers_remember
	installed '
		mount -t fuse.overlayfs none "$MNT" -o "lowerdir=$LOW,upperdir=$UP"
		cat "$MNT/file"
		echo new >"$MNT/file"
		umount "$MNT"'
	assert_output low
	poll 10 no_daemons
	assert_content "$UP/file" new
}

@test "what mount(8) adds to the options is accepted" {
	need root
	need command mount.fuse3
	lowers_remember
	installed '
		mount -t fuse.overlayfs none "$MNT" \
			-o "lowerdir=$LOW,upperdir=$UP,noauto,nofail,nodev,nosuid,noatime,_netdev,x-systemd.automount,user"
		grep " $MNT " /proc/self/mountinfo
		umount "$MNT"'
	assert_output --regexp ' (rw,)?nosuid,nodev'
}

@test "a line of fstab works after installation" {
	need root
	need command mount.fuse3
	printf 'overlayfs %s fuse.overlayfs lowerdir=%s,upperdir=%s,noauto 0 0\n' "$MNT" "$LOW" "$UP" >"$T/fstab"
	export T
	lowers_remember
	installed 'mount -T "$T/fstab" "$MNT"; cat "$MNT/file"; umount "$MNT"'
	assert_output low
}

@test "inside a user namespace it mounts without fusermount3" {
	need userns
	tree_for_user
	lowers_remember
	mkdir "$T/nobin"
	printf '#!/bin/sh\nexit 9\n' >"$T/nobin/fusermount3"
	chmod 755 "$T/nobin/fusermount3"
	run -0 timeout 60 "${USER_CMD[@]}" unshare -Urm bash -ec '
		export PATH='"$T/nobin:$PATH"'
		"$OVERLAYFS" -u "$UP" "$LOW" "$MNT" 3>&-
		cat "$MNT/dir/deep"
		echo new >"$MNT/file"
		mkdir "$MNT/newdir"
		rm -r "$MNT/dir"
		chown 0:0 "$MNT/file"
		umount "$MNT"'
	assert_output deep
	poll 10 no_daemons
	assert_content "$UP/file" new
	assert_file_exist "$UP/.wh.dir"
}

@test "the mount is called fuse.overlayfs, and fsname= names its source" {
	overlay_mount
	assert_equal "$(mount_field 1)" fuse.overlayfs
	overlay_remount -o fsname=something
	assert_equal "$(mount_field 1) $(mount_field 2)" 'fuse.overlayfs something'
}

@test "ro makes the mount read-only although there is an upper" {
	overlay_mount -o ro
	assert_equal "$(sysc open "$MNT/new" 'CREAT|WRONLY')" EROFS
	assert_equal "$(sysc open "$MNT/file" WRONLY)" EROFS
	assert_content "$MNT/file" low
}

@test "mount flags reach the kernel" {
	need root
	overlay_mount -o nosuid,nodev,noexec,noatime
	[[ $(mount_field options) == *nosuid*nodev*noexec*noatime* ]]
	cp /bin/true "$MNT/true"
	run -126 "$MNT/true"
}

@test "root gets allow_other, suid and dev by default" {
	need root
	overlay_mount
	assert_equal "$(as_user cat "$MNT/file")" low
	[[ $(mount_field options) != *nosuid* ]]
	[[ $(mount_field options) != *nodev* ]]
	[[ $(mount_field 3) == *default_permissions*allow_other* ]]
}

@test "an ordinary user's mount is his alone" {
	need root
	tree_for_user
	overlay_mount
	assert_equal "$(as_user cat "$MNT/file")" low
	run as_other cat "$MNT/file"
	assert_failure
	assert_output --partial 'ermission denied'
}

@test "options that mean nothing here are accepted" {
	overlay_mount -o xino=off -o redirect_dir=on -o noacl -o timeout=1 -o default_permissions
	assert_content "$MNT/file" low
	overlay_remount -o rw,suid,dev,exec,async,relatime
	assert_content "$MNT/file" low
}

@test "volatile is accepted and leaves a marker where it counts" {
	overlay_mount -o volatile
	echo new >"$MNT/file"
	assert_equal "$(sysc fsync "$MNT/file")" ok
	assert [ -n "$(find "$UP/.wh..wh.work" -name '*volatile*')" ]
}

@test "many mounts live side by side and may share lowers" {
	local i
	for i in 1 2 3 4; do
		mkdir "$T/up$i" "$T/mnt$i"
		overlay_mount_background -u "$T/up$i" "$LOW" "$T/mnt$i"
		echo "$i" >"$T/mnt$i/file"
	done
	for i in 1 2 3 4; do
		assert_content "$T/mnt$i/file" "$i"
		assert_content "$T/mnt$i/dir/deep" deep
	done
}

@test "an overlay is a lower of another overlay" {
	mkdir "$T/up1" "$T/mnt1"
	overlay_mount_background -u "$T/up1" "$LOW" "$T/mnt1"
	echo one >"$T/mnt1/one"
	LOWERS=()
	overlay_mount_background -u "$UP" "$T/mnt1" "$MNT"
	assert_content "$MNT/one" one
	rm -r "$MNT/dir"
	echo two >"$MNT/file"
	assert_content "$T/mnt1/dir/deep" deep
	assert_content "$T/mnt1/file" low
	overlay_umount
}

@test "the limit of open files is raised to the hard limit" {
	run bash -c 'ulimit -Sn 256 && timeout 20 "$OVERLAYFS" -u "$UP" "$LOW" "$MNT" 3>&-'
	assert_success
	read -r _ _ _ soft hard _ < <(grep '^Max open files' "/proc/$(daemons)/limits")
	assert_equal "$soft" "$hard"
}

@test "more files can be open than the caller's limit lets the daemon hold" {
	# The daemon's own descriptors must not run out because of its cache of directories.
	local i
	for ((i = 0; i < 600; i++)); do mkdir -p "$LOW/many/$i/a" && echo "$i" >"$LOW/many/$i/a/f"; done
	lowers_remember
	run bash -c 'ulimit -n 256 && timeout 20 "$OVERLAYFS" -u "$UP" "$LOW" "$MNT" 3>&-'
	assert_success
	assert_equal "$(find "$MNT/many" -type f -exec cat {} + | sort -n | tail -1)" 599
	for ((i = 0; i < 600; i++)); do : >"$MNT/many/$i/a/new"; done
	assert_equal "$(find "$MNT/many" -name new | wc -l)" 600
}

@test "the daemon in front reports on stderr and -d shows requests" {
	overlay_mount -d
	cat "$MNT/file"
	grep -qi 'unique' "${LOGS[0]}"
}
