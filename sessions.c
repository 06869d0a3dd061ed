/* SPDX-License-Identifier: ISC */
/*
 * Sessions on disk: making, listing and removing them.
 */
#include "sessions.h"

#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "at.h"
#include "changes.h"
#include "options.h"
#include "targets.h"

/* Directories. */

static int make_parents(char *path)
{
	for (char *p = path + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(path, 0700) == -1 && errno != EEXIST)
			return -errno;
		*p = c;
		if (c == '\0')
			return 0;
	}
}

char *sessions_home(void)
{
	char *home = state_home();
	int r;

	if (home == NULL) {
		warnx("no directory for sessions: set XDG_STATE_HOME or HOME");
		return NULL;
	}
	r = make_parents(home);
	if (r != 0) {
		warnc(-r, "directory for sessions %s", options_show(home));
		free(home);
		return NULL;
	}
	return home;
}

/* The root of the view is the upper: it looks like the lower's. */
static int make_upper(int dirfd, const char *lower)
{
	struct at upper = {dirfd, STATE_UPPER};
	struct stat st;

	if (stat(lower, &st) == -1 || mkdirat(dirfd, STATE_UPPER, 0755) == -1)
		return -errno;
	if (geteuid() == 0)
		at_chown(upper, st.st_uid, st.st_gid);
	at_chmod(upper, (st.st_mode & 07777) | S_IRWXU);
	at_utimens(upper, (struct timespec[]){st.st_atim, st.st_mtim});
	return 0;
}

/* The state goes last: what is half removed can be removed again. */
static int remove_all(int fd)
{
	int r = at_remove_tree((struct at){fd, STATE_UPPER});

	if (r == 0)
		r = at_remove_tree((struct at){fd, STATE_WORK});
	if (r == 0)
		r = at_remove_tree((struct at){fd, STATE_FILE});
	return r;
}

/*
 * A directory without the file is what a run left that was killed before it began;
 * it is used again. The lock tells that from one that is just being made.
 */
