/* SPDX-License-Identifier: ISC */
/*
 * Groups of libfuse's nodes that are names of one file; nodes.h says why. Two trees
 * find a group: by each of its nodes, and by the number of its file for as long as that
 * file has a name. The givings of all other files are in a hash table of eight bytes
 * for each: libfuse's numbers have 32 bits, and there are many files.
 */
#include "nodes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/tree.h>

enum { COUNTS_MIN = 1024 }; /* a power of two */

enum state { NAMED, HIDDEN, NAMELESS };

/* How often a node without a group was given; n = 0: the place is free. */
struct count {
	uint32_t node, n;
};

struct group;

struct member {
	struct nodes_part part; /* first, as it is handed out; times: givings by the group */
	RB_ENTRY(member) by_node;
	TAILQ_ENTRY(member) list;
	struct group *group;
	unsigned uses;
	enum state state;
};

struct group {
	RB_ENTRY(group) by_inode;
	TAILQ_HEAD(members, member) members; /* those with a name first */
	unsigned nameless;		     /* how many may be forgotten, were they not used */
	struct member *known;		     /* by which the kernel knows the file */
	uint64_t generation;		     /* of that node */
	uint64_t given;			     /* to the kernel, and not forgotten */
	uint64_t inode;
	bool indexed;
};

RB_HEAD(member_tree, member);
RB_HEAD(group_tree, group);

struct nodes {
	pthread_mutex_t lock; /* all of this */
	struct member_tree members;
	struct group_tree groups;
	struct count *counts;
	size_t size, used;    /* of counts */
	atomic_ulong ngroups; /* read without the lock: mostly there are none */
};

static int compare_nodes(const struct member *a, const struct member *b)
{
	return a->part.node < b->part.node ? -1 : a->part.node > b->part.node;
}

static int compare_inodes(const struct group *a, const struct group *b)
{
	return a->inode < b->inode ? -1 : a->inode > b->inode;
}

RB_GENERATE(member_tree, member, by_node, compare_nodes)
RB_GENERATE(group_tree, group, by_inode, compare_inodes)

/* What follows, up to the functions of the header, is called with the lock held. */

/* Givings of nodes without a group: open addressing, at most half full. */

static size_t place(const struct nodes *s, uint32_t node)
{
	uint32_t hash = node * UINT32_C(2654435761);

	return hash & (s->size - 1);
}

/* The place of a node, or the free one where it would be. */
static struct count *find_count(const struct nodes *s, uint64_t node)
{
	size_t i = place(s, (uint32_t)node);

	while (s->counts[i].n != 0 && s->counts[i].node != node)
		i = (i + 1) & (s->size - 1);
	return &s->counts[i];
}

/* False: without memory, all stays as it is. */
static bool resize(struct nodes *s, size_t size)
{
	struct count *old = s->counts, *all = calloc(size, sizeof(*all));
	size_t n = s->size;

	if (all == NULL)
		return false;
	s->counts = all;
	s->size = size;
	for (size_t i = 0; i < n; i++)
		if (old[i].n != 0)
			*find_count(s, old[i].node) = old[i];
	free(old);
	return true;
}

static void count_up(struct nodes *s, uint64_t node)
{
	struct count *c;

	if (2 * s->used >= s->size && !resize(s, 2 * s->size) && s->used + 1 == s->size)
		return; /* such a file will have an inode for each name */
	c = find_count(s, node);
	s->used += c->n == 0;
	*c = (struct count){(uint32_t)node, c->n + 1};
}

/* Free a place; what was put further on because it was taken moves up. */
static void remove_count(struct nodes *s, struct count *c)
{
	size_t hole = (size_t)(c - s->counts), mask = s->size - 1;

	for (size_t i = (hole + 1) & mask; s->counts[i].n != 0; i = (i + 1) & mask) {
		size_t home = place(s, s->counts[i].node);

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			s->counts[hole] = s->counts[i];
			hole = i;
		}
	}
	s->counts[hole].n = 0;
	s->used--;
	if (s->size > COUNTS_MIN && 8 * s->used < s->size)
		resize(s, s->size / 2);
}

static void count_down(struct nodes *s, uint64_t node, uint64_t n)
{
	struct count *c = find_count(s, node);

	if (c->n > n)
		c->n -= (uint32_t)n;
	else if (c->n != 0)
		remove_count(s, c);
}

/* The givings that were counted become the caller's. */
static uint64_t take_count(struct nodes *s, uint64_t node)
{
	struct count *c = find_count(s, node);
	uint64_t n = c->n;

	if (n != 0)
		remove_count(s, c);
	return n;
}

/* Groups. */

static struct member *find(struct nodes *s, uint64_t node)
{
	struct member key = {.part.node = node};

