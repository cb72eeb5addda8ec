/*
 * An HTTP server that takes its time: HTTP/1.1 with keep-alive, 200 to
 * everything, after delay_ms.
 *
 *	serve PORT [delay_ms=N]
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tool.h"

#define CLIENTS_MAX 4096

static long delay_ms = 100;

struct client {
	int fd;
	double due;		/* 0: no request waits */
	size_t have;
	char buf[8192];
};

/* The length of the whole request when it is here, else 0. */
static size_t
whole_request(const struct client *k)
{
	const char *end = memmem(k->buf, k->have, "\r\n\r\n", 4), *length;
	size_t head;

	if (end == NULL)
		return 0;
	head = (size_t)(end - k->buf) + 4;
	length = strcasestr(k->buf, "content-length:");
	if (length != NULL && length < end)
		head += (size_t)atol(length + 15);
	return k->have >= head ? head : 0;
}

static void
drop_client(struct client *k)
{
	close(k->fd);
	k->fd = -1;
	k->have = 0;
	k->due = 0;
}

static void
read_client(struct client *k)
{
	ssize_t n = read(k->fd, k->buf + k->have, sizeof(k->buf) - 1 - k->have);
	size_t used;

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			drop_client(k);
		return;
	}
	k->have += (size_t)n;
	k->buf[k->have] = '\0';
	used = whole_request(k);
	if (used == 0)
		return;
	memmove(k->buf, k->buf + used, k->have - used);
	k->have -= used;
	k->due = now() + (double)delay_ms / 1000;
}

static void
answer_due(struct client *clients, size_t n)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	    "Content-Length: 11\r\n\r\n{\"ok\":true}";
	double t = now();

	for (size_t i = 0; i < n; i++) {
		struct client *k = &clients[i];

		if (k->fd < 0 || k->due == 0 || k->due > t)
			continue;
		k->due = 0;
		if (write(k->fd, answer, sizeof(answer) - 1) < 0)
			drop_client(k);
	}
}

static int
listen_on(int port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(fd, 1024) < 0)
		fail("port", strerror(errno));
	return fd;
}

static void
accept_clients(int server, int ep, struct client *clients, size_t *n)
{
	int fd, on = 1;

	while ((fd = accept4(server, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct epoll_event ev = { .events = EPOLLIN };
		size_t i = 0;

		while (i < *n && clients[i].fd >= 0)
			i++;
		if (i == CLIENTS_MAX) {
			close(fd);
			continue;
		}
		if (i == *n)
			(*n)++;
		clients[i] = (struct client){ .fd = fd };
		ev.data.u64 = i + 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	}
}

static void
serve(int port)
{
	static struct client clients[CLIENTS_MAX];
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 0 }, events[256];
	int server = listen_on(port), ep = epoll_create1(0);
	size_t n = 0;

	epoll_ctl(ep, EPOLL_CTL_ADD, server, &ev);
	for (;;) {
		int got = epoll_wait(ep, events, 256, 1);

		for (int i = 0; i < got; i++) {
			if (events[i].data.u64 == 0)
				accept_clients(server, ep, clients, &n);
			else if (clients[events[i].data.u64 - 1].fd >= 0)
				read_client(&clients[events[i].data.u64 - 1]);
		}
		answer_due(clients, n);
	}
}

int
main(int argc, char **argv)
{
	static const struct number_option options[] = { { "delay_ms", &delay_ms } };

	if (argc < 2) {
		fputs("usage: serve PORT [delay_ms=N]\n", stderr);
		return 2;
	}
	set_options(argv + 2, options, 1);
	serve(atoi(argv[1]));
	return 0;
}
