/* SPDX-License-Identifier: ISC */
/*
 * Merged listings: the parts are read top first, and a name counts the first
 * time it is seen. A whiteout takes the name for the parts below its own.
 */
#include "readdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "inodes.h"
#include "whiteout.h"

struct reading {
	const struct ovl *o;
	struct dir *d;
	unsigned part;
	struct listing *l;
};

/* 0 to 2 stand for the beginning, "." and "..". */
static uint64_t position_of(const char *name)
{
	return (XXH3_64bits(name, strlen(name)) >> 2) + 3;
}

static size_t *find_slot(struct listing *l, const char *name)
{
	size_t i = position_of(name) & (l->nslots - 1);

	while (l->slot[i] != 0 && strcmp(l->names + l->entry[l->slot[i] - 1].name, name) != 0)
		i = (i + 1) & (l->nslots - 1);
	return &l->slot[i];
}

static int grow_slots(struct listing *l)
{
	size_t n = l->nslots == 0 ? 64 : l->nslots * 2;
	size_t *slot = calloc(n, sizeof(*slot));

	if (slot == NULL)
		return -ENOMEM;
	free(l->slot);
	l->slot = slot;
	l->nslots = n;
	for (size_t i = 0; i < l->n; i++)
		*find_slot(l, l->names + l->entry[i].name) = i + 1;
	return 0;
}

static int grow(void **array, size_t *room, size_t need, size_t size)
{
	size_t n = *room == 0 ? 64 : *room;
	void *p;

	while (n < need)
		n *= 2;
	if (n == *room)
		return 0;
	p = reallocarray(*array, n, size);
	if (p == NULL)
		return -ENOMEM;
	*array = p;
	*room = n;
	return 0;
}

static int append(struct listing *l, const char *name, struct listed entry)
{
	size_t len = strlen(name) + 1;
	void *names = l->names, *entries = l->entry;
	int r = grow(&names, &l->names_room, l->names_len + len, 1);

	l->names = names;
	if (r == 0)
		r = grow(&entries, &l->room, l->n + 1, sizeof(*l->entry));
	l->entry = entries;
	if (r != 0)
		return r;
	entry.name = l->names_len;
	entry.position = position_of(name);
	memcpy(l->names + l->names_len, name, len);
	l->names_len += len;
	l->entry[l->n++] = entry;
	return 0;
}

static int add(struct reading *rd, const char *name, unsigned char type, bool whiteout)
{
	struct listing *l = rd->l;
	struct listed new = {.part = (uint16_t)rd->part, .type = type, .whiteout = whiteout};
	struct name_set *names = rd->d->part[rd->part].names;
	size_t *slot;
	int r;

	if (names != NULL) /* also one that came behind the mount's back: what is listed is found */
		name_set_add(names, name);
	if (rd->d->nparts == 1)
		return whiteout ? 0 : append(l, name, new);
	if (l->n * 2 >= l->nslots && (r = grow_slots(l)) != 0)
		return r;
	slot = find_slot(l, name);
	if (*slot == 0) {
		r = append(l, name, new);
		*slot = r == 0 ? l->n : 0;
		return r;
	}
	/* Beside its whiteout, in the same layer, an entry is visible. */
	if (l->entry[*slot - 1].part == rd->part && l->entry[*slot - 1].whiteout && !whiteout) {
		l->entry[*slot - 1].whiteout = false;
		l->entry[*slot - 1].type = type;
	}
	return 0;
}

/* Whether only a closer look tells what the entry is. */
static bool ambiguous(struct reading *rd, unsigned char type, ino_t ino)
{
	const struct ovl *o = rd->o;
	struct part *p = &rd->d->part[rd->part];

	if (type == DT_CHR || type == DT_UNKNOWN)
		return true;
	if (type == DT_REG)
		return (p->flags & PART_XWHITEOUTS) != 0;
	if (type != DT_DIR)
		return false;
	return (o->private_dev != 0 && ino == o->private_ino) ||
	       (o->writable && (ino == o->layer[0].ino || ino == o->work_st.st_ino));
}

static int add_name(void *arg, const char *name, unsigned char type, ino_t ino)
{
	struct reading *rd = arg;
	struct part *p = &rd->d->part[rd->part];
	struct stat st;

	if (layers_reserved(name)) {
		name += sizeof(WHITEOUT_PREFIX) - 1;
		return layers_reserved(name) ? 0 : add(rd, name, DT_UNKNOWN, true);
	}
	if (type != DT_UNKNOWN && rd->o->hide != NULL &&
	    layers_unwanted(rd->o, rd->d, p->layer, name, (mode_t)DTTOIF(type)))
		return 0;
	if (!ambiguous(rd, type, ino))
		return add(rd, name, type, false);
	if (at_stat((struct at){p->fd, name}, &st, AT_STATX_DONT_SYNC) != 0)
		return 0;
	if (S_ISDIR(st.st_mode) && layers_hidden(rd->o, &st))
		return 0;
	if (type == DT_UNKNOWN && rd->o->hide != NULL &&
	    layers_unwanted(rd->o, rd->d, p->layer, name, st.st_mode))
		return 0;
	return add(rd, name, (unsigned char)IFTODT(st.st_mode), whiteout_is(p, name, &st));
}

static int compare(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	return x->position < y->position ? -1 : x->position > y->position;
}

/* Remove the whiteouts from the listing, and sort it. */
static void finish(struct listing *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		if (!l->entry[i].whiteout)
			l->entry[n++] = l->entry[i];
	l->n = n;
	free(l->slot);
	l->slot = NULL;
	if (n > 0)
		qsort(l->entry, n, sizeof(*l->entry), compare);
	l->loaded = true;
}

