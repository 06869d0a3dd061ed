# Random operations on a mount and on a plain tree that holds what the layers merge to: each must
# answer the same, and both trees must look the same at any time. The seeds are fixed, so every
# run does the same; `make fuzz-diff` does as many as one likes.

# A failure is made small before it is printed.
export BATS_TEST_TIMEOUT=300

load helpers

setup() { tree_begin; }
teardown() { tree_end; }

# same_as_plain FORMAT root|user FIRST SEEDS: with a limit of time for machines that are slower than
# most, and for sanitizers; it passes when a few seeds were done by then.
same_as_plain() {
	TMPDIR=$T/run "$PYTHON" "$TESTS/differential/run" --binary "$OVERLAYFS" --format "$1" \
		--user "$2" --start "$3" --seeds "$4" --ops 300 --jobs 2 --seconds 25 --least 3
}

@test "root: with whiteout=wh a mount does what a plain tree does" {
	need root
	same_as_plain wh root 1 16
}

@test "root: with whiteout=chardev a mount does what a plain tree does" {
	need root
	same_as_plain chardev root 1 16
}

@test "root: with whiteout=xattr a mount does what a plain tree does" {
	need root
	same_as_plain xattr root 1 16
}

@test "user: with whiteout=wh a mount does what a plain tree does" {
	same_as_plain wh user 1 16
}

@test "user: with whiteout=chardev a mount does what a plain tree does" {
	same_as_plain chardev user 1 16
}

@test "user: with whiteout=xattr a mount does what a plain tree does" {
	same_as_plain xattr user 1 16
}
