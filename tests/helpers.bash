# shellcheck shell=bats
# What every suite loads: a private tree of layers, mounting and unmounting with bounded
# polling, and the checks that hold for each test whatever it is about: the daemon ended with
# status 0 and reported no sanitizer error, no mount and no process is left, the lowers are
# as before.
#
#   setup()    { tree_begin; }
#   teardown() { tree_end; }
#
# sets T (private directory), LOW, LOW2, LOW3, UP, WORK, MNT and LOWERS (the stack, top first;
# $LOW only). WORK does not exist until a test makes it.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
bats_load_library bats-file

# A hung file system must end the test, not the run.
export BATS_TEST_TIMEOUT="${BATS_TEST_TIMEOUT:-180}"

TESTS=${BASH_SOURCE[0]%/*}
TESTS=$(cd "$TESTS" && pwd)
REPO=${TESTS%/*}
OVERLAYFS=${OVERLAYFS:-$REPO/overlayfs}
OVERLAYFS=$(realpath -m -- "$OVERLAYFS")
export OVERLAYFS TESTS REPO
export LC_ALL=C.UTF-8 TZ=UTC PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$TESTS/lib"
export PATH="$PATH:/usr/sbin:/sbin"
# Not one that only the caller may run.
PYTHON=/usr/bin/python3
[[ -x $PYTHON ]] || PYTHON=$(command -v python3)
LIB=$TESTS/lib

# Ordinary accounts. fusermount3 wants them to be in /etc/passwd.
if ((EUID == 0)); then
	read -r TEST_USER OTHER_USER _ < <(getent passwd games news mail |
		awk -F: '$3 != 0 && $3 != 65534 { printf "%s ", $1 } END { print "" }')
	TEST_UID=$(id -u "$TEST_USER") TEST_GID=$(id -g "$TEST_USER")
	OTHER_UID=$(id -u "$OTHER_USER") OTHER_GID=$(id -g "$OTHER_USER")
	USER_CMD=(setpriv "--reuid=$TEST_UID" "--regid=$TEST_GID" --clear-groups --)
	OTHER_CMD=(setpriv "--reuid=$OTHER_UID" "--regid=$OTHER_GID" --clear-groups --)
else
	TEST_USER=$(id -un) TEST_UID=$EUID TEST_GID=$(id -g)
	OTHER_USER='' OTHER_UID='' OTHER_GID=''
	USER_CMD=() OTHER_CMD=(false)
fi

# Run a command as an ordinary user, and as another one (the latter needs root).
as_user() { "${USER_CMD[@]}" "$@"; }
as_other() { "${OTHER_CMD[@]}" "$@"; }

# need root|userns|loop|network|kernel-overlay|command NAME: skip where the machine cannot do it,
# but fail in CI, so that nothing is silently left out there.
need() {
	local why='' loop
	case $1 in
	root) ((EUID == 0)) || why='needs root' ;;
	userns) as_user unshare -Urm true 2>/dev/null || why='needs user namespaces' ;;
	kernel-overlay) ((EUID == 0)) && grep -qw overlay /proc/filesystems ||
		{ ((EUID == 0)) && modprobe overlay 2>/dev/null; } || why='needs kernel overlayfs' ;;
	loop) loop=$(losetup -f 2>/dev/null) && [[ -b $loop ]] || why='needs loop devices' ;;
	command) type -P "$2" >/dev/null || why="needs the command $2" ;;
	attach) can_attach || why='needs an strace that can attach' ;;
	network) timeout 20 bash -c ': </dev/tcp/deb.debian.org/80' 2>/dev/null ||
		why='needs deb.debian.org' ;;
	*) fail "need $*: what is that?" ;;
	esac
	[[ -z $why ]] && return 0
	[[ ${CI:-} != true ]] || fail "CI=true and the machine $why"
	skip "$why"
}

can_attach() {
	sleep 60 3>&- &
	local sleeper=$! rc=0
	timeout -s INT 1 strace -qq -o /dev/null -p "$sleeper" 2>"$T/run/strace" || rc=$?
	kill "$sleeper"
	wait "$sleeper" || :
	[[ $rc == 124 && ! -s $T/run/strace ]]
}

# LeakSanitizer cannot work below strace.
strace() { ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 command strace "$@"; }

# poll SECONDS COMMAND...: until the command succeeds. It leaves $! alone: no process substitution.
poll() {
	local end=$((SECONDS + $1 + 1))
	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.02
	done
}

# Whether a file system is mounted on a directory; does not call into it. The list is read as
# a whole: read -r goes back in a file after each line, and others mount and unmount meanwhile.
is_mounted() {
	local line mp
	while read -r _ _ _ _ mp line; do
		printf -v mp %b "$mp"
		[[ $mp == "$1" ]] && return 0
	done <<<"$(</proc/self/mountinfo)"
	return 1
}

mounts_below() {
	local mp
	while read -r _ _ _ _ mp _; do
		printf -v mp %b "$mp"
		[[ $mp == "$1" || $mp == "$1"/* ]] && printf '%s\n' "$mp"
	done <<<"$(</proc/self/mountinfo)" | tac
}

# Process ids of the daemons this test started, however they were started: the environment
# carries the test's directory. One process looks at all of them: each test asks this.
daemons() {
	local p
	find /proc/[0-9]*/exe -maxdepth 0 \( -lname '*overlayfs' -o -lname '*overlayfs (deleted)' \) \
		-printf '%h\n' 2>/dev/null | while read -r p; do
		grep -qsxzF "OVERLAYFS_TEST=$T" "$p/environ" && printf '%s\n' "${p#/proc/}"
	done
	return 0
}
no_daemons() { [[ -z $(daemons) ]]; }

