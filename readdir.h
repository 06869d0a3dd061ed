/* SPDX-License-Identifier: ISC */
/*
 * readdir: merged listings and emptiness.
 *
 * A listing is a snapshot: entries that come or go while it is read do not
 * shift the others, so a position in it is just an index.
 */
#ifndef READDIR_H
#define READDIR_H

#include "layers.h"

struct listed {
	size_t name; /* offset into names */
	uint16_t part;
	unsigned char type; /* DT_*, DT_UNKNOWN where the layer does not tell */
	bool whiteout;	    /* only while the listing is made */
};

struct listing {
	struct listed *entry;
	size_t n;
	char *names;

	size_t room, names_len, names_room;
	size_t *slot; /* hash table of indexes + 1; NULL for a single part */
	size_t nslots;
};

/* Without "." and "..". l is for readdir_free, also after an error. */
int readdir_load(const struct ovl *o, struct dir *d, struct listing *l);
void readdir_free(struct listing *l);

/* 0 when nothing is visible in d, -ENOTEMPTY, or another error. */
int readdir_empty(const struct ovl *o, struct dir *d);

/* Call each for every entry until it returns an error, which is returned. */
int readdir_each(const struct ovl *o, struct dir *d,
		 int (*each)(void *arg, struct dir *d, unsigned part, const char *name),
		 void *arg);

#endif
