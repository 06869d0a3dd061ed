# `overlayfs diff`: names each change of an upper once, whatever it looks like on disk.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

diff_of() { "$OVERLAYFS" diff "$@"; }
# The list, without the mount.
changes() { "$OVERLAYFS" diff "$@" -l "$LOW" -u "$UP"; }

assert_changes() {
	assert_equal "$(changes)" "$(printf '%s\n' "$@")"
}

@test "nothing changed is an empty list, also after copy-ups that are the same again" {
	echo x >"$LOW/f"
	mkdir "$LOW/d"
	overlay_mount
	assert_equal "$(diff_of "$MNT")" ''
	echo y >"$MNT/f"
	echo x >"$MNT/f"
	chmod 700 "$MNT/d" && chmod 755 "$MNT/d"
	: >"$MNT/d/gone" && rm "$MNT/d/gone"
	overlay_umount
	assert_changes ''
}

@test "each kind of change is named once, in the order of the paths" {
	mkdir -p "$LOW/d/sub" "$LOW/tree/deep"
	echo 1 >"$LOW/d/f"
	echo 2 >"$LOW/d/sub/g"
	echo 3 >"$LOW/tree/deep/h"
	echo 4 >"$LOW/tree/i"
	ln -s f "$LOW/d/link"
	echo 5 >"$LOW/xattr"
	overlay_mount
	echo more >>"$MNT/d/f"
	chmod 600 "$MNT/d/sub/g"
	rm -r "$MNT/tree"
	ln -sfn elsewhere "$MNT/d/link"
	rm "$MNT/xattr" && mkdir "$MNT/xattr" && echo in >"$MNT/xattr/in"
	mkdir "$MNT/new" && echo n >"$MNT/new/n"
	mkfifo "$MNT/fifo"
	local want=('M /d/f (content)' 'M /d/link (content)' 'M /d/sub/g (mode)' 'A /fifo'
		'A /new/' 'A /new/n' 'D /tree/ (3 below)' 'D /tree/deep/ (1 below)'
		'D /tree/deep/h' 'D /tree/i' 'T /xattr/ (dir, was file)' 'A /xattr/in')
	assert_equal "$(diff_of "$MNT")" "$(printf '%s\n' "${want[@]}")"
	overlay_umount
	assert_changes "${want[@]}"
}

each_format() {
	mkdir -p "$LOW/old/sub" "$LOW/again" "$LOW/d"
	echo 1 >"$LOW/old/f"
	echo 2 >"$LOW/old/sub/g"
	echo same >"$LOW/again/same"
	echo gone >"$LOW/again/gone"
	echo x >"$LOW/d/was-dir-later"
	overlay_mount -o "whiteout=$1"
	mv "$MNT/old" "$MNT/renamed"
	echo changed >"$MNT/renamed/sub/g"
	rm "$MNT/renamed/f"
	rm -r "$MNT/again" && mkdir "$MNT/again" && echo same >"$MNT/again/same" && echo n >"$MNT/again/new"
	rm "$MNT/d/was-dir-later"
	overlay_umount
	assert_changes 'D /again/gone' 'A /again/new' 'D /d/was-dir-later' \
		'R /old -> /renamed/' 'D /renamed/f' 'M /renamed/sub/g (content)'
}
@test "deletions, replaced and renamed directories are found in every form of whiteouts" {
	for_formats each_format
}

@test "a renamed file is known by its number, with what changed in it" {
	echo 1 >"$LOW/a"
	echo 2 >"$LOW/b"
	mkdir "$LOW/d"
	overlay_mount
	mv "$MNT/a" "$MNT/d/c"
	mv "$MNT/b" "$MNT/e"
	echo more >>"$MNT/e"
	overlay_umount
	assert_changes 'R /a -> /d/c' 'R /b -> /e (content)'
}

@test "two directories that changed places are renamed both" {
	mkdir "$LOW/a" "$LOW/b"
	echo a >"$LOW/a/f"
	echo b >"$LOW/b/f"
	overlay_mount
	assert_equal "$(sysc rename2 "$MNT/a" "$MNT/b" EXCHANGE)" ok
	overlay_umount
	assert_changes 'R /b -> /a/' 'R /a -> /b/'
}

