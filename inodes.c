/* SPDX-License-Identifier: ISC */
/*
 * Inode numbers and the index of copied-up files with several names; inodes.h
 * says what they are. Two trees in memory hold the exceptions: numbers that a
 * file could not carry, by the upper's inode, and the index, by number.
 */
#include "inodes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/tree.h>
#include <unistd.h>
#include <xxhash.h>

#include "whiteout.h"

/* Links and devices cannot have attributes of the user namespace. */
#define XATTR_ORIGIN_SPECIAL "trusted.overlayfs.origin"

struct number {
	RB_ENTRY(number) tree;
	ino_t upper;
	uint64_t ino;
};

struct indexed {
	RB_ENTRY(indexed) tree;
	uint64_t ino;
	bool copied; /* index/NUMBER is there */
	nlink_t rest;
};

static int compare_number(const struct number *a, const struct number *b)
{
	return a->upper < b->upper ? -1 : a->upper > b->upper;
}

static int compare_indexed(const struct indexed *a, const struct indexed *b)
{
	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

RB_HEAD(numbers, number);
RB_HEAD(index, indexed);
RB_PROTOTYPE(numbers, number, tree, compare_number)
RB_GENERATE(numbers, number, tree, compare_number)
RB_PROTOTYPE(index, indexed, tree, compare_indexed)
RB_GENERATE(index, indexed, tree, compare_indexed)

struct inodes {
	pthread_rwlock_t lock; /* both trees, and changes of the index on disk */
	struct numbers numbers;
	struct index index;
	atomic_uint nnumbers; /* how many each has, to ask without the lock */
	atomic_uint nindexed;
};

/* 0 means "none" to readdir(3) users, and 1 bad blocks on some file systems. */
static uint64_t usable(uint64_t hash)
{
	return hash <= 1 ? hash + 2 : hash;
}

uint64_t inodes_path_number(uint64_t dir, const char *name)
{
	return usable(XXH3_64bits_withSeed(name, strlen(name), dir));
}

uint64_t inodes_root_number(void)
{
	return inodes_path_number(0, "");
}

uint64_t inodes_fsid(int fd, dev_t dev)
{
	struct statfs fs;
	uint64_t id = 0;

	if (fstatfs(fd, &fs) == 0)
		memcpy(&id, &fs.f_fsid, sizeof(fs.f_fsid) < 8 ? sizeof(fs.f_fsid) : 8);
	return id != 0 ? id : dev;
}

static uint64_t identity(uint64_t fsid, ino_t ino)
{
	uint64_t key[2] = {fsid, ino};

	return usable(XXH3_64bits(key, sizeof(key)));
}

uint64_t inodes_identity(const struct ovl *o, const struct stat *st)
{
	for (unsigned i = 0; i < o->nlayers; i++)
		if (o->layer[i].dev == st->st_dev)
			return identity(o->layer[i].fsid, st->st_ino);
	return identity(st->st_dev, st->st_ino);
}

/* Numbers that a file carries, or that memory keeps for it. */

static const char *origin_attr(mode_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) ? XATTR_ORIGIN : XATTR_ORIGIN_SPECIAL;
}

static bool remembered(const struct ovl *o, ino_t upper, uint64_t *ino)
{
	struct number key = {.upper = upper}, *n = NULL;

	if (o->inodes->nnumbers == 0)
		return false;
	pthread_rwlock_rdlock(&o->inodes->lock);
	n = RB_FIND(numbers, &o->inodes->numbers, &key);
	if (n != NULL)
		*ino = n->ino;
	pthread_rwlock_unlock(&o->inodes->lock);
	return n != NULL;
}

static bool carried(struct at a, mode_t mode, uint64_t *ino)
{
	char value[128], *end;
	ssize_t n = at_getxattr(a, origin_attr(mode), value, sizeof(value) - 1);

	if (n < 3 || value[0] != '1' || value[1] != ' ')
		return false;
	value[n] = '\0';
	*ino = strtoull(value + 2, &end, 16);
	return end != value + 2 && *ino > 1;
}

