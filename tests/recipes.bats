# The recipes of the manual page: what they say works as they say it. (The line of fstab is
# tested in cli.bats, two merged sandboxes and a dry-run installation in run.bats.)

load helpers

setup() {
	tree_begin
	export XDG_STATE_HOME=$T/state HOME=$T/home
	mkdir -p "$XDG_STATE_HOME" "$HOME" "$T/work"
	[[ $EUID != 0 ]] || chown -R "$TEST_UID:$TEST_GID" "$XDG_STATE_HOME" "$HOME" "$T/work"
	cd "$T/work" || return 1
}
teardown() { tree_end; }

ovl() { timeout 60 "${USER_CMD[@]}" "$OVERLAYFS" "$@" 3>&-; }
root_ovl() { timeout 120 "$OVERLAYFS" "$@" 3>&-; }

@test "recipe: an installer that writes to /usr/local, tried by an ordinary user and committed by root" {
	need root
	mkdir "$T/prefix"
	printf 'install:\n\tinstall -D -m 755 Makefile %s/bin/tool\n' "$T/prefix" | as_user tee Makefile >/dev/null
	run -2 ovl run --discard make -s install
	run -0 ovl run --keep -n t1 --root make -s install
	assert_equal "$(find "$T/prefix" -mindepth 1)" ''
	run -0 ovl diff --names t1
	assert_output "$T/prefix/bin
$T/prefix/bin/tool"
	run -0 root_ovl commit t1
	assert_file_exist "$T/prefix/bin/tool"
	assert_equal "$(stat -c %u "$T/prefix" "$T" | xargs)" '0 0'
}

@test "recipe: an agent that sees no secrets, has no network, and keeps its cache" {
	as_user mkdir -p "$HOME/.ssh" "$HOME/.cache/agent" "$HOME/project" "$HOME/other"
	as_user sh -c "echo key >'$HOME/.ssh/id'; echo secret >'$HOME/project/.env'"
	run -0 ovl run --keep -n agent --hide ~/.ssh --hide .env --no-net --rw ~/.cache/agent -C "$HOME/project" -- \
		sh -c 'cat ~/.ssh/id .env 2>/dev/null; echo x >code; echo y >../other/z; echo c >~/.cache/agent/c; grep -c : /proc/net/dev'
	assert_output 1
	assert_content "$HOME/.cache/agent/c" c
	run -0 ovl diff --patch agent
	assert_output --partial '+x'
	run -0 ovl commit --include "$HOME/project/" agent
	assert_content "$HOME/project/code" x
	assert_not_exist "$HOME/other/z"
	run -0 ovl diff --names agent
	assert_output "$HOME/other/z"
	run -0 ovl discard agent
}

@test "recipe: an upgrade tried in a root file system" {
	need root
	need command dpkg-deb
	local root=$T/work/debian file
	# As much of a system as dpkg needs.
	mkdir -p "$root"/{var/lib/dpkg/{info,updates,triggers},etc,tmp,dev,proc,sys,usr/{bin,sbin},usr/share} "$T/deb/DEBIAN" "$T/deb/usr/share/demo"
	for file in dpkg dpkg-deb dpkg-split dpkg-query sh tar rm cat diff xz; do
		cp "$(command -v $file)" "$root/usr/bin/"
		ldd "$(command -v $file)" | grep -o '/[^ )]*' | while read -r lib; do
			mkdir -p "$root${lib%/*}"
			cp -L "$lib" "$root$lib"
		done
	done
	ln -s usr/bin "$root/bin"
	cp /usr/bin/true "$root/usr/sbin/ldconfig"
	cp /usr/bin/true "$root/usr/sbin/start-stop-daemon"
	touch "$root/var/lib/dpkg/status" "$root/var/lib/dpkg/available"
	pack() {
		printf 'Package: demo\nVersion: %s\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n' "$1" >"$T/deb/DEBIAN/control"
		echo "$1" >"$T/deb/usr/share/demo/version"
		dpkg-deb -b "$T/deb" "$root/tmp/demo_$1.deb" >/dev/null
	}
	pack 1
	pack 2
	run -0 root_ovl run --commit -l "$root" dpkg -i /tmp/demo_1.deb
	assert_content "$root/usr/share/demo/version" 1
	tar -C "$root" --sort=name -c . | sha256sum >"$T/before"
	run -0 root_ovl run --keep -n up -l "$root" dpkg -i /tmp/demo_2.deb
	assert_output --partial 'Unpacking demo (2) over (1)'
	tar -C "$root" --sort=name -c . | sha256sum | cmp - "$T/before"
	run -0 root_ovl diff --names --exclude /var up
	assert_output /usr/share/demo/version
	run -0 root_ovl run --keep -n down -l "$root" dpkg -i /tmp/demo_2.deb
	run -0 root_ovl discard down
	tar -C "$root" --sort=name -c . | sha256sum | cmp - "$T/before"
	run -0 root_ovl commit --atomic --rootfs up
	assert_content "$root/usr/share/demo/version" 2
	run -0 root_ovl run --discard -l "$root" dpkg -s demo
	assert_output --partial 'Version: 2'
	run -0 root_ovl discard up
}

