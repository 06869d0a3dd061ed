/* SPDX-License-Identifier: ISC */
/*
 * The attributes that a user sees: those of the layers are hidden, and a
 * user's of the same name are kept under another.
 */
#include "xattr.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ESCAPE "overlay."

static const char *const prefixes[] = {
	"trusted.overlay.", "user.overlay.",	  "user.fuseoverlayfs.",
	"user.overlayfs.",  "trusted.overlayfs.",
};

/* The length of the overlay prefix of name, or 0. */
static size_t prefix_length(const char *name)
{
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t len = strlen(prefixes[i]);

		if (strncmp(name, prefixes[i], len) == 0)
			return len;
	}
	return 0;
}

bool xattr_private(const char *ondisk)
{
	size_t len = prefix_length(ondisk);

	return len > 0 && strncmp(ondisk + len, ESCAPE, strlen(ESCAPE)) != 0;
}

/* The name on disk; buf is used where it differs. NULL when it is too long. */
static const char *to_disk(const char *name, char buf[XATTR_NAME_MAX + 1])
{
	size_t len = prefix_length(name);

	if (len == 0)
		return name;
	if (snprintf(buf, XATTR_NAME_MAX + 1, "%.*s" ESCAPE "%s", (int)len, name, name + len) >
	    XATTR_NAME_MAX)
		return NULL;
	return buf;
}

ssize_t xattr_get(struct at a, const char *name, void *value, size_t size)
{
	char buf[XATTR_NAME_MAX + 1];

	name = to_disk(name, buf);
	return name == NULL ? -ERANGE : at_getxattr(a, name, value, size);
}

int xattr_set(struct at a, const char *name, const void *value, size_t size, int flags)
{
	char buf[XATTR_NAME_MAX + 1];

	name = to_disk(name, buf);
	return name == NULL ? -ERANGE : at_setxattr(a, name, value, size, flags);
}

int xattr_remove(struct at a, const char *name)
{
	char buf[XATTR_NAME_MAX + 1];

	name = to_disk(name, buf);
	return name == NULL ? -ERANGE : at_removexattr(a, name);
}

/* Turn a list from disk into the user's, in place; returns its length. */
static size_t user_list(char *list, size_t size, bool trusted)
{
	char *to = list;

	for (char *p = list, *next; p < list + size; p = next) {
		size_t len = prefix_length(p);

		next = p + strlen(p) + 1;
		if (xattr_private(p) || (!trusted && strncmp(p, "trusted.", 8) == 0))
			continue;
		if (len > 0) {
			memmove(to, p, len);
			p += len + strlen(ESCAPE);
			to += len;
		}
		memmove(to, p, (size_t)(next - p));
		to += next - p;
	}
	return (size_t)(to - list);
}

ssize_t xattr_list(struct at a, char *list, size_t size, bool trusted)
{
	char *all = malloc(XATTR_LIST_MAX);
	ssize_t n;

	if (all == NULL)
		return -ENOMEM;
	n = at_listxattr(a, all, XATTR_LIST_MAX);
	if (n > 0) {
		n = (ssize_t)user_list(all, (size_t)n, trusted);
		if (size > 0 && (size_t)n > size)
			n = -ERANGE;
		else if (size > 0)
			memcpy(list, all, (size_t)n);
	}
	free(all);
	return n;
}
