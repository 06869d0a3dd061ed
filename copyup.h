/* SPDX-License-Identifier: ISC */
/*
 * copyup: bringing a lower file to the upper before its first change.
 *
 * The copy is built in the work directory, complete with its data, owner,
 * mode, attributes and times, and then renamed into place: it is there whole
 * or not at all. Needs no lock; two threads may copy the same file up.
 */
#ifndef COPYUP_H
#define COPYUP_H

#include "files.h"
#include "layers.h"

/*
 * Make sure that the upper has the directory *dp, and all above it. Exchanges
 * *dp, with its reference, for the one that has the part. -EROFS without upper.
 */
int copyup_dir(const struct ovl *o, struct dir **dp);

/*
 * Make sure that the upper has the entry (which exists), under its own name,
 * and bring *e up to date. truncate: its data will not be needed.
 */
int copyup_entry(const struct ovl *o, struct entry *e, bool truncate);

/* Let a file or directory that has no name any more be changed. */
int copyup_hidden(const struct ovl *o, struct hidden *h);

/*
 * The same for a directory and all that it shows: what remains in lowers could
 * be cut off. All keep their inode numbers, wherever the directory goes.
 */
int copyup_tree(const struct ovl *o, struct dir **dp);

#endif
