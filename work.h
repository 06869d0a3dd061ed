/* SPDX-License-Identifier: ISC */
/*
 * work: the work directory, where new entries are built before they are
 * renamed into place, and the lock that keeps a second mount off the upper.
 *
 *	index/	see inodes.h
 *	volatile	is there while a mount leaves out fsync: when it is there before
 *		the start, the machine may have lost data
 *	#HEX	entries being built or removed; what a crash left is removed at
 *		the next start
 *
 * The lock is an flock of the upper and of the work directory themselves; the
 * attribute user.overlayfs.process on them says whose it is.
 */
#ifndef WORK_H
#define WORK_H

#include "layers.h"

/* On the upper and the work directory while they are in use: the process id. */
#define WORK_PROCESS_XATTR "user.overlayfs.process"

/*
 * Open (and make) the work directory path, or the default one inside the upper
 * when path is NULL; lock it and the upper; remove left-overs. Sets o->workfd,
 * indexfd, work_st and safety. -EBUSY: process *owner (0: unknown) has the lock, of the
 * upper or of the *work directory. -EUCLEAN: a volatile mount did not end
 * cleanly. -EINVAL: the upper lies in an overlay that reserves the names `.wh.*`. work_close undoes it, also after an error.
 */
int work_open(struct ovl *o, const char *path, long *owner, bool *work);

/* Say that this process has the locks. */
void work_claim(const struct ovl *o);

/* Remove what is not needed while nothing is mounted, and close. */
void work_close(struct ovl *o, const char *path);

/* A new name for a staged entry. */
struct at work_stage(const struct ovl *o, char buf[32]);

/* Whether the upper's file system takes a file of this size: -EFBIG, or another error. */
int work_fits(const struct ovl *o, off_t size);

/* Remove a staged entry, whatever it is; failures are logged. */
void work_discard(const struct ovl *o, struct at staged);

/*
 * Move a staged entry to its place in the upper, where nothing is; -EEXIST.
 * The directory's times stay, and its missing write bit is no obstacle:
 * copy-up is no change that a user made.
 */
int work_place(struct at staged, struct at to);

/*
 * Move a directory from its place into the work directory and remove it.
 * flags: 0, or RENAME_EXCHANGE for what is staged to take its place.
 */
int work_take(const struct ovl *o, struct at dir, struct at staged, unsigned flags);

#endif
