/* SPDX-License-Identifier: ISC */
/*
 * entries: adding names to the merged tree and removing them.
 *
 * Every function takes paths of the overlay and returns 0 or -errno. A failed
 * call leaves the merged tree as it was.
 */
#ifndef ENTRIES_H
#define ENTRIES_H

#include "layers.h"

/* On whose behalf: who will own the new file. */
struct caller {
	uid_t uid;
	gid_t gid;
	mode_t umask;
};

/* Make a file and open it; returns the descriptor. flags as for open(2). */
int entries_create(const struct ovl *o, const char *path, int flags, mode_t mode,
		   const struct caller *by);

/* A file without a name in the directory of path (O_TMPFILE). */
int entries_tmpfile(const struct ovl *o, const char *path, int flags, mode_t mode,
		    const struct caller *by);

int entries_mknod(const struct ovl *o, const char *path, mode_t mode, dev_t rdev,
		  const struct caller *by);
int entries_mkdir(const struct ovl *o, const char *path, mode_t mode, const struct caller *by);
int entries_symlink(const struct ovl *o, const char *target, const char *path,
		    const struct caller *by);

/* A further name for the file of entry e, which is copied up, or for a bare one of number ino. */
int entries_link(const struct ovl *o, struct entry *e, const char *path);
int entries_link_bare(const struct ovl *o, struct at file, uint64_t ino, const char *path);

/* e: an entry that exists. */
int entries_unlink(const struct ovl *o, struct entry *e);
int entries_rmdir(const struct ovl *o, const char *path);

/*
 * The directory in which an entry `path` is, or is to be made, and its name within
 * path. It need not be in the upper yet, so that what can be refused is refused
 * before anything is copied up. -EROFS, -EINVAL for a reserved name, -ENAMETOOLONG.
 * *dp is NULL after an error.
 */
int entries_dir(const struct ovl *o, const char *path, struct dir **dp, const char **name);

/* Bookkeeping after the file e was removed from, or replaced in, the upper. */
void entries_removed(const struct ovl *o, const struct entry *e);

#endif
