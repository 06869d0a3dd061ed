/* SPDX-License-Identifier: ISC */
/*
 * The command "export". First the names of all entries are collected and sorted,
 * then each is looked up and written; so the archive is the same for the same
 * tree. A layer has what the merged tree has more or otherwise than the lowers,
 * and for what it has less the whiteouts of the OCI image specification.
 */
#include "export.h"

#include <archive.h>
#include <archive_entry.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "copy.h"
#include "names.h"
#include "options.h"
#include "plan.h"
#include "readdir.h"
#include "show.h"
#include "whiteout.h"
#include "xattr.h"

#define USAGE                                                                                      \
	"export [--oci | --tar] [--include GLOB] [--exclude GLOB] [--filter-file FILE] "           \
	"TARGET > FILE"

enum { CHUNK = 1 << 16 };

/* What the archive will have. */

enum item_kind { ITEM_OPAQUE, ITEM_FILE, ITEM_WHITEOUT };

struct item {
	enum item_kind kind;
	char *path; /* "/a/b"; of a marker: as it is in the archive */
};

struct export
{
	struct target t;
	struct filter filter;
	bool whole; /* --tar */

	struct changes c;
	struct item *item;
	size_t n, room;
	char *failed;
	long long epoch; /* SOURCE_DATE_EPOCH, or -1 */
	struct archive *a;
};

static int failed(struct export *x, const char *path, int r)
{
	if (r != 0 && x->failed == NULL)
		x->failed = strdup(*path == '\0' ? "/" : path);
	return r;
}

static int add_item(struct export *x, enum item_kind kind, const char *path)
{
	struct item *item;

	if (x->n == x->room) {
		size_t room = x->room == 0 ? 64 : x->room * 2;

		item = reallocarray(x->item, room, sizeof(*item));
		if (item == NULL)
			return -ENOMEM;
		x->item = item;
		x->room = room;
	}
	item = &x->item[x->n];
	item->kind = kind;
	item->path = strdup(path);
	if (item->path == NULL)
		return -ENOMEM;
	x->n++;
	return 0;
}

static int add_whiteout(struct export *x, const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	char wh[256], *full;
	int r = whiteout_name(name, wh);

	if (r != 0)
		return failed(x, path, r);
	if (asprintf(&full, "%.*s%s", (int)(name - path), path, wh) == -1)
		return -ENOMEM;
	r = add_item(x, ITEM_WHITEOUT, full);
	free(full);
	return r;
}

/* A directory's entries, and all that is in them. */
static int add_inside(struct export *x, const char *path);

static int add_child(void *arg, struct dir *d, unsigned part, const char *name)
{
	struct export *x = arg;
	struct entry e;
	char *path;
	int r;

	if (asprintf(&path, "%s/%s", d->path, name) == -1)
		return -ENOMEM;
	r = layers_entry(&x->t.o, d, part, name, &e);
	if (r == 0) {
		r = add_item(x, ITEM_FILE, path);
		if (r == 0 && S_ISDIR(e.st.st_mode))
			r = add_inside(x, path);
		entry_done(&x->t.o, &e);
	}
	r = failed(x, path, r);
	free(path);
	return r;
}

static int add_inside(struct export *x, const char *path)
{
	struct dir *d;
	int r = layers_dir(&x->t.o, path, &d);

	if (r != 0)
		return r;
	r = readdir_each(&x->t.o, d, add_child, x);
	dir_put(&x->t.o, d);
	return r;
}

static bool any_left_out(const struct export *x, const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < x->c.n; i++)
		if (x->c.list[i].left_out && strncmp(x->c.list[i].path, path, len) == 0 &&
		    x->c.list[i].path[len] == '/')
			return true;
	return false;
}

/* Whether the lowers have a directory here of which the merged one shows nothing. */
static int covers(struct export *x, struct dir *d, bool *opaque)
{
	struct dir *l;
	int r = layers_dir(&x->t.low, d->path, &l);

	*opaque = false;
	if (r != 0)
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	*opaque = d->nparts != l->nparts + 1 || strcmp(d->lower_path, l->path) != 0;
	dir_put(&x->t.low, l);
	return 0;
}

