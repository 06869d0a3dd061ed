/* SPDX-License-Identifier: ISC */
/*
 * Which inodes pass us by; backing.h says what that is. The numbers of the
 * interface are those of the kernel's linux/fuse.h since 6.9, which is newer than
 * the headers of many systems that run on such a kernel.
 */
#include "backing.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/queue.h>

enum { BUCKETS = 256 };

struct map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};

#define BACKING_OPEN _IOW(229, 1, struct map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

struct backing {
	LIST_ENTRY(backing) list;
	uint64_t node;
	int id;	       /* the kernel's for the descriptor, while the file is open; or 0 */
	unsigned open; /* all by id, or none */
	unsigned writers;
	bool maps; /* was open for reading and writing by id */
};

LIST_HEAD(backing_list, backing);

static struct {
	pthread_mutex_t lock; /* all of this */
	struct backing_list bucket[BUCKETS];
	atomic_int fuse_fd;   /* -1: nothing passes */
	atomic_ulong nmapped; /* read without the lock: mostly there are none */
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .fuse_fd = -1};

void backing_enable(int fuse_fd)
{
	all.fuse_fd = fuse_fd;
}

/* With the lock held. */
static struct backing *find(uint64_t node)
{
	struct backing *b;

	LIST_FOREACH(b, &all.bucket[node % BUCKETS], list)
		if (b->node == node)
			break;
	return b;
}

/* With the lock held. */
static struct backing *find_or_add(uint64_t node)
{
	struct backing *b = find(node);

	if (b == NULL && (b = calloc(1, sizeof(*b))) != NULL) {
		b->node = node;
		LIST_INSERT_HEAD(&all.bucket[node % BUCKETS], b, list);
	}
	return b;
}

/* With the lock held: what tells nothing any more goes. */
static void tidy(struct backing *b)
{
	if (b->open > 0 || b->maps)
		return;
	LIST_REMOVE(b, list);
	free(b);
}

/* 0 where the kernel does not take it: it would be stacked too high, for one. */
static int register_file(int fd)
{
	struct map map = {.fd = fd};
	int id = ioctl(all.fuse_fd, BACKING_OPEN, &map);

	if (id < 0 && errno == EPERM)
		all.fuse_fd = -1;
	return id > 0 ? id : 0;
}

static bool writes(const struct file *f)
{
	return (f->flags & O_ACCMODE) != O_RDONLY;
}

struct backing *backing_open(uint64_t node, const struct file *f, int *id)
{
	struct backing *b;

	*id = 0;
	if (all.fuse_fd == -1)
		return NULL;
	pthread_mutex_lock(&all.lock);
	b = find_or_add(node);
	if (b != NULL) {
		if (b->open == 0 && !f->lower)
			b->id = register_file(f->fd);
		b->open++;
		b->writers += writes(f);
		*id = b->id;
		if (b->id != 0 && (f->flags & O_ACCMODE) == O_RDWR && !b->maps) {
			b->maps = true;
			all.nmapped++;
		}
	}
	pthread_mutex_unlock(&all.lock);
	return b;
}

void backing_close(const struct file *f)
{
	struct backing *b = f->backing;
	uint32_t id;

	if (b == NULL)
		return;
	pthread_mutex_lock(&all.lock);
	b->writers -= writes(f);
	if (--b->open == 0 && b->id != 0) {
		id = (uint32_t)b->id;
		ioctl(all.fuse_fd, BACKING_CLOSE, &id);
		b->id = 0;
	}
	tidy(b);
	pthread_mutex_unlock(&all.lock);
}

bool backing_writes(uint64_t node)
{
	const struct backing *b;
	bool does;

	pthread_mutex_lock(&all.lock);
	b = find(node);
	does = b != NULL && b->id != 0 && b->writers > 0;
	pthread_mutex_unlock(&all.lock);
	return does;
}

bool backing_maps(uint64_t node)
{
	const struct backing *b;
	bool maps;

	if (all.nmapped == 0)
		return false;
	pthread_mutex_lock(&all.lock);
	b = find(node);
	maps = b != NULL && b->maps;
	pthread_mutex_unlock(&all.lock);
	return maps;
}

void backing_forget(uint64_t node)
{
	struct backing *b;

	if (all.nmapped == 0)
		return;
	pthread_mutex_lock(&all.lock);
	b = find(node);
	if (b != NULL && b->maps) {
		b->maps = false;
		all.nmapped--;
		tidy(b);
	}
	pthread_mutex_unlock(&all.lock);
}
