/* SPDX-License-Identifier: ISC */
/*
 * From changes to operations. The list of changes is ordered by path, so what
 * is in a directory follows it, and a whole new, renamed or deleted directory is
 * one operation.
 */
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "names.h"
#include "whiteout.h"

/* Ranges of the list. */

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* The end of what is at the path of change i or below it. */
static size_t range_end(const struct changes *c, size_t i)
{
	size_t end = i + 1;

	while (end < c->n && is_below(c->list[end].path, c->list[i].path))
		end++;
	return end;
}

static bool is_new_dir(const struct change *x)
{
	return x->kind != CHANGE_DELETED && S_ISDIR(x->new.st_mode);
}

static bool is_renamed_dir(const struct change *x)
{
	return x->kind == CHANGE_RENAMED && S_ISDIR(x->new.st_mode);
}

/* Leaving out. */

static bool any_left_out(const struct changes *c, size_t i, size_t end)
{
	for (; i < end; i++)
		if (c->list[i].left_out)
			return true;
	return false;
}

/* Returns whether something was not left out before. */
static bool leave_out(struct changes *c, size_t i, size_t end)
{
	bool changed = false;

	for (; i < end; i++) {
		changed = changed || !c->list[i].left_out;
		c->list[i].left_out = true;
	}
	return changed;
}

/* Leave out whatever is at a path, with all that is below. */
static bool leave_out_path(struct changes *c, const char *path)
{
	struct change *x = changes_find(c, path);
	size_t i;

	if (x == NULL || (x->kind == CHANGE_MODIFIED && S_ISDIR(x->new.st_mode)))
		return false;
	for (i = (size_t)(x - c->list); i > 0 && strcmp(c->list[i - 1].path, path) == 0;)
		i--;
	return leave_out(c, i, range_end(c, i));
}

/* The topmost directory above path that covers one of the lowers, malloc'ed, or NULL. */
static int opaque_around(const struct target *t, const char *path, char **opaque)
{
	char *dir = strdup(path);
	int r = dir == NULL ? -ENOMEM : 0;

	*opaque = NULL;
	for (char *end = dir; r == 0 && *opaque == NULL && (end = strchr(end + 1, '/')) != NULL;
	     *end = '/') {
		struct dir *d, *l;

		*end = '\0';
		r = layers_dir(&t->low, dir, &l);
		if (r == -ENOENT || r == -ENOTDIR) {
			r = 0; /* it is new, or part of a renamed one */
			break;
		}
		if (r != 0)
			break;
		r = layers_dir(&t->o, dir, &d);
		if (r == 0 && dir_upper(&t->o, d) != NULL &&
		    (d->nparts != l->nparts + 1 || strcmp(d->lower_path, l->path) != 0)) {
			*opaque = strdup(dir);
			r = *opaque == NULL ? -ENOMEM : 0;
		}
		if (r == 0)
			dir_put(&t->o, d);
		dir_put(&t->low, l);
	}
	free(dir);
	return r;
}

/* What is in an opaque directory shows its old place only as long as that is one. */
static int leave_out_with_opaque(const struct target *t, struct changes *c, bool *changed)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct change *x = &c->list[i];
		char *dir;
		bool out = false;
		int r;

		if (!is_renamed_dir(x) || x->left_out)
			continue;
		r = opaque_around(t, x->path, &dir);
		if (r != 0)
			return r;
		for (size_t k = 0; dir != NULL && !out && k < c->n; k++)
			out = c->list[k].left_out && is_below(c->list[k].path, dir);
		if (out)
			*changed = leave_out(c, i, range_end(c, i)) || *changed;
		free(dir);
	}
	return 0;
}

/* A renamed directory that stays in the upper needs its old place in the lower. */
static bool keep_source(struct changes *c, const struct change *x)
{
	char *path = strdup(change_old_path(x));
	bool changed = false;

	if (path == NULL)
		return false;
	for (char *end = path + strlen(path); end != path; end = strrchr(path, '/')) {
		*end = '\0';
		if (*path != '\0')
			changed = leave_out_path(c, path) || changed;
	}
	free(path);
	return changed;
}

