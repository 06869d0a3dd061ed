/* SPDX-License-Identifier: ISC */
/*
 * Names in archives. A symbolic link of the archive is only data, never followed;
 * but one that climbs out of the tree is refused as what it is, an attack on
 * programs that do follow.
 */
#include "layer_names.h"

#include <err.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/tree.h>

#include "options.h"
#include "whiteout.h"

static int refuse(const char *label, const char *name, const char *why)
{
	warnx("%s: %s: %s", label, options_show(name), why);
	return -1;
}

/* Parsing. */

static const char *reserved(const char *name, size_t len)
{
	return len >= strlen(WHITEOUT_PREFIX) &&
			       strncmp(name, WHITEOUT_PREFIX, strlen(WHITEOUT_PREFIX)) == 0
		       ? name + strlen(WHITEOUT_PREFIX)
		       : NULL;
}

/*
 * "./a//b/" to "/a/b"; *why says what is wrong with it. Only the last name may
 * be a marker.
 */
static char *clean(const char *name, const char **why)
{
	char *path = malloc(strlen(name) + 2), *to = path;

	*why = NULL;
	if (path == NULL)
		err(1, NULL);
	if (*name == '/')
		*why = "an absolute name";
	while (*name != '\0' && *why == NULL) {
		size_t len = strcspn(name, "/");

		if (len > NAME_MAX)
			*why = "a name that is too long";
		else if (len == 2 && strncmp(name, "..", 2) == 0)
			*why = "leads out of the tree";
		else if (reserved(name, len) != NULL && name[len + strspn(name + len, "/")] != '\0')
			*why = "lies in a whiteout";
		if (len > 0 && !(len == 1 && *name == '.')) {
			*to++ = '/';
			memcpy(to, name, len);
			to += len;
		}
		name += len;
		name += strspn(name, "/");
	}
	*to = '\0';
	if (*why == NULL && to - path >= PATH_MAX)
		*why = "a path that is too long";
	return path;
}

/* Whether a relative link at path leads above the root. */
static bool climbs(const char *path, const char *target)
{
	int depth = -1;

	if (*target == '/')
		return false; /* the root of the tree is meant */
	for (const char *p = path; *p != '\0'; p++)
		depth += *p == '/';
	while (*target != '\0') {
		size_t len = strcspn(target, "/");

		if (len == 2 && strncmp(target, "..", 2) == 0)
			depth--;
		else if (len > 0 && !(len == 1 && *target == '.'))
			depth++;
		if (depth < 0)
			return true;
		target += len;
		target += strspn(target, "/");
	}
	return false;
}

/* A marker's path becomes that of what it is about. */
static int parse_marker(const char *label, const char *name, struct layer_entry *e)
{
	char *slash = strrchr(e->path, '/'), *last = slash + 1;
	const char *of = reserved(last, strlen(last));

	if (strcmp(last, WHITEOUT_OPAQUE) == 0) {
		e->kind = LAYER_OPAQUE;
		*slash = '\0';
	} else if (reserved(of, strlen(of)) != NULL) {
		e->kind = LAYER_SKIP;
	} else {
		e->kind = LAYER_WHITEOUT;
		if (*of == '\0' || strcmp(of, ".") == 0 || strcmp(of, "..") == 0)
			return refuse(label, name, "a whiteout of nothing");
		memmove(last, of, strlen(of) + 1);
	}
	return 0;
}

int layer_names_parse(const char *label, struct archive_entry *entry, struct layer_entry *e)
{
	const char *name = archive_entry_pathname(entry), *why, *last;
	const char *link = archive_entry_hardlink(entry), *target = archive_entry_symlink(entry);

	*e = (struct layer_entry){0};
	if (name == NULL)
		return refuse(label, "an entry", "its name cannot be read");
	e->path = clean(name, &why);
	if (why != NULL)
		return refuse(label, name, why);
	if (*e->path == '\0')
		return 0;
	last = strrchr(e->path, '/') + 1;
	if (reserved(last, strlen(last)) != NULL)
		return parse_marker(label, name, e);
	e->kind =
		archive_entry_filetype(entry) == AE_IFDIR && link == NULL ? LAYER_DIR : LAYER_FILE;
	if (target != NULL && link == NULL && climbs(e->path, target))
		return refuse(label, name, "a link that leads out of the tree");
	if (link == NULL)
		return 0;
	e->link = clean(link, &why);
	if (why != NULL || *e->link == '\0')
		return refuse(label, name, "a link that leads out of the tree");
	return 0;
}

