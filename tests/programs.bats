# Programs that people run, unchanged, on trees that begin in a lower: version control, data
# bases, archives, builds, editors, logs. What a program left in the mount is compared with what
# it leaves in a plain copy of the same tree, where there is no better question to ask.
# Whole root trees are in rootfs.bats; what takes longer is in slow/.

load helpers

setup() { tree_begin; }
teardown() {
	local pid
	for pid in "${STARTED[@]}"; do kill -KILL "$pid" 2>/dev/null; done
	tree_end
}
STARTED=()

# A copy of the lower to do the same things in, then the mount of an ordinary user.
mount_with_plain() {
	PLAIN=$T/plain
	cp -a "$LOW" "$PLAIN"
	((EUID != 0)) || chown -Rh "$TEST_UID:$TEST_GID" "$PLAIN"
	tree_for_user
	overlay_mount "$@"
}

# in_both SCRIPT [ARGUMENT...]: as the ordinary user in the plain copy and in the mount; both
# print the same.
in_both() {
	local dir out=()
	for dir in "$PLAIN" "$MNT"; do
		out+=("$(as_user bash -euo pipefail -c "cd $dir; $1" bash "${@:2}" 2>&1 3>&-)") ||
			fail "in $dir: ${out[-1]}"
	done
	assert_equal "${out[1]}" "${out[0]}"
}

# same_as_plain [-FIELD|+FIELD...]
same_as_plain() {
	local dir
	for dir in "$PLAIN" "$MNT"; do
		as_user "$PYTHON" "$LIB/tree.py" show "$dir" "$@" >"$T/run/tree.${dir##*/}"
	done
	diff "$T/run/tree.plain" "$T/run/tree.mnt" || fail 'the plain tree (<) and the mount (>) differ'
}

# as_user in the background, to be ended by the test: STARTED has its process id.
start_user() {
	"${USER_CMD[@]}" "$@" </dev/null 3>&- &
	STARTED+=("$!")
}
stop_started() {
	kill "${STARTED[-1]}"
	wait "${STARTED[-1]}" 2>/dev/null || :
	unset 'STARTED[-1]'
}

has_line() { grep -qxF -- "$2" "$1"; }

# --- git -----------------------------------------------------------------------------------

export XDG_CONFIG_HOME=/nonexistent GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_EDITOR=true \
	GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t \
	GIT_COMMITTER_EMAIL=t@example.org GIT_AUTHOR_DATE='1700000000 +0000' \
	GIT_COMMITTER_DATE='1700000000 +0000'

# A repository in the lower: loose objects, a pack, a side branch, changes not yet committed.
git_repository() {
	local i
	git init -q -b main "$LOW/repo"
	for i in {1..60}; do
		mkdir -p "$LOW/repo/d$((i % 7))"
		seq "$i" $((i + 300)) >"$LOW/repo/d$((i % 7))/f$i"
	done
	git -C "$LOW/repo" add .
	git -C "$LOW/repo" commit -qm first
	git -C "$LOW/repo" repack -qad
	git -C "$LOW/repo" checkout -qb side
	sed -i 's/^100$/side/' "$LOW"/repo/d*/f*
	git -C "$LOW/repo" commit -qam side
	git -C "$LOW/repo" checkout -q main
	echo '400' >>"$LOW/repo/d1/f1"
	git -C "$LOW/repo" commit -qam second
	echo 'not committed' >>"$LOW/repo/d2/f2"
	echo 'not known' >"$LOW/repo/d2/new"
}

