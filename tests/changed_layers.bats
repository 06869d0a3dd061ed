# Layers that somebody changes behind the mount's back. With timeout=0 each call sees what is
# there; with the default timeout what was changed may be seen as it was, or give an error, and
# everything else is right. Whatever happens: no crash, no hang, no damage elsewhere.

load helpers

# Memory is filled when it is freed: its use afterwards is a crash in any build.
export MALLOC_PERTURB_=85

setup() {
	tree_begin
	mkdir -p "$LOW"/d/sub/deep "$LOW"/e "$LOW2/d" "$LOW/only"
	for f in f d/f d/g d/sub/f d/sub/deep/f e/f only/f; do echo "old $f" >"$LOW/$f"; done
	echo 'old in low2' | tee "$LOW2/d/low2" >"$LOW2/d/f"
	mkdir "$UP/d"
	echo 'old upper' | tee "$UP/d/up" >"$UP/up"
	LOWERS=("$LOW" "$LOW2")
}
teardown() { tree_end; }

mount_and_look() { # OPTION...: everything is in the caches afterwards
	overlay_mount "$@"
	lower_may_change "$LOW"
	lower_may_change "$LOW2"
	look >/dev/null
	look >/dev/null
}
look() { timeout 30 "${DAEMON_AS[@]}" find "$MNT" -type f -exec cat {} + -o -ls; }

# It serves, and has written where it should.
assert_alive() {
	kill -0 "$DAEMON"
	timeout 20 "${DAEMON_AS[@]}" sh -c 'echo "$1" >"$0/alive" && cat "$0/alive" && rm "$0/alive"' "$MNT" alive >"$T/run/alive" ||
		fail 'nothing can be written any more'
	assert_content "$T/run/alive" alive
}

# --- timeout=0: the very next call ---------------------------------------------------------

@test "timeout=0: open descriptors and mappings see what a lower file becomes" {
	mount_and_look -o timeout=0
	py "$MNT" "$LOW" <<-'END'
		import mmap, os, sys
		from ovl import *
		mnt, low = sys.argv[1:]
		fd = os.open(mnt + '/f', os.O_RDONLY)
		equal(os.pread(fd, 100, 0), b'old f\n')
		write(low + '/f', b'new f\n', 'r+b')
		equal(os.pread(fd, 100, 0), b'new f\n')
		write(low + '/f', b' and more', 'ab')
		equal(os.fstat(fd).st_size, 15)
		equal(os.pread(fd, 100, 0), b'new f\n and more')
		m = mmap.mmap(fd, 15, prot=mmap.PROT_READ)
		equal(m[:], b'new f\n and more')
		write(low + '/f', b'NEW', 'r+b')
		equal(os.pread(fd, 3, 0), b'NEW')
		equal(m[:3], b'NEW')
		m.close()
		os.truncate(low + '/f', 2)
		equal(os.pread(fd, 100, 0), b'NE')
		equal(os.lseek(fd, 0, os.SEEK_END), 2)
		os.truncate(low + '/f', 0)
		equal(os.pread(fd, 100, 0), b'')
		os.truncate(low + '/f', 100000)
		equal(os.pread(fd, 10, 99995), b'\0' * 5)
		equal(os.lseek(fd, 0, os.SEEK_HOLE), 0)
		# replaced: the descriptor keeps the old file, the name is the new one
		write(low + '/f', b'last of the old')
		write(low + '/tmp', b'first of the new')
		os.rename(low + '/tmp', low + '/f')
		equal(os.pread(fd, 100, 0), b'last of the old')
		equal(read(mnt + '/f'), b'first of the new')
		equal(os.stat(mnt + '/f').st_size, 16)
		os.unlink(low + '/f')
		equal(attempt(os.stat, mnt + '/f'), 'ENOENT')
		equal(attempt(open, mnt + '/f'), 'ENOENT')
		equal(os.pread(fd, 100, 0), b'last of the old')
		equal((os.fstat(fd).st_size, os.fstat(fd).st_nlink), (15, 0))
	END
	assert_alive
}

