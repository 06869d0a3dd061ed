# Renames: every kind of source over every kind of target, with and without flags.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

# lib/renames.py makes the layers and the plain tree that they show, does each rename in both
# and compares error and result.
matrix() {
	LOWERS=("$LOW" "$LOW2")
	"$PYTHON" "$LIB/renames.py" make "$UP" "$LOW" "$LOW2" "$T/plain" "$1"
	overlay_mount "${@:2}"
	assert_same_tree "$T/plain" "$MNT" -xattr -owner
	"$PYTHON" "$LIB/renames.py" run "$MNT" "$T/plain"
	assert_same_tree "$T/plain" "$MNT" -xattr -owner
	overlay_remount
	assert_same_tree "$T/plain" "$MNT" -xattr -owner
	assert_equal "$(work_leftovers)" ''
}

@test "every kind of file over every kind of file: the error and the tree are those of a plain directory" {
	matrix 0
}

@test "the same with RENAME_NOREPLACE" {
	matrix NOREPLACE
}

@test "the same with RENAME_EXCHANGE" {
	matrix EXCHANGE
}

@test "the same with whiteouts as devices" {
	matrix 0 -o whiteout=chardev
}

@test "the same with whiteouts as attributes" {
	matrix 0 -o whiteout=xattr
}

@test "the same with redirect_dir=off" {
	matrix 0 -o redirect_dir=off
}

@test "exchanging with redirect_dir=off and whiteouts as devices" {
	matrix EXCHANGE -o redirect_dir=off,whiteout=chardev
}

lower_dir_tree() {
	mkdir -p "$LOW/d/sub/deep" "$LOW/other"
	echo 1 >"$LOW/d/1"
	echo 2 >"$LOW/d/sub/2"
	echo 3 >"$LOW/d/sub/deep/3"
	ln -s 1 "$LOW/d/link"
}
moved_dir_is_whole() {
	assert_equal "$(cd "$1" && find . | sort | xargs)" \
		'. ./1 ./link ./sub ./sub/2 ./sub/deep ./sub/deep/3'
	assert_equal "$(cat "$1/1" "$1/link" "$1/sub/2" "$1/sub/deep/3" | xargs)" '1 1 2 3'
}

@test "a lower directory can be renamed, and its place is free" {
	for options in whiteout=wh whiteout=chardev whiteout=xattr redirect_dir=off; do
		printf '%s\n' "$options"
		lower_dir_tree
		overlay_mount -o "$options"
		assert_equal "$(sysc rename "$MNT/d" "$MNT/e")" ok
		moved_dir_is_whole "$MNT/e"
		assert_gone "$MNT/d"
		overlay_remount
		moved_dir_is_whole "$MNT/e"
		assert_names "$MNT" e other
		mkdir "$MNT/d"
		assert_names "$MNT/d"
		mv -T "$MNT/e" "$MNT/d"
		moved_dir_is_whole "$MNT/d"
		mv "$MNT/d" "$MNT/other/x"
		overlay_remount
		moved_dir_is_whole "$MNT/other/x"
		mv "$MNT/other/x/sub" "$MNT/sub"
		mv "$MNT/other" "$MNT/another"
		mv "$MNT/sub" "$MNT/another/x/sub"
		overlay_remount
		moved_dir_is_whole "$MNT/another/x"
		assert_names "$MNT" another
		rm -r "$MNT/another"
		overlay_remount
		assert_names "$MNT"
		overlay_umount
		tree_end
		tree_begin
	done
}

@test "renaming a lower directory copies no file: it costs the same for 5 and for 5,000" {
	mkdir -p "$LOW/big"
	py "$LOW/big" <<-'END'
		import os, sys
		for i in range(100):
		    os.makedirs('%s/%d' % (sys.argv[1], i))
		    for j in range(50):
		        os.mknod('%s/%d/%d' % (sys.argv[1], i, j))
	END
	overlay_mount
	mv "$MNT/big" "$MNT/moved"
	assert_equal "$(find "$UP" -path "$UP/.wh..wh.work" -prune -o -type f ! -name '.wh.*' -print)" ''
	assert_names "$UP" .wh..wh.work .wh.big moved
	assert_names "$UP/moved"
	assert_equal "$(getfattr --only-values -n user.overlay.redirect "$UP/moved")" /big
	assert_equal "$(find "$MNT/moved" -type f | wc -l)" 5000
	mv "$MNT/moved/7" "$MNT/moved/seven"
	assert_equal "$(find "$MNT/moved/seven" -type f | wc -l)" 50
	assert_equal "$(getfattr --only-values -n user.overlay.redirect "$UP/moved/seven")" /big/7
}