/* quiet: not on a user's behalf, whose reading the access time of the upper's part shows. */
static int load(const struct ovl *o, struct dir *d, struct listing *l, bool quiet)
{
	struct reading rd = {.o = o, .d = d, .l = l};
	int r = 0;

	*l = (struct listing){0};
	for (rd.part = 0; r == 0 && rd.part < d->nparts; rd.part++) {
		struct at a = {d->part[rd.part].fd, ""};
		bool lower = &d->part[rd.part] != dir_upper(o, d);
		int flags = O_RDONLY | O_DIRECTORY;
		int fd = lower || quiet ? at_open_quiet(a, flags) : at_open(a, flags, 0);

		if (fd < 0)
			return fd;
		r = at_list(fd, add_name, &rd);
		close(fd);
	}
	finish(l);
	return r;
}

static void unload(struct listing *l)
{
	free(l->entry);
	free(l->names);
	free(l->slot);
	*l = (struct listing){0};
}

size_t readdir_seek(const struct listing *l, uint64_t position)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (l->entry[middle].position > position)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Open directories. */

static LIST_HEAD(, listdir) opened = LIST_HEAD_INITIALIZER(opened);
static pthread_mutex_t opened_lock = PTHREAD_MUTEX_INITIALIZER;

int readdir_open(const struct ovl *o, const char *path, struct listdir **xp)
{
	struct listdir *x = calloc(1, sizeof(*x));
	int r = x == NULL ? -ENOMEM : layers_dir(o, path, &x->d);

	if (r == 0 && (x->path = strdup(x->d->path)) == NULL) {
		dir_put(o, x->d);
		r = -ENOMEM;
	}
	if (r != 0) {
		free(x);
		return r;
	}
	pthread_mutex_lock(&opened_lock);
	LIST_INSERT_HEAD(&opened, x, list);
	pthread_mutex_unlock(&opened_lock);
	*xp = x;
	return 0;
}

void readdir_close(const struct ovl *o, struct listdir *x)
{
	pthread_mutex_lock(&opened_lock);
	LIST_REMOVE(x, list);
	pthread_mutex_unlock(&opened_lock);
	unload(&x->l);
	dir_put(o, x->d);
	free(x->path);
	free(x);
}

/* What follows `dir` in a path that is dir or leads through it, or NULL. */
static const char *behind(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0') ? path + n : NULL;
}

void readdir_moved(const char *from, const char *to, bool exchange)
{
	struct listdir *x;
	const char *rest;
	char *path;

	pthread_mutex_lock(&opened_lock);
	LIST_FOREACH(x, &opened, list) {
		path = NULL;
		if ((rest = behind(x->path, from)) != NULL) {
			if (asprintf(&path, "%s%s", to, rest) == -1)
				path = NULL;
		} else if (exchange && (rest = behind(x->path, to)) != NULL) {
			if (asprintf(&path, "%s%s", from, rest) == -1)
				path = NULL;
		}
		if (path != NULL) {
			free(x->path);
			x->path = path;
		}
	}
	pthread_mutex_unlock(&opened_lock);
}

/* Its path, or its parent's; NULL without memory. */
static char *where(const struct listdir *x, bool parent)
{
	char *path;

	pthread_mutex_lock(&opened_lock);
	path = strdup(x->path);
	pthread_mutex_unlock(&opened_lock);
	if (path != NULL && parent && path[0] != '\0')
		*strrchr(path, '/') = '\0';
	return path;
}

int readdir_now(const struct ovl *o, const struct listdir *x, struct dir **dp)
{
	char *path = where(x, false);
	int r = path == NULL ? -ENOMEM : layers_dir(o, path, dp);

	free(path);
	if (r == 0 && (*dp)->ino != x->d->ino) { /* another directory, after it was removed */
		dir_put(o, *dp);
		r = -ENOENT;
	}
	return r;
}

int readdir_reload(const struct ovl *o, struct listdir *x)
{
	struct dir *now;

	if (readdir_now(o, x, &now) == 0) {
		dir_put(o, x->d);
		x->d = now;
	}
	unload(&x->l);
	return load(o, x->d, &x->l, false);
}

uint64_t readdir_parent(const struct ovl *o, const struct listdir *x)
{
	char *path = where(x, true);
	uint64_t ino = x->d->ino;
	struct dir *parent;

	if (path != NULL && layers_dir(o, path, &parent) == 0) {
		ino = parent->ino;
		dir_put(o, parent);
	}
	free(path);
	return ino;
}

int readdir_stat(const struct ovl *o, struct dir *d, const struct listing *l, size_t i, bool brief,
		 struct stat *st)
{
	const struct listed *x = &l->entry[i];
	const char *name = l->names + x->name;
	struct entry e;
	int r;

	if (brief && x->type == DT_DIR && !(o->writable && d->part[x->part].layer == 0)) {
		*st = (struct stat){.st_ino = inodes_path_number(d->ino, name), .st_mode = S_IFDIR};
		return 0;
	}
	r = layers_entry(o, d, x->part, name, &e);
	if (r != 0)
		return r;
	*st = e.st;
	inodes_present(o, e.ino, st);
	entry_done(o, &e);
	return 0;
}

int readdir_empty(const struct ovl *o, struct dir *d)
{
	struct listing l;
	int r = load(o, d, &l, true);

	if (r == 0 && l.n > 0)
		r = -ENOTEMPTY;
	unload(&l);
	return r;
}

int readdir_each(const struct ovl *o, struct dir *d,
		 int (*each)(void *arg, struct dir *d, unsigned part, const char *name), void *arg)
{
	struct listing l;
	int r = load(o, d, &l, true);

	for (size_t i = 0; r == 0 && i < l.n; i++)
		r = each(arg, d, l.entry[i].part, l.names + l.entry[i].name);
	unload(&l);
	return r;
}
