/* SPDX-License-Identifier: ISC */
/*
 * The directories of an upper are walked, each name once, whether it is an entry,
 * a whiteout or both. A directory keeps its times, and its missing write bit is no
 * obstacle: what is repaired is no change that a user made.
 */
#include "inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inodes.h"
#include "names.h"
#include "readdir.h"
#include "whiteout.h"

/* A directory of the upper that is being looked at. */
struct visit {
	struct inspect *x;
	struct dir *d;
	struct part *p;
	bool opaque;
	bool attributes; /* a whiteout by attribute remains */

	bool changing;
	mode_t mode;
	struct stat st;

	struct names names;
};

static int failed(struct inspect *x, const char *path, int r)
{
	if (r != 0 && x->failed == NULL)
		x->failed = strdup(*path == '\0' ? "/" : path);
	return r;
}

static void found(struct inspect *x, const char *path, const char *what, int r)
{
	x->each(x->arg, *path == '\0' ? "/" : path, what, r);
}

/* Changing a directory. */

static int begin_change(struct visit *v)
{
	struct at self = {v->p->fd, ""};
	int r;

	if (v->changing)
		return 0;
	r = at_stat(self, &v->st, 0);
	if (r == 0)
		r = at_unlock(self, &v->mode);
	v->changing = r == 0;
	return r;
}

static int end_change(struct visit *v, int r)
{
	struct at self = {v->p->fd, ""};

	if (!v->changing)
		return r;
	r = at_restore(self, v->mode, r);
	at_utimens(self, (struct timespec[]){v->st.st_atim, v->st.st_mtim});
	return r;
}

/* Whiteouts. */

