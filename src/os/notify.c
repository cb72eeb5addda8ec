/*
 * The service manager: see notify.h.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "os/notify.h"

static struct {
	struct sockaddr_un address;
	socklen_t length;		/* 0: nobody to tell */
	mono_t watchdog;
} manager;

static void
read_socket(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;

	if (len < 2 || len >= sizeof(manager.address.sun_path) ||
	    (path[0] != '/' && path[0] != '@'))
		return;
	manager.address.sun_family = AF_UNIX;
	memcpy(manager.address.sun_path, path, len);
	if (path[0] == '@')
		manager.address.sun_path[0] = '\0';	/* an abstract one */
	manager.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
	    len);
}

static void
read_watchdog(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	const char *wrong = NULL;
	long long us;

	if (usec == NULL || (pid != NULL && atol(pid) != (long)getpid()))
		return;
	us = strtonum(usec, 1, INT64_MAX / 2, &wrong);
	if (wrong != NULL)
		log_warn("watchdog ignored", "WATCHDOG_USEC=%s reason=%s", usec,
		    wrong);
	else
		manager.watchdog = us / 2 > 0 ? us / 2 : 1;
}

void
notify_init(void)
{
	memset(&manager, 0, sizeof(manager));
	read_socket();
	read_watchdog();
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void
notify_manager(const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int fd;

	if (manager.length == 0)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL,
	    (struct sockaddr *)&manager.address, manager.length) < 0)
		log_warn("cannot tell the service manager", "text=%s error=%s",
		    text, strerror(errno));
	if (fd >= 0)
		close(fd);
}

void
notify_reloading(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	notify_manager("RELOADING=1\nMONOTONIC_USEC=%lld",
	    (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

mono_t
notify_watchdog(void)
{
	return manager.length > 0 ? manager.watchdog : 0;
}
