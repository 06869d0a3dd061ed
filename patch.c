/* SPDX-License-Identifier: ISC */
/*
 * Patches. diff(1) compares the two files through descriptors that it inherits,
 * so that no name of a layer is ever looked up by it. Links have no content to
 * open and are written here.
 */
#include "patch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <unistd.h>

#include "copy.h"
#include "show.h"

/* One side of a patch. */
struct side {
	bool there;
	struct entry e;
	char target[PATH_MAX]; /* of a link */
	int fd;		       /* of a file */
};

/* diff opens the file anew, which would set the access time that O_NOATIME keeps. */
static int take_copy(int *fd)
{
	int copy = memfd_create("overlayfs", MFD_CLOEXEC), r = copy == -1 ? -errno : 0;
	ssize_t n;

	while (r == 0 && (n = sendfile(copy, *fd, NULL, 1 << 30)) != 0)
		if (n == -1)
			r = -errno;
	close(*fd);
	*fd = copy;
	return r;
}

static int side_open(const struct ovl *o, const char *path, struct side *x)
{
	int r = layers_lookup(o, path, &x->e);

	if (r != 0)
		return r;
	x->there = true;
	if (S_ISLNK(x->e.st.st_mode))
		return at_readlink(x->e.at, x->target, sizeof(x->target));
	if (!S_ISREG(x->e.st.st_mode))
		return 0;
	x->fd = copy_open(x->e.at, &x->e.st, O_RDONLY);
	if (x->fd == -EACCES)
		x->fd = -1; /* it is named, but cannot be shown */
	return x->fd < 0 ? (x->fd == -1 ? 0 : x->fd) : take_copy(&x->fd);
}

static void side_close(const struct ovl *o, struct side *x)
{
	if (x->there)
		entry_done(o, &x->e);
	if (x->fd >= 0)
		close(x->fd);
}

/* The mode as git has it, of files and links. */
static unsigned git_mode(const struct stat *st)
{
	if (S_ISLNK(st->st_mode))
		return S_IFLNK;
	return S_ISREG(st->st_mode) ? S_IFREG | (st->st_mode & 0777) : st->st_mode;
}

/* "a/x" as show_path writes it. */
static void labelled(FILE *out, const char *prefix, const char *path)
{
	char *text;

	if (asprintf(&text, "%s%s", prefix, path) == -1)
		return;
	show_path(out, text);
	free(text);
}

static void header(FILE *out, const struct change *x)
{
	fputs("diff --git ", out);
	labelled(out, "a", change_old_path(x));
	putc(' ', out);
	labelled(out, "b", x->path);
	putc('\n', out);
	if (x->kind == CHANGE_ADDED) {
		fprintf(out, "new file mode %06o\n", git_mode(&x->new));
	} else if (x->kind == CHANGE_DELETED) {
		fprintf(out, "deleted file mode %06o\n", git_mode(&x->old));
	} else if (git_mode(&x->old) != git_mode(&x->new)) {
		fprintf(out, "old mode %06o\n", git_mode(&x->old));
		fprintf(out, "new mode %06o\n", git_mode(&x->new));
	}
	if (x->kind == CHANGE_RENAMED) {
		fputs("rename from ", out);
		show_path(out, change_old_path(x) + 1);
		fputs("\nrename to ", out);
		show_path(out, x->path + 1);
		putc('\n', out);
	}
}

/* What follows "---" or "+++". */
static char *label(const char *prefix, const char *path, bool there)
{
	char *text = NULL;
	size_t size;
	FILE *f;

	if (!there)
		return strdup("/dev/null");
	f = open_memstream(&text, &size);
	if (f == NULL)
		return NULL;
	labelled(f, prefix, path);
	return fclose(f) == EOF ? NULL : text;
}

static void link_lines(FILE *out, char sign, const char *target)
{
	for (const char *p = target; *p != '\0'; p++) {
		if (p == target || p[-1] == '\n')
			putc(sign, out);
		putc(*p, out);
	}
	fputs("\n\\ No newline at end of file\n", out);
}

