/* SPDX-License-Identifier: ISC */
/*
 * The command "apply". The archive is read three times: to see whether all of
 * it may be used, for its whiteouts, and for its files; so an archive that is
 * refused has changed nothing, and a whiteout hides what was there before,
 * wherever it stands. What is done is done as through a mount, by the same code.
 */
#include "apply.h"

#include <archive.h>
#include <archive_entry.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "copyup.h"
#include "entries.h"
#include "journal.h"
#include "layer_names.h"
#include "options.h"
#include "readdir.h"
#include "whiteout.h"
#include "xattr.h"

#define USAGE "apply TARGET FILE"

/* Times of directories are set when nothing is put into them any more. */
struct dir_times {
	char *path;
	struct timespec times[2];
};

struct apply {
	struct target t;
	const char *file;
	int fd;
	struct archive *a;
	struct layer_names names;
	struct caller by;
	struct dir_times *dir;
	size_t ndir;
};

static int fail(const struct apply *x, const char *name, int r)
{
	warnc(-r, "%s: %s", x->t.label, options_show(name));
	return -1;
}

/* Removing. */

static int remove_path(const struct ovl *o, const char *path);

static int remove_child(void *arg, struct dir *d, unsigned part, const char *name)
{
	const struct ovl *o = *(const struct ovl **)arg;
	char *path;
	int r;

	(void)part;
	if (asprintf(&path, "%s/%s", d->path, name) == -1)
		return -ENOMEM;
	r = remove_path(o, path);
	free(path);
	return r;
}

static int empty_dir(const struct ovl *o, const char *path)
{
	struct dir *d;
	int r = layers_dir(o, path, &d);

	if (r != 0)
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	r = readdir_each(o, d, remove_child, &o);
	dir_put(o, d);
	return r;
}

static int remove_path(const struct ovl *o, const char *path)
{
	struct entry e;
	int r = layers_lookup(o, path, &e);

	if (r != 0)
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	if (S_ISDIR(e.st.st_mode)) {
		entry_done(o, &e);
		r = empty_dir(o, path);
		return r == 0 ? entries_rmdir(o, path) : r;
	}
	r = entries_unlink(o, &e);
	entry_done(o, &e);
	return r;
}

static int remove_marker(void *arg, const char *name, unsigned char type, ino_t ino)
{
	(void)type;
	(void)ino;
	if (layers_reserved(name))
		name += strlen(WHITEOUT_PREFIX);
	return layers_reserved(name) ? 0 : whiteout_remove(arg, name);
}

/* Nothing of the lowers shows in a directory any more: one mark instead of many whiteouts. */
static int make_opaque(const struct ovl *o, const char *path)
{
	struct dir *d;
	struct part *p;
	int fd, r = empty_dir(o, path);

	if (r == 0)
		r = layers_dir(o, path, &d);
	if (r != 0)
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	p = dir_upper(o, d);
	if (p != NULL && !d->pure) {
		r = whiteout_set_opaque(o, (struct at){p->fd, ""}, false);
		fd = r == 0 ? at_open((struct at){p->fd, "."}, O_RDONLY | O_DIRECTORY, 0) : r;
		r = fd < 0 ? fd : at_list(fd, remove_marker, p);
		if (fd >= 0)
			close(fd);
		layers_drop_tree(o, path);
	}
	dir_put(o, d);
	return r;
}

/* Making. */

/* Directories that the archive does not have, and the tree neither. */
static int make_parents(struct apply *x, const char *path)
{
	char *dir = strdup(path);
	int r = dir == NULL ? -ENOMEM : 0;

	for (char *end = dir; r == 0 && (end = strchr(end + 1, '/')) != NULL; *end = '/') {
		*end = '\0';
		r = entries_mkdir(&x->t.o, dir, 0755, &x->by);
		if (r == -EEXIST)
			r = 0;
	}
	free(dir);
	return r;
}

static int write_data(struct apply *x, int fd, int64_t size)
{
	const void *block;
	size_t len;
	int64_t at;
	int r;

	while ((r = archive_read_data_block(x->a, &block, &len, &at)) == ARCHIVE_OK) {
		for (size_t done = 0; done < len;) {
			ssize_t n = pwrite(fd, (const char *)block + done, len - done,
					   at + (int64_t)done);

			if (n == -1)
				return -errno;
			done += (size_t)n;
		}
	}
	if (r != ARCHIVE_EOF)
		return -EIO;
	return ftruncate(fd, size) == -1 ? -errno : 0;
}

