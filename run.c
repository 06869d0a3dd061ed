/* SPDX-License-Identifier: ISC */
/*
 * The commands "run" and "shell": find the session, mount its view, run the
 * command in a sandbox, and decide what becomes of the changes. Each of these
 * has a module of its own; here is their order, and the options.
 */
#include "run.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ending.h"
#include "filter.h"
#include "job.h"
#include "options.h"
#include "sandbox.h"
#include "sessions.h"
#include "targets.h"

#define USAGE                                                                                      \
	"usage: overlayfs run [-l LOWER]... [-u UPPER | -n NAME] [-o OPTION,...]\n"                \
	"                     [--ask | --commit | --discard | --keep]\n"                           \
	"                     [--sandbox auto|bwrap|proot|none] [--root | --no-root]\n"            \
	"                     [--hide GLOB]... [--rw PATH]... [--no-net] [-C DIR] [-q]\n"          \
	"                     [--] COMMAND [ARGUMENT...]\n"

/* As env(1) and its like have it. */
enum { FAILED = 125 };

struct run {
	char **lower; /* absolute, when prepared */
	unsigned nlower;
	char *upper; /* -u: no session is kept */
	const char *name;
	char **options;
	unsigned noptions;
	enum ending ending;
	struct sandbox sandbox;
	struct filter hide;
	const char *dir; /* -C */
	char **pass;
	unsigned npass;
	enum { ROOT_AUTO, ROOT_YES, ROOT_NO } root;
	bool quiet;
	bool shell; /* the session's command is another one */

	struct session session;
	struct view view;
	char *home;
	char *work; /* NULL: inside the upper */
	char *cwd;
	char *mountpoint;
};

enum { ASK = 0x100, COMMIT, DISCARD, KEEP, SANDBOX, HIDE, RW, NO_NET, ROOT, NO_ROOT };

static const struct option options[] = {
	{"ask", no_argument, NULL, ASK},
	{"commit", no_argument, NULL, COMMIT},
	{"discard", no_argument, NULL, DISCARD},
	{"keep", no_argument, NULL, KEEP},
	{"sandbox", required_argument, NULL, SANDBOX},
	{"hide", required_argument, NULL, HIDE},
	{"rw", required_argument, NULL, RW},
	{"no-net", no_argument, NULL, NO_NET},
	{"root", no_argument, NULL, ROOT},
	{"no-root", no_argument, NULL, NO_ROOT},
	{"help", no_argument, NULL, 'h'},
	{0},
};

/* The command line. */

static int take_sandbox(struct run *x, const char *value)
{
	static const char *const kinds[] = {"auto", "bwrap", "proot", "none"};

	for (unsigned i = 0; i < 4; i++) {
		if (strcmp(value, kinds[i]) == 0) {
			x->sandbox.kind = (enum sandbox_kind)i;
			return 0;
		}
	}
	warnx("--sandbox %s: must be auto, bwrap, proot or none", options_show(value));
	return -1;
}

static int take_rw(struct run *x, const char *value)
{
	char *path = realpath(value, NULL);
	int r;

	if (path == NULL) {
		warn("--rw %s", options_show(value));
		return -1;
	}
	r = state_add(&x->pass, &x->npass, path);
	free(path);
	return r;
}

/* "~" has been the shell's to expand; a pattern is taken as it is. */
static int take_hide(struct run *x, const char *value)
{
	int r = filter_exclude(&x->hide, value);

	if (r != 0)
		warnx("--hide %s: the pattern matches nothing", options_show(value));
	return r;
}

static int take_ending(struct run *x, int c)
{
	static const enum ending endings[] = {ENDING_ASK, ENDING_COMMIT, ENDING_DISCARD,
					      ENDING_KEEP};
	enum ending e = endings[c - ASK];

	if (x->ending != ENDING_DEFAULT && x->ending != e) {
		warnx("only one of --ask, --commit, --discard and --keep can be");
		return -1;
	}
	x->ending = e;
	return 0;
}

static int take_once(const char **where, int c, const char *value)
{
	if (*where != NULL || *value == '\0') {
		warnx("option -%c: %s", c, *value == '\0' ? "it is empty" : "given twice");
		return -1;
	}
	*where = value;
	return 0;
}

