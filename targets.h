/* SPDX-License-Identifier: ISC */
/*
 * targets: what the commands work on.
 *
 * A TARGET is one of
 *  - a session's name: one word without '/', see state.h;
 *  - a session's directory, or another directory with the same things in it;
 *  - a mount point of ours. Which layers it has the daemon itself says: it answers
 *    for the attribute "overlayfs.layers" on the root of the mount. (The kernel's
 *    list of mounts has no layers of a FUSE file system, and the daemon's command
 *    line may name them relative to a directory that it has left.);
 *  - the options -l LOWER ... -u UPPER [-w WORK] in its place.
 *
 * A word without '/' is a session when there is one of that name, else a path.
 *
 * Nothing here ends the program: a function that fails has printed one line on
 * standard error, and returns -1.
 */
#ifndef TARGETS_H
#define TARGETS_H

#include "layers.h"
#include "state.h"

/* Asked for on the root of a mount: see targets_layers_value. */
#define TARGETS_LAYERS_XATTR "overlayfs.layers"

/* Zero is an empty one. */
struct target {
	char *label; /* how the user called it, fit for a message */
	char **lower;
	unsigned nlower;
	char *upper;
	char *work;	  /* NULL: inside the upper */
	char *session;	  /* the session's directory, or NULL */
	char *mountpoint; /* of a live mount, when it was named by that */

	/* After targets_open: the merged tree, and that of the lowers alone. */
	struct ovl o;
	struct ovl low; /* shares the descriptors of o; its layer 0 is o's 1 */
	bool opened;
};

/* The options of a target, for getopt_long(3) users: 'l', 'u' and 'w'. */
#define TARGETS_OPTIONS "l:u:w:"
int targets_option(struct target *t, int c, const char *value);

/*
 * Find the target called arg, or (arg NULL) the one that the options describe.
 * Only sets the paths; nothing is opened.
 */
int targets_find(struct target *t, const char *arg);

/*
 * A command's way: take the one argument that getopt has left, if it is needed,
 * and find it. usage: is printed when it is missing, or there are too many.
 */
int targets_from_args(struct target *t, int argc, char *argv[], const char *usage);

/*
 * Add what a -l option names to a list of lowers: a path, or a session's name,
 * which stands for its upper and, once, at the end, its lowers.
 */
int targets_add_lower(char ***lower, unsigned *n, const char *arg);

/* The directory of the session called name, malloc'ed, or NULL when there is none. */
char *targets_session(const char *name);

/*
 * Open the layers. TARGET_READ: nothing is locked, made or written, and the
 * target may be mounted. TARGET_WRITE: the upper is locked as by a mount, and a
 * work directory is there; refused while a process uses it.
 */
enum target_mode { TARGET_READ, TARGET_WRITE };
int targets_open(struct target *t, enum target_mode mode);

/* Undo targets_open; the target may be opened again. Undo all. */
void targets_shut(struct target *t);
void targets_close(struct target *t);

/* The process that has the upper in use, 0 when there is none, -1: not known which. */
long targets_user(const struct target *t);

/* For the daemon: the value of that attribute; its length or -ERANGE. */
int targets_layers_value(const struct ovl *o, char *value, size_t size);

#endif
