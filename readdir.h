/* SPDX-License-Identifier: ISC */
/*
 * readdir: merged listings and emptiness.
 *
 * A listing is a snapshot, in the order of the hashes of the names, and the
 * position of an entry is that hash. So a position means the same in every
 * listing of the directory, whatever was added or removed in between.
 *
 * An open directory has no path in requests; this module keeps it up to date.
 */
#ifndef READDIR_H
#define READDIR_H

#include "layers.h"

struct listed {
	uint64_t position; /* more than 2, and fits an off_t */
	size_t name;	   /* offset into names */
	uint16_t part;
	unsigned char type; /* DT_*, DT_UNKNOWN where the layer does not tell */
	bool whiteout;	    /* only while the listing is made */
};

struct listing {
	struct listed *entry;
	size_t n;
	char *names;
	bool loaded;

	size_t room, names_len, names_room;
	size_t *slot; /* hash table of indexes + 1; NULL for a single part */
	size_t nslots;
};

/* An open directory. It follows its own renames and those of its parents. */
struct listdir {
	struct dir *d;
	struct listing l;
	char *path; /* where it is now; guarded by the lock of the list */
	LIST_ENTRY(listdir) list;
};

int readdir_open(const struct ovl *o, const char *path, struct listdir **xp);
void readdir_close(const struct ovl *o, struct listdir *x);

/* A directory was renamed, or exchanged with what was at `to`. */
void readdir_moved(const char *from, const char *to, bool exchange);

/* The directory as it is now, whose reference the caller gives back. -ENOENT: it was removed. */
int readdir_now(const struct ovl *o, const struct listdir *x, struct dir **dp);

/*
 * List it again for a user, as it is now, without "." and "..": it may have got a
 * part in the upper.
 */
int readdir_reload(const struct ovl *o, struct listdir *x);

/* The number of "..". */
uint64_t readdir_parent(const struct ovl *o, const struct listdir *x);

/* What a user sees of entry i. brief: number and type are enough. */
int readdir_stat(const struct ovl *o, struct dir *d, const struct listing *l, size_t i, bool brief,
		 struct stat *st);

/* The index of the first entry behind a position. */
size_t readdir_seek(const struct listing *l, uint64_t position);

/* 0 when nothing is visible in d, -ENOTEMPTY, or another error. */
int readdir_empty(const struct ovl *o, struct dir *d);

/* Call each for every entry until it returns an error, which is returned. */
int readdir_each(const struct ovl *o, struct dir *d,
		 int (*each)(void *arg, struct dir *d, unsigned part, const char *name), void *arg);

#endif