@test "git stashes, merges, rebases, keeps worktrees and repacks a repository of a lower" {
	need command git
	git_repository
	mount_with_plain
	in_both 'cd repo
		git status --porcelain
		git stash push -qu
		git status --porcelain
		git checkout -qb topic main~1
		for i in 1 2 3; do echo "topic $i" >>d3/f3; git mv d4/f$((i * 7 + 4)) d4/moved$i; git commit -qam "topic $i"; done
		git rebase -q main
		git checkout -q main
		git merge -q -m merged side
		git merge -q --no-ff -m again topic
		git stash pop -q
		git status --porcelain
		git add -A
		git commit -qm popped
		git worktree add -q ../tree side
		echo tree >../tree/d5/f5
		git -C ../tree commit -qam "in the worktree"
		git cherry-pick side >/dev/null
		git mv d6 six
		git rm -rqf d0
		git commit -qm "a directory moved, one removed"
		git tag -am tagged v1
		git log --all --format="%H %s %T"'
	# A conflict: given up, then resolved.
	in_both 'cd repo
		git checkout -qb conflict main~3
		echo other >d5/f5
		git commit -qam conflict
		! git rebase main >/dev/null 2>&1
		git status --porcelain
		git rebase --abort
		! git merge -q main >/dev/null 2>&1
		git checkout -q --theirs d5/f5
		git commit -qam resolved
		git log --format="%H %s"'
	in_both 'cd repo
		git worktree move ../tree ../tree2
		git worktree list --porcelain | grep -v ^worktree
		git worktree remove ../tree2
		git pack-refs --all
		git repack -qadf --window=5
		git reflog expire --expire=now --all
		git gc -q --prune=now
		git fsck --full --strict
		git count-objects | cut -d, -f1
		git bundle create -q ../bundle --all
		git clone -q ../bundle ../from-bundle
		git clone -q . ../hard
		git clone -q --no-local --bare . ../bare
		git -C ../hard fsck --full
		git -C ../bare show-ref
		git clean -fdxq
		git reset -q --hard v1
		git -C ../from-bundle log --format=%H
		rm -rf ../hard ../bare'
	overlay_remount
	in_both 'cd repo; git status --porcelain; git fsck --full; git show-ref; git gc -q; git checkout -q side'
	in_both 'rm -rf repo/.git from-bundle/.git bundle'
	same_as_plain +nlink
}

# --- sqlite --------------------------------------------------------------------------------

# sqlite_writers DATABASE MODE MMAP: four processes write, one of them is killed, one reads.
sqlite_writers() {
	user_py "$@" <<-'END'
		import os, signal, sqlite3, sys
		db, mode, mmap = sys.argv[1:]
		WRITERS, ROUNDS = 4, 20

		def connect():
		    c = sqlite3.connect(db, timeout=60, isolation_level=None)
		    c.execute('pragma mmap_size=' + mmap)
		    return c

		def write(me, rounds):
		    c = connect()
		    for i in range(rounds):
		        c.execute('begin immediate')
		        c.execute('update account set money = money - 1 where id = ?', (me,))
		        c.execute('insert into log(writer, round, text) values (?, ?, ?)', (me, i, 'x' * 1500))
		        c.execute('update account set money = money + 1 where id = ?', ((me + 1) % WRITERS,))
		        if rounds > ROUNDS and i == ROUNDS:
		            os.kill(os.getpid(), signal.SIGKILL) # in the middle of a transaction
		        c.execute('commit' if i % 10 else 'rollback')

		def read():
		    c = connect()
		    last = 0
		    while last < WRITERS * ROUNDS * 9 // 10:
		        c.execute('begin')
		        n = c.execute('select count(*) from log where writer >= 0').fetchone()[0]
		        assert n >= last, (n, last)
		        assert c.execute('select sum(money) from account').fetchone()[0] == 100 * WRITERS
		        c.execute('commit')
		        last = n

		c = connect()
		assert c.execute('pragma journal_mode=' + mode).fetchone()[0] == mode
		assert c.execute('select count(*) from log').fetchone()[0] == 3000
		c.close()
		children = []
		for run in [lambda me=i: write(me, ROUNDS + (me == 3)) for i in range(WRITERS)] + [read]:
		    pid = os.fork()
		    if pid == 0:
		        status = 1
		        try:
		            run()
		            status = 0
		        finally:
		            os._exit(status)
		    children.append(pid)
		status = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
		assert status == [0, 0, 0, -9, 0], status
	END
}

