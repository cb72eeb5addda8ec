/*
 * The same HTTP request again and again, over connections that are kept: for
 * the benchmarks of the API.
 *
 *	request PORT FILE [clients=N seconds=N rate=N]
 *
 * FILE has the request, its head and body as they are sent to 127.0.0.1. Without
 * a rate each client sends its next one when it has the answer. With a rate
 * requests are due at fixed times, and how long one takes is counted from when
 * it was due, so that nobody is spared for being slow.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

#define CLIENTS_MAX 256
#define ANSWER_MAX (4 << 20)

static int port;
static long clients = 8, seconds = 10, rate;
static char *request;
static size_t request_len;
static double began;
static atomic_long turn;	/* the next one of those that are due at fixed times */

struct client {
	pthread_t thread;
	int fd;
	char *in;
	size_t len;
	double *took;		/* ms of each */
	size_t n, room;
	long bad;		/* answers that are no 2xx */
};

static void
read_request(const char *path)
{
	FILE *f = fopen(path, "r");

	if (f == NULL)
		fail(path, strerror(errno));
	request = malloc(ANSWER_MAX);
	request_len = fread(request, 1, ANSWER_MAX, f);
	fclose(f);
}

static void
dial(struct client *c)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int on = 1;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	at.sin_port = htons((uint16_t)port);
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&at, sizeof(at)) != 0)
		fail("connecting", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->len = 0;
}

static void
send_request(struct client *c)
{
	for (size_t sent = 0; sent < request_len;) {
		ssize_t n = send(c->fd, request + sent, request_len - sent, MSG_NOSIGNAL);

		if (n <= 0)
			fail("sending", strerror(errno));
		sent += (size_t)n;
	}
}

/* Bytes of the whole answer, 0: it is not all here. */
static size_t
answer_len(const char *in)
{
	const char *end = strstr(in, "\r\n\r\n"), *field;

	if (end == NULL)
		return 0;
	field = strcasestr(in, "\r\nContent-Length:");
	return (size_t)(end + 4 - in) + (field != NULL && field < end ?
	    (size_t)strtoul(field + 17, NULL, 10) : 0);
}

/* Read one answer. Returns its status. */
static int
read_answer(struct client *c)
{
	size_t whole = 0;
	int status;

	while (whole == 0 || c->len < whole) {
		ssize_t n = c->len < ANSWER_MAX ?
		    recv(c->fd, c->in + c->len, ANSWER_MAX - c->len, 0) : -1;

		if (n <= 0)
			fail("receiving", n == 0 ? "the connection was closed" : strerror(errno));
		c->len += (size_t)n;
		c->in[c->len] = '\0';
		if (whole == 0)
			whole = answer_len(c->in);
	}
	status = strncmp(c->in, "HTTP/1.1 ", 9) == 0 ? atoi(c->in + 9) : 0;
	c->len = 0;
	return status;
}

static void
keep(struct client *c, double ms)
{
	if (c->n == c->room) {
		c->room = c->room * 2 + 1024;
		c->took = realloc(c->took, c->room * sizeof(*c->took));
		if (c->took == NULL)
			fail("memory", "none left");
	}
	c->took[c->n++] = ms;
}

static void *
run(void *arg)
{
	struct client *c = arg;

	for (;;) {
		double due = now();
		int status;

		if (rate > 0) {
			due = began + (double)atomic_fetch_add(&turn, 1) / (double)rate;
			sleep_until(due);
		}
		if (due >= began + (double)seconds)
			return NULL;
		send_request(c);
		status = read_answer(c);
		keep(c, (now() - due) * 1000);
		c->bad += status < 200 || status > 299;
	}
}

static void
tell(const struct client *all)
{
	double took = now() - began, *every;
	size_t n = 0;
	long bad = 0;

	for (long i = 0; i < clients; i++)
		n += all[i].n;
	every = allocate(n + 1, sizeof(*every));
	n = 0;
	for (long i = 0; i < clients; i++) {
		memcpy(every + n, all[i].took, all[i].n * sizeof(*every));
		n += all[i].n;
		bad += all[i].bad;
	}
	if (n == 0)
		fail("requests", "not one was answered");
	sort_numbers(every, n);
	printf("{\"requests\":%zu,\"bad\":%ld,\"seconds\":%.3f,\"rate\":%.1f,"
	    "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n", n, bad, took,
	    (double)n / took, quantile(every, n, 0.5),
	    quantile(every, n, 0.99), quantile(every, n, 1));
	free(every);
}

int
main(int argc, char **argv)
{
	static const struct number_option options[] = {
		{ "clients", &clients }, { "seconds", &seconds }, { "rate", &rate },
	};
	static struct client all[CLIENTS_MAX];

	if (argc < 3) {
		fputs("usage: request PORT FILE [clients=N seconds=N rate=N]\n", stderr);
		return 2;
	}
	port = atoi(argv[1]);
	read_request(argv[2]);
	set_options(argv + 3, options, sizeof(options) / sizeof(options[0]));
	if (clients < 1 || clients > CLIENTS_MAX || seconds < 1)
		fail("options", "clients is 1 to 256, seconds at least 1");
	for (long i = 0; i < clients; i++) {
		all[i].in = malloc(ANSWER_MAX + 1);
		dial(&all[i]);
	}
	began = now();
	for (long i = 0; i < clients; i++)
		if (pthread_create(&all[i].thread, NULL, run, &all[i]) != 0)
			fail("threads", "no more");
	for (long i = 0; i < clients; i++)
		pthread_join(all[i].thread, NULL);
	tell(all);
	return 0;
}
