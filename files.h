/* SPDX-License-Identifier: ISC */
/*
 * files: open files, and files that are open but have no name any more.
 *
 * A file opened for reading while only a lower has it must show what others
 * write after its copy-up: copyup tells this module, which puts the copy under
 * the same descriptor number.
 *
 * When an open file is unlinked, libfuse goes on using it by a new name of the
 * form .fuse_hidden* in the same directory. No such name is ever made on disk:
 * the file is unlinked at once, and this module keeps a descriptor of it under
 * that name until the kernel forgets the inode.
 */
#ifndef FILES_H
#define FILES_H

#include "layers.h"

/* An open file. fd stays the same number for its life. */
struct file {
	int fd;
	int flags; /* of open(2), as the user gave them */
	uint64_t ino;
	char *path;	    /* of a lower one when it was opened, or NULL */
	atomic_ullong node; /* libfuse's, that it counts as open */
	bool node_used;	    /* to be given back with nodes_done */
	bool lower;
	bool no_size;		 /* the size says nothing of the content, as in proc(5) */
	struct hidden *hidden;	 /* what it is part of, or NULL */
	struct backing *backing; /* to be given back at the end, or NULL */
	TAILQ_ENTRY(file) list;
};

/* A file without a name. */
struct hidden {
	LIST_ENTRY(hidden) list;
	char name[32];	 /* libfuse's, without directory */
	uint64_t nodeid; /* libfuse's; 0 while not known */
	struct file file;
	struct stat st; /* when it was hidden */
	struct timespec gone;
	bool upper;
	atomic_bool released; /* libfuse believes its hidden name to be removed */
};

int files_init(struct ovl *o);
void files_destroy(struct ovl *o);

/*
 * Take a file over (its descriptor too); NULL without memory. A lower one must
 * be checked again after this: files_generation tells whether a copy-up came in
 * between.
 */
struct file *files_add(const struct ovl *o, int fd, int flags, uint64_t ino, bool lower);
void files_close(const struct ovl *o, struct file *f);
/*
 * If libfuse's node is open: a copy of the file, whose descriptor belongs to the
 * caller. Asks all that is open.
 */
bool files_dup_node(const struct ovl *o, uint64_t node, struct file *f);
unsigned long files_generation(const struct ovl *o);

/* The lower file ino was copied up to a: show that to all that have it open or hidden. */
void files_switch(const struct ovl *o, uint64_t ino, struct at a);

/* Whether name has the form that libfuse gives to open files it unlinks. */
bool files_is_hidden_name(const char *name);

/*
 * Keep e's file under a hidden name of libfuse's, which has the node's number in
 * it, or keep a directory, which has none, under its node's number. Does not
 * remove anything on disk.
 */
int files_hide(const struct ovl *o, const char *name, uint64_t nodeid, const struct entry *e);

/* The same for a file that never had a name (O_TMPFILE); fd is duplicated. */
int files_hide_new(const struct ovl *o, const char *name, int fd, uint64_t ino);

/* Find one by the last component of a path, or NULL. It stays until forgotten. */
struct hidden *files_hidden(const struct ovl *o, const char *path);
struct hidden *files_hidden_node(const struct ovl *o, uint64_t nodeid);

/* The kernel has given the inode this number, or has forgotten it. */
void files_set_node(const struct ovl *o, const char *name, uint64_t nodeid);
void files_forget_node(const struct ovl *o, uint64_t nodeid);

#endif
