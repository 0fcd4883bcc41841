/* The one way to run a program: argv array, explicit environment, bounded output, time limit. */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/strbuf.h"

struct process_spec {
	const char *const *argv; /* argv[0] is the absolute path that runs */
	const char *const *env;  /* NULL: PATH, LANG only */
	int stdin_fd;            /* < 0: /dev/null */
	int stdout_fd;           /* < 0: captured (process_run) or /dev/null (process_spawn) */
	int stderr_fd;           /* < 0: captured (process_run) or inherited (process_spawn) */
	const int *fds;          /* passed to the child as 3, 4, 5 ... in this order */
	size_t nfds;
	const char *cwd;       /* NULL: "/" */
	unsigned timeout_ms;   /* process_run only; 0: 5 minutes. The group is killed after it */
	size_t output_max;     /* process_run only; 0: 1 MiB. More ends the process with an error */
	bool new_session;      /* setsid() */
	bool keep_with_parent; /* SIGKILL to the child when the spawning thread dies; do not use from short-lived
				  threads */
};

/* All fields that mean "none"; set argv at least. */
#define PROCESS_SPEC_INIT ((struct process_spec){.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1})

struct process_result {
	int exit_code; /* 128 + signal when killed */
	struct strbuf out;
	struct strbuf err;
};

#define PROCESS_RESULT_INIT ((struct process_result){0})
#define auto_process_result CLEANUP(process_result_done)
void process_result_done(struct process_result *r);

/*
 * Run and wait. 0 when the program ran and exited 0. A non-zero exit is an error of status 500 whose message
 * ends with the last line of stderr; @result (may be NULL) is filled in that case too.
 */
int process_run(const struct process_spec *spec, struct process_result *result, struct error *err);
/* Start and return at once: *@ret_pid (to be reaped by the caller) and, unless NULL, *@ret_pidfd. */
int process_spawn(const struct process_spec *spec, pid_t *ret_pid, int *ret_pidfd, struct error *err);
/* Folder of the running executable, for finding our own helpers beside it or in ../lib/lxd-c. */
char *process_helper_path(const char *program);