static bool leave_out_ranges(struct changes *c)
{
	bool changed = false;

	for (size_t i = 0; i < c->n; i++) {
		struct change *x = &c->list[i];
		size_t end = range_end(c, i);

		if (x->kind == CHANGE_TYPE || is_renamed_dir(x) ||
		    (i + 1 < end && strcmp(x->path, c->list[i + 1].path) == 0)) {
			if (any_left_out(c, i, end))
				changed = leave_out(c, i, end) || changed;
		} else if (x->kind == CHANGE_DELETED && any_left_out(c, i, end)) {
			changed = leave_out(c, i, i + 1) || changed;
		}
		if (x->kind == CHANGE_RENAMED && x->left_out)
			changed = keep_source(c, x) || changed;
	}
	return changed;
}

/* Names of one file. */

struct group {
	struct change **list;
	size_t n;
};

static int by_file(const void *a, const void *b)
{
	const struct change *x = *(struct change *const *)a, *y = *(struct change *const *)b;

	if (x->new.st_dev != y->new.st_dev)
		return x->new.st_dev < y->new.st_dev ? -1 : 1;
	return x->new.st_ino < y->new.st_ino ? -1 : x->new.st_ino > y->new.st_ino;
}

static bool of_several(const struct change *x)
{
	return x->kind != CHANGE_DELETED && !S_ISDIR(x->new.st_mode) && x->new.st_nlink > 1;
}

/* Call each for the names of every file that has several. */
static int for_groups(struct changes *c, bool (*each)(struct group g), bool *changed)
{
	struct change **all = calloc(c->n + 1, sizeof(struct change *));
	size_t n = 0, end;

	if (all == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < c->n; i++)
		if (of_several(&c->list[i]))
			all[n++] = &c->list[i];
	if (n > 0)
		qsort(all, n, sizeof(struct change *), by_file);
	for (size_t i = 0; i < n; i = end) {
		for (end = i + 1; end < n && by_file(&all[i], &all[end]) == 0;)
			end++;
		*changed = each((struct group){all + i, end - i}) || *changed;
	}
	free(all);
	return 0;
}

static bool leave_out_group(struct group g)
{
	bool any = false, all = true;

	for (size_t i = 0; i < g.n; i++) {
		any = any || g.list[i]->left_out;
		all = all && g.list[i]->left_out;
	}
	for (size_t i = 0; any && i < g.n; i++)
		g.list[i]->left_out = true;
	return any && !all;
}

/*
 * Unchanged names of a file that has changed ones, or that are different files
 * in the lower, must become names of the new file.
 */
static bool join_group(struct group g)
{
	bool changed = false;

	for (size_t i = 0; i < g.n; i++)
		changed = changed || g.list[i]->kind != CHANGE_SAME ||
			  g.list[i]->old.st_ino != g.list[0]->old.st_ino ||
			  g.list[i]->old.st_dev != g.list[0]->old.st_dev;
	for (size_t i = 0; changed && i < g.n; i++)
		if (g.list[i]->kind == CHANGE_SAME)
			g.list[i]->kind = CHANGE_MODIFIED;
	return false;
}

int plan_leave_out(const struct target *t, struct changes *c)
{
	bool changed = true;
	int r = for_groups(c, join_group, &changed);

	while (r == 0 && changed) {
		changed = leave_out_ranges(c);
		r = for_groups(c, leave_out_group, &changed);
		if (r == 0)
			r = leave_out_with_opaque(t, c, &changed);
	}
	for (size_t i = c->n; i > 0; i--) {
		struct change *x = &c->list[i - 1];
		size_t end;

		if (x->kind != CHANGE_ADDED || !S_ISDIR(x->new.st_mode) || !x->left_out)
			continue;
		end = range_end(c, i - 1);
		for (size_t k = i; k < end && x->left_out; k++)
			x->left_out = c->list[k].left_out;
	}
	return r;
}

