# `overlayfs export` writes OCI image layers, `overlayfs apply` reads them.

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

layer() { "$OVERLAYFS" export "$@" -l "$LOW" -u "$UP"; }
apply() { "$OVERLAYFS" apply -l "$LOW" -u "$UP" "$@"; }
members() { "$PYTHON" -c '
import sys, tarfile
for m in tarfile.open(fileobj=sys.stdin.buffer, mode="r|"):
    print(m.name)'; }

make_trees() {
	mkdir -p "$LOW/d/sub" "$LOW/gone/x" "$LOW/mv/deep" "$LOW/again"
	echo b >"$LOW/d/b"
	echo c >"$LOW/d/sub/c"
	echo 1 >"$LOW/gone/x/1"
	echo m >"$LOW/mv/deep/m"
	echo same >"$LOW/again/same"
	echo gone >"$LOW/again/gone"
	echo kept >"$LOW/kept"
	echo x >"$LOW/d/hard" && ln "$LOW/d/hard" "$LOW/d/hard2"
	overlay_mount "$@"
	chmod 600 "$MNT/d/sub/c"
	rm "$MNT/d/b"
	rm -r "$MNT/gone"
	mv "$MNT/mv" "$MNT/moved"
	rm -r "$MNT/again" && mkdir "$MNT/again" && echo same >"$MNT/again/same" && echo n >"$MNT/again/new"
	mkdir "$MNT/new" && echo new >"$MNT/new/n" && ln "$MNT/new/n" "$MNT/new/n2"
	ln -s /etc/passwd "$MNT/new/link"
	mkfifo "$MNT/fifo"
	: >"$MNT/new/"$'new\nline'
	: >"$MNT/new/"$'\xff\xfe'
	: >"$MNT/new/späße"
	setfattr -n user.k -v v "$MNT/new/n"
	setfacl -m u:5:r "$MNT/kept"
	echo y >"$MNT/d/hard"
	truncate -s 200K "$MNT/new/sparse"
	touch -h -d @1000 "$MNT/new/n" "$MNT/new/link"
	touch -d @2000 "$MNT/new" "$MNT/d"
}

# Times in an archive are whole seconds.
tree() { "$PYTHON" "$LIB/tree.py" show "$@" +mtime | sed -E 's/(mtime=[0-9]*)[0-9]{9}/\1/'; }

@test "a layer has what was changed, whiteouts and opaque marks, sorted" {
	make_trees
	layer >"$T/run/layer.tar"
	assert_equal "$(members <"$T/run/layer.tar" | grep -v 'new/' | xargs)" \
		".wh.gone .wh.mv again again/.wh..wh..opq again/new again/same d d/.wh.b d/hard d/hard2 d/sub d/sub/c fifo kept moved moved/deep moved/deep/m new line"
}

each_format() {
	make_trees -o "whiteout=$1"
	tree "$MNT" +nlink | tail -n +2 >"$T/run/want"
	layer >"$T/run/layer.tar"
	overlay_umount
	rm -rf "$UP" && mkdir "$UP"
	apply "$T/run/layer.tar"
	overlay_mount
	tree "$MNT" +nlink | tail -n +2 | diff "$T/run/want" - ||
		fail 'what was applied is not what was exported'
	layer | cmp - "$T/run/layer.tar"
}
@test "a layer that is applied to the same lower gives the same tree, and the same layer" {
	for_formats each_format
}

@test "the archive depends on the tree only, and on SOURCE_DATE_EPOCH" {
	make_trees
	SOURCE_DATE_EPOCH=1000000000 layer >"$T/run/a"
	touch "$MNT/again/new" "$MNT/again"
	SOURCE_DATE_EPOCH=1000000000 layer >"$T/run/b"
	cmp "$T/run/a" "$T/run/b"
	touch -d @999 "$MNT/kept"
	SOURCE_DATE_EPOCH=1000000000 layer | "$PYTHON" -c '
import sys, tarfile
t = {m.name: int(m.mtime) for m in tarfile.open(fileobj=sys.stdin.buffer, mode="r|")}
assert t["kept"] == 999 and t["again/new"] == 1000000000 and max(t.values()) == 1000000000, t'
	run env SOURCE_DATE_EPOCH=yesterday "$OVERLAYFS" export -l "$LOW" -u "$UP"
	assert_failure 1
	assert_output 'overlayfs: SOURCE_DATE_EPOCH=yesterday: the number is invalid'
}

@test "--tar writes the whole merged tree, without markers" {
	make_trees
	mkdir "$T/out"
	layer --tar >"$T/run/tree.tar"
	tree "$MNT" -xattr | tail -n +2 >"$T/run/want"
	tar -C "$T/out" -xpf "$T/run/tree.tar" 2>/dev/null
	tree "$T/out" -xattr | tail -n +2 | diff "$T/run/want" -
	assert_equal "$(members <"$T/run/tree.tar" | grep -c '\.wh\.')" 0
}

@test "filters leave changes out of the layer" {
	make_trees
	assert_equal "$(layer --exclude new --exclude again --exclude gone --exclude '/d/*' | members | xargs)" \
		'.wh.mv d fifo kept moved moved/deep moved/deep/m'
}

@test "a socket is left out, and said" {
	"$PYTHON" "$LIB/sysc.py" socket "$UP/socket"
	: >"$UP/file"
	run --separate-stderr layer
	assert_success
	assert_equal "$stderr" "overlayfs: $UP: /socket: a socket cannot be archived; left out"
}

@test "umoci makes an image of the layers" {
	need root
	need command umoci
	make_trees
	overlay_umount
	mkdir "$T/empty"
	"$OVERLAYFS" export -l "$T/empty" -u "$LOW" >"$T/run/base.tar"
	layer >"$T/run/layer.tar"
	umoci init --layout "$T/image"
	umoci new --image "$T/image:t"
	umoci raw add-layer --image "$T/image:t" "$T/run/base.tar"
	umoci raw add-layer --image "$T/image:t" "$T/run/layer.tar"
	umoci raw unpack --image "$T/image:t" "$T/rootfs" || umoci unpack --image "$T/image:t" "$T/bundle"
	[[ ! -d $T/bundle ]] || mv "$T/bundle/rootfs" "$T/rootfs"
	overlay_mount
	"$PYTHON" "$LIB/tree.py" show "$MNT" -xattr | tail -n +2 >"$T/run/want"
	"$PYTHON" "$LIB/tree.py" show "$T/rootfs" -xattr | tail -n +2 | diff "$T/run/want" -
}

@test "a compressed layer, and one from a pipe" {
	make_trees
	layer >"$T/run/layer.tar"
	tree "$MNT" | tail -n +2 >"$T/run/want"
	overlay_umount
	rm -rf "$UP" && mkdir "$UP"
	gzip -c "$T/run/layer.tar" | apply -
	overlay_mount
	tree "$MNT" | tail -n +2 | diff "$T/run/want" -
}

@test "whiteouts of a layer hide what was there before, not what comes with them" {
	mkdir -p "$LOW/d" "$T/l/d"
	echo old >"$LOW/d/old"
	echo old >"$LOW/f"
	echo x >"$LOW/nothing"
	echo new >"$T/l/d/new"
	echo new >"$T/l/f"
	: >"$T/l/d/.wh..wh..opq"
	: >"$T/l/.wh.f"
	: >"$T/l/.wh.nothing"
	: >"$T/l/.wh.not-there"
	tar -C "$T/l" -cf "$T/run/layer.tar" d/new f d/.wh..wh..opq .wh.f .wh.nothing .wh.not-there
	apply "$T/run/layer.tar"
	overlay_mount
	assert_names "$MNT" d f
	assert_names "$MNT/d" new
	assert_content "$MNT/f" new
}

@test "what a layer has takes the place of other types, whole" {
	mkdir -p "$LOW/dir/sub" "$T/l/file"
	echo x >"$LOW/dir/sub/x"
	echo x >"$LOW/file"
	ln -s /etc "$LOW/link"
	echo f >"$T/l/dir"
	echo in >"$T/l/file/in"
	mkdir "$T/l/link" && echo in >"$T/l/link/passwd"
	tar -C "$T/l" -cf "$T/run/layer.tar" dir file link
	apply "$T/run/layer.tar"
	overlay_mount
	assert_content "$MNT/dir" f
	assert_content "$MNT/file/in" in
	assert_content "$MNT/link/passwd" in
}

# --- archives that must not be used --------------------------------------------------------

# bad_layer TEXT: the archive that the Python on standard input makes is refused, in one
# line, and nothing is touched.
bad_layer() {
	"$PYTHON" -c '
import io, sys, tarfile
t = tarfile.open(sys.argv[1], "w")
def add(name, type=tarfile.REGTYPE, link="", data=b"", **more):
    m = tarfile.TarInfo(name)
    m.type, m.linkname, m.size = type, link, len(data)
    for k, v in more.items():
        setattr(m, k, v)
    t.addfile(m, io.BytesIO(data))
exec(sys.stdin.read())
t.close()' "$T/run/bad.tar"
	run "${RUN_AS[@]}" "$OVERLAYFS" apply -l "$LOW" -u "$UP" "$T/run/bad.tar"
	assert_equal "$status: $output" "1: overlayfs: $1"
	assert_equal "$(find "$UP" -mindepth 1)" ''
}

@test "names that lead out of the tree are refused, and nothing is done" {
	mkdir "$LOW/d"
	bad_layer "$UP: ../evil: leads out of the tree" <<<'add("good"); add("../evil")'
	bad_layer "$UP: d/../../evil: leads out of the tree" <<<'add("good"); add("d/../../evil")'
	bad_layer "$UP: d/..: leads out of the tree" <<<'add("d/..")'
	bad_layer "$UP: /etc/evil: an absolute name" <<<'add("good"); add("/etc/evil")'
	bad_layer "$UP: ../.wh.x: leads out of the tree" <<<'add("../.wh.x")'
	bad_layer "$UP: d/.wh..: a whiteout of nothing" <<<'add("d/.wh..")'
	bad_layer "$UP: d/.wh...: a whiteout of nothing" <<<'add("d/.wh...")'
	bad_layer "$UP: .wh.d/x: lies in a whiteout" <<<'add(".wh.d/x")'
}

@test "links that lead out of the tree, and files that lead through links, are refused" {
	ln -s "$T" "$LOW/out"
	bad_layer "$UP: l: a link that leads out of the tree" <<<'add("l", tarfile.SYMTYPE, "../x")'
	bad_layer "$UP: a/l: a link that leads out of the tree" <<<'add("a/l", tarfile.SYMTYPE, "b/../../../x")'
	bad_layer "$UP: h: a link that leads out of the tree" <<<'add("h", tarfile.LNKTYPE, "../../etc/passwd")'
	bad_layer "$UP: h: a link that leads out of the tree" <<<'add("h", tarfile.LNKTYPE, "/etc/passwd")'
	bad_layer "$UP: h: a link to what is not there" <<<'add("h", tarfile.LNKTYPE, "nothing")'
	bad_layer "$UP: l/passwd: leads through what is no directory" \
		<<<'add("l", tarfile.SYMTYPE, "/etc"); add("l/passwd")'
	bad_layer "$UP: out/evil: leads through what is no directory" <<<'add("out/evil")'
	bad_layer "$UP: h: a link to what is not there" <<<'add("h", tarfile.LNKTYPE, "out/run")'
}

@test "devices need privilege, and one that is a whiteout is none" {
	need root
	bad_layer "$UP: dev: a device 0:0, which is a whiteout" <<<'add("dev", tarfile.CHRTYPE)'
	chown "$TEST_UID" "$UP"
	RUN_AS=("${USER_CMD[@]}")
	chmod 755 "$T/run"
	bad_layer "$UP: null: a device, which only root can make" \
		<<<'add("null", tarfile.CHRTYPE, devmajor=1, devminor=3)'
}

@test "an archive that is cut, or is none, is refused" {
	head -c 100000 /dev/urandom >"$T/l"
	tar -C "$T" -cf "$T/run/full.tar" l
	head -c 50000 "$T/run/full.tar" >"$T/run/cut.tar"
	run apply "$T/run/cut.tar"
	assert_failure 1
	assert_equal "${#lines[@]}" 1
	assert_output --partial "$T/run/cut.tar: "
	run apply "$T/l"
	assert_failure 1
	assert_equal "${#lines[@]}" 1
	run apply "$T/nosuch"
	assert_failure 1
	assert_output "overlayfs: $T/nosuch: No such file or directory"
	assert_equal "$(find "$UP" -mindepth 1)" ''
	overlay_mount
	run apply "$T/run/full.tar"
	assert_failure 1
	assert_output "overlayfs: $UP: in use by process $DAEMON"
}

@test "an archive that has no room in the upper is refused, and nothing is done" {
	need root
	mkdir "$T/in" && echo x >"$T/in/a"
	head -c 2M /dev/urandom >"$T/in/b"
	tar -C "$T/in" -czf "$T/run/l.tar" a b
	mount -t tmpfs -o size=1m none "$UP"
	run apply "$T/run/l.tar"
	assert_failure 1
	assert_output "overlayfs: $UP: $T/run/l.tar: No space left on device"
	assert_equal "$(find "$UP" -mindepth 1)" ''
	# Holes need none.
	rm "$T/in/b" && truncate -s 100M "$T/in/b"
	tar -C "$T/in" -cSzf "$T/run/l.tar" a b
	run -0 apply "$T/run/l.tar"
	assert_equal "$(stat -c %s "$UP/b")" 104857600
	umount "$UP"
}
