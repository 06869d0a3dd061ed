# `overlayfs commit`: the lower becomes what the merged tree was, the upper is empty, whatever
# interrupts it.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

# A lower with all kinds of files.
make_lower() {
	mkdir -p "$LOW/d/sub" "$LOW/gone/x" "$LOW/mv/deep" "$LOW/again" "$LOW/keep" "$LOW/to-file"
	echo a >"$LOW/a"
	echo b >"$LOW/d/b"
	echo c >"$LOW/d/sub/c"
	echo 1 >"$LOW/gone/x/1"
	echo 2 >"$LOW/gone/2"
	echo m >"$LOW/mv/deep/m"
	echo n >"$LOW/mv/n"
	echo same >"$LOW/again/same"
	echo gone >"$LOW/again/gone"
	echo kept >"$LOW/keep/kept"
	echo dir >"$LOW/to-dir"
	ln -s a "$LOW/link"
	touch -d @1000 "$LOW/d/sub" "$LOW/keep"
}

# And every kind of change to it.
change() {
	local m=${1:-$MNT}
	echo more >>"$m/a"
	chmod 600 "$m/d/sub/c"
	rm -r "$m/gone"
	mv "$m/mv" "$m/moved"
	echo changed >"$m/moved/n"
	rm -r "$m/again" && mkdir "$m/again" && echo same >"$m/again/same" && echo new >"$m/again/new"
	rmdir "$m/to-file" && echo file >"$m/to-file"
	rm "$m/to-dir" && mkdir "$m/to-dir" && echo in >"$m/to-dir/in"
	mkdir -p "$m/new/deep" && echo new >"$m/new/deep/n"
	ln "$m/new/deep/n" "$m/name2"
	mv "$m/d/b" "$m/bb"
	ln -sfn elsewhere "$m/link"
	mkfifo "$m/fifo"
	truncate -s 1M "$m/sparse" && echo tail >>"$m/sparse"
	: >"$m/"$'new\nline'
	: >"$m/"$'\xff\xfe'
	setfattr -n user.k -v v "$m/d"
	setfacl -m u:5:r "$m/name2"
}

# What the lower has to become.
expect() { "${DAEMON_AS[@]}" "$PYTHON" "$LIB/tree.py" show "$MNT" +mtime +nlink >"$T/run/want"; }
assert_committed() {
	"${DAEMON_AS[@]}" "$PYTHON" "$LIB/tree.py" show "$LOW" +mtime +nlink >"$T/run/got"
	if ! diff <(sed "$@" -e '' "$T/run/want") <(sed "$@" -e '' "$T/run/got"); then
		fail 'the lower is not what the merged tree was'
		return 1 # the caller may be behind a ||
	fi
	assert_equal "$(find "$UP" -mindepth 1)" ''
}
# The same after a crash: making the work directory may have given the upper's root a new time.
assert_committed_after_crash() { assert_committed -e '1s/ mtime=[0-9]*//'; }

commit() { "$OVERLAYFS" commit "$@" -l "$LOW" -u "$UP"; }

each_format() {
	make_lower
	overlay_mount -o "whiteout=$1" "${@:2}"
	change
	expect
	overlay_umount
	lower_may_change "$LOW"
	run commit
	assert_success
	assert_output ''
	assert_committed
	run commit
	assert_success
	assert_committed
}
@test "every kind of change is committed, from every form of whiteouts" {
	for_formats each_format
}

@test "the same without redirects, and all at once" {
	each_format wh -o redirect_dir=off
	rm -rf "$LOW" && mkdir "$LOW"
	make_lower
	overlay_mount
	change
	expect
	overlay_umount
	lower_may_change "$LOW"
	commit --atomic
	assert_committed
}

@test "an ordinary user commits what is his" {
	make_lower
	chmod 555 "$LOW/d/sub"
	tree_for_user
	overlay_mount
	as_user chmod 755 "$MNT/d/sub"
	export -f change
	as_user env MNT="$MNT" bash -c 'change "$MNT"'
	as_user bash -c 'echo x >"$0/d/sub/in" && chmod 555 "$0/d/sub" && echo s >"$0/secret" && chmod 000 "$0/secret"' "$MNT"
	expect
	overlay_umount
	lower_may_change "$LOW"
	as_user "$OVERLAYFS" commit -l "$LOW" -u "$UP"
	assert_committed
}

