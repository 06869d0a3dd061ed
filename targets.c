/* SPDX-License-Identifier: ISC */
/*
 * Finding and opening what a command works on. The layers are opened as for a
 * mount, but twice: all of them are the merged tree, and the lowers alone are a
 * read-only one, so that both sides of a comparison are looked up by the same code.
 */
#include "targets.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/capability.h>

#include "files.h"
#include "inodes.h"
#include "mounts.h"
#include "options.h"
#include "stack.h"
#include "whiteout.h"
#include "work.h"

static int fail(const char *what, const char *path, int error)
{
	warnc(error, "%s%s%s", what, *what != '\0' ? " " : "", options_show(path));
	return -1;
}

static char *join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) == -1 ? NULL : path;
}

/* Sessions. */

static bool has_state(const char *dir)
{
	char *file = join(dir, STATE_FILE);
	bool there = file != NULL && faccessat(AT_FDCWD, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

	free(file);
	return there;
}

char *targets_session(const char *name)
{
	char *home, *dir = NULL;

	if (!state_name_ok(name) || (home = state_home()) == NULL)
		return NULL;
	dir = join(home, name);
	free(home);
	if (dir != NULL && !has_state(dir)) {
		free(dir);
		dir = NULL;
	}
	return dir;
}

static int read_state(const char *dir, struct state *s)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	*s = (struct state){.status = -1};
	if (fd == -1)
		return fail("session", dir, errno);
	r = state_read(fd, s);
	close(fd);
	if (r == -EINVAL) {
		warnx("session %s: the file " STATE_FILE " is damaged", options_show(dir));
		return -1;
	}
	return r != 0 ? fail("session", dir, -r) : 0;
}

static bool known(char *const *list, unsigned n, const char *path)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(list[i], path) == 0)
			return true;
	return false;
}

/* A session's upper comes before what other -l options bring, its lowers go last. */
static int add_session(char ***lower, unsigned *n, const char *dir)
{
	struct state s;
	char *upper = join(dir, STATE_UPPER);
	int r = upper == NULL ? -1 : read_state(dir, &s);

	if (r != 0) {
		free(upper);
		return -1;
	}
	for (unsigned i = 0; i < s.nlower && r == 0; i++)
		if (!known(*lower, *n, s.lower[i]))
			r = state_add(lower, n, s.lower[i]);
	if (r == 0)
		r = state_add(lower, n, upper);
	if (r == 0) { /* before the first lower that a session brought */
		unsigned at = *n - 1;
		char *new = (*lower)[at];

		for (unsigned i = 0; i < *n - 1; i++)
			if (known(s.lower, s.nlower, (*lower)[i])) {
				at = i;
				break;
			}
		memmove(&(*lower)[at + 1], &(*lower)[at], (*n - 1 - at) * sizeof(**lower));
		(*lower)[at] = new;
	}
	free(upper);
	state_destroy(&s);
	return r == 0 ? 0 : fail("session", dir, ENOMEM);
}

int targets_add_lower(char ***lower, unsigned *n, const char *arg)
{
	char *dir = strchr(arg, '/') == NULL ? targets_session(arg) : NULL;
	int r;

	if (*arg == '\0') {
		warnx("option -l: the path is empty");
		return -1;
	}
	if (dir != NULL) {
		r = add_session(lower, n, dir);
		free(dir);
		return r;
	}
	return state_add(lower, n, arg) == 0 ? 0 : fail("lower directory", arg, ENOMEM);
}

/* Finding. */

int targets_option(struct target *t, int c, const char *value)
{
	char **where = c == 'u' ? &t->upper : &t->work;

	if (c == 'l')
		return targets_add_lower(&t->lower, &t->nlower, value);
	if (*value == '\0' || *where != NULL) {
		warnx("option -%c: %s", c, *value == '\0' ? "the path is empty" : "given twice");
		return -1;
	}
	*where = strdup(value);
	return *where == NULL ? fail("option", value, ENOMEM) : 0;
}

static int from_session(struct target *t, char *dir)
{
	struct state s;
	int r;

	t->session = dir;
	t->upper = join(dir, STATE_UPPER);
	t->work = join(dir, STATE_WORK);
	if (t->work != NULL && access(t->work, F_OK) == -1) {
		free(t->work);
		t->work = NULL;
	}
	r = read_state(dir, &s);
	if (r == 0) {
		t->lower = s.lower;
		t->nlower = s.nlower;
		s.lower = NULL;
		s.nlower = 0;
	}
	state_destroy(&s);
	return t->upper == NULL ? fail("session", dir, ENOMEM) : r;
}