static unsigned count_lines(const char *text)
{
	unsigned n = 1;

	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

static void link_patch(FILE *out, const struct change *x, const struct side *a,
		       const struct side *b)
{
	char *from = label("a", change_old_path(x), a->there);
	char *to = label("b", x->path, b->there);
	unsigned n = a->there ? count_lines(a->target) : 0;
	unsigned m = b->there ? count_lines(b->target) : 0;

	if (from != NULL && to != NULL) {
		fprintf(out, "--- %s\n+++ %s\n@@ -%u,%u +%u,%u @@\n", from, to, n > 0, n, m > 0, m);
		if (a->there)
			link_lines(out, '-', a->target);
		if (b->there)
			link_lines(out, '+', b->target);
	}
	free(from);
	free(to);
}

static void run_diff(const struct show *s, char *from, char *to, int a, int b)
{
	char one[32], two[32];

	snprintf(one, sizeof(one), a >= 0 ? "/proc/self/fd/%d" : "/dev/null", a);
	snprintf(two, sizeof(two), b >= 0 ? "/proc/self/fd/%d" : "/dev/null", b);
	if (a >= 0)
		fcntl(a, F_SETFD, 0);
	if (b >= 0)
		fcntl(b, F_SETFD, 0);
	if (dup2(fileno(s->out), STDOUT_FILENO) != -1)
		execlp("diff", "diff", "-u", s->colour ? "--color=always" : "--color=never",
		       "--label", from, "--label", to, "--", one, two, (char *)NULL);
	_exit(127);
}

static int file_patch(const struct show *s, const struct change *x, const struct side *a,
		      const struct side *b)
{
	char *from = label("a", change_old_path(x), a->there);
	char *to = label("b", x->path, b->there);
	int status, r = 0;
	pid_t pid;

	if (from == NULL || to == NULL || fflush(s->out) == EOF) {
		r = -errno;
		goto out;
	}
	pid = fork();
	if (pid == 0)
		run_diff(s, from, to, a->fd, b->fd);
	if (pid == -1 || waitpid(pid, &status, 0) == -1)
		r = -errno;
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE)
		r = raise(SIGPIPE) == 0 ? -EPIPE : -errno; /* it was meant for us both */
	else if (!WIFEXITED(status) || WEXITSTATUS(status) > 2)
		r = WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -ENOENT : -EIO;
out:
	free(from);
	free(to);
	return r;
}

/* What a patch can hold. */
static bool is_patchable(const struct stat *st)
{
	return S_ISREG(st->st_mode) || S_ISLNK(st->st_mode);
}

/* One change of a file or a link, which stays one. */
static int plain_patch(const struct show *s, const struct change *x)
{
	struct side a = {.fd = -1}, b = {.fd = -1};
	int r = 0;

	if (x->kind != CHANGE_ADDED)
		r = side_open(&s->t->low, change_old_path(x), &a);
	if (r == 0 && x->kind != CHANGE_DELETED)
		r = side_open(&s->t->o, x->path, &b);
	if (r == 0)
		header(s->out, x);
	if (r == 0 && S_ISLNK((a.there ? &a : &b)->e.st.st_mode)) {
		if (!a.there || !b.there || strcmp(a.target, b.target) != 0)
			link_patch(s->out, x, &a, &b);
	} else if (r == 0 && (a.fd >= 0 || b.fd >= 0)) {
		r = file_patch(s, x, &a, &b);
	}
	side_close(&s->t->low, &a);
	side_close(&s->t->o, &b);
	return r;
}

/* What no patch can say is a line that patch(1) and git skip. */
static void remark(const struct show *s, const struct change *x)
{
	fputs("# ", s->out);
	show_line(s, x);
}

int patch_show(const struct show *s, const struct change *x)
{
	bool old = x->kind != CHANGE_ADDED && is_patchable(&x->old);
	bool new = x->kind != CHANGE_DELETED &&is_patchable(&x->new);
	struct change one = *x;
	int r = 0;

	if (x->kind == CHANGE_TYPE) {
		remark(s, x);
		one.kind = CHANGE_DELETED;
		if (old)
			r = plain_patch(s, &one);
		one.kind = CHANGE_ADDED;
		return r == 0 && new ? plain_patch(s, &one) : r;
	}
	if ((!old && !new) || (x->what & (COMPARE_OWNER | COMPARE_XATTR | COMPARE_TIME)))
		remark(s, x);
	return old || new ? plain_patch(s, x) : 0;
}
