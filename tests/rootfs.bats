# Whole root file systems as lowers: a Debian tree from debootstrap, and the machine's own /.
# OVERLAYFS_TEST_ROOTFS may name a tree from debootstrap --variant=minbase that is used instead
# of making one; it is only read.

load helpers

setup_file() {
	((EUID == 0)) || return 0
	if [[ -n ${OVERLAYFS_TEST_ROOTFS:-} ]]; then
		export ROOTFS=$OVERLAYFS_TEST_ROOTFS
		return 0
	fi
	ROOTFS_DIR=$(mktemp -d "${TMPDIR:-/tmp}/overlayfs-rootfs.XXXXXX")
	export ROOTFS_DIR ROOTFS=$ROOTFS_DIR/root
	chmod 755 "$ROOTFS_DIR"
	command -v debootstrap >/dev/null || return 0
	timeout 600 debootstrap --variant=minbase bookworm "$ROOTFS" http://deb.debian.org/debian \
		>"$ROOTFS_DIR/log" 2>&1 </dev/null 3>&- || tail -20 "$ROOTFS_DIR/log" >&2
}
teardown_file() { [[ -z ${ROOTFS_DIR:-} ]] || rm -rf --one-file-system "$ROOTFS_DIR"; }

setup() {
	tree_begin
	BATS_TEST_TIMEOUT=600
}
teardown() {
	local p
	# Services that packages start, and what a failed test left running in the mount.
	for p in /proc/[0-9]*; do
		[[ $(readlink "$p/root" 2>/dev/null) == "$T"/* ]] && kill -KILL "${p#/proc/}"
	done
	tree_end
}

debian() {
	need root
	need command debootstrap
	[[ -x $ROOTFS/usr/bin/dpkg && ! -d $ROOTFS/debootstrap ]] || {
		need network
		fail "debootstrap made no tree in $ROOTFS"
	}
	LOW=$ROOTFS
	LOWERS=("$LOW")
}

inside() {
	timeout 300 chroot "$MNT" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive "$@" </dev/null 3>&-
}

# build VERSION: a package with most of what packages have.
build() {
	local d=$T/pkg$1
	mkdir -p "$d"/{DEBIAN,usr/bin,usr/lib/demo/sub,usr/share/doc/demo,etc/demo}
	cat >"$d/DEBIAN/control" <<-END
		Package: demo
		Version: $1
		Architecture: all
		Maintainer: Nobody <nobody@example.org>
		Description: package of a test
	END
	printf '/etc/demo/conf\n' >"$d/DEBIAN/conffiles"
	printf '#!/bin/sh\nset -e\necho "postinst $1 %s" >>/var/log/demo.log\n' "$1" >"$d/DEBIAN/postinst"
	printf '#!/bin/sh\nset -e\n[ "$1" != purge ] || rm -f /var/log/demo.log\n' >"$d/DEBIAN/postrm"
	chmod 755 "$d/DEBIAN/postinst" "$d/DEBIAN/postrm"
	printf '#!/bin/sh\necho demo %s\n' "$1" >"$d/usr/bin/demo"
	chmod 4755 "$d/usr/bin/demo"
	echo "conf $1" >"$d/etc/demo/conf"
	for i in {1..30}; do echo "file $i of $1" >"$d/usr/lib/demo/sub/$i"; done
	ln -s sub/1 "$d/usr/lib/demo/link"
	ln "$d/usr/lib/demo/sub/2" "$d/usr/lib/demo/hard"
	echo "doc $1" >"$d/usr/share/doc/demo/README"
	[[ $1 == 1 ]] && echo only >"$d/usr/lib/demo/only-in-1"
	[[ $1 == 1 ]] || { echo only >"$d/usr/lib/demo/only-in-2"; rm "$d/usr/lib/demo/sub/7"; }
	dpkg-deb --root-owner-group --build "$d" "$T/demo_$1.deb" >/dev/null
}

package_lifecycle() {
	local run=$1
	$run dpkg -i /demo_1.deb
	assert_equal "$($run demo)" 'demo 1'
	assert_equal "$($run cat /usr/lib/demo/link /var/log/demo.log | xargs)" 'file 1 of 1 postinst configure 1'
	assert_equal "$($run stat -c '%a %h' /usr/bin/demo /usr/lib/demo/hard | xargs)" '4755 1 644 2'
	$run dpkg -i /demo_2.deb
	assert_equal "$($run demo)" 'demo 2'
	run ! $run ls /usr/lib/demo/only-in-1
	run ! $run ls /usr/lib/demo/sub/7
	assert_equal "$($run cat /etc/demo/conf /usr/lib/demo/only-in-2 | xargs)" 'conf 2 only'
	assert_equal "$($run dpkg --audit)" ''
	assert_equal "$($run dpkg --verify demo)" ''
	$run dpkg -r demo
	assert_equal "$($run cat /etc/demo/conf)" 'conf 2'
	$run dpkg --purge demo
	run ! $run sh -c 'ls -d /etc/demo /usr/lib/demo /usr/share/doc/demo /var/log/demo.log'
	refute_output --regexp '^/'
	# A package of the lower: away and back again, its files come from the lower.
	$run dpkg --audit
	assert_equal "$($run dpkg --audit)" ''
}

@test "dpkg installs, upgrades, removes and purges packages in a chroot" {
	debian
	build 1
	build 2
	overlay_mount
	cp "$T"/demo_*.deb "$MNT/"
	package_lifecycle inside
	# An essential package of the lower is taken apart and put together from what is there.
	inside dpkg --purge --force-all mawk
	run ! inside ls /usr/bin/mawk
	inside dpkg --verify libc6
	overlay_remount
	run ! inside ls /usr/bin/mawk
	assert_equal "$(inside dpkg-query -W -f '${Status}' dpkg)" 'install ok installed'
}

@test "the same with whiteouts as devices and as attributes" {
	debian
	build 1
	build 2
	for format in chardev xattr; do
		overlay_mount -o "whiteout=$format"
		cp "$T"/demo_*.deb "$MNT/"
		package_lifecycle inside
		overlay_umount
		rm -rf "$UP"
		mkdir "$UP"
	done
}

@test "apt-get installs a small package from the archive" {
	debian
	need network
	overlay_mount
	cp -L /etc/resolv.conf "$MNT/etc/resolv.conf"
	[[ ! -e /etc/hosts ]] || cp -L /etc/hosts "$MNT/etc/hosts"
	inside apt-get -qq -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false update
	inside apt-get -qq -y --no-install-recommends install hello
	assert_equal "$(inside hello)" 'Hello, world!'
	assert_equal "$(inside dpkg --audit)" ''
	inside apt-get -qq -y purge hello
	run ! inside hello
	inside apt-get -qq clean
	overlay_remount
	assert_equal "$(inside dpkg --audit)" ''
}

# What has the time of day or the order of things in it: logs, and the lists and caches of apt.
volatile_state='^/?(var/(log|cache|lib/apt)|tmp|etc/(resolv.conf|hosts))(/|$)'

# root_tree DIRECTORY: what an installation has to make the same.
root_tree() {
	"$PYTHON" "$LIB/tree.py" show "$1" | sed "s/^'//" | grep -vE "$volatile_state"
}

@test "an installation that is tried: diff names the package's files, discard leaves no trace, commit is the installation" {
	debian
	need network
	need command bwrap
	export XDG_STATE_HOME=$T/state
	local options='-qq -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false'
	local install="apt-get $options update && apt-get $options -y --no-install-recommends install hello"
	local tried=$T/tried direct=$T/direct
	cp -a "$ROOTFS" "$tried"
	cp -L /etc/resolv.conf /etc/hosts "$tried/etc/"
	cp -a "$tried" "$direct"
	root_run() {
		timeout 300 env -i XDG_STATE_HOME="$T/state" PATH="$PATH" HOME=/root LC_ALL=C.UTF-8 \
			DEBIAN_FRONTEND=noninteractive "$OVERLAYFS" run -l "$tried" "$@" </dev/null 3>&-
	}
	"$PYTHON" "$LIB/tree.py" show "$tried" +mtime +nlink | md5sum >"$T/before"

	root_run --discard sh -c "$install && hello" >"$T/out"
	assert_equal "$(tail -n 1 "$T/out")" 'Hello, world!'
	"$PYTHON" "$LIB/tree.py" show "$tried" +mtime +nlink | md5sum | diff "$T/before" -

	root_run --keep -n hello sh -c "$install"
	"$PYTHON" "$LIB/tree.py" show "$tried" +mtime +nlink | md5sum | diff "$T/before" -
	MNT=$direct inside sh -c "$install"
	# What the package brought, and dpkg's own.
	MNT=$direct inside dpkg -L hello | while read -r path; do
		[[ -e $tried$path || -L $tried$path ]] || printf '%s\n' "$path"
	done | sort >"$T/package"
	assert [ "$(wc -l <"$T/package")" -gt 3 ]
	"$OVERLAYFS" diff --names hello | grep -vE "$volatile_state" | sort >"$T/names"
	grep -vE '^/var/lib/dpkg(/|$)' "$T/names" | diff "$T/package" -
	assert_equal "$(grep -E '^/var/lib/dpkg/' "$T/names" | xargs)" \
		'/var/lib/dpkg/info/hello.list /var/lib/dpkg/info/hello.md5sums /var/lib/dpkg/status /var/lib/dpkg/status-old'

	"$OVERLAYFS" commit hello
	diff <(root_tree "$direct") <(root_tree "$tried")
	assert_equal "$(MNT=$tried inside hello)" 'Hello, world!'
	assert_equal "$(MNT=$tried inside dpkg --verify hello)" ''
}

@test "usr/share/doc is removed and made again" {
	debian
	overlay_mount
	n=$(find "$MNT/usr/share/doc" | wc -l)
	assert [ "$n" -gt 100 ]
	rm -rf "$MNT/usr/share/doc"
	assert_gone "$MNT/usr/share/doc"
	mkdir "$MNT/usr/share/doc"
	assert_names "$MNT/usr/share/doc"
	mkdir "$MNT/usr/share/doc/dpkg"
	echo mine >"$MNT/usr/share/doc/dpkg/copyright"
	overlay_remount
	assert_names "$MNT/usr/share/doc" dpkg
	assert_names "$MNT/usr/share/doc/dpkg" copyright
	assert_content "$MNT/usr/share/doc/dpkg/copyright" mine
	# All of the tree, and the empty directory remains.
	find "$MNT/usr" -mindepth 1 -delete
	assert_names "$MNT/usr"
	overlay_remount
	assert_names "$MNT/usr"
}

# The same changes to the mount and to a plain copy.
change_tree() {
	cd "$1" || return
	rm -rf usr/share/doc var/cache/apt
	mkdir usr/share/doc
	echo new >usr/share/doc/new
	mv usr/share/man usr/share/manual
	mv etc/apt usr/share/manual/apt
	ln usr/bin/bash usr/bin/bash.hard
	ln -s bash usr/bin/bash.soft
	chmod 2755 usr/share/zoneinfo
	chown -R 12:34 var/log
	echo appended >>etc/passwd
	truncate -s 100 etc/services 2>/dev/null || truncate -s 100 etc/profile
	mkfifo run/fifo
	mknod dev/extra c 1 7
	setfattr -n user.test -v x etc/hostname
	setfacl -m u:12345:rw etc/group
	setfacl -d -m u:12345:rx home
	truncate -s 10M var/sparse
	cp -a usr/sbin usr/sbin2
	find . -xdev -newer "$T/start" -exec touch -h -d '2020-02-02 02:02:02.5' {} +
	find . -xdev -type d -exec touch -d '2020-03-03' {} +
	cd / || return
}

@test "tar and rsync out of the mount give the expected tree" {
	debian
	need command rsync
	cp -a "$LOW" "$T/want"
	touch -r "$LOW" "$UP" # the root's own times are the upper's
	overlay_mount
	assert_same_tree "$T/want" "$MNT" +mtime +nlink
	touch -d "1 second ago" "$T/start"
	change_tree "$MNT"
	change_tree "$T/want"
	assert_same_tree "$T/want" "$MNT" +mtime +nlink
	overlay_remount
	assert_same_tree "$T/want" "$MNT" +mtime +nlink
	mkdir "$T/rsync" "$T/tar"
	rsync -aHAX --numeric-ids "$MNT/" "$T/rsync/"
	assert_same_tree "$T/want" "$T/rsync" +mtime +nlink
	rm -rf "$T/rsync"
	tar -C "$MNT" --numeric-owner --xattrs --xattrs-include='*' --acls -S -cf - . |
		tar -C "$T/tar" --numeric-owner --xattrs --xattrs-include='*' --acls --delay-directory-restore -xpf -
	assert_same_tree "$T/want" "$T/tar" +mtime +nlink
	rm -rf "$T/tar"
	# And back in: what rsync finds different afterwards is nothing.
	rsync -aHAX --numeric-ids --delete "$LOW/" "$MNT/"
	lower_may_change "$LOW"
	assert_equal "$(rsync -aHAXn --numeric-ids --delete --itemize-changes "$LOW/" "$MNT/")" ''
	rm -rf "$T/want"
}

@test "gcc compiles and runs a program in the view of the machine's own /" {
	need root
	need command gcc
	LOWERS=()
	overlay_start -u "$UP" / "$MNT"
	printf '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n' >"$MNT/tmp/overlayfs-test.c"
	assert_equal "$(inside sh -c 'cd /tmp && gcc -O2 -o overlayfs-test overlayfs-test.c && ./overlayfs-test')" compiled
	assert_not_exist /tmp/overlayfs-test
	inside sh -c 'rm -rf /usr/share/doc && mkdir /usr/share/doc && ls -A /usr/share/doc'
	assert [ -n "$(ls /usr/share/doc)" ]
	overlay_umount
}

@test "git clones, commits, checks out, collects garbage, and fsck is content" {
	need command git
	export HOME=$T GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org \
		GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
	git config --global safe.directory '*'
	git init -q -b main "$LOW/repo"
	for i in {1..120}; do
		mkdir -p "$LOW/repo/d$((i % 9))"
		seq "$i" $((i + 400)) >"$LOW/repo/d$((i % 9))/f$i"
	done
	git -C "$LOW/repo" add .
	git -C "$LOW/repo" commit -qm first
	git -C "$LOW/repo" status >/dev/null
	tree_for_user
	overlay_mount
	as_git() { as_user env HOME="$T" git "$@"; }
	as_user sh -c 'mkdir "$1/work"' sh "$MNT"
	assert_equal "$(as_git -C "$MNT/repo" status --porcelain)" ''
	as_git clone -q "$MNT/repo" "$MNT/work/clone"
	as_user sh -ec 'cd "$1/repo"; echo x >>d1/f1; rm d2/f2; git mv d3 moved; git add -A' sh "$MNT"
	as_git -C "$MNT/repo" commit -qm second
	as_git -C "$MNT/repo" checkout -q -b side HEAD~1
	as_user rm -rf "$MNT/repo/d4"
	as_git -C "$MNT/repo" commit -qam third
	as_git -C "$MNT/repo" merge -q -m merge main
	as_git -C "$MNT/repo" gc -q --prune=now
	as_git -C "$MNT/repo" fsck --strict --full
	assert_equal "$(as_git -C "$MNT/repo" status --porcelain)" ''
	overlay_remount
	assert_equal "$(as_git -C "$MNT/repo" status --porcelain)" ''
	as_git -C "$MNT/work/clone" fsck --strict --full
	as_git -C "$MNT/work/clone" pull -q
	as_git -C "$MNT/repo" checkout -q main
	as_git -C "$MNT/repo" checkout -q side
	as_git -C "$MNT/repo" reset -q --hard main~1
	assert_equal "$(as_user find "$MNT/repo" -path '*/.git' -prune -o -type f -print | wc -l)" 120
	as_git -C "$MNT/repo" fsck --full
}

@test "an ordinary user has a root file system to write to with bwrap --bind" {
	need root
	need command bwrap
	need userns
	debian
	build 1
	build 2
	# As an unpacked image of a rootless tool: everything belongs to the user.
	cp -a "$LOW" "$T/image"
	rm -rf "$T/image/dev"
	mkdir "$T/image/dev"
	chown -Rh "$TEST_UID:$TEST_GID" "$T/image"
	LOW=$T/image
	LOWERS=("$LOW")
	chown "$TEST_UID:$TEST_GID" "$UP" "$MNT"
	DAEMON_AS=("${USER_CMD[@]}")
	overlay_mount
	as_user cp "$T"/demo_*.deb "$MNT/"
	sandbox() {
		as_user timeout 300 bwrap --unshare-user --unshare-pid --uid 0 --gid 0 --bind "$MNT" / --dev /dev --proc /proc \
			--clearenv --setenv PATH /usr/sbin:/usr/bin:/sbin:/bin --setenv HOME /root \
			--setenv DEBIAN_FRONTEND noninteractive --die-with-parent "$@" </dev/null 3>&-
	}
	sandbox true || { [[ ${CI:-} != true ]] && skip 'bwrap may not run here'; }
	assert_equal "$(sandbox id -u)" 0
	package_lifecycle sandbox
	sandbox sh -ec 'rm -rf /usr/share/doc; mkdir /usr/share/doc; echo x >/usr/share/doc/x
		mv /usr/share/man /usr/share/manual; chmod 600 /etc/passwd; ls / >/dev/null'
	overlay_remount
	assert_equal "$(sandbox sh -c 'ls /usr/share/doc')" x
	assert_equal "$(sandbox stat -c '%u %a' /etc/passwd)" '0 600'
	overlay_umount
}

@test "an ordinary user works in the view of the machine's own / with bwrap --bind" {
	need command bwrap
	need userns
	tree_for_user
	LOWERS=()
	overlay_start -u "$UP" / "$MNT"
	as_user timeout 60 bwrap --bind "$MNT" / --dev /dev --proc /proc true 3>&- ||
		{ [[ ${CI:-} != true ]] && skip 'bwrap may not run here'; }
	run -0 as_user timeout 60 bwrap --bind "$MNT" / --dev /dev --proc /proc --die-with-parent \
		sh -ec 'echo hidden >/tmp/overlayfs-test.$$; cat /tmp/overlayfs-test.$$; rm /tmp/overlayfs-test.$$
			mkdir /tmp/d; echo x >/tmp/d/f; mv /tmp/d /tmp/e; cat /tmp/e/f
			cat /etc/passwd >/dev/null; ls -R /etc >/dev/null 2>&1 || :; awk "BEGIN { print 6 * 7 }"' 3>&-
	assert_output 'hidden
x
42'
	assert_not_exist /tmp/e
	overlay_umount
}

@test "an ordinary user works in the view of the machine's own / with proot -r" {
	need command proot
	tree_for_user
	# Version 5.1 lets statx(2) ask the machine's own /, so these commands do without.
	LOWERS=()
	overlay_start -u "$UP" / "$MNT"
	chmod 1777 "$T/run"
	run -0 as_user timeout 60 env PROOT_TMP_DIR="$T/run" proot -r "$MNT" -b /dev -b /proc -w / \
		sh -ec 'echo hidden >/tmp/overlayfs-test.$$; cat /tmp/overlayfs-test.$$; rm /tmp/overlayfs-test.$$
			mkdir /tmp/d; echo x >/tmp/d/f; mv /tmp/d /tmp/e; cat /tmp/e/f
			cat /etc/passwd >/dev/null; awk "BEGIN { print 6 * 7 }"' 3>&-
	assert_output 'hidden
x
42'
	assert_not_exist /tmp/e
	overlay_umount
}