@test "owners, attributes, lists, capabilities, devices and holes are kept" {
	need root
	echo x >"$LOW/f"
	overlay_mount
	chown 3:4 "$MNT/f" && chmod 6755 "$MNT/f"
	cp /bin/true "$MNT/cap" && setcap cap_net_raw+ep "$MNT/cap"
	mknod "$MNT/dev" c 1 3
	truncate -s 100M "$MNT/sparse" && echo x >>"$MNT/sparse"
	mkdir "$MNT/acl" && setfacl -d -m u:5:rwx "$MNT/acl" && setfacl -m u:6:rwx "$MNT/acl"
	echo x >"$MNT/acl/f"
	setfattr -n trusted.k -v v "$MNT/acl"
	chown -h 7:8 "$MNT/dev"
	ln -s x "$MNT/l" && chown -h 9:9 "$MNT/l" && touch -h -d @5 "$MNT/l"
	expect
	overlay_umount
	lower_may_change "$LOW"
	# A default list of the lower's directory must not be inherited.
	setfacl -d -m u:77:rwx "$LOW"
	commit
	setfacl -k "$LOW"
	assert_committed
	(($(stat -c %b "$LOW/sparse") < 100)) || fail 'the holes are gone'
	assert_equal "$(getcap "$LOW/cap")" "$LOW/cap cap_net_raw=ep"
}

@test "hard links stay: within the upper, with unchanged names, and all lower names" {
	mkdir "$LOW/d"
	echo 1 >"$LOW/a" && ln "$LOW/a" "$LOW/d/b" && ln "$LOW/a" "$LOW/d/c"
	echo 2 >"$LOW/single"
	echo 3 >"$LOW/x" && ln "$LOW/x" "$LOW/y"
	overlay_mount
	echo changed >"$MNT/d/b"
	ln "$MNT/single" "$MNT/d/second"
	rm "$MNT/x"
	expect
	overlay_umount
	lower_may_change "$LOW"
	commit
	assert_committed
	assert_equal "$(stat -c %h "$LOW/a" "$LOW/single" "$LOW/y" | xargs)" '3 2 1'
}

@test "files of a renamed directory are the same files, not copies" {
	mkdir -p "$LOW/d/e"
	echo 1 >"$LOW/d/e/f"
	local ino
	ino=$(stat -c %i "$LOW/d/e/f")
	overlay_mount
	mv "$MNT/d" "$MNT/new"
	expect
	overlay_umount
	lower_may_change "$LOW"
	commit
	assert_committed
	assert_equal "$(stat -c %i "$LOW/new/e/f")" "$ino"
}

@test "directories that changed places, or moved into and out of each other" {
	mkdir -p "$LOW/a/in" "$LOW/b" "$LOW/c/deep"
	echo a >"$LOW/a/in/f"
	echo b >"$LOW/b/f"
	echo c >"$LOW/c/deep/f"
	overlay_mount
	sysc rename2 "$MNT/a" "$MNT/b" EXCHANGE
	mv "$MNT/c/deep" "$MNT/out"
	mv "$MNT/c" "$MNT/out/c"
	mkdir "$MNT/c" && echo new >"$MNT/c/f"
	expect
	overlay_umount
	lower_may_change "$LOW"
	commit
	assert_committed
}

@test "--dry-run shows what would be done, and does nothing" {
	make_lower
	overlay_mount
	change
	overlay_umount
	"$PYTHON" "$LIB/tree.py" snapshot "$UP" >"$T/run/before"
	run commit --dry-run
	assert_success
	assert_line 'R /mv -> /moved/'
	assert_line "to $LOW"
	"$PYTHON" "$LIB/tree.py" snapshot "$UP" | sed 's/ atime=[0-9]*//' |
		diff <(sed 's/ atime=[0-9]*//' "$T/run/before") -
}

# --- conflicts -----------------------------------------------------------------------------