@test "timeout=0: attributes of all kinds are those of the layer" {
	ln -s one "$LOW/link"
	mount_and_look -o timeout=0
	py "$MNT" "$LOW" <<-'END'
		import os, sys
		from ovl import *
		mnt, low = sys.argv[1:]
		for n in ('f', 'd/sub', 'd/sub/deep/f', 'd'):
		    a, b = mnt + '/' + n, low + '/' + n
		    top = n != 'd'    # of which the upper has its own
		    for i in range(3):
		        os.chmod(b, 0o700 + i)
		        os.utime(b, ns=(10**18, 10**18 + i))
		        os.setxattr(b, 'user.x', b'%d' % i)
		        if os.geteuid() == 0:
		            os.chown(b, 10 + i, 20 + i)
		        x, y = os.stat(a), os.stat(b)
		        for field in ('st_mode', 'st_mtime_ns', 'st_uid', 'st_gid', 'st_ctime_ns'):
		            equal(getattr(x, field) == getattr(y, field), top, n + ' ' + field)
		        equal(attempt(os.getxattr, a, 'user.x'), 'ok' if top else 'ENODATA')
		        if top:
		            equal(os.getxattr(a, 'user.x'), b'%d' % i)
		            equal(os.listxattr(a), ['user.x'])
		    os.removexattr(b, 'user.x')
		    equal(os.listxattr(a), [])
		before = os.stat(mnt + '/f').st_ino
		os.link(low + '/f', low + '/e/linked')
		equal(os.stat(mnt + '/f').st_nlink, 2)
		equal(os.stat(mnt + '/f').st_ino, os.stat(mnt + '/e/linked').st_ino)
		os.unlink(low + '/e/linked')
		equal(os.stat(mnt + '/f').st_nlink, 1)
		equal(os.stat(mnt + '/f').st_ino, before)
		equal(os.readlink(mnt + '/link'), 'one')
		os.unlink(low + '/link')
		os.symlink('another', low + '/link')
		equal(os.readlink(mnt + '/link'), 'another')
		os.unlink(low + '/link')
		os.mkfifo(low + '/link')
		equal(os.stat(mnt + '/link').st_mode & 0o170000, 0o010000)
	END
	assert_alive
}

@test "timeout=0: names come, go, move and change their type" {
	mount_and_look -o timeout=0
	assert_equal "$(sysc lstat "$MNT/d/new")" ENOENT
	echo new >"$LOW2/d/new"
	assert_content "$MNT/d/new" new
	echo newer >"$LOW/d/new"
	assert_content "$MNT/d/new" newer
	rm "$LOW/d/new"
	assert_content "$MNT/d/new" new
	rm "$LOW/d/f"
	assert_content "$MNT/d/f" 'old in low2'
	assert_names "$MNT/d" f g low2 new sub up
	mv "$LOW/d/sub" "$LOW/e/moved"
	assert_gone "$MNT/d/sub"
	assert_content "$MNT/e/moved/deep/f" 'old d/sub/deep/f'
	mv "$LOW/e/moved" "$LOW/e/moved.again"
	assert_equal "$(sysc lstat "$MNT/e/moved/deep/f")" ENOENT
	assert_names "$MNT/e" f moved.again
	mv "$LOW/e/moved.again" "$LOW/d/sub"
	# A directory becomes a file, a link out of the layer, a directory again.
	mkdir "$T/outside"
	echo outside >"$T/outside/deep"
	mv "$LOW/d/sub" "$LOW/kept"
	echo file >"$LOW/d/sub"
	assert_content "$MNT/d/sub" file
	assert_equal "$(sysc lstat "$MNT/d/sub/deep")" ENOTDIR
	rm "$LOW/d/sub"
	ln -s "$T/outside" "$LOW/d/sub"
	assert_equal "$(readlink "$MNT/d/sub")" "$T/outside"
	rm "$LOW/d/sub"
	mv "$LOW/kept" "$LOW/d/sub"
	assert_content "$MNT/d/sub/deep/f" 'old d/sub/deep/f'
	# Where the upper has the directory, a link below it is nothing.
	mv "$LOW/d" "$LOW/kept"
	ln -s "$T/outside" "$LOW/d"
	assert_names "$MNT/d" up
	assert_gone "$MNT/d/deep"
	rm "$LOW/d"
	mv "$LOW/kept" "$LOW/d"
	assert_names "$MNT/d" f g low2 new sub up
	assert_alive
}