# What must hold of it afterwards, wherever it lies.
sqlite_holds() {
	user_py "$1" <<-'END'
		import sqlite3, sys
		c = sqlite3.connect(sys.argv[1])
		print(c.execute('pragma integrity_check').fetchone()[0],
		      c.execute('select sum(money) from account').fetchone()[0],
		      *c.execute('select count(*) from log group by writer').fetchall(), sep=' ')
	END
}

# A data base, made while others have it open, so that a log or a journal is left beside it.
sqlite_database() {
	py "$1" "$2" <<-'END'
		import os, shutil, sqlite3, sys
		db, mode = sys.argv[1:]
		c = sqlite3.connect(db + '.tmp', isolation_level=None)
		c.execute('pragma journal_mode=' + mode)
		c.execute('pragma cache_size=1') # spill, so that the journal is hot
		c.execute('create table account(id integer primary key, money int)')
		c.execute('create table log(id integer primary key, writer int, round int, text)')
		c.execute('create index at on log(writer, round)')
		c.executemany('insert into account values(?, 100)', [(i,) for i in range(4)])
		c.execute('begin')
		c.executemany('insert into log values(null, -1, ?, ?)', [(i, 'y' * 100) for i in range(3000)])
		c.execute('commit')
		c.execute('begin')
		c.execute("update log set text = 'never committed'")
		for end in '', '-wal', '-journal':
		    if os.path.exists(db + '.tmp' + end):
		        shutil.copy(db + '.tmp' + end, db + end)
		os._exit(0)
	END
	rm "$1".tmp*
}

@test "sqlite: four processes write to a data base of a lower, with a log and with a journal" {
	for mode in wal delete truncate persist; do sqlite_database "$LOW/$mode.db" $mode; done
	assert [ -s "$LOW/wal.db-wal" -a -s "$LOW/delete.db-journal" ]
	tree_for_user
	overlay_mount
	sqlite_writers "$MNT/wal.db" wal 0
	sqlite_writers "$MNT/delete.db" delete 0
	sqlite_writers "$MNT/truncate.db" truncate 100000000
	sqlite_writers "$MNT/persist.db" persist 0
	for db in wal delete truncate persist; do
		assert_equal "$db: $(sqlite_holds "$MNT/$db.db")" "$db: ok 400 (3000,) (18,) (18,) (18,) (18,)"
	done
	overlay_remount
	for db in wal delete truncate persist; do
		assert_equal "$db: $(sqlite_holds "$MNT/$db.db")" "$db: ok 400 (3000,) (18,) (18,) (18,) (18,)"
	done
}

@test "sqlite: writers and readers with mapped pages agree" {
	sqlite_database "$LOW/wal.db" wal
	sqlite_database "$LOW/delete.db" delete
	tree_for_user
	overlay_mount
	sqlite_writers "$MNT/wal.db" wal 100000000
	sqlite_writers "$MNT/delete.db" delete 100000000
	mkdir "$T/out"
	for db in wal delete; do
		assert_equal "$(sqlite_holds "$MNT/$db.db")" 'ok 400 (3000,) (18,) (18,) (18,) (18,)'
		as_user sqlite3 "$MNT/$db.db" vacuum
		assert_equal "$(as_user sqlite3 "$MNT/$db.db" .dump | sqlite3 "$T/out/$db" &&
			sqlite_holds "$T/out/$db")" 'ok 400 (3000,) (18,) (18,) (18,) (18,)'
	done
}

# --- copying, moving and packing trees -----------------------------------------------------