	return RB_FIND(member_tree, &s->members, &key);
}

/* The group that is this node for the kernel. */
static struct group *find_known(struct nodes *s, uint64_t node)
{
	struct member *m = find(s, node);

	return m != NULL && m == m->group->known ? m->group : NULL;
}

static struct group *find_inode(struct nodes *s, uint64_t inode)
{
	struct group key = {.inode = inode};

	return RB_FIND(group_tree, &s->groups, &key);
}

static void unindex(struct nodes *s, struct group *g)
{
	if (g != NULL && g->indexed) {
		RB_REMOVE(group_tree, &s->groups, g);
		g->indexed = false;
	}
}

static void add_index(struct nodes *s, struct group *g)
{
	if (g->indexed)
		return;
	unindex(s, find_inode(s, g->inode)); /* of a file that is no more */
	RB_INSERT(group_tree, &s->groups, g);
	g->indexed = true;
}

static struct member *add_member(struct nodes *s, struct group *g, uint64_t node)
{
	struct member *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->part.node = node;
	m->group = g;
	TAILQ_INSERT_HEAD(&g->members, m, list);
	RB_INSERT(member_tree, &s->members, m);
	return m;
}

static bool forgettable(const struct member *m)
{
	return m->state == NAMELESS && m != m->group->known;
}

static void set_state(struct member *m, enum state state)
{
	struct group *g = m->group;

	if (m->state == state)
		return;
	g->nameless -= forgettable(m);
	m->state = state;
	g->nameless += forgettable(m);
	TAILQ_REMOVE(&g->members, m, list);
	if (state == NAMED)
		TAILQ_INSERT_HEAD(&g->members, m, list);
	else
		TAILQ_INSERT_TAIL(&g->members, m, list);
}

/* Hand a member out, to be forgotten. */
static void remove_member(struct nodes *s, struct member *m, struct nodes_part **parts)
{
	set_state(m, NAMED);
	TAILQ_REMOVE(&m->group->members, m, list);
	RB_REMOVE(member_tree, &s->members, m);
	m->part.next = *parts;
	*parts = &m->part;
}

static void remove_group(struct nodes *s, struct group *g, struct nodes_part **parts)
{
	struct member *m;

	while ((m = TAILQ_FIRST(&g->members)) != NULL)
		remove_member(s, m, parts);
	unindex(s, g);
	free(g);
	s->ngroups--;
}

/* A group of one node, by which the kernel knows the file. */
static struct group *add_group(struct nodes *s, uint64_t node, uint64_t inode)
{
	struct group *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	TAILQ_INIT(&g->members);
	g->known = add_member(s, g, node);
	if (g->known == NULL) {
		free(g);
		return NULL;
	}
	g->given = g->known->part.times = take_count(s, node);
	g->inode = inode;
	add_index(s, g);
	s->ngroups++;
	return g;
}

/* The member for a node that is given, or NULL: it is not one of several. */
static struct member *member_for(struct nodes *s, uint64_t node, uint64_t inode, bool several,
				 uint64_t generation)
{
	struct member *m = find(s, node);
	struct group *g;

	if (m != NULL)
		return m;
	g = find_inode(s, inode);
	if (g != NULL)
		return add_member(s, g, node);
	if (!several || (g = add_group(s, node, inode)) == NULL)
		return NULL;
	g->generation = generation;
	return g->known;
}

/* The functions of the header. */

struct nodes *nodes_new(void)
{
	struct nodes *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	RB_INIT(&s->members);
	RB_INIT(&s->groups);
	if (!resize(s, COUNTS_MIN)) {
		free(s);
		return NULL;
	}
	return s;
}

void nodes_free(struct nodes *s)
{
	struct nodes_part *parts = NULL, *p;
	struct member *m;

	if (s == NULL)
		return;
	while ((m = RB_MIN(member_tree, &s->members)) != NULL)
		remove_group(s, m->group, &parts);
	while ((p = parts) != NULL) {
		parts = p->next;
		free(p);
	}
	pthread_mutex_destroy(&s->lock);
	free(s->counts);
	free(s);
}

uint64_t nodes_give(struct nodes *s, uint64_t node, uint64_t inode, bool several,
		    uint64_t *generation)
{
	struct member *m = NULL;

	pthread_mutex_lock(&s->lock);
	if (several || s->ngroups > 0)
		m = member_for(s, node, inode, several, *generation);
	if (m == NULL) {
		count_up(s, node);
	} else {
		m->part.times++;
		set_state(m, NAMED);
		m->group->given++;
		node = m->group->known->part.node;
		*generation = m->group->generation;
	}
	pthread_mutex_unlock(&s->lock);
	return node;
}

struct nodes_part *nodes_take_back(struct nodes *s, uint64_t node)
{
	struct nodes_part *parts = NULL;
	struct member *m;

