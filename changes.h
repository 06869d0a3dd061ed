/* SPDX-License-Identifier: ISC */
/*
 * changes: what an upper does to its lowers.
 *
 * The merged tree is compared with that of the lowers, wherever the upper has
 * something. So it does not matter how the upper says it: a directory that was
 * removed and made again with the same files in it is no change.
 *
 * Every name that is added or deleted is a change of its own, also those in a
 * directory that is. What lies in a renamed directory is compared with its old
 * place. The upper's own root directory is never a change: its owner, mode and
 * times are those of a directory that somebody made to mount it.
 */
#ifndef CHANGES_H
#define CHANGES_H

#include "compare.h"
#include "filter.h"
#include "targets.h"

enum change_kind {
	CHANGE_DELETED,
	CHANGE_ADDED,
	CHANGE_RENAMED, /* with or without further changes */
	CHANGE_TYPE,
	CHANGE_MODIFIED,
	CHANGE_SAME, /* only with CHANGES_SAME */
};

struct change {
	enum change_kind kind;
	unsigned what;	 /* COMPARE_*, of MODIFIED and RENAMED */
	char *path;	 /* "/a/b" */
	char *base;	 /* the path of the old file in the lowers; NULL: the same */
	struct stat old; /* on disk; not of ADDED */
	struct stat new; /* on disk; not of DELETED */
	uint64_t number; /* of the new file, of a deleted one: the inode number shown */
	uint64_t below;	 /* DELETED directories: how many names are in it, at any depth */
	bool left_out;	 /* for the user of the list; not set here */
};

/* Ordered by path, a directory before what is in it. */
struct changes {
	struct change *list;
	size_t n;
	size_t room;
	char *failed; /* after an error: the path, or NULL */
};

enum {
	CHANGES_TIMES = 1 << 0,	 /* what differs only in its time is modified */
	CHANGES_SAME = 1 << 1,	 /* list upper files of several names that are not changed, too */
	CHANGES_UNLOCK = 1 << 2, /* read also the caller's own unreadable files */
};

/* 0 or -errno. changes_destroy is legal in any case. */
int changes_collect(const struct target *t, unsigned flags, struct changes *c);
void changes_destroy(struct changes *c);

/* Set left_out as the filter says; what was renamed goes by both of its names. */
void changes_filter(struct changes *c, const struct filter *f);

/* The change of a path, or NULL. */
struct change *changes_find(const struct changes *c, const char *path);

/*
 * Whether a file of the upper belongs to the upper's owner, an ordinary user, only
 * because his daemon could not give it to whom the lower's belongs.
 */
bool changes_lost_owner(const struct ovl *o, const struct stat *upper, const struct stat *lower);

/* Where the old file is in the lowers. */
const char *change_old_path(const struct change *x);

#endif
