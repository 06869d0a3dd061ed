/* SPDX-License-Identifier: ISC */
/*
 * The session file: text that a person can read, with names of any bytes in
 * it. It is written beside the old one and renamed, so that it is always whole.
 */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* fd, or -1 with errno, as a stream. */
static int stream(int fd, const char *mode, FILE **f)
{
	int r;

	*f = fd == -1 ? NULL : fdopen(fd, mode);
	if (*f != NULL)
		return 0;
	r = -errno;
	if (fd != -1)
		close(fd);
	return r;
}

int state_open(int dirfd, const char *name, FILE **f)
{
	return stream(openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), "r", f);
}

int state_begin(int dirfd, const char *name, FILE **f)
{
	return stream(openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), "w", f);
}

int state_end(int dirfd, const char *name, const char *final, FILE *f)
{
	int r = fflush(f) == EOF || fsync(fileno(f)) == -1 ? -errno : ferror(f) ? -EIO : 0;

	if (fclose(f) == EOF && r == 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, name, dirfd, final) == -1)
		r = -errno;
	if (r != 0)
		unlinkat(dirfd, name, 0);
	return r;
}

int state_encode(FILE *f, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		if (*p <= ' ' || *p == '%' || *p >= 127)
			fprintf(f, "%%%02X", *p);
		else
			putc(*p, f);
	}
	return ferror(f) ? -1 : 0;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool state_decode(char *text)
{
	char *to = text;

	for (const char *p = text; *p != '\0'; p++) {
		if (*p != '%') {
			*to++ = *p;
			continue;
		}
		if (hex(p[1]) < 0 || hex(p[2]) < 0 || (p[1] == '0' && p[2] == '0'))
			return false;
		*to++ = (char)(hex(p[1]) * 16 + hex(p[2]));
		p += 2;
	}
	*to = '\0';
	return true;
}

int state_add(char ***list, unsigned *n, const char *text)
{
	char **all = reallocarray(*list, *n + 1, sizeof(*all));

	if (all == NULL)
		return -ENOMEM;
	*list = all;
	all[*n] = strdup(text);
	if (all[*n] == NULL)
		return -ENOMEM;
	(*n)++;
	return 0;
}

static int take(struct state *s, const char *key, const char *value)
{
	if (strcmp(key, "format") == 0)
		return strcmp(value, "1") == 0 ? 0 : -EINVAL;
	if (strcmp(key, "lower") == 0)
		return state_add(&s->lower, &s->nlower, value);
	if (strcmp(key, "command") == 0)
		return state_add(&s->command, &s->ncommand, value);
	if (strcmp(key, "created") == 0)
		s->created = strtoll(value, NULL, 10);
	else if (strcmp(key, "status") == 0)
		s->status = (int)strtol(value, NULL, 10);
	else if (strcmp(key, "mounts") == 0)
		s->single = strcmp(value, "single") == 0;
	else if (strcmp(key, "cwd") == 0) {
		free(s->cwd);
		s->cwd = strdup(value);
		return s->cwd == NULL ? -ENOMEM : 0;
	}
	return 0;
}

int state_read(int dirfd, struct state *s)
{
	FILE *f;
	char *line = NULL, *value;
	size_t size = 0;
	ssize_t len;
	int r = state_open(dirfd, STATE_FILE, &f);

	*s = (struct state){.status = -1};
	if (r != 0)
		return r;
	while (r == 0 && (len = getline(&line, &size, f)) != -1) {
		line[strcspn(line, "\n")] = '\0';
		value = strchr(line, ' ');
		if (value != NULL)
			*value++ = '\0';
		if (value == NULL || strlen(line) + 1 + strlen(value) + 1 != (size_t)len ||
		    !state_decode(value))
			r = -EINVAL;
		else
			r = take(s, line, value);
	}
	if (r == 0 && ferror(f))
		r = -EIO;
	if (r == 0 && s->nlower == 0)
		r = -EINVAL;
	free(line);
	fclose(f);
	return r;
}

static void write_key(FILE *f, const char *key, const char *value)
{
	fprintf(f, "%s ", key);
	state_encode(f, value);
	putc('\n', f);
}

int state_write(int dirfd, const struct state *s)
{
	FILE *f;
	int r = state_begin(dirfd, STATE_FILE ".new", &f);

	if (r != 0)
		return r;
	fputs("format 1\n", f);
	for (unsigned i = 0; i < s->nlower; i++)
		write_key(f, "lower", s->lower[i]);
	for (unsigned i = 0; i < s->ncommand; i++)
		write_key(f, "command", s->command[i]);
	if (s->cwd != NULL)
		write_key(f, "cwd", s->cwd);
	fprintf(f, "created %lld\n", s->created);
	if (s->status >= 0)
		fprintf(f, "status %d\n", s->status);
	fprintf(f, "mounts %s\n", s->single ? "single" : "whole");
	return state_end(dirfd, STATE_FILE ".new", STATE_FILE, f);
}

static void free_list(char **list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

void state_destroy(struct state *s)
{
	free_list(s->lower, s->nlower);
	free_list(s->command, s->ncommand);
	free(s->cwd);
	*s = (struct state){.status = -1};
}

char *state_home(void)
{
	const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *path = NULL;
	int n = -1;

	if (base != NULL && base[0] == '/')
		n = asprintf(&path, "%s/overlayfs", base);
	else if (home != NULL && home[0] == '/')
		n = asprintf(&path, "%s/.local/state/overlayfs", home);
	else
		errno = ENOENT;
	return n == -1 ? NULL : path;
}

bool state_name_ok(const char *name)
{
	if (name[0] == '\0' || name[0] == '.' || name[0] == '-' || strlen(name) > 200)
		return false;
	for (const unsigned char *p = (const unsigned char *)name; *p != '\0'; p++)
		if (*p <= ' ' || *p == 127 || *p == '/')
			return false;
	return true;
}
