/* SPDX-License-Identifier: ISC */
/*
 * readdir: merged listings and emptiness.
 *
 * A listing is a snapshot, in the order of the hashes of the names, and the
 * position of an entry is that hash. So a position means the same in every
 * listing of the directory, whatever was added or removed in between.
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

/* Without "." and "..". l is for readdir_free, also after an error. */
int readdir_load(const struct ovl *o, struct dir *d, struct listing *l);
void readdir_free(struct listing *l);

/*
 * List a directory again, as it is now: it may have got a part in the upper, for
 * which *dp is exchanged. Where it has been moved meanwhile, its parts are kept.
 */
int readdir_reload(const struct ovl *o, struct dir **dp, struct listing *l);

/* The number of ".." in d. */
uint64_t readdir_parent(const struct ovl *o, const struct dir *d);

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
