/* SPDX-License-Identifier: ISC */
/*
 * share: files that a commit takes from the upper as they are.
 *
 * Where both are on one file system a new file of the upper is not copied: what
 * is staged in the lower is a further name of it, and the upper's name goes when
 * all is in its place. As long as both have the file, a write to the upper would
 * change the lower; so the journal, with which no upper is mounted, stays until
 * then.
 */
#ifndef SHARE_H
#define SHARE_H

#include "place.h"

/*
 * Whether names may be taken out of the upper's part of d: what the lowers have
 * in their places must show through then, and the caller may do so.
 */
bool share_possible(const struct target *t, struct dir *d);

/* The same for a directory that the lower gets, in one with which that is so. */
bool share_new(const struct target *t, struct dir *d);

/* Make `to` a name of e, a file of the upper. False: it must be copied. */
bool share_file(const struct entry *e, struct at to);

/*
 * All is in its place: remove the upper's names of files that the lower has too,
 * and what only overlays want to know of them. Can be repeated. 0 or -errno,
 * with p->failed.
 */
int share_end(struct place *p);

#endif
