# `overlayfs check`: finds what is wrong in an upper, repairs it and converts its markers, and the
# merged tree is never another one.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

check() { "$OVERLAYFS" check "$@" -l "$LOW" -u "$UP"; }

# The merged tree, without giving anything the opportunity to clean up.
merged() {
	"$OVERLAYFS" "$UP:$LOW" "$MNT" >/dev/null 2>&1 3>&- 4>&- || fail 'cannot mount'
	"$PYTHON" "$LIB/tree.py" show "$MNT" "$@"
	"$OVERLAYFS" umount "$MNT"
}

# assert_found LINE...: found by check, found and corrected by --repair, then gone; the
# merged tree and the lower stay.
assert_found() {
	local before
	lowers_remember
	before=$(merged +mtime)
	run check
	assert_output "$(printf '%s\n' "$@")"
	assert_failure 4
	run check --repair
	assert_output "$(printf '%s\n' "$@")"
	assert_failure 1
	run check
	assert_output ''
	assert_success
	assert_equal "$(merged +mtime)" "$before"
}

# --- clean uppers --------------------------------------------------------------------------

make_lower() {
	mkdir -p "$LOW/d/sub" "$LOW/gone" "$LOW/again" "$LOW/mv/deep" "$LOW/to-file"
	for f in a b d/c d/e d/sub/f gone/x again/same again/gone mv/deep/m to-dir; do
		echo "$f" >"$LOW/$f"
	done
	echo x >"$LOW/to-file/x"
	echo nl >"$LOW/"$'new\nline'
	echo h >"$LOW/hard" && ln "$LOW/hard" "$LOW/hard2" && ln "$LOW/hard" "$LOW/hard3"
}

change() {
	echo more >>"$MNT/a"
	rm "$MNT/b" "$MNT/d/c" "$MNT/"$'new\nline'
	rm -r "$MNT/gone" "$MNT/again" && mkdir "$MNT/again" && echo same >"$MNT/again/same"
	mv "$MNT/mv" "$MNT/moved"
	rm "$MNT/moved/deep/m"
	rm -r "$MNT/to-file" && echo file >"$MNT/to-file"
	rm "$MNT/to-dir" && mkdir "$MNT/to-dir" && echo in >"$MNT/to-dir/in"
	rm "$MNT/hard3" && echo changed >"$MNT/hard"
	mkdir "$MNT/new" && echo n >"$MNT/new/n" && ln "$MNT/new/n" "$MNT/name2"
}

# A changed upper, written with the form $1.
make_upper() {
	make_lower
	overlay_mount -o "whiteout=$1" "${@:2}"
	change
	overlay_umount
}

clean() {
	local form=$1
	make_upper "$form" "${@:2}"
	for opt in '' "--format=$form" "--convert=$form" "--repair"; do
		# shellcheck disable=SC2086
		run check $opt
		assert_output ''
		assert_success
	done
}
@test "an upper that the program has written is clean, in every form" {
	for_formats clean
}

without_redirects() { clean "$1" -o redirect_dir=off; }
@test "the same without redirects" {
	for_formats without_redirects
}

# --- findings ------------------------------------------------------------------------------

orphans() {
	make_lower
	mkdir -p "$UP/new/in"
	make_whiteout "$UP" nothing "$1"
	make_whiteout "$UP" $'bad\nname' "$1"
	make_whiteout "$UP" b "$1"
	make_whiteout "$UP/d" .dot "$1"
	make_whiteout "$UP/d/sub" nothing "$1"
	make_whiteout "$UP/d/sub" f "$1"
	make_whiteout "$UP/new/in" x "$1"
	assert_found '"/bad\nname": whiteout that hides nothing' \
		'/d/.dot: whiteout that hides nothing' \
		'/d/sub/nothing: whiteout that hides nothing' \
		'/new/in/x: whiteout that hides nothing' \
		'/nothing: whiteout that hides nothing'
	assert_whiteout . b "$1"
	assert_whiteout d/sub f "$1"
}
@test "whiteouts that hide nothing" {
	for_formats orphans
}

in_opaque() {
	local opaque=trusted.overlay.opaque
	make_lower
	[[ $1 != wh ]] || opaque=wh
	mkdir -p "$UP/d/deep"
	echo new >"$UP/d/new"
	make_whiteout "$UP/d" c "$1"
	make_opaque "$UP/d" "$opaque"
	make_whiteout "$UP/d/deep" x "$1"
	assert_found '/d/c: whiteout in an opaque directory' \
		'/d/deep/x: whiteout that hides nothing'
	assert_equal "$(merged | grep -c "^'d/")" 2
}
@test "whiteouts in opaque directories" {
	need root
	for_formats in_opaque
}