static int take(struct run *x, int c)
{
	const char *upper = NULL;

	switch (c) {
	case 'l':
		return targets_add_lower(&x->lower, &x->nlower, optarg);
	case 'u':
		if (x->upper != NULL || take_once(&upper, c, optarg) != 0) {
			if (x->upper != NULL)
				warnx("option -u: given twice");
			return -1;
		}
		x->upper = realpath(upper, NULL);
		if (x->upper == NULL)
			warn("upperdir %s", options_show(upper));
		return x->upper == NULL ? -1 : 0;
	case 'n':
		if (!state_name_ok(optarg)) {
			warnx("session %s: not a name for a session", options_show(optarg));
			return -1;
		}
		return take_once(&x->name, c, optarg);
	case 'o':
		return state_add(&x->options, &x->noptions, optarg);
	case 'C':
		return take_once(&x->dir, c, optarg);
	case 'q':
		x->quiet = true;
		return 0;
	case SANDBOX:
		return take_sandbox(x, optarg);
	case HIDE:
		return take_hide(x, optarg);
	case RW:
		return take_rw(x, optarg);
	case NO_NET:
		x->sandbox.no_net = true;
		return 0;
	case ROOT:
	case NO_ROOT:
		x->root = c == ROOT ? ROOT_YES : ROOT_NO;
		return 0;
	case 'h':
		fputs(USAGE, stdout);
		exit(0);
	default:
		return c >= ASK && c <= KEEP ? take_ending(x, c) : -1;
	}
}

static int parse(struct run *x, int argc, char *argv[])
{
	int c;

	while ((c = getopt_long(argc, argv, "+l:u:n:o:C:qh", options, NULL)) != -1)
		if (take(x, c) != 0)
			return -1;
	if (optind == argc) {
		warnx("run: the command is missing; try overlayfs run --help");
		return -1;
	}
	if (x->upper != NULL && x->name != NULL) {
		warnx("-u and -n exclude each other: a session has its own upper");
		return -1;
	}
	return 0;
}

/* Preparing. */

/* Lowers that are known by a full path, wherever they are looked at from. */
static int absolute(char **list, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char *path = realpath(list[i], NULL);

		if (path == NULL) {
			warn("lowerdir %s", options_show(list[i]));
			return -1;
		}
		free(list[i]);
		list[i] = path;
	}
	return 0;
}

