# Inode numbers as programs use them: what they recorded once is true after changes elsewhere, after
# copy-up, after a rename of a parent, and after a remount.

load helpers

setup() {
	tree_begin
	LOWERS=("$LOW" "$LOW2")
	mkdir -p "$LOW"/{a/b,c} "$LOW2"/{a/b,c,z} "$UP"/{a,u}
	local i
	for i in {1..40}; do
		echo "lower $i" >"$LOW/a/b/f$i"
		echo "second $i" >"$LOW2/z/g$i"
		echo "upper $i" >"$UP/u/h$i"
		echo "upper over lower $i" | tee "$UP/a/both$i" >"$LOW/a/both$i"
	done
	ln "$LOW/a/b/f1" "$LOW/c/link1"
	ln "$LOW/a/b/f1" "$LOW/link2"
	ln "$LOW2/z/g1" "$LOW2/c/link3"
	ln "$UP/u/h1" "$UP/a/link4"
	ln -s f2 "$LOW/a/b/symlink"
	mkfifo "$LOW/c/fifo"
}
teardown() { tree_end; }

numbers() { (cd "$MNT" && find . -printf '%P %i\n' | sort); }

# Entries of listings have the numbers of stat, and no two files share one.
numbers_are_sound() {
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		files = {}
		for d, _, _ in os.walk(sys.argv[1]):
		    for name, ino, _ in Dir(d):
		        if name not in ('.', '..'):
		            st = os.lstat(d + '/' + name)
		            equal(ino, st.st_ino, d + '/' + name)
		            files.setdefault(ino, []).append((st.st_nlink, d + '/' + name))
		for ino, names in files.items():
		    if len(names) > 1:
		        equal([n for n, _ in names], [len(names)] * len(names), str(names))
	END
}

@test "numbers stay over copy-ups, renames of parents and three mounts, one step after the other" {
	overlay_mount
	numbers >"$T/want"
	step() {
		printf '%s\n' "$*"
		"$@"
		[[ $1 != mv ]] || sed -i "s,^${2#"$MNT/"}\(/\| \),${3#"$MNT/"}\1," "$T/want"
		sort -o "$T/want" "$T/want"
		numbers | diff "$T/want" -
	}
	for round in 1 2 3; do
		step chmod 640 "$MNT/a/b/f$((round + 1))"
		step touch "$MNT/z/g$round" "$MNT/a/both$round" "$MNT/link2"
		step mv "$MNT/a/b/f$((round + 10))" "$MNT/c/moved$round"
		step mv "$MNT/z" "$MNT/z$round"
		step mv "$MNT/z$round" "$MNT/c/z"
		step mv "$MNT/c" "$MNT/C"
		step chmod 700 "$MNT/C/z"
		step sh -c 'echo more >>"$1"' sh "$MNT/C/z/g2$round"
		step mv "$MNT/u/h$round" "$MNT/a/b/from-upper$round"
		step mv "$MNT/C" "$MNT/c"
		step mv "$MNT/c/z" "$MNT/z"
		step mv "$MNT/c/link1" "$MNT/a/link1"
		step mv "$MNT/a/link1" "$MNT/c/link1"
		numbers_are_sound
		overlay_remount
		numbers | diff "$T/want" -
	done
}

