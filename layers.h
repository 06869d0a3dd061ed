/* SPDX-License-Identifier: ISC */
/*
 * layers: the stack of directories, and how a path becomes a file of one.
 *
 * Layer i contributes to a merged directory when every component of its path
 * is a real directory in layer i and no layer above hides any of them. Such a
 * contribution is a part. The parts of a directory, top first, are kept in a
 * bounded cache, so that a look-up costs one stat a part whatever the depth.
 * On disk is the truth: the cache may be dropped at any time.
 */
#ifndef LAYERS_H
#define LAYERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <time.h>

#include "at.h"
#include "copy.h"
#include "name_set.h"

struct filter;

/* The layers do not change. */
#define TIMEOUT_NEVER 1e9

enum whiteout_format { WHITEOUT_WH, WHITEOUT_CHARDEV, WHITEOUT_XATTR };

/* One directory of the stack. fd is open as long as the stack is. */
struct layer {
	int fd;
	dev_t dev;
	ino_t ino;
	uint64_t fsid; /* names the file system also after a reboot, see stack.c */
	char *path;    /* absolute, for messages */
	bool lists;    /* what a listing does not show is not there, and stays so */
};

/*
 * A mounted overlay. Constant after the start, but for what the pointers of
 * the last group lead to; each of those has its own lock.
 */
struct ovl {
	struct layer *layer; /* top first */
	unsigned nlayers;
	bool writable;	 /* layer[0] is the upper */
	bool locked;	 /* and we have its lock */
	bool privileged; /* may chown and make devices: root of its user namespace */
	bool redirect_dir;
	bool is_volatile;
	enum copy_safety safety; /* of copies in the upper */
	bool acl;
	bool xattrs; /* the upper takes attributes of the user namespace */
	bool squash;
	uid_t squash_uid; /* (uid_t)-1: as it is */
	gid_t squash_gid;
	double timeout; /* seconds; 0: nothing may be stale; TIMEOUT_NEVER */
	enum whiteout_format format;
	dev_t self_dev; /* our own mount; 0 while it is not known */
	struct stat work_st;
	const struct filter *hide; /* what is not shown, or NULL */
	dev_t private_dev;	   /* nor is this directory of lowers; 0: there is none */
	ino_t private_ino;
	int workfd;  /* new entries are built here, on the upper's file system */
	int indexfd; /* copied-up files that have several names, see inodes.h */

	struct cache *cache;
	struct inodes *inodes;
	struct files *files;
};

/* What is known of a part. Set when the directory is loaded and, for the upper, by changes. */
enum {
	PART_WHITEOUTS = 1 << 0,  /* may have .wh. files */
	PART_XWHITEOUTS = 1 << 1, /* empty files with an attribute may be whiteouts */
	PART_NUMBERED = 1 << 2,	  /* may have entries that carry their inode number, or redirects */
	PART_SETGID = 1 << 3,
	PART_DEFAULT_ACL = 1 << 4,
	PART_IMPURE = 1 << 5, /* kernel overlayfs copied up to it, maybe without data */
};

struct part {
	int fd; /* O_RDONLY where permitted, else O_PATH */
	unsigned layer;
	dev_t dev;
	_Atomic unsigned flags;
	struct name_set *names; /* what may be in it, or NULL: ask */
};

/*
 * A merged directory. Everything but flags and the cache's own fields is
 * constant; a change that adds a part makes a new object.
 */
struct dir {
	uint64_t ino;
	char *path;	  /* "" for the root, "/a/b" */
	char *lower_path; /* where its lower parts lie in the stack below the upper */
	unsigned nparts;
	bool pure; /* the upper has it and no lower contributes */

	unsigned top; /* the first layer that was asked */
	unsigned refs;
	bool cached;
	uint64_t hash;
	struct timespec loaded;
	TAILQ_ENTRY(dir) lru;
	LIST_ENTRY(dir) chain;
	struct part part[];
};

/*
 * The result of a look-up: where name is, or that it is not there (part < 0).
 * Holds a reference to its parent; entry_done gives it back. Lives on the
 * caller's stack and must not be copied: at may point into it.
 */
struct entry {
	struct dir *dir;  /* parent; NULL for the root and for a hidden file */
	const char *name; /* in the path given to the look-up, which must live on */
	int part;	  /* which part of dir has it; 0 for the root, -1: none */
	bool upper;	  /* the file found may be changed in place */
	bool indexed;	  /* a lower name that follows a copied-up file of several names */
	bool whiteout;	  /* part < 0 because a whiteout of the upper says so */
	struct at at;	  /* the file, if there is one */
	struct stat st;	  /* the layer's own */
	uint64_t ino;
	char index_name[17];
};

/* The names that no user may see or make: ".wh." and what follows. */
bool layers_reserved(const char *name);

/* Make and end the directory cache; its size follows RLIMIT_NOFILE. */
int layers_init(struct ovl *o);
void layers_destroy(struct ovl *o);

/*
 * Look path up. 0 with e->part < 0 when the parent exists and the name does
 * not. -ENOENT or -ENOTDIR when the parent is not a directory, -ENAMETOOLONG,
 * -EINVAL never: a reserved name is just not there.
 */
int layers_find(const struct ovl *o, const char *path, struct entry *e);

/* The same, and -ENOENT when it is not there. */
int layers_lookup(const struct ovl *o, const char *path, struct entry *e);

/* Look a name of a known directory up; name must live as long as e. */
int layers_find_in(const struct ovl *o, struct dir *d, const char *name, struct entry *e);

/* The same where it is known that part number `part` has it. */
int layers_entry(const struct ovl *o, struct dir *d, unsigned part, const char *name,
		 struct entry *e);
void entry_done(const struct ovl *o, struct entry *e);

/* Whether a layer below the upper shows name in d: what a whiteout would hide. */
int layers_below(const struct ovl *o, struct dir *d, const char *name, bool *exists);

/* The same for what lies below any layer. */
int layers_below_layer(const struct ovl *o, struct dir *d, unsigned layer, const char *name,
		       bool *exists);

/* A merged directory by path ("" or "/a/b"); give it back with dir_put. */
int layers_dir(const struct ovl *o, const char *path, struct dir **dp);
void dir_put(const struct ovl *o, struct dir *d);
struct dir *dir_ref(const struct ovl *o, struct dir *d);

/* The upper's part, or NULL. */
struct part *dir_upper(const struct ovl *o, struct dir *d);

/* The directory's own attributes: those of its top part. */
int dir_stat(const struct ovl *o, struct dir *d, struct stat *st);

/*
 * A mark was made in d's upper part. When d is not the one in the cache (any more),
 * another thread may have loaded it without the mark: that is forgotten.
 */
void layers_settle(const struct ovl *o, const struct dir *d);

/* Forget path, or all below it too, after a change. */
void layers_drop(const struct ovl *o, const char *path);
void layers_drop_tree(const struct ovl *o, const char *path);

/* The upper or the work directory itself, seen through a lower: to be hidden. */
bool layers_hidden(const struct ovl *o, const struct stat *st);

/*
 * Whether o->hide, which must be set, has name in d, seen in this part. In a
 * lower the name counts that a file had there, wherever its directory is now.
 */
bool layers_unwanted(const struct ovl *o, const struct dir *d, unsigned layer, const char *name,
		     mode_t mode);

#endif