@test "timeout=0: a look-up does not read a whole directory" {
	need command strace
	(cd "$UP/d" && seq 100 | xargs touch)
	DAEMON_AS=(env "ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0" strace -f -qq -e trace=getdents64
		-o "$T/run/trace")
	overlay_mount -o timeout=0
	DAEMON_AS=()
	stat "$MNT/d/f" "$MNT/d/1" "$MNT/d/sub/f" >/dev/null
	assert_equal "$(sysc lstat "$MNT/d/none")" ENOENT
	overlay_umount
	run ! grep -E ' = [0-9]{4}' "$T/run/trace"
}

@test "timeout=0: entries of the upper and marks come and go" {
	mount_and_look -o timeout=0
	rm "$UP/up"
	assert_gone "$MNT/up"
	: >"$UP/.wh.f"
	assert_gone "$MNT/f"
	rm "$UP/.wh.f"
	assert_content "$MNT/f" 'old f'
	: >"$LOW/d/.wh.low2"
	assert_gone "$MNT/d/low2"
	rm "$LOW/d/.wh.low2"
	assert_content "$MNT/d/low2" 'old in low2'
	: >"$UP/d/.wh.sub"
	assert_gone "$MNT/d/sub"
	assert_equal "$(sysc lstat "$MNT/d/sub/deep/f")" ENOENT
	rm "$UP/d/.wh.sub"
	assert_content "$MNT/d/sub/deep/f" 'old d/sub/deep/f'
	: >"$UP/d/.wh..wh..opq"
	assert_names "$MNT/d" up
	rm "$UP/d/.wh..wh..opq"
	assert_names "$MNT/d" f g low2 sub up
	setfattr -n user.overlay.opaque -v y "$LOW/d"
	assert_names "$MNT/d" f g sub up
	setfattr -x user.overlay.opaque "$LOW/d"
	assert_names "$MNT/d" f g low2 sub up
	setfattr -n user.overlay.redirect -v /e "$UP/d"
	assert_names "$MNT/d" f up
	assert_content "$MNT/d/f" 'old e/f'
	setfattr -x user.overlay.redirect "$UP/d"
	: >"$UP/d/g"
	setfattr -n user.overlay.whiteout -v y "$UP/d/g"
	setfattr -n user.overlay.opaque -v x "$UP/d"
	assert_gone "$MNT/d/g"
	setfattr -x user.overlay.opaque "$UP/d"
	assert_content "$MNT/d/g" ''
	rm "$UP/d/g"
	if ((EUID == 0)); then
		mknod "$UP/d/g" c 0 0
		assert_gone "$MNT/d/g"
		rm "$UP/d/g"
	fi
	assert_content "$MNT/d/g" 'old d/g'
	rm -r "$UP/d"
	assert_names "$MNT/d" f g low2 sub
	echo through >"$MNT/d/new"
	assert_content "$UP/d/new" through
	rm -r "$UP/d"
	mv "$MNT/d/sub" "$MNT/moved"
	rm "$UP/d/.wh.sub"
	assert_content "$MNT/d/sub/f" 'old d/sub/f'
	assert_alive
}

