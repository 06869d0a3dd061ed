# Layers that change while they are mounted: how long stale data can be seen, and that it never harms.

load helpers

setup() {
	tree_begin
	mkdir "$LOW/d"
	echo old | tee "$LOW/f" >"$LOW/d/f"
}
teardown() { tree_end; }

@test "timeout=0 shows changes of a lower at once" {
	overlay_mount -o timeout=0
	lower_may_change "$LOW"
	assert_content "$MNT/f" old
	assert_equal "$(sysc lstat "$MNT/later")" ENOENT
	assert_names "$MNT/d" f
	echo 'new and longer' >"$LOW/f"
	echo later >"$LOW/later"
	echo later >"$LOW/d/later"
	mkdir "$LOW/newdir"
	echo in >"$LOW/newdir/in"
	assert_content "$MNT/f" 'new and longer'
	assert_content "$MNT/later" later
	assert_names "$MNT/d" f later
	assert_content "$MNT/newdir/in" in
	chmod 600 "$LOW/f"
	assert_equal "$(stat -c %a "$MNT/f")" 600
	rm "$LOW/later" "$LOW/d/f"
	rm -r "$LOW/newdir"
	assert_gone "$MNT/later"
	assert_gone "$MNT/d/f"
	assert_names "$MNT" d f
	assert_names "$MNT/d" later
	rm -r "$LOW/d"
	assert_gone "$MNT/d"
	mkdir "$LOW/d"
	echo again >"$LOW/d/f"
	assert_content "$MNT/d/f" again
	mv "$LOW/d" "$LOW/e"
	assert_gone "$MNT/d"
	assert_content "$MNT/e/f" again
}

@test "timeout=0 shows changes of the upper at once" {
	overlay_mount -o timeout=0
	assert_content "$MNT/f" old
	echo upper >"$UP/f"
	assert_content "$MNT/f" upper
	mkdir "$UP/d"
	echo new >"$UP/d/new"
	assert_names "$MNT/d" f new
	: >"$UP/d/.wh.f"
	assert_gone "$MNT/d/f"
	rm "$UP/d/.wh.f"
	assert_content "$MNT/d/f" old
	setfattr -n user.overlay.opaque -v y "$UP/d"
	assert_names "$MNT/d" new
	rm -r "$UP/d" "$UP/f"
	assert_content "$MNT/d/f" old
	assert_content "$MNT/f" old
}

@test "timeout=1 shows them after a second" {
	overlay_mount -o timeout=1
	lower_may_change "$LOW"
	assert_content "$MNT/f" old
	assert_names "$MNT/d" f
	echo later >"$LOW/d/later"
	echo 'new and longer' >"$LOW/f"
	shows() { [[ $(cat "$MNT/f") == 'new and longer' && -e $MNT/d/later ]]; }
	poll 5 shows
	assert_names "$MNT/d" f later
}

@test "changes through the mount are seen at once whatever the timeout" {
	overlay_mount -o timeout=3600
	stat "$MNT/f" "$MNT/d/f" >/dev/null
	assert_gone "$MNT/new"
	echo x >"$MNT/new"
	assert_content "$MNT/new" x
	echo longer-than-before >"$MNT/f"
	assert_equal "$(stat -c %s "$MNT/f")" 19
	rm "$MNT/new"
	assert_gone "$MNT/new"
	mv "$MNT/d" "$MNT/e"
	assert_gone "$MNT/d/f"
	assert_content "$MNT/e/f" old
	ln "$MNT/f" "$MNT/e/g"
	chmod 600 "$MNT/e/g"
	echo more >>"$MNT/e/g"
	assert_equal "$(stat -c '%a %s %h' "$MNT/f")" '600 24 2'
}

@test "a layer that is changed and torn down under the mount is survived" {
	mkdir -p "$LOW/a/b/c"
	for i in {1..50}; do echo "$i" >"$LOW/a/b/c/$i"; done
	for timeout in 0 1 3600; do
		overlay_mount -o "timeout=$timeout"
		lower_may_change "$LOW"
		find "$MNT" >/dev/null
		py "$MNT" "$LOW" "$UP" <<-'END'
			import os, random, shutil, sys, threading
			from ovl import attempt
			mnt, low, up = sys.argv[1:]
			stop = False
			def vandal():
			    rnd = random.Random(1)
			    while not stop:
			        root = rnd.choice((low, up))
			        d = root + '/a/b/c'
			        for op in (lambda: os.makedirs(d, exist_ok=True), lambda: open(d + '/1', 'w').write('x'),
			                   lambda: os.rename(root + '/a/b', root + '/a/B'),
			                   lambda: os.rename(root + '/a/B', root + '/a/b'),
			                   lambda: shutil.rmtree(d), lambda: os.unlink(d),
			                   lambda: os.symlink('nowhere', d)):
			            if rnd.random() < .5:
			                attempt(op)
			t = threading.Thread(target=vandal)
			t.start()
			rnd = random.Random(2)
			for i in range(1500):
			    p = '%s/a/b/c/%d' % (mnt, rnd.randrange(60))
			    attempt(rnd.choice((
			        lambda: open(p, 'a').write('y'), lambda: os.unlink(p), lambda: os.listdir(os.path.dirname(p)),
			        lambda: os.mkdir(p), lambda: os.rename(p, mnt + '/x'), lambda: os.stat(p),
			        lambda: os.rename(mnt + '/a/b', mnt + '/b'), lambda: os.rename(mnt + '/b', mnt + '/a/b'),
			        lambda: shutil.rmtree(mnt + '/a/b/c'), lambda: os.makedirs(mnt + '/a/b/c'))))
			stop = True
			t.join()
		END
		# What nobody touched is as before, and the daemon alive.
		assert_content "$MNT/f" old
		echo new >"$MNT/fine"
		assert_content "$MNT/fine" new
		kill -0 "$DAEMON"
		overlay_umount
		rm -rf "$UP"
		mkdir "$UP"
	done
}
