/* SPDX-License-Identifier: ISC */
/*
 * Inode numbers and the index of copied-up files with several names; inodes.h
 * says what they are. Two trees in memory hold the exceptions: numbers that a
 * file could not carry, by the upper's inode, and the index, by number.
 */
#include "inodes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
	char *noted; /* what a daemon that was killed was about to take */
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

uint64_t inodes_fsid(int fd)
{
	struct statfs fs;
	uint64_t id = 0;

	if (fstatfs(fd, &fs) == 0)
		memcpy(&id, &fs.f_fsid, sizeof(fs.f_fsid) < 8 ? sizeof(fs.f_fsid) : 8);
	return id;
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

static bool read_time(char **p, struct timespec *ts)
{
	char *end;

	ts->tv_sec = strtoll(*p, &end, 10);
	if (end == *p || *end != '.')
		return false;
	*p = end + 1;
	ts->tv_nsec = strtol(*p, &end, 10);
	if (end != *p + 9)
		return false;
	*p = end;
	return true;
}

int inodes_origin(struct at a, mode_t mode, struct origin *origin)
{
	char value[128], *p, *end;
	ssize_t n = at_getxattr(a, origin_attr(mode), value, sizeof(value) - 1);

	if (n < 0)
		return n == -EPERM || n == -EACCES || n == -EOPNOTSUPP ? -ENODATA : (int)n;
	value[n] = '\0';
	if (strncmp(value, "1 ", 2) != 0)
		return -ENODATA;
	origin->ino = strtoull(value + 2, &end, 16);
	p = end;
	origin->size = strtoll(p, &end, 10);
	if (end == p)
		return -ENODATA;
	p = end;
	if (!read_time(&p, &origin->mtime) || !read_time(&p, &origin->ctime) ||
	    origin->ctime.tv_sec == 0)
		return -ENODATA;
	return 0;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool inodes_is_origin(const struct origin *origin, const struct stat *st)
{
	return origin->size == st->st_size && same_time(origin->mtime, st->st_mtim) &&
	       same_time(origin->ctime, st->st_ctim);
}

static int write_origin(struct at a, mode_t mode, uint64_t ino, const struct stat *st)
{
	char value[128];

	snprintf(value, sizeof(value), "1 %llx %lld %lld.%09ld %lld.%09ld", (unsigned long long)ino,
		 (long long)st->st_size, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
		 (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
	return at_setxattr_force(a, origin_attr(mode), value, strlen(value));
}

int inodes_store(const struct ovl *o, struct at a, uint64_t ino, const struct stat *st)
{
	static const struct stat none;
	struct stat own;
	int r = at_stat(a, &own, 0);

	if (r != 0)
		return r;
	if (st == NULL)
		st = &none;
	if (write_origin(a, own.st_mode, ino, st) == 0)
		return 0;
	return remember(o, own.st_ino, ino);
}

int inodes_keep(const struct ovl *o, const struct stat *st, uint64_t ino)
{
	return remember(o, st->st_ino, ino);
}

int inodes_refresh_origin(struct at a, mode_t mode, const struct stat *st)
{
	struct origin origin;
	int r = inodes_origin(a, mode, &origin);

	if (r != 0 || origin.size != st->st_size || !same_time(origin.mtime, st->st_mtim))
		return r;
	return write_origin(a, mode, origin.ino, st);
}

int inodes_mark(const struct ovl *o, struct dir *d)
{
	struct part *upper = dir_upper(o, d);

	if (!(upper->flags & PART_NUMBERED)) {
		at_setxattr_force((struct at){upper->fd, ""}, XATTR_NUMBERED, "y", 1);
		upper->flags |= PART_NUMBERED;
		layers_settle(o, d);
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
	if ((!S_ISDIR(st->st_mode) && st->st_nlink > 1) || o->inodes->nnumbers == 0)
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

static int index_write(const struct ovl *o, const struct indexed *x, const struct entry *noted)
{
	char name[32], temp[32], value[PATH_MAX];
	int n;

	snprintf(name, sizeof(name), "%016llx.links", (unsigned long long)x->ino);
	snprintf(temp, sizeof(temp), "%016llx.new", (unsigned long long)x->ino);
	n = snprintf(value, sizeof(value), "%llu", (unsigned long long)x->rest);
	if (noted != NULL)
		snprintf(value + n, sizeof(value) - (size_t)n, " %s/%s", noted->dir->path,
			 noted->name);
	if (unlinkat(o->indexfd, temp, 0) == -1 && errno != ENOENT)
		return -errno;
	if (symlinkat(value, o->indexfd, temp) == -1) {
		if (errno == ENAMETOOLONG && noted != NULL) /* then without */
			return index_write(o, x, NULL);
		return -errno;
	}
	return renameat(o->indexfd, temp, o->indexfd, name) == -1 ? -errno : 0;
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
	free(x->noted);
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
		r = index_write(o, x, NULL);
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

/* Whether e is one of several names in a lower. */
static bool is_lower_link(const struct entry *e)
{
	return !S_ISDIR(e->st.st_mode) && (e->indexed || (!e->upper && e->st.st_nlink > 1));
}

int inodes_index_note(const struct ovl *o, const struct entry *e)
{
	struct indexed *x;
	int r = -ENOMEM;

	if (!is_lower_link(e))
		return 0;
	pthread_rwlock_wrlock(&o->inodes->lock);
	x = index_get(o, e->ino, e->st.st_nlink);
	if (x != NULL)
		r = index_write(o, x, e);
	pthread_rwlock_unlock(&o->inodes->lock);
	return r;
}

void inodes_index_keep(const struct ovl *o, const struct entry *e)
{
	struct indexed *x;

	if (!is_lower_link(e))
		return;
	pthread_rwlock_wrlock(&o->inodes->lock);
	x = index_find(o, e->ino);
	if (x != NULL && !x->copied && x->rest == e->st.st_nlink)
		index_remove(o, x);
	else if (x != NULL)
		index_write(o, x, NULL);
	pthread_rwlock_unlock(&o->inodes->lock);
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
		r = index_write(o, x, NULL);
		index_tidy(o, x);
	}
	pthread_rwlock_unlock(&o->inodes->lock);
	return r;
}

bool inodes_indexed(const struct ovl *o, uint64_t ino)
{
	bool found;

	if (o->inodes->nindexed == 0)
		return false;
	pthread_rwlock_rdlock(&o->inodes->lock);
	found = index_find(o, ino) != NULL;
	pthread_rwlock_unlock(&o->inodes->lock);
	return found;
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

int inodes_index_each(const struct ovl *o,
		      int (*each)(void *arg, uint64_t ino, const struct stat *st), void *arg)
{
	struct indexed *x, *next;
	struct stat st;
	char name[17];
	int r = 0;

	/* The caller is alone, and may drop the one that it is called for. */
	RB_FOREACH_SAFE(x, index, &o->inodes->index, next) {
		bool copied = x->copied;

		index_name(x->ino, name);
		if (copied)
			r = at_stat((struct at){o->indexfd, name}, &st, 0);
		if (r == 0)
			r = each(arg, x->ino, copied ? &st : NULL);
		if (r != 0)
			break;
	}
	return r;
}

int inodes_index_drop(const struct ovl *o, uint64_t ino)
{
	struct indexed *x;

	pthread_rwlock_wrlock(&o->inodes->lock);
	x = index_find(o, ino);
	if (x != NULL)
		index_remove(o, x);
	pthread_rwlock_unlock(&o->inodes->lock);
	return 0;
}

bool inodes_have_followers(const struct ovl *o)
{
	struct indexed *x;
	bool found = false;

	pthread_rwlock_rdlock(&o->inodes->lock);
	RB_FOREACH(x, index, &o->inodes->index)
		found = found || (x->copied && x->rest > 0);
	pthread_rwlock_unlock(&o->inodes->lock);
	return found;
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
	if (d->pure || parent->pure || (upper->flags & PART_NUMBERED) || o->inodes->nnumbers > 0 ||
	    (dir_upper(o, parent) != NULL && (dir_upper(o, parent)->flags & PART_NUMBERED))) {
		r = at_stat((struct at){upper->fd, ""}, &st, 0);
		if (r != 0)
			return r;
		if (remembered(o, st.st_ino, &ino) ||
		    carried((struct at){upper->fd, ""}, S_IFDIR, &ino))
			d->ino = ino;
		else if (d->pure || parent->pure) /* as inodes_entry_number does */
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
	bool ask = e->dir->part[e->part].flags & PART_NUMBERED;

	/* Where no lower contributes to the parent, it has been moved there, if at all. */
	if (isdir && e->upper && (!e->dir->pure || ask))
		return merged_dir_number(o, e);
	if (e->upper) {
		e->ino = upper_number(o, e->at, &e->st, ask);
		return 0;
	}
	if (isdir || e->st.st_nlink == 1) {
		e->ino = inodes_path_number(e->dir->ino, e->name);
		if (isdir && (ask || (unsigned)e->part + 1 < e->dir->nparts))
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
	char value[PATH_MAX], *end;
	uint64_t number = strtoull(name, &end, 16);
	bool links = strcmp(end, ".links") == 0;
	struct indexed *x;
	struct stat st;
	int r = 0;

	(void)type;
	(void)ino;
	if (strcmp(end, ".new") == 0 && o->locked)
		unlinkat(o->indexfd, name, 0);
	if (end != name + 16 || (*end != '\0' && !links))
		return 0;
	x = index_get(o, number, 0);
	if (x == NULL)
		return -ENOMEM;
	if (!links) {
		/* a link or device cannot carry its number: here it is */
		x->copied = true;
		// NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the tree keeps x
		if (at_stat((struct at){o->indexfd, name}, &st, 0) == 0)
			r = remember(o, st.st_ino, number);
	} else if (at_readlink((struct at){o->indexfd, name}, value, sizeof(value)) == 0) {
		x->rest = (nlink_t)strtoull(value, &end, 10);
		if (*end == ' ' && (x->noted = strdup(end + 1)) == NULL)
			r = -ENOMEM;
	}
	return r; // NOLINT(clang-analyzer-unix.Malloc): the tree keeps x
}

/* Whether what a killed daemon was about to take is still a lower name of the file. */
static bool still_there(const struct ovl *o, const struct indexed *x)
{
	struct entry e;
	bool there = true;

	if (layers_find(o, x->noted, &e) == 0) {
		there = e.part >= 0 && (!e.upper || e.indexed) && e.ino == x->ino;
		entry_done(o, &e);
	}
	return there;
}

static int recover(struct ovl *o)
{
	struct indexed *x, *next;
	int r = 0;

	for (x = RB_MIN(index, &o->inodes->index); x != NULL; x = next) {
		next = RB_NEXT(index, &o->inodes->index, x); /* x may go */
		if (r == 0 && x->noted != NULL) {
			x->rest -= x->rest > 0 && !still_there(o, x);
			r = o->locked ? index_write(o, x, NULL) : 0;
		}
		if (o->locked) /* else it is looked at only, and may be in use */
			index_tidy(o, x);
	}
	layers_drop_tree(o, ""); /* our own mount is not in what was loaded */
	return r;
}

/* Whatever uses the index has left a name or a whiteout in the upper. */
static int is_entry(void *arg, const char *name, unsigned char type, ino_t ino)
{
	(void)arg;
	(void)type;
	(void)ino;
	return strcmp(name, WHITEOUT_WORK) != 0;
}

static int remove_name(void *arg, const char *name, unsigned char type, ino_t ino)
{
	(void)type;
	(void)ino;
	return unlinkat(*(int *)arg, name, 0) == -1 ? -errno : 0;
}

/* Without entries the upper was emptied by hand: what the index knows is no more. */
static int load_index(struct ovl *o)
{
	int r, upper = at_open((struct at){o->layer[0].fd, "."}, O_RDONLY | O_DIRECTORY, 0);
	int fd = at_open((struct at){o->indexfd, "."}, O_RDONLY | O_DIRECTORY, 0);

	if (upper < 0 || fd < 0)
		r = upper < 0 ? upper : fd;
	else if ((r = at_list(upper, is_entry, NULL)) > 0)
		r = at_list(fd, load_indexed, o);
	else if (r == 0 && o->locked)
		r = at_list(fd, remove_name, &fd);
	if (fd >= 0)
		close(fd);
	if (upper >= 0)
		close(upper);
	return r;
}

int inodes_init(struct ovl *o)
{
	struct inodes *i = calloc(1, sizeof(*i));
	int r;

	if (i == NULL)
		return -ENOMEM;
	pthread_rwlock_init(&i->lock, NULL);
	RB_INIT(&i->numbers);
	RB_INIT(&i->index);
	o->inodes = i;
	if (!o->writable || o->indexfd == -1) /* looked at only, and never mounted */
		return 0;
	r = load_index(o);
	return r == 0 ? recover(o) : r;
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
		free(x->noted);
		free(x);
	}
	pthread_rwlock_destroy(&o->inodes->lock);
	free(o->inodes);
	o->inodes = NULL;
}
