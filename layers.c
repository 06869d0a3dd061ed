/* SPDX-License-Identifier: ISC */
/*
 * The stack of layers. A directory is found by finding its parent and looking
 * one name up in each of the parent's parts, so every component is checked for
 * whiteouts, opaque marks, redirects and links on its way, in every layer, and
 * no path is ever handed to the kernel whole. The cache of directories makes
 * this cheap; what it may hold is bounded by the descriptors of its parts.
 */
#include "layers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xxhash.h>

#include "filter.h"
#include "inodes.h"
#include "whiteout.h"

enum { BUCKETS = 4096, MAX_FDS = 8192 };

TAILQ_HEAD(dirs, dir);

struct cache {
	pthread_mutex_t lock; /* all of this and the cache's fields of struct dir */
	struct dirs lru;      /* last used first */
	LIST_HEAD(, dir) bucket[BUCKETS];
	unsigned nfds;
	unsigned max_fds;
	unsigned long generation; /* of drops: what was loaded before one is not kept */
};

static int get_dir(const struct ovl *o, unsigned top, const char *path, size_t len,
		   struct dir **dp);

bool layers_reserved(const char *name)
{
	return strncmp(name, WHITEOUT_PREFIX, sizeof(WHITEOUT_PREFIX) - 1) == 0;
}

/* One component below a directory, that leads nowhere else; redirects are not trusted. */
static bool single_name(const char *name)
{
	return name[0] != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       strchr(name, '/') == NULL;
}

bool layers_hidden(const struct ovl *o, const struct stat *st)
{
	if (o->private_dev != 0 && st->st_ino == o->private_ino && st->st_dev == o->private_dev)
		return true;
	if (!o->writable)
		return false;
	return (st->st_ino == o->layer[0].ino && st->st_dev == o->layer[0].dev) ||
	       (st->st_ino == o->work_st.st_ino && st->st_dev == o->work_st.st_dev);
}

static bool is_upper(const struct ovl *o, unsigned layer)
{
	return o->writable && layer == 0;
}

bool layers_unwanted(const struct ovl *o, const struct dir *d, unsigned layer, const char *name,
		     mode_t mode)
{
	struct stat st = {.st_mode = mode};
	char path[PATH_MAX + NAME_MAX + 2];

	snprintf(path, sizeof(path), "%s/%s", is_upper(o, layer) ? d->path : d->lower_path, name);
	return filter_leaves_out(o->hide, path, &st, false);
}

/* A lower does not change, so its file system need not ask anybody. */
static int stat_flags(const struct ovl *o, unsigned layer)
{
	return is_upper(o, layer) || o->timeout == 0 ? 0 : AT_STATX_DONT_SYNC;
}

/* The cache. */

int layers_init(struct ovl *o)
{
	struct cache *c = calloc(1, sizeof(*c));
	struct rlimit rl;

	if (c == NULL)
		return -ENOMEM;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	if (getrlimit(RLIMIT_NOFILE, &rl) == -1 || rl.rlim_cur / 2 > MAX_FDS)
		c->max_fds = MAX_FDS;
	else
		c->max_fds = (unsigned)rl.rlim_cur / 2;
	pthread_mutex_init(&c->lock, NULL);
	TAILQ_INIT(&c->lru);
	o->cache = c;
	return 0;
}

static void dir_free(struct dir *d)
{
	for (unsigned i = 0; i < d->nparts; i++) {
		free(d->part[i].names);
		close(d->part[i].fd);
	}
	free(d->path);
	free(d->lower_path);
	free(d);
}

/* With the lock held. Returns d when nobody uses it any more, to be freed. */
static struct dir *unlink_dir(struct cache *c, struct dir *d)
{
	TAILQ_REMOVE(&c->lru, d, lru);
	LIST_REMOVE(d, chain);
	c->nfds -= d->nparts;
	d->cached = false;
	return --d->refs == 0 ? d : NULL;
}

