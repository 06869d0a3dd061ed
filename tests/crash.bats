# The daemon is killed at any moment: after mounting again each file is in its old or its new
# state, nothing removed comes back, no lower data is lost, nothing half done is left over.

load helpers

setup() {
	tree_begin
	EXPECT_STATUS=any
}
teardown() { tree_end; }

crash() {
	kill -KILL "$DAEMON" 2>/dev/null || :
	wait "$DAEMON" 2>/dev/null || :
	while is_mounted "$MNT"; do umount -l "$MNT" 2>/dev/null || fusermount3 -uz "$MNT"; done
}

@test "after SIGKILL the mount point can be mounted again, the lock is free" {
	echo x >"$LOW/f"
	overlay_mount
	echo y >"$MNT/f"
	mkdir "$MNT/d"
	crash
	overlay_mount
	assert_content "$MNT/f" y
	assert_names "$MNT" d f
	assert_equal "$(work_leftovers)" ''
}

@test "half-done work of a killed daemon is cleaned up at the next mount" {
	echo x >"$LOW/f"
	overlay_mount
	crash
	mkdir -p "$UP/.wh..wh.work/#staged-dir/sub"
	echo half >"$UP/.wh..wh.work/#staged-file"
	echo half >"$UP/.wh..wh.work/#staged-dir/sub/f"
	chmod 500 "$UP/.wh..wh.work/#staged-dir"
	ln -s x "$UP/.wh..wh.work/#staged-link"
	overlay_mount
	assert_equal "$(work_leftovers)" ''
	assert_names "$MNT" f
}

# lib/crash.py does operations in a loop and writes down, outside the mount, what it is about
# to do and what it has done; afterwards it looks whether each file is old or new.
survive() {
	local program=$1 rounds=$2 i
	[[ -n ${SNAPPED[*]} ]] || "$PYTHON" "$LIB/crash.py" make "$LOW" "$program"
	for ((i = 0; i < rounds; i++)); do
		overlay_mount "${@:3}"
		"$PYTHON" "$LIB/crash.py" run "$MNT" "$T/run/journal" "$program" "$i" 3>&- &
		worker=$!
		# At another moment each time: after so many entries of the journal, and a bit.
		reached() { [[ $(stat -c %s "$T/run/journal" 2>/dev/null || echo 0) -gt $((i * 97 % 600)) ]] || ended "$worker"; }
		: >>"$T/run/journal"
		poll 20 reached
		"$PYTHON" -c "import time; time.sleep($((i * 37 % 100)) / 10000)"
		crash
		wait "$worker" || :
		overlay_mount "${@:3}"
		"$PYTHON" "$LIB/crash.py" check "$MNT" "$T/run/journal" "$program" ||
			fail "round $i of $program"
		assert_equal "$(work_leftovers)" ''
		crash
		rm -rf "$UP" "$T/run/journal"
		mkdir "$UP"
	done
}

@test "killed during copy-ups: each file is old or new, none is half" {
	survive copyup 12
}

@test "killed during removals: nothing that was removed comes back, nothing else is missing" {
	survive remove 8
	survive remove 4 -o whiteout=chardev
	survive remove 4 -o whiteout=xattr
}

@test "killed during renames: each file is at its old or its new place, with its content" {
	survive rename 8
	survive rename 4 -o whiteout=chardev
	survive rename 4 -o whiteout=xattr
	survive rename 4 -o redirect_dir=off
}

@test "killed while files are replaced by rename: old or new, never empty or missing" {
	survive replace 8
	survive replace 4 -o whiteout=xattr
}

@test "killed while directories are removed and made again: no old entry shows" {
	survive remake 8
	survive remake 4 -o whiteout=chardev
	survive remake 4 -o whiteout=xattr
}

@test "killed while hard links are made and broken: all names agree" {
	survive links 8
}