@test "timeout=0: an open directory lists what there is each time it is read again" {
	mount_and_look -o timeout=0
	py "$MNT" "$LOW" "$UP" <<-'END'
		import os, sys
		from ovl import *
		mnt, low, up = sys.argv[1:]
		d = Dir(mnt + '/d')
		def names():
		    d.rewind()
		    return sorted(n for n, _, _ in d if n[0] != '.')
		equal(names(), ['f', 'g', 'low2', 'sub', 'up'])
		write(low + '/d/new', b'')
		equal(names(), ['f', 'g', 'low2', 'new', 'sub', 'up'])
		os.unlink(up + '/d/up')
		os.unlink(low + '/d/g')
		equal(names(), ['f', 'low2', 'new', 'sub'])
		os.rename(low + '/d/sub', low + '/sub')
		write(up + '/d/.wh.new', b'')
		equal(names(), ['f', 'low2'])
		os.rename(low + '/d', low + '/away')
		equal(names(), ['f', 'low2'])
		d.close()
		# d_ino and d_type are those of what is there now
		os.rename(low + '/away', low + '/d')
		os.unlink(low + '/d/f')
		os.mkdir(low + '/d/f')
		for name, ino, kind in Dir(mnt + '/d'):
		    if name == 'f':
		        equal((ino, kind), (os.stat(mnt + '/d/f').st_ino, 4))
	END
	assert_alive
}

@test "a name that came behind the mount's back is found once it is listed" {
	overlay_mount
	lower_may_change "$LOW"
	assert_content "$MNT/d/g" 'old d/g'
	echo late >"$LOW/d/late"
	assert_names "$MNT/d" f g late low2 sub up
	assert_content "$MNT/d/late" late
	"${DAEMON_AS[@]}" rm -r "$MNT/d"
	assert_gone "$MNT/d"
}

# --- what goes away as a whole ---------------------------------------------------------------

# both FUNCTION: with timeout=0 and with the default, each in a tree of its own.
both() {
	local options=''
	for options in timeout=0 noatime; do
		printf '%s\n' "-o $options"
		setup
		"$1" "$options"
		tree_end || return 1
	done
	tree_begin
}

# Each of these ends, well or with an error of this list, or of the arguments.
all_calls() {
	timeout -k 5 60 "${DAEMON_AS[@]}" "$PYTHON" - "$MNT" "$@" <<-'END' || fail "a call hung, or gave another error"
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		fine = {'ok', 'ENOENT', 'ESTALE', 'EIO', 'EACCES', 'ENOTDIR', 'EEXIST', 'ENOTEMPTY', 'ENODATA', 'EISDIR', *sys.argv[2:]}
		bad = []
		def call(f, *args, **kw):
		    r = attempt(f, *args, **kw)
		    if r not in fine and not (f is os.link and r in ('EPERM', 'EXDEV')):
		        bad.append((f.__name__, args, r))
		for p in ('', '/f', '/d', '/d/f', '/d/sub', '/d/sub/f', '/d/sub/deep', '/e/f', '/only', '/only/f', '/none', '/d/up'):
		    p = mnt + p
		    for f in (os.stat, os.lstat, os.listdir, os.listxattr, read, os.statvfs):
		        call(f, p)
		    call(os.access, p, os.R_OK)
		    call(os.utime, p)
		    call(os.chmod, p, 0o755)
		    call(os.setxattr, p, 'user.x', b'y')
		    call(write, p, b'through', 'ab')
		    call(os.link, p, p + '.link')
		    call(os.rename, p + '.link', p + '.renamed')
		    call(os.unlink, p + '.renamed')
		    call(os.truncate, p, 3)
		    call(os.mkdir, p + '/new')
		    call(os.rmdir, p + '/new')
		    call(os.symlink, 'x', p + '.soft')
		    call(os.unlink, p + '.soft')
		for p in ('/d/sub', '/only', '/e/f', '/f'):
		    call(os.rename, mnt + p, mnt + p + '.moved')
		    call(os.rename, mnt + p + '.moved', mnt + p)
		    call(os.unlink, mnt + p)
		    call(os.rmdir, mnt + p)
		if bad:
		    sys.exit('\n'.join(map(str, bad)))
	END
}

lower_removed() {
	mount_and_look -o "$1"
	rm -r "$LOW"
	all_calls
	assert_content "$MNT/d/low2" 'old in low2'
	assert_alive
	assert_names "$LOW2/d" f low2
	overlay_umount
	mkdir "$LOW"
	overlay_mount
	assert_content "$MNT/d/low2" 'old in low2'
}