# Files of most kinds, with names of one file, holes, attributes and unusual names.
make_tree() {
	local i
	mkdir -p "$1"/{a/b/c,empty,d,'with space'}
	for i in {1..40}; do seq "$i" $((i * 3)) >"$1/d/$i"; done
	: >"$1/a/zero"
	printf '#!/bin/sh\necho run\n' >"$1/a/run"
	chmod 755 "$1/a/run"
	head -c 300000 /dev/urandom >"$1/a/b/data"
	truncate -s 3M "$1/a/b/hole"
	printf x | dd of="$1/a/b/hole" bs=1 seek=1500000 conv=notrunc status=none
	ln "$1/a/b/data" "$1/a/b/c/same"
	ln "$1/a/b/data" "$1/d/same"
	ln -s ../b/data "$1/a/b/link"
	ln -s /nonexistent "$1/a/dangling"
	mkfifo "$1/a/fifo"
	printf 'odd\n' >"$1/with space/"$'new\nline\t\351'
	setfattr -n user.colour -v red "$1/a/run"
	setfattr -n user.colour -v blue "$1/d"
	setfacl -m u:12345:rw "$1/d/7"
	setfacl -d -m g:12345:rx "$1/empty"
	chmod 2750 "$1/d"
	chmod 600 "$1/d/5"
	# Not the second in which rsync writes the copy: it looks no closer.
	find "$1" -exec touch -h -d '2011-11-11 11:11:11.111111111' {} +
	touch -h -d '2012-12-12 12:12:12.121212121' "$1/a/dangling" "$1/d/9" "$1/empty"
}

@test "rsync -aHAX, cp -a and tar carry a tree out, in and about" {
	need command rsync
	make_tree "$LOW/tree"
	mount_with_plain
	# Out; a second lower's worth of changes in; within.
	in_both 'rsync -aHAX --sparse tree/ rsynced/
		cp -a tree copied
		mkdir untarred
		tar -C tree --xattrs --acls -S -cf - . | tar -C untarred --xattrs --acls -xpf -
		rsync -aHAXn --itemize-changes --delete tree/ rsynced/
		rsync -aHAXn --itemize-changes --delete tree/ copied/
		rsync -aHAXn --itemize-changes --delete tree/ untarred/
		touch -d 2013-11-11 .'
	same_as_plain +mtime +nlink
	# Over what is there: in place, with backups, hard links into the lower, deletions.
	in_both 'echo changed >>copied/d/3; rm copied/d/4; mv copied/a/b copied/a/bee; : >copied/d/zzz
		rsync -aHAX --inplace --no-whole-file copied/ tree/
		rsync -aHAX --delete --backup --suffix=.old untarred/ copied/
		rsync -aHAX --link-dest=../tree rsynced/ linked/
		rsync -aHAX --delete-before rsynced/ tree/
		tar -cf - -C rsynced . | tar -xpf - -C tree --overwrite
		tar -cf - -C rsynced a d | tar -xpf - -C tree --unlink-first --recursive-unlink
		cp -a --remove-destination rsynced/. tree/
		cp -al tree cp-linked
		cp -au rsynced/. cp-linked/
		cp -a --backup=numbered rsynced/d/. copied/d/'
	same_as_plain +nlink
	overlay_remount
	same_as_plain +nlink
}

@test "mv moves whole trees out, in and inside" {
	make_tree "$LOW/tree"
	make_tree "$LOW/other"
	mkdir "$T/outside"
	chmod 1777 "$T/outside"
	mount_with_plain
	# Another file system, so that mv copies and removes.
	mkdir "$T/tmp"
	mount -t tmpfs -o mode=1777 none "$T/tmp" 2>/dev/null || rmdir "$T/tmp"
	outside=$T/tmp
	[[ -d $outside ]] || outside=$T/outside
	in_both 'mv tree inside; mv inside/a inside/d/; mv inside/d/a/b other/; mkdir -p x/y; mv other/b x/y/z
		mv inside back; mkdir inside; mv back/d inside/d
		mv other "$1/o$$"; mv "$1/o$$" brought; mv "$1/o$$" . 2>/dev/null || echo gone
		mv -T brought/empty brought/a/b/empty; mv brought/d/1 brought/d/2; mv -n brought/d/3 brought/d/4
		mv -b brought/d/5 brought/d/6; rm -r back; find . -depth -empty -type d -delete' "$outside"
	assert_equal "$(ls -A "$outside")" ''
	same_as_plain +nlink
	overlay_remount
	same_as_plain +nlink
	in_both 'mv inside/d x/y/d; mv brought tree; mv tree/a/b "$1/b$$"; rm -rf "$1/b$$"; mv x "$1/x$$"
		mv "$1/x$$" other; cp -a other/. tree/; rm -rf inside; chmod -R go= tree' "$outside"
	same_as_plain +nlink
}

