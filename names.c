/* SPDX-License-Identifier: ISC */
/*
 * Lists of names. An entry and its whiteout are one name: that is what counts.
 */
#include "names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "whiteout.h"

int names_add(struct names *l, const char *name)
{
	if (l->n == 0 || (l->n >= 16 && (l->n & (l->n - 1)) == 0)) {
		char **list = reallocarray(l->list, l->n == 0 ? 16 : l->n * 2, sizeof(*list));

		if (list == NULL)
			return -ENOMEM;
		l->list = list;
	}
	l->list[l->n] = strdup(name);
	return l->list[l->n++] == NULL ? -ENOMEM : 0;
}

static int add_entry(void *arg, const char *name, unsigned char type, ino_t ino)
{
	(void)type;
	(void)ino;
	if (layers_reserved(name)) {
		name += sizeof(WHITEOUT_PREFIX) - 1;
		if (layers_reserved(name) || *name == '\0' || strcmp(name, ".") == 0 ||
		    strcmp(name, "..") == 0)
			return 0;
	}
	return names_add(arg, name);
}

static int add_dir(void *arg, const char *name, unsigned char type, ino_t ino)
{
	return type == DT_DIR || type == DT_UNKNOWN ? add_entry(arg, name, type, ino) : 0;
}

int names_of_part(struct names *l, const struct part *p, bool dirs)
{
	int r, fd = at_open_quiet((struct at){p->fd, ""}, O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		return fd;
	r = at_list(fd, dirs ? add_dir : add_entry, l);
	close(fd);
	return r;
}

int names_compare(const char *a, const char *b)
{
	while (*a == *b && *a != '\0') {
		a++;
		b++;
	}
	if (*a == *b)
		return 0;
	if (*a == '\0' || *b == '\0')
		return *a == '\0' ? -1 : 1;
	if (*a == '/' || *b == '/')
		return *a == '/' ? -1 : 1;
	return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
}

int names_compare_strings(const void *a, const void *b)
{
	return names_compare(*(char *const *)a, *(char *const *)b);
}

void names_sort(struct names *l)
{
	size_t n = 0;

	if (l->n > 0)
		qsort(l->list, l->n, sizeof(*l->list), names_compare_strings);
	for (size_t i = 0; i < l->n; i++) {
		if (n > 0 && strcmp(l->list[i], l->list[n - 1]) == 0)
			free(l->list[i]);
		else
			l->list[n++] = l->list[i];
	}
	l->n = n;
}

void names_free(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->list[i]);
	free(l->list);
	*l = (struct names){0};
}