@test "whiteouts beside what has replaced them" {
	make_lower
	mkdir "$UP/again" "$UP/gone" "$UP/d"
	echo new >"$UP/b" && : >"$UP/.wh.b"
	: >"$UP/.wh.again" && make_opaque "$UP/again" user.overlay.opaque
	# These two are needed.
	: >"$UP/.wh.gone" && : >"$UP/gone/new"
	: >"$UP/d/.wh.c"
	assert_found '/again: whiteout beside what has replaced it' \
		'/b: whiteout beside what has replaced it'
	assert_file_exist "$UP/.wh.gone"
	assert_file_exist "$UP/d/.wh.c"
}

@test "redirects that lead nowhere" {
	make_lower
	mkdir "$UP/abs" "$UP/rel" "$UP/file" "$UP/d" "$UP/good" "$UP/way"
	setfattr -n user.overlay.redirect -v /no/where "$UP/abs"
	setfattr -n user.overlay.redirect -v nowhere "$UP/rel"
	setfattr -n user.overlay.redirect -v /b "$UP/file"
	setfattr -n user.overlay.redirect -v /nowhere "$UP/d"
	setfattr -n user.overlay.redirect -v ../../etc "$UP/way"
	setfattr -n user.overlay.redirect -v /mv "$UP/good" && : >"$UP/.wh.mv"
	echo new >"$UP/d/new"
	assert_found '/abs: redirect to /no/where, which is not there' \
		'/d: redirect to /nowhere, which is not there' \
		'/file: redirect to /b, which is not there' \
		'/rel: redirect to nowhere, which is not there' \
		'/way: redirect to ../../etc, which is not there'
	# What the lower has under the name of /d does not come back.
	assert_equal "$(merged | grep -c "^'d/")" 1
	assert_equal "$(getfattr --absolute-names -n user.overlay.redirect --only-values "$UP/good")" /mv
}

@test "entries that a crash left in the work directory" {
	make_lower
	mkdir -p "$UP/.wh..wh.work/#2/sub" && echo half >"$UP/.wh..wh.work/#1"
	: >"$UP/.wh..wh.work/commit.new"
	assert_found '/.wh..wh.work/#1: left over in the work directory' \
		'/.wh..wh.work/#2: left over in the work directory' \
		'/.wh..wh.work/commit.new: left over in the work directory'
	assert_not_exist "$UP/.wh..wh.work"
}

@test "a work directory that lies elsewhere is looked at, too" {
	make_lower
	mkdir -p "$WORK/#1"
	run check -w "$WORK"
	assert_failure 4
	assert_output "$WORK/#1: left over in the work directory"
	run check --repair -w "$WORK"
	assert_failure 1
	assert_equal "$(find "$WORK" -mindepth 1)" ''
}

@test "copies of hard-linked files that no name leads to" {
	echo 1 >"$LOW/a" && ln "$LOW/a" "$LOW/b" && ln "$LOW/a" "$LOW/c"
	echo 2 >"$LOW/x" && ln "$LOW/x" "$LOW/y"
	overlay_mount
	echo more >>"$MNT/a"
	echo more >>"$MNT/x"
	overlay_umount
	run check
	assert_output ''
	assert_success
	# Behind our back; c goes on being a name of the changed file, y goes too.
	rm "$UP/a" "$UP/x"
	: >"$UP/.wh.a"
	: >"$UP/.wh.x"
	: >"$UP/.wh.y"
	run check
	assert_failure 4
	assert_output --regexp '^/\.wh\.\.wh\.work/index/[0-9a-f]{16}: names of a file that has none$'
	run check --repair
	assert_failure 1
	run check
	assert_success
	assert_output ''
	assert_equal "$(find "$UP/.wh..wh.work/index" -name '*.links' | wc -l)" 1
	overlay_mount
	assert_content "$MNT/c" $'1\nmore'
	assert_names "$MNT" b c
}

@test "copies that nothing can lead to are named, though opening the upper removes them" {
	mkdir -p "$UP/.wh..wh.work/index"
	: >"$UP/new"
	echo x >"$UP/.wh..wh.work/index/0123456789abcdef"
	ln -s 0 "$UP/.wh..wh.work/index/0123456789abcdef.links"
	run check --repair
	assert_failure 1
	assert_output '/.wh..wh.work/index/0123456789abcdef: names of a file that has none'
	run check
	assert_success
	assert_equal "$(find "$UP" -mindepth 1)" "$UP/new"
}

