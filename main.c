/* SPDX-License-Identifier: ISC */
/*
 * The command line: a table of commands. What is no command is a mount.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "apply.h"
#include "check.h"
#include "commit.h"
#include "diff.h"
#include "export.h"
#include "mounts.h"
#include "run.h"
#include "session.h"
#include "vacuum.h"
#include "sessions.h"

#define VERSION "0.1.0"

static void usage(FILE *f)
{
	fputs("usage: overlayfs [-df] [-o OPTION,...] [-u UPPER | --tmp] LOWER[:LOWER...] MOUNTPOINT\n"
	      "       overlayfs [-df] -o lowerdir=LOWER[:LOWER...][,upperdir=UPPER[,workdir=WORK]]"
	      " MOUNTPOINT\n"
	      "       overlayfs umount MOUNTPOINT\n"
	      "       overlayfs run [OPTION...] COMMAND [ARGUMENT...]\n"
	      "       overlayfs shell|diff|commit|discard|export|apply|vacuum|check TARGET\n"
	      "       overlayfs list\n"
	      "\n"
	      "Shows LOWER at MOUNTPOINT. Changes go to UPPER; without it nothing can be changed.\n"
	      "\n"
	      "  -u UPPER  the directory that takes the changes\n"
	      "  --tmp     a throw-away UPPER, removed at unmount\n"
	      "  -o ...    options; overlayfs(1) describes them\n"
	      "  -f        stay in the foreground\n"
	      "  -d        show every request (and stay in the foreground)\n"
	      "  -h, -V    this help; the version\n",
	      f);
}

static int help(int argc, char *argv[])
{
	(void)argc;
	(void)argv;
	usage(stdout);
	return 0;
}

static int version(int argc, char *argv[])
{
	(void)argc;
	(void)argv;
	puts("overlayfs " VERSION);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(int argc, char *argv[]);
} commands[] = {
	// clang-format off
	{"-h", help},
	{"--help", help},
	{"-V", version},
	{"--version", version},
	{"umount", mounts_umount},
	{"diff", diff_command},
	{"commit", commit_command},
	{"export", export_command},
	{"apply", apply_command},
	{"vacuum", vacuum_command},
	{"check", check_command},
	{"run", run_command},
	{"shell", run_shell},
	{"list", sessions_list},
	{"discard", sessions_discard},
	// clang-format on
};

/*
 * Files that are opened must not become the standard streams, or else messages go
 * into them, and bwrap's pipes are lost. For a command of ours they remain closed.
 */
static void fill_standard_streams(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) == -1)
			open("/dev/null", O_RDWR | O_CLOEXEC);
}

int main(int argc, char *argv[])
{
	fill_standard_streams();
	if (argc < 2) {
		usage(stderr);
		return 1;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	return session_mount(argc, argv);
}
