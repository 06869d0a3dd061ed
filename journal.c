/* SPDX-License-Identifier: ISC */
/*
 * The journal's file. It is written beside the old one, flushed, and renamed,
 * so that there is always a whole one.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state.h"

static const char *const states[] = {"prepare", "swap", "done", "shared"};
static const char *const kinds[] = {"mkdir", "put", "delete", "meta"};

/* Building. */

static void *grow(void *list, size_t n, size_t size)
{
	if (n != 0 && (n < 16 || (n & (n - 1)) != 0))
		return list;
	return reallocarray(list, n == 0 ? 16 : n * 2, size);
}

int journal_add_dir(struct journal *j, const char *path, const struct stat *st)
{
	struct journal_dir *d = grow(j->dir, j->ndir, sizeof(*d));

	if (d == NULL)
		return -ENOMEM;
	j->dir = d;
	d += j->ndir;
	*d = (struct journal_dir){strdup(path), st->st_mode & 07777, {st->st_atim, st->st_mtim}};
	if (d->path == NULL)
		return -ENOMEM;
	j->ndir++;
	return 0;
}

int journal_add_merge(struct journal *j, const char *path)
{
	char **list = grow(j->merge, j->nmerge, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	j->merge = list;
	list[j->nmerge] = strdup(path);
	if (list[j->nmerge] == NULL)
		return -ENOMEM;
	j->nmerge++;
	return 0;
}

struct op *journal_add_op(struct journal *j, enum op_kind kind, const char *path)
{
	struct op *op = grow(j->op, j->nop, sizeof(*op));

	if (op == NULL)
		return NULL;
	j->op = op;
	op += j->nop;
	*op = (struct op){.kind = kind, .path = strdup(path), .n = j->nop};
	if (op->path == NULL)
		return NULL;
	j->nop++;
	return op;
}

void journal_destroy(struct journal *j)
{
	for (size_t i = 0; i < j->ndir; i++)
		free(j->dir[i].path);
	for (size_t i = 0; i < j->nmerge; i++)
		free(j->merge[i]);
	for (size_t i = 0; i < j->nop; i++)
		free(j->op[i].path);
	free(j->dir);
	free(j->merge);
	free(j->op);
	free(j->lower);
	*j = (struct journal){0};
}

/* Writing. */

static void write_path(FILE *f, const char *path)
{
	state_encode(f, *path == '\0' ? "/" : path);
	putc('\n', f);
}

static void write_all(FILE *f, const struct journal *j)
{
	fprintf(f, "overlayfs-commit 1\nstate %s\nlower %llu %llu ", states[j->state],
		(unsigned long long)j->dev, (unsigned long long)j->ino);
	write_path(f, j->lower);
	if (j->plain)
		fputs("plain\n", f);
	for (size_t i = 0; i < j->ndir; i++) {
		const struct journal_dir *d = &j->dir[i];

		fprintf(f, "dir %o %lld.%09ld %lld.%09ld ", (unsigned)d->mode,
			(long long)d->times[0].tv_sec, d->times[0].tv_nsec,
			(long long)d->times[1].tv_sec, d->times[1].tv_nsec);
		write_path(f, d->path);
	}
	for (size_t i = 0; i < j->nmerge; i++) {
		fputs("merge ", f);
		write_path(f, j->merge[i]);
	}
	for (size_t i = 0; i < j->nop; i++) {
		const struct op *op = &j->op[i];

		fprintf(f, "%s %lu %llu %llu ", kinds[op->kind], op->n,
			(unsigned long long)op->new_ino, (unsigned long long)op->old_ino);
		write_path(f, op->path);
	}
	fputs("end\n", f);
}

int journal_write(int workfd, const struct journal *j)
{
	FILE *f;
	int r = state_begin(workfd, JOURNAL_FILE ".new", &f);

	if (r != 0)
		return r;
	write_all(f, j);
	r = state_end(workfd, JOURNAL_FILE ".new", JOURNAL_FILE, f);
	return r == 0 && fsync(workfd) == -1 ? -errno : r;
}

int journal_remove(int workfd)
{
	unlinkat(workfd, JOURNAL_FILE ".new", 0);
	if (unlinkat(workfd, JOURNAL_FILE, 0) == -1 && errno != ENOENT)
		return -errno;
	return fsync(workfd) == -1 ? -errno : 0;
}

bool journal_exists(int workfd)
{
	return faccessat(workfd, JOURNAL_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Reading. */

static bool take_path(char *text, char **path)
{
	size_t len = strlen(text);

	if (!state_decode(text) || text[0] != '/')
		return false;
	if (len == 1)
		*text = '\0';
	*path = text;
	return true;
}

static int take_dir(struct journal *j, char *line)
{
	unsigned mode;
	long long at, mt;
	long an, mn;
	struct stat st = {0};
	char *path;
	int at_path = 0;

	// NOLINTNEXTLINE(cert-err34-c): what is out of range is not ours
	if (sscanf(line, "dir %o %lld.%9ld %lld.%9ld %n", &mode, &at, &an, &mt, &mn, &at_path) !=
		    5 ||
	    at_path == 0 || !take_path(line + at_path, &path))
		return -EINVAL;
	st.st_mode = mode;
	st.st_atim = (struct timespec){at, an};
	st.st_mtim = (struct timespec){mt, mn};
	return journal_add_dir(j, path, &st);
}

static int take_op(struct journal *j, char *line)
{
	char kind[16], *path;
	unsigned long n;
	unsigned long long new, old;
	int at_path = 0;

	// NOLINTNEXTLINE(cert-err34-c): as above
	if (sscanf(line, "%15s %lu %llu %llu %n", kind, &n, &new, &old, &at_path) != 4 ||
	    at_path == 0 || !take_path(line + at_path, &path))
		return -EINVAL;
	for (unsigned i = 0; i < 4; i++) {
		struct op *op;

		if (strcmp(kind, kinds[i]) != 0)
			continue;
		op = journal_add_op(j, (enum op_kind)i, path);
		if (op == NULL)
			return -ENOMEM;
		op->n = n;
		op->new_ino = new;
		op->old_ino = old;
		return 0;
	}
	return -EINVAL;
}

static int take_lower(struct journal *j, char *line)
{
	unsigned long long dev, ino;
	int at_path = 0;
	char *path;

	// NOLINTNEXTLINE(cert-err34-c): as above
	if (sscanf(line, "lower %llu %llu %n", &dev, &ino, &at_path) != 2 || at_path == 0 ||
	    !take_path(line + at_path, &path))
		return -EINVAL;
	j->dev = dev;
	j->ino = ino;
	free(j->lower);
	j->lower = strdup(path);
	return j->lower == NULL ? -ENOMEM : 0;
}

static int take_line(struct journal *j, char *line)
{
	char *path;

	if (strncmp(line, "state ", 6) == 0) {
		for (unsigned i = 0; i < 4; i++) {
			if (strcmp(line + 6, states[i]) == 0) {
				j->state = (enum journal_state)i;
				return 0;
			}
		}
		return -EINVAL;
	}
	if (strcmp(line, "plain") == 0) {
		j->plain = true;
		return 0;
	}
	if (strncmp(line, "lower ", 6) == 0)
		return take_lower(j, line);
	if (strncmp(line, "dir ", 4) == 0)
		return take_dir(j, line);
	if (strncmp(line, "merge ", 6) == 0)
		return take_path(line + 6, &path) ? journal_add_merge(j, path) : -EINVAL;
	return take_op(j, line);
}

int journal_read(int workfd, struct journal *j)
{
	FILE *f;
	char *line = NULL;
	size_t size = 0;
	bool begun = false, ended = false;
	int r = state_open(workfd, JOURNAL_FILE, &f);

	*j = (struct journal){0};
	if (r != 0)
		return r;
	while (r == 0 && !ended && getline(&line, &size, f) != -1) {
		line[strcspn(line, "\n")] = '\0';
		ended = strcmp(line, "end") == 0;
		if (!begun)
			r = strcmp(line, "overlayfs-commit 1") == 0 ? 0 : -EINVAL;
		else if (!ended)
			r = take_line(j, line);
		begun = true;
	}
	if (r == 0 && (!ended || j->lower == NULL))
		r = -EINVAL;
	free(line);
	fclose(f);
	return r;
}