ended() { ! kill -0 "$1" 2>/dev/null || [[ $(ps -o stat= -p "$1") == Z* ]]; }

# --- begin and end of a test ---------------------------------------------------------------

tree_begin() {
	T=$(mktemp -d "${TMPDIR:-/tmp}/overlayfs-test.XXXXXX")
	chmod 755 "$T"
	LOW=$T/low LOW2=$T/low2 LOW3=$T/low3 UP=$T/up WORK=$T/work MNT=$T/mnt
	mkdir "$LOW" "$LOW2" "$LOW3" "$UP" "$MNT" "$T/run"
	chmod 1777 "$T/run"
	if ! as_user test -x "$OVERLAYFS" -a -r "$LIB/ovl.py"; then
		# The ordinary user cannot get at the source tree.
		mkdir "$T/bin"
		cp -r "$LIB" "$T/lib"
		install -m 755 "$OVERLAYFS" "$T/bin/overlayfs"
		OVERLAYFS=$T/bin/overlayfs LIB=$T/lib
		chmod -R go+rX "$T/lib"
		export PYTHONPATH=$LIB
	fi
	LOWERS=("$LOW")
	DAEMON_AS=()
	PIDS=() LOGS=() SNAPPED=()
	EXPECT_STATUS=0 # of foreground daemons; "any" where a test kills one
	unset MAKEFLAGS MAKELEVEL MFLAGS # a test may run make(1), and make this one
	export T LOW LOW2 LOW3 UP WORK MNT OVERLAYFS_TEST="$T"
	local san="log_path=$T/run/san"
	export ASAN_OPTIONS="${ASAN_OPTIONS_GIVEN=${ASAN_OPTIONS-}}:$san:detect_leaks=1"
	export UBSAN_OPTIONS="${UBSAN_OPTIONS_GIVEN=${UBSAN_OPTIONS-}}:$san:print_stacktrace=1"
	export TSAN_OPTIONS="${TSAN_OPTIONS_GIVEN=${TSAN_OPTIONS-}}:$san"
}