static int find_opaque(void *arg, struct dir *parent, unsigned part, const char *name);

static int see_dir(struct export *x, const char *path)
{
	const struct change *c = changes_find(&x->c, path);
	bool opaque, left_out = c != NULL && c->left_out;
	struct dir *d;
	int r = layers_dir(&x->t.o, path, &d);

	if (r != 0)
		return r;
	r = covers(x, d, &opaque);
	if (r == 0 && opaque && !any_left_out(x, path) && !left_out) {
		r = add_item(x, ITEM_OPAQUE, path);
		if (r == 0)
			r = add_item(x, ITEM_FILE, path);
		if (r == 0)
			r = add_inside(x, path);
	} else if (r == 0) {
		if (c != NULL && c->kind == CHANGE_RENAMED && !left_out)
			r = add_inside(x, path);
		if (r == 0)
			r = readdir_each(&x->t.o, d, find_opaque, x);
	}
	dir_put(&x->t.o, d);
	return r;
}

/* Find the directories that are not merged with those of the lowers. */
static int find_opaque(void *arg, struct dir *parent, unsigned part, const char *name)
{
	struct export *x = arg;
	struct entry e;
	char *path;
	int r = layers_entry(&x->t.o, parent, part, name, &e);

	if (r != 0)
		return r;
	if (e.upper && S_ISDIR(e.st.st_mode)) {
		r = asprintf(&path, "%s/%s", parent->path, name) == -1 ? -ENOMEM : 0;
		if (r == 0) {
			r = see_dir(x, path);
			free(path);
		}
	}
	entry_done(&x->t.o, &e);
	return r;
}

/* A name is hidden where its directory is still there; else that one's whiteout does it. */
static int hide(struct export *x, const char *path)
{
	char *parent = strndup(path, (size_t)(strrchr(path, '/') - path));
	struct entry e;
	struct dir *d;
	int r = parent == NULL ? -ENOMEM : layers_dir(&x->t.o, parent, &d);

	free(parent);
	if (r != 0)
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	dir_put(&x->t.o, d);
	r = layers_find(&x->t.o, path, &e);
	if (r != 0)
		return r;
	if (e.part < 0)
		r = add_whiteout(x, path);
	entry_done(&x->t.o, &e);
	return r;
}

static int collect_layer(struct export *x)
{
	struct dir *root;
	int r = changes_collect(&x->t, CHANGES_TIMES | CHANGES_SAME, &x->c);

	if (r != 0)
		return failed(x, x->c.failed == NULL ? "" : x->c.failed, r);
	changes_filter(&x->c, &x->filter);
	r = plan_leave_out(&x->t, &x->c);
	for (size_t i = 0; r == 0 && i < x->c.n; i++) {
		const struct change *c = &x->c.list[i];

		if (c->left_out || c->kind == CHANGE_SAME)
			continue;
		if (c->kind == CHANGE_DELETED || c->kind == CHANGE_RENAMED)
			r = hide(x, c->kind == CHANGE_DELETED ? c->path : change_old_path(c));
		if (r == 0 && c->kind != CHANGE_DELETED)
			r = add_item(x, ITEM_FILE, c->path);
		r = failed(x, c->path, r);
	}
	if (r == 0)
		r = layers_dir(&x->t.o, "", &root);
	if (r == 0) {
		r = readdir_each(&x->t.o, root, find_opaque, x);
		dir_put(&x->t.o, root);
	}
	return r;
}

/* Order. */

/* The mark of an opaque directory comes first in it. */
static int compare_items(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int r = names_compare(x->path, y->path);

	if (r != 0 && (x->kind == ITEM_OPAQUE || y->kind == ITEM_OPAQUE)) {
		const struct item *mark = x->kind == ITEM_OPAQUE ? x : y,
				  *other = mark == x ? y : x;
		size_t len = strlen(mark->path);

		if (other->kind != ITEM_OPAQUE && strncmp(other->path, mark->path, len) == 0 &&
		    other->path[len] == '/')
			return mark == x ? -1 : 1;
	}
	return r != 0 ? r : (int)y->kind - (int)x->kind;
}

