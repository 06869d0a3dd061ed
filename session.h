/* SPDX-License-Identifier: ISC */
/*
 * session: a mount from its beginning to its end.
 */
#ifndef SESSION_H
#define SESSION_H

/* The command that mounts: parses its arguments, and returns the exit status. */
int session_mount(int argc, char *argv[]);

struct filter;

/*
 * A mount for as long as another process wants it, which has forked this one.
 * When it is ready, its device number (dev_t) is written to ready_fd. Each byte that comes from
 * life_fd unmounts the mount point, while processes that have the tree
 * otherwise keep it; its end-of-file is the end of the mount, whoever has it.
 * Then the mount point, a directory, is removed.
 */
struct session_life {
	int ready_fd;
	int life_fd;
	const struct filter *hide; /* what the tree does not show, or NULL */
	const char *private_dir;   /* the same for a directory of lowers */
};

/* The same for such a mount. Relative paths are those of the caller. */
int session_serve(int argc, char *argv[], const struct session_life *life);

#endif