/* Operations. */

static int failed(struct plan *p, const char *path, int r)
{
	if (r != 0 && p->failed == NULL)
		p->failed = strdup(*path == '\0' ? "/" : path);
	return r;
}

/* The opaque directories around a renamed one, whose old place would not show in them. */
static int merge_around(struct plan *p, const char *path)
{
	char *dir = NULL;
	size_t len;
	int r = opaque_around(p->t, path, &dir);

	if (r != 0 || dir == NULL)
		return r;
	len = strlen(dir);
	free(dir);
	for (const char *end = path + len; r == 0 && end != NULL && *end == '/';
	     end = strchr(end + 1, '/')) {
		dir = strndup(path, (size_t)(end - path));
		r = dir == NULL ? -ENOMEM : journal_add_merge(&p->j, dir);
		free(dir);
	}
	return r;
}

static int add_tree(struct plan *p, struct journal *raw, size_t i, size_t end)
{
	struct changes *c = p->c;
	struct op *op = journal_add_op(raw, OP_PUT, c->list[i].path);
	int r = op == NULL ? -ENOMEM : 0;

	for (; r == 0 && i < end; i++) {
		const struct change *x = &c->list[i];

		if (x->left_out || x->kind == CHANGE_DELETED)
			continue;
		op->files++;
		if (!S_ISDIR(x->new.st_mode))
			op->bytes += (uint64_t)x->new.st_blocks * 512;
		else
			r = journal_add_merge(&p->j, x->path);
		if (of_several(x))
			op->first = true;
		if (r == 0 && is_renamed_dir(x)) {
			p->whole = op->first = true;
			r = merge_around(p, x->path);
		}
	}
	return r;
}

/* What change i needs; returns the next one to look at, or -errno. */
static ssize_t add_change(struct plan *p, struct journal *raw, size_t i)
{
	const struct change *x = &p->c->list[i];
	size_t end = range_end(p->c, i);
	struct op *op = NULL;
	int r = 0;

	if (x->left_out || x->kind == CHANGE_SAME)
		return (ssize_t)i + 1;
	if (x->kind == CHANGE_DELETED && i + 1 < end && strcmp(x->path, x[1].path) == 0)
		return (ssize_t)i + 1; /* what takes its place replaces it */
	if (x->kind == CHANGE_MODIFIED && S_ISDIR(x->new.st_mode)) {
		op = journal_add_op(raw, OP_META, x->path);
		end = i + 1;
	} else if (x->kind == CHANGE_DELETED) {
		op = journal_add_op(raw, OP_DELETE, x->path);
	} else {
		r = add_tree(p, raw, i, is_new_dir(x) ? end : i + 1);
		return r != 0 ? r : (ssize_t)end;
	}
	if (op == NULL)
		return -ENOMEM;
	op->files = 1;
	return (ssize_t)end;
}

static int by_path(const void *a, const void *b)
{
	return names_compare(((const struct op *)a)->path, ((const struct op *)b)->path);
}

/* The operations by path, and none of them within another's new or deleted tree. */
static int add_changes(struct plan *p, struct journal *raw)
{
	const struct op *last = NULL;
	size_t kept = 0;
	int r = 0;

	for (ssize_t i = 0; (size_t)i < p->c->n; r = 0) {
		size_t at = (size_t)i;

		i = add_change(p, raw, at);
		if (i < 0)
			return failed(p, p->c->list[at].path, (int)i);
	}
	for (size_t i = 0; r == 0 && i < p->c->n; i++) {
		const struct change *x = &p->c->list[i];

		if (x->kind == CHANGE_RENAMED && !x->left_out &&
		    journal_add_op(raw, OP_DELETE, change_old_path(x)) == NULL)
			r = -ENOMEM;
	}
	if (r == 0 && raw->nop > 0) /* PUT comes before the DELETE of an old place */
		mergesort(raw->op, raw->nop, sizeof(*raw->op), by_path);
	for (size_t i = 0; i < raw->nop; i++) {
		if (last != NULL && is_below(raw->op[i].path, last->path)) {
			free(raw->op[i].path);
			continue;
		}
		raw->op[kept] = raw->op[i];
		if (raw->op[kept].kind != OP_META)
			last = &raw->op[kept];
		kept++;
	}
	raw->nop = kept;
	return r;
}