static int add_parents(struct export *x)
{
	size_t n = x->n;

	for (size_t i = 0; i < n; i++) {
		char *path = strdup(x->item[i].path), *slash;
		int r = path == NULL ? -ENOMEM : 0;

		while (r == 0 && (slash = strrchr(path, '/')) != path) {
			*slash = '\0';
			r = add_item(x, ITEM_FILE, path);
		}
		free(path);
		if (r != 0)
			return r;
	}
	return 0;
}

/* Sort; what is there twice goes, and whiteouts in opaque directories. */
static int arrange(struct export *x)
{
	const char *opaque = "";
	bool any = false; /* opaque ones so far */
	size_t n = 0;
	int r = x->whole ? 0 : add_parents(x);

	if (r == 0 && x->n > 0)
		qsort(x->item, x->n, sizeof(*x->item), compare_items);
	if (r != 0)
		return r;
	for (size_t i = 0; i < x->n; i++) {
		struct item item = x->item[i];
		size_t len = strlen(opaque);
		bool inside = any && strncmp(item.path, opaque, len) == 0 && item.path[len] == '/';

		if ((inside && item.kind != ITEM_FILE) ||
		    (n > 0 && x->item[n - 1].kind == item.kind &&
		     strcmp(x->item[n - 1].path, item.path) == 0)) {
			free(item.path);
			continue;
		}
		if (item.kind == ITEM_OPAQUE) {
			opaque = item.path;
			any = true;
		}
		x->item[n++] = item;
	}
	x->n = n;
	return 0;
}

/* Writing. */

static int archive_failed(struct export *x)
{
	warnx("%s: %s", x->t.label, archive_error_string(x->a));
	return -1;
}

static int set_attributes(struct export *x, struct at a, struct archive_entry *entry)
{
	char *list = malloc(XATTR_LIST_MAX), *value = malloc(XATTR_SIZE_MAX);
	ssize_t n = list == NULL || value == NULL
			    ? -ENOMEM
			    : xattr_list(a, list, XATTR_LIST_MAX, x->t.o.privileged);

	for (char *p = list; n > 0 && p < list + n; p += strlen(p) + 1) {
		ssize_t len = xattr_get(a, p, value, XATTR_SIZE_MAX);

		if (len >= 0)
			archive_entry_xattr_add_entry(entry, p, value, (size_t)len);
	}
	free(list);
	free(value);
	return n < 0 && n != -EOPNOTSUPP ? (int)n : 0;
}

static void set_stat(const struct export *x, const struct stat *st, struct archive_entry *entry)
{
	long long sec = st->st_mtim.tv_sec;

	if (x->epoch >= 0 && sec > x->epoch)
		sec = x->epoch;
	archive_entry_set_mode(entry, st->st_mode);
	archive_entry_set_uid(entry, st->st_uid);
	archive_entry_set_gid(entry, st->st_gid);
	archive_entry_set_mtime(entry, sec, 0); /* as in all image layers */
	if (S_ISREG(st->st_mode))
		archive_entry_set_size(entry, st->st_size);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		archive_entry_set_rdev(entry, st->st_rdev);
}

/*
 * Names that are not UTF-8 need a header that says so, of which some programs
 * complain: it is written only when there are such names.
 */
static bool all_utf8(struct export *x)
{
	char target[PATH_MAX];
	struct entry e;
	bool plain = true;

	for (size_t i = 0; plain && i < x->n; i++) {
		plain = show_is_utf8(x->item[i].path);
		if (x->item[i].kind != ITEM_FILE ||
		    layers_lookup(&x->t.o, x->item[i].path, &e) != 0)
			continue;
		if (S_ISLNK(e.st.st_mode) && at_readlink(e.at, target, sizeof(target)) == 0)
			plain = plain && show_is_utf8(target);
		entry_done(&x->t.o, &e);
	}
	return plain;
}