# conflict PATH: a commit is refused because of PATH alone, and does nothing.
conflict() {
	local tree
	lower_may_change "$LOW"
	tree=$("$PYTHON" "$LIB/tree.py" snapshot "$LOW" | sed 's/ atime=[0-9]*//')
	run commit
	assert_failure 1
	assert_line "overlayfs: $UP: conflict: $1 was changed in the lower"
	assert_line "overlayfs: $UP: not committed; --force overwrites"
	assert_equal "${#lines[@]}" "${2:-2}"
	assert_equal "$("$PYTHON" "$LIB/tree.py" snapshot "$LOW" | sed 's/ atime=[0-9]*//')" "$tree"
	run commit --force
	assert_success
	assert_equal "$(find "$UP" -mindepth 1)" ''
}

@test "a lower file that changed since its copy-up is a conflict" {
	echo x >"$LOW/f"
	echo y >"$LOW/other"
	overlay_mount
	echo mine >"$MNT/f"
	echo mine >"$MNT/other"
	overlay_umount
	echo theirs >"$LOW/f"
	conflict /f
	assert_content "$LOW/f" mine
}

@test "so is one that changed only in its mode, or was replaced by the same content" {
	echo x >"$LOW/f"
	overlay_mount
	echo mine >"$MNT/f"
	overlay_umount
	chmod 640 "$LOW/f"
	conflict /f
	overlay_mount
	echo mine2 >"$MNT/f"
	overlay_umount
	cp -p "$LOW/f" "$LOW/g" && mv "$LOW/g" "$LOW/f"
	conflict /f
}

@test "a deleted file that changed in the lower, and a file that appeared, are conflicts" {
	echo x >"$LOW/gone"
	mkdir "$LOW/tree" && echo x >"$LOW/tree/f"
	overlay_mount
	rm "$MNT/gone"
	rm -r "$MNT/tree"
	echo mine >"$MNT/new"
	overlay_umount
	echo theirs >"$LOW/gone"
	conflict /gone
	assert_not_exist "$LOW/gone"

	mkdir "$LOW/tree" && echo x >"$LOW/tree/f"
	overlay_mount
	rm -r "$MNT/tree"
	overlay_umount
	echo theirs >"$LOW/tree/f"
	conflict /tree/f
	overlay_mount
	echo mine >"$MNT/new2"
	overlay_umount
	echo theirs >"$LOW/new2"
	conflict /new2
	assert_content "$LOW/new2" mine
}

@test "a renamed file that changed in the lower is a conflict at its old place" {
	mkdir "$LOW/d"
	echo x >"$LOW/d/f"
	overlay_mount
	mv "$MNT/d/f" "$MNT/g"
	overlay_umount
	echo theirs >"$LOW/d/f"
	conflict /d/f
}

@test "what changed in both in the same way is no conflict" {
	echo x >"$LOW/f"
	overlay_mount
	echo y >"$MNT/f"
	touch -d @1000 "$MNT/f"
	overlay_umount
	lower_may_change "$LOW"
	echo y >"$LOW/f"
	touch -d @1000 "$LOW/f"
	commit
	assert_equal "$(find "$UP" -mindepth 1)" ''
}

# Mounts from here on do not look at the lower: making its access times old changes ctimes.
no_snapshots() {
	lower_may_change "$LOW"
	lowers_remember() { :; }
}

# --- filters -------------------------------------------------------------------------------

@test "what a filter leaves out stays in the upper, and the merged tree is the same" {
	make_lower
	overlay_mount
	change
	expect
	overlay_umount
	no_snapshots
	commit --exclude '/new' --exclude 'c' --exclude '/gone/x' --exclude same --exclude bb
	assert_equal "$(cat "$LOW/a")" $'a\nmore'
	assert_not_exist "$LOW/new"
	assert_not_exist "$LOW/name2" # a name of a file that is left out
	assert_equal "$(stat -c %a "$LOW/d/sub/c")" 644
	assert_content "$LOW/gone/x/1" 1
	assert_not_exist "$LOW/gone/2"
	assert_content "$LOW/again/new" new
	assert_content "$LOW/d/b" b
	overlay_mount
	"$PYTHON" "$LIB/tree.py" show "$MNT" +mtime +nlink | diff "$T/run/want" -
	overlay_umount
	commit
	assert_committed
}