void layers_destroy(struct ovl *o)
{
	struct cache *c = o->cache;
	struct dir *d;

	if (c == NULL)
		return;
	while ((d = TAILQ_FIRST(&c->lru)) != NULL)
		if (unlink_dir(c, d) != NULL)
			dir_free(d);
	pthread_mutex_destroy(&c->lock);
	free(c);
	o->cache = NULL;
}

struct dir *dir_ref(const struct ovl *o, struct dir *d)
{
	pthread_mutex_lock(&o->cache->lock);
	d->refs++;
	pthread_mutex_unlock(&o->cache->lock);
	return d;
}

void dir_put(const struct ovl *o, struct dir *d)
{
	bool last;

	if (d == NULL)
		return;
	pthread_mutex_lock(&o->cache->lock);
	last = --d->refs == 0;
	pthread_mutex_unlock(&o->cache->lock);
	if (last)
		dir_free(d);
}

static uint64_t path_hash(unsigned top, const char *path, size_t len)
{
	return XXH3_64bits_withSeed(path, len, top);
}

static bool expired(const struct ovl *o, const struct dir *d)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (double)(now.tv_sec - d->loaded.tv_sec) +
		       (double)(now.tv_nsec - d->loaded.tv_nsec) / 1e9 >=
	       o->timeout;
}

static bool same_dir(const struct dir *d, unsigned top, const char *path, size_t len)
{
	return d->top == top && strncmp(d->path, path, len) == 0 && d->path[len] == '\0';
}

/* Find a cached directory, with a reference; *generation is for cache_add. */
static struct dir *cache_find(const struct ovl *o, unsigned top, const char *path, size_t len,
			      unsigned long *generation)
{
	struct cache *c = o->cache;
	uint64_t hash = path_hash(top, path, len);
	struct dir *d, *dead = NULL;

	pthread_mutex_lock(&c->lock);
	*generation = c->generation;
	LIST_FOREACH(d, &c->bucket[hash % BUCKETS], chain)
		if (d->hash == hash && same_dir(d, top, path, len))
			break;
	if (d != NULL && expired(o, d)) {
		dead = unlink_dir(c, d);
		d = NULL;
	}
	if (d != NULL) {
		d->refs++;
		TAILQ_REMOVE(&c->lru, d, lru);
		TAILQ_INSERT_HEAD(&c->lru, d, lru);
	}
	pthread_mutex_unlock(&c->lock);
	if (dead != NULL)
		dir_free(dead);
	return d;
}

/*
 * A descriptor keeps a file system from being unmounted: of those that are
 * mounted in a lower, which are not ours to hold, none is kept.
 */
static bool may_keep_part(const struct ovl *o, unsigned layer, dev_t dev)
{
	return dev == o->layer[layer].dev;
}

static bool may_keep(const struct ovl *o, const struct dir *d)
{
	for (unsigned i = 0; i < d->nparts; i++)
		if (!may_keep_part(o, d->part[i].layer, d->part[i].dev))
			return false;
	return o->timeout > 0 && d->nparts <= o->cache->max_fds;
}

/* Keep d, unless a change may have overtaken its loading or it is there already. */
static void cache_add(const struct ovl *o, struct dir *d, unsigned long generation)
{
	struct cache *c = o->cache;
	struct dirs dead = TAILQ_HEAD_INITIALIZER(dead);
	struct dir *other, *prev;

	if (!may_keep(o, d))
		return;
	d->hash = path_hash(d->top, d->path, strlen(d->path));
	clock_gettime(CLOCK_MONOTONIC_COARSE, &d->loaded);
	pthread_mutex_lock(&c->lock);
	LIST_FOREACH(other, &c->bucket[d->hash % BUCKETS], chain)
		if (other->hash == d->hash && same_dir(other, d->top, d->path, strlen(d->path)))
			break;
	if (c->generation == generation && other == NULL) {
		d->refs++;
		d->cached = true;
		c->nfds += d->nparts;
		TAILQ_INSERT_HEAD(&c->lru, d, lru);
		LIST_INSERT_HEAD(&c->bucket[d->hash % BUCKETS], d, chain);
	}
	for (other = TAILQ_LAST(&c->lru, dirs); c->nfds > c->max_fds && other != NULL;
	     other = prev) {
		prev = TAILQ_PREV(other, dirs, lru);
		if (other->refs == 1 && unlink_dir(c, other) != NULL)
			TAILQ_INSERT_TAIL(&dead, other, lru);
	}
	pthread_mutex_unlock(&c->lock);
	while ((other = TAILQ_FIRST(&dead)) != NULL) {
		TAILQ_REMOVE(&dead, other, lru);
		dir_free(other);
	}
}

