/* SPDX-License-Identifier: ISC */
/*
 * readers: which thread waits for the next request, and how.
 *
 * The kernel gives a request to the thread that has waited longest, so that many
 * waiting threads take turns, each with cold caches, on another core. Here one waits,
 * and while it handles what it got nobody does: most requests take a few microseconds.
 * Another one takes over when requests queue up, or when one takes long.
 *
 * A thread that would be woken at once is better awake: waking costs more than most
 * requests. So the one that waits first looks for a while, but only as long as
 * requests have been following each other closely.
 */
#ifndef READERS_H
#define READERS_H

/* Before read(2) from the connection fd: returns when it is this thread's turn. */
void readers_wait(int fd);

/* After it: the thread goes on with what it got. */
void readers_work(void);

#endif
