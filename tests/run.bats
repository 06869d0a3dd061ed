# `overlayfs run`: a command in a writable view of the machine or of another root, what is left
# of it (nothing but the session), and what becomes of the session.

load helpers

setup() {
	tree_begin
	run_begin
}
teardown() { tree_end; }

# Sessions and home of this test; given to the ordinary user for as_user.
run_begin() {
	export XDG_STATE_HOME=$T/state HOME=$T/home SHELL=/bin/sh
	mkdir -p "$XDG_STATE_HOME" "$HOME" "$T/work"
	unset BASH_ENV ENV
	cd "$T/work" || return 1
	ME=()
}

# for_both FUNCTION: as whoever runs this, and, as root, as an ordinary user too.
for_both() {
	printf 'as %s\n' "$(id -un)"
	"$@"
	((EUID == 0)) || return 0
	tree_end || return 1
	tree_begin
	run_begin
	printf 'as %s\n' "$TEST_USER"
	chown -R "$TEST_UID:$TEST_GID" "$XDG_STATE_HOME" "$HOME" "$T/work"
	ME=("${USER_CMD[@]}")
	"$@"
}

# overlayfs COMMAND...: as that one, with a bound.
ovl() { timeout 60 "${ME[@]}" "$OVERLAYFS" "$@" 3>&-; }
me() { "${ME[@]}" "$@"; }

# In the background, into $T/run/out; its process is $RUN. What an earlier one wrote is gone before
# it starts, so that nobody takes that for this one's.
ovl_background() {
	: >"$T/run/out"
	env --default-signal=HUP,INT,QUIT "${ME[@]}" "$OVERLAYFS" "$@" </dev/null >"$T/run/out" 2>&1 3>&- 4>&- &
	RUN=$!
}

# The processes of this test, and of no other that runs beside it, that are "sleep SECONDS".
sleepers() {
	local p
	for p in $(pgrep -xf "sleep $1"); do
		grep -qsxzF "OVERLAYFS_TEST=$T" "/proc/$p/environ" && printf '%s\n' "$p"
	done
	return 0
}
sleeping() { [[ -n $(sleepers "$1") ]]; }
not_sleeping() { ! sleeping "$1"; }

# No mount, no daemon, no mount point, no process of the sandbox.
assert_nothing_left() {
	poll 30 no_daemons || fail "daemons are left: $(daemons | xargs)"
	assert_equal "$(mounts_below "$T")" ''
	assert_equal "$(find "$XDG_STATE_HOME" -name '.mount-*' 2>/dev/null)" ''
	assert_equal "$(sandboxes)" ''
}
sandboxes() {
	local p
	for p in $(pgrep -x bwrap); do
		grep -qsxzF "OVERLAYFS_TEST=$T" "/proc/$p/environ" && printf '%s ' "$p"
	done
	return 0
}

# --- what the command sees, and what others see --------------------------------------------

changes_stay_inside() {
	echo old >"$T/work/file"
	chmod 666 "$T/work/file"
	run -0 --separate-stderr ovl run --keep -n t1 sh -ec '
		cat file; echo new >file; rm -f /tmp/overlayfs-no; mkdir dir; echo x >dir/x
		echo y >/tmp/overlayfs-y.$$; cat file dir/x /tmp/overlayfs-y.$$'
	assert_output 'old
new
x
y'
	assert_content "$T/work/file" old
	assert_not_exist "$T/work/dir"
	assert_equal "$(find /tmp -maxdepth 1 -name 'overlayfs-y.*')" ''
	assert_nothing_left
	run -0 ovl run --keep -n t1 cat file dir/x
	assert_output 'new
x'
	run -0 ovl diff --names t1
	assert_line "$T/work/file"
	assert_line "$T/work/dir/x"
}
@test "a command changes its view of the machine, and nothing else" {
	for_both changes_stay_inside
}