static void drop(const struct ovl *o, const char *path, bool tree)
{
	struct cache *c = o->cache;
	size_t len = strlen(path);
	struct dir *d, *next;

	pthread_mutex_lock(&c->lock);
	c->generation++;
	for (d = TAILQ_FIRST(&c->lru); d != NULL; d = next) {
		next = TAILQ_NEXT(d, lru);
		if (d->top == 0 && strncmp(d->path, path, len) == 0 &&
		    (d->path[len] == '\0' || (tree && d->path[len] == '/')) &&
		    unlink_dir(c, d) != NULL)
			dir_free(d);
	}
	pthread_mutex_unlock(&c->lock);
}

void layers_drop_tree(const struct ovl *o, const char *path)
{
	drop(o, path, true);
}

void layers_drop(const struct ovl *o, const char *path)
{
	drop(o, path, false);
}

void layers_settle(const struct ovl *o, const struct dir *d)
{
	bool cached;

	pthread_mutex_lock(&o->cache->lock);
	cached = d->cached;
	pthread_mutex_unlock(&o->cache->lock);
	if (!cached)
		layers_drop(o, d->path);
}

/* Loading a directory. */

struct loading {
	struct dir *d;
	size_t room;
};

static int add_part(struct loading *l, int fd, unsigned layer, dev_t dev, unsigned flags,
		    struct name_set *names)
{
	if (l->d->nparts == l->room) {
		size_t room = l->room == 0 ? 2 : l->room * 2;
		struct dir *d = realloc(l->d, sizeof(*d) + room * sizeof(d->part[0]));

		if (d == NULL) {
			close(fd);
			free(names);
			return -ENOMEM;
		}
		l->d = d;
		l->room = room;
	}
	l->d->part[l->d->nparts].fd = fd;
	l->d->part[l->d->nparts].layer = layer;
	l->d->part[l->d->nparts].dev = dev;
	l->d->part[l->d->nparts].flags = flags;
	l->d->part[l->d->nparts].names = names;
	l->d->nparts++;
	return 0;
}

/*
 * Readable where its names are to be read for marks (see whiteout_read_marks), which
 * is worth it for a directory that is kept.
 */
static int open_part(const struct ovl *o, struct at a, unsigned layer, dev_t dev)
{
	int fd = -EACCES;

	if (layer + 1 < o->nlayers && o->timeout > 0 && may_keep_part(o, layer, dev))
		fd = at_open_quiet(a, O_RDONLY | O_DIRECTORY);
	return fd == -EACCES ? at_open(a, O_PATH | O_DIRECTORY, 0) : fd;
}

/*
 * Whether an open directory can be read, and knows each name in one form only: in
 * those of a few file systems upper and lower case can be the same.
 */
static bool tells_names_apart(int fd)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == -1)
		return errno == ENOTTY;
	return !(flags & FS_CASEFOLD_FL);
}

/* Open a directory of a layer, read its marks and add it. */
static int add_dir(const struct ovl *o, struct loading *l, struct at a, unsigned layer,
		   const struct stat *st, struct marks *m)
{
	int r, fd = open_part(o, a, layer, st->st_dev);
	struct name_set *names = NULL;

	*m = (struct marks){0};
	if (fd < 0)
		return fd;
	if (o->layer[layer].lists && layer + 1 < o->nlayers && tells_names_apart(fd))
		names = name_set_new(st->st_size);
	r = whiteout_read_marks(fd, layer + 1 < o->nlayers, names, m);
	if (r != 0) {
		free(names);
		close(fd);
		return r;
	}
	if (is_upper(o, layer) && (st->st_mode & S_ISGID))
		m->flags |= PART_SETGID;
	r = add_part(l, fd, layer, st->st_dev, m->flags, names);
	if (r != 0)
		free(m->redirect);
	return r;
}

