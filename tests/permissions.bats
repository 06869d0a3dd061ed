# Owners and modes: who may do what, to whom new files belong, what a change of a file clears.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

# like_plain FUNCTION: run it in the mount and in a plain directory; the same is printed.
like_plain() {
	(cd "$T/plain" && "$1") >"$T/run/want" 2>&1 || :
	(cd "$MNT" && "$1") >"$T/run/got" 2>&1 || :
	assert [ -s "$T/run/want" ]
	diff "$T/run/want" "$T/run/got" || fail 'in a plain directory (<) it is not as in the mount (>)'
}
# A plain directory with the same content as the lower.
plain_copy() { cp -a "$LOW" "$T/plain"; }

@test "as root with allow_other, new files belong to the caller" {
	need root
	mkdir -m 1777 "$LOW/tmp" "$LOW/closed"
	chmod 700 "$LOW/closed"
	overlay_mount
	as_user sh -ec 'cd "$1"; echo x >f; mkdir d; ln -s x l; mkfifo p; echo x >d/f' sh "$MNT/tmp"
	as_other sh -ec 'cd "$1"; echo x >other' sh "$MNT/tmp"
	assert_equal "$(cd "$MNT/tmp" && stat -c '%n %u:%g' f d l p d/f other | xargs)" \
		"f $TEST_UID:$TEST_GID d $TEST_UID:$TEST_GID l $TEST_UID:$TEST_GID p $TEST_UID:$TEST_GID d/f $TEST_UID:$TEST_GID other $OTHER_UID:$OTHER_GID"
	assert_equal "$(stat -c '%u:%g' "$UP/tmp/f" "$UP/tmp/d" | xargs)" "$TEST_UID:$TEST_GID $TEST_UID:$TEST_GID"
	assert_equal "$(user_sysc open "$MNT/closed/f" 'CREAT|WRONLY')" EACCES
	assert_equal "$(user_sysc mkdir "$MNT/d")" EACCES
}

@test "users may do in the mount what they may do in a plain directory" {
	need root
	mkdir -m 1777 "$LOW/sticky"
	mkdir -m 777 "$LOW/open"
	mkdir -m 711 "$LOW/search"
	mkdir -m 755 "$LOW/closed"
	mkdir "$LOW/mine"
	echo other | tee "$LOW/sticky/other" "$LOW/open/other" >"$LOW/search/other"
	echo mine | tee "$LOW/sticky/mine" "$LOW/open/mine" >"$LOW/mine/mine"
	echo root | tee "$LOW/closed/root" >"$LOW/secret"
	chmod 600 "$LOW/secret"
	chown "$OTHER_UID:$OTHER_GID" "$LOW"/*/other
	chown "$TEST_UID:$TEST_GID" "$LOW"/*/mine "$LOW/mine"
	plain_copy
	overlay_mount
	tries() {
		for op in 'unlink sticky/other' 'rename sticky/other sticky/x' 'rename open/other sticky/other' \
			'unlink sticky/mine' 'unlink open/other' 'rename open/mine search/mine' 'listdir search' \
			'open search/other RDONLY' 'open search/other WRONLY' 'unlink search/other' \
			'open closed/root RDONLY' 'open closed/root WRONLY' 'unlink closed/root' \
			'open closed/new CREAT|WRONLY' 'mkdir closed/new' 'open secret RDONLY' 'truncate secret 0' \
			'chmod open/mine 600' 'chmod search/other 600' 'chown open/mine 0 0' 'chown open/mine -1 -1' \
			'chown closed/root -1 -1' 'utime open/mine 0 0' 'utime closed/root 0 0' 'rmdir closed' \
			'setxattr closed/root user.a b' 'setxattr open/mine user.a b' 'getxattr secret user.a' \
			'access secret 4' 'access closed/root 2' 'access mine 7' 'link open/mine mine/link' \
			'link secret mine/link2' 'setxattr open/mine trusted.a b' 'mknod mine/dev b 644 7 1' \
			'mknod mine/dev2 c 644 1 3' 'rename mine open/mine2' 'rmdir open' 'listdir open'; do
			printf '%s: %s\n' "$op" "$(user_sysc $op)"
		done
	}
	like_plain tries
	assert_same_tree "$T/plain" "$MNT"
	overlay_remount
	assert_same_tree "$T/plain" "$MNT"
}

