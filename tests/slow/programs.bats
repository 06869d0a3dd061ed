# More programs that people run, as in ../programs.bats: those whose packages are large, or that
# need a machine of one's own.

load ../helpers

setup() {
	tree_begin
	LOOP=''
}
teardown() {
	is_mounted "$T/disk" && umount "$T/disk"
	[[ -z $LOOP ]] || losetup -d "$LOOP" 2>/dev/null
	tree_end
}

# package DIRECTORY NAME VERSION [MORE]: a package of node in the lower.
package() {
	mkdir -p "$LOW/$1/lib"
	printf '{"name": "%s", "version": "%s", "bin": {"%s": "bin.js"}, "main": "lib/index.js"%s}\n' \
		"$2" "$3" "$2" "${4:+, $4}" >"$LOW/$1/package.json"
	printf '#!/usr/bin/env node\nconsole.log(require("./lib"))\n' >"$LOW/$1/bin.js"
	printf 'module.exports = "%s %s"\n' "$2" "$3" >"$LOW/$1/lib/index.js"
	for i in {1..30}; do echo "$i of $3" >"$LOW/$1/lib/file$i"; done
}

@test "npm installs, upgrades, runs and removes packages in a project of a lower" {
	need command npm
	package inner inner 1.0.0
	package outer-1 outer 1.0.0 '"dependencies": {"inner": "file:../inner"}'
	package outer-2 outer 2.0.0 '"scripts": {"postinstall": "echo done >postinstalled"}'
	rm "$LOW/outer-2/lib/file7"
	mkdir "$LOW/project"
	echo '{"name": "project", "version": "0.0.1", "scripts": {"say": "outer"}}' >"$LOW/project/package.json"
	tree_for_user
	overlay_mount
	npm() {
		local dir=$MNT/$1
		shift
		as_user env -C "$dir" HOME="$MNT/home" npm_config_cache="$MNT/cache" npm_config_offline=true \
			npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false \
			timeout 100 npm "$@" </dev/null 3>&-
	}
	as_user mkdir "$MNT/home"
	for dir in inner outer-1 outer-2; do npm $dir pack --silent --pack-destination "$MNT"; done
	npm project install --silent ../outer-1.0.0.tgz ../inner-1.0.0.tgz
	assert_equal "$(npm project run --silent say)" 'outer 1.0.0'
	npm project install --silent ../outer-2.0.0.tgz
	assert_equal "$(npm project run --silent say)" 'outer 2.0.0'
	outer=$MNT/project/node_modules/outer
	assert_equal "$(as_user cat "$outer/postinstalled" "$outer/lib/file6" | xargs)" 'done 6 of 2.0.0'
	assert_equal "$(as_user ls "$outer/lib" | wc -l)" 30
	overlay_remount
	npm project ci --silent
	npm project ls --all >/dev/null
	npm project uninstall --silent outer
	assert_equal "$(npm project ls --all --parseable | sed 's|.*/||' | xargs)" 'project inner'
	npm project install --silent ../inner
	assert_equal "$(as_user "$MNT/project/node_modules/.bin/inner")" 'inner 1.0.0'
	npm project cache verify >/dev/null
}

@test "a disk image of a lower is a loop device, with a file system that is consistent" {
	need root
	need loop
	truncate -s 64M "$LOW/image"
	mkfs.ext4 -q -F "$LOW/image"
	mkdir "$T/disk"
	overlay_mount
	for direct in off on; do
		LOOP=$(losetup -f --show --direct-io=$direct "$MNT/image")
		mount "$LOOP" "$T/disk"
		mkdir "$T/disk/$direct"
		head -c 20000000 /dev/urandom >"$T/disk/$direct/data"
		cp -a "$TESTS" "$T/disk/$direct/tests"
		rm "$T/disk/$direct/data"
		fstrim "$T/disk" || :
		head -c 20000000 /dev/urandom >"$T/disk/$direct/data"
		sum=$(md5sum <"$T/disk/$direct/data")
		umount "$T/disk"
		losetup -d "$LOOP"
		LOOP=''
		overlay_remount
		e2fsck -fn "$MNT/image"
		mount -o loop "$MNT/image" "$T/disk"
		assert_equal "$(md5sum <"$T/disk/$direct/data")" "$sum"
		diff -r "$TESTS" "$T/disk/$direct/tests"
		umount "$T/disk"
	done
}