/* The daemon's answer: upper, work directory and lowers, each ended by a null byte. */
static int from_mount(struct target *t, const char *path)
{
	ssize_t size = lgetxattr(path, TARGETS_LAYERS_XATTR, NULL, 0);
	char *value = size > 0 ? malloc((size_t)size + 1) : NULL, *p;
	int r = 0;

	if (value != NULL)
		size = lgetxattr(path, TARGETS_LAYERS_XATTR, value, (size_t)size);
	if (value == NULL || size <= 0) {
		free(value);
		return fail("mount", path, size == 0 ? EIO : errno);
	}
	value[size] = '\0';
	t->mountpoint = strdup(path);
	t->upper = strdup(value);
	p = value + strlen(value) + 1;
	if (p < value + size && *p != '\0')
		t->work = strdup(p);
	for (p += strlen(p) + 1; r == 0 && p < value + size; p += strlen(p) + 1)
		r = state_add(&t->lower, &t->nlower, p);
	free(value);
	if (r != 0 || t->upper == NULL || t->mountpoint == NULL)
		return fail("mount", path, ENOMEM);
	if (*t->upper == '\0') {
		warnx("mount %s: it is read-only and has no upper", options_show(path));
		return -1;
	}
	return 0;
}

static int from_options(struct target *t)
{
	if (t->upper == NULL || t->nlower == 0) {
		warnx("give a TARGET, or -l LOWER and -u UPPER");
		return -1;
	}
	t->label = strdup(options_show(t->upper));
	return t->label == NULL ? fail("", t->upper, ENOMEM) : 0;
}

int targets_find(struct target *t, const char *arg)
{
	char *dir;

	if (arg == NULL)
		return from_options(t);
	if (t->upper != NULL || t->nlower > 0 || t->work != NULL) {
		warnx("%s: a TARGET and the options -l, -u and -w exclude each other",
		      options_show(arg));
		return -1;
	}
	t->label = strdup(options_show(arg));
	if (t->label == NULL)
		return fail("", arg, ENOMEM);
	dir = strchr(arg, '/') == NULL ? targets_session(arg) : NULL;
	if (dir != NULL)
		return from_session(t, dir);
	if (mounts_is_ours(arg))
		return from_mount(t, arg);
	if (has_state(arg)) {
		dir = strdup(arg);
		return dir == NULL ? fail("", arg, ENOMEM) : from_session(t, dir);
	}
	if (strchr(arg, '/') == NULL && access(arg, F_OK) == -1)
		warnx("%s: no session of that name", t->label);
	else if (access(arg, F_OK) == -1)
		return fail("", arg, errno);
	else
		warnx("%s: neither a session nor a mount of overlayfs", t->label);
	return -1;
}

int targets_from_args(struct target *t, int argc, char *argv[], const char *usage)
{
	if (argc > 1 || (argc == 0 && t->upper == NULL && t->nlower == 0)) {
		warnx("usage: overlayfs %s", usage);
		return -1;
	}
	return targets_find(t, argc == 0 ? NULL : argv[0]);
}

/* Opening. */

static int check_overlap(const struct target *t)
{
	struct stat upper;

	if (fstat(t->o.layer[0].fd, &upper) == -1)
		return fail("upper", t->upper, errno);
	for (unsigned i = 1; i < t->o.nlayers; i++) {
		if (stack_inside(t->o.layer[i].fd, &upper)) {
			warnx("lower %s: is upper %s or lies in it",
			      options_show(t->o.layer[i].path), options_show(t->upper));
			return -1;
		}
	}
	return 0;
}

static int open_layers(struct target *t)
{
	t->o.layer = calloc(t->nlower + 1, sizeof(*t->o.layer));
	if (t->o.layer == NULL)
		return fail("", t->label, ENOMEM);
	for (unsigned i = 0; i <= t->nlower; i++) {
		const char *path = i == 0 ? t->upper : t->lower[i - 1];
		int r = stack_layer(&t->o.layer[i], path);

		if (r != 0)
			return fail(i == 0 ? "upper" : "lower", path, -r);
		t->o.nlayers++;
	}
	return check_overlap(t);
}

/* The work directory as it is, if it is there, for its index. */
static void look_at_work(struct target *t)
{
	struct at work = {t->o.layer[0].fd, WHITEOUT_WORK};

	if (t->work != NULL)
		work = (struct at){AT_FDCWD, t->work};
	t->o.workfd = at_open(work, O_RDONLY | O_DIRECTORY, 0);
	if (t->o.workfd < 0) {
		t->o.workfd = -1;
		return;
	}
	at_stat((struct at){t->o.workfd, ""}, &t->o.work_st, 0);
	t->o.indexfd = at_open((struct at){t->o.workfd, "index"}, O_RDONLY | O_DIRECTORY, 0);
	if (t->o.indexfd < 0)
		t->o.indexfd = -1;
}

