# Bad input: one line that begins with "overlayfs: ", status 1, nothing mounted, nothing made.

load helpers

setup() {
	tree_begin
	echo low >"$LOW/file"
}
teardown() { tree_end; }

# refused WORD... -- ARGUMENT...: mounting fails as above and the line has each of the words.
refused() {
	local words=() before word form
	while [[ $1 != -- ]]; do
		words+=("$1")
		shift
	done
	shift
	before=$(find "$T" -path "$T/run" -prune -o -printf '%p %y %m\n' | sort)
	for form in background front; do
		[[ $form == background ]] || set -- -f "$@"
		run -1 --separate-stderr timeout -k 5 20 "${DAEMON_AS[@]}" "$OVERLAYFS" "$@" 3>&-
		assert_output ''
		[[ $stderr == 'overlayfs: '* ]] || fail "$form: does not begin with overlayfs: $stderr"
		[[ $stderr != *$'\n'* ]] || fail "$form: more than one line: $stderr"
		for word in "${words[@]}"; do
			[[ $stderr == *"$word"* ]] || fail "$form: '$word' is not in: $stderr"
		done
		[[ -z $(mounts_below "$MNT") ]] || fail "$form: something is mounted"
		assert_equal "$(find "$T" -path "$T/run" -prune -o -printf '%p %y %m\n' | sort)" "$before"
		poll 5 no_daemons || fail "$form: a daemon is left"
	done
}

@test "a lower that is missing" {
	refused "$T/none" 'No such file' -- -o "lowerdir=$T/none,upperdir=$UP" "$MNT"
	refused "$T/none" 'No such file' -- -o "lowerdir=$LOW:$T/none" "$MNT"
	refused "$T/none" 'No such file' -- -u "$UP" "$LOW:$T/none" "$MNT"
	refused "$T/none" 'No such file' -- --tmp "$T/none" "$MNT"
	refused "$T/none" 'No such file' -- "$T/none" "$MNT"
}

@test "a lower that is not a directory" {
	refused "$LOW/file" 'Not a directory' -- -o "lowerdir=$LOW/file,upperdir=$UP" "$MNT"
	refused "$LOW/file" 'Not a directory' -- "$LOW/file" "$MNT"
}

@test "a lower that may not be read" {
	need root
	mkdir -m 700 "$T/closed"
	tree_for_user
	refused "$T/closed" 'ermission denied' -- -o "lowerdir=$T/closed,upperdir=$UP" "$MNT"
}

@test "an upper that is missing or not a directory" {
	refused "$T/none" 'No such file' -- -o "lowerdir=$LOW,upperdir=$T/none" "$MNT"
	refused "$LOW/file" 'Not a directory' -- -u "$LOW/file" "$LOW2" "$MNT"
}

@test "an upper that may not be written" {
	need root
	mkdir -m 755 "$T/closed"
	tree_for_user
	refused "$T/closed" 'ermission denied' -- -o "lowerdir=$LOW,upperdir=$T/closed" "$MNT"
}

@test "an upper on a read-only file system" {
	need root
	mount -t tmpfs -o ro tmpfs "$UP"
	refused "$UP" 'ead-only' -- -o "lowerdir=$LOW,upperdir=$UP" "$MNT"
	umount "$UP"
}

@test "a work directory that is missing, not a directory, or elsewhere" {
	refused workdir "$T/none" -- -o "lowerdir=$LOW,upperdir=$UP,workdir=$T/none" "$MNT"
	refused workdir "$LOW/file" -- -o "lowerdir=$LOW,upperdir=$UP,workdir=$LOW/file" "$MNT"
	refused workdir "$UP" -- -o "lowerdir=$LOW,upperdir=$UP,workdir=$UP" "$MNT"
}

@test "a work directory on another file system than the upper" {
	need root
	mkdir "$WORK"
	mount -t tmpfs tmpfs "$WORK"
	refused workdir "$WORK" -- -o "lowerdir=$LOW,upperdir=$UP,workdir=$WORK" "$MNT"
	umount "$WORK"
}

@test "a work directory that is or holds the upper or a lower" {
	mkdir "$LOW/work" "$T/around"
	mkdir "$T/around/up"
	refused workdir -- -o "lowerdir=$LOW,upperdir=$UP,workdir=$LOW" "$MNT"
	refused workdir -- -o "lowerdir=$LOW,upperdir=$T/around/up,workdir=$T/around" "$MNT"
}