@test "a renamed directory is committed whole, or not at all with what took its place" {
	mkdir -p "$LOW/a/sub" "$LOW/b"
	echo 1 >"$LOW/a/f"
	echo 2 >"$LOW/a/sub/g"
	overlay_mount
	mv "$MNT/a" "$MNT/c"
	echo changed >"$MNT/c/f"
	mkdir "$MNT/a" && echo new >"$MNT/a/n"
	echo other >"$MNT/b/n"
	expect
	overlay_umount
	no_snapshots
	commit --exclude /c/f
	assert_names "$LOW" a b
	assert_content "$LOW/a/f" 1
	assert_content "$LOW/b/n" other
	overlay_mount
	"$PYTHON" "$LIB/tree.py" show "$MNT" +mtime +nlink | diff "$T/run/want" -
	overlay_umount
	commit --exclude /a/n
	overlay_mount
	"$PYTHON" "$LIB/tree.py" show "$MNT" +mtime +nlink | diff "$T/run/want" -
	overlay_umount
	commit
	assert_committed
}

@test "--include takes only what matches, with the directories that it needs" {
	overlay_mount
	mkdir -p "$MNT/a/b"
	touch "$MNT/a/b/x.c" "$MNT/a/b/x.o" "$MNT/y.c" "$MNT/z"
	overlay_umount
	lower_may_change "$LOW"
	commit --include '*.c'
	assert_equal "$(cd "$LOW" && find . -type f | sort | xargs)" './a/b/x.c ./y.c'
	assert_equal "$(cd "$UP" && find . -type f | sort | xargs)" './a/b/x.o ./z'
}

@test "--rootfs leaves out what belongs to the machine, --files-only and --no-empty-in the rest" {
	need root
	mkdir -p "$LOW/etc" "$LOW/proc"
	overlay_mount
	mkdir "$MNT/run" "$MNT/usr" "$MNT/tmp" "$MNT/stub-dir"
	touch "$MNT/run/x" "$MNT/proc/y" "$MNT/usr/z" "$MNT/etc/stub" "$MNT/etc/empty"
	echo x >"$MNT/etc/full"
	ln -s x "$MNT/etc/link"
	chmod 000 "$MNT/etc/stub" "$MNT/stub-dir"
	overlay_umount
	lower_may_change "$LOW"
	commit --rootfs --files-only --no-empty-in /etc
	assert_equal "$(cd "$LOW" && find . | sort | xargs)" '. ./etc ./etc/full ./proc ./usr ./usr/z'
	commit --rootfs --no-empty-in etc
	assert_equal "$(cd "$LOW" && find . | sort | xargs)" '. ./etc ./etc/full ./etc/link ./proc ./usr ./usr/z'
	commit --rootfs
	assert_equal "$(cd "$LOW" && find . | sort | xargs)" \
		'. ./etc ./etc/empty ./etc/full ./etc/link ./proc ./usr ./usr/z'
}

@test "--interactive asks for each change, a new or deleted directory once" {
	mkdir "$LOW/gone" && touch "$LOW/gone/x"
	overlay_mount
	rm -r "$MNT/gone"
	mkdir "$MNT/new" && touch "$MNT/new/y"
	touch "$MNT/a" "$MNT/b"
	overlay_umount
	lower_may_change "$LOW"
	run commit --interactive <<<$'q'
	assert_failure 1
	assert_names "$LOW" gone
	run commit --interactive <<<$'y\nn\nn\ny'
	assert_success
	assert_names "$LOW" a gone new
	assert_file_exist "$LOW/new/y"
	run commit --interactive <<<$'a'
	assert_success
	assert_names "$LOW" a b new
}

# --- several lowers ------------------------------------------------------------------------

