# What the system calls promise: the cases in tests/posix. Each of them runs in a plain
# directory, which is the reference, and in mounts where what it begins with is in the upper,
# or in a lower. One mount of each kind serves all tests.

load helpers

setup_file() {
	tree_begin
	POSIX=$T/posix
	export POSIX
	cp -r "$TESTS/posix" "$POSIX"
	chmod -R go+rX "$POSIX"
	mkdir "$T/all" "$T/user"
	((EUID != 0)) || chown "$TEST_UID:$TEST_GID" "$T/user"
	((EUID != 0)) || settings_make all
	settings_make user as_user
	LOWERS=("$T"/*/low "$T"/*/empty)
	lowers_remember
	((EUID != 0)) || settings_mount all
	DAEMON_AS=("${USER_CMD[@]}")
	settings_mount user as_user
}
teardown_file() { tree_end; }

# The directories of one set of settings, and the cases' objects in those that have them before
# they are mounted.
settings_make() {
	local at=$T/$1
	"${@:2}" mkdir "$at"/{plain,low,up,mnt,empty,up2,mnt2,ro,ro-plain,other}
	"${@:2}" chmod 1777 "$at/other"
	"${@:2}" "$PYTHON" "$POSIX/run" prepare "$at/plain" "$at/low"
}
settings_mount() {
	local at=$T/$1
	overlay_start -u "$at/up" "$at/low" "$at/mnt"
	overlay_start -u "$at/up2" "$at/empty" "$at/mnt2"
	overlay_start "$at/low" "$at/ro"
	"${@:2}" "$PYTHON" "$POSIX/run" prepare "$at/mnt2"
	"${@:2}" mkdir -m 1777 "$at/mnt2/other"
	[[ $1 == all ]] || return 0
	mount --bind "$at/plain" "$at/ro-plain"
	mount -o remount,bind,ro "$at/ro-plain"
}

# run_in SET COMMAND...: the cases of the call in all settings of a set.
run_in() {
	local at=$T/$1 plain=() tap=$T/run/$CALL.$1
	[[ $1 == user && $EUID == 0 ]] || plain=(plain "$at/plain" "$at/mnt2/other")
	[[ $1 == user ]] || plain+=('plain, read-only' "$at/ro-plain" "$at/mnt2/other")
	"${@:2}" timeout 120 "$PYTHON" "$POSIX/run" test --call "$CALL" "${plain[@]}" \
		upper "$at/mnt2" "$at/other" lower "$at/mnt" "$at/other" \
		read-only "$at/ro" "$at/other" >"$tap" && return 0
	grep -v '^ok ' "$tap"
	return 1
}

posix() {
	local CALL=$1 rc=0
	((EUID != 0)) || run_in all || rc=1
	run_in user as_user || rc=1
	((rc == 0)) || fail "$CALL is not in a mount what it is elsewhere"
}

@test "chmod, fchmod and fchmodat do what they promise" { posix chmod; }
@test "chown, lchown, fchown and fchownat do what they promise" { posix chown; }
@test "posix_fallocate and fallocate do what they promise" { posix fallocate; }
@test "link and linkat do what they promise" { posix link; }
@test "mkdir and mkdirat do what they promise" { posix mkdir; }
@test "mkfifo and mkfifoat do what they promise" { posix mkfifo; }
@test "mknod, mknodat and bind do what they promise" { posix mknod; }
@test "open, openat and creat do what they promise" { posix open; }
@test "rename, renameat and renameat2 do what they promise" { posix rename; }
@test "rmdir does what it promises" { posix rmdir; }
@test "changes of a file's content clear its set-id bits" { posix setid; }
@test "symlink and symlinkat do what they promise" { posix symlink; }
@test "truncate and ftruncate do what they promise" { posix truncate; }
@test "unlink and unlinkat do what they promise" { posix unlink; }
@test "utimensat and futimens do what they promise" { posix utimensat; }

@test "every file of cases has a test" {
	run -0 sh -c 'sed -n "s/^@test .*{ posix \(.*\); }$/\1/p" "$1" | sort' sh "$BATS_TEST_FILENAME"
	assert_output "$(cd "$TESTS/posix/cases" && printf '%s\n' [a-z]*.py | sed 's/\.py$//')"
}