@test "recipe: a build cache of one session above the other" {
	as_user mkdir src
	as_user sh -c "printf 'deps:\n\techo d >deps.txt\nall:\n\tcat deps.txt >out\ncheck:\n\tcat out\n' >src/Makefile"
	run -0 ovl run --keep -n deps -l src make -s deps
	run -0 ovl run --keep -n build -l deps make -s all
	run -0 ovl run --discard -l build make -s check
	assert_output d
	assert_equal "$(ls src)" Makefile
	run -0 ovl diff --names build
	assert_output /out
}

@test "recipe: undo" {
	as_user mkdir drafts
	as_user sh -c 'echo 1 >drafts/1; echo a >a'
	run -0 ovl run --keep -n edit sh -c 'rm -r drafts; mv a b'
	run -0 ovl diff edit
	assert_output --partial "D $T/work/drafts"
	run -0 ovl discard edit
	assert_content drafts/1 1
	assert_content a a
}

@test "recipe: one read-only tree, writable to many users" {
	need root
	local user
	mkdir "$T/dataset" "$T/dataset/dir"
	echo data >"$T/dataset/dir/file"
	for user in TEST OTHER; do
		local -n uid=${user}_UID gid=${user}_GID
		mkdir -p "$T/$user"/{changes,view}
		chown -R "$uid:$gid" "$T/$user"
		local -n command=${user}_CMD
		"${command[@]}" "$OVERLAYFS" -u "$T/$user/changes" -o "squash_to_uid=$uid,squash_to_gid=$gid" \
			"$T/dataset" "$T/$user/view" 3>&-
		"${command[@]}" sh -ec "cd '$T/$user/view'; echo $user >>dir/file; cat dir/file" >"$T/run/$user"
	done
	assert_content "$T/dataset/dir/file" data
	assert_equal "$(xargs <"$T/run/TEST") $(xargs <"$T/run/OTHER")" 'data TEST data OTHER'
	for user in TEST OTHER; do
		local -n command=${user}_CMD
		"${command[@]}" "$OVERLAYFS" umount "$T/$user/view"
	done
}

@test "recipe: proot, without namespaces" {
	need command proot
	printf 'check:\n\techo made >made; cat made\n' | as_user tee Makefile >/dev/null
	run -0 ovl run --sandbox proot --discard make -s check
	assert_output made
	assert_not_exist made
}

@test "recipe: scratch trees for many jobs at once" {
	local i pids=()
	as_user mkdir checkout
	printf 'test:\n\ttest ! -e mark; echo $(N) >mark; cat mark\n' | as_user tee checkout/Makefile >/dev/null
	for i in {1..8}; do
		ovl run --discard -l checkout make -s test N="$i" </dev/null >"$T/run/job.$i" 2>&1 &
		pids+=($!)
	done
	for i in {1..8}; do
		wait "${pids[i - 1]}" || fail "job $i: $(cat "$T/run/job.$i")"
		assert_equal "$(cat "$T/run/job.$i")" "$i"
	done
	assert_equal "$(ls checkout)" Makefile
}