/* Take over the parts of the directory that an absolute redirect names. */
static int add_redirected(const struct ovl *o, struct loading *l, unsigned top, const char *path)
{
	struct dir *d;
	size_t len = strlen(path);
	int r;

	while (len > 0 && path[len - 1] == '/')
		len--;
	if (top >= o->nlayers)
		return 0;
	r = get_dir(o, top, path, len, &d);
	if (r != 0)
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	for (unsigned i = 0; r == 0 && i < d->nparts; i++) {
		struct part *p = &d->part[i];
		int fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);

		r = fd == -1 ? -errno : add_part(l, fd, p->layer, p->dev, p->flags, NULL);
	}
	dir_put(o, d);
	return r;
}

static int set_string(char **where, char *value)
{
	if (value == NULL)
		return -ENOMEM;
	free(*where);
	*where = value;
	return 0;
}

static char *join(const char *path, const char *name)
{
	size_t a = strlen(path), b = strlen(name) + 1;
	char *s = malloc(a + 1 + b);

	if (s != NULL) {
		memcpy(s, path, a);
		s[a] = '/';
		memcpy(s + a + 1, name, b);
	}
	return s;
}

/* What one part of the parent says of name. */
enum found { FOUND_NOTHING, FOUND_STOP, FOUND_OTHER, FOUND_DIR, FOUND_SELF };

static int look(const struct ovl *o, const struct dir *d, struct part *p, const char *name,
		struct stat *st, enum found *what)
{
	int r;

	*what = FOUND_NOTHING;
	if (p->names != NULL && !name_set_may_have(p->names, name))
		return 0;
	r = at_stat((struct at){p->fd, name}, st, stat_flags(o, p->layer));
	if (r == -ENOENT) {
		r = whiteout_beside(p, name);
		if (r == 1)
			*what = FOUND_STOP;
		return r < 0 ? r : 0;
	}
	if (r != 0)
		return r;
	if (o->hide != NULL && layers_unwanted(o, d, p->layer, name, st->st_mode))
		return 0;
	if (whiteout_is(p, name, st))
		*what = FOUND_STOP;
	else if (!S_ISDIR(st->st_mode))
		*what = FOUND_OTHER;
	else if (o->self_dev != 0 && st->st_dev == o->self_dev)
		*what = FOUND_SELF;
	else if (is_upper(o, p->layer) || !layers_hidden(o, st))
		*what = FOUND_DIR;
	return 0;
}

/*
 * One part of the parent: add what it contributes to name. Sets *stop when
 * nothing below counts. *name changes when a redirect gives another one.
 */
static int load_part(const struct ovl *o, struct loading *l, struct dir *parent, struct part *p,
		     char **name, bool *stop)
{
	struct marks m;
	struct stat st;
	enum found what;
	int r = look(o, parent, p, *name, &st, &what);

	if (r != 0 || what == FOUND_NOTHING)
		return r;
	*stop = true;
	if (what == FOUND_OTHER)
		return l->d->nparts == 0 ? -ENOTDIR : 0;
	if (what == FOUND_SELF && l->d->nparts == 0)
		l->d->pure = true;
	if (what != FOUND_DIR)
		return 0;
	r = add_dir(o, l, (struct at){p->fd, *name}, p->layer, &st, &m);
	if (r == -ENOENT || r == -ENOTDIR) { /* somebody was faster: removed, replaced */
		*stop = r == -ENOTDIR;
		return *stop && l->d->nparts == 0 ? r : 0;
	}
	if (r != 0)
		return r;
	if (m.opaque) {
		free(m.redirect);
		return 0;
	}
	if (m.redirect == NULL) { /* else a whiteout of this name hides something else */
		r = whiteout_beside(p, *name);
		*stop = r != 0;
		return r < 0 ? r : 0;
	}
	*stop = false;
	if (m.redirect[0] == '/') {
		*stop = true;
		r = add_redirected(o, l, p->layer + 1, m.redirect);
		if (is_upper(o, p->layer))
			return set_string(&l->d->lower_path, m.redirect) != 0 ? -ENOMEM : r;
		free(m.redirect);
		return r;
	}
	free(*name);
	*name = m.redirect;
	*stop = !single_name(*name);
	if (!*stop && is_upper(o, p->layer))
		r = set_string(&l->d->lower_path, join(parent->lower_path, *name));
	return r;
}

