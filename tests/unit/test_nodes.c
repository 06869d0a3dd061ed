/* SPDX-License-Identifier: ISC */
/*
 * nodes.c: whatever the kernel is given and forgets, libfuse forgets each node just as
 * often as it was given, and none while it is used; requests go to a node with a name.
 */
#include "nodes.h"

#include "unit.h"

enum { MAX = 16 };

static uint64_t given[MAX]; /* by libfuse, and not forgotten */
static uint64_t kernel;	    /* how often the kernel has the file, whatever the name */
static bool sound = true;   /* no node was forgotten too often */

static uint64_t give(struct nodes *s, uint64_t node, bool several)
{
	uint64_t generation = 0;

	given[node]++;
	kernel++;
	return nodes_give(s, node, 77, several, &generation);
}

static void forget_parts(struct nodes_part *p)
{
	struct nodes_part *next;

	for (; p != NULL; p = next) {
		next = p->next;
		sound = sound && given[p->node] >= p->times;
		given[p->node] -= p->times;
		free(p);
	}
}

static void forget(struct nodes *s, uint64_t node, uint64_t n)
{
	struct nodes_part *parts;

	kernel -= n;
	if (nodes_forget(s, node, n, &parts)) {
		forget_parts(parts);
		return;
	}
	sound = sound && given[node] >= n;
	given[node] -= n;
}

static uint64_t all_given(void)
{
	uint64_t n = 0;

	for (int i = 0; i < MAX; i++)
		n += given[i];
	return n;
}

static void test_single(void)
{
	struct nodes *s = nodes_new();
	struct nodes_part *parts;

	ok(give(s, 2, false) == 2, "a file with one name is itself");
	ok(!nodes_forget(s, 2, 1, &parts) && parts == NULL, "and forgotten as it is");
	given[2] = kernel = 0;
	nodes_free(s);
}

static void test_lookups(void)
{
	struct nodes *s = nodes_new();
	bool used;

	ok(give(s, 2, true) == 2 && give(s, 3, true) == 2, "two names are one inode");
	give(s, 3, true);
	ok(nodes_known(s, 3) == 2 && nodes_has(s, 77), "which is known for both");
	nodes_nameless(s, 2, false, false);
	ok(nodes_best(s, 2) == 3, "requests go to a node with a name");
	nodes_nameless(s, 3, true, true);
	ok(nodes_route(s, 2, &used) == 3 && used, "or to a hidden one");
	ok(!nodes_has(s, 77) && !nodes_has_name(s, 2), "the number may be another file's then");
	forget_parts(nodes_done(s, 3));
	forget(s, 2, 1);
	ok(given[2] == 1 && given[3] == 2, "a part is not forgotten before the rest");
	forget(s, 2, 2);
	ok(sound && all_given() == 0, "all are forgotten together");
	nodes_free(s);
}

static void test_link(void)
{
	struct nodes *s = nodes_new();

	give(s, 2, false);
	give(s, 2, false);
	nodes_linked(s, 2, 77);
	ok(give(s, 3, true) == 2, "a second name is the inode of the first");
	ok(give(s, 2, true) == 2 && give(s, 4, false) == 2, "as is any further one");
	forget_parts(nodes_take_back(s, 4));
	given[4]--;
	kernel--;
	forget(s, 2, kernel);
	ok(sound && all_given() == 0, "what was given before the link is forgotten too");
	ok(!nodes_has(s, 77), "and nothing is kept");
	nodes_free(s);
}

static void test_uses(void)
{
	struct nodes *s = nodes_new();
	bool used;

	give(s, 2, true);
	give(s, 3, true);
	give(s, 4, true);
	ok(nodes_use(s, 3), "a node of several can be used");
	nodes_nameless(s, 3, false, false);
	nodes_nameless(s, 2, false, false);
	ok(nodes_route(s, 2, &used) == 4 && used, "one with a name is");
	forget_parts(nodes_done(s, 4));
	ok(given[3] == 1 && given[2] == 1, "one without is kept while it is used, or known");
	forget_parts(nodes_done(s, 3));
	ok(given[3] == 0 && given[2] == 1 && given[4] == 1, "and forgotten then");
	forget(s, 2, 3);
	ok(sound && all_given() == 0, "its givings are still the kernel's");
	nodes_free(s);
}

/* Any order of what the kernel does. */
static void test_any(void)
{
	bool good = true, used;

	for (unsigned seed = 1; seed <= 300; seed++) {
		struct nodes *s = nodes_new();
		uint64_t known = 0;

		srandom(seed);
		for (int i = 0; i < 60; i++) {
			uint64_t node = 2 + (uint64_t)random() % 8;

			if (kernel > 0 && random() % 5 == 0) {
				forget(s, known, random() % 4 == 0 ? kernel : 1);
			} else if (kernel > 0 && random() % 4 == 0) {
				if (nodes_best(s, known) != node)
					nodes_nameless(s, node, random() % 4 == 0, false);
			} else if (kernel > 0 && random() % 3 == 0) {
				node = nodes_route(s, known, &used);
				good = good && used && given[node] > 0;
				forget_parts(nodes_done(s, node));
			} else {
				known = give(s, node, true);
			}
			good = good && (kernel == 0 ? all_given() == 0 : given[known] > 0);
		}
		if (kernel > 0)
			forget(s, known, kernel);
		good = good && all_given() == 0;
		nodes_free(s);
	}
	ok(good && sound, "300 random histories keep the books");
}

/* The table of single files: grows, shrinks, loses nothing. */
static void test_counts(void)
{
	enum { FILES = 100000 };
	struct nodes *s = nodes_new();
	struct nodes_part *parts;
	uint64_t generation = 0;
	bool good = true;

	for (uint64_t i = 2; i < FILES; i++)
		for (uint64_t n = 0; n <= i % 3; n++)
			nodes_give(s, i, i, false, &generation);
	for (uint64_t i = 2; i < FILES; i++)
		if (i % 7 != 0)
			good = good && !nodes_forget(s, i, i % 3 + 1, &parts);
	for (uint64_t i = 7; i < FILES; i += 7) {
		nodes_linked(s, i, i);
		good = good && nodes_forget(s, i, i % 3 + 1, &parts) && parts != NULL &&
		       parts->times == i % 3 + 1 && parts->next == NULL;
		free(parts);
	}
	ok(good, "100,000 files are counted, and as many are forgotten");
	nodes_free(s);
}

int main(void)
{
	test_single();
	test_lookups();
	test_link();
	test_uses();
	test_any();
	test_counts();
	return unit_end();
}