sees_its_caller() {
	local own inside program='
		printf "%s\n" "$PWD" "$MARK" "$1" "$#"
		pwd; umask; ulimit -n; id -un; nice; cat <&5; readlink /proc/$$/fd/6 | grep -c pipe || :'
	export MARK='a b'
	own=$(me bash -c "umask 027; ulimit -n 999; exec 5<<<five 6< <(:); nice -n 3 sh -c '$program' sh 'x y' z")
	inside=$(timeout 60 "${ME[@]}" bash -c "umask 027; ulimit -n 999; exec 5<<<five 6< <(:)
		nice -n 3 '$OVERLAYFS' run --discard sh -c '$program' sh 'x y' z" 3>&-)
	assert_equal "$inside" "$own"
}
@test "the command has the directory, environment, limits and descriptors of its caller" {
	for_both sees_its_caller
}

in_a_pipe() {
	printf 'a\nb\n' | ovl run --discard -q sh -c 'tr a-z A-Z; echo error >&2' 2>"$T/run/err" |
		tac >"$T/run/out"
	assert_equal "$(cat "$T/run/out" "$T/run/err" | xargs)" 'B A error'
	head -c 3000000 /dev/urandom >"$T/run/data"
	ovl run --discard sh -c 'cat; :' <"$T/run/data" >"$T/run/copy"
	cmp "$T/run/copy" "$T/run/data"
	# Nothing is read that is not the command's.
	assert_equal "$(printf '1\n2\n' | { ovl run --discard true; cat; } | xargs)" '1 2'
}
@test "it works in pipes" {
	for_both in_a_pipe
}

real_kernel_files() {
	run -0 ovl run --discard sh -ec '
		test -c /dev/null; echo x >/dev/null; test -d /sys/kernel
		test -e /proc/$$/status; test "$(cat /proc/sys/kernel/ostype)" = Linux; ls /dev/pts >/dev/null'
}
@test "/proc, /dev and /sys are real" {
	for_both real_kernel_files
}

hides_itself() {
	ovl run --keep -n elsewhere true
	run -0 ovl run --keep -n t1 sh -c "ls -A '$XDG_STATE_HOME'; ls '$XDG_STATE_HOME/overlayfs' 2>&1
		cat /proc/[0-9]*/cmdline /proc/self/mountinfo | tr '\\0' ' '
		find '$T' -xdev -name '.moun[t]-*' 2>/dev/null || :; ls -d /tmp/.moun[t]-* /run/.moun[t]-* 2>/dev/null || :"
	assert_output --partial 'No such file'
	refute_output --partial ".mount-"
	refute_output --partial "overlayfs/t1"
	refute_output --partial elsewhere
	run -0 ovl run --discard -u "$(me mktemp -d "$T/work/up.XXXXXX")" find "$T/work"
	assert_output "$T/work"
}
@test "the session, its upper and the mount point cannot be seen from inside" {
	for_both hides_itself
}

a_live_tree() {
	ovl_background run --discard sh -c "ls; echo ready; until [ -e later ]; do sleep 0.1; done; cat later"
	poll 30 grep -q ready "$T/run/out" || fail "$(cat "$T/run/out")"
	echo shown >"$T/work/later"
	poll 30 ended "$RUN" || fail 'what appears outside is not seen'
	assert_equal "$(tail -n 1 "$T/run/out")" shown
	wait "$RUN"
}
@test "bwrap may be installed set-user-ID" {
	need root
	need userns
	for_both set_user_id
}
set_user_id() {
	local PATH=$T/setuid:$PATH
	mkdir "$T/setuid"
	install -m 4755 "$(PATH=${PATH#*:} command -v bwrap)" "$T/setuid/bwrap"
	run -0 ovl run --keep -n t --sandbox bwrap sh -c 'id -u; echo new >file'
	assert_output "$(me id -u)"
	assert_not_exist file
	run -0 ovl diff --names t
	assert_output "$PWD/file"
	assert_nothing_left
}

@test "what appears outside shows in the view" {
	for_both a_live_tree
}

# --- exit statuses and signals -------------------------------------------------------------

exit_statuses() {
	local kind
	for kind in bwrap none; do
		run -0 ovl run --sandbox "$kind" --discard true
		run -7 ovl run --sandbox "$kind" --discard sh -c 'exit 7'
		run -143 ovl run --sandbox "$kind" --discard sh -c 'kill -TERM $$'
		run -137 ovl run --sandbox "$kind" --discard sh -c 'kill -KILL $$'
		run -127 ovl run --sandbox "$kind" --discard /no/such/command
		assert_output "overlayfs: /no/such/command: No such file or directory"
		run -126 ovl run --sandbox "$kind" --discard /etc/passwd
		assert_output "overlayfs: /etc/passwd: Permission denied"
		run -126 ovl run --sandbox "$kind" --discard /
	done
	printf '#!/no/interpreter\n' | me tee "$T/work/script" >/dev/null
	me chmod +x "$T/work/script"
	run -127 ovl run --discard ./script
	printf 'exit 9\n' | me tee "$T/work/script" >/dev/null
	run -9 ovl run --discard ./script
	run -127 env PATH=/usr/bin:/bin "${ME[@]}" "$OVERLAYFS" run --discard nosuchcommand
	# What never ran leaves no session.
	run -0 ovl list
	assert_output ''
	assert_nothing_left
}
@test "the exit status is the command's, 126 and 127 as env has them" {
	for_both exit_statuses
}

bad_usage() {
	one_line() { # STATUS MESSAGE ARGUMENT...
		local status=$1 message=$2
		shift 2
		run "-$status" ovl "$@"
		assert_equal "$output" "$message"
	}
	one_line 125 'overlayfs: run: the command is missing; try overlayfs run --help' run
	one_line 125 "overlayfs run: unrecognized option '--bogus'" run --bogus true
	one_line 125 'overlayfs: lowerdir /no/where: No such file or directory' run -l /no/where true
	one_line 125 'overlayfs: upperdir /no/where: No such file or directory' run -u /no/where true
	one_line 125 'overlayfs: unknown option: bogus' run -o bogus true
	one_line 125 'overlayfs: session a/b: not a name for a session' run -n a/b true
	one_line 125 'overlayfs: session .x: not a name for a session' run -n .x true
	one_line 125 'overlayfs: -u and -n exclude each other: a session has its own upper' run -u "$T" -n x true
	one_line 125 'overlayfs: only one of --ask, --commit, --discard and --keep can be' run --ask --keep true
	one_line 125 'overlayfs: --sandbox jail: must be auto, bwrap, proot or none' run --sandbox jail true
	one_line 125 'overlayfs: --rw /no/where: No such file or directory' run --rw /no/where true
	one_line 125 'overlayfs: directory /no/where: No such file or directory' run -C /no/where true
	one_line 125 'overlayfs: --rw needs a sandbox' run --sandbox none --rw /tmp true
	one_line 125 'overlayfs: --no-net needs the sandbox bwrap' run --sandbox proot --no-net true
	one_line 125 'overlayfs: --hide /: the pattern matches nothing' run --hide / true
	one_line 1 'overlayfs: nosuch: no session of that name' discard nosuch
	one_line 125 'overlayfs: nosuch: no session of that name' shell nosuch
	run -125 env -u HOME -u XDG_STATE_HOME "${ME[@]}" "$OVERLAYFS" run true
	assert_output 'overlayfs: no directory for sessions: set XDG_STATE_HOME or HOME'
	run -0 ovl list
	assert_output ''
	assert_nothing_left
}
@test "what is wrong is one clear line and status 125" {
	for_both bad_usage
}

passes_signals() {
	local signal
	for signal in HUP INT QUIT TERM USR1 USR2; do
		ovl_background run --discard sh -c "trap 'echo got $signal; exit 5' $signal; echo ready
			while :; do sleep 0.05; done"
		poll 30 grep -q ready "$T/run/out" || fail "$(cat "$T/run/out")"
		kill "-$signal" "$RUN"
		poll 30 ended "$RUN" || fail "still there after SIG$signal"
		local status=0
		wait "$RUN" || status=$?
		assert_equal "$status: $(tail -n 1 "$T/run/out")" "5: got $signal"
	done
	assert_nothing_left
}
@test "signals to run reach the command" {
	for_both passes_signals
}

dies_alike() {
	local status=0
	ovl_background run --discard sleep 1001
	poll 30 sleeping 1001
	kill -TERM "$RUN"
	poll 30 ended "$RUN"
	"$PYTHON" - "${ME[@]}" "$OVERLAYFS" <<'P'
import os, signal, subprocess, sys, time
p = subprocess.Popen(sys.argv[1:] + ["run", "--discard", "sh", "-c", "echo; exec sleep 1002"], stdout=subprocess.PIPE)
p.stdout.readline()
p.send_signal(signal.SIGTERM)
assert p.wait(20) == -signal.SIGTERM, p.returncode
# Its own status is the command's business.
p = subprocess.run(sys.argv[1:] + ["run", "--discard", "sh", "-c", "exit 143"], timeout=20)
assert p.returncode == 143, p.returncode
P
	wait "$RUN" || status=$?
	assert_equal "$status" 143
	assert_nothing_left
}
@test "run dies of the signal that it got when the command does" {
	for_both dies_alike
}

closed_streams() {
	local kind
	for kind in bwrap none; do
		run -3 timeout -k 1 30 "${ME[@]}" sh -c '"$0" run --sandbox "$1" --discard sh -c "exit 3" <&- >&- 2>&-' \
			"$OVERLAYFS" "$kind" 3>&- 4>&-
		# The command has none, either.
		run timeout -k 1 30 "${ME[@]}" sh -c '"$0" run --sandbox "$1" --discard sh -c "cat <&0" <&-' \
			"$OVERLAYFS" "$kind" 3>&- 4>&-
		assert_output --partial 'Bad file descriptor'
	done
	assert_nothing_left
}
@test "standard streams that are closed stay closed" {
	for_both closed_streams
}

interrupted() {
	local status=0 PATH=$T/fake:$PATH
	mkdir "$T/fake"
	# A bwrap that is never ready: the command is not there yet.
	printf '#!/bin/bash\necho "{\\"child-pid\\": $$}" >&$6\neval "exec $6>&-"\nexec sleep 1013\n' >"$T/fake/bwrap"
	chmod 755 "$T/fake/bwrap"
	ovl_background run --sandbox bwrap sh -c 'echo never'
	poll 30 sleeping 1013 || fail "$(cat "$T/run/out")"
	kill -INT "$RUN"
	poll 30 ended "$RUN" || fail 'it cannot be interrupted'
	wait "$RUN" || status=$?
	assert_equal "$status: $(cat "$T/run/out")" '130: '
	not_sleeping 1013
	run -0 ovl list
	assert_output ''
	assert_nothing_left
}
@test "a signal before the command has started ends run, and leaves no session" {
	for_both interrupted
}

# --- the end -------------------------------------------------------------------------------

leaves_nothing() {
	run -0 ovl run --discard sh -c 'setsid sleep 1003 & (trap "" TERM HUP; sleep 1004) & echo over'
	assert_output over
	not_sleeping 1003
	not_sleeping 1004
	assert_nothing_left
}
@test "processes that the command leaves behind end with it" {
	for_both leaves_nothing
}

killed() {
	local kind pids=() i=0
	for kind in bwrap proot none; do
		ovl_background run --keep -n "k$kind" --sandbox "$kind" sh -c 'setsid sleep 1005 & echo x >file; sleep "$0"; :' "101$i"
		pids+=("$RUN")
		poll 30 sleeping "101$((i++))" || fail "$kind: $(cat "$T/run/out")"
	done
	kill -KILL "${pids[@]}"
	poll 30 not_sleeping 1010 || fail "bwrap: the command goes on"
	poll 30 not_sleeping 1011 || fail "proot: the command goes on"
	assert_nothing_left
	# What "none" leaves behind is not killed.
	poll 30 at_most_one_sleeping 1005 || fail "the background process of bwrap or proot goes on"
	# shellcheck disable=SC2046
	kill -KILL $(sleepers 1005) $(sleepers 1012)
	for i in "${pids[@]}"; do wait "$i" || :; done
	assert_not_exist "$T/work/file"
	# The sessions are there, and not in use.
	for kind in bwrap proot none; do
		run -0 ovl diff --names "k$kind"
		assert_output --partial "$T/work/file"
		run -0 ovl discard "k$kind"
	done
}
at_most_one_sleeping() { (($(sleepers "$1" | wc -l) < 2)); }
@test "nothing is left when run is killed with SIGKILL, but the session" {
	need command proot
	for_both killed
}

# With an argument, the command dies first, as it does when it has to read its own pages.
daemon_killed() {
	local status=0 daemon
	ovl_background run --discard sleep 1006
	poll 30 sleeping 1006
	daemon=$(daemons | grep -vx "$RUN")
	if [ $# -gt 0 ]; then
		kill -STOP "$RUN"
		# shellcheck disable=SC2046
		kill -BUS $(sleepers 1006)
		poll 30 not_sleeping 1006
	fi
	kill -KILL "$daemon"
	[ $# -eq 0 ] || kill -CONT "$RUN"
	poll 30 ended "$RUN"
	wait "$RUN" || status=$?
	assert_equal "$status: $(cat "$T/run/out")" '125: overlayfs: the file system has ended before the command'
	not_sleeping 1006
	assert_nothing_left
}
@test "when the daemon is killed, the command is too" {
	for_both daemon_killed
}
@test "when the daemon is killed, what the command died of is not its status" {
	for_both daemon_killed command-first
}

# --- options -------------------------------------------------------------------------------

hides() {
	me mkdir -p "$T/work/secret/deep" "$T/work/a"
	me sh -c "echo s >secret/key; echo s >a/.env; echo s >.env; echo o >a/open; echo l >list"
	ln -s .env "$T/work/link"
	run -0 ovl run --keep -n t1 --hide "$T/work/secret/" --hide '.env' sh -c '
		find . | sort | xargs; cat secret/key secret/deep/x .env a/.env link 2>&1 | grep -c "No such file"
		mkdir secret; echo x >a/.env; echo x >secret/x; mv list .env; ln list .env
		mv a b && ls -A b; rm -rf b; ls -A'
	printf "%s\n" "$output"
	assert_output --partial '. ./a ./a/open ./link ./list
5'
	assert_output --partial 'Operation not permitted'
	assert_equal "${lines[-3]} ${lines[-2]} ${lines[-1]}" 'open link list'
	run -0 ovl diff --names t1
	refute_output --partial secret
	assert_content "$T/work/secret/key" s
}
@test "--hide: paths that are not there, and cannot be made" {
	for_both hides
}

passes_through() {
	local server # poll has processes of its own: $! is not the server for long
	me mkdir "$T/work/real" "$T/work/other"
	ln -s real "$T/work/link"
	run -0 ovl run --keep -n t1 --rw link --rw /dev/null sh -c 'echo 1 >real/file; echo 2 >other/file; echo 3 >link/third'
	assert_content "$T/work/real/file" 1
	assert_content "$T/work/real/third" 3
	assert_not_exist "$T/work/other/file"
	# A socket can only be reached when its real file is there.
	"$PYTHON" -c 'import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind("real/socket"); os.chmod("real/socket", 0o777); s.listen()
sys.stdout.write("ready\n"); sys.stdout.flush(); s.accept()[0].send(b"hello")' >"$T/run/ready" 3>&- &
	server=$!
	poll 30 grep -q ready "$T/run/ready"
	run -0 ovl run --discard --rw "$T/work/real" "$PYTHON" -c 'import socket
s = socket.socket(socket.AF_UNIX); s.connect("real/socket"); print(s.recv(9).decode())'
	assert_output hello
	poll 30 ended "$server" || fail 'the server waits for another client'
	wait "$server"
}
@test "--rw: a path that is the real one" {
	for_both passes_through
}

other_options() {
	run -0 ovl run --discard --no-net sh -c 'tail -n +3 /proc/net/dev | sed "s/:.*//"'
	assert_equal "$(xargs <<<"$output")" lo
	run -0 ovl run --discard -C /usr/bin pwd
	assert_output /usr/bin
	run -0 ovl run --discard -C / sh -c 'cd usr && pwd; echo $OLDPWD'
	assert_output '/usr
/'
	me mkdir "$T/work/sub"
	run -0 ovl run --discard -C sub pwd
	assert_output "$T/work/sub"
	run -0 ovl run --discard -o timeout=0 -o volatile,noacl sh -c 'echo x >y; cat y'
	assert_output x
	run -0 --separate-stderr ovl run --discard -o debug sh -c 'echo x >y; cat y'
	assert_output x
	[[ $stderr == *'opcode: CREATE'* ]] || fail 'no requests on stderr'
}
@test "--no-net, -C and -o" {
	for_both other_options
}

no_sandbox() {
	me mkdir -p "$T/work/low/sub"
	me sh -c 'echo old >low/sub/f'
	run -0 ovl run --keep -n t1 -l low sh -c 'ls; cat sub/f; echo new >sub/f; mount | grep -c "/.mount-.* fuse.overlayfs"'
	assert_output 'sub
old
1'
	assert_content "$T/work/low/sub/f" old
	assert_nothing_left
	run -0 ovl diff --names t1
	assert_output /sub/f
	# Sources with a bin of their own are no root file system.
	me mkdir low/bin
	run -0 ovl run --discard -l low sh -c 'echo *'
	assert_output 'bin sub'
	cd low/sub || return 1
	run -0 ovl run --discard --sandbox none -l "$T/work/low" cat f
	assert_output old
	run -0 ovl run --discard --sandbox none cat f
	assert_output old
	assert_nothing_left
}
@test "none: the command starts in the view, as it does when the lower is no root file system" {
	for_both no_sandbox
}

# A root file system of a shell and little more.
small_root() {
	local file
	mkdir -p "$1/proc" "$1/sys" "$1/dev" "$1/tmp" "$1/etc" "$1/bin"
	for file in sh id ls cat touch chown rm sleep; do cp "$(command -v "$file")" "$1/bin/"; done
	ldd "$1"/bin/* | grep -o '/[^ ]*' | grep -v : | sort -u | while read -r file; do
		mkdir -p "$1${file%/*}"
		cp -L "$file" "$1$file"
	done
	echo small >"$1/etc/name"
	chmod -R go+rX "$1"
}

a_root() {
	small_root "$T/work/root"
	[[ ${#ME[@]} == 0 ]] || chown -R "$TEST_UID:$TEST_GID" "$T/work/root"
	run -0 ovl run --keep -n t1 -l root sh -c 'cat /etc/name; id -u; pwd; ls /; echo x >/etc/new; rm /etc/name
		touch /own; chown 0:0 /own; ls -n /own | cat'
	assert_line -n 0 small
	assert_line -n 1 0
	assert_line -n 2 /
	assert_output --regexp '-rw-r--r-- +1 0 +0 .* /own'
	refute_output --partial usr/share
	run -0 ovl diff --names t1
	assert_output '/etc/name
/etc/new
/own'
	run -0 ovl run --discard --no-root -l root id -u
	assert_output "$(me id -u)"
	run -127 env PATH=/bin timeout 60 "${ME[@]}" "$OVERLAYFS" run --discard -l root python3
	assert_nothing_left
}
@test "a root file system is the root of the command, who is root there" {
	for_both a_root
}

as_root_of_all() {
	run -0 ovl run --keep -n t1 --root sh -ec 'id -u; echo x >/usr/local/overlayfs-x; echo x >>/etc/passwd; rm /etc/hostname; ls -n /usr/local/overlayfs-x'
	assert_line -n 0 0
	assert_line -n 1 --regexp '^-rw-r--r-- 1 0 0 '
	assert_not_exist /usr/local/overlayfs-x
	run -0 ovl diff --names t1
	assert_output '/etc/hostname
/etc/passwd
/usr/local/overlayfs-x'
}
@test "--root: an ordinary user is root of the view, and may change all of it" {
	for_both as_root_of_all
}

# --- inside of each other, and without namespaces ------------------------------------------

run_in_run() {
	echo 0 >"$T/work/f"
	chmod 666 "$T/work/f"
	run -0 ovl run --keep -n outer sh -ec "
		echo 1 >>f
		'$OVERLAYFS' run --keep -n inner sh -ec 'echo 2 >>f; mkdir d; echo x >d/x; rm -f gone; cat f
			\"$OVERLAYFS\" run --keep -n third sh -ec \"echo 3 >>f; rm -r d; cat f; ls -d d || :\" 2>&1
			cat f d/x'
		cat f; test ! -e d
		'$OVERLAYFS' diff --names inner | grep ^$T/work; '$OVERLAYFS' list | wc -l"
	assert_output "0
1
2
0
1
2
3
ls: cannot access 'd': No such file or directory
0
1
2
x
0
1
$T/work/d
$T/work/d/x
$T/work/f
2"
	assert_content "$T/work/f" 0
	run -0 ovl list
	assert_equal "${#lines[@]}" 2
	assert_nothing_left
}
@test "run inside run inside run" {
	for_both run_in_run
}

# What the inner run commits is a change of the outer one.
commit_in_run() {
	mkdir "$T/work/d" && echo old >"$T/work/d/gone"
	echo 0 >"$T/work/f"
	chmod -R a+rwX "$T/work"
	[[ $EUID != 0 ]] || chown -R "$TEST_UID:$TEST_GID" "$T/work/d"
	run -0 ovl run --keep -n outer sh -ec "
		echo 1 >>f
		'$OVERLAYFS' run --commit sh -ec 'echo 2 >>f; rm d/gone; mkdir d/new; echo x >d/new/x; mv f d/f; echo f >f'
		cat d/f f d/new/x; ls d; '$OVERLAYFS' list; ls -A d/new"
	assert_output "0
1
2
f
x
f
new
x"
	assert_content "$T/work/f" 0
	assert_names "$T/work/d" gone
	run -0 ovl diff --names outer
	assert_output "$T/work/d/f
$T/work/d/gone
$T/work/d/new
$T/work/d/new/x
$T/work/f"
	run -0 ovl commit outer
	assert_equal "$(cat "$T/work/d/f" "$T/work/f" "$T/work/d/new/x" | xargs)" '0 1 2 f x'
	assert_names "$T/work/d" f new
	rm -r "$T/work/d" "$T/work/f"
	assert_nothing_left
}
@test "an upper in another overlay wants a work directory, and is committed with it" {
	echo 0 >"$T/work/f"
	chmod 666 "$T/work/f"
	chmod 777 "$T/work"
	run -0 ovl run --discard sh -c "
		mkdir up work
		'$OVERLAYFS' run --keep -u up true; echo \$?
		'$OVERLAYFS' run --keep -q -u up -o workdir=$T/work/work,whiteout=xattr sh -c 'echo 1 >>f; echo 2 >g'; echo \$?
		'$OVERLAYFS' commit -l / -u up; echo \$?
		'$OVERLAYFS' commit -l / -u up -w work; echo \$?
		cat f g; ls -A up" 2>&1
	assert_output "overlayfs: upperdir $T/work/up: lies in another overlay; give workdir= and whiteout=xattr
125
0
overlayfs: up: lies in another overlay; give its work directory with -w
1
0
0
1
2"
	assert_content "$T/work/f" 0
}

@test "run --commit inside run" {
	for_both commit_in_run
}

# Run a command where no user namespace can be made or entered; set-user-ID programs work.
without_namespaces() {
	"$PYTHON" - "$TEST_UID" "$TEST_GID" "$@" <<'P'
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, ERRNO, ALLOW = 0x10000000, 0x00050000, 0x7fff0000
machine = os.uname().machine
unshare, setns, clone, clone3 = {"x86_64": (272, 308, 56, 435), "aarch64": (97, 268, 220, 435)}[machine]
code = []
def stmt(c, k): code.append(struct.pack("HBBI", c, 0, 0, k))
def jump(c, k, t, f): code.append(struct.pack("HBBI", c, t, f, k))
stmt(0x20, 0)
jump(0x15, clone3, 0, 1); stmt(0x06, ERRNO | 38)
jump(0x15, setns, 0, 1); stmt(0x06, ERRNO | 1)
jump(0x15, unshare, 1, 0); jump(0x15, clone, 0, 3)
stmt(0x20, 16); jump(0x45, CLONE_NEWUSER, 0, 1); stmt(0x06, ERRNO | 1)
stmt(0x06, ALLOW)
buf = ctypes.create_string_buffer(b"".join(code))
class Prog(ctypes.Structure): _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
prog = Prog(len(code), ctypes.addressof(buf))
if libc.prctl(22, 2, ctypes.byref(prog), 0, 0) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]))
os.execvp(sys.argv[3], sys.argv[3:])
P
}

@test "a command that a signal has ended gives its status with proot, too" {
	need command proot
	local kernel signal=15
	kernel=$(uname -r)
	printf '6.15\n%s\n' "${kernel%%-*}" | sort -CV || signal=127 # then proot's 255 is all there is
	run -$((128 + signal)) ovl run --sandbox proot --discard sh -c 'kill -TERM $$'
	run -255 ovl run --sandbox proot --discard sh -c 'exit 255'
	run -7 ovl run --sandbox proot --discard sh -c 'sleep 100 & exit 7'
	# However short it is: one that has no library to load and no paths to be changed.
	mkdir "$T/bin"
	printf '#!/bin/sh\nsh -c "kill -TERM \$\$"\nexit 255\n' >"$T/bin/proot"
	chmod +x "$T/bin/proot"
	for _ in {1..10}; do
		PATH=$T/bin:$PATH run -$((128 + signal)) ovl run --sandbox proot --discard true
	done
	assert_nothing_left
}

@test "where namespaces are forbidden, auto takes proot" {
	need root
	need command proot
	chown -R "$TEST_UID:$TEST_GID" "$XDG_STATE_HOME" "$HOME" "$T/work"
	ME=(without_namespaces)
	ovl() { without_namespaces timeout 60 "$OVERLAYFS" "$@" 3>&-; }
	run without_namespaces unshare -Ur true
	assert_failure
	as_user sh -c 'echo old >f'
	run -0 ovl run --keep -n t1 sh -ec '
		cat f; echo new >f; cat f; stat -c %s f; mv f g; ls; mkdir d; rm g; id -u
		"$0" -c "import os; print(os.stat(\"d\").st_mode & 0o777 != 0, os.listdir(\".\"))"' "$PYTHON"
	assert_output "old
new
4
g
$TEST_UID
True ['d']"
	assert_content "$T/work/f" old
	assert_nothing_left
	run -0 ovl diff --names t1
	assert_output "$T/work/d
$T/work/f"
	run -4 ovl run --discard sh -c 'exit 4'
	run -127 env PATH=/usr/bin:/bin bash -c "$(declare -f without_namespaces); PYTHON=$PYTHON TEST_UID=$TEST_UID TEST_GID=$TEST_GID
		without_namespaces '$OVERLAYFS' run --discard nosuchcommand"
	assert_output "overlayfs: nosuchcommand: No such file or directory"
	run -0 ovl run --discard --root sh -c 'id -u'
	assert_output 0
	run -125 ovl run --discard --sandbox bwrap true
	assert_output --regexp '^overlayfs: bwrap: .*(namespace|permitted)'
	run -0 ovl run --discard sh -c 'sleep 1007 & echo over'
	assert_output over
	not_sleeping 1007
	assert_nothing_left
}

@test "a missing bwrap is named, with how to get it" {
	need root
	: >"$T/nothing"
	run -125 unshare -m sh -ec 'mount --bind "$1" "$(command -v bwrap)"; exec "$0" run true' "$OVERLAYFS" "$T/nothing"
	assert_output 'overlayfs: bwrap: not found; apt-get install bubblewrap, or --sandbox=proot'
	run -0 ovl list
	assert_output ''
}

# --- sessions ------------------------------------------------------------------------------

endings() {
	# Elsewhere than on a terminal, it is kept and named on standard error.
	run -0 --separate-stderr ovl run sh -c 'echo 1 >f; echo out'
	assert_output out
	assert_equal "$stderr" 'overlayfs: kept as sh-1'
	run -0 --separate-stderr ovl run --ask sh -c 'echo 2 >f'
	assert_equal "$stderr" 'overlayfs: no terminal to ask on
overlayfs: kept as sh-2'
	run -0 ovl run -q sh -c 'echo 3 >f'
	assert_output ''
	run -0 ovl list
	assert_equal "$(awk '{ print $1 }' <<<"$output" | xargs)" 'NAME sh-1 sh-2 sh-3'
	run -0 ovl run --discard sh -c 'echo 4 >f'
	assert_output ''
	assert_not_exist "$T/work/f"
	run -0 ovl run --commit sh -c 'echo 5 >f'
	assert_content "$T/work/f" 5
	# What failed is not brought in.
	run -3 ovl run --commit -n failed sh -c 'echo 6 >f; exit 3'
	assert_output 'overlayfs: kept as failed'
	assert_content "$T/work/f" 5
	run -0 ovl discard failed
	run -0 ovl discard sh-2
	run -0 ovl list
	assert_equal "$(awk '{ print $1 }' <<<"$output" | xargs)" 'NAME sh-1 sh-3'
	assert_equal "$(stat -c %a "$XDG_STATE_HOME/overlayfs" "$XDG_STATE_HOME/overlayfs/sh-1" | xargs)" '700 700'
}
@test "commit, discard and keep" {
	for_both endings
}

lists() {
	run -0 ovl run --keep -n one sh -c 'head -c 300000 /dev/zero >big; mkdir d; echo x >d/f'
	run -3 ovl run --keep -n two sh -c 'exit 3'
	ovl_background run --keep -n three sh -c 'echo x >f; sleep 1008'
	poll 30 sleeping 1008
	run -0 ovl list
	assert_line --regexp '^one +3[0-9][0-9]K +[0-9]+s +3 +0  sh -c head'
	assert_line --regexp '^two +[0-9.]+[BK] +[0-9]+s +0 +3  sh -c exit 3$'
	assert_line --regexp '^three +[0-9.]+K +[0-9]+s +1 +running  sh -c'
	# In use: not discarded, not run in again, not shown a shell.
	run -1 ovl discard three
	assert_output --regexp '^overlayfs: three: in use by process [0-9]+$'
	run -125 ovl run -n three true
	assert_output --regexp '^overlayfs: session three: in use by process [0-9]+$'
	run -125 ovl shell three
	assert_output --regexp '^overlayfs: session .*three: in use by process [0-9]+$'
	kill -TERM "$RUN"
	poll 30 ended "$RUN"
	run -0 ovl discard three
	run -0 ovl discard "$XDG_STATE_HOME/overlayfs/one"
	run -1 ovl list too many
	run -125 ovl run -n two -l / true
	assert_output 'overlayfs: session two: exists, and has its lowers: -l is too much'
	assert_dir_exist "$XDG_STATE_HOME/overlayfs/two"
	assert_nothing_left
}
@test "sessions: list, discard, and those in use" {
	for_both lists
}

@test "what a run left that was killed before it began is used again" {
	mkdir -p "$XDG_STATE_HOME/overlayfs/t1/upper/d" "$XDG_STATE_HOME/overlayfs/true-1"
	: >"$XDG_STATE_HOME/overlayfs/true-2"
	run -0 ovl run --keep -n t1 true
	run -0 ovl diff t1
	assert_output ''
	run -0 ovl run --keep true
	assert_output 'overlayfs: kept as true-1'
	run -0 ovl run --keep true
	assert_output 'overlayfs: kept as true-3'
}

@test "discard: the upper of given layers is emptied, and stays" {
	chmod 777 "$UP" "$LOW"
	run -0 ovl run --keep -q -l "$LOW" -u "$UP" sh -c 'mkdir d; echo x >d/f; chmod 0 d'
	assert_dir_exist "$UP/d"
	run -0 ovl discard -l "$LOW" -u "$UP"
	assert_equal "$(find "$UP" -mindepth 1)" ''
	assert_dir_exist "$UP"
	run -1 ovl discard
	run -1 ovl discard "$LOW"
	run -0 ovl run --discard -l "$LOW" -u "$UP" sh -c 'echo x >f'
	assert_equal "$(find "$UP" -mindepth 1)" ''
}

shells() {
	run -0 ovl run --keep -n t1 sh -c 'echo 1 >f'
	run -0 ovl shell t1 <<<'cat f; echo 2 >>f; exit 6' || :
	run -6 ovl shell -q t1 <<<'cat f; echo 3 >>f; exit 6'
	assert_output '1
2'
	run -0 ovl shell "$XDG_STATE_HOME/overlayfs/t1" <<<'cat f'
	assert_line -n 2 3
	# It is still the session of its command.
	run -0 ovl list
	assert_line --regexp 'sh -c echo 1 >f$'
	me mkdir "$T/work/up"
	run -0 ovl shell -l / -u "$T/work/up" <<<'echo x >g'
	assert_content "$T/work/up$T/work/g" x
}
@test "shell: the view of a session again" {
	for_both shells
}

merges() {
	run -0 ovl run --keep -n t1 sh -c 'echo 1 >one; echo 1 >both'
	run -0 ovl run --keep -n t2 sh -c 'echo 2 >two; echo 2 >both'
	run -0 ovl run --keep -n t3 -l t2 -l t1 sh -c 'cat one two both; echo 3 >three; ls /etc/passwd'
	assert_output '1
2
2
/etc/passwd'
	assert_equal "$(ls -A "$T/work")" ''
	run -0 ovl diff --names t3
	assert_output "$T/work/three"
}
@test "two sessions merged: -l t2 -l t1" {
	for_both merges
}

installs() {
	me mkdir "$T/work/prefix"
	printf 'install:\n\tinstall -d prefix/bin\n\tinstall -m 755 tool prefix/bin/tool\n' | me tee "$T/work/Makefile" >/dev/null
	printf 'tool\n' | me tee "$T/work/tool" >/dev/null
	run -0 ovl run --keep -n t1 make -s install
	assert_output ''
	run -0 ovl diff --names t1
	assert_output "$T/work/prefix/bin
$T/work/prefix/bin/tool"
	assert_equal "$(ls -A "$T/work/prefix")" ''
	run -0 ovl commit t1
	assert_content "$T/work/prefix/bin/tool" tool
}
@test "make install, its names, and the real thing" {
	for_both installs
}

# --- on a terminal -------------------------------------------------------------------------

# terminal PROGRAM: Python with `t`, an interactive shell on a terminal; O is our program.
terminal() {
	PS1='PROMPT> ' "${ME[@]}" "$PYTHON" - "$OVERLAYFS" "$1" 3>&- <<'P'
import os, sys
from terminal import *
O = sys.argv[1]
t = Terminal(["bash", "--norc", "--noprofile", "--noediting", "-i"])
t.expect("PROMPT> ")
def type(line, *expected):
    t.send(line + "\n")
    for text in expected:
        t.expect(text)
def prompt():
    t.expect("PROMPT> ")
exec(sys.argv[2])
type("exit 0")
assert_equal(t.wait(), 0)
P
}

asks() {
	terminal '
type(f"{O} run -n t1 sh -c \"echo data >new\"", "A ", "/work/new", "[c/k/d/p] ")
type("what", "[c/k/d/p] ")
type("p", "+data", "[c/k/d/p] ")
type("k", "kept as t1", "PROMPT> ")
type("cat new", "No such file", "PROMPT> ")
type(f"{O} run -n t1 sh -c \"cat new; exit 3\"", "data", "[c/k/d/p] ")
type("c", "PROMPT> ")
type("echo $? $(cat new) $(ls $XDG_STATE_HOME/overlayfs | wc -l)", "3 data 0", "PROMPT> ")
type(f"{O} run sh -c \"rm new\"", "D ", "[c/k/d/p] ")
type("d", "PROMPT> ")
type("cat new", "data", "PROMPT> ")
type(f"{O} run true", "no changes", "PROMPT> ")
type(f"{O} run sh -c \"rm new\"", "[c/k/d/p] ")
t.send("\x04")
t.expect("kept as sh-1"); prompt()
type(f"{O} run -n t2 sh -c \"rm new\"", "[c/k/d/p] ")
t.send("\x03")
prompt()
type(f"{O} list", "t2", "PROMPT> ")
type(f"echo in | {O} run --keep -n t3 cat | cat", "in", "PROMPT> ")'
}
@test "on a terminal, run shows the changes and asks" {
	for_both asks
}

job_control() {
	terminal '
type(f"{O} run --discard cat")
type("hello", "hello\r\nhello")
t.send("\x1a")
t.expect("Stopped"); prompt()
type("jobs", "Stopped", "PROMPT> ")
type("fg", "cat")
type("again", "again\r\nagain")
t.send("\x03"); prompt()
type("echo rc=$?", "rc=130", "PROMPT> ")
# A command that handles the key goes on.
type(f"{O} run --discard {sys.executable} -q", ">>> ")
type("import time; print(6 * 7); all(time.sleep(0.05) is None for i in range(1000))", "42")
t.send("\x03")
t.expect("KeyboardInterrupt"); t.expect(">>> ")
type("print(8 * 8)", "64", ">>> ")
t.send("\x04"); prompt()
# A shell in there has jobs of its own, and can be suspended itself.
type(f"PS1=INNER: {O} run --discard bash --norc --noprofile --noediting -i", "INNER:")
type("sh -c \"echo started$((1+1)); exec sleep 1009\"", "started2")
t.send("\x1a")
t.expect("Stopped"); t.expect("INNER:")
type("kill %1; suspend", "Stopped", "PROMPT> ")
type("fg", "bash")
type("echo $((50 + 5))", "55")
type("exit 4", "PROMPT> ")
type("echo rc=$?", "rc=4", "PROMPT> ")
type(f"{O} run --discard sleep 1009 & wait; echo over", "[1]")
t.send("\x03"); prompt()
type("kill %1; wait; echo over", "over", "PROMPT> ")
type(f"{O} run --discard sh -c \"trap \\\"stty size; exit\\\" WINCH; echo ready$((1+1)); while :; do sleep 0.05; done\"", "ready2")
import fcntl, struct, termios
fcntl.ioctl(t.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
t.expect("33 77"); prompt()'
	assert_nothing_left
}
@test "job control: stopping, continuing, interrupting, resizing" {
	for_both job_control
}