static int load_child(const struct ovl *o, struct loading *l, struct dir *parent, const char *name)
{
	char *real = strdup(name);
	bool stop = false, self;
	int r;

	r = real == NULL ? -ENOMEM : set_string(&l->d->lower_path, join(parent->lower_path, name));
	for (unsigned i = 0; r == 0 && !stop && i < parent->nparts; i++)
		r = load_part(o, l, parent, &parent->part[i], &real, &stop);
	free(real);
	self = l->d->pure;
	if (r == 0 && l->d->nparts == 0 && !self)
		return -ENOENT;
	if (r == 0)
		r = inodes_dir_number(o, parent, name, l->d);
	return r;
}

static int load_root(const struct ovl *o, struct loading *l, unsigned top)
{
	struct marks m;
	struct stat st;
	int r = set_string(&l->d->lower_path, strdup(""));

	for (unsigned i = top; r == 0 && i < o->nlayers; i++) {
		struct at a = {o->layer[i].fd, "."};

		r = at_stat(a, &st, stat_flags(o, i));
		if (r == 0)
			r = add_dir(o, l, a, i, &st, &m);
		if (r != 0)
			break;
		free(m.redirect);
		if (m.opaque)
			break;
	}
	l->d->ino = inodes_root_number();
	return r;
}

static int load(const struct ovl *o, unsigned top, const char *path, size_t len, struct dir **dp)
{
	struct loading l = {calloc(1, sizeof(struct dir)), 0};
	struct dir *parent = NULL;
	const char *slash = memrchr(path, '/', len);
	int r = 0;

	if (l.d == NULL || (l.d->path = strndup(path, len)) == NULL) {
		free(l.d);
		return -ENOMEM;
	}
	l.d->refs = 1;
	l.d->top = top;
	if (slash == NULL) {
		r = load_root(o, &l, top);
	} else {
		const char *name = l.d->path + (slash - path) + 1;

		r = strlen(name) > NAME_MAX ? -ENAMETOOLONG : 0;
		if (r == 0 && (layers_reserved(name) || !single_name(name)))
			r = -ENOENT;
		if (r == 0)
			r = get_dir(o, top, path, (size_t)(slash - path), &parent);
		if (r == 0)
			r = load_child(o, &l, parent, name);
		dir_put(o, parent);
	}
	if (r == 0)
		*dp = l.d;
	else
		dir_free(l.d);
	return r;
}

static int get_dir(const struct ovl *o, unsigned top, const char *path, size_t len, struct dir **dp)
{
	unsigned long generation;
	int r;

	*dp = cache_find(o, top, path, len, &generation);
	if (*dp != NULL)
		return 0;
	r = load(o, top, path, len, dp);
	if (r == 0)
		cache_add(o, *dp, generation);
	return r;
}

int layers_dir(const struct ovl *o, const char *path, struct dir **dp)
{
	size_t len = strlen(path);

	return get_dir(o, 0, path, len == 1 ? 0 : len, dp);
}

struct part *dir_upper(const struct ovl *o, struct dir *d)
{
	return d->nparts > 0 && is_upper(o, d->part[0].layer) ? &d->part[0] : NULL;
}

