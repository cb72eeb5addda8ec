/*
 * A queue's sandbox: see sandbox.h.
 */
#include "config.h"

#include <string.h>

#include "driver/sandbox.h"

static void
put(struct spawn_limits *l, int resource, int64_t value)
{
	if (value <= 0)
		return;
	l->limits[l->nlimits].resource = resource;
	l->limits[l->nlimits++].value = (rlim_t)value;
}

int
sandbox_limits(const struct node *options, struct spawn_limits *l,
    struct err *e)
{
	int64_t memory = 0, cpu_ms = 0, processes = 0, files = 0;
	const char *user = "";
	bool network = true;

	memset(l, 0, sizeof(*l));
	node_size(options, "memory", &memory, NULL);
	node_duration_ms(options, "cpu_time", &cpu_ms, NULL);
	node_int(options, "processes", 0, INT32_MAX, &processes, NULL);
	node_int(options, "files", 0, INT32_MAX, &files, NULL);
	node_bool(options, "network", &network, NULL);
	node_str(options, "user", &user, NULL);
	put(l, RLIMIT_AS, memory);
	put(l, RLIMIT_CPU, (cpu_ms + 999) / 1000);
	put(l, RLIMIT_NPROC, processes);
	put(l, RLIMIT_NOFILE, files);
	/* A dump of a program that may not use much would be the largest file. */
	l->limits[l->nlimits].resource = RLIMIT_CORE;
	l->limits[l->nlimits++].value = 0;
	l->no_network = !network;
	l->no_privileges = true;
	if (user[0] != '\0')
		return spawn_user(l, user, e);
	return 0;
}