/* Exactly size bytes: what the header says. */
static int write_data(struct export *x, int fd, off_t size)
{
	char *buf = malloc(CHUNK);
	int r = buf == NULL ? -ENOMEM : 0;

	for (off_t done = 0; r == 0 && done < size;) {
		size_t want = size - done < CHUNK ? (size_t)(size - done) : CHUNK;
		ssize_t n = pread(fd, buf, want, done);

		if (n == -1)
			r = -errno;
		else if (n == 0)
			r = -ESTALE; /* it was cut while we read */
		else if (archive_write_data(x->a, buf, (size_t)n) < 0)
			r = -EPIPE;
		else
			done += n;
	}
	free(buf);
	return r;
}

/* The names of one file that were written: by device and inode. */
static int link_to(struct archive_entry_linkresolver *links, struct archive_entry **entry)
{
	struct archive_entry *spare = NULL;

	archive_entry_linkify(links, entry, &spare);
	if (spare != NULL)
		archive_entry_free(spare);
	return *entry == NULL ? -ENOMEM : 0;
}

static int write_entry(struct export *x, struct archive_entry_linkresolver *links,
		       const struct entry *e, struct archive_entry *entry)
{
	char target[PATH_MAX];
	int fd = -1, r = 0;

	set_stat(x, &e->st, entry);
	if (S_ISLNK(e->st.st_mode)) {
		r = at_readlink(e->at, target, sizeof(target));
		archive_entry_set_symlink(entry, target);
	}
	if (r == 0)
		r = set_attributes(x, e->at, entry);
	if (r == 0 && !S_ISDIR(e->st.st_mode) && e->st.st_nlink > 1) {
		archive_entry_set_dev(entry, e->st.st_dev);
		archive_entry_set_ino64(entry, (int64_t)e->st.st_ino);
		archive_entry_set_nlink(entry, (unsigned)e->st.st_nlink);
		r = link_to(links, &entry);
	}
	if (r == 0 && S_ISREG(e->st.st_mode) && archive_entry_hardlink(entry) == NULL) {
		fd = copy_open(e->at, &e->st, O_RDONLY);
		r = fd < 0 ? fd : 0;
	}
	if (r == 0 && archive_write_header(x->a, entry) < ARCHIVE_WARN)
		r = -EPIPE;
	if (r == 0 && fd >= 0)
		r = write_data(x, fd, e->st.st_size);
	if (fd >= 0)
		close(fd);
	return r;
}

static int write_marker(struct export *x, const char *path, struct archive_entry *entry)
{
	struct stat st = {.st_mode = S_IFREG | 0644};

	(void)path;
	st.st_mtim.tv_sec = 0;
	set_stat(x, &st, entry);
	return archive_write_header(x->a, entry) < ARCHIVE_WARN ? -EPIPE : 0;
}

static int write_item(struct export *x, struct archive_entry_linkresolver *links,
		      const struct item *item)
{
	struct archive_entry *entry = archive_entry_new();
	char *path = NULL;
	struct entry e;
	int r = 0;

	if (entry == NULL || asprintf(&path, "%s%s", item->path + 1,
				      item->kind == ITEM_OPAQUE ? "/" WHITEOUT_OPAQUE : "") == -1) {
		archive_entry_free(entry);
		return -ENOMEM;
	}
	archive_entry_copy_pathname(entry, path);
	if (item->kind != ITEM_FILE) {
		r = write_marker(x, path, entry);
	} else {
		r = layers_lookup(&x->t.o, item->path, &e);
		if (r == 0 && S_ISSOCK(e.st.st_mode))
			warnx("%s: %s: a socket cannot be archived; left out", x->t.label,
			      options_show(item->path));
		else if (r == 0)
			r = write_entry(x, links, &e, entry);
		if (r == 0)
			entry_done(&x->t.o, &e);
	}
	archive_entry_free(entry);
	free(path);
	return r;
}