/* The lower that is written. */

static int parent_of(const struct target *t, const char *path, struct dir **d)
{
	char *parent = strndup(path, (size_t)(strrchr(path, '/') - path));
	int r = parent == NULL ? -ENOMEM : layers_dir(&t->low, parent, d);

	free(parent);
	return r;
}

/* The part of a directory that a lower has, by its number in the merged stack. */
static struct part *part_of(struct dir *d, unsigned layer)
{
	for (unsigned i = 0; i < d->nparts; i++)
		if (d->part[i].layer + 1 == layer)
			return &d->part[i];
	return NULL;
}

/* The topmost lower that has what the operation works on; nothing below can show it. */
static int topmost(const struct plan *p, const struct op *op, unsigned *layer)
{
	struct dir *d;
	int r = op->kind == OP_META ? layers_dir(&p->t->low, op->path, &d)
				    : parent_of(p->t, op->path, &d);

	if (r != 0)
		return r;
	*layer = d->nparts == 0 ? 0 : d->part[0].layer + 1;
	dir_put(&p->t->low, d);
	return *layer == 0 ? -EBUSY : 0;
}

static bool may_write(const struct layer *l)
{
	return faccessat(l->fd, ".", W_OK | X_OK, AT_EACCESS) == 0;
}

static int choose_layer(struct plan *p, const struct journal *raw)
{
	unsigned bound = p->t->o.nlayers - 1, layer;

	for (size_t i = 0; i < raw->nop; i++) {
		int r = topmost(p, &raw->op[i], &layer);

		if (r != 0)
			return failed(p, raw->op[i].path, r);
		if (layer < bound)
			bound = layer;
	}
	for (layer = bound; layer > 1 && !may_write(&p->t->o.layer[layer]);)
		layer--;
	p->layer = layer;
	return 0;
}

/* The final list. */

struct lists {
	struct journal first, put, last;
};

static int add_mkdirs(struct plan *p, struct lists *l, const char *path)
{
	char *dir = strdup(path), *end = dir;
	int r = dir == NULL ? -ENOMEM : 0;

	while (r == 0 && (end = strchr(end + 1, '/')) != NULL) {
		struct dir *d;
		bool there;

		*end = '\0';
		r = layers_dir(&p->t->low, dir, &d);
		if (r == 0) {
			there = part_of(d, p->layer) != NULL;
			dir_put(&p->t->low, d);
			for (size_t i = l->first.nop; !there && i > 0; i--)
				there = l->first.op[i - 1].kind == OP_MKDIR &&
					strcmp(l->first.op[i - 1].path, dir) == 0;
			if (!there && journal_add_op(&l->first, OP_MKDIR, dir) == NULL)
				r = -ENOMEM;
		}
		*end = '/';
	}
	free(dir);
	return r;
}

static int add_whiteout(struct lists *l, const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	char wh[256], *full = NULL;
	struct op *op;

	if (whiteout_name(name, wh) != 0)
		op = journal_add_op(&l->last, OP_PUT, path); /* a device, in its place */
	else if (asprintf(&full, "%.*s%s", (int)(name - path), path, wh) != -1)
		op = journal_add_op(&l->last, OP_PUT, full);
	else
		op = NULL;
	free(full);
	if (op == NULL)
		return -ENOMEM;
	op->whiteout = true;
	op->files = 1;
	return 0;
}

