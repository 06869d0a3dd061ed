/* SPDX-License-Identifier: ISC */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { FIRST_NS = 1000000000, THEN_NS = 100000000 };

static void later(struct timespec *ts, long ns)
{
	ts->tv_sec += (ts->tv_nsec + ns) / 1000000000;
	ts->tv_nsec = (ts->tv_nsec + ns) % 1000000000;
}

void progress_begin(struct progress *p, uint64_t total)
{
	*p = (struct progress){.total = total, .terminal = isatty(STDERR_FILENO) == 1};
	clock_gettime(CLOCK_MONOTONIC, &p->next);
	later(&p->next, FIRST_NS);
}

void progress_add(struct progress *p, uint64_t files)
{
	enum { WIDTH = 30 };
	static const char bar[] = "##############################";
	struct timespec now;
	int filled;

	p->done += files;
	if (!p->terminal)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec < p->next.tv_sec ||
	    (now.tv_sec == p->next.tv_sec && now.tv_nsec < p->next.tv_nsec))
		return;
	p->next = now;
	later(&p->next, THEN_NS);
	p->shown = true;
	filled = p->total == 0 ? 0 : (int)(p->done * WIDTH / p->total);
	if (filled > WIDTH)
		filled = WIDTH;
	fprintf(stderr, "\r[%-*.*s] %" PRIu64 "/%" PRIu64 " files", WIDTH, filled, bar, p->done,
		p->total);
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