static int write_items(struct export *x)
{
	struct archive_entry_linkresolver *links = archive_entry_linkresolver_new();
	int r = links == NULL ? -ENOMEM : 0;

	if (r == 0)
		archive_entry_linkresolver_set_strategy(links, ARCHIVE_FORMAT_TAR);
	for (size_t i = 0; r == 0 && i < x->n; i++) {
		r = write_item(x, links, &x->item[i]);
		if (r != 0 && r != -EPIPE)
			warnc(-r, "%s: %s", x->t.label, options_show(x->item[i].path));
	}
	archive_entry_linkresolver_free(links);
	if (r == -EPIPE)
		return archive_failed(x);
	return r == 0 ? 0 : -1;
}

static int write_archive(struct export *x)
{
	int r;

	/* Names are bytes, and stay so. */
	setlocale(LC_CTYPE, "C.UTF-8");
	x->a = archive_write_new();
	if (x->a == NULL)
		err(1, NULL);
	if (archive_write_set_format_pax_restricted(x->a) != ARCHIVE_OK ||
	    archive_write_set_format_option(x->a, "pax", "xattrheader", "SCHILY") != ARCHIVE_OK ||
	    archive_write_set_format_option(x->a, "pax", "hdrcharset",
					    all_utf8(x) ? "UTF-8" : "BINARY") != ARCHIVE_OK ||
	    archive_write_open_fd(x->a, STDOUT_FILENO) != ARCHIVE_OK)
		r = archive_failed(x);
	else
		r = write_items(x);
	if (r != 0)
		archive_write_fail(x->a);
	else if (archive_write_close(x->a) != ARCHIVE_OK)
		r = archive_failed(x);
	archive_write_free(x->a);
	return r;
}

/* The command line. */

enum { OCI = 0x100, TAR };

static const struct option options[] = {
	{"oci", no_argument, NULL, OCI},
	{"tar", no_argument, NULL, TAR},
	FILTER_OPTIONS,
	{0},
};

static int read_epoch(struct export *x)
{
	const char *text = getenv("SOURCE_DATE_EPOCH"), *error;

	x->epoch = -1;
	if (text == NULL || *text == '\0')
		return 0;
	x->epoch = strtonum(text, 0, LLONG_MAX, &error);
	if (error == NULL)
		return 0;
	warnx("SOURCE_DATE_EPOCH=%s: the number is %s", options_show(text), error);
	return -1;
}

static int parse(struct export *x, int argc, char *argv[])
{
	int c, r = read_epoch(x);

	argv[0] = (char *)"overlayfs export";
	while (r == 0 && (c = getopt_long(argc, argv, TARGETS_OPTIONS, options, NULL)) != -1) {
		if (c == '?')
			return -1;
		if (c == OCI || c == TAR)
			x->whole = c == TAR;
		else if (c >= FILTER_EXCLUDE)
			r = filter_option(&x->filter, c, optarg);
		else
			r = targets_option(&x->t, c, optarg);
	}
	if (r == 0 && x->whole && !filter_is_empty(&x->filter)) {
		warnx("export: --tar writes the whole tree; filters are for layers");
		r = -1;
	}
	if (r == 0)
		r = targets_from_args(&x->t, argc - optind, argv + optind, USAGE);
	if (r == 0 && isatty(STDOUT_FILENO)) {
		warnx("export: the archive would go to the terminal; redirect the output");
		r = -1;
	}
	return r;
}

int export_command(int argc, char *argv[])
{
	struct export x = {0};
	int r = parse(&x, argc, argv);

	if (r == 0)
		r = targets_open(&x.t, TARGET_READ);
	if (r == 0) {
		r = x.whole ? add_inside(&x, "") : collect_layer(&x);
		if (r == 0)
			r = arrange(&x);
		if (r != 0)
			warnc(-r, "%s: %s", x.t.label,
			      options_show(x.failed == NULL ? "/" : x.failed));
	}
	if (r == 0)
		r = write_archive(&x);
	for (size_t i = 0; i < x.n; i++)
		free(x.item[i].path);
	free(x.item);
	free(x.failed);
	changes_destroy(&x.c);
	filter_destroy(&x.filter);
	targets_close(&x.t);
	return r == 0 ? 0 : 1;
}
