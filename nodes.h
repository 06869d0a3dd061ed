/* SPDX-License-Identifier: ISC */
/*
 * nodes: all names of one file are one inode for the kernel.
 *
 * The high-level API of libfuse has a node for each name, and would give the
 * kernel as many inodes for one file: with pages, attributes, locks and watches
 * of their own. This module keeps, for files that have or had several names, which
 * nodes are the same file: a group. The kernel knows the first of them, and so only
 * one inode; a request about it goes to a node that still has a name.
 *
 * libfuse must forget each node as often as it gave it, the kernel forgets only the
 * one that it knows. So all givings are counted, also those of files with one name,
 * which may get more. The nodes of a group are forgotten when the kernel has none of
 * its givings left, and one that has lost its name when nothing uses it any more.
 *
 * All functions take a lock of their own and may be called from any thread.
 */
#ifndef NODES_H
#define NODES_H

#include <stdbool.h>
#include <stdint.h>

struct nodes;

/* What libfuse is to forget now: a list; each is the caller's, to be freed. */
struct nodes_part {
	struct nodes_part *next;
	uint64_t node;
	uint64_t times; /* may be 0: only what others keep for the node */
};

struct nodes *nodes_new(void); /* NULL without memory */
void nodes_free(struct nodes *s);

/*
 * libfuse gives the node of a file that is no directory to the kernel once more.
 * inode: the number of the file; several: it has more than one name. Returns the
 * node by which the kernel knows the file, and sets *generation to that node's.
 * Without memory the node itself.
 */
uint64_t nodes_give(struct nodes *s, uint64_t node, uint64_t inode, bool several,
		    uint64_t *generation);

/* The same did not reach the kernel, and libfuse has forgotten it by itself. */
struct nodes_part *nodes_take_back(struct nodes *s, uint64_t node);

/*
 * The kernel forgets a node n times. True: libfuse is not to be told that, but what
 * is set in *parts.
 */
bool nodes_forget(struct nodes *s, uint64_t node, uint64_t n, struct nodes_part **parts);

/* The file that the kernel knows as node gets a second name. */
void nodes_linked(struct nodes *s, uint64_t node, uint64_t inode);

/*
 * The node that a request of the kernel about this one is for: one with a name, if
 * any has. *used: it is kept until nodes_done; so is that of an open file when
 * nodes_use says so.
 */
uint64_t nodes_route(struct nodes *s, uint64_t node, bool *used);
bool nodes_use(struct nodes *s, uint64_t node);
struct nodes_part *nodes_done(struct nodes *s, uint64_t node);

/* The same without using it; and the node by which the kernel knows this one's file. */
uint64_t nodes_best(struct nodes *s, uint64_t node);
uint64_t nodes_known(struct nodes *s, uint64_t node);

/* Whether the file with this number has a group; the node's file has one, and a name. */
bool nodes_has(struct nodes *s, uint64_t inode);
bool nodes_has_name(struct nodes *s, uint64_t node);

/*
 * The node has lost its name. hidden: it can be used all the same, where no node
 * with a name is left. last: the file has no other name, and its number may become
 * another file's.
 */
void nodes_nameless(struct nodes *s, uint64_t node, bool hidden, bool last);

#endif