@test "in a setgid directory new files get its group, and directories the bit" {
	need root
	mkdir "$LOW/low" "$UP/up"
	chown "0:$OTHER_GID" "$LOW/low" "$UP/up"
	chmod 2777 "$LOW/low" "$UP/up"
	mkdir "$T/plain"
	cp -a "$LOW/low" "$UP/up" "$T/plain"
	overlay_mount
	in_both() {
		for d in low up; do
			as_user sh -ec 'umask 002; cd "$1"; : >f; mkdir d; ln -s x l; mkfifo p; mkdir d/e; : >d/e/f' sh "$d"
			as_user install -m 2755 /bin/true "$d/prog"
			(cd $d && find . -printf '%p %m %U:%G\n' | sort)
		done
	}
	like_plain in_both
	mv "$MNT/low" "$MNT/moved"
	as_user touch "$MNT/moved/d/later"
	assert_equal "$(stat -c %g "$MNT/moved/d/later")" "$OTHER_GID"
}

@test "the umask applies, and a default ACL takes its place" {
	mkdir "$LOW/plain" "$LOW/acl"
	setfacl -d -m u::rwx,g::rwx,o::r-x,u:12345:rwx "$LOW/acl"
	plain_copy
	overlay_mount
	in_both() {
		for mask in 022 077 027 000; do
			umask $mask
			for d in plain acl; do
				: >"$d/f$mask"
				mkdir "$d/d$mask"
				mkfifo "$d/p$mask"
				: >"$d/d$mask/f"
				mkdir "$d/d$mask/sub"
				sysc open "$d/e$mask" 'CREAT|EXCL|WRONLY' 7777
			done
		done
		find . -mindepth 1 -printf '%p %m\n' | sort
		find . | sort | xargs getfacl
	}
	like_plain in_both
	assert_same_tree "$T/plain/acl" "$MNT/acl"
	overlay_remount
	assert_same_tree "$T/plain/acl" "$MNT/acl"
}