@test "a work directory without an upper" {
	mkdir "$WORK"
	refused workdir -- -o "lowerdir=$LOW,workdir=$WORK" "$MNT"
}

@test "an upper that is also a lower" {
	refused "$UP" -- -o "lowerdir=$UP,upperdir=$UP" "$MNT"
	refused "$UP" -- -o "lowerdir=$LOW:$UP,upperdir=$UP" "$MNT"
	ln -s up "$T/link"
	refused "$UP" -- -u "$UP" "$T/link" "$MNT"
}

@test "an upper that contains a lower" {
	mkdir "$UP/inside"
	refused "$UP" -- -o "lowerdir=$UP/inside,upperdir=$UP" "$MNT"
}

@test "a mount point that is missing or not a directory" {
	refused "$T/none" 'No such file' -- -o "lowerdir=$LOW,upperdir=$UP" "$T/none"
	refused "$LOW/file" 'Not a directory' -- -o "lowerdir=$LOW2,upperdir=$UP" "$LOW/file"
}

@test "a mount point that is not the user's" {
	need root
	tree_for_user
	chown 0:0 "$MNT"
	chmod 755 "$MNT"
	refused "$MNT" -- -o "lowerdir=$LOW,upperdir=$UP" "$MNT"
}

@test "a mount point that already is one of ours" {
	overlay_mount
	echo x >"$MNT/file"
	mkdir "$T/up2"
	status=0
	run --separate-stderr timeout -k 5 20 "$OVERLAYFS" -o "lowerdir=$LOW,upperdir=$T/up2" "$MNT" 3>&-
	assert_equal "$status $output" '1 '
	[[ $stderr == 'overlayfs: '*"$MNT"* && $stderr != *$'\n'* ]] || fail "$stderr"
	assert_equal "$(grep -c " $MNT " /proc/self/mountinfo)" 1
	assert_equal "$(ls -A "$T/up2")" ''
	assert_content "$MNT/file" x
}

@test "the same upper twice: the message names the process that has it" {
	overlay_mount
	mkdir "$T/mnt2"
	run --separate-stderr timeout -k 5 20 "$OVERLAYFS" -o "lowerdir=$LOW,upperdir=$UP" "$T/mnt2" 3>&-
	assert_equal "$status $output" '1 '
	[[ $stderr == 'overlayfs: '*"$UP"*"$DAEMON"* && $stderr != *$'\n'* ]] || fail "$stderr (pid $DAEMON)"
	! is_mounted "$T/mnt2"
	# Also under another name and with another work directory.
	ln -s up "$T/link"
	mkdir "$WORK"
	run -1 timeout -k 5 20 "$OVERLAYFS" -u "$T/link" "$LOW" "$T/mnt2" 3>&-
	run -1 timeout -k 5 20 "$OVERLAYFS" -o "lowerdir=$LOW,upperdir=$UP,workdir=$WORK" "$T/mnt2" 3>&-
	assert_equal "$(ls -A "$WORK")" ''
	echo x >"$MNT/still"
	assert_content "$UP/still" x
	# And it is free again when the first has gone, also by force.
	EXPECT_STATUS=any
	kill -KILL "$DAEMON"
	poll 10 ended "$DAEMON"
	umount -l "$MNT" || fusermount3 -uz "$MNT"
	overlay_mount
	assert_content "$MNT/still" x
}

@test "the same work directory twice" {
	mkdir "$WORK" "$T/up2" "$T/mnt2"
	overlay_mount
	run --separate-stderr timeout -k 5 20 "$OVERLAYFS" \
		-o "lowerdir=$LOW,upperdir=$T/up2,workdir=$WORK" "$T/mnt2" 3>&-
	assert_equal "$status $output" '1 '
	[[ $stderr == 'overlayfs: '*"$WORK"* && $stderr != *$'\n'* ]] || fail "$stderr"
}

@test "an unknown option is named" {
	refused no_such_option -- -o "lowerdir=$LOW,upperdir=$UP,no_such_option" "$MNT"
	refused no_such_option -- -o "lowerdir=$LOW,upperdir=$UP,no_such_option=5" "$MNT"
	refused lowerdirs -- -o "lowerdirs=$LOW" "$MNT"
	refused --no-such -- --no-such "$LOW" "$MNT"
	refused -q -- -q "$LOW" "$MNT"
}