@test "tar keeps hard links, and an incremental one archives nothing that has not changed" {
	overlay_mount
	# The device number is another one on each mount.
	tar() { command tar --no-check-device "$@"; }
	tar -C "$MNT" -cf "$T/full.tar" -g "$T/snar" .
	mkdir "$T/out"
	tar -C "$T/out" -xf "$T/full.tar"
	for names in 'a/b/f1 c/link1' 'a/b/f1 link2' 'z/g1 c/link3' 'u/h1 a/link4'; do
		read -r one two <<<"$names"
		assert [ "$T/out/$one" -ef "$T/out/$two" ]
	done
	assert_same_tree "$T/out" "$MNT"
	overlay_remount
	tar -C "$MNT" -cvf "$T/second.tar" -g "$T/snar" . >"$T/second"
	assert_equal "$(grep -v '/$' "$T/second" | xargs)" ''
	# On one mount it knows a renamed directory by its number.
	tar -C "$MNT" -cf "$T/full.tar" -g "$T/snar2" .
	echo new >"$MNT/z/new"
	mv "$MNT/a/b" "$MNT/a/B"
	chmod 755 "$MNT/a/B"
	tar -C "$MNT" -cvf "$T/third.tar" -g "$T/snar2" . >"$T/third"
	assert_equal "$(grep -v '/$' "$T/third" | xargs)" ./z/new
	rm -r "$T/out"
	mkdir "$T/out"
	tar -C "$T/out" -xf "$T/full.tar" -g /dev/null
	tar -C "$T/out" -xf "$T/third.tar" -g /dev/null
	assert_equal "$(cd "$T/out" && find . | sort)" "$(cd "$MNT" && find . | sort)"
}

@test "rsync -aH copies hard links, and finds nothing to do after copy-ups and a remount" {
	need command rsync
	overlay_mount
	rsync -aH "$MNT/" "$T/copy/"
	for names in 'a/b/f1 c/link1' 'a/b/f1 link2' 'z/g1 c/link3' 'u/h1 a/link4'; do
		read -r one two <<<"$names"
		assert [ "$T/copy/$one" -ef "$T/copy/$two" ]
	done
	chmod 644 "$MNT/a/b/f1" "$MNT/z/g1"
	touch -r "$MNT/a/b/f3" "$MNT/a/b/f3"
	ln "$MNT/a/b/f4" "$MNT/new" && rm "$MNT/new"
	touch -r "$T/copy" "$MNT"
	overlay_remount
	assert_equal "$(rsync -aHi --delete "$MNT/" "$T/copy/")" ''
	# And from another tree into the mount.
	rsync -aH --delete "$T/copy/" "$MNT/target/"
	assert [ "$MNT/target/a/b/f1" -ef "$MNT/target/link2" ]
	overlay_remount
	assert [ "$MNT/target/a/b/f1" -ef "$MNT/target/link2" ]
	assert_equal "$(rsync -aHi --delete "$T/copy/" "$MNT/target/")" ''
}

@test "du counts hard links once, before and after their copy-up" {
	head -c 1000000 /dev/urandom >"$LOW/big"
	ln "$LOW/big" "$LOW/c/big"
	ln "$LOW/big" "$LOW/a/b/big"
	overlay_mount
	size() { du -s --apparent-size -B1 "$MNT" | cut -f1; }
	before=$(size)
	assert [ "$before" -lt 1900000 ]
	assert_equal "$(du -sl --apparent-size -B1 "$MNT" | awk '{ print ($1 > 2900000) }')" 1
	chmod 600 "$MNT/c/big"
	assert [ "$(size)" -lt 1900000 ]
	overlay_remount
	assert [ "$(size)" -lt 1900000 ]
	assert_equal "$(du -c --apparent-size -B1 "$MNT/big" "$MNT/c/big" "$MNT/a/b/big" | tail -1)" $'1000000\ttotal'
}

@test "find -samefile, -inum and -links find all names, over changes and mounts" {
	overlay_mount
	check() {
		assert_equal "$(find "$MNT" -samefile "$MNT/link2" -printf '%P\n' | sort | xargs)" "$1"
		assert_equal "$(find "$MNT" -inum "$number" -printf '%P\n' | sort | xargs)" "$1"
		assert_equal "$(find "$MNT" -type f -links "$(wc -w <<<"$1")" -samefile "$MNT/link2" | wc -l)" "$(wc -w <<<"$1")"
	}
	number=$(stat -c %i "$MNT/link2")
	check 'a/b/f1 c/link1 link2'
	echo x >>"$MNT/c/link1"
	check 'a/b/f1 c/link1 link2'
	ln "$MNT/a/b/f1" "$MNT/z/more"
	check 'a/b/f1 c/link1 link2 z/more'
	overlay_remount
	check 'a/b/f1 c/link1 link2 z/more'
	mv "$MNT/a" "$MNT/A"
	rm "$MNT/c/link1"
	check 'A/b/f1 link2 z/more'
	overlay_remount
	check 'A/b/f1 link2 z/more'
}