static int open_work(struct target *t)
{
	bool work = false;
	long owner = 0;
	int r = faccessat(t->o.layer[0].fd, ".", W_OK | X_OK, AT_EACCESS) == -1
			? -errno
			: work_open(&t->o, t->work, &owner, &work);

	if (r == -EINVAL && t->work != NULL && t->o.format == WHITEOUT_WH) {
		/* It lies in another overlay, and has whiteouts of the form that can be there. */
		work_close(&t->o, t->work);
		t->o.format = WHITEOUT_XATTR;
		r = work_open(&t->o, t->work, &owner, &work);
	}
	if (r == -EINVAL)
		warnx("%s: lies in another overlay; give its work directory with -w", t->label);
	else if (r == -EBUSY && owner > 0)
		warnx("%s: in use by process %ld", t->label, owner);
	else if (r == -EBUSY)
		warnx("%s: in use by another process", t->label);
	else if (r == -EUCLEAN)
		warnx("%s: a volatile mount did not end cleanly; check the files and remove "
		      "%s/volatile",
		      t->label, t->work != NULL ? t->work : WHITEOUT_WORK);
	else if (r != 0)
		return fail("", t->label, -r);
	if (r != 0)
		return -1;
	work_claim(&t->o);
	t->o.xattrs = stack_takes_xattrs(t->o.workfd);
	return 0;
}

int targets_open(struct target *t, enum target_mode mode)
{
	int r;

	t->o = (struct ovl){.writable = true,
			    .redirect_dir = true,
			    .squash_uid = (uid_t)-1,
			    .squash_gid = (gid_t)-1,
			    .timeout = TIMEOUT_NEVER,
			    .format = t->session != NULL && t->work != NULL ? WHITEOUT_XATTR
									    : WHITEOUT_WH,
			    .privileged = stack_capable(CAP_CHOWN),
			    .workfd = -1,
			    .indexfd = -1};
	t->opened = true;
	if (open_layers(t) != 0)
		return -1;
	if (mode == TARGET_READ)
		look_at_work(t);
	else if (open_work(t) != 0)
		return -1;
	t->low = t->o;
	t->low.writable = t->low.locked = false;
	t->low.layer = t->o.layer + 1;
	t->low.nlayers = t->o.nlayers - 1;
	r = layers_init(&t->o);
	if (r == 0)
		r = layers_init(&t->low);
	if (r == 0)
		r = inodes_init(&t->o);
	if (r == 0)
		r = inodes_init(&t->low);
	if (r == 0)
		r = files_init(&t->o);
	return r != 0 ? fail("", t->label, -r) : 0;
}

void targets_shut(struct target *t)
{
	if (!t->opened)
		return;
	t->opened = false;
	if (t->o.locked) {
		work_close(&t->o, t->work);
	} else {
		if (t->o.indexfd >= 0)
			close(t->o.indexfd);
		if (t->o.workfd >= 0)
			close(t->o.workfd);
	}
	files_destroy(&t->o);
	inodes_destroy(&t->low);
	inodes_destroy(&t->o);
	layers_destroy(&t->low);
	layers_destroy(&t->o);
	for (unsigned i = 0; i < t->o.nlayers; i++) {
		close(t->o.layer[i].fd);
		free(t->o.layer[i].path);
	}
	free(t->o.layer);
}

void targets_close(struct target *t)
{
	targets_shut(t);
	for (unsigned i = 0; i < t->nlower; i++)
		free(t->lower[i]);
	free(t->lower);
	free(t->upper);
	free(t->work);
	free(t->session);
	free(t->mountpoint);
	free(t->label);
	*t = (struct target){0};
}

long targets_user(const struct target *t)
{
	char pid[32];
	ssize_t n;
	long owner = 0;
	int fd = open(t->upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd == -1)
		return 0;
	if (flock(fd, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK) {
		n = at_getxattr((struct at){fd, ""}, WORK_PROCESS_XATTR, pid, sizeof(pid) - 1);
		pid[n < 0 ? 0 : n] = '\0';
		owner = strtol(pid, NULL, 10);
		if (owner <= 0)
			owner = -1;
	}
	close(fd);
	return owner;
}

/* For the daemon. */

struct value {
	char *p;
	size_t size;
	size_t len;
};

static void append(struct value *v, const char *text)
{
	size_t n = strlen(text) + 1;

	if (v->len + n <= v->size)
		memcpy(v->p + v->len, text, n);
	v->len += n;
}

int targets_layers_value(const struct ovl *o, char *value, size_t size)
{
	char proc[64], work[PATH_MAX];
	struct value v = {value, size, 0};
	unsigned i = 0;

	append(&v, o->writable ? o->layer[i++].path : "");
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", o->workfd);
	append(&v, o->writable && at_readlink((struct at){AT_FDCWD, proc}, work, sizeof(work)) == 0
			   ? work
			   : "");
	for (; i < o->nlayers; i++)
		append(&v, o->layer[i].path);
	return size > 0 && v.len > size ? -ERANGE : (int)v.len;
}