@test "redirect_dir=off copies the tree and writes no redirect" {
	lower_dir_tree
	overlay_mount -o redirect_dir=off
	mv "$MNT/d" "$MNT/e"
	moved_dir_is_whole "$MNT/e"
	moved_dir_is_whole "$UP/e"
	run getfattr -R -h -d -m overlay.redirect "$UP/e"
	assert_output ''
	overlay_remount
	moved_dir_is_whole "$MNT/e"
}

@test "files below a renamed directory can be changed, removed and moved out" {
	lower_dir_tree
	overlay_mount
	mv "$MNT/d" "$MNT/e"
	echo new >"$MNT/e/sub/2"
	rm "$MNT/e/1"
	mv "$MNT/e/sub/deep/3" "$MNT/three"
	mv "$MNT/e/sub/deep" "$MNT/deep"
	echo n >"$MNT/deep/n"
	mkdir "$MNT/e/sub/deep"
	for again in no yes; do
		assert_names "$MNT" deep e other three
		assert_names "$MNT/e" link sub
		assert_names "$MNT/e/sub" 2 deep
		assert_names "$MNT/e/sub/deep"
		assert_names "$MNT/deep" n
		assert_content "$MNT/e/sub/2" new
		assert_content "$MNT/three" 3
		[[ $again == yes ]] || overlay_remount
	done
}

@test "two directories change places by three renames, and by one exchange" {
	mkdir "$LOW/a" "$LOW/b"
	echo a >"$LOW/a/in-a"
	echo b >"$LOW/b/in-b"
	overlay_mount
	mv "$MNT/a" "$MNT/tmp"
	mv "$MNT/b" "$MNT/a"
	mv "$MNT/tmp" "$MNT/b"
	for again in no yes; do
		assert_names "$MNT" a b
		assert_names "$MNT/a" in-b
		assert_names "$MNT/b" in-a
		[[ $again == yes ]] || overlay_remount
	done
	assert_equal "$(sysc rename2 "$MNT/a" "$MNT/b" EXCHANGE)" ok
	for again in no yes; do
		assert_names "$MNT/a" in-a
		assert_names "$MNT/b" in-b
		[[ $again == yes ]] || overlay_remount
	done
}

