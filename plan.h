/* SPDX-License-Identifier: ISC */
/*
 * plan: what a commit has to do, found out before anything is touched.
 *
 * The changes go to one lower: the lowest that the caller may write to, of those
 * in which they show. A change shows where no lower above has the directory it is
 * in; so with several lowers it is mostly the topmost. What lies below the chosen
 * one stays, and where it has a name that is deleted or replaced, the chosen
 * lower gets a whiteout or an opaque mark.
 */
#ifndef PLAN_H
#define PLAN_H

#include "changes.h"
#include "journal.h"

struct plan {
	const struct target *t;
	struct changes *c;
	unsigned layer;	  /* the lower that is written, by its number in t->o */
	struct journal j; /* all operations in order; those marked first come first */
	size_t nfirst;	  /* of them, those that belong together */
	size_t nput;	  /* and the other new entries; deletions and the like follow */
	bool whole;	  /* a renamed directory is among them: all must be one batch */
	uint64_t files;
	char *failed; /* after an error: the path, or NULL */
};

/*
 * Complete what the filter says: changes that hang together are left out
 * together. That are the names of one file; a renamed directory with all in it,
 * what takes its old place, and the opaque directory that it was moved into; a
 * directory that became something else. A new directory is needed for what is in
 * it.
 */
int plan_leave_out(const struct target *t, struct changes *c);

/* 0, or -errno with p->failed. The changes are used until plan_destroy. */
int plan_make(struct plan *p, const struct target *t, struct changes *c);
void plan_destroy(struct plan *p);

/*
 * Whether it can be done: permission, space, mount points in the way. 0, or -1
 * after one line on standard error. atomic: all is built before the first old
 * file goes.
 */
int plan_check(const struct plan *p, bool atomic);

/*
 * The changes of a lower that was changed since the upper knew it; calls each
 * with its path in the lower. Returns their number or -errno.
 */
int plan_conflicts(const struct plan *p, void (*each)(void *arg, const char *path), void *arg);

#endif
