/*
 * Sockets that listen: see listen.h.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "os/listen.h"

#define HOST_MAX 255
#define PATH_BYTES (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

struct listener {
	int fd;
	char *path;		/* of a unix socket, else NULL */
	struct stat made;	/* … as it was made */
};

/* HOST and PORT of an address that is none of a unix socket. */
static const char *
split(const char *address, char host[HOST_MAX + 1], const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t len = colon != NULL ? (size_t)(colon - address) : 0;
	char *end;
	long n;

	if (len == 0 || len > HOST_MAX)
		return "needs HOST:PORT, unix:PATH or off";
	memcpy(host, address, len);
	host[len] = '\0';
	if (host[0] == '[' && host[len - 1] == ']') {
		memmove(host, host + 1, len);
		host[len - 2] = '\0';
	} else if (strchr(host, ':') != NULL || strpbrk(host, "[]") != NULL) {
		return "an IPv6 address stands in brackets, like [::1]:8787";
	}
	*port = colon + 1;
	n = strtol(*port, &end, 10);
	if (!isdigit((unsigned char)**port) || *end != '\0' || n < 1 || n > 65535)
		return "the port is a number from 1 to 65535";
	return NULL;
}

const char *
listener_check(const char *address)
{
	char host[HOST_MAX + 1];
	const char *port;

	if (strncmp(address, "unix:", 5) != 0)
		return split(address, host, &port);
	if (address[5] != '/')
		return "the path of a unix socket begins with /";
	return strlen(address + 5) > PATH_BYTES ?
	    "the path of a unix socket has at most 107 bytes" : NULL;
}

static int
refused(const char *address, struct err *e)
{
	err_errno(e, "cannot listen on %s", address);
	if (e != NULL && errno == EADDRINUSE)
		e->code = ERR_BUSY;
	return -1;
}

static int
bind_inet(const struct addrinfo *a, bool every)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, only = !every, saved;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* Of a name that is several addresses, the one that most clients use. */
static const struct addrinfo *
choose(const struct addrinfo *list)
{
	for (const struct addrinfo *a = list; a != NULL; a = a->ai_next)
		if (a->ai_family == AF_INET)
			return a;
	return list;
}

static int
open_inet(const char *address, struct err *e)
{
	char host[HOST_MAX + 1];
	const char *port, *wrong = split(address, host, &port);
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
	}, *list;
	bool every = strcmp(host, "*") == 0;
	int fd, rc;

	if (wrong != NULL)
		return err_set(e, "%s: %s", address, wrong);
	if ((rc = getaddrinfo(every ? "::" : host, port, &hints, &list)) != 0)
		return err_set(e, "cannot listen on %s: %s", address,
		    gai_strerror(rc));
	fd = bind_inet(choose(list), every);
	freeaddrinfo(list);
	/* A machine without IPv6. */
	if (fd < 0 && every && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL) &&
	    getaddrinfo("0.0.0.0", port, &hints, &list) == 0) {
		fd = bind_inet(list, false);
		freeaddrinfo(list);
	}
	return fd >= 0 ? fd : refused(address, e);
}

/* Does somebody answer there? */
static bool
answers(const struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes = fd < 0 || connect(fd, (const struct sockaddr *)at,
	    sizeof(*at)) == 0 || errno != ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return yes;
}

/* What a jobqd that was killed has left. */
static int
clear_stale(const char *address, const struct sockaddr_un *at, struct err *e)
{
	struct stat st;

	if (lstat(at->sun_path, &st) != 0)
		return 0;	/* bind() will say what is wrong, if it is */
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, "cannot listen on %s: there is a file that is "
		    "no socket", address);
	if (answers(at)) {
		errno = EADDRINUSE;
		return refused(address, e);
	}
	if (unlink(at->sun_path) != 0)
		return err_errno(e, "cannot remove the old socket %s",
		    at->sun_path);
	return 0;
}

static int
open_unix(struct listener *l, const char *address, mode_t mode, struct err *e)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	const char *wrong = listener_check(address);
	mode_t mask;
	int rc;

	if (wrong != NULL)
		return err_set(e, "%s: %s", address, wrong);
	strlcpy(at.sun_path, address + 5, sizeof(at.sun_path));
	if (clear_stale(address, &at, e) != 0)
		return -1;
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return refused(address, e);
	/* Nobody else's before it has its own permissions. */
	mask = umask(0177);
	rc = bind(l->fd, (struct sockaddr *)&at, sizeof(at));
	umask(mask);
	if (rc != 0)
		return refused(address, e);
	l->path = xstrdup(at.sun_path);
	if (chmod(l->path, mode) != 0 || lstat(l->path, &l->made) != 0 ||
	    listen(l->fd, SOMAXCONN) != 0)
		return refused(address, e);
	return 0;
}

struct listener *
listener_open(const char *address, mode_t mode, struct err *e)
{
	struct listener *l = xcalloc(1, sizeof(*l));

	int rc = 0;

	l->fd = -1;
	if (strncmp(address, "unix:", 5) == 0)
		rc = open_unix(l, address, mode, e);
	else
		rc = l->fd = open_inet(address, e);
	if (rc >= 0)
		return l;
	listener_free(l);
	return NULL;
}

void
listener_free(struct listener *l)
{
	struct stat st;

	if (l == NULL)
		return;
	if (l->path != NULL && lstat(l->path, &st) == 0 &&
	    st.st_ino == l->made.st_ino && st.st_dev == l->made.st_dev)
		unlink(l->path);
	if (l->fd >= 0)
		close(l->fd);
	free(l->path);
	free(l);
}

int
listener_fd(const struct listener *l)
{
	return l->fd;
}

int
listener_chown(const struct listener *l, uid_t uid, gid_t gid, struct err *e)
{
	if (l->path != NULL && lchown(l->path, uid, gid) != 0)
		return err_errno(e, "cannot give %s to the user", l->path);
	return 0;
}

/* The port that could be had, 0: none. */
static int
try_port(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, got = 0;

	if (fd < 0)
		return 0;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	at.sin_port = htons((uint16_t)port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	    listen(fd, 1) == 0 &&
	    getsockname(fd, (struct sockaddr *)&at, &len) == 0)
		got = ntohs(at.sin_port);
	close(fd);
	return got;
}

int
listen_free_port(int wanted)
{
	int port = try_port(wanted);

	return port > 0 ? port : try_port(0);
}

int
listen_accept(int fd, struct address *from)
{
	struct sockaddr_storage peer = { .ss_family = AF_UNIX };
	socklen_t len;
	int on = 1, got;

	do {
		len = sizeof(peer);
		got = accept4(fd, (struct sockaddr *)&peer, &len,
		    SOCK_CLOEXEC | SOCK_NONBLOCK);
	} while (got < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (got < 0)
		return -1;
	/* Refused by a unix socket, which needs it not. */
	setsockopt(got, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	*from = address_of((struct sockaddr *)&peer);
	return got;
}