/* The number of a file that only the upper has, or has in another place. */
static uint64_t upper_number(const struct ovl *o, struct at a, const struct stat *st, bool ask)
{
	uint64_t ino;

	if (remembered(o, st->st_ino, &ino) || (ask && carried(a, st->st_mode, &ino)))
		return ino;
	return inodes_identity(o, st);
}

static int remember(const struct ovl *o, ino_t upper, uint64_t ino)
{
	struct number *n = calloc(1, sizeof(*n)), *old;

	if (n == NULL)
		return -ENOMEM;
	n->upper = upper;
	n->ino = ino;
	pthread_rwlock_wrlock(&o->inodes->lock);
	old = RB_INSERT(numbers, &o->inodes->numbers, n);
	if (old != NULL) {
		old->ino = ino;
		free(n);
	} else {
		o->inodes->nnumbers++;
	}
	pthread_rwlock_unlock(&o->inodes->lock);
	return 0;
}

int inodes_store(const struct ovl *o, struct at a, uint64_t ino, const struct stat *st)
{
	static const struct stat none;
	char value[128];
	struct stat own;
	int r = at_stat(a, &own, 0);

	if (r != 0)
		return r;
	if (st == NULL)
		st = &none;
	snprintf(value, sizeof(value), "1 %llx %lld %lld.%09ld %lld.%09ld", (unsigned long long)ino,
		 (long long)st->st_size, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
		 (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
	if (at_setxattr_force(a, origin_attr(own.st_mode), value, strlen(value)) == 0)
		return 0;
	return remember(o, own.st_ino, ino);
}

int inodes_mark(const struct ovl *o, struct part *upper)
{
	(void)o;
	if (!(upper->flags & PART_NUMBERED)) {
		at_setxattr_force((struct at){upper->fd, ""}, XATTR_NUMBERED, "y", 1);
		upper->flags |= PART_NUMBERED;
	}
	return 0;
}

/* With the lock held for writing: the inode may become another file's. */
static void forget(const struct ovl *o, ino_t upper)
{
	struct number key = {.upper = upper};
	struct number *n = RB_FIND(numbers, &o->inodes->numbers, &key);

	if (n != NULL) {
		RB_REMOVE(numbers, &o->inodes->numbers, n);
		o->inodes->nnumbers--;
		free(n);
	}
}

void inodes_gone(const struct ovl *o, const struct stat *st)
{
	if (st->st_nlink > 1 || o->inodes->nnumbers == 0)
		return;
	pthread_rwlock_wrlock(&o->inodes->lock);
	forget(o, st->st_ino);
	pthread_rwlock_unlock(&o->inodes->lock);
}

/* The index. */

static void index_name(uint64_t ino, char name[17])
{
	snprintf(name, 17, "%016llx", (unsigned long long)ino);
}

/* With the lock held. */
static struct indexed *index_find(const struct ovl *o, uint64_t ino)
{
	struct indexed key = {.ino = ino};

	return RB_FIND(index, &o->inodes->index, &key);
}

/* With the lock held for writing. */
static struct indexed *index_get(const struct ovl *o, uint64_t ino, nlink_t rest)
{
	struct indexed *x = index_find(o, ino);

	if (x == NULL && (x = calloc(1, sizeof(*x))) != NULL) {
		x->ino = ino;
		x->rest = rest;
		RB_INSERT(index, &o->inodes->index, x);
		o->inodes->nindexed++;
	}
	return x;
}

static int index_write(const struct ovl *o, const struct indexed *x)
{
	char name[32], temp[32], value[32];

	snprintf(name, sizeof(name), "%016llx.links", (unsigned long long)x->ino);
	snprintf(temp, sizeof(temp), "%016llx.new", (unsigned long long)x->ino);
	snprintf(value, sizeof(value), "%llu", (unsigned long long)x->rest);
	if (unlinkat(o->indexfd, temp, 0) == -1 && errno != ENOENT)
		return -errno;
	if (symlinkat(value, o->indexfd, temp) == -1 ||
	    renameat(o->indexfd, temp, o->indexfd, name) == -1)
		return -errno;
	return 0;
}

/* With the lock held for writing: nothing can lead to the file any more. */
static void index_remove(const struct ovl *o, struct indexed *x)
{
	char name[32];
	struct stat st;

	index_name(x->ino, name);
	if (at_stat((struct at){o->indexfd, name}, &st, 0) == 0)
		forget(o, st.st_ino);
	unlinkat(o->indexfd, name, 0);
	snprintf(name, sizeof(name), "%016llx.links", (unsigned long long)x->ino);
	unlinkat(o->indexfd, name, 0);
	RB_REMOVE(index, &o->inodes->index, x);
	o->inodes->nindexed--;
	free(x);
}

/* With the lock held for writing. */
static void index_tidy(const struct ovl *o, struct indexed *x)
{
	char name[17];
	struct stat st;

	if (x->rest > 0)
		return;
	index_name(x->ino, name);
	if (!x->copied || (at_stat((struct at){o->indexfd, name}, &st, 0) == 0 && st.st_nlink == 1))
		index_remove(o, x);
}

int inodes_index_add(const struct ovl *o, uint64_t ino, struct at staged, const struct stat *st)
{
	struct indexed *x;
	char name[17];
	int r = -ENOMEM;

	pthread_rwlock_wrlock(&o->inodes->lock);
	x = index_get(o, ino, st->st_nlink);
	if (x != NULL)
		r = index_write(o, x);
	index_name(ino, name);
	if (r == 0)
		r = at_link(staged, (struct at){o->indexfd, name});
	if (r == 0 || r == -EEXIST) {
		x->copied = true;
		r = 0;
	}
	pthread_rwlock_unlock(&o->inodes->lock);
	return r;
}

int inodes_index_take(const struct ovl *o, uint64_t ino, const struct stat *st)
{
	struct indexed *x;
	int r = -ENOMEM;

	pthread_rwlock_wrlock(&o->inodes->lock);
	x = index_get(o, ino, st->st_nlink);
	if (x != NULL) {
		if (x->rest > 0)
			x->rest--;
		r = index_write(o, x);
		index_tidy(o, x);
	}
	pthread_rwlock_unlock(&o->inodes->lock);
	return r;
}

void inodes_index_check(const struct ovl *o, uint64_t ino)
{
	struct indexed *x;

	if (o->inodes->nindexed == 0)
		return;
	pthread_rwlock_wrlock(&o->inodes->lock);
	x = index_find(o, ino);
	if (x != NULL)
		index_tidy(o, x);
	pthread_rwlock_unlock(&o->inodes->lock);
}

/* If a lower name leads to an indexed copy, let the entry be that copy. */
static int follow_index(const struct ovl *o, struct entry *e)
{
	bool copied = false;
	struct indexed *x;

	if (!o->writable || o->inodes->nindexed == 0)
		return 0;
	pthread_rwlock_rdlock(&o->inodes->lock);
	x = index_find(o, e->ino);
	copied = x != NULL && x->copied;
	pthread_rwlock_unlock(&o->inodes->lock);
	if (!copied)
		return 0;
	index_name(e->ino, e->index_name);
	e->at = (struct at){o->indexfd, e->index_name};
	e->indexed = e->upper = true;
	return at_stat(e->at, &e->st, 0);
}

/* What a look-up needs. */

int inodes_dir_number(const struct ovl *o, struct dir *parent, const char *name, struct dir *d)
{
	struct part *upper = dir_upper(o, d);
	struct stat st;
	uint64_t ino;
	int r;

	d->pure = upper != NULL && d->nparts == 1;
	d->ino = inodes_path_number(parent->ino, name);
	if (upper == NULL || d->top != 0)
		return 0;
	if (d->pure || (upper->flags & PART_NUMBERED) || o->inodes->nnumbers > 0 ||
	    (dir_upper(o, parent) != NULL && (dir_upper(o, parent)->flags & PART_NUMBERED))) {
		r = at_stat((struct at){upper->fd, ""}, &st, 0);
		if (r != 0)
			return r;
		if (remembered(o, st.st_ino, &ino) ||
		    carried((struct at){upper->fd, ""}, S_IFDIR, &ino))
			d->ino = ino;
		else if (d->pure)
			d->ino = inodes_identity(o, &st);
	}
	return 0;
}

static int merged_dir_number(const struct ovl *o, struct entry *e)
{
	char *path = NULL;
	struct dir *d;
	int r;

	if (asprintf(&path, "%s/%s", e->dir->path, e->name) == -1)
		return -ENOMEM;
	r = layers_dir(o, path, &d);
	free(path);
	if (r != 0)
		return r;
	e->ino = d->ino;
	if (!d->pure)
		e->st.st_nlink = 1;
	dir_put(o, d);
	return 0;
}

int inodes_entry_number(const struct ovl *o, struct entry *e)
{
	bool isdir = S_ISDIR(e->st.st_mode);

	if (isdir && e->upper && !e->dir->pure)
		return merged_dir_number(o, e);
	if (e->upper) {
		bool ask = e->dir->part[e->part].flags & PART_NUMBERED;

		e->ino = upper_number(o, e->at, &e->st, ask);
		return 0;
	}
	if (isdir || e->st.st_nlink == 1) {
		e->ino = inodes_path_number(e->dir->ino, e->name);
		if (isdir && (unsigned)e->part + 1 < e->dir->nparts)
			e->st.st_nlink = 1;
		return 0;
	}
	e->ino = inodes_identity(o, &e->st);
	return follow_index(o, e);
}

void inodes_present(const struct ovl *o, uint64_t ino, struct stat *st)
{
	struct indexed *x;

	if (!S_ISDIR(st->st_mode) && o->inodes->nindexed > 0) {
		pthread_rwlock_rdlock(&o->inodes->lock);
		x = index_find(o, ino);
		if (x != NULL)
			st->st_nlink = x->copied ? st->st_nlink - 1 + x->rest : x->rest;
		pthread_rwlock_unlock(&o->inodes->lock);
	}
	st->st_ino = ino;
	if (o->squash) {
		if (o->squash_uid != (uid_t)-1)
			st->st_uid = o->squash_uid;
		if (o->squash_gid != (gid_t)-1)
			st->st_gid = o->squash_gid;
	}
}

/* Start and end. */

static int load_indexed(void *arg, const char *name, unsigned char type, ino_t ino)
{
	const struct ovl *o = arg;
	char value[32], *end;
	uint64_t number = strtoull(name, &end, 16);
	bool links = strcmp(end, ".links") == 0;
	struct indexed *x;
	struct stat st;

	(void)type;
	(void)ino;
	if (end != name + 16 || (*end != '\0' && !links))
		return 0;
	x = index_get(o, number, 0);
	if (x == NULL)
		return -ENOMEM;
	if (!links) {
		/* a link or device cannot carry its number: here it is */
		x->copied = true;
		if (at_stat((struct at){o->indexfd, name}, &st, 0) == 0)
			return remember(o, st.st_ino, number);
	} else if (at_readlink((struct at){o->indexfd, name}, value, sizeof(value)) == 0) {
		x->rest = (nlink_t)strtoull(value, NULL, 10);
	}
	return 0; // NOLINT(clang-analyzer-unix.Malloc): the tree keeps x
}

int inodes_init(struct ovl *o)
{
	struct inodes *i = calloc(1, sizeof(*i));
	int fd, r;

	if (i == NULL)
		return -ENOMEM;
	pthread_rwlock_init(&i->lock, NULL);
	RB_INIT(&i->numbers);
	RB_INIT(&i->index);
	o->inodes = i;
	if (!o->writable)
		return 0;
	fd = at_open((struct at){o->indexfd, "."}, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	r = at_list(fd, load_indexed, o);
	close(fd);
	return r;
}

void inodes_destroy(struct ovl *o)
{
	struct number *n, *nn;
	struct indexed *x, *xx;

	if (o->inodes == NULL)
		return;
	RB_FOREACH_SAFE(n, numbers, &o->inodes->numbers, nn) {
		RB_REMOVE(numbers, &o->inodes->numbers, n);
		free(n);
	}
	RB_FOREACH_SAFE(x, index, &o->inodes->index, xx) {
		RB_REMOVE(index, &o->inodes->index, x);
		free(x);
	}
	pthread_rwlock_destroy(&o->inodes->lock);
	free(o->inodes);
	o->inodes = NULL;
}
