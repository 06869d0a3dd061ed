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

# Kill at exactly the Nth call of one kind. strace counts for each thread: there is one.
killed_at_call() {
	local call=$1 n=$2
	lowers_remember
	log=$(mktemp "$T/run/log.XXXXXX")
	strace -f -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=KILL:when=$n" \
		"$OVERLAYFS" -f -o "lowerdir=$LOW,upperdir=$UP,max_threads=1" "$MNT" </dev/null >>"$log" 2>&1 3>&- &
	DAEMON=$!
	PIDS+=("$DAEMON") LOGS+=("$log")
	poll 20 overlay_settled "$DAEMON" "$MNT"
}

@test "killed at each single call that changes the upper, every operation is all or nothing" {
	need command strace
	if ! strace -qq -o /dev/null true 2>/dev/null; then
		[[ ${CI:-} != true ]] || fail 'strace cannot trace here'
		skip 'strace cannot trace here'
	fi
	mkdir -p "$LOW/d/sub" "$LOW/e"
	for f in trunc append chmod unlink move over over2 d/1 d/sub/2 e/3; do echo "old $f" >"$LOW/$f"; done
	hits=0
	for call in renameat2 unlinkat mkdirat linkat mknodat symlinkat setxattr,fsetxattr,lsetxattr \
		removexattr,fremovexattr ftruncate fchmod,fchmodat copy_file_range,ioctl \
		pwrite64,pwritev,splice; do
		for n in 1 2 3 5 8 13; do
			printf '%s %s\n' "$call" "$n"
			killed_at_call "$call" "$n"
			hit=yes
			if is_mounted "$MNT"; then
				timeout -k 1 20 "$PYTHON" - "$MNT" <<-'END' 2>/dev/null || :
					import os, sys
					from ovl import *
					m = sys.argv[1] + '/'
					write(m + 'append', b'new\n', 'ab')
					write(m + 'trunc', b'new trunc\n')
					os.chmod(m + 'chmod', 0o600)
					os.unlink(m + 'unlink')
					os.rename(m + 'move', m + 'd/moved')
					os.rename(m + 'over', m + 'over2')
					os.rename(m + 'd', m + 'D')
					os.unlink(m + 'e/3')
					os.rmdir(m + 'e')
					os.mkdir(m + 'e')
					write(m + 'e/4', b'new\n')
					os.symlink('x', m + 'link')
				END
			fi
			[[ -z $(daemons) ]] || hit=no # it was not called so often
			kill -KILL "$DAEMON" 2>/dev/null || :
			wait "$DAEMON" 2>/dev/null || :
			# shellcheck disable=SC2046
			kill -KILL $(daemons) 2>/dev/null || :
			poll 10 no_daemons
			while is_mounted "$MNT"; do umount -l "$MNT" 2>/dev/null || fusermount3 -uz "$MNT"; done
			overlay_mount
			py "$MNT" <<-'END'
				import os, sys
				from ovl import *
				m = sys.argv[1] + '/'
				def get(name):
				    try:
				        return read(m + name).decode()
				    except OSError as e:
				        return name_of(e)
				def one_of(name, *want):
				    assert get(name) in want, (name, get(name), want)
				one_of('append', 'old append\n', 'old append\nnew\n')
				one_of('trunc', 'old trunc\n', 'new trunc\n', '') # opened with O_TRUNC, then written
				one_of('chmod', 'old chmod\n')
				one_of('unlink', 'old unlink\n', 'ENOENT')
				d = 'D' if os.path.isdir(m + 'D') else 'd'
				one_of(d + '/1', 'old d/1\n')
				one_of(d + '/sub/2', 'old d/sub/2\n')
				assert not (os.path.exists(m + 'd') and os.path.exists(m + 'D'))
				moved, move = get(d + '/moved'), get('move')
				assert sorted((moved, move)) == ['ENOENT', 'old move\n'], (moved, move)
				over, over2 = get('over'), get('over2')
				assert (over, over2) in (('old over\n', 'old over2\n'), ('ENOENT', 'old over\n')), (over, over2)
				e = os.listdir(m + 'e') if os.path.isdir(m + 'e') else None
				assert e in (None, ['3'], [], ['4']), e
				# And it goes on.
				write(m + 'append', b'more\n', 'ab')
				os.makedirs(m + 'e', exist_ok=True)
				write(m + 'e/5', b'')
				assert '3' not in os.listdir(m + 'e') or e == ['3']
			END
			assert_equal "$(work_leftovers)" ''
			overlay_umount
			rm -rf "$UP"
			mkdir "$UP"
			[[ $hit == yes ]] || break
			hits=$((hits + 1))
		done
	done
	assert [ "$hits" -gt 25 ]
}
