/* SPDX-License-Identifier: ISC */
/*
 * Open files and hidden ones; files.h says what they are. Files of a lower are
 * listed by number, to be found again at their copy-up.
 */
#include "files.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backing.h"

#define HIDDEN_PREFIX ".fuse_hidden"

enum { FILE_BUCKETS = 256 };

TAILQ_HEAD(files_list, file);
LIST_HEAD(hidden_list, hidden);

struct files {
	pthread_mutex_t lock;		       /* all of this */
	struct files_list lower[FILE_BUCKETS]; /* files of a lower, by number */
	struct files_list upper;
	struct hidden_list hidden[FILE_BUCKETS]; /* by node */
	atomic_uint nhidden;
	atomic_ulong generation; /* of copy-ups */
};

int files_init(struct ovl *o)
{
	struct files *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -ENOMEM;
	pthread_mutex_init(&f->lock, NULL);
	for (int i = 0; i < FILE_BUCKETS; i++)
		TAILQ_INIT(&f->lower[i]);
	TAILQ_INIT(&f->upper);
	o->files = f;
	return 0;
}

/* With the lock held: the list that f belongs to. */
static struct files_list *list_of(struct files *files, const struct file *f)
{
	return f->lower ? &files->lower[f->ino % FILE_BUCKETS] : &files->upper;
}

/* At the end libfuse cancels threads, while they read requests: none is to keep memory in close(2). */
static void hidden_free(struct hidden *h)
{
	int fd = h->file.fd;

	free(h);
	close(fd);
}

/* What the kernel had no time to release. */
static void close_all(struct files_list *list)
{
	struct file *f;

	while ((f = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, f, list);
		backing_close(f);
		close(f->fd);
		free(f->path);
		free(f);
	}
}

void files_destroy(struct ovl *o)
{
	struct hidden *h;

	if (o->files == NULL)
		return;
	close_all(&o->files->upper);
	for (int i = 0; i < FILE_BUCKETS; i++) {
		close_all(&o->files->lower[i]);
		while ((h = LIST_FIRST(&o->files->hidden[i])) != NULL) {
			LIST_REMOVE(h, list);
			hidden_free(h);
		}
	}
	pthread_mutex_destroy(&o->files->lock);
	free(o->files);
	o->files = NULL;
}

/* Open files. */

struct file *files_add(const struct ovl *o, int fd, int flags, uint64_t ino, bool lower)
{
	struct file *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->fd = fd;
	f->flags = flags;
	f->ino = ino;
	f->lower = lower;
	pthread_mutex_lock(&o->files->lock);
	TAILQ_INSERT_TAIL(list_of(o->files, f), f, list);
	pthread_mutex_unlock(&o->files->lock);
	return f;
}

void files_close(const struct ovl *o, struct file *f)
{
	pthread_mutex_lock(&o->files->lock);
	TAILQ_REMOVE(list_of(o->files, f), f, list);
	pthread_mutex_unlock(&o->files->lock);
	backing_close(f);
	close(f->fd);
	free(f->path);
	free(f);
}

static bool dup_from(struct files_list *list, uint64_t node, struct file *copy)
{
	struct file *f;

	TAILQ_FOREACH(f, list, list) {
		if (f->node != node)
			continue;
		*copy = *f;
		copy->fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
		return copy->fd != -1;
	}
	return false;
}

bool files_dup_node(const struct ovl *o, uint64_t node, struct file *f)
{
	bool found;

	if (node == 0) /* as files have whose node is not known yet */
		return false;
	pthread_mutex_lock(&o->files->lock);
	found = dup_from(&o->files->upper, node, f);
	for (int i = 0; !found && i < FILE_BUCKETS; i++)
		found = dup_from(&o->files->lower[i], node, f);
	pthread_mutex_unlock(&o->files->lock);
	return found;
}

unsigned long files_generation(const struct ovl *o)
{
	return o->files->generation;
}

/* With the lock held. The descriptor's number stays, so readers need no lock. */
static void switch_one(struct file *f, struct at a)
{
	int fd = at_open(a, f->flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_DIRECT | O_APPEND), 0);

	if (fd < 0)
		return;
	dup3(fd, f->fd, O_CLOEXEC);
	close(fd);
	f->lower = false;
}

void files_switch(const struct ovl *o, uint64_t ino, struct at a)
{
	struct files_list *list = &o->files->lower[ino % FILE_BUCKETS];
	struct file *f, *next;
	struct hidden *h;
	int fd;

	pthread_mutex_lock(&o->files->lock);
	o->files->generation++;
	for (f = TAILQ_FIRST(list); f != NULL; f = next) {
		next = TAILQ_NEXT(f, list);
		if (f->ino != ino)
			continue;
		switch_one(f, a);
		if (!f->lower) {
			TAILQ_REMOVE(list, f, list);
			TAILQ_INSERT_TAIL(&o->files->upper, f, list);
		}
	}
	for (int i = 0; o->files->nhidden > 0 && i < FILE_BUCKETS; i++) {
		LIST_FOREACH(h, &o->files->hidden[i], list) {
			if (h->file.ino != ino || h->upper || (fd = at_open(a, O_PATH, 0)) < 0)
				continue;
			h->upper = dup3(fd, h->file.fd, O_CLOEXEC) != -1;
			close(fd);
		}
	}
	pthread_mutex_unlock(&o->files->lock);
}

