/* SPDX-License-Identifier: ISC */
/*
 * place: putting staged entries into a lower, all or none, and recovering.
 *
 * The lower is written only here. Its directories are opened name by name, and
 * no link is followed.
 */
#ifndef PLACE_H
#define PLACE_H

#include "journal.h"
#include "targets.h"

struct place {
	const struct target *t;
	int root; /* the lower that is written; borrowed */
	struct journal *j;
	bool shared;  /* files of the upper are staged, see share.h */
	char *failed; /* after an error: the path, or NULL; the user frees it */

	/* the directory that was used last */
	char *path;
	int fd;
};

/* layer: number of the lower in the merged stack. place_close gives back all. */
void place_open(struct place *p, const struct target *t, unsigned layer, struct journal *j);
void place_close(struct place *p);

/* A new descriptor (O_PATH) of a directory below root, opened name by name. */
int place_open_below(int root, const char *path);

/* A directory of the lower; -ENOENT, -ENOTDIR, -ELOOP. Good until the next call. */
int place_dir(struct place *p, const char *path);

/* Its parent: the same for the directory in which path is; *name is path's last part. */
int place_parent(struct place *p, const char *path, const char **name);

/* Keep the path at which something failed, the first one; returns r. */
int place_failed(struct place *p, const char *path, int r);

/* The staged name of an operation; old: where its old entry waits. */
void place_staged(const struct journal *j, const struct op *op, bool old, char buf[48]);

/*
 * Remember a directory that will be worked in, as it is, and let its owner write
 * to it.
 */
int place_note(struct place *p, const char *path);
int place_unlock(struct place *p);

/* Make sure that all that was staged, or moved, is on the disk. */
int place_sync(struct place *p);

/*
 * Bring all staged entries to their places. After an error some of them are
 * there: place_undo takes them back.
 */
int place_swap(struct place *p);
int place_undo(struct place *p);

/* The commit is done: remove the old entries, set attributes of directories. */
int place_finish(struct place *p);

/* The last of it: what is still shared, and the journal, go. */
int place_end(struct place *p);

/*
 * Finish or undo what a journal in the work directory of t says. 0: nothing was
 * to do; PLACE_FINISHED or PLACE_UNDONE; -errno with *failed, malloc'ed or NULL.
 */
enum { PLACE_FINISHED = 1, PLACE_UNDONE };
int place_recover(const struct target *t, char **failed);

#endif