@test "with several lowers the topmost that has the directories takes the changes" {
	LOWERS=("$LOW" "$LOW2")
	mkdir -p "$LOW/d" "$LOW2/d" "$LOW2/gone/sub" "$LOW2/only"
	echo top >"$LOW/d/f"
	echo below >"$LOW2/d/f"
	echo below >"$LOW2/d/g"
	echo below >"$LOW2/d/h"
	echo x >"$LOW2/gone/sub/x"
	echo o >"$LOW2/only/o"
	mkdir "$LOW2/replaced" && echo old >"$LOW2/replaced/old"
	overlay_mount
	rm "$MNT/d/f" "$MNT/d/g"
	echo changed >"$MNT/d/h"
	rm -r "$MNT/gone" "$MNT/replaced"
	mkdir "$MNT/replaced" && echo new >"$MNT/replaced/new"
	echo changed >"$MNT/only/o"
	mv "$MNT/only" "$MNT/renamed"
	expect
	overlay_umount
	lower_may_change "$LOW"
	"$OVERLAYFS" commit -l "$LOW" -l "$LOW2" -u "$UP"
	assert_equal "$(find "$UP" -mindepth 1)" ''
	overlay_start -o "lowerdir=$LOW:$LOW2" "$MNT"
	"$PYTHON" "$LIB/tree.py" show "$MNT" +mtime -nlink | diff <(sed 's/ nlink=[0-9]*//' "$T/run/want") -
	assert_file_exist "$LOW/d/.wh.g"
	assert_file_exist "$LOW/.wh.gone"
}

@test "the lowest lower that may be written takes them where none above has the directory" {
	LOWERS=("$LOW" "$LOW2" "$LOW3")
	mkdir -p "$LOW2/d/e" "$LOW3/d"
	echo 2 >"$LOW2/d/e/f"
	echo 3 >"$LOW3/d/g"
	overlay_mount
	echo changed >"$MNT/d/e/f"
	rm "$MNT/d/g"
	expect
	overlay_umount
	lower_may_change "$LOW2"
	run "$OVERLAYFS" commit --dry-run -l "$LOW" -l "$LOW2" -l "$LOW3" -u "$UP"
	assert_line "to $LOW2"
	"$OVERLAYFS" commit -l "$LOW" -l "$LOW2" -l "$LOW3" -u "$UP"
	assert_equal "$(find "$UP" -mindepth 1)" ''
	assert_content "$LOW2/d/e/f" changed
	assert_file_exist "$LOW2/d/.wh.g"
}

@test "a lower that lacks a directory gets it, with its attributes and nothing else" {
	LOWERS=("$LOW" "$LOW2")
	mkdir -p "$LOW2/a/b"
	echo x >"$LOW2/a/b/x"
	echo y >"$LOW/top"
	chmod 750 "$LOW2/a"
	overlay_mount
	echo new >"$MNT/a/b/n"
	echo z >"$MNT/top"
	expect
	overlay_umount
	lower_may_change "$LOW"
	"$OVERLAYFS" commit -l "$LOW" -l "$LOW2" -u "$UP"
	assert_equal "$(find "$UP" -mindepth 1)" ''
	overlay_start -o "lowerdir=$LOW:$LOW2" "$MNT"
	"$PYTHON" "$LIB/tree.py" show "$MNT" +mtime -nlink | diff <(sed 's/ nlink=[0-9]*//' "$T/run/want") -
}

# --- what cannot be done -------------------------------------------------------------------

# refused TEXT ARGUMENT...: one line, status 1, nothing touched.
refused() {
	local tree low
	tree=$("$PYTHON" "$LIB/tree.py" show "$UP" +mtime)
	low=$("$PYTHON" "$LIB/tree.py" show "$LOW" +mtime)
	run "${RUN_AS[@]}" "$OVERLAYFS" commit "${@:2}"
	assert_failure 1
	assert_output "overlayfs: $1"
	assert_equal "$("$PYTHON" "$LIB/tree.py" show "$UP" +mtime)" "$tree"
	assert_equal "$("$PYTHON" "$LIB/tree.py" show "$LOW" +mtime)" "$low"
}

@test "an upper that is in use is not committed" {
	echo x >"$LOW/f"
	overlay_mount
	echo y >"$MNT/f"
	refused "$UP: in use by process $DAEMON" -l "$LOW" -u "$UP"
	refused "$MNT: in use by process $DAEMON" "$MNT"
}

@test "a lower on a read-only file system, or without permission, refuses at once" {
	need root
	mkdir "$T/ro"
	mount -t tmpfs none "$T/ro"
	mkdir "$T/ro/d" && echo x >"$T/ro/d/f"
	mount -o remount,ro "$T/ro"
	mkdir "$LOW/d" && echo x >"$LOW/d/f"
	mkdir "$UP/d" && echo y >"$UP/d/f"
	refused "$UP: cannot commit to $T/ro: /d/f: Read-only file system" -l "$T/ro" -u "$UP"
	chown -R "$TEST_UID" "$UP"
	RUN_AS=("${USER_CMD[@]}")
	refused "$UP: cannot commit to $LOW: /d/f: Permission denied" -l "$LOW" -u "$UP"
}

