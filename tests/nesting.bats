# Overlays on overlays: ours on ours, ours on kernel overlayfs and below it, and uppers that
# one program writes and another one reads: kernel overlayfs, fuse-overlayfs, OCI tools.

load helpers

setup() {
	tree_begin
	declare -gA LEVELS=()
}
teardown() { tree_end; }

LONG=$(printf 'l%.0s' {1..253})

# A tree with most of what a tree can have, for whoever runs this.
base() {
	mkdir -p a/deep/er/est a/sub b c/x d/e/f gone/sub moved/inner/most perm swap1 swap2
	for d in a a/deep a/deep/er a/sub b c c/x d/e d/e/f gone gone/sub moved moved/inner swap1 swap2; do
		for i in 1 2 3; do echo "$d $i" >"$d/$i"; done
	done
	echo linked >a/h1
	ln a/h1 a/h2
	ln a/h1 b/h3
	echo pair >c/p1
	ln c/p1 d/p2
	ln -s ../a/1 b/soft
	ln -s nowhere dangling
	mkfifo c/fifo
	truncate -s 300000 c/sparse
	printf data | dd of=c/sparse bs=1 seek=200000 conv=notrunc status=none
	seq 20000 >d/big
	echo long >"b/$LONG"
	echo odd >$'b/odd \n\\:,name'
	setfattr -n user.base -v file a/2
	setfattr -n user.base -v dir moved
	chmod 2775 perm
	chmod 4755 a/3
	chmod 400 b/3
	setfacl -m u:12345:rw c/1
	setfacl -d -m u:12345:rx c/x
	touch -h -d '2001-02-03 04:05:06.789' a/1 a/deep b/soft d/e/f moved/inner
}

# What is done at the first, second and third level.
changes_1() {
	echo one >>a/h1
	rm b/1 "b/$LONG"
	rm -r gone
	mkdir gone gone/fresh
	echo new >gone/fresh/new
	mv moved moved2
	mv moved2/inner b/inner
	ln a/2 b/link2
	chmod 600 a/1 b/3
	chmod 700 d/e
	setfattr -n user.one -v 1 a/deep/1
	setfattr -n user.one -v 1 a/deep
	rm c/3 && mkdir c/3 && echo in >c/3/in
	rm -r c/x && echo file >c/x
	rm b/soft && ln -s elsewhere b/soft
	truncate -s 7 d/big
	setfacl -m u:23456:r c/1
	echo 1 >>c/p1
	mv c/fifo d/fifo
	mv d/e/f/1 root1
	mkfifo perm/pipe
}
changes_2() {
	echo two >>b/h3
	rm a/h2
	mv moved2 moved
	echo two >moved/3
	rm -r b/inner/most
	mv b/inner moved/back
	echo again >b/1
	echo again >"b/$LONG"
	rm b/link2 root1
	mkdir gone/sub
	echo two >gone/sub/2
	mv a A
	rm -r A/deep
	setfattr -n user.two -v 2 A/2
	rm -r c/3
	rm c/x && mkdir c/x && echo dir >c/x/dir
	echo more >>d/big
	rm d/p2
	ln d/e/1 perm/1
	mv d/e d/E
	mv swap1 swap2/in
	mv dangling moved/dangling
}
changes_3() {
	mv A a
	mkdir a/deep
	echo three >a/deep/3
	echo three >>a/h1
	ln a/h1 a/h2
	ln b/h3 h4
	rm -r gone
	mv d/E d2
	mv moved/back gone
	mv moved gone/moved
	rm "b/$LONG"
	echo last >b/1
	rm perm/1
	mv swap2/in swap1
	mkdir -p c/3/4
	rm c/sparse
	chmod 751 c/x
	mv d2/f d2/F
	rm d2/F/2
	touch -d '2011-11-11' d2/F/3
}
# To an overlay that has this one as a lower, these would be marks.
changes_marks() {
	for name in user.overlay.opaque user.overlay.redirect user.fuseoverlayfs.opaque user.overlayfs.x; do
		setfattr -n "$name" -v y a
		setfattr -n "$name" -v y c/2
	done
}