@test "what is new at the place of a renamed directory is added, not modified" {
	mkdir -p "$LOW/a/sub"
	echo 1 >"$LOW/a/f"
	overlay_mount
	mv "$MNT/a" "$MNT/b"
	mkdir "$MNT/a"
	echo 2 >"$MNT/a/f"
	overlay_umount
	assert_changes 'A /a/' 'A /a/f' 'R /a -> /b/'
}

@test "a directory moved out of a deleted one is renamed, and not among the deleted" {
	mkdir -p "$LOW/a/keep" "$LOW/a/gone"
	echo 1 >"$LOW/a/keep/f"
	echo 2 >"$LOW/a/gone/g"
	overlay_mount
	mv "$MNT/a/keep" "$MNT/kept"
	rm -r "$MNT/a"
	overlay_umount
	assert_changes 'D /a/ (2 below)' 'D /a/gone/ (1 below)' 'D /a/gone/g' 'R /a/keep -> /kept/'
}

@test "all names of a lower file are modified when one is" {
	mkdir "$LOW/d"
	echo 1 >"$LOW/a"
	ln "$LOW/a" "$LOW/d/b"
	overlay_mount
	echo 2 >"$MNT/d/b"
	local both=$'M /a (content)\nM /d/b (content)'
	assert_equal "$(diff_of "$MNT")" "$both"
	overlay_umount
	assert_changes 'M /a (content)' 'M /d/b (content)'
}

@test "owner, attributes and lists are compared, times when asked for" {
	need root
	echo 1 >"$LOW/o"
	echo 1 >"$LOW/x"
	echo 1 >"$LOW/a"
	echo 1 >"$LOW/t"
	overlay_mount
	chown 1:2 "$MNT/o"
	setfattr -n user.k -v v "$MNT/x"
	setfacl -m u:3:r "$MNT/a"
	touch -d @1000 "$MNT/t"
	overlay_umount
	assert_changes 'M /a (xattr)' 'M /o (owner)' 'M /x (xattr)'
	assert_equal "$(changes --times)" \
		$'M /a (xattr)\nM /o (owner)\nM /t (time)\nM /x (xattr)'
}

@test "content is compared to the end: same size and times prove nothing" {
	dd if=/dev/zero of="$LOW/f" bs=1M count=3 status=none
	touch -d @1000 "$LOW/f"
	truncate -s 1G "$LOW/sparse"
	overlay_mount
	printf x | dd of="$MNT/f" bs=1 seek=3145727 conv=notrunc status=none
	touch -d @1000 "$MNT/f"
	chmod 600 "$MNT/sparse"
	overlay_umount
	assert_changes 'M /f (content)' 'M /sparse (mode)'
}

@test "names with newlines, quotes and bytes that are no UTF-8 survive" {
	overlay_mount
	: >"$MNT/"$'new\nline'
	: >"$MNT/"$'\xff\xfe'
	: >"$MNT/a\"b\\c"
	: >"$MNT/späße"
	overlay_umount
	assert_changes 'A "/a\"b\\c"' 'A "/new\nline"' 'A /späße' 'A "/\377\376"'
	changes -0 >"$T/run/nul"
	printf '%s\0' '/a"b\c' $'/new\nline' /späße $'/\xff\xfe' | cmp - "$T/run/nul"
	changes --json >"$T/run/json"
	"$PYTHON" - "$T/run/json" <<-'EOF'
		import base64, json, sys
		names = []
		for line in open(sys.argv[1], encoding='utf-8'):
		    c = json.loads(line)
		    assert c['change'] == 'added' and c['new']['type'] == 'file', c
		    names.append(base64.b64decode(c['path_base64']) if 'path_base64' in c
		                 else c['path'].encode())
		want = [b'/a"b\\c', b'/new\nline', '/späße'.encode(), b'/\xff\xfe']
		assert names == want, names
	EOF
}