@test "a whole lower is removed" { both lower_removed; }

lower_moved() {
	mount_and_look -o "$1"
	mv "$LOW" "$T/elsewhere"
	mkdir "$LOW"
	echo decoy >"$LOW/f"
	assert_content "$MNT/e/f" 'old e/f'
	assert_content "$MNT/f" 'old f'
	all_calls
	assert_names "$LOW" f
	assert_alive
}

@test "a whole lower is renamed: it is the directory that counts, not its name" { both lower_moved; }

lower_closed() {
	tree_for_user
	mount_and_look -o "$1"
	chmod 0 "$LOW"
	all_calls
	chmod 0 "$LOW2/d"
	all_calls
	chmod 755 "$LOW" "$LOW2/d"
	if [[ $1 == timeout=0 ]]; then
		assert_equal "$(as_user cat "$MNT/d/low2")" 'old in low2'
	fi
}

@test "a lower cannot be entered any more" { both lower_closed; }

# What needs the work directory fails, and leaves the tree as it is.
work_removed() {
	[[ $2 == inside ]] || mkdir "$WORK"
	mount_and_look -o "$1"
	rm -r "$UP/.wh..wh.work" "$WORK" 2>/dev/null || :
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		os.chdir(sys.argv[1])
		for _ in range(50):
		    equal(attempt(os.rename, 'e/f', 'e/g'), 'ENOENT')
		    equal(attempt(os.rename, 'up', 'e/g'), 'ENOENT')
		    equal(attempt(os.rename, 'e', 'E'), 'ENOENT')
		    equal(attempt(os.truncate, 'f', 3), 'ENOENT')
		    equal(attempt(os.unlink, 'e/f'), 'ENOENT')
		    equal(attempt(os.mkdir, 'e/new'), 'ENOENT')
		    equal(attempt(os.link, 'f', 'new'), 'ENOENT')
	END
	assert_content "$MNT/f" 'old f'
	assert_content "$MNT/e/f" 'old e/f'
	assert_names "$MNT/e" f
	# What the upper has itself needs none.
	echo new >"$MNT/d/up"
	mv "$MNT/d/up" "$MNT/moved"
	rm "$MNT/f"
	all_calls
	assert_alive
	overlay_remount
	assert_content "$MNT/moved" new
	assert_gone "$MNT/f"
	echo works >"$MNT/only/f"
	mv "$MNT/only" "$MNT/again"
	assert_content "$MNT/again/f" works
}
work_inside_removed() { work_removed "$1" inside; }
work_beside_removed() { work_removed "$1" beside; }

@test "the work directory is removed" {
	both work_inside_removed
	both work_beside_removed
}

upper_removed() {
	mount_and_look -o "$1"
	rm -r "$UP"
	assert_equal "$(sysc mkdir "$MNT/new")" ENOENT
	assert_equal "$(sysc rename "$MNT/e/f" "$MNT/e/g")" ENOENT
	assert_content "$MNT/e/f" 'old e/f'
	assert_content "$MNT/f" 'old f'
	all_calls
	[[ $1 != timeout=0 ]] || assert_names "$MNT/d" f g low2 sub
	overlay_umount
	assert_not_exist "$UP"
	mkdir "$UP"
	overlay_mount
	assert_names "$MNT/d" f g low2 sub
	echo new >"$MNT/f"
}

@test "the upper is removed" { both upper_removed; }

upper_emptied() {
	mount_and_look -o "$1"
	mv "$MNT/d/sub" "$MNT/sub"
	echo new >"$MNT/f"
	rm "$MNT/e/f"
	find "$UP" -mindepth 1 -delete
	all_calls
	assert_alive
	overlay_umount
	find "$UP" -mindepth 1 -delete
	overlay_mount
	assert_same_tree "$LOW/e" "$MNT/e"
	assert_names "$MNT" d e f only
	assert_names "$MNT/d" f g low2 sub
}

@test "all in the upper is removed" { both upper_emptied; }

