/*
 * The name of this running jobqd: see instance.h.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/instance.h"

/* When a process began, in the kernel's ticks: field 22 of its stat, counted
 * from behind the name, which may contain anything. */
static unsigned long long
started(pid_t pid)
{
	char path[64], text[1024], *p;
	unsigned long long ticks = 0;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return 0;
	size_t len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	p = strrchr(text, ')');
	for (int field = 2; p != NULL && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (p != NULL)
		ticks = strtoull(p, NULL, 10);
	return ticks;
}

const char *
instance_id(void)
{
	static char id[160];
	char host[65] = "";

	if (id[0] != '\0')
		return id;
	gethostname(host, sizeof(host) - 1);
	snprintf(id, sizeof(id), "%s-%ld-%llu", host, (long)getppid(),
	    started(getppid()));
	return id;
}
