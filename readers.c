/* SPDX-License-Identifier: ISC */
/*
 * Threads take turns at reading requests; readers.h says why. A clock tells of
 * requests that take long: a timer that is armed while any is worked on, and a thread
 * that waits for it.
 */
#include "readers.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
	LOOK = 50 * 1000,   /* ns: a request that comes within is looked for */
	TICK = 1000 * 1000, /* ns: another thread reads when one works for longer */
	QUEUED = 8,	    /* requests that did not have to be waited for: so it does then */
};

static struct {
	pthread_mutex_t lock; /* all of this but for the last three */
	bool taken;	      /* a thread reads */
	unsigned parked;      /* how many wait for turn */
	unsigned working;
	unsigned long turns; /* that were taken so far */
	unsigned queued;
	bool armed;
	int timer; /* -1: there is none, and all threads read */
	sem_t turn;
	long most; /* ns: LOOK, or 0 where whom we wait for needs this processor */
	long look; /* ns; only the thread that reads uses it */
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local bool works;

/* With the lock held: the turn goes to a thread that is parked. */
static void pass_on(void)
{
	if (all.taken || all.parked == 0)
		return;
	all.taken = true;
	all.parked--;
	all.turns++;
	sem_post(&all.turn);
}

static void arm(void)
{
	const struct itimerspec in = {.it_value.tv_nsec = TICK};

	timerfd_settime(all.timer, 0, &in, NULL);
}

static void *clockwork(void *arg)
{
	unsigned long last = 0;
	uint64_t n;

	while (read(all.timer, &n, sizeof(n)) == sizeof(n)) {
		pthread_mutex_lock(&all.lock);
		if (all.turns == last)
			pass_on();
		last = all.turns;
		all.armed = all.working > 0;
		if (all.armed)
			arm();
		pthread_mutex_unlock(&all.lock);
	}
	return arg;
}

/* Not before the first request: the process may fork until then. */
static void start(void)
{
	sigset_t every, old;
	pthread_t thread;
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) > 1)
		all.most = LOOK;
	sem_init(&all.turn, 0, 0);
	all.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &old);
	if (all.timer != -1 && pthread_create(&thread, NULL, clockwork, NULL) != 0) {
		close(all.timer);
		all.timer = -1;
	} else if (all.timer != -1) {
		pthread_detach(thread);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000L + ts.tv_nsec;
}

/* Look for as long as it was worth it the last time; returns how often in vain. */
static unsigned look_for_request(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	long end = now() + all.look;
	unsigned n = 0;

	while (poll(&p, 1, 0) == 0) {
		n++;
		if (now() >= end) {
			long begin = now();

			poll(&p, 1, -1);
			all.look = now() - begin < all.most ? all.most : 0;
			return n;
		}
	}
	all.look = all.most;
	return n;
}

void readers_wait(int fd)
{
	bool mine;

	pthread_once(&once, start);
	if (all.timer == -1)
		return;
	pthread_mutex_lock(&all.lock);
	all.working -= works;
	works = false;
	mine = !all.taken;
	all.taken = true;
	if (mine)
		all.turns++;
	else
		all.parked++;
	pthread_mutex_unlock(&all.lock);
	while (!mine)
		mine = sem_wait(&all.turn) == 0;
	all.queued = look_for_request(fd) == 0 ? all.queued + 1 : 0;
}

void readers_work(void)
{
	if (all.timer == -1)
		return;
	pthread_mutex_lock(&all.lock);
	all.taken = false;
	if (all.queued >= QUEUED) {
		all.queued = 0;
		pass_on();
	}
	works = true;
	all.working++;
	if (!all.armed) {
		all.armed = true;
		arm();
	}
	pthread_mutex_unlock(&all.lock);
}
