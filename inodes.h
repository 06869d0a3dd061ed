/* SPDX-License-Identifier: ISC */
/*
 * inodes: inode numbers, and the files of a lower that have several names.
 *
 * The number of a file that a lower has is the hash of its path, name by name
 * from the root: hash(name, seeded with the directory's number). So a renamed
 * directory, which keeps its number, keeps those of all below it. A lower file
 * with several names has the hash of its identity (file system, inode) instead,
 * and so has a file that only the upper has: no path can take that from it.
 * What was copied up carries its number in the attribute XATTR_ORIGIN,
 *
 *	1 NUMBER SIZE MTIME CTIME        (hexadecimal; decimal; seconds.nanoseconds)
 *
 * with the size and times of the lower file, and its directory is marked with
 * XATTR_NUMBERED, so that no look-up elsewhere need ask for it. Where a file
 * cannot carry an attribute (links, devices), or an ordinary daemon may not read
 * it (the owner's read bit is missing), the number is kept in memory.
 *
 * The index: when a lower file with several names is copied up, the copy gets
 * a further link in the work directory's index/, named by its number. The other
 * lower names of the file follow it there. index/NUMBER.links, a symbolic link,
 * holds how many lower names are neither removed nor copied up, and the path of
 * the one that is about to be.
 */
#ifndef INODES_H
#define INODES_H

#include "layers.h"

int inodes_init(struct ovl *o);
void inodes_destroy(struct ovl *o);

uint64_t inodes_root_number(void);

/* The number of a file by its path: its name in a directory of that number. */
uint64_t inodes_path_number(uint64_t dir, const char *name);

/* The number of a file by its identity. */
uint64_t inodes_identity(const struct ovl *o, const struct stat *st);

/*
 * A file system's id, which its next mount has too; 0: it has none (FUSE, NFS).
 * Device numbers of those are of no use, being given out anew at each mount.
 */
uint64_t inodes_fsid(int fd);

/* Set d->ino and d->pure of a directory being loaded. */
int inodes_dir_number(const struct ovl *o, struct dir *parent, const char *name, struct dir *d);

/*
 * Set e->ino; where the entry is a lower name that follows an indexed file,
 * turn it into that file. 0 or -errno.
 */
int inodes_entry_number(const struct ovl *o, struct entry *e);

/* The attributes a user sees: number, link count, squashed owner. */
void inodes_present(const struct ovl *o, uint64_t ino, struct stat *st);

/*
 * Make the file at a (in the upper or staged) carry a number of its own; st is
 * the lower file's, NULL where there is none.
 */
int inodes_store(const struct ovl *o, struct at a, uint64_t ino, const struct stat *st);

/* The daemon will not be able to read its attributes: keep an upper file's number in memory. */
int inodes_keep(const struct ovl *o, const struct stat *st, uint64_t ino);

/* What a copied-up file carries of the lower one. */
struct origin {
	uint64_t ino;
	off_t size;
	struct timespec mtime, ctime;
};

/* -ENODATA when it carries nothing, or only a number. */
int inodes_origin(struct at a, mode_t mode, struct origin *origin);

/* Whether st is the lower file as it was at copy-up. */
bool inodes_is_origin(const struct origin *origin, const struct stat *st);

/*
 * The lower file has been moved away and back, so its ctime is another: let a
 * copy of it (-ENODATA: it is none) know.
 */
int inodes_refresh_origin(struct at a, mode_t mode, const struct stat *st);

/* Say that the upper directory may hold entries that carry a number. */
int inodes_mark(const struct ovl *o, struct dir *d);

/*
 * A name of an upper file is gone, or goes: forget what memory holds of the file
 * if it was the last, as another file may get its inode.
 */
void inodes_gone(const struct ovl *o, const struct stat *st);

/*
 * Copy-up of lower file ino with several names (st->st_nlink of them): give
 * the staged copy its link in the index. Then, and whenever a lower name of an
 * indexed file is removed or gets an entry of its own, one is taken off.
 */
int inodes_index_add(const struct ovl *o, uint64_t ino, struct at staged, const struct stat *st);
int inodes_index_take(const struct ovl *o, uint64_t ino, const struct stat *st);

/*
 * To be called before that, and for any entry: should the daemon be killed before
 * the name is taken off, the next mount looks whether it has gone. _keep: it stays.
 */
int inodes_index_note(const struct ovl *o, const struct entry *e);
void inodes_index_keep(const struct ovl *o, const struct entry *e);

/*
 * Whether the index knows of file ino. A lower file that lost a name has others
 * as long as it does.
 */
bool inodes_indexed(const struct ovl *o, uint64_t ino);

/*
 * Go through the files of the index: number and the copy's attributes, or NULL
 * where no copy is there, only the count of names.
 */
int inodes_index_each(const struct ovl *o,
		      int (*each)(void *arg, uint64_t ino, const struct stat *st), void *arg);

/* Take a file out of the index: all its names are in one place now. */
int inodes_index_drop(const struct ovl *o, uint64_t ino);

/* Whether a lower name may be there that follows a copied-up file. */
bool inodes_have_followers(const struct ovl *o);

/* An upper name of file ino was removed: end its index entry if it was the last. */
void inodes_index_check(const struct ovl *o, uint64_t ino);

#endif