@test "a new set-id file has no more bits than the default ACL leaves it" {
	need root
	mkdir -m 777 "$LOW/d"
	setfacl -d -m "u:$OTHER_UID:r,g::r,m::r" "$LOW/d"
	plain_copy
	overlay_mount
	create() {
		user_py <<-'EOF'
			import os
			os.umask(0)
			for mode in 0o6711, 0o4777, 0o2777, 0o711:
			    os.close(os.open('d/%o' % mode, os.O_CREAT | os.O_WRONLY, mode))
		EOF
		stat -c '%n %a' d/*
		getfacl -cn d/*
	}
	like_plain create
}

@test "an ACL that is set is shown, obeyed and copied up" {
	need root
	echo x | tee "$LOW/f" >"$LOW/g"
	chmod 600 "$LOW/f" "$LOW/g"
	setfacl -m "u:$TEST_UID:r" "$LOW/f"
	overlay_mount
	assert_equal "$(as_user cat "$MNT/f")" x
	assert_equal "$(user_sysc open "$MNT/f" WRONLY)" EACCES
	assert_equal "$(user_sysc open "$MNT/g" RDONLY)" EACCES
	setfacl -m "u:$TEST_UID:rw" "$MNT/g"
	assert_equal "$(user_sysc open "$MNT/g" RDWR)" ok
	assert_equal "$(other_sysc open "$MNT/g" RDONLY)" EACCES
	assert_equal "$(stat -c %a "$MNT/g")" 660
	chmod 644 "$MNT/f"
	getfacl -c "$MNT/f" | grep -qx "user:$TEST_USER:r--"
	chmod 600 "$MNT/f"
	assert_equal "$(user_sysc open "$MNT/f" RDONLY)" EACCES
	setfacl -b "$MNT/g"
	assert_equal "$(getfacl -c "$MNT/g" | grep -c user:)" 1
	overlay_remount
	getfacl -c "$MNT/f" | grep -qx "user:$TEST_USER:r--.*"
	assert_equal "$(user_sysc open "$MNT/f" RDONLY)" EACCES
}

@test "noacl hides and refuses ACLs" {
	echo x >"$LOW/f"
	overlay_mount -o noacl
	run setfacl -m u:12345:r "$MNT/f"
	assert_failure
	assert_output --partial 'not supported'
}

@test "chown, write and truncate clear setuid and setgid as on a plain file system" {
	need root
	mkdir -m 777 "$LOW/d"
	for f in w t c g a m r; do
		cp /bin/true "$LOW/d/$f"
		chown "$TEST_UID:$TEST_GID" "$LOW/d/$f"
		chmod 6777 "$LOW/d/$f"
	done
	plain_copy
	overlay_mount
	in_both() {
		cd d || return
		as_user sh -c 'echo x >>w; : >t'
		stat -c '%n %a' w t
		as_other sh -c 'echo x >>a'
		chown 12:34 c
		chgrp 34 g
		echo x >>r
		truncate -s 100 m
		stat -c '%n %a' ./*
		as_user chmod 6755 w
		as_other sh -c 'echo x >>w'
		stat -c '%n %a' ./*
	}
	like_plain in_both
	overlay_remount
	diff <(cd "$T/plain/d" && stat -c '%n %a' ./*) <(cd "$MNT/d" && stat -c '%n %a' ./*)
}

@test "setuid programs in the mount run with their owner's rights when root mounts" {
	need root
	cp "$(command -v id)" "$LOW/id"
	chmod 4755 "$LOW/id"
	overlay_mount
	assert_equal "$(as_user "$MNT/id" -u)" 0
	chmod 755 "$MNT/id"
	assert_equal "$(as_user "$MNT/id" -u)" "$TEST_UID"
}

@test "set-group-ID without group execution goes only where the writer is not of the group" {
	need root
	mkdir -m 777 "$LOW/d"
	for f in write truncate open allocate chown acl link mine; do
		echo data >"$LOW/d/$f"
		chown "$TEST_UID:$OTHER_GID" "$LOW/d/$f"
		chmod 2666 "$LOW/d/$f"
	done
	ln "$LOW/d/link" "$LOW/d/name"
	chgrp "$TEST_GID" "$LOW/d/mine"
	chmod 2644 "$LOW/d/mine"
	cp -a "$LOW/d/acl" "$LOW/d/exec"
	chmod 2777 "$LOW/d/exec"
	plain_copy
	overlay_mount
	in_both() {
		cd d || return
		as_user sh -c 'echo x >>write; truncate -s 1 truncate; : >open; fallocate -l 9 allocate
			chgrp "$(id -g)" chown; setfacl -m u:0:r acl; setfacl -m u:0:r exec; echo x >>mine'
		stat -c '%n %a %g' name link
		as_user sh -c 'exec 3>>name; echo x >&3'
		stat -c '%n %a %g' ./*
	}
	like_plain in_both
	overlay_remount
	diff <(cd "$T/plain/d" && stat -c '%n %a' ./*) <(cd "$MNT/d" && stat -c '%n %a' ./*)
}

@test "chmod by one who is not of the group drops setgid" {
	need root
	mkdir -m 777 "$LOW/d"
	: >"$LOW/d/f"
	chown "$TEST_UID:$OTHER_GID" "$LOW/d/f"
	plain_copy
	overlay_mount
	in_both() {
		as_user chmod 2755 d/f
		stat -c %a d/f
	}
	like_plain in_both
}

@test "an ordinary user's files belong to him, and lower files of others keep their owner" {
	need root
	mkdir "$LOW/d"
	echo x >"$LOW/d/root"
	tree_for_user
	chown 0:0 "$LOW/d/root"
	overlay_mount
	as_user sh -ec 'cd "$1"; : >f; mkdir e; mv d/root d/moved; ln -s x l' sh "$MNT"
	assert_equal "$(as_user stat -c '%u' "$MNT/f" "$MNT/e" "$MNT/l" "$UP/f" | sort -u)" "$TEST_UID"
	assert_equal "$(as_user cat "$MNT/d/moved")" x
	assert_equal "$(user_sysc chown "$MNT/f" 0 0)" EPERM
	assert_equal "$(user_sysc chown "$MNT/f" "$TEST_UID" "$TEST_GID")" ok
}

@test "squash_to_uid and squash_to_gid show one owner for all files" {
	need root
	echo x >"$LOW/f"
	chown 12:34 "$LOW/f"
	mkdir -m 755 "$LOW/d"
	tree_for_user
	chown -R 0:0 "$LOW"
	overlay_mount -o "squash_to_uid=$TEST_UID,squash_to_gid=$TEST_GID"
	assert_equal "$(as_user find "$MNT" -printf '%U:%G\n' | sort -u)" "$TEST_UID:$TEST_GID"
	# So everything can be changed.
	as_user sh -ec 'cd "$1"; echo y >>f; : >d/new; chmod 700 d' sh "$MNT"
	assert_equal "$(as_user cat "$MNT/f" | xargs)" 'x y'
	assert_equal "$(as_user find "$MNT" -printf '%U:%G\n' | sort -u)" "$TEST_UID:$TEST_GID"
}

@test "squash_to_root shows everything as root's" {
	echo x >"$LOW/f"
	((EUID != 0)) || chown 12:34 "$LOW/f"
	overlay_mount -o squash_to_root
	assert_equal "$(find "$MNT" -printf '%U:%G\n' | sort -u)" 0:0
}

@test "inside a user namespace ownership is what the namespace can give" {
	need userns
	echo x >"$LOW/f"
	mkdir "$LOW/d"
	tree_for_user
	lowers_remember
	run -0 timeout 60 "${USER_CMD[@]}" unshare -Urm bash -ec '
		"$OVERLAYFS" -u "$UP" "$LOW" "$MNT" 3>&-
		cd "$MNT"
		stat -c %u:%g f d
		echo y >>f; mkdir d/new; : >d/new/f
		chown 0:0 f
		chmod 4755 f
		stat -c "%u:%g %a" f d/new
		cd /
		umount "$MNT"'
	assert_output '0:0
0:0
0:0 4755
0:0 755'
	poll 10 no_daemons
}

@test "root writes to a file with a capability: that goes, the set-id bits stay" {
	need root
	echo x >"$LOW/f"
	chmod 6755 "$LOW/f"
	setcap cap_net_raw+ep "$LOW/f"
	plain_copy
	setcap cap_net_raw+ep "$T/plain/f"
	overlay_mount
	write() {
		echo y >>f
		stat -c %a f
		getcap f
		python3 -c 'import os; os.chown("f", -1, -1)'
		stat -c %a f
	}
	like_plain write
}

@test "nobody but the owner clears set-id bits by a chown that changes nobody" {
	need root
	echo x >"$LOW/f"
	chmod 6777 "$LOW/f"
	overlay_mount
	other_py() { as_other "$PYTHON" -c 'import os, sys; os.chown(sys.argv[1], -1, -1)' "$MNT/f"; }
	other_py || :
	assert_equal "$(stat -c %a "$MNT/f")" 6777
	assert_upper
	as_other sh -c 'echo y >>"$1"' sh "$MNT/f"
	assert_equal "$(stat -c %a "$MNT/f")" 777
}

@test "who writes to a file with capabilities takes them and its set-id bits, but root" {
	need root
	for f in other owner root; do
		echo x | tee "$LOW/$f" >"$UP/up-$f"
		for path in "$LOW/$f" "$UP/up-$f"; do
			chown "$TEST_UID:$TEST_GID" "$path"
			chmod 6777 "$path"
			setcap cap_net_raw+ep "$path"
		done
	done
	mkdir "$T/plain"
	cp -a "$LOW/." "$UP/." "$T/plain"
	overlay_mount
	write() {
		for f in {,up-}{other,owner,root}; do
			case $f in
			*other) as_other sh -c 'echo y >>"$1"' sh "$f" ;;
			*owner) as_user sh -c 'echo y >>"$1"' sh "$f" ;;
			*) echo y >>"$f" ;;
			esac
			stat -c '%n %a' "$f"
			getcap "$f"
		done
	}
	like_plain write
}

@test "the owner of the root may change it at once" {
	tree_for_user
	overlay_mount_background -o "lowerdir=$LOW,upperdir=$UP" "$MNT"
	assert_equal "$(user_sysc chmod "$MNT" 700)" ok
	assert_equal "$(stat -c %a "$UP")" 700
}