static int make_file(struct apply *x, struct archive_entry *entry, const struct layer_entry *e)
{
	const struct ovl *o = &x->t.o;
	struct entry target;
	int fd, r;

	if (e->link != NULL) {
		r = layers_lookup(o, e->link, &target);
		if (r == 0) {
			r = entries_link(o, &target, e->path);
			entry_done(o, &target);
		}
		return r;
	}
	switch (archive_entry_filetype(entry)) {
	case AE_IFLNK:
		return entries_symlink(o, archive_entry_symlink(entry), e->path, &x->by);
	case AE_IFIFO:
	case AE_IFSOCK:
	case AE_IFCHR:
	case AE_IFBLK:
		return entries_mknod(o, e->path, archive_entry_filetype(entry) | 0600,
				     archive_entry_rdev(entry), &x->by);
	case AE_IFREG:
		break;
	default:
		return -EINVAL;
	}
	fd = entries_create(o, e->path, O_WRONLY | O_CREAT | O_EXCL, 0600, &x->by);
	if (fd < 0)
		return fd;
	r = write_data(x, fd, archive_entry_size(entry));
	if (close(fd) == -1 && r == 0)
		r = -errno;
	return r;
}

static int set_attributes(struct apply *x, struct at a, struct archive_entry *entry)
{
	const char *name;
	const void *value;
	size_t size;
	int r = 0;

	archive_entry_xattr_reset(entry);
	while (r == 0 && archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
		r = xattr_set(a, name, value, size, 0);
		/* As when copying: what only root may set is left out for others. */
		if (r == -EPERM && !x->t.o.privileged && strncmp(name, "user.", 5) != 0)
			r = 0;
	}
	return r;
}

static int remember_times(struct apply *x, const char *path, const struct timespec times[2])
{
	struct dir_times *dir = reallocarray(x->dir, x->ndir + 1, sizeof(*dir));

	if (dir == NULL)
		return -ENOMEM;
	x->dir = dir;
	dir[x->ndir] = (struct dir_times){strdup(path), {times[0], times[1]}};
	return dir[x->ndir++].path == NULL ? -ENOMEM : 0;
}

/* Owner first: changing it clears what the mode says. */
static int set_meta(struct apply *x, struct archive_entry *entry, const char *path)
{
	struct timespec times[2] = {{archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)},
				    {archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)}};
	struct entry e;
	int r = layers_lookup(&x->t.o, path, &e);

	if (r != 0)
		return r;
	r = copyup_entry(&x->t.o, &e, false);
	if (r == 0 && x->t.o.privileged)
		r = at_chown(e.at, (uid_t)archive_entry_uid(entry),
			     (gid_t)archive_entry_gid(entry));
	if (r == 0)
		r = set_attributes(x, e.at, entry);
	if (r == 0 && !S_ISLNK(e.st.st_mode))
		r = at_chmod(e.at, archive_entry_perm(entry) & 07777);
	if (r == 0 && S_ISDIR(e.st.st_mode))
		r = remember_times(x, path, times);
	else if (r == 0)
		r = at_utimens(e.at, times);
	entry_done(&x->t.o, &e);
	return r;
}

static int put(struct apply *x, struct archive_entry *entry, const struct layer_entry *e)
{
	const struct ovl *o = &x->t.o;
	struct entry old;
	bool isdir = false;
	int r = layers_find(o, e->path, &old);

	if (r == 0) {
		isdir = old.part >= 0 && S_ISDIR(old.st.st_mode);
		entry_done(o, &old);
	} else if (r != -ENOENT) {
		return r;
	}
	if (e->link != NULL && strcmp(e->link, e->path) == 0)
		return 0;
	if (e->kind == LAYER_DIR && isdir)
		return set_meta(x, entry, e->path);
	r = remove_path(o, e->path);
	if (r == 0)
		r = make_parents(x, e->path);
	if (r == 0 && e->kind == LAYER_DIR)
		r = entries_mkdir(o, e->path, 0700, &x->by);
	else if (r == 0)
		r = make_file(x, entry, e);
	return r == 0 && e->link == NULL ? set_meta(x, entry, e->path) : r;
}

static int set_dir_times(struct apply *x)
{
	for (size_t i = x->ndir; i > 0; i--) {
		const struct dir_times *d = &x->dir[i - 1];
		struct entry e;
		int r = layers_lookup(&x->t.o, d->path, &e);

		if (r == -ENOENT || r == -ENOTDIR)
			continue; /* something took its place */
		if (r == 0) {
			r = at_utimens(e.at, d->times);
			entry_done(&x->t.o, &e);
		}
		if (r != 0)
			return fail(x, d->path, r);
	}
	return 0;
}

/* Reading. */

static int archive_failed(struct apply *x)
{
	warnx("%s: %s", options_show(x->file), archive_error_string(x->a));
	return -1;
}

/*
 * Found out before anything is touched. The archive's size, not compressed, is less
 * than what its files take on any file system, holes are not in it.
 */
static int check_room(struct apply *x)
{
	struct statvfs fs;
	int64_t bytes = archive_filter_bytes(x->a, 0);

	if (fstatvfs(x->t.o.layer[0].fd, &fs) == -1 || fs.f_blocks == 0 ||
	    (uint64_t)bytes <= (uint64_t)fs.f_bavail * fs.f_frsize)
		return 0;
	return fail(x, x->file, -ENOSPC);
}

enum pass { PASS_CHECK, PASS_WHITEOUTS, PASS_FILES };

