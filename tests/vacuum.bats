# `overlayfs vacuum`: what makes no difference goes from the upper, and the merged tree stays.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

vacuum() { "${DAEMON_AS[@]}" "$OVERLAYFS" vacuum "$@" -l "$LOW" -u "$UP"; }

# What a user sees, with inode numbers when $1 is "ino".
seen() {
	overlay_mount
	"${DAEMON_AS[@]}" "$PYTHON" "$LIB/tree.py" show "$MNT" +mtime +nlink
	[[ ${1:-} != ino ]] || "${DAEMON_AS[@]}" find "$MNT" -printf '%P %i\n' | sort
	overlay_umount
} 3>&-

# assert_vacuumed [LINE...]: these entries are removed, and nothing else is seen afterwards.
assert_vacuumed() {
	local what=${INO-ino}
	seen "$what" >"$T/run/before"
	run vacuum --dry-run
	assert_success
	run vacuum
	assert_output "$(printf '%s\n' "$@")"
	assert_success
	seen "$what" | diff "$T/run/before" - || fail 'the merged tree is another one'
	run vacuum
	assert_output ''
	assert_success
}

make_lower() {
	mkdir -p "$LOW/d/sub" "$LOW/e" "$LOW/gone"
	for f in a b d/c d/sub/f e/g gone/x; do echo "$f" >"$LOW/$f"; done
	ln -s a "$LOW/link"
	setfattr -n user.k -v v "$LOW/d/c"
	touch -d @1000 "$LOW/a" "$LOW/d/c"
	cp -a "$LOW" "$T/kept"
}

@test "an upper in which all is needed stays as it is" {
	make_lower
	overlay_mount
	echo more >>"$MNT/a"
	rm "$MNT/b" && rm -r "$MNT/gone"
	chmod 700 "$MNT/d/sub"
	mv "$MNT/e" "$MNT/moved"
	touch "$MNT/d/c"
	overlay_umount
	assert_vacuumed
	assert_upper .wh.b .wh.e .wh.gone a d d/c d/sub moved
}

same_again() {
	make_lower
	overlay_mount -o "whiteout=$1"
	local m
	echo other >"$MNT/a" && cp -p "$T/kept/a" "$MNT/a"
	chmod 600 "$MNT/d/c" && chmod 644 "$MNT/d/c"
	setfattr -n user.k2 -v v "$MNT/d/sub/f" && setfattr -x user.k2 "$MNT/d/sub/f"
	m=$(stat -c %y "$LOW")
	rm "$MNT/b" && cp -p "$T/kept/b" "$MNT/b" && touch -d "$m" "$MNT"
	m=$(stat -c %y "$LOW/e")
	: >"$MNT/e/new" && rm "$MNT/e/new" && touch -d "$m" "$MNT/e"
	rm "$MNT/gone/x"
	overlay_umount
	INO='' assert_vacuumed /a /b /d /e
	assert_whiteout gone x "$1"
	assert_equal "$(upper_names | wc -w)" 2
}
@test "files and directories that are the same again go, in every form of whiteouts" {
	for_formats same_again
}

@test "a difference in anything keeps a file" {
	for f in content mode owner mtime xattr size type target; do echo same >"$LOW/$f"; done
	ln -sfn a "$LOW/target"
	cp -a "$LOW/." "$UP/"
	echo sAme >"$UP/content" && touch -r "$LOW/content" "$UP/content"
	chmod 600 "$UP/mode"
	if ((EUID == 0)); then chown 5 "$UP/owner"; else chmod 600 "$UP/owner"; fi
	touch -d @5 "$UP/mtime"
	setfattr -n user.k -v v "$UP/xattr"
	truncate -s 6 "$UP/size" && touch -r "$LOW/size" "$UP/size"
	rm "$UP/type" && mkdir "$UP/type"
	ln -sfn b "$UP/target" && touch -h -r "$LOW/target" "$UP/target"
	cp -p "$LOW/content" "$UP/equal" && cp -p "$LOW/content" "$LOW/equal"
	INO='' assert_vacuumed /equal
	assert_upper content mode mtime owner size target type xattr
}

whiteouts() {
	make_lower
	make_whiteout "$UP" nothing "$1"
	make_whiteout "$UP" b "$1"
	make_whiteout "$UP/new" $'bad\nname' "$1"
	make_whiteout "$UP/d" nothing "$1"
	echo x >"$UP/new/file"
	make_opaque "$UP/e" trusted.overlay.opaque
	make_whiteout "$UP/e" g "$1"
	echo new >"$UP/e/new"
	touch -r "$LOW/d" "$UP/d"
	assert_vacuumed /d '"/new/bad\nname" (whiteout)' '/nothing (whiteout)' '/e/g (whiteout)'
	assert_whiteout . b "$1"
	assert_file_exist "$UP/e/new"
	assert_file_exist "$UP/new/file"
}
@test "whiteouts that hide nothing go, also in opaque directories" {
	need root
	for_formats whiteouts
}

@test "an opaque directory that is the same again goes as a whole" {
	make_lower
	overlay_mount
	rm -r "$MNT/d" && cp -a "$T/kept/d" "$MNT/d"
	touch -r "$LOW" "$MNT"
	overlay_umount
	assert_file_exist "$UP/d/.wh..wh..opq"
	INO='' assert_vacuumed /d
	assert_upper
}