# Give the whole tree to the ordinary user, who will also run the daemon.
tree_for_user() {
	((EUID != 0)) || chown -Rh "$TEST_UID:$TEST_GID" "$LOW" "$LOW2" "$LOW3" "$UP" "$MNT"
	DAEMON_AS=("${USER_CMD[@]}")
}

# Remember what the lowers look like (and make their access times old, so that any read
# would show). Called by each mount; what was remembered before stays.
lowers_remember() {
	local dir new=() uid=()
	for dir in "${LOWERS[@]}"; do
		[[ -d $dir && " ${SNAPPED[*]} " != *" $dir "* ]] || continue
		new+=("$dir")
		SNAPPED+=("$dir")
	done
	((${#new[@]})) || return 0
	((EUID == 0 && ${#DAEMON_AS[@]} == 0)) || uid=(--reader "$TEST_UID")
	"$PYTHON" "$LIB/tree.py" age "${new[@]}"
	for dir in "${new[@]}"; do
		"$PYTHON" "$LIB/tree.py" snapshot "${uid[@]}" "$dir" >"$T/run/snap.${dir//\//%}"
	done
	SNAP_ARGS=("${uid[@]}")
}

lowers_unchanged() {
	local dir rc=0
	for dir in "${SNAPPED[@]}"; do
		"$PYTHON" "$LIB/tree.py" snapshot "${SNAP_ARGS[@]}" "$dir" |
			diff "$T/run/snap.${dir//\//%}" - >"$T/run/diff" && continue
		printf 'the lower %s was changed:\n' "$dir"
		head -40 "$T/run/diff"
		rc=1
	done
	return $rc
}

# The test itself changes this lower. The next mount remembers it anew.
lower_may_change() {
	local dir keep=()
	for dir in "${SNAPPED[@]}"; do [[ $dir == "$1" ]] || keep+=("$dir"); done
	SNAPPED=("${keep[@]}")
}

tree_end() {
	local mp pid log i rc=0 status
	cd / || return 1
	[[ -n ${T:-} ]] || return 0
	while read -r mp; do
		[[ -n $mp ]] || continue
		poll 3 umount_one "$mp" 2>/dev/null && continue
		printf 'cannot unmount %s: busy\n' "$mp"
		rc=1
		umount -l "$mp" || fusermount3 -uz "$mp" || :
	done <<<"$(mounts_below "$T")"
	for i in "${!PIDS[@]}"; do
		pid=${PIDS[i]}
		[[ -n $pid ]] || continue
		if ! poll 10 ended "$pid"; then
			printf 'the daemon %s is still there after unmounting\n' "$pid"
			kill -KILL "$pid"
			rc=1
		fi
		status=0
		wait "$pid" 2>/dev/null || status=$?
		if [[ $EXPECT_STATUS != any && $status != "$EXPECT_STATUS" ]]; then
			printf 'the daemon ended with status %s, not %s\n' "$status" "$EXPECT_STATUS"
			rc=1
		fi
	done
	if ! poll 10 no_daemons; then
		printf 'daemons are left: %s\n' "$(daemons | xargs)"
		# shellcheck disable=SC2046
		kill -KILL $(daemons) 2>/dev/null
		rc=1
	fi
	for log in "${LOGS[@]}" "$T"/run/san.*; do
		[[ -s $log ]] || continue
		if grep -qE 'ERROR: (AddressSanitizer|LeakSanitizer)|runtime error:|WARNING: ThreadSanitizer|LeakSanitizer|AddressSanitizer' "$log"; then
			printf 'the daemon reported:\n'
			head -60 "$log"
			rc=1
		elif [[ -z ${BATS_TEST_COMPLETED:-} ]]; then
			printf 'log of the daemon:\n'
			tail -30 "$log"
		fi
	done
	lowers_unchanged || rc=1
	if [[ -n $(mounts_below "$T") ]]; then
		printf 'a mount is left: %s\n' "$(mounts_below "$T" | xargs)"
		return 1
	fi
	rm -rf --one-file-system "$T" 2>/dev/null || { chmod -R u+rwX "$T" && rm -rf "$T"; }
	return $rc
}

# --- mounting ------------------------------------------------------------------------------

join() {
	local IFS=$1
	shift
	printf '%s' "$*"
}

# overlay_start ARGUMENT...: run the daemon with -f, wait until the last argument is mounted.
overlay_start() {
	local mnt=${!#} pid log
	lowers_remember
	log=$(mktemp "$T/run/log.XXXXXX")
	# A shell's background processes ignore SIGINT, those of nohup(1) SIGHUP; a user's do not.
	env --default-signal=HUP,INT,QUIT "${DAEMON_AS[@]}" "$OVERLAYFS" -f "$@" </dev/null >>"$log" 2>&1 3>&- 4>&- &
	pid=$!
	PIDS+=("$pid") LOGS+=("$log")
	DAEMON=$pid
	# Nothing that waits for a hung daemon can be ended but by ending the daemon.
	(timeout 160 tail -s 0.2 --pid="$pid" -f /dev/null || kill -KILL "$pid") \
		</dev/null >/dev/null 2>&1 3>&- 4>&- &
	poll 10 overlay_settled "$pid" "$mnt" || fail 'the mount is not ready after 10 seconds'
	is_mounted "$mnt" || fail "the daemon ended instead of mounting: $(cat "$log")"
}
overlay_settled() { is_mounted "$2" || ended "$1"; }

# overlay_mount [ARGUMENT...]: the usual mount of LOWERS and UP on MNT, with more options.
overlay_mount() {
	local work=''
	[[ ! -d $WORK ]] || work=",workdir=$WORK"
	MOUNT_ARGS=("$@")
	overlay_start -o "lowerdir=$(join : "${LOWERS[@]}"),upperdir=$UP$work" "$@" "$MNT"
}

# The same through the form that goes to the background; the mount must be ready at once.
overlay_mount_background() {
	local status=0
	lowers_remember
	timeout 20 "${DAEMON_AS[@]}" "$OVERLAYFS" "$@" </dev/null >"$T/run/out" 2>&1 3>&- 4>&- ||
		status=$?
	assert_equal "$status: $(cat "$T/run/out")" '0: '
	is_mounted "${!#}" || is_mounted "$MNT" || fail 'not mounted when the command returned'
}

umount_one() {
	if ((EUID == 0)); then umount "$1"; else fusermount3 -u "$1"; fi
}

# overlay_umount [MOUNTPOINT]: and wait until the daemon has ended.
overlay_umount() {
	local mnt=${1:-$MNT} i
	poll 5 umount_one "$mnt" 2>/dev/null || umount_one "$mnt" || fail "cannot unmount $mnt"
	for i in "${!PIDS[@]}"; do
		[[ -z ${PIDS[i]} || ${PIDS[i]} != "${DAEMON:-}" ]] && continue
		poll 10 ended "${PIDS[i]}" || fail 'the daemon is still there after unmounting'
		local status=0
		wait "${PIDS[i]}" || status=$?
		[[ $EXPECT_STATUS == any || $status == "$EXPECT_STATUS" ]] ||
			fail "the daemon ended with status $status: $(tail -20 "${LOGS[i]}")"
		PIDS[i]=''
	done
}

# Unmount and mount again: what only the daemon's memory knew is gone.
overlay_remount() {
	overlay_umount
	if (($#)); then overlay_mount "$@"; else overlay_mount "${MOUNT_ARGS[@]}"; fi
}

# for_formats FUNCTION: run it once for each form of whiteouts, in a tree of its own.
for_formats() {
	local format
	for format in wh chardev xattr; do
		printf 'whiteout=%s\n' "$format"
		"$1" "$format"
		tree_end || return 1
		tree_begin
	done
}

# --- asking and comparing ------------------------------------------------------------------

# One system call; prints its value, "ok", or the name of the error.
sysc() { "$PYTHON" "$LIB/sysc.py" "$@"; }
user_sysc() { as_user "$PYTHON" "$LIB/sysc.py" "$@"; }
other_sysc() { as_other "$PYTHON" "$LIB/sysc.py" "$@"; }

# A Python program from standard input; its library is tests/lib/ovl.py.
py() { "$PYTHON" - "$@"; }
user_py() { as_user "$PYTHON" - "$@"; }

# The names in a directory, sorted, in one line.
names() { find "$1" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | xargs -r; }

assert_names() {
	local dir=$1
	shift
	assert_equal "$(names "$dir")" "$(printf '%s\n' "$@" | sort | xargs -r)"
}

# The names of an upper that matter: without the work directory inside it.
upper_names() {
	(cd "$UP" && find . -mindepth 1 -path ./.wh..wh.work -prune -o -mindepth 1 -printf '%P\n') |
		sort | xargs -r
}
assert_upper() { assert_equal "$(upper_names)" "$(printf '%s\n' "$@" | sort | xargs -r)"; }

assert_content() { assert_equal "$(cat "$1")" "$2"; }

# A name that is neither found nor listed.
assert_gone() {
	assert_equal "$1: $(sysc lstat "$1")" "$1: ENOENT"
	assert_equal "$(find "${1%/*}" -mindepth 1 -maxdepth 1 -name "${1##*/}")" ''
}

# Two trees with the same names, types, modes, owners, sizes, contents and attributes.
# More words leave fields out or add them: -owner -xattr +mtime.
assert_same_tree() {
	local a=$1 b=$2
	shift 2
	"$PYTHON" "$LIB/tree.py" show "$a" "$@" >"$T/run/tree.a"
	"$PYTHON" "$LIB/tree.py" show "$b" "$@" >"$T/run/tree.b"
	diff "$T/run/tree.a" "$T/run/tree.b" || fail "$a (<) and $b (>) differ"
}

# A name that no user sees hides NAME in directory DIR of a layer, in the given form.
make_whiteout() {
	local dir=$1 name=$2 form=$3
	mkdir -p "$dir"
	case $form in
	wh) : >"$dir/.wh.$name" ;;
	chardev) mknod "$dir/$name" c 0 0 ;;
	xattr | user-xattr)
		: >"$dir/$name"
		setfattr -n user.overlay.whiteout -v y "$dir/$name"
		setfattr -n user.overlay.opaque -v x "$dir"
		;;
	trusted-xattr)
		: >"$dir/$name"
		setfattr -n trusted.overlay.whiteout -v y "$dir/$name"
		setfattr -n trusted.overlay.opaque -v x "$dir"
		;;
	*) fail "what is the whiteout form $form?" ;;
	esac
}

make_opaque() {
	local dir=$1 form=$2
	mkdir -p "$dir"
	case $form in
	wh) : >"$dir/.wh..wh..opq" ;;
	*) setfattr -n "$form" -v y "$dir" ;;
	esac
}

# Whether the upper has a whiteout of DIR/NAME in the given form.
assert_whiteout() {
	local path=$UP/$1/$2
	case $3 in
	wh) assert_file_exist "$UP/$1/.wh.$2" && assert_not_exist "$path" ;;
	chardev) assert_equal "$(stat -c '%F %t,%T' "$path")" 'character special file 0,0' ;;
	xattr)
		assert_equal "$(stat -c '%F' "$path")" 'regular empty file'
		assert getfattr -h --only-values -n user.overlay.whiteout "$path"
		assert_equal "$(getfattr --only-values -n user.overlay.opaque "$UP/$1")" x
		;;
	esac
}

# What is left in the work directory besides what belongs there.
work_leftovers() {
	local work=$WORK
	[[ -d $work ]] || work=$UP/.wh..wh.work
	[[ -d $work ]] || return 0
	find "$work" -mindepth 1 -maxdepth 1 ! -name lock ! -name index -printf '%f\n'
}