static bool has(const char *dir, const char *name)
{
	char path[PATH_MAX];

	return (size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) < sizeof(path) &&
	       faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A directory of sources may have a bin of its own, but no shell in it. */
static bool is_root_fs(const struct run *x)
{
	for (unsigned i = 0; i < x->nlower; i++)
		if (has(x->lower[i], "usr") || has(x->lower[i], "bin/sh"))
			return true;
	return false;
}

static bool is_machine(const struct run *x)
{
	return strcmp(x->lower[x->nlower - 1], "/") == 0;
}

/* Where in the view the command starts. */
static int find_cwd(struct run *x)
{
	const char *low = x->lower[x->nlower - 1];
	size_t len = strlen(low);
	char *here = getcwd(NULL, 0);
	int n = 0;

	if (x->dir != NULL && x->dir[0] == '/')
		n = asprintf(&x->cwd, "%s", x->dir);
	else if (is_machine(x) && here == NULL)
		warn("current directory");
	else if (is_machine(x))
		n = asprintf(&x->cwd, "%s%s%s", here, x->dir == NULL ? "" : "/",
			     x->dir == NULL ? "" : x->dir);
	else if (x->sandbox.kind == SANDBOX_NONE && x->dir == NULL && here != NULL &&
		 strncmp(here, low, len) == 0 && (here[len] == '/' || here[len] == '\0'))
		n = asprintf(&x->cwd, "%s/", here + len);
	else
		n = asprintf(&x->cwd, "/%s", x->dir == NULL ? "" : x->dir);
	free(here);
	if (n == -1)
		warn(NULL);
	return x->cwd == NULL ? -1 : 0;
}

static int check_sandbox(struct run *x)
{
	if (x->sandbox.kind == SANDBOX_AUTO && !is_root_fs(x))
		x->sandbox.kind = SANDBOX_NONE;
	if (x->sandbox.kind == SANDBOX_NONE && (x->npass > 0 || x->sandbox.no_net)) {
		warnx("%s needs a sandbox", x->npass > 0 ? "--rw" : "--no-net");
		return -1;
	}
	if (x->sandbox.kind == SANDBOX_NONE && x->root == ROOT_YES) {
		warnx("--root needs a sandbox");
		return -1;
	}
	if (x->sandbox.kind == SANDBOX_PROOT && x->sandbox.no_net) {
		warnx("--no-net needs the sandbox bwrap");
		return -1;
	}
	/* Somebody else's root file system is no place for our own user id. */
	x->sandbox.root = x->root == ROOT_YES || (x->root == ROOT_AUTO && !is_machine(x));
	x->sandbox.pass = x->pass;
	x->sandbox.npass = x->npass;
	return 0;
}

/* An upper in another overlay cannot have names that begin with .wh. */
static int find_work(struct run *x, const char *upper)
{
	char *probe;
	int r;

	if (asprintf(&probe, "%s/.wh..wh.probe", upper) == -1)
		return -1;
	r = mkdir(probe, 0700) == -1 ? -errno : 0;
	if (r == 0)
		rmdir(probe);
	free(probe);
	if (r != -EINVAL || x->session.dir == NULL || x->work != NULL)
		return 0;
	if (asprintf(&x->work, "%s/" STATE_WORK, x->session.dir) == -1)
		return -1;
	return mkdir(x->work, 0700) == -1 && errno != EEXIST ? -1 : 0;
}

static int in_use(const struct run *x)
{
	struct target t = {.upper = x->upper};
	long user = targets_user(&t);

	if (user == 0)
		return 0;
	if (x->session.name != NULL && user > 0)
		warnx("session %s: in use by process %ld", x->session.name, user);
	else
		warnx("%s: in use",
		      x->session.name != NULL ? x->session.name : options_show(x->upper));
	return -1;
}

static int open_session(struct run *x, char *const command[])
{
	bool old = x->name != NULL && x->nlower == 0;
	char *dir = old ? targets_session(x->name) : NULL;
	int r;

	old = dir != NULL;
	free(dir);
	if (!old && x->nlower == 0 && state_add(&x->lower, &x->nlower, "/") != 0)
		return -1;
	if (!old && absolute(x->lower, x->nlower) != 0)
		return -1;
	if (x->upper != NULL)
		return in_use(x);
	r = sessions_open(&x->session, x->name, old ? NULL : x->lower, x->nlower, command);
	if (r != 0)
		return -1;
	if (old)
		for (unsigned i = 0; i < x->session.state.nlower && r == 0; i++)
			r = state_add(&x->lower, &x->nlower, x->session.state.lower[i]);
	if (r != 0 || asprintf(&x->upper, "%s/" STATE_UPPER, x->session.dir) == -1)
		return -1;
	return in_use(x);
}

/* What the session says of this run. */
static void note_command(struct run *x, char *const command[])
{
	struct state *s = &x->session.state;

	for (unsigned i = 0; i < s->ncommand; i++)
		free(s->command[i]);
	s->ncommand = 0;
	s->status = -1;
	for (unsigned i = 0; command[i] != NULL; i++)
		state_add(&s->command, &s->ncommand, command[i]);
	if (x->session.fd != -1)
		sessions_save(&x->session);
}

/* The mount. */

/* "\", ":" and "," have a meaning in a list of layers. */
static void add_escaped(FILE *f, const char *path)
{
	for (; *path != '\0'; path++) {
		if (strchr("\\:,", *path) != NULL)
			putc('\\', f);
		putc(*path, f);
	}
}

static char *layers_option(const struct run *x)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (f == NULL)
		return NULL;
	for (unsigned i = 0; i < x->nlower; i++) {
		fputs(i == 0 ? "lowerdir=" : ":", f);
		add_escaped(f, x->lower[i]);
	}
	if (x->work != NULL) {
		fputs(",whiteout=xattr,workdir=", f);
		add_escaped(f, x->work);
	}
	/* Else nobody could write to what has no owner here, or another one. */
	if ((x->sandbox.root && geteuid() != 0) || view_has_unknown_owners(&x->view))
		fprintf(f, ",squash_to_uid=%u,squash_to_gid=%u", geteuid(), getegid());
	return fclose(f) == EOF ? NULL : text;
}