# in_dir DIRECTORY FUNCTION: run it there, as whoever has the mounts.
in_dir() { "${DAEMON_AS[@]}" bash -ec "umask 022; LONG=$LONG; $(declare -f "$2"); cd -- \"\$1\"; $2" bash "$1"; }

# Three levels can be mounted on each other: $T/N/{up,work,mnt}, and the tree that is expected.
make_levels() {
	local n
	for n in 1 2 3; do mkdir -p "$T/$n/up" "$T/$n/work" "$T/$n/mnt"; done
	((${#DAEMON_AS[@]} == 0)) || chown -R "$TEST_UID:$TEST_GID" "$T/1" "$T/2" "$T/3" "$LOW"
	in_dir "$LOW" base
	cp -a "$LOW" "$T/0"
	cp -a "$LOW" "$T/want"
}

# level MOUNTPOINT ARGUMENT...: mount and know its daemon.
level() {
	local mnt=$1
	shift
	overlay_start "$@" "$mnt"
	LEVELS[$mnt]=$DAEMON
}
unlevel() {
	DAEMON=${LEVELS[$1]} overlay_umount "$1"
}

# As assert_same_tree, seen by whoever has the mounts; and the inode numbers in a tree.
same_tree() {
	"${DAEMON_AS[@]}" "$PYTHON" "$LIB/tree.py" show "$1" "${@:3}" >"$T/run/tree.a"
	"${DAEMON_AS[@]}" "$PYTHON" "$LIB/tree.py" show "$2" "${@:3}" >"$T/run/tree.b"
	diff "$T/run/tree.a" "$T/run/tree.b" || fail "$1 (<) and $2 (>) differ"
}
# An ordinary user cannot give a symbolic link or a FIFO its number to keep.
numbers() {
	local which=()
	((EUID == 0 && ${#DAEMON_AS[@]} == 0)) || which=(! -type l ! -type p)
	"${DAEMON_AS[@]}" find "$1" "${which[@]}" -printf '%i %P\n' | sort -k 2
}

# Names of one file have one number, different files different ones.
assert_distinct_numbers() {
	assert_equal "$("${DAEMON_AS[@]}" find "$1" ! -type d -links +1 -o -printf '%i\n' | sort | uniq -d)" ''
	run -0 "${DAEMON_AS[@]}" find "$1" ! -type d -links +1 -printf '%i %n\n'
	assert_equal "$(printf '%s\n' "${lines[@]}" | sort | uniq -c | awk '$1 != $3')" ''
}

# --- ours on ours --------------------------------------------------------------------------

mount_level() { # NUMBER FORMAT: with the mount of the one before as lower
	local n=$1 low=$LOW
	((n == 1)) || low=$T/$((n - 1))/mnt
	level "$T/$n/mnt" -o "whiteout=$2,lowerdir=$low,upperdir=$T/$n/up,workdir=$T/$n/work"
}

# FORMAT FORMAT FORMAT: for the three levels
three_levels() {
	local n below=$T/0
	make_levels
	for n in 1 2 3; do
		"${DAEMON_AS[@]}" touch -r "$below" "$T/$n/up" # the root's times are the upper's
		mount_level "$n" "$1"
		shift
		same_tree "$below" "$T/$n/mnt" +nlink +mtime
		below=$T/$n/mnt
		cp -a "$T/want" "$T/want$n"
		in_dir "$T/want" "changes_$n"
		in_dir "$T/$n/mnt" "changes_$n"
		same_tree "$T/want" "$T/$n/mnt" +nlink
		assert_distinct_numbers "$T/$n/mnt"
	done
	in_dir "$T/want" changes_marks
	in_dir "$T/3/mnt" changes_marks
	same_tree "$T/want" "$T/3/mnt" +nlink
	numbers "$T/3/mnt" >"$T/run/numbers"
	# What lies below has not changed.
	same_tree "$T/want3" "$T/2/mnt" +nlink
	same_tree "$T/want2" "$T/1/mnt" +nlink
}

remount_levels() {
	local n
	for n in 3 2 1; do unlevel "$T/$n/mnt"; done
	for n in 1 2 3; do
		mount_level "$n" "$1"
		shift
	done
	same_tree "$T/want" "$T/3/mnt" +nlink
	same_tree "$T/want3" "$T/2/mnt" +nlink
	diff "$T/run/numbers" <(numbers "$T/3/mnt")
	assert_distinct_numbers "$T/3/mnt"
	for n in 3 2 1; do unlevel "$T/$n/mnt"; done
}

formats_on_levels() {
	three_levels "$1" "$1" "$1"
	remount_levels "$1" "$1" "$1"
}

@test "three overlays on each other show all changes, also after a remount" {
	for_formats formats_on_levels
}

user_formats_on_levels() {
	tree_for_user
	formats_on_levels "$1"
}

@test "three overlays of an ordinary user on each other" {
	for_formats user_formats_on_levels
}

@test "overlays on each other with different forms of whiteouts" {
	three_levels wh xattr chardev
	remount_levels xattr chardev wh
}

# The upper and the work directory of the next one lie in the mount of this one.
mount_inside() { # NUMBER FORMAT
	local n=$1 dir=$T
	((n == 1)) || dir=$T/$((n - 1))/mnt
	level "$T/$n/mnt" -o "whiteout=$2,lowerdir=$LOW,upperdir=$dir/up$n,workdir=$dir/work$n"
}

uppers_inside() { # FORMAT of the outermost
	local n formats=('' "$1" xattr xattr)
	make_levels
	mkdir "$T/up1" "$T/work1"
	((${#DAEMON_AS[@]} == 0)) || chown "$TEST_UID:$TEST_GID" "$T/up1" "$T/work1"
	for n in 1 2 3; do
		mount_inside "$n" "${formats[n]}"
		((n == 3)) || "${DAEMON_AS[@]}" mkdir "$T/$n/mnt/up$((n + 1))" "$T/$n/mnt/work$((n + 1))"
	done
	for n in 1 2 3 marks; do
		in_dir "$T/want" "changes_$n"
		in_dir "$T/3/mnt" "changes_$n"
		same_tree "$T/want" "$T/3/mnt" +nlink
	done
	assert_distinct_numbers "$T/3/mnt"
	numbers "$T/3/mnt" >"$T/run/numbers"
	for n in 3 2 1; do unlevel "$T/$n/mnt"; done
	for n in 1 2 3; do mount_inside "$n" "${formats[n]}"; done
	same_tree "$T/want" "$T/3/mnt" +nlink
	diff "$T/run/numbers" <(numbers "$T/3/mnt")
	# What the inner ones wrote is nothing but files to the outer ones.
	"${DAEMON_AS[@]}" mv "$T/1/mnt/a" "$T/1/mnt/A"
	"${DAEMON_AS[@]}" test -e "$T/1/mnt/A/deep/er/est"
	for n in 3 2 1; do unlevel "$T/$n/mnt"; done
}

@test "the upper of an overlay may lie inside another one, three deep" {
	for_formats uppers_inside
}

user_uppers_inside() {
	tree_for_user
	uppers_inside "$1"
}

@test "the same with overlays of an ordinary user" {
	for_formats user_uppers_inside
}

# --- ours and kernel overlayfs -------------------------------------------------------------

kernel_mount() { # MOUNTPOINT OPTIONS
	mkdir -p "$1"
	mount -t overlay overlay -o "$2" "$1" || fail "kernel overlayfs does not take $2"
}

# Equal but for the attributes that a program shows because they are not its own.
same_but_for_marks() {
	local dir
	same_tree "$1" "$2" -xattr
	for dir in "$1" "$2"; do
		(cd "$dir" && find . ! -type l -print0 | sort -z |
			xargs -0 getfattr -hd -e hex -m '^(user\.(base|one|two)|system\..*)$') >"$T/run/attr.${dir//\//%}"
	done
	diff "$T/run/attr.${1//\//%}" "$T/run/attr.${2//\//%}" || fail "attributes of $1 and $2 differ"
}

# What shares its content with names that were not changed is put into the upper itself.
separate_links() {
	find . ! -type d -links +1 -print0 | while read -rd '' f; do ln "$f" tmp && rm "$f" && mv tmp "$f"; done
}

on_kernel_overlay() { # FORMAT
	local opt
	make_levels
	mkdir -p "$T/k/up" "$T/k/work" "$T/1/mnt"
	kernel_mount "$T/k/mnt" "lowerdir=$LOW,upperdir=$T/k/up,workdir=$T/k/work,redirect_dir=on,index=on"
	in_dir "$T/k/mnt" changes_1
	in_dir "$T/want" changes_1
	same_tree "$T/want" "$T/k/mnt" +nlink
	mkdir "$T/k/mnt/up" "$T/k/mnt/work"
	opt="whiteout=$1,lowerdir=$T/k/mnt,upperdir=$T/k/mnt/up,workdir=$T/k/mnt/work"
	level "$T/2/mnt" -o "$opt"
	in_dir "$T/2/mnt" changes_2
	in_dir "$T/want" changes_2
	same_tree "$T/want" "$T/2/mnt" +nlink
	in_dir "$T/2/mnt" changes_3
	in_dir "$T/want" changes_3
	same_tree "$T/want" "$T/2/mnt" +nlink
	numbers "$T/2/mnt" >"$T/run/numbers"
	unlevel "$T/2/mnt"
	umount "$T/k/mnt"
	kernel_mount "$T/k/mnt" "lowerdir=$LOW,upperdir=$T/k/up,workdir=$T/k/work,redirect_dir=on,index=on"
	level "$T/2/mnt" -o "$opt"
	same_tree "$T/want" "$T/2/mnt" +nlink
	diff "$T/run/numbers" <(numbers "$T/2/mnt")
	unlevel "$T/2/mnt"
	umount "$T/k/mnt"
}

@test "lower and upper may lie on kernel overlayfs" {
	need kernel-overlay
	for_formats on_kernel_overlay
}

# kernel_shows OPTIONS LAYER...: kernel overlayfs gives the expected tree, as the lowest
# layers, below one more, and with the first as its upper.
kernel_shows() {
	local layers
	layers=$(join : "${@:2}")
	mkdir -p "$T/empty" "$T/kwork"
	chown --reference="$LOW" "$T/empty"
	kernel_mount "$T/k" "lowerdir=$layers,$1"
	same_but_for_marks "$T/want" "$T/k"
	umount "$T/k"
	kernel_mount "$T/k" "lowerdir=$T/empty:$layers,$1"
	same_but_for_marks "$T/want" "$T/k"
	umount "$T/k"
	cp -a "$2" "$T/copy"
	kernel_mount "$T/k" "lowerdir=$(join : "${@:3}"),upperdir=$T/copy,workdir=$T/kwork,$1"
	same_but_for_marks "$T/want" "$T/k"
	umount "$T/k"
	rm -rf "$T/copy" "$T/kwork"
}

# read_by_kernel OPTIONS ARGUMENT...: what is mounted with the arguments, kernel overlayfs
# reads with the options.
read_by_kernel() {
	local n uppers=("$LOW")
	make_levels
	mkdir -p "$WORK"
	for n in 1 2 3; do
		overlay_mount "${@:2}"
		in_dir "$MNT" "changes_$n"
		in_dir "$MNT" separate_links
		in_dir "$T/want" "changes_$n"
		same_tree "$T/want" "$MNT" +nlink
		overlay_umount
		kernel_shows "$1" "$UP" "$LOW"
	done
	# The same as three layers.
	rm -r "$T/want"
	cp -a "$T/0" "$T/want"
	for n in 1 2 3; do
		UP=$T/$n/up WORK=$T/$n/work
		overlay_mount "${@:2}"
		in_dir "$MNT" "changes_$n"
		in_dir "$MNT" separate_links
		in_dir "$T/want" "changes_$n"
		same_tree "$T/want" "$MNT" # whose lowers have links that no layer shows
		overlay_umount
		rm -r "$WORK" # with the further links of its index
		uppers=("$UP" "${uppers[@]}")
		kernel_shows "$1" "${uppers[@]}"
		LOWERS=("${uppers[@]}")
	done
}

@test "kernel overlayfs reads an upper of ours: whiteouts, opaque directories, redirects" {
	need kernel-overlay
	read_by_kernel redirect_dir=follow -o whiteout=chardev
}

@test "kernel overlayfs reads an upper of an ordinary user" {
	need kernel-overlay
	tree_for_user
	mkdir "$WORK"
	chown "$TEST_UID:$TEST_GID" "$WORK"
	read_by_kernel userxattr -o whiteout=chardev,redirect_dir=off
}

@test "kernel overlayfs has a mount of ours as its lower" {
	need kernel-overlay
	make_levels
	overlay_mount
	in_dir "$MNT" changes_1
	in_dir "$T/want" changes_1
	mkdir -p "$T/k/up" "$T/k/work"
	kernel_mount "$T/k/mnt" "lowerdir=$MNT,upperdir=$T/k/up,workdir=$T/k/work,redirect_dir=on"
	same_tree "$T/want" "$T/k/mnt" +nlink
	in_dir "$T/k/mnt" sole_links
	in_dir "$T/want" sole_links
	in_dir "$T/k/mnt" changes_2
	in_dir "$T/want" changes_2
	same_tree "$T/want" "$T/k/mnt" -xattr
	umount "$T/k/mnt"
}

# Other programs do not keep the names of a lower file together.
sole_links() {
	find . ! -type d -links +1 -print0 | while read -rd '' f; do cp -a "$f" tmp && mv tmp "$f"; done
}

# written_by MOUNT: the function mounts another overlay of LOW and UP on a directory. What it
# shows, ours shows too, and can go on with, and what ours then leaves, the other one shows.
written_by() {
	local n other=$T/1/k
	make_levels
	in_dir "$LOW" sole_links
	"${DAEMON_AS[@]}" mkdir "$other"
	for n in 1 2; do
		"$1" "$other"
		in_dir "$other" "changes_$n"
		umount_one "$other"
		"$1" "$other" # so that no cache adds to what was written
		"${DAEMON_AS[@]}" rm -rf "$T/1/want"
		"${DAEMON_AS[@]}" cp -a "$other" "$T/1/want"
		umount_one "$other"
		# As the upper, and as a lower.
		level "$T/2/mnt" -o "$OPTIONS,lowerdir=$LOW,upperdir=$UP,workdir=$T/2/work"
		same_tree "$T/1/want" "$T/2/mnt" +mtime
		unlevel "$T/2/mnt"
		level "$T/2/mnt" -o "lowerdir=$UP:$LOW"
		same_tree "$T/1/want" "$T/2/mnt" +mtime
		unlevel "$T/2/mnt"
	done
	level "$T/2/mnt" -o "$OPTIONS,lowerdir=$LOW,upperdir=$UP,workdir=$T/2/work"
	in_dir "$T/2/mnt" changes_3
	in_dir "$T/1/want" changes_3
	same_tree "$T/1/want" "$T/2/mnt"
	unlevel "$T/2/mnt"
	"$1" "$other"
	same_tree "$T/1/want" "$other" -xattr
	umount_one "$other"
}

kernel_overlay() {
	mkdir -p "$T/kwork"
	kernel_mount "$1" "lowerdir=$LOW,upperdir=$UP,workdir=$T/kwork,$KERNEL_OPTIONS"
}

@test "an upper that kernel overlayfs wrote is read, and written on" {
	need kernel-overlay
	OPTIONS=whiteout=chardev KERNEL_OPTIONS=redirect_dir=on written_by kernel_overlay
}

@test "an upper that kernel overlayfs wrote without privilege is read, and written on" {
	need kernel-overlay
	tree_for_user
	OPTIONS=whiteout=chardev,redirect_dir=off KERNEL_OPTIONS=userxattr written_by kernel_overlay
}

@test "a file that kernel overlayfs left without its data cannot be read, nor copied up" {
	need kernel-overlay
	echo data | tee "$LOW/f" "$LOW/g" >"$LOW/whole"
	mkdir "$T/k"
	UP=$T/k KERNEL_OPTIONS=metacopy=on,redirect_dir=on kernel_overlay "$T/kernel"
	chmod 600 "$T/kernel/f" "$T/kernel/g"
	umount "$T/kernel"
	overlay_start -o "lowerdir=$T/k:$LOW,upperdir=$UP" "$MNT"
	assert_equal "$(stat -c '%a %s' "$MNT/f")" '600 5'
	run -1 cat "$MNT/f"
	assert_output --partial 'Input/output error'
	run -1 chmod 644 "$MNT/f"
	assert_output --partial 'Input/output error'
	run -1 cp "$MNT/f" "$T/copy"
	assert_equal "$(cat "$MNT/whole")" data
	echo new >"$MNT/g"
	assert_equal "$(cat "$MNT/g")" new
	rm "$MNT/f"
	overlay_umount
	overlay_start -o "lowerdir=$LOW,upperdir=$T/k" "$MNT"
	run -1 cat "$MNT/f"
	assert_output --partial 'Input/output error'
	assert_equal "$(cat "$MNT/whole")" data
}

fuse_overlayfs() {
	"${DAEMON_AS[@]}" fuse-overlayfs -o "lowerdir=$LOW,upperdir=$UP,workdir=$T/1/work" "$1" 3>&-
	is_mounted "$1" || fail 'fuse-overlayfs did not mount'
	lower_may_change "$LOW" # its access times
}

@test "an upper that fuse-overlayfs wrote is read, and written on" {
	need command fuse-overlayfs
	LONG=short # fuse-overlayfs cannot remove a name with no room for .wh.
	OPTIONS=redirect_dir=off written_by fuse_overlayfs
}

@test "an upper that fuse-overlayfs wrote for an ordinary user is read, and written on" {
	need command fuse-overlayfs
	LONG=short # fuse-overlayfs cannot remove a name with no room for .wh.
	tree_for_user
	OPTIONS=redirect_dir=off written_by fuse_overlayfs
}

# --- OCI layers ----------------------------------------------------------------------------

# The layers, lowest first, as an image that umoci unpacks to $T/bundle/rootfs.
umoci_unpack() {
	local image=$T/run/image dir tar=$T/run/layer.tar rootless=()
	((${#DAEMON_AS[@]} == 0)) || rootless=(--rootless)
	"${DAEMON_AS[@]}" umoci init --layout "$image"
	"${DAEMON_AS[@]}" umoci new --image "$image:test"
	for dir in "$@"; do
		"${DAEMON_AS[@]}" tar -C "$dir" --format=posix --numeric-owner --atime-preserve=system \
			--exclude=./.wh..wh.work --sort=name -cf "$tar" .
		"${DAEMON_AS[@]}" umoci raw add-layer --image "$image:test" "$tar"
	done
	"${DAEMON_AS[@]}" umoci unpack "${rootless[@]}" --image "$image:test" "$T/run/bundle" 3>&- >"$T/run/umoci" 2>&1 ||
		fail "$(cat "$T/run/umoci")"
}

oci_layers() {
	local n uppers=()
	LONG=short # no room for .wh. means: no OCI layer
	make_levels
	in_dir "$LOW" sole_links
	in_dir "$T/want" sole_links
	chmod 777 "$T/run"
	for n in 1 2 3; do
		UP=$T/$n/up
		"${DAEMON_AS[@]}" touch -r "$LOW" "$UP"
		overlay_mount -o redirect_dir=off
		in_dir "$MNT" "changes_$n"
		in_dir "$T/want" "changes_$n"
		same_tree "$T/want" "$MNT"
		"${DAEMON_AS[@]}" cp -a "$MNT" "$T/run/want$n"
		overlay_umount
		LOWERS=("$UP" "${LOWERS[@]}")
		uppers+=("$UP")
		umoci_unpack "$LOW" "${uppers[@]}"
		same_tree "$T/run/want$n" "$T/run/bundle/rootfs" -xattr +mtime
		rm -r "$T/run/image" "$T/run/bundle"
	done
}

@test "a tar of the upper is an OCI image layer" {
	need root
	need command umoci
	oci_layers
}

@test "a tar of an ordinary user's upper is one, too" {
	need command umoci
	tree_for_user
	oci_layers
}