@test "a value that an option does not know is named" {
	refused whiteout nonsense -- -o "lowerdir=$LOW,upperdir=$UP,whiteout=nonsense" "$MNT"
	refused redirect_dir maybe -- -o "lowerdir=$LOW,upperdir=$UP,redirect_dir=maybe" "$MNT"
	for value in x -1 1x '' nan 1e400; do
		refused timeout -- -o "lowerdir=$LOW,upperdir=$UP,timeout=$value" "$MNT"
	done
}

@test "options that contradict each other or lack something are named" {
	refused lowerdir -- -o "upperdir=$UP" "$MNT"
	refused lowerdir -- -o "lowerdir=" "$MNT"
	refused lowerdir -- -o "lowerdir=$LOW:,upperdir=$UP" "$MNT"
	refused lowerdir -- -o "lowerdir=$LOW::$LOW2,upperdir=$UP" "$MNT"
	refused upperdir -- -o "lowerdir=$LOW,upperdir=" "$MNT"
	refused upperdir -- -u "$UP" -o "upperdir=$LOW2" "$LOW" "$MNT"
	refused upper -- --tmp -o "lowerdir=$LOW,upperdir=$UP" "$MNT"
	refused upper -- --tmp -u "$UP" "$LOW" "$MNT"
	refused volatile -- -o "lowerdir=$LOW,volatile" "$MNT"
}

@test "too few and too many arguments" {
	for args in "$LOW" "-u" "-u $UP" "-u $UP $LOW" "--tmp" "--tmp $LOW" "-o" "umount" \
		"a b c d" "umount $MNT $MNT" "-o lowerdir=$LOW"; do
		run -1 --separate-stderr timeout 20 "$OVERLAYFS" $args 3>&-
		assert_output ''
		[[ $stderr == *verlayfs* ]] || fail "$args: $stderr"
		[[ -z $(mounts_below "$T") ]] || fail "$args: something is mounted"
	done
}

@test "umount of what is not ours" {
	need root
	for target in "$T/none" "$LOW/file" "$MNT" /proc; do
		run -1 --separate-stderr "$OVERLAYFS" umount "$target"
		[[ $stderr == 'overlayfs: '*"$target"* && $stderr != *$'\n'* ]] || fail "$stderr"
	done
	mountpoint -q /proc
}

@test "no /dev/fuse" {
	need root
	lowers_remember
	# In a mount name space of its own, so that nobody else misses it.
	run -1 timeout 30 unshare -m bash -c '
		mount --bind /dev/null /dev/fuse && mount -t tmpfs tmpfs /dev && "$OVERLAYFS" -u "$UP" "$LOW" "$MNT" 3>&-'
	assert_output --regexp '^overlayfs: .*/dev/fuse'
	assert_equal "${#lines[@]}" 1
	assert_equal "$(ls -A "$UP")" ''
}

@test "no fusermount3" {
	need root
	tree_for_user
	lowers_remember
	path=$(command -v fusermount3)
	export path
	# An empty file that cannot be run lies over it.
	: >"$T/nothing"
	export T
	run timeout 30 unshare -m bash -c '
		for f in /bin/fusermount3 /usr/bin/fusermount3 /bin/fusermount /usr/bin/fusermount "$path"; do
			[[ ! -e $f ]] || mount --bind "$T/nothing" "$(readlink -f "$f")" 2>/dev/null; done
		setpriv --reuid='"$TEST_UID"' --regid='"$TEST_GID"' --clear-groups -- \
			"$OVERLAYFS" -u "$UP" "$LOW" "$MNT" 3>&-'
	assert_failure 1
	assert_output --regexp '^overlayfs: .*fusermount3'
	assert_equal "${#lines[@]}" 1
	assert_equal "$(ls -A "$UP")" ''
}

@test "paths that are too long" {
	long=$(printf '%05000d' 1)
	refused 'too long' -- -o "lowerdir=/$long,upperdir=$UP" "$MNT"
	refused 'too long' -- -o "lowerdir=$LOW,upperdir=$T/${long:0:300}" "$MNT"
	refused 'too long' -- -u "$UP" "$LOW" "$T/$long"
	refused 'too long' -- -u "$UP" "$LOW" "$T/${long:0:300}"
}

@test "file names in messages stay on one line" {
	odd="$T/new
line"
	refused new -- -o "lowerdir=$odd,upperdir=$UP" "$MNT"
}

@test "a failed mount of --tmp leaves no upper behind" {
	mkdir "$T/tmp"
	chmod 1777 "$T/tmp"
	export TMPDIR=$T/tmp
	refused none -- --tmp "$LOW" "$T/none"
	assert_equal "$(ls -A "$T/tmp")" ''
}