# The kernel asks for a file where a FIFO has taken its place: nobody waits for a writer.
file_becomes_fifo() {
	local i
	mount_and_look -o "$1"
	for i in f d/f d/sub/f e/f; do
		rm "$LOW/$i"
		mkfifo "$LOW/$i"
	done
	for i in f d/f d/sub/f e/f; do
		assert_not_equal "$(timeout -k 5 20 "$PYTHON" "$LIB/sysc.py" open "$MNT/$i" "RDONLY|NONBLOCK" || echo hung)" hung
		assert_not_equal "$(timeout -k 5 20 "$PYTHON" "$LIB/sysc.py" truncate "$MNT/$i" 3 || echo hung)" hung
	done
	rm "$UP/up"
	mkfifo "$UP/up"
	assert_not_equal "$(timeout -k 5 20 "$PYTHON" "$LIB/sysc.py" truncate "$MNT/up" 3 || echo hung)" hung
	assert_alive
}

@test "a file is replaced by a FIFO" { both file_becomes_fifo; }

# --- file systems that go away -----------------------------------------------------------------

lower_unmounted_lazily() {
	mkdir "$LOW3/inside"
	mount -t tmpfs none "$LOW3"
	mkdir "$LOW3/third" "$LOW3/d"
	echo third | tee "$LOW3/third/f" >"$LOW3/d/third"
	LOWERS=("$LOW" "$LOW3" "$LOW2")
	mount_and_look -o "$1"
	umount -l "$LOW3"
	SNAPPED=()
	# The mount holds it: it goes when the mount goes.
	assert_content "$MNT/third/f" third
	assert_content "$MNT/d/third" third
	echo new >"$MNT/third/f"
	all_calls
	assert_names "$MNT/d" f g low2 sub third up
	assert_alive
}

@test "the file system of a lower is unmounted lazily" {
	need root
	both lower_unmounted_lazily
}

# What is mounted in a lower can be unmounted, and mounted, at any time.
inner_unmounted() {
	mkdir "$LOW/m"
	echo below >"$LOW/m/below"
	mount -t tmpfs none "$LOW/m"
	mkdir "$LOW/m/x"
	echo inner | tee "$LOW/m/f" >"$LOW/m/x/f"
	mount_and_look -o "$1"
	poll 5 umount "$LOW/m" 2>/dev/null || fail 'the mount keeps it busy' # RELEASE comes later
	if [[ $1 == timeout=0 ]]; then
		assert_gone "$MNT/m/x"
		assert_names "$MNT/m" below
	fi
	all_calls
	assert_alive
	mount -t tmpfs none "$LOW/m"
	echo again >"$LOW/m/again"
	[[ $1 != timeout=0 ]] || assert_content "$MNT/m/again" again
	all_calls
	umount "$LOW/m"
	assert_alive
}

@test "a file system that is mounted in a lower goes and comes" {
	need root
	both inner_unmounted
}

# The daemon of another FUSE file system in a lower is killed.
fuse_lower_killed() {
	local dead
	mkdir "$T/up2" "$T/mnt2" "$T/base"
	mkdir "$T/base/d" "$T/base/third"
	echo fuse | tee "$T/base/d/fuse" >"$T/base/third/f"
	overlay_start -u "$T/up2" "$T/base" "$T/mnt2"
	dead=$DAEMON
	LOWERS=("$LOW" "$T/mnt2" "$LOW2")
	mount_and_look -o "$1"
	lower_may_change "$T/mnt2"
	EXPECT_STATUS=any
	kill -KILL "$dead"
	poll 10 ended "$dead"
	all_calls ENOTCONN
	kill -0 "$DAEMON"
	overlay_umount
	umount_one "$T/mnt2"
	LOWERS=("$LOW" "$LOW2")
	overlay_mount
	assert_names "$MNT" d e f only up
}

@test "the daemon of a lower's file system is killed" { both fuse_lower_killed; }