# lib/kill.py kills the daemon at each system call that changes the upper, one after the other.
# killed_at_each_call LEAST OPTIONS [OPERATION...]: at so many of them at least, in the background.
killed_at_each_call() {
	local root=$T/kill-${#KILLING[@]}
	mkdir -p "$root/low" "$root/up" "$root/mnt"
	"$PYTHON" "$LIB/kill.py" make "$root"
	LOWERS=("$root/low")
	((${#DAEMON_AS[@]} == 0)) || chown -Rh "$TEST_UID:$TEST_GID" "$root"
	lowers_remember
	"${DAEMON_AS[@]}" "$PYTHON" "$LIB/kill.py" run "$root" "${@:2}" >"$root/out" 2>&1 3>&- &
	KILLING+=("$!") LEAST+=("$1")
}

all_survived() {
	local i rc=0
	for i in "${!KILLING[@]}"; do
		wait "${KILLING[i]}" || rc=1
		cat "$T/kill-$i/out"
		[[ $(tail -1 "$T/kill-$i/out") =~ ^([0-9]+)\ kills$ && ${BASH_REMATCH[1]} -ge ${LEAST[i]} ]] || rc=1
	done
	return $rc
}

@test "killed at each single call that changes the upper, every operation is all or nothing" {
	need attach
	KILLING=() LEAST=()
	killed_at_each_call 250 whiteout=wh
	killed_at_each_call 120 whiteout=chardev
	killed_at_each_call 150 whiteout=xattr
	all_survived
}

@test "killed at each single call, the daemon of an ordinary user leaves all or nothing" {
	need attach
	tree_for_user
	KILLING=() LEAST=()
	killed_at_each_call 100 whiteout=xattr
	killed_at_each_call 80 whiteout=wh,redirect_dir=off 'rename a lower directory' \
		'rename a merged directory' 'exchange directories' 'rename a directory over a whiteout'
	all_survived
}

@test "killed at each single call of renames without redirects, nothing is lost or comes back" {
	need attach
	KILLING=() LEAST=()
	killed_at_each_call 100 whiteout=wh,redirect_dir=off 'rename a lower directory' \
		'rename a merged directory' 'exchange directories' 'rename a directory over a whiteout'
	all_survived
}

# What the journal of the upper's file system has is kept, what only memory has is lost: as when
# the machine loses power. Meanwhile another file is flushed now and then, and with it the journal.
copy_up_until_power_fails() {
	"$PYTHON" - "$MNT" "$1" <<-'END'
		import fcntl, os, struct, sys
		mnt, disk = sys.argv[1:]
		side = os.open(disk + "/side", os.O_CREAT | os.O_WRONLY)
		for i, name in enumerate(sorted(os.listdir(mnt))):
		    os.chmod(f"{mnt}/{name}", 0o600)
		    if i % 10 == 9:
		        os.write(side, b"x")
		        os.fsync(side)
		EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587D, 2
		fcntl.ioctl(os.open(disk, os.O_RDONLY), EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
	END
}

power_loss() {
	local disk=$T/disk f copied=0
	need root
	need loop
	need command "mkfs.$1"
	for i in {1..100}; do head -c $((i * 100)) /dev/zero | tr '\0' x >"$LOW/$i"; done
	truncate -s 512M "$T/image"
	"mkfs.$1" -q "$T/image"
	mkdir "$disk"
	mount -o loop "$T/image" "$disk"
	mkdir "$disk/up" "$disk/work"
	UP=$disk/up overlay_mount -o workdir="$disk/work"
	copy_up_until_power_fails "$disk"
	crash
	umount "$disk"
	mount -o loop "$T/image" "$disk"
	for f in "$disk"/up/[0-9]*; do
		[[ -e $f ]] || continue
		head -c $((${f##*/} * 100)) /dev/zero | tr '\0' x | cmp - "$f" || fail "$f is torn"
		copied=$((copied + 1))
	done
	((copied >= 90)) || fail "the journal has $copied copies only"
	umount "$disk"
}

@test "after a loss of power each copy is whole, on ext4" { power_loss ext4; }
@test "after a loss of power each copy is whole, on XFS" { power_loss xfs; }