@test "no space is found out before anything is touched, and while it is" {
	need root
	mkdir "$T/small"
	mount -t tmpfs -o size=1m none "$T/small"
	mkdir "$T/small/d" && echo x >"$T/small/d/f"
	mkdir "$UP/d"
	head -c 2M /dev/urandom >"$UP/d/big"
	echo y >"$UP/d/f"
	refused "$UP: cannot commit to $T/small: /d/big: No space left on device" -l "$T/small" -u "$UP"
	# Links to it take its place: each is a file of 600 KiB, which the check cannot add up.
	head -c 600K /dev/urandom >"$UP/d/big"
	head -c 500K /dev/zero >"$T/small/fill"
	cp "$UP/d/big" "$UP/d/big2"
	run "$OVERLAYFS" commit --atomic -l "$T/small" -u "$UP"
	assert_failure 1
	assert_equal "$(cd "$T/small" && find . | sort | xargs)" '. ./d ./d/f ./fill'
	assert_equal "$(cd "$UP" && find . -not -path './.wh*' | sort | xargs)" '. ./d ./d/big ./d/big2 ./d/f'
}

@test "a directory with a mount in it, or with the upper in it, is not deleted" {
	need root
	mkdir -p "$LOW/d/sub"
	make_whiteout "$UP" d wh
	mount -t tmpfs none "$LOW/d/sub"
	touch "$LOW/d/sub/precious"
	refused "$UP: cannot commit to $LOW: /d: something is mounted there" --force -l "$LOW" -u "$UP"
	umount "$LOW/d/sub"
	# the same file system: only the mount tells
	mkdir "$T/elsewhere" && touch "$T/elsewhere/precious"
	mount --bind "$T/elsewhere" "$LOW/d/sub"
	refused "$UP: cannot commit to $LOW: /d: something is mounted there" --force -l "$LOW" -u "$UP"
	umount "$LOW/d/sub"
	mkdir -p "$LOW/d/state/up"
	make_whiteout "$LOW/d/state/up" d wh
	run "$OVERLAYFS" commit --force -l "$LOW" -u "$LOW/d/state/up"
	assert_failure 1
	assert_output "overlayfs: $LOW/d/state/up: cannot commit to $LOW: /d: a layer of the target lies in it"
	assert_file_exist "$LOW/d/state/up/.wh.d"
}

@test "a link in the place of a directory of the lower is not followed" {
	mkdir -p "$LOW/d" "$T/outside" "$UP/d"
	echo x >"$LOW/d/f"
	echo new >"$UP/d/f"
	rm -r "$LOW/d" && ln -s "$T/outside" "$LOW/d"
	lower_may_change "$LOW"
	commit --force
	assert_equal "$(find "$T/outside" -mindepth 1)" ''
	assert_content "$LOW/d/f" new
	[[ ! -L $LOW/d ]]
}

# --- crashes -------------------------------------------------------------------------------

CALLS=renameat2,renameat,unlinkat,mkdirat,mknodat,symlinkat,linkat,openat,fsync,syncfs,setxattr,lsetxattr,removexattr,lremovexattr,fchownat,utimensat,chmod,ftruncate,write,pwrite64,copy_file_range,flock

# killed_commit N ARGUMENT...: 0 when it was killed at its call number N.
killed_commit() {
	local n=$1 status=0
	shift
	strace -f -qq -o /dev/null -e "trace=$CALLS" -e "inject=$CALLS:signal=KILL:when=$n" \
		"$OVERLAYFS" commit --force "$@" -l "$LOW" -u "$UP" 2>/dev/null || status=$?
	((status == 137))
}

# Keep both trees, to begin again and again.
keep_trees() { cp -a "$LOW" "$T/low.kept" && cp -a "$UP" "$T/up.kept"; }
restore_trees() {
	rm -rf "$LOW" "$UP"
	cp -a "$T/low.kept" "$LOW" && cp -a "$T/up.kept" "$UP"
}