static int mount_view(struct run *x)
{
	char **argv = calloc(2 * (size_t)x->noptions + 10, sizeof(*argv));
	char *layers;
	int argc = 0, r;

	view_choose(&x->view);
	layers = layers_option(x);
	if (argv == NULL || layers == NULL ||
	    asprintf(&x->mountpoint, "%s/.mount-XXXXXX", x->home) == -1) {
		free(argv);
		free(layers);
		return -1;
	}
	if (mkdtemp(x->mountpoint) == NULL) {
		warn("mount point %s", options_show(x->mountpoint));
		free(argv);
		free(layers);
		return -1;
	}
	argv[argc++] = (char *)(uintptr_t) "overlayfs";
	argv[argc++] = (char *)(uintptr_t) "-o";
	argv[argc++] = (char *)(uintptr_t) "timeout=1";
	argv[argc++] = (char *)(uintptr_t) "-o";
	argv[argc++] = layers;
	for (unsigned i = 0; i < x->noptions; i++) {
		argv[argc++] = (char *)(uintptr_t) "-o";
		argv[argc++] = x->options[i];
	}
	argv[argc++] = (char *)(uintptr_t) "-u";
	argv[argc++] = x->upper;
	argv[argc++] = x->mountpoint;
	r = view_start(&x->view, argc, argv);
	free(argv);
	free(layers);
	return r;
}

/* The sandbox, and what to do when the machine does not allow it. */
static int make_sandbox(struct run *x)
{
	struct sandbox *s = &x->sandbox;
	bool any = s->kind == SANDBOX_AUTO;
	const char *why = NULL;
	int r;

	s->view = &x->view;
	s->cwd = x->cwd;
	if (any)
		s->kind = SANDBOX_BWRAP;
	r = sandbox_start(s, &why);
	if (r == -ENOSYS && any && !s->no_net && sandbox_has_proot()) {
		s->kind = SANDBOX_PROOT;
		r = sandbox_start(s, &why);
	}
	if (r == -ENOSYS)
		warnx("bwrap: %s%s", why,
		      any && !s->no_net ? "; without namespaces, apt-get install proot" : "");
	if (r == 0 && s->kind == SANDBOX_BWRAP)
		view_detach(&x->view);
	return r == 0 ? 0 : -1;
}