@test "names of one file go together, and the others follow the lower again" {
	echo 1 >"$LOW/a" && ln "$LOW/a" "$LOW/b" && ln "$LOW/a" "$LOW/c"
	touch -d @1000 "$LOW/a"
	overlay_mount
	echo 2 >"$MNT/a"
	chmod 600 "$MNT/b"
	overlay_umount
	assert_vacuumed
	overlay_mount
	echo 1 >"$MNT/c" && chmod 644 "$MNT/a" && touch -d @1000 "$MNT/b"
	overlay_umount
	assert_vacuumed /a /c
	assert_equal "$(find "$UP" -mindepth 1)" ''
	overlay_mount
	assert_equal "$(stat -c %h "$MNT/a" "$MNT/b" "$MNT/c" | xargs)" '3 3 3'
	assert_equal "$(stat -c %i "$MNT/a" "$MNT/b" "$MNT/c" | sort -u | wc -l)" 1
}

@test "names that the upper has joined stay, though each has the content of its lower one" {
	echo same >"$LOW/a" && cp -p "$LOW/a" "$LOW/b"
	cp -p "$LOW/a" "$UP/a" && ln "$UP/a" "$UP/b"
	assert_vacuumed
	overlay_mount
	assert_equal "$(stat -c %i "$MNT/a")" "$(stat -c %i "$MNT/b")"
	assert_equal "$(stat -c %h "$MNT/a")" 2
}

@test "what was renamed stays, and keeps its number" {
	make_lower
	overlay_mount
	mv "$MNT/d" "$MNT/moved"
	echo x >"$MNT/moved/sub/f" && touch -r "$LOW/d/sub/f" "$MNT/moved/sub/f"
	mv "$MNT/a" "$MNT/e/a"
	chmod 600 "$MNT/moved/c" && chmod 644 "$MNT/moved/c"
	overlay_umount
	assert_vacuumed /moved/c
	assert_upper .wh.a .wh.d e e/a moved moved/sub moved/sub/f
}

@test "an ordinary user vacuums what is his" {
	make_lower
	chmod 555 "$LOW/d/sub"
	tree_for_user
	overlay_mount
	as_user chmod 600 "$MNT/d/sub/f" && as_user chmod 644 "$MNT/d/sub/f"
	as_user chmod 600 "$MNT/e/g"
	overlay_umount
	assert_vacuumed /d
	assert_upper e e/g
}

# Counts of links, and times of directories, may be those of the moment.
rough() { sed '/ dir /s/ mtime=[0-9]*//; s/ nlink=[0-9]*//'; }

@test "killed at any call, the merged tree stays" {
	need command strace
	local call n status kills=0 before
	make_lower
	ln "$LOW/a" "$LOW/e/a2"
	overlay_mount
	chmod 600 "$MNT/a" && chmod 644 "$MNT/a"
	chmod 600 "$MNT/d/sub/f" && chmod 644 "$MNT/d/sub/f"
	rm -r "$MNT/gone" && cp -a "$T/kept/gone" "$MNT/gone" && touch -r "$LOW" "$MNT"
	rm "$MNT/b"
	overlay_umount
	: >"$UP/.wh.nothing" && touch -r "$LOW" "$UP"
	before=$(seen | rough)
	cp -a "$UP" "$T/up.kept"
	for call in mkdirat renameat renameat2 unlinkat rmdir lsetxattr removexattr utimensat; do
		for ((n = 1; ; n++)); do
			status=0
			strace -f -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=KILL:when=$n" \
				"$OVERLAYFS" vacuum -l "$LOW" -u "$UP" >/dev/null 2>&1 || status=$?
			[[ $status == 137 ]] || break
			kills=$((kills + 1))
			assert_equal "$call $n: $(seen | rough)" "$call $n: $before"
			vacuum >/dev/null || fail "$call $n, again"
			assert_equal "$call $n, again: $(seen | rough)" "$call $n, again: $before"
			rm -rf "$UP" && cp -a "$T/up.kept" "$UP"
		done
		rm -rf "$UP" && cp -a "$T/up.kept" "$UP"
	done
	((kills >= 10)) || fail "only $kills calls were tried"
}

@test "an upper that is in use, or has an interrupted commit, is refused" {
	make_lower
	overlay_mount
	: >"$MNT/a"
	run vacuum
	assert_failure 1
	assert_output "overlayfs: $UP: in use by process $DAEMON"
	run "$OVERLAYFS" vacuum "$MNT"
	assert_failure 1
	assert_output "overlayfs: $MNT: in use by process $DAEMON"
	overlay_umount
	mkdir -p "$UP/.wh..wh.work" && : >"$UP/.wh..wh.work/commit"
	run vacuum
	assert_failure 1
	assert_output --partial 'a commit was interrupted; finish it with'
	assert_file_exist "$UP/a"
}

@test "a bad command line is refused with one line" {
	local args
	for args in '' 'x y' '--nonsense x' 'no-such-session' '/missing/place' "-u $UP" "$LOW" \
		"-l $LOW -u $T/missing" "-l $UP -u $UP"; do
		# shellcheck disable=SC2086
		run "$OVERLAYFS" vacuum $args
		assert_failure 1
		assert_equal "$args: ${#lines[@]}" "$args: 1"
	done
}
