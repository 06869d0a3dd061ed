# Listings: complete, without duplicates, with stable offsets and the inode numbers of stat.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

@test "a directory that is in five layers lists each name once" {
	mkdir "$T/low4"
	LOWERS=("$LOW" "$LOW2" "$LOW3" "$T/low4")
	for layer in "$UP" "${LOWERS[@]}"; do
		mkdir "$layer/d" "$layer/d/sub"
		echo x >"$layer/d/same"
		ln -s x "$layer/d/link"
		echo x >"$layer/d/only-${layer##*/}"
	done
	overlay_mount
	assert_names "$MNT/d" link only-low only-low2 only-low3 only-low4 only-up same sub
	assert_equal "$(find "$MNT" -name same | wc -l)" 1
	assert_names "$MNT/d/sub"
}

@test "readdir's inode numbers and types are those of stat" {
	LOWERS=("$LOW" "$LOW2")
	for layer in "$UP" "$LOW" "$LOW2"; do
		n=${layer##*/}
		mkdir -p "$layer/merged/sub" "$layer/dir-$n"
		echo x | tee "$layer/same" "$layer/merged/same" "$layer/merged/$n" >"$layer/file-$n"
		ln -s x "$layer/link-$n"
		mkfifo "$layer/fifo-$n"
		ln "$layer/file-$n" "$layer/hard-$n"
	done
	cat >"$T/check" <<-'END'
		import os, stat, sys
		from ovl import *
		TYPES = {1: stat.S_IFIFO, 2: stat.S_IFCHR, 4: stat.S_IFDIR, 6: stat.S_IFBLK, 8: stat.S_IFREG,
		         10: stat.S_IFLNK, 12: stat.S_IFSOCK}
		def check(path, root):
		    entries = list(Dir(path))
		    equal(len(entries), len({n for n, _, _ in entries}), 'duplicates')
		    names = [n for n, _, _ in entries]
		    assert '.' in names and '..' in names, names
		    for name, ino, kind in entries:
		        if root and name == '..':
		            continue
		        st = os.lstat(path + '/' + name)
		        equal(ino, st.st_ino, path + '/' + name)
		        equal(TYPES[kind], stat.S_IFMT(st.st_mode), path + '/' + name)
		        if kind == 4 and name not in ('.', '..'):
		            check(path + '/' + name, False)
		    for e in os.scandir(path):
		        equal(e.inode(), e.stat(follow_symlinks=False).st_ino, e.path)
		check(sys.argv[1], True)
	END
	overlay_mount
	py "$MNT" <"$T/check"
	# The same after changes of every kind.
	echo changed >>"$MNT/file-low2"
	mv "$MNT/file-low" "$MNT/merged/moved"
	mv "$MNT/dir-low" "$MNT/dir-moved"
	mv "$MNT/merged/sub" "$MNT/sub-moved"
	echo new >"$MNT/file-low"
	ln "$MNT/same" "$MNT/merged/hardlink"
	chmod 600 "$MNT/fifo-low"
	mkdir "$MNT/newdir"
	py "$MNT" <"$T/check"
	overlay_remount
	py "$MNT" <"$T/check"
}

@test "every listing has . and .." {
	mkdir -p "$LOW/d/e" "$UP/u"
	overlay_mount
	for d in . d d/e u; do
		assert_equal "$(find "$MNT/$d" -maxdepth 0 -printf x; \ls -a "$MNT/$d" | head -2 | xargs)" 'x. ..'
	done
	assert_equal "$(stat -c %i "$MNT/d/..")" "$(stat -c %i "$MNT")"
	assert_equal "$(stat -c %i "$MNT/d/.")" "$(stat -c %i "$MNT/d")"
}

@test "twenty thousand entries are listed, from both layers" {
	py "$UP" "$LOW" <<-'END'
		import os, sys
		up, low = sys.argv[1:]
		for i in range(12000):
		    os.mknod('%s/entry-%06d' % (low, i))
		for i in range(10000, 20000):
		    os.mknod('%s/entry-%06d' % (up, i))
	END
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		want = ['entry-%06d' % i for i in range(20000)]
		equal(sorted(os.listdir(mnt)), want)
		equal(sorted(os.listdir(mnt)), want)
		for e in os.scandir(mnt):
		    if e.inode() != e.stat().st_ino:
		        sys.exit(e.name)
		for i in range(0, 20000, 2):
		    os.unlink('%s/entry-%06d' % (mnt, i))
		equal(sorted(os.listdir(mnt)), want[1::2])
	END
}

@test "entries with names of 255 bytes fill many buffers" {
	overlay_mount
	py "$MNT" "$LOW" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		want = ['%0255d' % i for i in range(2000)]
		for n in want:
		    os.mkdir(mnt + '/' + n)
		equal(sorted(os.listdir(mnt)), want)
		for n in want:
		    os.rmdir(mnt + '/' + n)
		equal(os.listdir(mnt), [])
	END
}

@test "seekdir returns to the place that telldir named" {
	for i in {1..400}; do
		echo x >"$LOW/low-$i"
		echo x >"$UP/up-$i"
	done
	overlay_mount
	py "$MNT" <<-'END'
		import random, sys
		from ovl import *
		d = Dir(sys.argv[1])
		seen, places = [], []
		while True:
		    places.append(d.tell())
		    e = d.read()
		    if not e:
		        break
		    seen.append(e)
		equal(len(seen), 802)
		equal(len(set(places)), 803, 'places')
		random.seed(1)
		for i in random.sample(range(803), 200):
		    d.seek(places[i])
		    equal(d.read(), seen[i] if i < 802 else None, 'entry %d' % i)
		d.rewind()
		equal(list(d), seen)
	END
}

@test "an entry that exists for the whole listing appears exactly once while others come and go" {
	for i in {1..1500}; do : >"$LOW/stay-low-$i"; done
	for i in {1..1500}; do : >"$UP/stay-up-$i"; : >"$LOW/go-low-$i"; : >"$UP/go-up-$i"; done
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from collections import Counter
		from ovl import *
		mnt = sys.argv[1]
		gone = [n for n in os.listdir(mnt) if n.startswith('go-')]
		d = Dir(mnt)
		seen = Counter()
		places = []
		for k, (name, _, _) in enumerate(d):
		    seen[name] += 1
		    if k % 3 == 0 and gone:
		        os.unlink(mnt + '/' + gone.pop())
		    if k % 5 == 0:
		        write('%s/new-%d' % (mnt, k), b'')
		    if k % 7 == 0:
		        # As programs do between two reads: elsewhere and back.
		        here = d.tell()
		        d.seek(here)
		for w in ('low', 'up'):
		    for i in range(1, 1501):
		        equal(seen['stay-%s-%d' % (w, i)], 1, 'stay-%s-%d' % (w, i))
		twice = [n for n, c in seen.items() if c > 1]
		equal(twice, [])
	END
}

@test "removing what one reads empties the directory" {
	for i in {1..3000}; do : >"$LOW/l$i"; : >"$UP/u$i"; done
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		for name, _, _ in Dir(mnt):
		    if name not in ('.', '..'):
		        os.unlink(mnt + '/' + name)
		equal(os.listdir(mnt), [])
	END
	overlay_remount
	assert_names "$MNT"
}

@test "rewinddir shows what changed meanwhile" {
	echo x >"$LOW/old"
	overlay_mount
	py "$MNT" <<-'END'
		import os, sys
		from ovl import *
		mnt = sys.argv[1]
		d = Dir(mnt)
		equal(sorted(n for n, _, _ in d), ['.', '..', 'old'])
		write(mnt + '/new', b'')
		os.unlink(mnt + '/old')
		d.rewind()
		equal(sorted(n for n, _, _ in d), ['.', '..', 'new'])
	END
}

@test "a listing is fresh after each change" {
	mkdir "$LOW/d"
	echo x | tee "$LOW/d/a" >"$LOW/d/b"
	overlay_mount
	assert_names "$MNT/d" a b
	: >"$MNT/d/c"
	assert_names "$MNT/d" a b c
	rm "$MNT/d/a"
	assert_names "$MNT/d" b c
	mv "$MNT/d/b" "$MNT/b"
	assert_names "$MNT/d" c
	assert_names "$MNT" b d
	mkdir "$MNT/d/e"
	ln -s x "$MNT/d/l"
	ln "$MNT/b" "$MNT/d/h"
	mkfifo "$MNT/d/p"
	assert_names "$MNT/d" c e h l p
	mv "$MNT/d" "$MNT/e"
	assert_names "$MNT/e" c e h l p
	assert_names "$MNT" b e
}

@test "a directory's times change when an entry is added or removed" {
	mkdir "$LOW/d" "$UP/u"
	echo x | tee "$LOW/d/a" "$LOW/d/b" >"$UP/u/a"
	touch -d '2015-01-01' "$LOW/d" "$UP/u"
	overlay_mount
	for d in d u; do
		for op in "touch $MNT/$d/new" "mv $MNT/$d/a $MNT/$d/c" "rm $MNT/$d/c" "mkdir $MNT/$d/sub" \
			"rmdir $MNT/$d/sub" "ln -s x $MNT/$d/l" "ln $MNT/$d/new $MNT/$d/h"; do
			touch -d '2015-01-01' "$MNT/$d"
			$op
			[[ $(stat -c %Y "$MNT/$d") -gt 1500000000 ]] || fail "mtime of $d is old after $op"
		done
	done
	# Removing a name that only the lower has changes the directory as well.
	touch -d '2015-01-01' "$MNT/d"
	rm "$MNT/d/b"
	[[ $(stat -c %Y "$MNT/d") -gt 1500000000 ]]
}

@test "the link count of directories is right or 1" {
	LOWERS=("$LOW" "$LOW2")
	mkdir -p "$LOW/d"/{a,b} "$LOW2/d"/{b,c} "$UP/d/e"
	overlay_mount
	rmdir "$MNT/d/a"
	n=$(stat -c %h "$MNT/d")
	[[ $n == 1 || $n == 5 ]] || fail "nlink is $n"
	# GNU find believes it.
	assert_equal "$(find "$MNT/d" -mindepth 1 -type d | wc -l)" 3
}


open_moved() {
	overlay_mount -o "redirect_dir=$1"
	py <<-'EOF'
		import os, ovl
		os.chdir(os.environ['MNT'])
		top, sub, other = ovl.Dir('d'), ovl.Dir('d/sub'), ovl.Dir('other')
		def numbers(d):
		    d.rewind()
		    return {name: number for name, number, _ in d}
		for d in top, sub, other:
		    numbers(d)
		os.rename('d', 'into/e')
		open('into/e/new', 'w').close()
		open('into/e/sub/new', 'w').close()
		ovl.renameat2('other', 'into/e/sub', ovl.EXCHANGE)
		open('other/newer', 'w').close()
		open('into/e/sub/other', 'w').close()
		for d, path, want in ((top, 'into/e', {'f', 'sub', 'new'}), (sub, 'other', {'new', 'newer'}),
		                      (other, 'into/e/sub', {'other'})):
		    got = numbers(d)
		    ovl.equal(set(got) - {'.', '..'}, want)
		    ovl.equal(got['.'], os.stat(path).st_ino)
		    ovl.equal(got['..'], os.stat(path + '/..').st_ino)
		    ovl.equal(numbers(ovl.Dir(path)), got)
	EOF
	overlay_umount
	rm -rf "$UP"
	mkdir "$UP"
}
@test "an open directory that is renamed shows what is added later, and its new parent" {
	mkdir -p "$LOW/d/sub" "$LOW/into" "$LOW/other"
	echo x >"$LOW/d/f"
	for redirect in on off; do open_moved $redirect; done
}