# The calls with which a commit changes something, as "NAME NTH-OF-THAT-NAME".
changing_calls() {
	strace -f -qq -o "$T/run/trace" -e "trace=$CALLS" "$OVERLAYFS" commit --force "$@" -l "$LOW" -u "$UP"
	awk '{ call = $2; sub(/\(.*/, "", call); n[call]++ }
		# strace may be too old for the name of a call, and then cannot stop there.
		/ = -1 / || call ~ /sync|flock|syscall_/ || (call == "openat" && !/O_CREAT|O_TRUNC/) { next }
		{ print call, n[call] }' "$T/run/trace"
}

# With no journal left the upper may be mounted: then none of its files may be the lower's own.
assert_not_shared() {
	[[ -e $UP/.wh..wh.work/commit ]] || assert_equal "$1: $(
		comm -12 <(find "$LOW" -type f -printf '%i\n' | sort -u) <(find "$UP" -type f -printf '%i\n' | sort -u)
	)" "$1: "
}

# survive FROM OF ARGUMENT...: killed at call number FROM, FROM + OF and so on.
survive() {
	local call n tried=0 from=$1 of=$2 i=0
	shift 2
	need command strace
	make_lower
	overlay_mount
	change
	expect
	overlay_umount
	lower_may_change "$LOW"
	keep_trees
	changing_calls "$@" >"$T/run/calls"
	assert_committed
	while read -r call n <&9; do
		((i++ % of == from)) || continue
		restore_trees
		CALLS=$call killed_commit "$n" "$@" || fail "not killed at $call number $n"
		assert_not_shared "killed at $call number $n"
		commit --force "$@" 2>"$T/run/err" 9<&- || fail "after $call $n: $(cat "$T/run/err")"
		assert_committed_after_crash || fail "killed at $call number $n"
		tried=$((tried + 1))
	done 9<"$T/run/calls"
	((tried > 50)) || fail "only $tried calls were tried"
	for call in renameat2 unlinkat linkat mkdirat openat utimensat; do
		grep -q "^$call " "$T/run/calls" || fail "the commit does no $call"
	done
}

# In halves, as each takes its time.
@test "killed at any call that changes something, the next commit finishes: even calls" {
	survive 0 2
}

@test "killed at any call that changes something, the next commit finishes: odd calls" {
	survive 1 2
}

@test "the same for --atomic: even calls" {
	survive 0 2 --atomic
}

@test "the same for --atomic: odd calls" {
	survive 1 2 --atomic
}

@test "on one file system new files are not copied, and nothing is flushed file by file" {
	need command strace
	local n
	mkdir -p "$LOW/d"
	for n in {1..100}; do echo "old $n" >"$LOW/d/old$n"; done
	overlay_mount
	for n in {1..100}; do echo "new $n" >"$MNT/d/new$n" && echo more >>"$MNT/d/old$n"; done
	mkdir "$MNT/tree" && echo x >"$MNT/tree/f"
	rm "$MNT/d/old7"
	expect
	overlay_umount
	lower_may_change "$LOW"
	stat -c %i "$UP/d/new1" "$UP/d/old1" "$UP/tree/f" >"$T/run/inodes"
	strace -f -qq -o "$T/run/trace" -e trace=fsync,fdatasync,syncfs,copy_file_range,sendfile \
		"$OVERLAYFS" commit -l "$LOW" -u "$UP"
	assert_committed
	stat -c %i "$LOW/d/new1" "$LOW/d/old1" "$LOW/tree/f" | diff "$T/run/inodes" -
	assert_equal "$(getfattr -d -m - "$LOW/d/old1")" ''
	assert_equal "$(grep -c copy_file_range "$T/run/trace")" 0
	n=$(grep -c sync "$T/run/trace")
	((n > 5 && n < 40)) || fail "$n flushes"
}

@test "what is in an opaque directory is copied, so it never goes before it shows through" {
	mkdir "$LOW/d" && echo old >"$LOW/d/old"
	overlay_mount
	rm -r "$MNT/d" && mkdir "$MNT/d" && echo new >"$MNT/d/new"
	expect
	overlay_umount
	no_snapshots
	local ino
	ino=$(stat -c %i "$UP/d/new")
	commit --exclude /d/old
	[[ $(stat -c %i "$LOW/d/new") != "$ino" ]] || fail "it was not copied"
	overlay_mount
	"$PYTHON" "$LIB/tree.py" show "$MNT" +mtime +nlink | diff "$T/run/want" -
	overlay_umount
	commit
	assert_committed
}