int dir_stat(const struct ovl *o, struct dir *d, struct stat *st)
{
	if (d->nparts == 0) { /* our own mount, seen in a lower */
		*st = (struct stat){.st_mode = S_IFDIR | 0755, .st_nlink = 2};
		return 0;
	}
	return at_stat((struct at){d->part[0].fd, ""}, st, stat_flags(o, d->part[0].layer));
}

/* Looking a name up. */

static void found_in(const struct ovl *o, struct entry *e, unsigned part, const char *name)
{
	e->part = (int)part;
	e->upper = is_upper(o, e->dir->part[part].layer);
	e->at = (struct at){e->dir->part[part].fd, name};
}

int layers_find_in(const struct ovl *o, struct dir *d, const char *name, struct entry *e)
{
	int r = 0;

	*e = (struct entry){.dir = dir_ref(o, d), .name = name, .part = -1};
	if (strlen(name) > NAME_MAX)
		r = -ENAMETOOLONG;
	if (r != 0 || layers_reserved(name))
		goto out;
	for (unsigned i = 0; i < d->nparts; i++) {
		enum found what;

		r = look(o, d, &d->part[i], name, &e->st, &what);
		if (r != 0)
			break;
		if (what == FOUND_NOTHING)
			continue;
		if (what == FOUND_STOP) {
			e->whiteout = is_upper(o, d->part[i].layer);
			break;
		}
		found_in(o, e, i, name);
		r = inodes_entry_number(o, e);
		break;
	}
out:
	if (r != 0)
		entry_done(o, e);
	return r;
}

int layers_entry(const struct ovl *o, struct dir *d, unsigned part, const char *name,
		 struct entry *e)
{
	struct part *p = &d->part[part];
	int r;

	*e = (struct entry){.dir = dir_ref(o, d), .name = name, .part = -1};
	found_in(o, e, part, name);
	r = at_stat(e->at, &e->st, stat_flags(o, p->layer));
	if (r == 0)
		r = inodes_entry_number(o, e);
	if (r != 0)
		entry_done(o, e);
	return r;
}

static int find_root(const struct ovl *o, struct entry *e)
{
	struct dir *root;
	int r = layers_dir(o, "", &root);

	if (r != 0)
		return r;
	*e = (struct entry){.dir = NULL, .name = "", .ino = root->ino};
	e->upper = dir_upper(o, root) != NULL;
	e->at = (struct at){o->layer[0].fd, "."};
	r = at_stat(e->at, &e->st, 0);
	e->st.st_nlink = 1; /* merged, or with the work directory in it */
	dir_put(o, root);
	return r;
}

int layers_find(const struct ovl *o, const char *path, struct entry *e)
{
	const char *slash = strrchr(path, '/');
	struct dir *d;
	int r;

	*e = (struct entry){.part = -1};
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (slash == NULL || slash[1] == '\0')
		return find_root(o, e);
	r = get_dir(o, 0, path, (size_t)(slash - path), &d);
	if (r != 0)
		return r;
	r = layers_find_in(o, d, slash + 1, e);
	dir_put(o, d);
	return r;
}

int layers_lookup(const struct ovl *o, const char *path, struct entry *e)
{
	int r = layers_find(o, path, e);

	if (r == 0 && e->part < 0) {
		entry_done(o, e);
		r = -ENOENT;
	}
	return r;
}

void entry_done(const struct ovl *o, struct entry *e)
{
	dir_put(o, e->dir);
	e->dir = NULL;
}

int layers_below_layer(const struct ovl *o, struct dir *d, unsigned layer, const char *name,
		       bool *exists)
{
	struct stat st;
	enum found what;

	*exists = false;
	for (unsigned i = 0; i < d->nparts; i++) {
		int r;

		if (d->part[i].layer <= layer)
			continue;
		r = look(o, d, &d->part[i], name, &st, &what);
		if (r != 0)
			return r;
		if (what == FOUND_NOTHING)
			continue;
		*exists = what != FOUND_STOP;
		return 0;
	}
	return 0;
}

int layers_below(const struct ovl *o, struct dir *d, const char *name, bool *exists)
{
	return layers_below_layer(o, d, 0, name, exists);
}