@test "--json says what changed, from where, and what was before" {
	mkdir "$LOW/d" "$LOW/gone"
	echo 1 >"$LOW/f"
	: >"$LOW/gone/x"
	chmod 640 "$LOW/f"
	overlay_mount
	chmod 600 "$MNT/f"
	mv "$MNT/d" "$MNT/e"
	rm -r "$MNT/gone"
	overlay_umount
	changes --json >"$T/run/json"
	"$PYTHON" - "$T/run/json" <<-'EOF'
		import json, sys
		c = {x['path']: x for x in map(json.loads, open(sys.argv[1]))}
		assert c['/e']['change'] == 'renamed' and c['/e']['from'] == '/d', c
		assert c['/f']['what'] == ['mode'], c
		assert (c['/f']['old']['mode'], c['/f']['new']['mode']) == ('0640', '0600'), c
		assert c['/gone']['below'] == 1 and 'new' not in c['/gone'], c
	EOF
}

@test "--stat ends with the sums" {
	printf 12345 >"$LOW/f"
	: >"$LOW/gone"
	overlay_mount
	printf 123 >"$MNT/f"
	printf 1234567 >"$MNT/new"
	rm "$MNT/gone"
	overlay_umount
	run changes --stat
	assert_success
	assert_line '             3             -2  /f'
	assert_line '1 added, 1 modified, 0 renamed, 0 of another type, 1 deleted; +5 bytes'
}

@test "a reader of --patch that goes away ends it without a word" {
	seq 100000 >"$UP/long"
	run --separate-stderr env --default-signal=PIPE bash -c \
		'"$0" diff --patch -l "$1" -u "$2" | head -n 1; echo "${PIPESTATUS[0]}"' "$OVERLAYFS" "$LOW" "$UP"
	assert_output "diff --git a/long b/long
141"
	assert_equal "$stderr" ''
}

@test "--patch makes the lower what the merged tree is" {
	mkdir -p "$LOW/d"
	printf 'a\nb\nc\n' >"$LOW/f"
	printf 'gone\n' >"$LOW/d/gone"
	ln -s one "$LOW/link"
	ln -s x "$LOW/to-file"
	printf 'plain' >"$LOW/mv"
	cp -a "$LOW" "$T/copy"
	overlay_mount
	printf 'a\nB\nc\n' >"$MNT/f"
	chmod 755 "$MNT/f"
	rm "$MNT/d/gone"
	ln -sfn two "$MNT/link"
	rm "$MNT/to-file" && echo file >"$MNT/to-file"
	mkdir "$MNT/new" && printf 'no newline' >"$MNT/new/n"
	mv "$MNT/mv" "$MNT/moved"
	: >"$MNT/empty"
	diff_of --patch "$MNT" >"$T/run/patch"
	(cd "$T/copy" && git apply --whitespace=nowarn "$T/run/patch") || cat "$T/run/patch"
	rmdir "$T/copy/d" 2>/dev/null || :
	rmdir "$MNT/d"
	assert_same_tree "$MNT" "$T/copy"
}

@test "filters leave changes out: globs, a file in gitignore's syntax" {
	mkdir -p "$LOW/d"
	overlay_mount
	mkdir -p "$MNT/a/b/c" "$MNT/d/b"
	touch "$MNT/a/b/c/x.o" "$MNT/a/b/c/x.c" "$MNT/top.o" "$MNT/keep.o" "$MNT/d/b/y" "$MNT/a/z"
	overlay_umount
	assert_equal "$(changes --names --exclude '*.o')" \
		$'/a\n/a/b\n/a/b/c\n/a/b/c/x.c\n/a/z\n/d/b\n/d/b/y'
	assert_equal "$(changes --names --exclude /a)" $'/d/b\n/d/b/y\n/keep.o\n/top.o'
	assert_equal "$(changes --names --exclude b/)" $'/a\n/a/z\n/keep.o\n/top.o'
	assert_equal "$(changes --names --exclude 'a/**/x.*' --exclude '/d/b')" \
		$'/a\n/a/b\n/a/b/c\n/a/z\n/keep.o\n/top.o'
	assert_equal "$(changes --names --include '*.o' --exclude top.o)" $'/a/b/c/x.o\n/keep.o'
	printf '%s\n' '# a comment' '*.o' '!keep.o' '' '/a/b/' '!/a/b/c' '\#x' >"$T/run/ignore"
	assert_equal "$(changes --names --filter-file "$T/run/ignore")" $'/a\n/a/z\n/d/b\n/d/b/y\n/keep.o'
}