/* Run the command; the wait status in *wait, or -1 with the exit status in it. */
static int run_in_view(struct run *x, char *argv[], int *wait)
{
	bool whole = true;
	pid_t pid;
	int r = -1;

	*wait = FAILED;
	job_begin();
	if (mount_view(x) == 0 && make_sandbox(x) == 0 && !job_interrupted() &&
	    (pid = sandbox_spawn(&x->sandbox, argv, wait)) != -1) {
		r = 0;
		*wait = job_wait(pid, x->view.pid);
		whole = *wait != -1;
		if (!whole) {
			sandbox_end(&x->sandbox);
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
	}
	sandbox_end(&x->sandbox);
	if (x->sandbox.signal != 0 && r == 0 && WIFEXITED(*wait) && WEXITSTATUS(*wait) == 255)
		*wait = x->sandbox.signal; /* proot's way to say so */
	/* A command that cannot read its own pages any more dies before the daemon is seen dead. */
	whole = view_end(&x->view) && whole;
	if (x->mountpoint != NULL)
		rmdir(x->mountpoint);
	if (r == 0 && !whole) {
		warnx("the file system has ended before the command");
		*wait = FAILED << 8;
	}
	job_take_terminal(r == 0 && isatty(STDIN_FILENO));
	return r;
}

static void destroy(struct run *x)
{
	sessions_close(&x->session);
	filter_destroy(&x->hide);
	for (unsigned i = 0; i < x->nlower; i++)
		free(x->lower[i]);
	for (unsigned i = 0; i < x->noptions; i++)
		free(x->options[i]);
	for (unsigned i = 0; i < x->npass; i++)
		free(x->pass[i]);
	free(x->lower);
	free(x->options);
	free(x->pass);
	free(x->upper);
	free(x->home);
	free(x->work);
	free(x->cwd);
	free(x->mountpoint);
}

/* The session is open: the rest. Returns the exit status. */
static int run(struct run *x, char *argv[])
{
	int wait = 0, status = FAILED, r = check_sandbox(x);

	if (r == 0)
		r = find_cwd(x);
	if (r == 0 && (x->home = sessions_home()) == NULL)
		r = -1;
	if (r == 0 && (r = find_work(x, x->upper)) != 0)
		warn("session %s", x->session.name);
	if (r == 0) {
		x->view.private_dir = x->home;
		x->view.hide = filter_is_empty(&x->hide) ? NULL : &x->hide;
		if (!x->shell)
			note_command(x, argv);
		r = run_in_view(x, argv, &wait);
		status = wait;
	}
	if (r != 0) {
		if (x->session.made)
			sessions_remove(&x->session);
		job_end();
		return status;
	}
	x->session.state.status = WIFSIGNALED(wait) ? 128 + WTERMSIG(wait) : WEXITSTATUS(wait);
	if (x->session.fd != -1 && !x->shell)
		sessions_save(&x->session);
	job_end();
	r = ending_settle(&(struct ended){.ending = x->ending,
					  .session = x->session.fd != -1 ? &x->session : NULL,
					  .lower = x->lower,
					  .nlower = x->nlower,
					  .upper = x->upper,
					  .work = x->work,
					  .named = x->name != NULL || x->shell,
					  .ok = wait == 0,
					  .quiet = x->quiet});
	return r != 0 ? FAILED : job_status(wait);
}

int run_command(int argc, char *argv[])
{
	struct run x = {.session = {.fd = -1, .state = {.status = -1}},
			.view = {.life = -1},
			.sandbox = {.life = -1}};
	int status = FAILED;

	argv[0] = (char *)(uintptr_t) "overlayfs run";
	if (parse(&x, argc, argv) == 0) {
		if (open_session(&x, argv + optind) == 0)
			status = run(&x, argv + optind);
		else if (x.session.made)
			sessions_remove(&x.session);
	}
	destroy(&x);
	return status;
}

/* The layers of a target that was found. */
static int adopt(struct run *x, struct target *t)
{
	x->shell = true;
	x->upper = t->upper;
	x->work = t->work;
	x->lower = t->lower;
	x->nlower = t->nlower;
	t->upper = t->work = NULL;
	t->lower = NULL;
	t->nlower = 0;
	if (absolute(x->lower, x->nlower) != 0 || absolute(&x->upper, 1) != 0 ||
	    (x->work != NULL && absolute(&x->work, 1) != 0))
		return -1;
	if (t->session != NULL && sessions_open_dir(&x->session, t->session) != 0)
		return -1;
	return in_use(x);
}

int run_shell(int argc, char *argv[])
{
	struct run x = {.session = {.fd = -1, .state = {.status = -1}},
			.view = {.life = -1},
			.sandbox = {.life = -1}};
	const char *shell = getenv("SHELL");
	char *command[] = {NULL, NULL};
	struct target t = {0};
	int c, status = FAILED;

	argv[0] = (char *)(uintptr_t) "overlayfs shell";
	x.ending = ENDING_KEEP;
	while ((c = getopt(argc, argv, "+q" TARGETS_OPTIONS)) != -1)
		if (c == 'q')
			x.quiet = true;
		else if (c == '?' || targets_option(&t, c, optarg) != 0)
			goto out;
	if (targets_from_args(&t, argc - optind, argv + optind,
			      "shell [-q] TARGET | -l LOWER... -u UPPER") != 0)
		goto out;
	if (t.mountpoint != NULL) {
		warnx("%s: mounted, and so in use: go there", t.label);
		goto out;
	}
	if (adopt(&x, &t) != 0)
		goto out;
	command[0] = (char *)(uintptr_t)(shell != NULL && *shell == '/' ? shell : "/bin/sh");
	status = run(&x, command);
out:
	targets_close(&t);
	destroy(&x);
	return status;
}