@test "a lower on another file system gets copies" {
	need root
	mount -t tmpfs -o mode=755 none "$LOW"
	mkdir "$LOW/d" && echo old >"$LOW/d/f"
	overlay_mount
	echo more >>"$MNT/d/f" && echo new >"$MNT/d/new"
	expect
	overlay_umount
	lower_may_change "$LOW"
	commit
	assert_committed
}

@test "a mount of an upper with an interrupted commit is refused, and possible afterwards" {
	need command strace
	make_lower
	overlay_mount
	change
	expect
	overlay_umount
	lower_may_change "$LOW"
	CALLS=syncfs killed_commit 1 --atomic
	run "$OVERLAYFS" -u "$UP" "$LOW" "$MNT"
	assert_failure 1
	assert_output --partial 'a commit was interrupted'
	run commit --dry-run
	assert_failure 1
	run commit --atomic
	assert_success
	assert_output "overlayfs: $UP: an interrupted commit was undone"
	assert_committed
}

@test "names of a lower file that follow a changed one are finished together" {
	need command strace
	local n=1
	for ((;; n += 4)); do
		rm -rf "$LOW" "$UP" && mkdir "$LOW" "$UP" "$LOW/d"
		echo 1 >"$LOW/a" && ln "$LOW/a" "$LOW/d/b" && ln "$LOW/a" "$LOW/c"
		overlay_mount
		echo 2 >"$MNT/d/b"
		rm "$MNT/c"
		expect
		overlay_umount
		lower_may_change "$LOW"
		killed_commit "$n" || break
		commit --force 2>/dev/null || fail "after call $n"
		assert_committed_after_crash || fail "killed at call $n"
	done
	((n > 30)) || fail "only $n calls were tried"
	assert_committed
}

@test "an undone commit leaves no conflict behind" {
	need command strace
	make_lower
	overlay_mount
	change
	expect
	overlay_umount
	lower_may_change "$LOW"
	# The third flush is that of the journal that says that all is in its place.
	run strace -f -qq -o /dev/null -e trace=fsync -e inject=fsync:error=EIO:when=5 \
		"$OVERLAYFS" commit --atomic -l "$LOW" -u "$UP"
	assert_failure 1
	commit
	assert_committed
}

@test "a signal before the swap undoes what was built" {
	mkdir "$LOW/d"
	echo x >"$LOW/d/f"
	"$PYTHON" "$LIB/tree.py" show "$LOW" +mtime >"$T/run/before"
	mkdir "$UP/d"
	"$PYTHON" -c '
import os, sys
for i in range(20000):
    open("%s/%d" % (sys.argv[1], i), "w").write("x")' "$UP/d"
	"$OVERLAYFS" commit --force -l "$LOW" -u "$UP" 2>"$T/run/err" 3>&- &
	local pid=$! status=0
	building() { [[ -e $LOW/d/.wh..wh.commit-100 ]]; }
	poll 20 building
	kill -INT "$pid"
	kill -TERM "$pid"
	wait "$pid" || status=$?
	assert_equal "$status" 1
	"$PYTHON" "$LIB/tree.py" show "$LOW" +mtime | diff "$T/run/before" -
}

@test "20,000 changes are committed in bounded time" {
	"$PYTHON" - "$LOW" "$UP" <<-'EOF'
		import os, sys
		low, up = sys.argv[1:]
		for i in range(100):
		    os.makedirs('%s/%d' % (low, i))
		    os.makedirs('%s/%d' % (up, i))
		    for j in range(200):
		        name = '/%d/%d' % (i, j)
		        with open(up + name, 'w') as f:
		            f.write('new')
		        if j % 10 == 0:
		            with open(low + name, 'w') as f:
		                f.write('old')
	EOF
	timeout 150 "$OVERLAYFS" commit --force -l "$LOW" -u "$UP"
	assert_equal "$(find "$UP" -mindepth 1 | wc -l)" 0
	assert_equal "$(cat "$LOW/7/70" "$LOW/7/71")" newnew
}
