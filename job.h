/* SPDX-License-Identifier: ISC */
/*
 * job: being one with a command in the eyes of a shell: `run` stops, continues
 * and ends as the command does, and passes on what signals are sent to it.
 *
 * The command is in the process group of `run`, as if there were one process
 * only, so what the terminal sends reaches it without us.
 */
#ifndef JOB_H
#define JOB_H

#include <stdbool.h>
#include <sys/types.h>

/* Block the signals that are waited for. Before any other process is started. */
void job_begin(void);

/*
 * Whether a signal that ends us has come since; it does so after job_end. A command
 * that was not there when a key of the terminal was pressed would never learn of it.
 */
bool job_interrupted(void);

/* For a child process: signals as they were before. */
void job_restore_signals(void);

/*
 * Wait for a child process and be its shadow meanwhile. other: a child whose end
 * is the end of all; then -1, and the child is as it was. Else its wait status.
 */
int job_wait(pid_t child, pid_t other);

/* The terminal's foreground is ours again, if it was; the terminal's modes, too. */
void job_take_terminal(bool modes);

/* The exit status for a wait status; does not return when we die of the same signal. */
int job_status(int status);

/* Signals do again what they did before. */
void job_end(void);

#endif
