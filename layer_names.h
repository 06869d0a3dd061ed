/* SPDX-License-Identifier: ISC */
/*
 * layer_names: whether the names in an archive may be used.
 *
 * An archive is somebody else's. All its entries are looked at before the first
 * one is used; what would lead out of the tree, or through something that is no
 * directory, is refused with its name.
 */
#ifndef LAYER_NAMES_H
#define LAYER_NAMES_H

#include <archive_entry.h>

#include "targets.h"

/* What an entry is for. */
enum layer_kind {
	LAYER_SKIP, /* the root, and what other programs keep in layers */
	LAYER_WHITEOUT,
	LAYER_OPAQUE,
	LAYER_DIR,
	LAYER_FILE, /* any that is no directory */
};

struct layer_entry {
	enum layer_kind kind;
	char *path; /* "/a/b": of what is made, removed or opaque; malloc'ed */
	char *link; /* of a hard link: its target, the same form; malloc'ed or NULL */
};

/*
 * Take an entry's names apart. 0, or -1 after one line on standard error that
 * names the entry.
 */
int layer_names_parse(const char *label, struct archive_entry *entry, struct layer_entry *e);
void layer_entry_free(struct layer_entry *e);

/* The names that were seen so far. Zero is an empty one. */
struct layer_names {
	struct layer_seen *tree;
};

/*
 * Whether the entry fits to those before it and to the tree of t, which is not
 * changed meanwhile. 0, or -1 after one line on standard error.
 */
int layer_names_check(struct layer_names *n, const struct target *t, struct archive_entry *entry,
		      const struct layer_entry *e);
void layer_names_destroy(struct layer_names *n);

#endif
