# podman takes what `overlayfs export` writes.

load ../helpers

setup() {
	tree_begin
	need root
	need command podman
	# Storage of its own, which asks neither the kernel's overlayfs nor the network.
	PODMAN=(timeout 100 podman --root "$T/store" --runroot "$T/runroot" --storage-driver vfs
		--cgroup-manager cgroupfs --events-backend file)
}
teardown() {
	[[ ! -d $T/store ]] || "${PODMAN[@]}" image umount --all >/dev/null 2>&1 || :
	tree_end
}

@test "podman import accepts an exported layer, and its image has the files" {
	local image
	mkdir -p "$LOW/etc"
	echo old >"$LOW/etc/old"
	overlay_mount
	mkdir -p "$MNT/new/deep"
	echo x >"$MNT/new/deep/x" && ln "$MNT/new/deep/x" "$MNT/new/y"
	ln -s deep/x "$MNT/new/link"
	install -m 4755 -o 7 -g 8 /bin/true "$MNT/new/setuid"
	setcap cap_net_raw+ep "$MNT/new/setuid"
	truncate -s 1M "$MNT/new/sparse"
	mkfifo "$MNT/new/fifo"
	echo changed >>"$MNT/etc/old"
	: >"$MNT/new/"$'new\nline'
	: >"$MNT/new/"$'\xff\xfe'
	find "$MNT" -depth -exec touch -h -d @1500000000 {} + # podman keeps whole seconds
	overlay_umount
	"$OVERLAYFS" export --oci -l "$LOW" -u "$UP" >"$T/layer.tar"
	"${PODMAN[@]}" import -q "$T/layer.tar" overlayfs:test
	image=$("${PODMAN[@]}" image mount overlayfs:test)
	overlay_start -o "lowerdir=$UP" "$MNT"
	assert_same_tree "$MNT/new" "$image/new" +mtime +nlink
	assert_same_tree "$MNT/etc" "$image/etc" +mtime
	overlay_umount
}

@test "podman import accepts a layer with whiteouts and an opaque directory" {
	mkdir -p "$LOW/gone" "$LOW/again" "$LOW/etc"
	touch "$LOW/gone/f" "$LOW/again/old" "$LOW/etc/old"
	overlay_mount
	rm -r "$MNT/gone" "$MNT/again" "$MNT/etc/old"
	mkdir "$MNT/again" && echo x >"$MNT/again/new"
	overlay_umount
	"$OVERLAYFS" export --oci -l "$LOW" -u "$UP" >"$T/layer.tar"
	assert_equal "$(tar tf "$T/layer.tar" | grep -c '\.wh\.')" 3
	"${PODMAN[@]}" import -q "$T/layer.tar" overlayfs:test
	local image
	image=$("${PODMAN[@]}" image mount overlayfs:test)
	# Nothing is below: the markers are gone, and what they hide was never there.
	assert_names "$image/again" new
	assert_equal "$(find "$image" -name '.wh.*')" ''
}