static int use_entry(struct apply *x, enum pass pass, struct archive_entry *entry)
{
	struct layer_entry e;
	int r = layer_names_parse(x->t.label, entry, &e), s = 0;

	if (r == 0 && pass == PASS_CHECK)
		r = layer_names_check(&x->names, &x->t, entry, &e);
	else if (r == 0 && pass == PASS_WHITEOUTS && e.kind == LAYER_WHITEOUT)
		s = remove_path(&x->t.o, e.path);
	else if (r == 0 && pass == PASS_WHITEOUTS && e.kind == LAYER_OPAQUE)
		s = make_opaque(&x->t.o, e.path);
	else if (r == 0 && pass == PASS_FILES && (e.kind == LAYER_DIR || e.kind == LAYER_FILE))
		s = put(x, entry, &e);
	if (s != 0)
		r = fail(x, archive_entry_pathname(entry), s);
	layer_entry_free(&e);
	return r;
}

static int read_pass(struct apply *x, enum pass pass)
{
	struct archive_entry *entry;
	int r = 0, got = ARCHIVE_OK;

	x->a = archive_read_new();
	if (x->a == NULL)
		err(1, NULL);
	archive_read_support_filter_all(x->a);
	archive_read_support_format_tar(x->a);
	if (lseek(x->fd, 0, SEEK_SET) == -1)
		r = fail(x, x->file, -errno);
	else if (archive_read_open_fd(x->a, x->fd, 1 << 16) != ARCHIVE_OK)
		r = archive_failed(x);
	while (r == 0 && (got = archive_read_next_header(x->a, &entry)) != ARCHIVE_EOF) {
		if (got < ARCHIVE_WARN)
			r = archive_failed(x);
		else
			r = use_entry(x, pass, entry);
		/* All data must be there: an archive that was cut is no archive. */
		if (r == 0 && pass == PASS_CHECK && archive_read_data_skip(x->a) < ARCHIVE_WARN)
			r = archive_failed(x);
	}
	if (r == 0 && pass == PASS_CHECK)
		r = check_room(x);
	archive_read_free(x->a);
	return r;
}

/* What cannot be read again is kept in a file without a name. */
static int open_file(struct apply *x)
{
	char buf[1 << 16];
	ssize_t n;
	FILE *copy;

	x->fd = strcmp(x->file, "-") == 0 ? dup(STDIN_FILENO) : open(x->file, O_RDONLY | O_CLOEXEC);
	if (x->fd == -1) {
		warn("%s", options_show(x->file));
		return -1;
	}
	if (lseek(x->fd, 0, SEEK_CUR) != -1)
		return 0;
	copy = tmpfile();
	while (copy != NULL && (n = read(x->fd, buf, sizeof(buf))) > 0)
		if (fwrite(buf, 1, (size_t)n, copy) != (size_t)n)
			break;
	if (copy == NULL || fflush(copy) == EOF || n != 0) {
		warn("%s", options_show(x->file));
		if (copy != NULL)
			fclose(copy);
		return -1;
	}
	dup2(fileno(copy), x->fd);
	fclose(copy);
	return 0;
}

static int apply(struct apply *x)
{
	int r;

	if (open_file(x) != 0 || targets_open(&x->t, TARGET_WRITE) != 0)
		return -1;
	if (journal_exists(x->t.o.workfd)) {
		warnx("%s: a commit was interrupted; finish it with \"overlayfs commit\" or "
		      "\"overlayfs check --repair\"",
		      x->t.label);
		return -1;
	}
	x->by = (struct caller){geteuid(), getegid(), 0};
	r = read_pass(x, PASS_CHECK);
	if (r == 0)
		r = read_pass(x, PASS_WHITEOUTS);
	if (r == 0)
		r = read_pass(x, PASS_FILES);
	if (r == 0)
		r = set_dir_times(x);
	if (r == 0 && syncfs(x->t.o.layer[0].fd) == -1)
		r = fail(x, x->t.upper, -errno);
	return r;
}

int apply_command(int argc, char *argv[])
{
	static const struct option none[] = {{0}};
	struct apply x = {.fd = -1};
	int c, r = 0;

	argv[0] = (char *)"overlayfs apply";
	while (r == 0 && (c = getopt_long(argc, argv, TARGETS_OPTIONS, none, NULL)) != -1)
		r = c == '?' ? -1 : targets_option(&x.t, c, optarg);
	if (r == 0 && argc - optind < 1) {
		warnx("usage: overlayfs " USAGE);
		r = -1;
	}
	if (r == 0) {
		x.file = argv[argc - 1];
		r = targets_from_args(&x.t, argc - optind - 1, argv + optind, USAGE);
	}
	umask(0);
	setlocale(LC_CTYPE, "C.UTF-8"); /* names are bytes, and stay so */
	if (r == 0)
		r = apply(&x);
	layer_names_destroy(&x.names);
	for (size_t i = 0; i < x.ndir; i++)
		free(x.dir[i].path);
	free(x.dir);
	if (x.fd != -1)
		close(x.fd);
	targets_close(&x.t);
	return r == 0 ? 0 : 1;
}