/* below: the lowers under this one still have the name. */
static int add_delete(struct plan *p, struct lists *l, const struct op *raw, struct dir *d,
		      bool below)
{
	const char *name = strrchr(raw->path, '/') + 1;
	struct part *part = part_of(d, p->layer);
	struct stat st;
	bool there = part != NULL && at_stat((struct at){part->fd, name}, &st, 0) == 0;
	bool white = part != NULL && whiteout_stat(part, name, &st) == 0;
	char wh[256];
	struct op *op;
	int r = 0;

	if (below && !white)
		r = add_whiteout(l, raw->path);
	if (r != 0 || !there || (below && whiteout_name(name, wh) != 0))
		return r;
	op = journal_add_op(&l->last, OP_DELETE, raw->path);
	if (op == NULL)
		return -ENOMEM;
	op->files = 1;
	return 0;
}

static int add_final(struct plan *p, struct lists *l, const struct op *raw)
{
	const char *name = strrchr(raw->path, '/') + 1;
	struct dir *d;
	struct op *op;
	bool below = false;
	int r = add_mkdirs(p, l, raw->path);

	if (r == 0)
		r = parent_of(p->t, raw->path, &d);
	if (r != 0)
		return r;
	if (raw->kind != OP_META)
		r = layers_below_layer(&p->t->low, d, p->layer - 1, name, &below);
	if (r == 0 && raw->kind == OP_DELETE) {
		r = add_delete(p, l, raw, d, below);
	} else if (r == 0) {
		op = journal_add_op(raw->kind == OP_META ? &l->last
				    : raw->first	 ? &l->first
							 : &l->put,
				    raw->kind, raw->path);
		if (op == NULL) {
			r = -ENOMEM;
		} else {
			op->opaque = below;
			op->first = raw->first;
			op->bytes = raw->bytes;
			op->files = raw->files;
		}
	}
	dir_put(&p->t->low, d);
	return r;
}

/* A directory that this lower lacks is made, with its attributes. */
static int add_meta(struct plan *p, struct lists *l, const struct op *raw)
{
	struct dir *d;
	char *inside;
	bool there;
	int r = layers_dir(&p->t->low, raw->path, &d);

	if (r != 0)
		return r;
	there = part_of(d, p->layer) != NULL;
	dir_put(&p->t->low, d);
	if (there)
		return add_final(p, l, raw);
	if (asprintf(&inside, "%s/", raw->path) == -1)
		return -ENOMEM;
	r = add_mkdirs(p, l, inside);
	free(inside);
	return r;
}

static int append(struct plan *p, struct journal *from)
{
	for (size_t i = 0; i < from->nop; i++) {
		struct op *op = journal_add_op(&p->j, from->op[i].kind, from->op[i].path);
		char *path;

		if (op == NULL)
			return -ENOMEM;
		path = op->path;
		*op = from->op[i];
		op->path = path;
		p->files += op->files;
	}
	return 0;
}

int plan_make(struct plan *p, const struct target *t, struct changes *c)
{
	struct journal raw = {0};
	struct lists l = {0};
	int r;

	*p = (struct plan){.t = t, .c = c};
	r = add_changes(p, &raw);
	if (r == 0)
		r = choose_layer(p, &raw);
	for (size_t i = 0; r == 0 && i < raw.nop; i++)
		r = failed(p, raw.op[i].path,
			   raw.op[i].kind == OP_META ? add_meta(p, &l, &raw.op[i])
						     : add_final(p, &l, &raw.op[i]));
	if (r == 0)
		r = append(p, &l.first);
	p->nfirst = p->j.nop;
	if (r == 0)
		r = append(p, &l.put);
	p->nput = p->j.nop - p->nfirst;
	if (r == 0)
		r = append(p, &l.last);
	journal_destroy(&raw);
	journal_destroy(&l.first);
	journal_destroy(&l.put);
	journal_destroy(&l.last);
	return r;
}

void plan_destroy(struct plan *p)
{
	journal_destroy(&p->j);
	free(p->failed);
	*p = (struct plan){0};
}