@test "a stack of lowers is compared as one tree" {
	echo low >"$LOW/a"
	echo low2 >"$LOW2/a"
	echo low2 >"$LOW2/b"
	make_whiteout "$LOW" hidden wh
	echo x >"$LOW2/hidden"
	LOWERS=("$LOW" "$LOW2")
	overlay_mount
	echo low2 >"$MNT/a"
	rm "$MNT/b"
	echo new >"$MNT/hidden"
	overlay_umount
	assert_equal "$("$OVERLAYFS" diff -l "$LOW" -l "$LOW2" -u "$UP")" \
		$'M /a (content)\nD /b\nA /hidden'
}

@test "nothing is written by diff, and a mounted upper may be shown" {
	echo x >"$LOW/f"
	tree_for_user
	overlay_mount
	as_user touch "$MNT/g"
	"$PYTHON" "$LIB/tree.py" show "$UP" +mtime >"$T/run/before"
	assert_equal "$(as_user "$OVERLAYFS" diff "$MNT")" 'A /g'
	assert_equal "$(as_user "$OVERLAYFS" diff -l "$LOW" -u "$UP")" 'A /g'
	"$PYTHON" "$LIB/tree.py" show "$UP" +mtime | diff "$T/run/before" -
}

@test "a session is found by its name and by its directory" {
	export XDG_STATE_HOME=$T/state
	local dir=$XDG_STATE_HOME/overlayfs/t1
	mkdir -p "$dir/upper"
	printf 'format 1\nlower %s\ncreated 1\nmounts whole\n' "$LOW" >"$dir/session"
	: >"$dir/upper/new"
	assert_equal "$(diff_of t1)" 'A /new'
	assert_equal "$(diff_of "$dir")" 'A /new'
	assert_equal "$(diff_of -l t1 -u "$UP")" ''
	: >"$UP/mine"
	assert_equal "$(diff_of -l t1 -u "$UP")" 'A /mine'
}

@test "wrong targets and options are one line, and status 1" {
	local args
	mkdir "$T/plain"
	for args in nosuch "$T/plain" "$T/nosuch" "-u $UP" "-l $LOW" '--wrong x' "-l $T/nosuch -u $UP" \
		"-l $LOW -u $UP $T/plain" "-l $UP -u $UP" "-l $LOW -u $UP --exclude /" "a b" \
		"-l $LOW -u $UP --filter-file $T/nosuch"; do
		# shellcheck disable=SC2086
		run diff_of $args
		assert_equal "$args: $status" "$args: 1"
		assert_equal "${#lines[@]}" 1
	done
	mkdir -p "$T/bad"
	printf 'format 2\n' >"$T/bad/session"
	run diff_of "$T/bad"
	assert_failure 1
	assert_output "overlayfs: session $T/bad: the file session is damaged"
}

@test "100,000 changes are shown in bounded time" {
	mkdir "$UP/d"
	"$PYTHON" - "$LOW" "$UP" <<-'EOF'
		import os, sys
		low, up = sys.argv[1:]
		for i in range(100):
		    os.makedirs('%s/%d' % (low, i))
		    os.makedirs('%s/%d' % (up, i))
		    for j in range(1000):
		        name = '/%d/%d' % (i, j)
		        with open(up + name, 'w') as f:
		            f.write('new' if j % 2 else 'x')
		        if j % 2 == 0:
		            with open(low + name, 'w') as f:
		                f.write('old')
	EOF
	timeout 60 "$OVERLAYFS" diff --names -l "$LOW" -u "$UP" >"$T/run/out"
	assert_equal "$(grep -c . "$T/run/out")" 100001
}