over_emptied_dir() {
	mkdir -p "$LOW/src" "$LOW/dst/sub"
	echo s >"$LOW/src/s"
	echo d | tee "$LOW/dst/a" >"$LOW/dst/sub/b"
	overlay_mount -o "whiteout=$1"
	assert_equal "$(sysc rename "$MNT/src" "$MNT/dst")" ENOTEMPTY
	rm -r "$MNT/dst"/*
	assert_equal "$(sysc rename "$MNT/src" "$MNT/dst")" ok
	for again in no yes; do
		assert_names "$MNT" dst
		assert_names "$MNT/dst" s
		[[ $again == yes ]] || overlay_remount
	done
}
@test "a directory is renamed over one that is empty only through whiteouts" {
	for_formats over_emptied_dir
}

@test "a directory is renamed over one in which another program has left a directory of its own" {
	mkdir -p "$LOW/low" "$UP/dst/.wh..wh.plnk/deep"
	touch "$UP/dst/.wh..wh.plnk/deep/1.2"
	overlay_mount
	mkdir "$MNT/src"
	touch "$MNT/src/s"
	assert_equal "$(sysc rename "$MNT/src" "$MNT/dst")" ok
	assert_names "$MNT/dst" s
	assert_names "$MNT" dst low
}

fresh_dir_over_lower_dir() {
	mkdir -p "$LOW/dst" "$LOW/gone"
	echo d >"$LOW/gone/leak"
	overlay_mount -o "whiteout=$1"
	mkdir -p "$MNT/new/sub" "$MNT/new2"
	echo n >"$MNT/new/sub/n"
	echo m >"$MNT/new2/m"
	rm "$MNT/gone/leak"
	assert_equal "$(sysc rename "$MNT/new" "$MNT/dst")" ok
	assert_equal "$(sysc rename "$MNT/new2" "$MNT/gone")" ok
	for again in no yes; do
		assert_names "$MNT" dst gone
		assert_names "$MNT/dst" sub
		assert_names "$MNT/dst/sub" n
		assert_names "$MNT/gone" m
		[[ $again == yes ]] || overlay_remount
	done
}
@test "a new directory renamed over a lower one does not merge with it" {
	for_formats fresh_dir_over_lower_dir
}

@test "a directory cannot be moved into itself" {
	lower_dir_tree
	overlay_mount
	assert_equal "$(sysc rename "$MNT/d" "$MNT/d/sub/x")" EINVAL
	assert_equal "$(sysc rename2 "$MNT/d" "$MNT/d/sub" EXCHANGE)" EINVAL
	moved_dir_is_whole "$MNT/d"
	assert_upper
}

@test "renaming a name to itself or to another name of the same file changes nothing" {
	echo x >"$LOW/f"
	echo x >"$LOW/h1"
	ln "$LOW/h1" "$LOW/h2"
	overlay_mount
	assert_equal "$(sysc rename "$MNT/f" "$MNT/f")" ok
	ln "$MNT/f" "$MNT/g"
	assert_equal "$(sysc rename "$MNT/f" "$MNT/g")" ok
	assert_equal "$(sysc rename "$MNT/h1" "$MNT/h2")" ok
	assert_names "$MNT" f g h1 h2
}

@test "a rename with flags that cannot be honoured is EINVAL" {
	echo x | tee "$LOW/a" >"$LOW/b"
	overlay_mount
	assert_equal "$(sysc rename2 "$MNT/a" "$MNT/c" WHITEOUT)" EINVAL
	assert_names "$MNT" a b
}

@test "a directory's mtime, mode and attributes survive its rename" {
	mkdir "$LOW/d" "$LOW/into"
	chmod 2751 "$LOW/d"
	setfattr -n user.a -v b "$LOW/d"
	touch -d '2012-12-12 12:12:12.121212121' "$LOW/d"
	for options in redirect_dir=on redirect_dir=off; do
		overlay_mount -o "$options"
		mv "$MNT/d" "$MNT/into/e"
		assert_equal "$(stat -c '%a %y' "$MNT/into/e") $(getfattr --only-values --absolute-names -n user.a "$MNT/into/e")" \
			'2751 2012-12-12 12:12:12.121212121 +0000 b'
		overlay_umount
		rm -rf "$UP"
		mkdir "$UP"
	done
}

@test "a file keeps its times over a rename, a lower one, too" {
	echo x >"$LOW/f"
	touch -d '2012-12-12 12:12:12.121212121' "$LOW/f"
	overlay_mount
	mv "$MNT/f" "$MNT/g"
	assert_equal "$(stat -c %y "$MNT/g")" '2012-12-12 12:12:12.121212121 +0000'
}

@test "mv between two directories of an ordinary user works for what he owns" {
	lower_dir_tree
	tree_for_user
	overlay_mount
	as_user mv "$MNT/d" "$MNT/other/d"
	as_user mv "$MNT/other/d/sub" "$MNT/sub"
	assert_equal "$(as_user sh -c 'cd "$1" && find . | sort | xargs' sh "$MNT")" \
		'. ./other ./other/d ./other/d/1 ./other/d/link ./sub ./sub/2 ./sub/deep ./sub/deep/3'
	# The usual way of replacing a file: write beside it, rename over it.
	as_user sh -ec 'cd "$1/sub"; echo new >2.tmp; chmod 444 2.tmp; mv -f 2.tmp 2; mv -f 2 deep/3' sh "$MNT"
	assert_equal "$(as_user cat "$MNT/sub/deep/3")" new
}

@test "a rename while others list and write loses nothing" {
	for i in {1..50}; do mkdir -p "$LOW/d$i" && echo "$i" >"$LOW/d$i/f"; done
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys, threading
		from ovl import *
		mnt = sys.argv[1]
		stop = False
		errors = []
		def lister():
		    while not stop:
		        for d in os.listdir(mnt):
		            try:
		                os.listdir(mnt + '/' + d)
		                read(mnt + '/' + d + '/f')
		            except OSError as e:
		                if name_of(e) != 'ENOENT':
		                    errors.append((d, name_of(e)))
		threads = [threading.Thread(target=lister) for _ in range(2)]
		for t in threads:
		    t.start()
		for i in range(1, 51):
		    os.rename('%s/d%d' % (mnt, i), '%s/e%d' % (mnt, i))
		    with open('%s/e%d/f' % (mnt, i), 'a') as f:
		        f.write('new\n')
		stop = True
		for t in threads:
		    t.join()
		equal(errors, [])
		equal(sorted(os.listdir(mnt)), sorted('e%d' % i for i in range(1, 51)))
		for i in range(1, 51):
		    equal(read('%s/e%d/f' % (mnt, i)), b'%d\nnew\n' % i)
	END
}

@test "redirect_dir=off keeps the names of a file together, inside and outside" {
	mkdir "$LOW/d"
	echo one >"$LOW/d/a"
	ln "$LOW/d/a" "$LOW/d/b"
	ln "$LOW/d/a" "$LOW/out"
	overlay_mount -o redirect_dir=off
	mv "$MNT/d" "$MNT/e"
	assert_equal "$(stat -c %h "$MNT/e/a" "$MNT/e/b" "$MNT/out" | xargs)" '3 3 3'
	echo two >>"$MNT/e/a"
	assert_equal "$(cat "$MNT/e/b" "$MNT/out" | xargs)" 'one two one two'
}

@test "redirect_dir=off: what was removed in a redirected directory stays removed" {
	mkdir -p "$LOW/a/inner" "$LOW/b"
	touch "$LOW/a/inner/file" "$LOW/a/inner/other"
	overlay_mount
	mv "$MNT/a/inner" "$MNT/b/inner"
	mv "$MNT/b" "$MNT/c"
	overlay_remount -o redirect_dir=off
	rm "$MNT/c/inner/file"
	mv "$MNT/c" "$MNT/d"
	assert_equal "$(ls "$MNT/d/inner")" other
	overlay_remount
	assert_equal "$(ls "$MNT/d/inner")" other
}

names_and_numbers() { (cd "$1" && find . -printf '%p %i\n' | sort); }
@test "redirect_dir=off: a redirected directory below a new one moves with all it shows" {
	local before
	mkdir -p "$LOW/a/inner/sub" "$LOW/b"
	echo kept | tee "$LOW/a/inner/file" >"$LOW/a/inner/sub/file"
	overlay_mount
	mkdir -p "$MNT/b/new/new"
	mv "$MNT/a/inner" "$MNT/b/new/new/inner"
	overlay_remount -o redirect_dir=off
	before=$(names_and_numbers "$MNT/b")
	mv "$MNT/b" "$MNT/d"
	assert_equal "$(names_and_numbers "$MNT/d")" "$before"
	assert_content "$MNT/d/new/new/inner/sub/file" kept
	overlay_remount
	assert_equal "$(names_and_numbers "$MNT/d")" "$before"
	assert_content "$MNT/d/new/new/inner/file" kept
}

@test "redirect_dir=off: what is copied with a directory does not inherit its ACL" {
	mkdir -p "$LOW/d/sub"
	setfacl -d -m u:1:rwx "$LOW/d"
	overlay_mount -o redirect_dir=off
	mv "$MNT/d" "$MNT/e"
	assert_equal "$(getfacl -cps "$MNT/e/sub" | xargs)" ''
	assert_equal "$(getfacl -cpd "$MNT/e" | grep -c user:)" 2
}

@test "redirect_dir=off: what is made after a rename gets no number that is in use" {
	mkdir -p "$LOW/d/merged"
	overlay_mount -o redirect_dir=off
	py <<-'EOF'
		import os
		os.chdir(os.environ['MNT'])
		names = ['new%d' % i for i in range(20)] + ['merged/new%d' % i for i in range(20)] + ['merged']
		for name in names[:-1]:
		    os.mkdir('d/' + name)
		before = {name: os.lstat('d/' + name).st_ino for name in names}
		os.rename('d', 'e')
		assert before == {name: os.lstat('e/' + name).st_ino for name in names}
		for i in range(60):
		    os.mkdir('later%d' % i)
		assert not set(before.values()) & {os.lstat('later%d' % i).st_ino for i in range(60)}
	EOF
	numbers() { find "$MNT" -printf '%i %P\n' | sort; }
	numbers >"$T/run/before"
	overlay_remount
	numbers | diff "$T/run/before" -
}