@test "a volatile mount that did not end is an error that is left" {
	make_lower
	mkdir -p "$UP/.wh..wh.work" && : >"$UP/.wh..wh.work/volatile"
	for opt in --repair --convert=wh --format=wh; do
		run check $opt
		assert_failure 4
		assert_output '/.wh..wh.work/volatile: a volatile mount did not end cleanly; check the files and remove this one'
	done
}

# --- interrupted commits -------------------------------------------------------------------

# interrupted CALL N: 0 when the commit was killed at that call.
interrupted() {
	local status=0
	strace -f -qq -o /dev/null -e "trace=$1" -e "inject=$1:signal=KILL:when=$2" \
		"$OVERLAYFS" commit --atomic --force -l "$LOW" -u "$UP" 2>/dev/null || status=$?
	((status == 137))
}

@test "an interrupted commit is finished or undone" {
	need command strace
	local n undone=0 finished=0 before
	make_upper wh
	lower_may_change "$LOW"
	cp -a "$LOW" "$T/low.kept" && cp -a "$UP" "$T/up.kept"
	before=$(merged)
	for n in renameat:{1..3} renameat2:{1..21..4} unlinkat:{1..13..4}; do
		interrupted "${n%:*}" "${n#*:}" || break
		if [[ -e $UP/.wh..wh.work/commit ]]; then
			run check
			assert_failure 4
			assert_output '/.wh..wh.work/commit: a commit was interrupted'
			run --separate-stderr check --convert wh
			assert_failure 4
			run check --repair
			assert_failure 1
			assert_line --regexp '^/.wh..wh.work/commit: a commit was interrupted: (finished|undone)$'
			if [[ $output == *undone* ]]; then undone=1; else finished=1; fi
		fi
		run check --repair
		[[ $status -le 1 ]] || fail "after call $n: $status $output"
		assert_equal "$(merged)" "$before"
		assert_not_exist "$UP/.wh..wh.work/commit"
		rm -rf "$LOW" "$UP" && cp -a "$T/low.kept" "$LOW" && cp -a "$T/up.kept" "$UP"
	done
	assert_equal "$undone $finished" '1 1'
}

@test "a commit to a lower that is not there, and a damaged journal, are left" {
	need command strace
	make_upper wh
	lower_may_change "$LOW"
	interrupted renameat2 3
	mkdir "$T/other"
	run --separate-stderr "$OVERLAYFS" check --repair -l "$T/other" -u "$UP"
	assert_failure 4
	assert_output '/.wh..wh.work/commit: a commit was interrupted'
	[[ $stderr == *"the commit went to $LOW, which is not among the lowers"* ]] || fail "$stderr"
	echo garbage >"$UP/.wh..wh.work/commit"
	run --separate-stderr check --repair
	assert_failure 4
	[[ $stderr == *'the journal is damaged'* ]] || fail "$stderr"
	assert_file_exist "$UP/.wh..wh.work/commit"
	# One that would lead out of the lower.
	printf 'overlayfs-commit 1\nstate prepare\nlower %d %d %s\nput 0 0 0 /../evil\nend\n' \
		"$(stat -c %d "$LOW")" "$(stat -c %i "$LOW")" "$LOW" >"$UP/.wh..wh.work/commit"
	run --separate-stderr check --repair
	assert_failure 4
	assert_output '/.wh..wh.work/commit: a commit was interrupted'
}

# --- forms ---------------------------------------------------------------------------------

FORMS=(wh xattr chardev wh chardev xattr wh)

