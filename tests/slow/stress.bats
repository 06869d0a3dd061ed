# Programs made to find file systems that are wrong: what passes on the upper's file system
# passes on the mount, too.

load ../helpers

setup() { tree_begin; }
teardown() { tree_end; }

# Those that do not use the directory they are given; getdent reads all of /tmp, the lower, too.
ELSEWHERE='bind-mount binderfs dup eventfd getdent ioprio procfs rawdev'
# Those that need what no FUSE file system has; see CAVEATS in overlayfs(1).
IMPOSSIBLE='fiemap'

# stress DIRECTORY STRESSOR [PREFIX...]: pass, skip or fail; what it said is in $T/run/stress.
stress() {
	local dir=$1 name=$2 status=0
	timeout -k 5 60 "${@:3}" stress-ng "--$name" 2 -t 1s --temp-path "$dir" --verify --oom-avoid \
		>"$T/run/stress" 2>&1 </dev/null 3>&- || status=$?
	case $status in
	0) if grep -q 'skipping stress' "$T/run/stress"; then echo skip; else echo pass; fi ;;
	3 | 4) echo skip ;;
	*) echo "fail: status $status" ;;
	esac
}

# stressors NAMES [PREFIX...]: on the mount; where one does not pass, on the plain directory.
stressors() {
	local name there here wrong=() passed=0 names=$1
	shift
	for name in $names; do
		there=$(stress "$MNT/dir" "$name" "$@")
		! ended "$DAEMON" || fail "$name: the daemon has ended"
		if [[ $there == pass ]]; then
			passed=$((passed + 1))
			continue
		fi
		mv "$T/run/stress" "$T/run/stress.mount"
		here=$(stress "$T/plain" "$name" "$@")
		if [[ $here == pass ]]; then
			wrong+=("$name: on the mount $there, beside it $here")
			tail -5 "$T/run/stress.mount"
		fi
	done
	echo "$passed passed"
	((passed > 10)) || fail "only $passed passed"
	assert_equal "$(printf '%s\n' "${wrong[@]}")" ''
	assert_equal "$("${@}" ls -A "$MNT/dir")" ''
}

make_directories() {
	mkdir "$LOW/dir" "$T/plain"
	chmod 777 "$LOW/dir" "$T/plain"
}

@test "the stressors of stress-ng for file systems pass for an ordinary user" {
	need command stress-ng
	make_directories
	tree_for_user
	overlay_mount
	names=
	for name in $(for class in filesystem io; do stress-ng --class "$class?"; done |
		sed 's/.*stressors: //' | xargs -n 1 | sort -u); do
		[[ " $ELSEWHERE $IMPOSSIBLE " == *" $name "* ]] || names+=" $name"
	done
	stressors "$names" "${USER_CMD[@]}"
}

@test "those stressors of stress-ng that do more as root pass for root" {
	need root
	need command stress-ng
	make_directories
	overlay_mount
	stressors 'access chattr chmod chown fanotify filename handle inode-flags link mknod open rename utime xattr' env
}

# fio_job NAME ARGUMENT...: random reads and writes of several sizes, in a file of the lower.
fio_job() {
	as_user env -C "$T/run" timeout 100 fio --name="$1" --filename="$MNT/$1" --size=8M --rw=randrw \
		--bsrange=4k-64k --blockalign=4k --verify=crc32c --verify_fatal=1 --fsync=64 --iodepth=8 \
		--randseed=7 --minimal "${@:2}" </dev/null 3>&- >"$T/run/fio" 2>&1 || fail "$*: $(cat "$T/run/fio")"
}

@test "fio finds its data with every way of reading and writing, also after a remount" {
	need command fio
	jobs=(psync 'psync --direct=1' sync pvsync 'libaio' 'libaio --direct=1' mmap 'mmap --fallocate=none'
		'psync --fallocate=keep --sync=1')
	for i in "${!jobs[@]}"; do head -c 5000000 /dev/urandom >"$LOW/job$i"; done
	tree_for_user
	overlay_mount
	for i in "${!jobs[@]}"; do fio_job "job$i" --ioengine=${jobs[i]}; done
	overlay_remount
	for i in "${!jobs[@]}"; do fio_job "job$i" --ioengine=${jobs[i]} --verify_only; done
	# Read in other ways than they were written.
	for i in "${!jobs[@]}"; do fio_job "job$i" --ioengine=mmap --verify_only; done
}

@test "four processes of fio write parts of one file, and each finds its own" {
	need command fio
	head -c 40000000 /dev/zero >"$LOW/shared"
	tree_for_user
	overlay_mount
	fio_job shared --ioengine=psync --numjobs=4 --offset_increment=8M
	fio_job shared --ioengine=libaio --direct=1 --numjobs=4 --offset_increment=8M
	overlay_remount
	fio_job shared --ioengine=psync --numjobs=4 --offset_increment=8M --verify_only
}