/* Read what a directory of the upper says of itself. */
static int read_marks(struct at a, struct marks *m)
{
	int r, fd = at_open_quiet(a, O_RDONLY | O_DIRECTORY);

	*m = (struct marks){0};
	if (fd == -EACCES)
		fd = at_open(a, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	r = whiteout_read_marks(fd, true, NULL, m);
	close(fd);
	return r;
}

/* Why a whiteout makes no difference. st: the entry beside it, or NULL. */
static int useless(struct visit *v, const char *name, const struct stat *st, const char **why)
{
	struct marks m;
	bool below, replaced = st != NULL && !S_ISDIR(st->st_mode);
	int r = 0;

	*why = NULL;
	if (v->opaque) {
		*why = "whiteout in an opaque directory";
		return 0;
	}
	if (st != NULL && S_ISDIR(st->st_mode)) {
		r = read_marks((struct at){v->p->fd, name}, &m);
		replaced = r == 0 && (m.opaque || m.redirect != NULL);
		free(m.redirect);
	}
	if (r == 0)
		r = layers_below(&v->x->t->o, v->d, name, &below);
	if (r == 0 && !below)
		*why = "whiteout that hides nothing";
	else if (r == 0 && replaced)
		*why = "whiteout beside what has replaced it";
	return r;
}

static int give_form(struct visit *v, const char *name, bool there)
{
	const struct ovl *o = &v->x->t->o;
	int r;

	if (!there)
		return whiteout_convert(o, v->d, name);
	/* It hides what is below the directory beside it, which can say so itself. */
	r = whiteout_set_opaque(o, (struct at){v->p->fd, name}, false);
	return r == 0 ? whiteout_remove(v->p, name) : r;
}

static int see_whiteout(struct visit *v, const char *path, const char *name, const struct stat *st)
{
	struct inspect *x = v->x;
	struct stat wh;
	const char *why;
	int other, r = whiteout_stat(v->p, name, &wh);

	if (r != 0)
		return r == -ENOENT ? 0 : r;
	other = (x->look & INSPECT_FORMS) ? whiteout_other_form(&x->t->o, v->p, name) : 0;
	r = other < 0 ? other : useless(v, name, st, &why);
	if (r != 0)
		return r;
	if (why != NULL && ((x->look & INSPECT_WHITEOUTS) || other)) {
		if (x->repair && (r = begin_change(v)) == 0)
			r = whiteout_remove(v->p, name);
		found(x, path, why, r);
	} else if (other) {
		if (x->repair && (r = begin_change(v)) == 0)
			r = give_form(v, name, st != NULL);
		found(x, path, "whiteout in another form", r);
		if (x->repair)
			layers_drop_tree(&x->t->o, path);
	}
	return 0;
}

/* Directories. */

static int inspect_dir(struct inspect *x, const char *path);

static int repair_redirect(struct visit *v, const char *name)
{
	const struct ovl *o = &v->x->t->o;
	struct at a = {v->p->fd, name};
	bool below;
	int r = layers_below(o, v->d, name, &below);

	/* What is below has not shown, and must not show now. */
	if (r == 0 && below)
		r = whiteout_set_opaque(o, a, v->x->bare);
	return r == 0 ? whiteout_clear_redirect(a) : r;
}

/* A redirect is broken when no lower has a directory where it leads. */
static int see_redirect(struct visit *v, const char *path, const char *name)
{
	struct inspect *x = v->x;
	struct marks m;
	struct dir *child = NULL;
	char *what = NULL;
	int r = read_marks((struct at){v->p->fd, name}, &m);

	if (r != 0 || m.redirect == NULL || m.opaque)
		goto out;
	r = layers_dir(&x->t->o, path, &child);
	if (r != 0 || child->nparts > 1)
		goto out;
	if (asprintf(&what, "redirect to %s, which is not there", m.redirect) == -1) {
		r = -ENOMEM;
		goto out;
	}
	found(x, path, what, x->repair ? repair_redirect(v, name) : 0);
	if (x->repair)
		layers_drop_tree(&x->t->o, path);
out:
	free(what);
	free(m.redirect);
	dir_put(&x->t->o, child);
	return r;
}

static int see_marks(struct visit *v, const char *path, const char *name)
{
	const struct ovl *o = &v->x->t->o;
	struct at a = {v->p->fd, name};
	bool below;
	int r = layers_below(o, v->d, name, &below);

	if (r == 0)
		r = whiteout_other_marks(o, a, below);
	if (r != 1)
		return r;
	r = v->x->repair ? whiteout_convert_marks(o, a, below) : 0;
	found(v->x, path, "mark of a directory in another form", r);
	return 0;
}

static int see_dir(struct visit *v, const char *path, const char *name)
{
	struct inspect *x = v->x;
	int r = 0;

	if (x->look & INSPECT_REDIRECTS)
		r = see_redirect(v, path, name);
	/* What is in it goes first: whiteouts in opaque directories, as long as they are. */
	if (r == 0)
		r = inspect_dir(x, path);
	if (r == 0 && (x->look & INSPECT_FORMS))
		r = see_marks(v, path, name);
	return r;
}

static int see_name(struct visit *v, const char *name)
{
	struct stat st;
	char *path;
	bool there;
	int r;

	if (asprintf(&path, "%s/%s", v->d->path, name) == -1)
		return -ENOMEM;
	r = at_stat((struct at){v->p->fd, name}, &st, 0);
	there = r == 0 && !whiteout_is(v->p, name, &st);
	if (r == -ENOENT)
		r = 0;
	if (r == 0)
		r = see_whiteout(v, path, name, there ? &st : NULL);
	if (r == 0 && there && S_ISDIR(st.st_mode) && !layers_hidden(&v->x->t->o, &st))
		r = see_dir(v, path, name);
	r = failed(v->x, path, r);
	free(path);
	return r;
}

/* The mark of a directory with whiteouts by attribute goes with the last of them. */
static int see_last(struct visit *v)
{
	struct stat st;

	if (!(v->x->look & INSPECT_FORMS) || !v->x->repair || !(v->p->flags & PART_XWHITEOUTS))
		return 0;
	for (size_t i = 0; i < v->names.n; i++)
		if (at_stat((struct at){v->p->fd, v->names.list[i]}, &st, 0) == 0 &&
		    S_ISREG(st.st_mode) && whiteout_is(v->p, v->names.list[i], &st))
			return 0;
	return whiteout_clear_attribute_mark(v->p);
}

static int inspect_dir(struct inspect *x, const char *path)
{
	struct visit v = {.x = x};
	struct marks m = {0};
	int r = layers_dir(&x->t->o, path, &v.d);

	if (r != 0)
		return failed(x, path, r);
	v.p = dir_upper(&x->t->o, v.d);
	if (v.p != NULL) {
		r = read_marks((struct at){v.p->fd, ""}, &m);
		v.opaque = m.opaque;
		free(m.redirect);
		if (r == 0)
			r = names_of_part(&v.names, v.p, false);
		names_sort(&v.names);
		for (size_t i = 0; r == 0 && i < v.names.n; i++)
			r = see_name(&v, v.names.list[i]);
		if (r == 0)
			r = see_last(&v);
		r = end_change(&v, r);
	}
	names_free(&v.names);
	dir_put(&x->t->o, v.d);
	return failed(x, path, r);
}

/* The root of the upper has no name in a directory. */
static int see_root(struct inspect *x)
{
	struct at root = {x->t->o.layer[0].fd, "."};
	int r = whiteout_other_marks(&x->t->o, root, true);

	if (r != 1)
		return failed(x, "", r);
	found(x, "", "mark of a directory in another form",
	      x->repair ? whiteout_convert_marks(&x->t->o, root, true) : 0);
	return 0;
}

/* The index. */

struct copy {
	uint64_t number;
	bool seen;
};

struct search {
	const struct ovl *o;
	struct copy *copy;
	size_t n, room;
	size_t left;
};

static int add_copy(void *arg, uint64_t ino, const struct stat *st)
{
	struct search *s = arg;

	(void)st;
	if (s->n == s->room) {
		size_t room = s->room == 0 ? 16 : s->room * 2;
		struct copy *copy = reallocarray(s->copy, room, sizeof(*copy));

		if (copy == NULL)
			return -ENOMEM;
		s->copy = copy;
		s->room = room;
	}
	s->copy[s->n++] = (struct copy){.number = ino};
	return 0;
}

static int compare_number(const void *a, const void *b)
{
	const struct copy *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int search_name(void *arg, struct dir *d, unsigned part, const char *name)
{
	struct search *s = arg;
	struct copy *copy;
	struct entry e;
	struct dir *child;
	char *path;
	int r = layers_entry(s->o, d, part, name, &e);

	if (r != 0)
		return r;
	if (S_ISDIR(e.st.st_mode)) {
		r = asprintf(&path, "%s/%s", d->path, name) == -1 ? -ENOMEM : 0;
		if (r == 0) {
			r = layers_dir(s->o, path, &child);
			free(path);
		}
		if (r == 0) {
			r = readdir_each(s->o, child, search_name, s);
			dir_put(s->o, child);
		}
	} else {
		copy = bsearch(&(struct copy){.number = e.ino}, s->copy, s->n, sizeof(*copy),
			       compare_number);
		if (copy != NULL && !copy->seen) {
			copy->seen = true;
			s->left--;
		}
	}
	entry_done(s->o, &e);
	return r != 0 ? r : s->left == 0 ? -ECANCELED : 0;
}

static int drop_copy(struct inspect *x, uint64_t number)
{
	char *path;
	int r = 0;

	if (asprintf(&path, "%s/index/%016llx", x->t->work != NULL ? x->t->work : "/" WHITEOUT_WORK,
		     (unsigned long long)number) == -1)
		return -ENOMEM;
	if (x->repair)
		r = inodes_index_drop(&x->t->o, number);
	found(x, path, INSPECT_STALE, r);
	free(path);
	return 0;
}

static int inspect_index(struct inspect *x)
{
	struct search s = {.o = &x->t->o};
	struct dir *root = NULL;
	int r = inodes_index_each(s.o, add_copy, &s);

	if (r == 0 && s.n > 0) {
		s.left = s.n;
		r = layers_dir(s.o, "", &root);
		if (r == 0)
			r = readdir_each(s.o, root, search_name, &s);
		dir_put(s.o, root);
	}
	for (size_t i = 0; r == 0 && i < s.n; i++)
		if (!s.copy[i].seen)
			r = drop_copy(x, s.copy[i].number);
	free(s.copy);
	/* Where not all can be read, nothing can be said of them. */
	return r == -ECANCELED || r == -EACCES ? 0 : failed(x, "", r);
}

int inspect_upper(struct inspect *x)
{
	int r = x->look == INSPECT_INDEX ? 0 : inspect_dir(x, "");

	if (r == 0 && (x->look & INSPECT_FORMS))
		r = see_root(x);
	layers_drop_tree(&x->t->o, "");
	if (r == 0 && (x->look & INSPECT_INDEX))
		r = inspect_index(x);
	return r;
}
