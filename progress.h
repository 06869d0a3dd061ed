/* SPDX-License-Identifier: ISC */
/*
 * progress: a line on a terminal for what takes longer than a second.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct progress {
	uint64_t total; /* files */
	uint64_t done;
	bool terminal;
	bool shown;
	struct timespec next; /* when to show it again */
};

void progress_begin(struct progress *p, uint64_t total);
void progress_add(struct progress *p, uint64_t files);
void progress_end(struct progress *p);

#endif
