/* SPDX-License-Identifier: ISC */
/* Names that were added are never denied, others nearly always, whatever size was guessed. */
#include "name_set.h"

#include "unit.h"

static void test_size(off_t size, unsigned names, unsigned at_most)
{
	struct name_set *s = name_set_new(size);
	unsigned missed = 0, taken = 0;
	char name[32];

	if (s == NULL)
		err(1, NULL);
	for (unsigned i = 0; i < names; i++) {
		snprintf(name, sizeof(name), "name %u", i);
		name_set_add(s, name);
	}
	for (unsigned i = 0; i < names + 1000; i++) {
		snprintf(name, sizeof(name), "name %u", i);
		missed += i < names && !name_set_may_have(s, name);
		taken += i >= names && name_set_may_have(s, name);
	}
	ok(missed == 0, "%lld bytes: %u names that were added are in it", (long long)size, names);
	ok(taken <= at_most, "%lld bytes: of 1000 others %u seem to be", (long long)size, taken);
	free(s);
}

int main(void)
{
	test_size(0, 0, 0);
	test_size(0, 50, 150);
	test_size(4096, 150, 150);
	test_size(2000000, 100000, 150);
	test_size((off_t)1 << 50, 1000, 10);
	test_size(-1, 10, 100);
	return unit_end();
}