/* Hidden files. */

bool files_is_hidden_name(const char *name)
{
	size_t n = sizeof(HIDDEN_PREFIX) - 1;

	if (strncmp(name, HIDDEN_PREFIX, n) != 0 || strlen(name) != n + 16)
		return false;
	for (const char *p = name + n; *p != '\0'; p++)
		if (!isxdigit((unsigned char)*p))
			return false;
	return true;
}

static int hide(const struct ovl *o, const char *name, uint64_t nodeid, struct hidden *h)
{
	char digits[9] = "";

	snprintf(h->name, sizeof(h->name), "%s", name);
	h->file.hidden = h;
	h->nodeid = nodeid;
	if (files_is_hidden_name(name)) {
		memcpy(digits, name + sizeof(HIDDEN_PREFIX) - 1, 8);
		h->nodeid = strtoull(digits, NULL, 16);
	}
	pthread_mutex_lock(&o->files->lock);
	LIST_INSERT_HEAD(&o->files->hidden[h->nodeid % FILE_BUCKETS], h, list);
	o->files->nhidden++;
	pthread_mutex_unlock(&o->files->lock);
	return 0;
}

int files_hide(const struct ovl *o, const char *name, uint64_t nodeid, const struct entry *e)
{
	struct hidden *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	h->file.fd = at_open(e->at, O_PATH, 0);
	if (h->file.fd < 0) {
		int r = h->file.fd;

		free(h);
		return r;
	}
	h->file.flags = O_PATH;
	h->file.ino = e->ino;
	h->st = e->st;
	h->upper = e->upper;
	clock_gettime(CLOCK_REALTIME_COARSE, &h->gone);
	return hide(o, name, nodeid, h);
}

int files_hide_new(const struct ovl *o, const char *name, int fd, uint64_t ino)
{
	struct hidden *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	h->file.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (h->file.fd == -1 || fstat(fd, &h->st) == -1) {
		int r = -errno;

		if (h->file.fd != -1)
			close(h->file.fd);
		free(h);
		return r;
	}
	h->upper = true;
	h->file.ino = ino;
	return hide(o, name, 0, h);
}

/* With the lock held. */
static struct hidden *find_name(const struct files *f, const char *name)
{
	struct hidden *h;

	for (int i = 0; i < FILE_BUCKETS; i++)
		LIST_FOREACH(h, &f->hidden[i], list)
			if (strcmp(h->name, name) == 0)
				return h;
	return NULL;
}

/* With the lock held. */
static struct hidden *find_node(const struct files *f, uint64_t nodeid)
{
	struct hidden *h;

	LIST_FOREACH(h, &f->hidden[nodeid % FILE_BUCKETS], list)
		if (h->nodeid == nodeid)
			break;
	return h;
}

struct hidden *files_hidden(const struct ovl *o, const char *path)
{
	const char *slash = path == NULL ? NULL : strrchr(path, '/');
	struct hidden *h;

	if (o->files->nhidden == 0 || slash == NULL ||
	    strncmp(slash + 1, HIDDEN_PREFIX, sizeof(HIDDEN_PREFIX) - 1) != 0)
		return NULL;
	pthread_mutex_lock(&o->files->lock);
	h = find_name(o->files, slash + 1);
	pthread_mutex_unlock(&o->files->lock);
	return h;
}

struct hidden *files_hidden_node(const struct ovl *o, uint64_t nodeid)
{
	struct hidden *h;

	if (o->files->nhidden == 0)
		return NULL;
	pthread_mutex_lock(&o->files->lock);
	h = find_node(o->files, nodeid);
	pthread_mutex_unlock(&o->files->lock);
	return h;
}

void files_set_node(const struct ovl *o, const char *name, uint64_t nodeid)
{
	struct hidden *h;

	pthread_mutex_lock(&o->files->lock);
	h = find_name(o->files, name);
	if (h != NULL) {
		LIST_REMOVE(h, list);
		h->nodeid = nodeid;
		LIST_INSERT_HEAD(&o->files->hidden[nodeid % FILE_BUCKETS], h, list);
	}
	pthread_mutex_unlock(&o->files->lock);
}

void files_forget_node(const struct ovl *o, uint64_t nodeid)
{
	struct hidden *h;

	if (o->files->nhidden == 0)
		return;
	pthread_mutex_lock(&o->files->lock);
	h = find_node(o->files, nodeid);
	if (h != NULL) {
		LIST_REMOVE(h, list);
		o->files->nhidden--;
	}
	pthread_mutex_unlock(&o->files->lock);
	if (h != NULL)
		hidden_free(h);
}
