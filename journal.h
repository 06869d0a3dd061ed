/* SPDX-License-Identifier: ISC */
/*
 * journal: what a commit is about to do to a lower, written down before it does.
 *
 * It is the file `commit` in the work directory, lines of text, replaced as a
 * whole when the state changes:
 *
 *	overlayfs-commit 1
 *	state prepare|swap|done|shared
 *	lower DEV INO PATH
 *	plain				the lower takes no reserved names: it lies in another overlay
 *	dir MODE ATIME MTIME PATH	a directory of the lower that is worked in
 *	merge PATH			a directory of the upper that the new one of the lower goes on in
 *	mkdir|put|delete|meta N NEW OLD PATH
 *	end
 *
 * In the state `prepare` the new entries are being built beside their places,
 * under the reserved name `.wh..wh.commit-N` (plain: `.overlayfs-commit-N`): they
 * are removed after a crash. In the state `swap` all are there (inode NEW) and on
 * the disk, and change places with the old ones (inode OLD): what is left of that
 * is done after a crash. In the state `done` all places are right; the old entries
 * are removed. In the state `shared` nothing is left to do but for share.h.
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include "layers.h"

#define JOURNAL_FILE "commit"
#define JOURNAL_STAGED ".wh..wh.commit-"
#define JOURNAL_PLAIN ".overlayfs-commit-"

enum journal_state { JOURNAL_PREPARE, JOURNAL_SWAP, JOURNAL_DONE, JOURNAL_SHARED };

enum op_kind {
	OP_MKDIR,  /* the lower lacks a directory that others below it have */
	OP_PUT,	   /* a new entry, in the place of an old one or of none */
	OP_DELETE, /* the old entry goes */
	OP_META,   /* owner, mode, attributes and times of a directory that stays */
};

struct op {
	enum op_kind kind;
	char *path; /* in the lower, "/a/b"; the same in the merged tree */
	unsigned long n;
	ino_t new_ino; /* 0: none */
	ino_t old_ino;

	/* Only while it is planned and built; not in the file. */
	bool whiteout; /* PUT: path is that of a whiteout */
	bool opaque;   /* PUT of a directory: what is below must not show */
	bool first;    /* belongs together with others that are so marked */
	uint64_t bytes;
	uint64_t files;
};

struct journal_dir {
	char *path;
	mode_t mode;
	struct timespec times[2];
};

struct journal {
	enum journal_state state;
	dev_t dev; /* of the lower's root */
	ino_t ino;
	char *lower;
	bool plain;
	struct journal_dir *dir;
	size_t ndir;
	char **merge;
	size_t nmerge;
	struct op *op;
	size_t nop;
};

/* All return 0 or -errno. workfd: the work directory. */
int journal_write(int workfd, const struct journal *j);

/* -ENOENT: there is none. -EINVAL: it is damaged. */
int journal_read(int workfd, struct journal *j);

/* The commit is over. */
int journal_remove(int workfd);

/* Whether one is there. */
bool journal_exists(int workfd);

/* Add to the struct; paths are copied. */
int journal_add_dir(struct journal *j, const char *path, const struct stat *st);
int journal_add_merge(struct journal *j, const char *path);
struct op *journal_add_op(struct journal *j, enum op_kind kind, const char *path);

void journal_destroy(struct journal *j);

#endif
