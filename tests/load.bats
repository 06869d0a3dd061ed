# Several processes work on the same names at once: create, open, remove, rename over, link, write,
# truncate, map. Each finds its own data by its descriptors, and in the end nothing is left over.

load helpers

setup() {
	tree_begin
	mkdir "$T/run/state"
	chmod 777 "$T/run/state"
	"$PYTHON" "$LIB/load.py" make "$LOW" "$UP"
}
teardown() { tree_end; }

# Outside the work directory there is nothing but whiteouts, and in it nothing that waits.
upper_is_clean() {
	assert_equal "$(find "$UP" -path "$UP/.wh..wh.work" -prune -o -type f ! -name '.wh.*' -size +0 -print)" ''
	assert_equal "$(find "$UP" -name '*hidden*' -o -name '*temp*' -o -name 'dir*')" ''
	assert_equal "$(work_leftovers)" ''
	assert_equal "$(find "$UP/.wh..wh.work/index" -mindepth 1 2>/dev/null)" ''
}

@test "four processes on the same names each find what they wrote, and leave nothing behind" {
	overlay_mount
	"$PYTHON" "$LIB/load.py" run "$MNT" "$T/run/state" 1600
	upper_is_clean
	overlay_remount
	assert_names "$MNT"
	upper_is_clean
}

@test "the same with the whiteouts of the other formats" {
	for format in chardev xattr; do
		printf 'whiteout=%s\n' "$format"
		overlay_mount -o "whiteout=$format"
		"$PYTHON" "$LIB/load.py" run "$MNT" "$T/run/state" 800
		assert_names "$MNT"
		assert_equal "$(work_leftovers)" ''
		overlay_umount
		rm -rf "$UP"
		mkdir "$UP"
	done
}

@test "the same in the mount of an ordinary user, without redirects, and without caching" {
	tree_for_user
	for options in redirect_dir=on redirect_dir=off timeout=0; do
		printf '%s\n' "$options"
		overlay_mount -o "$options"
		as_user "$PYTHON" "$LIB/load.py" run "$MNT" "$T/run/state" 600
		assert_equal "$(work_leftovers)" ''
		overlay_umount
		rm -rf "$UP"
		mkdir "$UP"
		if ((EUID == 0)); then chown "$TEST_UID:$TEST_GID" "$UP"; fi
	done
}

# The daemon is killed while all of them work, after so many operations of the first one.
killed_under_load() {
	local after=$1
	: >"$T/run/state/stop"
	overlay_mount "${@:2}"
	"$PYTHON" "$LIB/load.py" run "$MNT" "$T/run/state" 100000 3>&- &
	worker=$!
	: >>"$T/run/state/progress"
	busy() { [[ $(stat -c %s "$T/run/state/progress") -gt $after ]] || ended "$worker"; }
	poll 20 busy
	kill -KILL "$DAEMON"
	wait "$DAEMON" 2>/dev/null || :
	wait "$worker" || fail 'the processes did not end as they should'
	while is_mounted "$MNT"; do umount -l "$MNT" 2>/dev/null || fusermount3 -uz "$MNT"; done
	overlay_mount "${@:2}"
	"$PYTHON" "$LIB/load.py" check "$MNT" "$T/run/state"
	assert_equal "$(work_leftovers)" ''
	assert_equal "$(find "$UP" -path "$UP/.wh..wh.work" -prune -o -name '*hidden*' -print)" ''
	run -0 rm -r "$MNT/s" "$MNT/t"
	assert_output ''
	assert_names "$MNT"
	assert_equal "$(find "$UP/.wh..wh.work/index" -mindepth 1 2>/dev/null)" ''
	overlay_umount
	rm -rf "$UP" "$T/run/state"
	mkdir "$UP" "$T/run/state"
}

@test "killed while four processes work: what each had done is there, nothing else is left" {
	EXPECT_STATUS=any
	for after in 5 100 500; do killed_under_load $after; done
	killed_under_load 200 -o whiteout=chardev
	killed_under_load 100 -o whiteout=xattr
}

@test "what several processes create at once, each in a directory of its own, is not there before" {
	local i pids=() p
	overlay_mount
	for i in {1..4}; do
		mkdir "$MNT/mine$i"
		(set -C; for n in {1..600}; do : >"$MNT/mine$i/$n" || exit 1; done) 3>&- &
		pids+=("$!")
	done
	for p in "${pids[@]}"; do wait "$p"; done
	for i in {1..4}; do assert_equal "$(find "$MNT/mine$i" -type f | wc -l)" 600; done
	rm -rf "$MNT"/mine?
}

# Below the first lower is a tree of ours whose daemon stands still.
@test "requests that a lower does not answer keep nobody else waiting" {
	local slow quick i pids=() p
	mkdir "$T/slow"
	for i in {1..3}; do echo "slow $i" >"$LOW2/slow$i"; done
	for i in {1..50}; do echo "quick $i" >"$LOW/quick$i"; done
	overlay_start "$LOW2" "$T/slow"
	slow=$DAEMON
	overlay_start -o "lowerdir=$LOW:$T/slow,upperdir=$UP" "$MNT"
	quick=$DAEMON
	cat "$MNT/quick1" # and so the root directory is known
	kill -STOP "$slow"
	for i in {1..3}; do
		cat "$MNT/slow$i" >"$T/run/slow$i" 3>&- &
		pids+=("$!")
	done
	run timeout 20 cat "$MNT"/quick{1..50}
	kill -CONT "$slow"
	assert_equal "${#lines[@]}" 50
	for p in "${pids[@]}"; do wait "$p"; done
	for i in {1..3}; do assert_content "$T/run/slow$i" "slow $i"; done
	DAEMON=$quick overlay_umount
	DAEMON=$slow overlay_umount "$T/slow"
}