static int take_dir(const struct session *s)
{
	if ((flock(s->fd, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK) ||
	    faccessat(s->fd, STATE_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return remove_all(s->fd);
}

static int make_session(struct session *s, const char *home, const char *name)
{
	int r = 0;

	if (asprintf(&s->dir, "%s/%s", home, name) == -1)
		return -ENOMEM;
	if (mkdir(s->dir, 0700) == -1 && errno != EEXIST)
		r = -errno;
	s->fd = r == 0 ? open(s->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (r == 0 && s->fd == -1)
		r = errno == ENOTDIR || errno == ELOOP ? -EEXIST : -errno;
	if (r == 0)
		r = take_dir(s);
	if (r != 0) {
		if (s->fd != -1)
			close(s->fd);
		s->fd = -1;
		free(s->dir);
		s->dir = NULL;
		return r;
	}
	s->made = true;
	s->name = strdup(name);
	return s->name == NULL ? -ENOMEM : 0;
}

/* "make-1": the command's name, and the first number that is free. */
static int make_named(struct session *s, const char *home, const char *command)
{
	const char *slash = strrchr(command, '/');
	char base[64], name[80];
	int r = -EEXIST;

	strlcpy(base, slash != NULL && slash[1] != '\0' ? slash + 1 : command, sizeof(base));
	for (char *p = base; *p != '\0'; p++)
		if (!isascii((unsigned char)*p) ||
		    (!isalnum((unsigned char)*p) && *p != '.' && *p != '_' && *p != '+'))
			*p = '-';
	for (unsigned i = 1; r == -EEXIST; i++) {
		const char *start = base + strspn(base, "-.");

		snprintf(name, sizeof(name), "%s-%u", *start == '\0' ? "run" : start, i);
		r = make_session(s, home, name);
	}
	return r;
}

/* Takes dir. */
static int open_old(struct session *s, const char *name, char *dir)
{
	int r;

	*s = (struct session){.fd = -1, .dir = dir, .state = {.status = -1}};
	s->name = strdup(name);
	s->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = s->name == NULL ? -ENOMEM : s->fd == -1 ? -errno : state_read(s->fd, &s->state);
	if (r == -EINVAL)
		warnx("session %s: the file " STATE_FILE " is damaged", options_show(name));
	else if (r != 0)
		warnc(-r, "session %s", options_show(name));
	return r == 0 ? 0 : -1;
}

int sessions_open_dir(struct session *s, const char *dir)
{
	char *full = realpath(dir, NULL);

	*s = (struct session){.fd = -1, .state = {.status = -1}};
	if (full == NULL) {
		warn("session %s", options_show(dir));
		return -1;
	}
	return open_old(s, strrchr(full, '/') + 1, full);
}

static int fill(struct session *s, char *const lower[], unsigned nlower)
{
	char *cwd = getcwd(NULL, 0);
	int r = make_upper(s->fd, lower[nlower - 1]);

	for (unsigned i = 0; r == 0 && i < nlower; i++)
		r = state_add(&s->state.lower, &s->state.nlower, lower[i]);
	s->state.created = (long long)time(NULL);
	s->state.cwd = cwd;
	return r;
}

int sessions_open(struct session *s, const char *name, char *const lower[], unsigned nlower,
		  char *const command[])
{
	char *home, *dir = name == NULL ? NULL : targets_session(name);
	int r;

	*s = (struct session){.fd = -1, .state = {.status = -1}};
	if (dir != NULL && lower == NULL)
		return open_old(s, name, dir);
	if (dir != NULL || lower == NULL) {
		warnx(dir != NULL ? "session %s: exists, and has its lowers: -l is too much"
				  : "%s: no session of that name",
		      options_show(name));
		free(dir);
		return -1;
	}
	home = sessions_home();
	if (home == NULL)
		return -1;
	r = name != NULL ? make_session(s, home, name) : make_named(s, home, command[0]);
	if (r == 0)
		r = fill(s, lower, nlower);
	if (r != 0)
		warnc(-r, "session %s/%s", options_show(home), name == NULL ? "" : name);
	free(home);
	return r == 0 ? 0 : -1;
}

void sessions_save(const struct session *s)
{
	int r = state_write(s->fd, &s->state);

	if (r != 0)
		warnc(-r, "session %s", options_show(s->name));
}

int sessions_remove(const struct session *s)
{
	int r = remove_all(s->fd);

	if (r == 0)
		r = at_remove_tree((struct at){AT_FDCWD, s->dir});
	if (r != 0)
		warnc(-r, "session %s: cannot remove it", options_show(s->name));
	return r == 0 ? 0 : -1;
}

void sessions_close(struct session *s)
{
	free(s->name);
	free(s->dir);
	if (s->fd != -1)
		close(s->fd);
	state_destroy(&s->state);
	*s = (struct session){.fd = -1};
}

/* list */

static unsigned long long tree_size(int fd);

static int add_size(void *arg, const char *name, unsigned char type, ino_t ino)
{
	struct {
		int fd;
		unsigned long long size;
	} *x = arg;
	struct at a = {x->fd, name};
	struct stat st;
	int fd;

	(void)type;
	(void)ino;
	if (at_stat(a, &st, 0) != 0)
		return 0;
	x->size += (unsigned long long)st.st_blocks * 512 / (S_ISDIR(st.st_mode) ? 1 : st.st_nlink);
	if (S_ISDIR(st.st_mode) && (fd = at_open_quiet(a, O_RDONLY | O_DIRECTORY)) >= 0) {
		x->size += tree_size(fd);
		close(fd);
	}
	return 0;
}

static unsigned long long tree_size(int fd)
{
	struct {
		int fd;
		unsigned long long size;
	} x = {fd, 0};

	at_list(fd, add_size, &x);
	return x.size;
}

static void show_size(char buf[32], unsigned long long size)
{
	static const char units[] = "BKMGTPE";
	double n = (double)size;
	int i = 0;

	for (; n >= 1000 && units[i + 1] != '\0'; i++)
		n /= 1024;
	snprintf(buf, 32, n < 10 && i > 0 ? "%.1f%c" : "%.0f%c", n, units[i]);
}

static void show_age(char buf[32], long long seconds)
{
	static const struct {
		long long n;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	unsigned i = 0;

	while (i < 3 && seconds < units[i].n)
		i++;
	snprintf(buf, 32, "%lld%c", seconds < 0 ? 0 : seconds / units[i].n, units[i].unit);
}

/* How many changes, "?" when that cannot be told. */
static void show_changes_of(char buf[32], struct target *t)
{
	struct changes c = {0};

	if (targets_open(t, TARGET_READ) == 0 && changes_collect(t, 0, &c) == 0)
		snprintf(buf, 32, "%zu", c.n);
	else
		strlcpy(buf, "?", 32);
	changes_destroy(&c);
}

static void print_words(char *const words[], unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		printf("%s%s", i == 0 ? "" : " ", options_show(words[i]));
	putchar('\n');
}

static void list_one(const char *name)
{
	char size[32], age[32], changes[32], status[32];
	struct target t = {0};
	struct session s;
	char *dir = targets_session(name);
	int fd;

	s = (struct session){.fd = -1, .state = {.status = -1}};
	if (dir == NULL || open_old(&s, name, dir) != 0 || targets_find(&t, name) != 0)
		goto out;
	fd = openat(s.fd, STATE_UPPER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	show_size(size, fd == -1 ? 0 : tree_size(fd));
	if (fd != -1)
		close(fd);
	show_age(age, (long long)time(NULL) - s.state.created);
	if (targets_user(&t) != 0)
		strlcpy(status, "running", sizeof(status));
	else if (s.state.status < 0)
		strlcpy(status, "-", sizeof(status));
	else
		snprintf(status, sizeof(status), "%d", s.state.status);
	show_changes_of(changes, &t);
	printf("%-20s %6s %5s %8s %8s  ", options_show(name), size, age, changes, status);
	print_words(s.state.command, s.state.ncommand);
out:
	targets_close(&t);
	sessions_close(&s);
}

static int wanted(const struct dirent *d)
{
	return state_name_ok(d->d_name);
}

int sessions_list(int argc, char *argv[])
{
	struct dirent **names;
	char *home = state_home();
	int n;

	if (argc != 1) {
		warnx("list: too many arguments: %s", options_show(argv[1]));
		return 1;
	}
	n = home == NULL ? 0 : scandir(home, &names, wanted, alphasort);
	if (n == -1 && errno != ENOENT)
		err(1, "%s", options_show(home));
	free(home);
	if (n <= 0)
		return 0;
	printf("%-20s %6s %5s %8s %8s  %s\n", "NAME", "SIZE", "AGE", "CHANGES", "STATUS",
	       "COMMAND");
	for (int i = 0; i < n; i++) {
		list_one(names[i]->d_name);
		free(names[i]);
	}
	free(names);
	if (fflush(stdout) == EOF)
		err(1, "standard output");
	return 0;
}

/* discard */

static int discard_child(void *arg, const char *name, unsigned char type, ino_t ino)
{
	(void)type;
	(void)ino;
	return at_remove_tree((struct at){*(int *)arg, name});
}

/* The caller has the lock. */
static int discard(const struct target *t, int upper)
{
	int fd, r;

	if (t->session == NULL)
		return at_list(upper, discard_child, &upper);
	fd = open(t->session, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return -errno;
	r = remove_all(fd);
	close(fd);
	return r == 0 ? at_remove_tree((struct at){AT_FDCWD, t->session}) : r;
}

static int discard_target(struct target *t)
{
	int fd = open(t->upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = fd == -1 ? -errno : 0;
	long user;

	if (r == -ENOENT && t->session != NULL) /* half of it is gone already */
		r = discard(t, -1);
	else if (r == 0 && flock(fd, LOCK_EX | LOCK_NB) == -1) {
		user = targets_user(t);
		warnx(user > 0 ? "%s: in use by process %ld" : "%s: in use", t->label, user);
		close(fd);
		return 1;
	} else if (r == 0) {
		r = discard(t, fd);
	}
	if (fd != -1)
		close(fd);
	if (r != 0)
		warnc(-r, "%s", t->label);
	return r == 0 ? 0 : 1;
}

int sessions_discard(int argc, char *argv[])
{
	struct target t = {0};
	int c, status = 1;

	while ((c = getopt(argc, argv, "+" TARGETS_OPTIONS)) != -1) {
		if (c == '?' || targets_option(&t, c, optarg) != 0) {
			targets_close(&t);
			return 1;
		}
	}
	if (targets_from_args(&t, argc - optind, argv + optind,
			      "discard TARGET | -l LOWER... -u UPPER") == 0)
		status = discard_target(&t);
	targets_close(&t);
	return status;
}