@test "zip, unzip, ar, gzip and split pack and unpack files of a lower" {
	need command zip
	need command unzip
	make_tree "$LOW/tree"
	rm "$LOW/tree/a/fifo" "$LOW/tree/with space"/*
	mount_with_plain
	in_both 'cd tree
		zip -qry ../all.zip .; zip -qd ../all.zip "d/1*"; zip -qur ../all.zip d
		unzip -tqq ../all.zip; unzip -q ../all.zip -d ../unzipped; diff -r --no-dereference . ../unzipped
		unzip -qo ../all.zip
		python3 -m zipfile -c ../py.zip a/b/data d; python3 -m zipfile -e ../py.zip ../py
		python3 -m tarfile -c ../py.tar a d; python3 -m tarfile -e ../py.tar ../pytar
		gzip -k d/30; gzip d/31; gunzip d/31.gz; xz a/b/c/same 2>/dev/null || gzip -f a/b/c/same
		split -b 10000 a/b/data d/part.; cat d/part.* | cmp - a/b/data; ar qc d/lib.a d/part.a*; rm d/part.*
		ar x d/lib.a --output=empty; truncate -s 100 d/20; shred -u d/10; sort -o d/11 -R d/11; sort -n -o d/11 d/11
		install -D -m 750 a/run new/dir/run; ln -sfn a/run link; ln -f d/12 d/13; cat d/lib.a d/30 | md5sum'
	# With times of their making inside.
	in_both 'rm *.zip py.tar; find . -name "*.[gx]z" -delete -print | sort'
	same_as_plain +nlink
}

# --- building and running ------------------------------------------------------------------

@test "this project is built in the mount, and make finds nothing to do the second time" {
	need command gcc
	mkdir "$LOW/src"
	cp -a "$REPO"/*.[ch] "$REPO/Makefile" "$REPO/overlayfs.1" "$REPO/completions" "$LOW/src/"
	files=$(ls "$LOW/src")
	tree_for_user
	overlay_mount
	as_make() { as_user env -u MAKEFLAGS -u MAKELEVEL make -C "$MNT/src" CFLAGS=-O0 BUILD=build BIN=overlayfs "$@"; }
	as_make -sj2
	run -0 as_make
	assert_line "make: Nothing to be done for 'all'."
	assert_equal "$(as_user "$MNT/src/overlayfs" -V)" "$("$OVERLAYFS" -V)"
	as_user chmod -R u=rwX,go= "$MNT/src" # copies them up, with their times
	as_make -q
	overlay_remount
	as_make -q
	# One header of the lower is newer: what includes it is made, and nothing else.
	as_user touch "$MNT/src/copyup.h"
	run ! as_make -q
	run -0 as_make
	assert_equal "$(grep -o ' [a-z]*\.c$' <<<"$output" | sort)" "$(cd "$REPO" && grep -l '"copyup.h"' ./*.c | sed 's|./| |')"
	as_make -q
	as_make -s install DESTDIR="$MNT/root" PREFIX=/usr
	assert_equal "$(as_user "$MNT/root/usr/bin/overlayfs" -V)" "$("$OVERLAYFS" -V)"
	as_make -s clean
	assert_equal "$(as_user find "$MNT/src" -newer "$MNT/src/copyup.h" -type f)" ''
	assert_equal "$(as_user ls "$MNT/src")" "$files"
}

@test "a shared library is replaced while a program of the lower uses it" {
	need command gcc
	printf 'int answer(void) { return N; }\n' >"$LOW/lib.c"
	printf '#include <stdio.h>\n#include <stdlib.h>\nint answer(void);\n%s\n' \
		'int main(void) { do printf("%d\n", answer()), fflush(stdout); while (getchar() != EOF); }' >"$LOW/main.c"
	gcc -shared -fPIC -DN=1 -o "$LOW/libanswer.so" "$LOW/lib.c"
	gcc -o "$LOW/main" "$LOW/main.c" -L"$LOW" -lanswer -Wl,-rpath,'$ORIGIN'
	tree_for_user
	overlay_mount
	coproc RUNNING { exec "${USER_CMD[@]}" "$MNT/main" 3>&-; }
	STARTED+=("$RUNNING_PID")
	read -rt 10 answer <&"${RUNNING[0]}"
	# ld removes it and makes a new one, ar and strip write another and rename it.
	as_user gcc -shared -fPIC -DN=2 -o "$MNT/libanswer.so" "$MNT/lib.c"
	as_user strip "$MNT/libanswer.so"
	run -1 as_user strip "$MNT/main"
	assert_output --partial 'Text file busy'
	echo >&"${RUNNING[1]}"
	read -rt 10 second <&"${RUNNING[0]}"
	assert_equal "$answer $second $(as_user "$MNT/main" </dev/null)" '1 1 2'
	stop_started
}

@test "a python environment of a lower runs, grows and is compiled, and a new one is made" {
	"$PYTHON" -m venv --without-pip "$LOW/old"
	mkdir -p "$LOW/pkg/sub"
	for i in {1..20}; do echo "value = $i" >"$LOW/pkg/sub/m$i.py"; done
	: >"$LOW/pkg/__init__.py"
	cp "$LOW/pkg/__init__.py" "$LOW/pkg/sub/"
	touch -d @1000000000 "$LOW/pkg/sub"/*.py # what is compiled counts seconds
	tree_for_user
	overlay_mount
	local -x PYTHONPATH='' PYTHONDONTWRITEBYTECODE=''
	as_user "$PYTHON" -m venv --without-pip "$MNT/new"
	as_user "$PYTHON" -m venv --without-pip --copies "$MNT/copies"
	as_user "$PYTHON" -m venv --without-pip --upgrade "$MNT/old"
	as_user "$PYTHON" -m venv --without-pip --clear "$MNT/copies"
	site=$(as_user "$MNT/new/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	[[ $site == "$MNT"/new/* ]]
	as_user cp -a "$MNT/pkg" "$site/"
	for env in new old copies; do
		assert_equal "$(as_user "$MNT/$env/bin/python" -c 'import sys; print(sys.prefix != sys.base_prefix)')" True
	done
	assert_equal "$(as_user "$MNT/new/bin/python" -c 'import pkg.sub.m7 as m; print(m.value, m.__file__)')" "7 $site/pkg/sub/m7.py"
	# What is compiled is not compiled again, but for what has changed.
	compile() { as_user "$MNT/new/bin/python" -m compileall "$MNT/pkg" | grep -c ^Compiling || :; }
	assert_equal "$(compile) $(compile)" '22 0'
	as_user chmod -R go= "$MNT/pkg"
	as_user sed -i s/13/1313/ "$MNT/pkg/sub/m13.py"
	overlay_remount
	assert_equal "$(compile) $(compile)" '1 0'
	assert_equal "$(cd / && as_user env PYTHONPATH="$MNT" "$PYTHON" -c 'import pkg.sub.m13 as m; print(m.value)')" 1313
}

# --- editors, locks, logs ------------------------------------------------------------------

@test "editors save files of a lower, with and without backups" {
	need command ed
	need command vim.tiny
	for i in one two three four five six; do
		printf 'first\n%s\nlast\n' $i >"$LOW/$i"
		chmod 640 "$LOW/$i"
		setfattr -n user.kept -v "$i" "$LOW/$i"
	done
	ln "$LOW/two" "$LOW/linked"
	ln -s three "$LOW/symlink"
	setfacl -m u:12345:r "$LOW/three"
	mount_with_plain
	in_both '
		vi() { vim.tiny -u NONE -i NONE -nes "$@" </dev/null; }
		vi --cmd "set nobackup writebackup backupcopy=no" -c "%s/first/FIRST/|wq" one
		vi --cmd "set backup backupcopy=auto" -c "%s/first/FIRST/|wq" two
		vi --cmd "set backup backupcopy=yes backupext=.bak" -c "%s/first/FIRST/|wq" symlink
		vim.tiny -u NONE -i NONE -es --cmd "set directory=." -c "%s/first/FIRST/|w|preserve|qa!" four </dev/null
		printf "%s\n" 1d a added . wq | ed -s five
		sed -i.orig s/last/LAST/ six; sed -i s/last/LAST/ linked; perl -pi -e s/LAST/perl/ six
		printf "%s\n" "--- five" "+++ five" "@@ -1,2 +1,2 @@" "-five" "+FIVE" " added" | patch -sb five
		head -v -n 9 *; ls -A'
	same_as_plain +nlink
	overlay_remount
	same_as_plain +nlink
}

@test "ssh-keygen insists on modes and gets them" {
	need command ssh-keygen
	ssh-keygen -q -t ed25519 -N '' -C lower -f "$LOW/key"
	mount_with_plain
	in_both 'ssh-keygen -yf key | cut -c 1-11
		chmod 644 key; ssh-keygen -yf key 2>&1 | grep -o "are too open" || echo taken
		chmod 600 key; ssh-keygen -yf key | cut -d " " -f 1
		ssh-keygen -qt ed25519 -N "" -C new -f new; stat -c "%n %a" new new.pub key
		ssh-keygen -qp -P "" -N secret -f key; ssh-keygen -yf key -P secret | cut -d " " -f 1
		printf "host %s\nother %s\n" "$(cut -d " " -f 1,2 key.pub)" "$(cut -d " " -f 1,2 new.pub)" >known_hosts
		chmod 600 known_hosts; ssh-keygen -qHf known_hosts >/dev/null 2>&1; ssh-keygen -f known_hosts -R host >/dev/null 2>&1
		ssh-keygen -F other -f known_hosts | wc -l; ls; stat -c "%n %a" known_hosts*'
}

@test "flock(1) and lock files made by link exclude others, before and after a copy-up" {
	echo 0 >"$LOW/counter"
	: >"$LOW/lock"
	tree_for_user
	overlay_mount
	# Held on a file that only a lower has, by a descriptor for reading.
	coproc HOLDER { exec "${USER_CMD[@]}" flock -s "$MNT/lock" sh -c 'echo held; read -r _' 3>&-; }
	STARTED+=("$HOLDER_PID")
	read -rt 10 answer <&"${HOLDER[0]}"
	run -1 as_user flock -n "$MNT/lock" true
	as_user sh -c 'echo x >>"$1"' sh "$MNT/lock"
	run -1 as_user flock -n "$MNT/lock" true
	as_user flock -sn "$MNT/lock" true
	echo >&"${HOLDER[1]}"
	wait "${STARTED[0]}"
	STARTED=()
	as_user flock -w 20 "$MNT/lock" true
	# Four processes count, two with flock, two more behind a link.
	for i in 1 2; do
		start_user sh -ec 'for i in $(seq 25); do flock "$1/lock" sh -ec "n=\$(cat \$1/counter); echo \$((n + 1)) >\$1/counter" sh "$1"; done' sh "$MNT"
	done
	as_user sh -c 'echo 0 >"$1/linked"' sh "$MNT"
	for i in 1 2; do
		start_user sh -ec 'cd "$1"; echo $$ >mine.$$; for i in $(seq 25); do
			until ln mine.$$ held 2>/dev/null && [ "$(stat -c %h mine.$$)" = 2 ]; do :; done
			n=$(cat linked); echo $((n + 1)) >linked; rm held; done' sh "$MNT"
	done
	for pid in "${STARTED[@]}"; do wait "$pid"; done
	STARTED=()
	assert_equal "$(as_user cat "$MNT/counter" "$MNT/linked" | xargs)" '50 50'
}

@test "tail -F follows a log of a lower through appending, rotation and truncation" {
	printf '%s\n' one two >"$LOW/log"
	tree_for_user
	overlay_mount
	: >"$T/run/seen"
	start_user tail -n +1 -s 0.1 -F "$MNT/log" >"$T/run/seen" 2>"$T/run/tail"
	add() { as_user sh -ec 'echo "$1" >>"$2"' sh "$1" "$MNT/log"; }
	wanted=(one two)
	step() {
		wanted+=("$1")
		poll 20 has_line "$T/run/seen" "$1" || fail "not followed: $1: $(cat "$T/run/seen")"
	}
	poll 20 has_line "$T/run/seen" two
	add three # copies it up
	step three
	as_user mv "$MNT/log" "$MNT/log.1"
	add four
	step four
	# A writer that keeps its descriptor, as daemons do until they are told.
	coproc WRITER { exec "${USER_CMD[@]}" sh -c 'exec >>"$1"; while read -r l; do echo "$l"; done' sh "$MNT/log" 3>&-; }
	STARTED+=("$WRITER_PID")
	echo five >&"${WRITER[1]}"
	step five
	as_user cp "$MNT/log" "$MNT/log.2"
	as_user truncate -s 0 "$MNT/log"
	poll 20 grep -q truncated "$T/run/tail"
	echo truncated >&"${WRITER[1]}"
	step truncated
	as_user sh -ec 'cd "$1"; mv log log.3; : >log; chmod 600 log' sh "$MNT"
	echo late >&"${WRITER[1]}"
	add six
	step six
	stop_started
	stop_started
	assert_equal "$(sort -u "$T/run/seen" | grep -v late)" "$(printf '%s\n' "${wanted[@]}" | sort)"
	overlay_remount
	assert_equal "$(as_user sh -c 'cd "$1" && grep . log*' sh "$MNT")" 'log:six
log.1:one
log.1:two
log.1:three
log.2:four
log.2:five
log.3:truncated
log.3:late'
}

@test "inotifywait sees what other programs do in a tree" {
	need command inotifywait
	mkdir -p "$LOW/a/b"
	echo x >"$LOW/a/b/f"
	tree_for_user
	overlay_mount
	start_user inotifywait -qmr -e create,delete,modify,move,attrib,close_write,open \
		--format '%e %w%f' -o "$T/run/events" "$MNT/a"
	# It says when it is ready only in a text for people: ask until it reports.
	watching() { as_user cat "$MNT/a/b/f" >/dev/null && grep -qs OPEN "$T/run/events"; }
	poll 20 watching
	as_user sh -ec 'cd "$1/a"; echo y >>b/f; mkdir c; echo z >new; mv new b/renamed; chmod 600 b/f
		rm b/renamed; mv b/f f; rmdir c' sh "$MNT"
	for want in "MODIFY $MNT/a/b/f" "CLOSE_WRITE,CLOSE $MNT/a/b/f" "CREATE,ISDIR $MNT/a/c" \
		"CREATE $MNT/a/new" "MODIFY $MNT/a/new" "MOVED_FROM $MNT/a/new" "MOVED_TO $MNT/a/b/renamed" \
		"ATTRIB $MNT/a/b/f" "DELETE $MNT/a/b/renamed" "MOVED_FROM $MNT/a/b/f" "MOVED_TO $MNT/a/f" \
		"DELETE,ISDIR $MNT/a/c"; do
		poll 20 has_line "$T/run/events" "$want" || fail "no $want in: $(cat "$T/run/events")"
	done
	stop_started
}

@test "dd reads and writes files of a lower with O_DIRECT, in place and sparsely" {
	head -c 1000000 /dev/urandom >"$LOW/data"
	mount_with_plain
	in_both 'dd if=data of=copy bs=64k iflag=direct oflag=direct status=none
		dd if=/dev/zero of=data bs=4096 seek=7 count=3 conv=notrunc oflag=direct status=none
		dd if=data of=copy bs=4096 skip=5 seek=100 count=9 conv=notrunc,fdatasync iflag=direct status=none
		dd if=copy of=data bs=512 count=1 oflag=append,sync conv=notrunc status=none
		dd if=/dev/zero of=sparse bs=1M count=4 conv=sparse,fsync status=none; du sparse | cut -f 1
		dd if=data bs=4096 iflag=direct status=none | md5sum; md5sum copy'
	overlay_remount
	same_as_plain
}
