/* SPDX-License-Identifier: ISC */
/*
 * Half a bit for each byte of the directory: file systems take some 20 bytes for
 * a name, so one bit in ten is set, and one absent name in ten is asked for.
 */
#include "name_set.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { MIN_BITS = 512, MAX_BITS = 1 << 23 };

struct name_set {
	uint64_t mask; /* number of bits, a power of two, less one */
	atomic_uchar bit[];
};

struct name_set *name_set_new(off_t size)
{
	uint64_t bits = MIN_BITS;
	struct name_set *s;

	while (bits < MAX_BITS && (off_t)bits < size / 2)
		bits *= 2;
	s = calloc(1, sizeof(*s) + bits / 8);
	if (s != NULL)
		s->mask = bits - 1;
	return s;
}

static uint64_t place(const struct name_set *s, const char *name)
{
	return XXH3_64bits(name, strlen(name)) & s->mask;
}

void name_set_add(struct name_set *s, const char *name)
{
	uint64_t n = place(s, name);

	s->bit[n / 8] |= (unsigned char)(1 << n % 8);
}

bool name_set_may_have(const struct name_set *s, const char *name)
{
	uint64_t n = place(s, name);

	return s->bit[n / 8] >> n % 8 & 1;
}