@test "cp -a keeps links and times, cp -u and mv know one file by two names" {
	overlay_mount
	cp -a "$MNT/." "$T/copy"
	assert_same_tree "$T/copy" "$MNT" +mtime
	mkdir "$MNT/inside"
	cp -a "$MNT/a" "$MNT/c" "$MNT/link2" "$MNT/inside"
	assert_equal "$(stat -c %h "$MNT/inside/link2")" 3
	overlay_remount
	assert_equal "$(stat -c %h "$MNT/inside/link2")" 3
	run cp "$MNT/inside/link2" "$MNT/inside/a/b/f1"
	assert_output --partial 'are the same file'
	run cp "$MNT/link2" "$MNT/c/link1"
	assert_output --partial 'are the same file'
	run mv "$MNT/link2" "$MNT/c/link1"
	assert_output --partial 'are the same file'
}

# git keeps number, times, size and mode of each file in its index, and reads those again that differ.
repository() {
	mkdir "$LOW/repo"
	(
		cd "$LOW/repo" || exit
		git init -q .
		git config user.name test
		git config user.email test@example.org
		git config core.checkStat default
		git config core.trustctime true
		git config gc.auto 0
		for d in x y/z; do
			mkdir -p "$d"
			for i in {1..30}; do echo "$d $i" >"$d/$i"; done
		done
		git add -A
		git commit -qm first
	)
}

# Nothing is modified, and git finds that out without reading files or writing its index.
git_is_content() {
	local repo=$1 before
	before=$(stat -c '%i %y' "$repo/.git/index")
	assert_equal "$(git -C "$repo" diff-files --name-only)" ''
	assert_equal "$(git -C "$repo" status --porcelain)" ''
	assert_equal "$(stat -c '%i %y' "$repo/.git/index")" "$before"
}

@test "git sees nothing modified after a remount, after copy-ups and renames of a parent" {
	need command git
	export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
	repository
	overlay_mount
	refresh() {
		# Files as old as the index are read again.
		find "$1" -path '*/.git' -prune -o -type f -exec touch -d '2020-01-01' {} +
		git -C "$1" update-index -q --really-refresh
		git -C "$1" status >/dev/null # which completes the index
	}
	refresh "$MNT/repo"
	git_is_content "$MNT/repo"
	overlay_remount
	git_is_content "$MNT/repo"
	# A commit on the mount, the one before, and the first again.
	echo change >>"$MNT/repo/x/1"
	git -C "$MNT/repo" mv y Y
	git -C "$MNT/repo" commit -qam second
	refresh "$MNT/repo"
	overlay_remount
	git_is_content "$MNT/repo"
	git -C "$MNT/repo" checkout -q HEAD^
	refresh "$MNT/repo"
	overlay_remount
	git_is_content "$MNT/repo"
	# The whole working tree is moved: its files keep their numbers.
	mkdir "$MNT/place"
	mv "$MNT/repo" "$MNT/place/moved"
	mv "$MNT/place" "$MNT/elsewhere"
	git_is_content "$MNT/elsewhere/moved"
	overlay_remount
	git_is_content "$MNT/elsewhere/moved"
	git -C "$MNT/elsewhere/moved" fsck --strict
	# Copy-up by changing nothing: the number, the size and the time stay, the change time may not.
	git -C "$MNT/elsewhere/moved" config core.trustctime false
	chmod 644 "$MNT/elsewhere/moved/x/"*
	(cd "$MNT/elsewhere/moved/y/z" && for i in *; do touch -r "$i" "$i"; done)
	git_is_content "$MNT/elsewhere/moved"
	overlay_remount
	git_is_content "$MNT/elsewhere/moved"
}