void layer_entry_free(struct layer_entry *e)
{
	free(e->path);
	free(e->link);
	*e = (struct layer_entry){0};
}

/* Checking. */

struct layer_seen {
	RB_ENTRY(layer_seen) node;
	char *path;
	enum layer_kind kind;
};

static int compare_seen(const struct layer_seen *a, const struct layer_seen *b)
{
	return strcmp(a->path, b->path);
}

RB_HEAD(seen_tree, layer_seen);
RB_PROTOTYPE(seen_tree, layer_seen, node, compare_seen)
RB_GENERATE(seen_tree, layer_seen, node, compare_seen)

static struct layer_seen *find(struct layer_names *n, const char *path)
{
	struct seen_tree tree = {n->tree};
	struct layer_seen key = {.path = (char *)(uintptr_t)path};

	return RB_FIND(seen_tree, &tree, &key);
}

static void keep(struct layer_names *n, const char *path, enum layer_kind kind)
{
	struct seen_tree tree = {n->tree};
	struct layer_seen *s = find(n, path);

	if (s == NULL) {
		s = calloc(1, sizeof(*s));
		if (s == NULL || (s->path = strdup(path)) == NULL)
			err(1, NULL);
		RB_INSERT(seen_tree, &tree, s);
		n->tree = RB_ROOT(&tree);
	}
	s->kind = kind;
} // NOLINT(clang-analyzer-unix.Malloc): the tree keeps s

/* What is there, or will be: LAYER_SKIP for nothing. */
static enum layer_kind what_is(struct layer_names *n, const struct target *t, const char *path)
{
	struct layer_seen *s = find(n, path);
	struct entry e;
	enum layer_kind kind;

	if (s != NULL)
		return s->kind;
	if (layers_lookup(&t->o, path, &e) != 0)
		return LAYER_SKIP;
	kind = S_ISDIR(e.st.st_mode) ? LAYER_DIR : LAYER_FILE;
	entry_done(&t->o, &e);
	return kind;
}

int layer_names_check(struct layer_names *n, const struct target *t, struct archive_entry *entry,
		      const struct layer_entry *e)
{
	const char *name = archive_entry_pathname(entry);
	mode_t type = archive_entry_filetype(entry);
	char *path;

	if (e->kind == LAYER_SKIP || e->kind == LAYER_WHITEOUT || e->kind == LAYER_OPAQUE)
		return 0;
	path = strdup(e->path);
	if (path == NULL)
		err(1, NULL);
	for (char *end = strchr(path + 1, '/'); end != NULL; end = strchr(end + 1, '/')) {
		bool through;

		*end = '\0';
		through = what_is(n, t, path) == LAYER_FILE;
		*end = '/';
		if (through) {
			free(path);
			return refuse(t->label, name, "leads through what is no directory");
		}
	}
	free(path);
	if (e->link != NULL && what_is(n, t, e->link) != LAYER_FILE)
		return refuse(t->label, name, "a link to what is not there");
	if (e->link == NULL && (type == AE_IFCHR || type == AE_IFBLK)) {
		if (!t->o.privileged)
			return refuse(t->label, name, "a device, which only root can make");
		if (type == AE_IFCHR && archive_entry_rdev(entry) == 0)
			return refuse(t->label, name, "a device 0:0, which is a whiteout");
	}
	keep(n, e->path, e->kind);
	return 0;
}

void layer_names_destroy(struct layer_names *n)
{
	struct seen_tree tree = {n->tree};
	struct layer_seen *s, *next;

	RB_FOREACH_SAFE(s, seen_tree, &tree, next) {
		RB_REMOVE(seen_tree, &tree, s);
		free(s->path);
		free(s);
	}
	n->tree = NULL;
}
