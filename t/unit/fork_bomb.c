/*
 * Programs that do not want to die, for the system tests of the cancel ladder:
 *
 *	fork_bomb grow MAX [away]	each process forks as fast as it can
 *	fork_bomb comets N [away]	N processes that fork one and exit, for ever
 *
 * away: each in a session of its own. They ignore what can be ignored. So that
 * the machine survives, there are never more than MAX or so, whatever is
 * killed, and all of them end by themselves after LIFE seconds.
 */
#include "config.h"

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 65534
#define LIFE 20

static bool away;
static time_t end;

static time_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* Processes of this user. */
static unsigned
count_own(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	unsigned n = 0;

	while (proc != NULL && (entry = readdir(proc)) != NULL) {
		struct stat st;

		if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' &&
		    fstatat(dirfd(proc), entry->d_name, &st, 0) == 0 &&
		    st.st_uid == getuid())
			n++;
	}
	closedir(proc);
	return n;
}

/* root has no limit of processes. */
static void
limit(unsigned max)
{
	struct rlimit r;

	if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) != 0)
		_exit(2);
	r.rlim_cur = r.rlim_max = count_own() + max;
	if (setrlimit(RLIMIT_NPROC, &r) != 0)
		_exit(2);
}

static _Noreturn void
grow(void)
{
	while (now() < end)
		if (fork() == 0 && away)
			setsid();
	_exit(0);
}

static _Noreturn void
comet(void)
{
	while (now() < end) {
		pid_t pid = fork();

		if (pid > 0)
			_exit(0);
		if (pid == 0 && away)
			setsid();
	}
	_exit(0);
}

int
main(int argc, char **argv)
{
	bool grows = argc > 2 && strcmp(argv[1], "grow") == 0;
	int n = argc > 2 ? atoi(argv[2]) : 0;

	if (n < 1)
		return 2;
	away = argc > 3;
	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_IGN);
	limit((unsigned)(grows ? n : 4 * n));
	end = now() + LIFE;
	if (grows)
		grow();
	for (int i = 0; i < n; i++)
		if (fork() == 0)
			comet();
	sleep(LIFE);
	return 0;
}