# A directory and a file become links that lead out of the layer, and back, all the time.
swapped() {
	local pid rc=0
	MNT=$T/1/2/mnt
	mkdir -p "$MNT" "$LOW/dir" "$UP/dir" "$T/outside"
	printf inside | tee "$LOW/dir/lower" >"$LOW/file"
	printf upper >"$UP/dir/upper"
	echo secret | tee "$T/outside/secret" >"$T/secret"
	ln -s ../outside "$LOW/link-for-dir"
	ln -s ../secret "$LOW/link-for-file"
	overlay_mount -o "$1"
	lower_may_change "$LOW"
	"$PYTHON" "$LIB/vandals.py" swapper "$LOW" "$T/stop" 3>&- &
	pid=$!
	timeout 100 "$PYTHON" "$LIB/vandals.py" racer "$MNT" 1500 || rc=1
	: >"$T/stop"
	wait "$pid"
	((rc == 0)) || fail 'seen what should not be, or not what should'
	assert_alive
	rm "$T/stop"
}

@test "a directory and a file turn into links, and back, while they are looked up" { both swapped; }

# --- under load ----------------------------------------------------------------------------------

vandalised() { # MOUNT OPTION
	local n pid pids=() others=()
	local layers=$T/a/b/c/d/e out
	rm -rf "$LOW" "$LOW2" "$UP"
	# From the mount, and when they are moved upwards, relative links that lead out of a layer
	# lead nowhere.
	MNT=$T/1/2/3/4/5/mnt LOW=$layers/low LOW2=$layers/low2 out=$layers/outside
	LOWERS=("$LOW" "$LOW2")
	mkdir -p "$MNT" "$LOW/stable/sub" "$LOW/mix/sub/deep" "$LOW2/mix/sub" "$LOW2/c" "$UP/stable" "$UP/held" "$out"
	for n in {0..4}; do printf 'stable %d' "$n" >"$LOW/stable/sub/$n"; done
	printf upper | tee "$UP/stable/up" "$UP/stable/both" >"$UP/held/stable"
	printf low | tee "$LOW/stable/low" >"$LOW/stable/both"
	echo untouched | tee "$out/a" "$out/b" >"$out/stable"
	cp -a "$out" "$out.before"
	# Whoever changes the lowers may not change what they can lead the daemon to.
	((EUID != 0)) || chown -R "$TEST_UID:$TEST_GID" "$LOW" "$LOW2"
	((${#DAEMON_AS[@]} == 0)) || chown -R "$TEST_UID:$TEST_GID" "$UP" "$MNT"
	overlay_mount -o "$1"
	lower_may_change "$LOW"
	lower_may_change "$LOW2"
	for n in 1 2; do
		as_user "$PYTHON" "$LIB/vandals.py" vandal "$n" "$LOW" outside "$T/stop" 3>&- &
		others+=($!)
		as_user "$PYTHON" "$LIB/vandals.py" vandal "$((n + 10))" "$LOW2" outside "$T/stop" 3>&- &
		others+=($!)
	done
	"${DAEMON_AS[@]}" "$PYTHON" "$LIB/vandals.py" watcher "$MNT" "$T/stop" 3>&- &
	others+=($!)
	for n in 3 4 5; do
		"${DAEMON_AS[@]}" timeout -k 5 120 "$PYTHON" "$LIB/vandals.py" user "$n" "$MNT" 400 3>&- &
		pids+=($!)
	done
	n=0
	for pid in "${pids[@]}"; do wait "$pid" || n=1; done
	: >"$T/stop"
	for pid in "${others[@]}"; do wait "$pid" || n=1; done
	((n == 0)) || fail 'somebody did not get what was due'
	assert_alive
	run grep -rlaD skip USER "$LOW" "$LOW2" "$out"
	assert_output ''
	((EUID != 0)) || assert_same_tree "$out.before" "$out"
	overlay_umount
	assert_equal "$(work_leftovers)" ''
	rm "$T/stop"
}

@test "many processes change the layers and use the mount" { both vandalised; }

user_vandalised() {
	tree_for_user
	vandalised "$1"
}

@test "the same with the mount of an ordinary user" { both user_vandalised; }