	pthread_mutex_lock(&s->lock);
	m = find(s, node);
	if (m == NULL) {
		count_down(s, node, 1);
	} else {
		m->part.times--;
		if (--m->group->given == 0)
			remove_group(s, m->group, &parts);
	}
	pthread_mutex_unlock(&s->lock);
	return parts;
}

bool nodes_forget(struct nodes *s, uint64_t node, uint64_t n, struct nodes_part **parts)
{
	struct group *g;

	*parts = NULL;
	pthread_mutex_lock(&s->lock);
	g = find_known(s, node);
	if (g == NULL) {
		count_down(s, node, n);
	} else {
		g->given -= n < g->given ? n : g->given;
		if (g->given == 0)
			remove_group(s, g, parts);
	}
	pthread_mutex_unlock(&s->lock);
	return g != NULL;
}

void nodes_linked(struct nodes *s, uint64_t node, uint64_t inode)
{
	struct member *m;

	pthread_mutex_lock(&s->lock);
	m = find(s, node);
	if (m != NULL)
		add_index(s, m->group);
	else
		add_group(s, node, inode);
	pthread_mutex_unlock(&s->lock);
}

/* The most useful member: with a name, or hidden. */
static struct member *best(struct member *m)
{
	struct group *g = m->group;

	if (m->state == NAMED)
		return m;
	if (TAILQ_FIRST(&g->members)->state == NAMED)
		return TAILQ_FIRST(&g->members);
	if (m->state == NAMELESS)
		TAILQ_FOREACH(m, &g->members, list)
			if (m->state == HIDDEN)
				return m;
	return m == NULL ? g->known : m;
}

/* Find the member for a node, with the lock held until let_go; NULL, and no lock, if none is. */
static struct member *hold(struct nodes *s, uint64_t node)
{
	struct member *m;

	if (s->ngroups == 0)
		return NULL;
	pthread_mutex_lock(&s->lock);
	m = find(s, node);
	if (m == NULL)
		pthread_mutex_unlock(&s->lock);
	return m;
}

static void let_go(struct nodes *s)
{
	pthread_mutex_unlock(&s->lock);
}

uint64_t nodes_route(struct nodes *s, uint64_t node, bool *used)
{
	struct member *m = hold(s, node);

	*used = m != NULL;
	if (m == NULL)
		return node;
	m = best(m);
	m->uses++;
	node = m->part.node;
	let_go(s);
	return node;
}

bool nodes_use(struct nodes *s, uint64_t node)
{
	struct member *m = hold(s, node);

	if (m == NULL)
		return false;
	m->uses++;
	let_go(s);
	return true;
}

/* From the end of the list, where those without a name are. */
static struct nodes_part *forget_nameless(struct nodes *s, struct group *g)
{
	struct member *m = TAILQ_LAST(&g->members, members), *next;
	struct nodes_part *parts = NULL;

	for (; m != NULL && m->state != NAMED; m = next) {
		next = TAILQ_PREV(m, members, list);
		if (forgettable(m) && m->uses == 0)
			remove_member(s, m, &parts);
	}
	return parts;
}

struct nodes_part *nodes_done(struct nodes *s, uint64_t node)
{
	struct nodes_part *parts = NULL;
	struct member *m = hold(s, node);

	if (m == NULL)
		return NULL;
	m->uses--;
	if (m->group->nameless > 0)
		parts = forget_nameless(s, m->group);
	let_go(s);
	return parts;
}

uint64_t nodes_best(struct nodes *s, uint64_t node)
{
	struct member *m = hold(s, node);

	if (m == NULL)
		return node;
	node = best(m)->part.node;
	let_go(s);
	return node;
}

uint64_t nodes_known(struct nodes *s, uint64_t node)
{
	struct member *m = hold(s, node);

	if (m == NULL)
		return node;
	node = m->group->known->part.node;
	let_go(s);
	return node;
}

bool nodes_has(struct nodes *s, uint64_t inode)
{
	bool has;

	if (s->ngroups == 0)
		return false;
	pthread_mutex_lock(&s->lock);
	has = find_inode(s, inode) != NULL;
	pthread_mutex_unlock(&s->lock);
	return has;
}

bool nodes_has_name(struct nodes *s, uint64_t node)
{
	struct member *m = hold(s, node);
	bool has;

	if (m == NULL)
		return false;
	has = m->group->indexed;
	let_go(s);
	return has;
}

void nodes_nameless(struct nodes *s, uint64_t node, bool hidden, bool last)
{
	struct member *m = hold(s, node);

	if (m == NULL)
		return;
	set_state(m, hidden ? HIDDEN : NAMELESS);
	if (last)
		unindex(s, m->group);
	let_go(s);
}