@test "every form is converted to every other one, and back" {
	need root
	local i before want
	mkdir "$LOW/replaced" && echo x >"$LOW/replaced/x"
	make_upper wh
	make_opaque "$UP/new" user.fuseoverlayfs.opaque
	mkdir "$UP/replaced" && make_opaque "$UP/replaced" trusted.overlay.opaque
	before=$(merged +mtime)
	for ((i = 1; i < ${#FORMS[@]}; i++)); do
		run check --format "${FORMS[i]}"
		assert_failure 4
		want=$output
		assert_line '/d/c: whiteout in another form'
		assert_line '"/new\nline": whiteout in another form'
		run check --convert "${FORMS[i]}"
		assert_failure 1
		assert_output "$want"
		for name in b gone mv d/c d/c moved/deep/m $'new\nline'; do
			assert_whiteout "$(dirname "$name")" "$(basename "$name")" "${FORMS[i]}"
		done
		for opt in "--convert=${FORMS[i]}" "--format=${FORMS[i]}"; do
			run check "$opt"
			assert_output ''
			assert_success
		done
		assert_equal "$(merged +mtime)" "$before"
		[[ ${FORMS[i]} == wh ]] || assert_equal "$(find "$UP" -name '.wh.*' ! -name .wh..wh.work)" ''
	done
	# As it was in the beginning: whatever reads OCI layers finds all of it.
	assert_file_exist "$UP/again/.wh..wh..opq"
	assert_equal "$(getfattr -dm 'trusted|fuseoverlayfs' -R "$UP" 2>/dev/null)" ''
}

@test "--repair with --format converts, too" {
	make_upper xattr
	: >"$UP/.wh.nothing"
	run check --repair --format wh
	assert_failure 1
	assert_line '/nothing: whiteout that hides nothing'
	assert_line '/b: whiteout in another form'
	assert_whiteout . b wh
	run check --format wh
	assert_success
}

@test "a whiteout beside a directory becomes the directory's own mark" {
	make_lower
	for form in chardev xattr; do
		rm -rf "$UP/d" && mkdir "$UP/d"
		: >"$UP/.wh.d" && echo new >"$UP/d/new"
		before=$(merged +mtime)
		run check --convert "$form"
		assert_failure 1
		assert_output '/d: whiteout in another form'
		assert_not_exist "$UP/.wh.d"
		assert_equal "$(merged +mtime)" "$before"
	done
}

@test "an opaque upper directory, all of it, is converted" {
	make_lower
	: >"$UP/.wh..wh..opq" && echo new >"$UP/new"
	before=$(merged +mtime)
	run check --convert xattr
	assert_failure 1
	assert_output '/: mark of a directory in another form'
	assert_equal "$(getfattr --absolute-names -n user.overlay.opaque --only-values "$UP")" y
	assert_not_exist "$UP/.wh..wh..opq"
	assert_equal "$(merged +mtime)" "$before"
}

@test "a name that is too long for .wh. keeps a form of its own name" {
	local long
	long=$(printf 'n%.0s' {1..255})
	echo x >"$LOW/$long"
	echo x >"$LOW/short"
	overlay_mount -o whiteout=xattr
	rm "$MNT/$long" "$MNT/short"
	overlay_umount
	run check --convert wh
	assert_failure 1
	assert_output '/short: whiteout in another form'
	assert_equal "$(merged | wc -l)" 1
	run check --convert chardev
	assert_failure 1
	assert_equal "$(stat -c %F "$UP/$long")" 'character special file'
	run check --convert wh
	assert_output '/short: whiteout in another form'
	assert_equal "$(merged | wc -l)" 1
}

@test "what kernel overlayfs has written is converted" {
	need kernel-overlay
	make_lower
	mkdir "$WORK"
	mount -t overlay overlay -o "lowerdir=$LOW,upperdir=$UP,workdir=$WORK,redirect_dir=on" "$MNT"
	change
	umount "$MNT"
	before=$(merged +mtime)
	run check --convert wh
	assert_failure 1
	assert_equal "$(merged +mtime)" "$before"
	assert_equal "$(find "$UP" -type c)" ''
	run check --convert chardev
	assert_failure 1
	mount -t overlay overlay -o "ro,lowerdir=$UP:$LOW,redirect_dir=on" "$MNT"
	"$PYTHON" "$LIB/tree.py" show "$MNT" -xattr >"$T/run/kernel"
	umount "$MNT"
	diff "$T/run/kernel" <(merged -xattr)
}

@test "an ordinary user repairs and converts what is his, also in read-only directories" {
	make_lower
	tree_for_user
	overlay_mount
	as_user rm "$MNT/d/sub/f" "$MNT/b"
	as_user chmod 555 "$MNT/d/sub"
	overlay_umount
	: >"$UP/d/sub/.wh.nothing"
	lowers_remember
	before=$(merged +mtime)
	run as_user "$OVERLAYFS" check --repair -l "$LOW" -u "$UP"
	assert_failure 1
	assert_output '/d/sub/nothing: whiteout that hides nothing'
	for form in xattr chardev wh; do
		run as_user "$OVERLAYFS" check --convert "$form" -l "$LOW" -u "$UP"
		assert_failure 1
		assert_output $'/b: whiteout in another form\n/d/sub/f: whiteout in another form'
		assert_whiteout d/sub f "$form"
		assert_equal "$(merged +mtime)" "$before"
		assert_equal "$(stat -c %a "$UP/d/sub")" 555
	done
}

# --- crashes -------------------------------------------------------------------------------

# killed CALL N FORM: 0 when it was killed at that call.
killed() {
	local status=0
	strace -f -qq -o /dev/null -e "trace=$1" -e "inject=$1:signal=KILL:when=$2" \
		"$OVERLAYFS" check --convert "$3" -l "$LOW" -u "$UP" >/dev/null 2>&1 || status=$?
	((status == 137))
}

# survive FROM TO: strace counts each call for itself.
survive() {
	local from=$1 to=$2 call n kills=0 before
	need command strace
	mkdir -p "$LOW/d" "$LOW/again" "$LOW/mv" "$LOW/beside"
	for f in b d/c d/e again/x mv/m beside/x; do echo "$f" >"$LOW/$f"; done
	overlay_mount -o "whiteout=$from"
	rm "$MNT/b" "$MNT/d/c" && rm -r "$MNT/again" && mkdir "$MNT/again" && echo n >"$MNT/again/n"
	mv "$MNT/mv" "$MNT/moved"
	overlay_umount
	if [[ $from == wh ]]; then
		mkdir "$UP/beside" && : >"$UP/.wh.beside"
	else
		make_opaque "$UP/again" wh
	fi
	before=$(merged)
	cp -a "$UP" "$T/up.kept"
	for call in mkdirat mknodat renameat renameat2 unlinkat setxattr lsetxattr removexattr \
		lremovexattr utimensat; do
		for ((n = 1; ; n++)); do
			killed "$call" "$n" "$to" || break
			kills=$((kills + 1))
			assert_equal "$call $n: $(merged)" "$call $n: $before"
			run check --convert "$to"
			[[ $status -le 1 ]] || fail "$call $n, again: $status $output"
			assert_equal "$call $n, again: $(merged)" "$call $n, again: $before"
			run check --format "$to"
			assert_success
			rm -rf "$UP" && cp -a "$T/up.kept" "$UP"
		done
		rm -rf "$UP" && cp -a "$T/up.kept" "$UP"
	done
	((kills >= 15)) || fail "only $kills calls were tried"
}

@test "killed at any call of a conversion from wh, the tree stays and the next one goes on" {
	survive wh xattr
}

@test "killed at any call of a conversion from xattr" {
	survive xattr chardev
}

@test "killed at any call of a conversion from chardev" {
	survive chardev wh
}

# --- bad input -----------------------------------------------------------------------------

# refused STATUS MESSAGE ARGUMENT...
refused() {
	local status_wanted=$1 message=$2
	shift 2
	run --separate-stderr "$OVERLAYFS" check "$@"
	assert_equal "$*: $status: $output" "$*: $status_wanted: "
	[[ $stderr == *"$message"* ]] || fail "$*: $stderr"
}

@test "a bad command line has status 16, a target that cannot be opened 8" {
	refused 16 'usage: overlayfs check'
	refused 16 'usage: overlayfs check' a b
	refused 16 'unrecognized option' --nonsense x
	refused 16 'requires an argument' --convert
	refused 16 'the form must be wh, chardev or xattr' --convert tar x
	refused 16 'the form must be wh, chardev or xattr' --format '' x
	refused 16 'exclude each other' --repair --convert wh x
	refused 16 'two different forms' --format xattr --convert wh x
	refused 16 'exclude each other' -u "$UP" -l "$LOW" x
	refused 16 'give a TARGET' -u "$UP"
	refused 8 'no session of that name' no-such-session
	refused 8 'neither a session nor a mount' "$LOW"
	refused 8 'No such file' -l "$LOW" -u "$T/missing"
	refused 8 'No such file' --repair -l "$T/missing" -u "$UP"
	refused 8 'lies in it' -l "$UP" -u "$UP"
	assert_equal "$(find "$UP" -mindepth 1)" ''
}

@test "an upper that is in use is refused, and not touched" {
	make_lower
	overlay_mount
	: >"$MNT/new"
	for opt in '' --repair --convert=xattr; do
		# shellcheck disable=SC2086
		refused 8 "in use by process $DAEMON" $opt "$MNT"
		# shellcheck disable=SC2086
		refused 8 "in use by process $DAEMON" $opt -l "$LOW" -u "$UP"
	done
	assert_content "$MNT/new" ''
}
