/*
 * The api process, one a node, where api.listen is not off. It accepts on a
 * socket that the master holds and hands down, so that neither its death nor
 * a reload loses a client that was about to connect. What it tells of the node
 * it reads from the board.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/api.h"
#include "api/metrics.h"
#include "api/probe.h"
#include "api/server.h"
#include "base/log.h"
#include "core/msg.h"
#include "os/chan.h"
#include "os/proc.h"

#define CONNECTIONS_MAX 1000
#define OTHER_FDS 32		/* of this process, that are no connections */

struct api {
	const struct conf *conf;
	struct loop *loop;
	struct chan *master;	/* NULL: gone */
	struct server *server;
	struct timer *give_up;	/* STOP's time is over */
};

static answer_fn get_metrics;

static const struct route {
	const char *method;	/* GET is HEAD, too */
	const char *path;
	answer_fn *answer;
} routes[] = {
	{ "GET", "/healthz", probe_alive },
	{ "GET", "/metrics", get_metrics },
	{ "GET", "/readyz", probe_ready },
};

/*
 * Routes
 */

static void
get_metrics(struct exchange *x, void *arg)
{
	const struct api *api = arg;
	const char *accept = http_field(&x->request, "accept");
	int open = http_accepts(accept, "application/openmetrics-text");
	/* To who names no type, or any, the form that everything reads. */
	bool openmetrics = accept != NULL &&
	    strcasestr(accept, "openmetrics") != NULL && open > 0 &&
	    open >= http_accepts(accept, "text/plain");

	x->status = 200;
	x->type = metrics_type(openmetrics);
	metrics_text(&x->body, openmetrics, api->conf->daemon.node);
	exchange_done(x);
}

static bool
matches(const struct route *r, const char *method)
{
	return strcmp(r->method, method) == 0 ||
	    (strcmp(r->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* Who answers; else the answer is that nobody does. */
static answer_fn *
route(struct exchange *x, void *arg)
{
	struct buf allow = { 0 };

	(void)arg;
	for (size_t i = 0; i < sizeof(routes) / sizeof(*routes); i++) {
		if (strcmp(routes[i].path, x->request.path) != 0)
			continue;
		if (matches(&routes[i], x->request.method)) {
			buf_clear(&allow);
			return routes[i].answer;
		}
		buf_printf(&allow, "%s%s", allow.len > 0 ? ", " : "",
		    strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" :
		    routes[i].method);
	}
	if (allow.len > 0) {
		exchange_problem(x, 405, "%s is not for %s; allowed: %s",
		    x->request.method, x->request.path, allow.data);
		buf_printf(&x->headers, "Allow: %s\r\n", allow.data);
	} else {
		exchange_problem(x, 404, "there is no %s", x->request.path);
	}
	buf_clear(&allow);
	return NULL;
}

/*
 * The process
 */

static void
leave(void *arg)
{
	struct api *api = arg;

	loop_stop(api->loop);
}

static void
on_message(struct chan *master, uint32_t type, const void *body, size_t len,
    int fd, void *arg)
{
	struct api *api = arg;
	struct msg_reader r;

	if (fd >= 0)
		close(fd);
	msg_read(&r, body, len);
	if (type == MSG_PING) {
		chan_send(master, MSG_PONG, NULL, 0, -1);
	} else if (type == MSG_STOP) {
		server_stop(api->server, leave, api);
		timer_set(api->give_up, msg_get_range(&r, 0, INT64_C(86400000)) *
		    MONO_MS);
	} else {
		log_warn("unexpected message", "type=%u", type);
	}
}

static void
on_closed(struct chan *master, const char *reason, void *arg)
{
	struct api *api = arg;

	log_debug("master gone", "reason=%s", reason);
	chan_free(master);
	api->master = NULL;
	loop_stop(api->loop);
}

static void
on_term(int signo, void *arg)
{
	(void)signo;
	leave(arg);
}

static size_t
most_connections(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
	    limit.rlim_cur >= CONNECTIONS_MAX + OTHER_FDS)
		return CONNECTIONS_MAX;
	return limit.rlim_cur > 2 * OTHER_FDS ? limit.rlim_cur - OTHER_FDS :
	    OTHER_FDS;
}

static void
api_init(struct api *api, const struct conf *conf)
{
	static const struct chan_ops ops = { on_message, on_closed };
	struct server_options options = {
		.route = route, .arg = api,
		.body_max = (size_t)conf->api.max_body,
		.connections_max = most_connections(),
		.head_within = 10 * MONO_SECOND,
		.body_within = 30 * MONO_SECOND,
		.write_within = 30 * MONO_SECOND,
		.idle_within = 60 * MONO_SECOND,
	};

	*api = (struct api){ .conf = conf, .loop = loop_new() };
	loop_signal(api->loop, SIGTERM, on_term, api);
	api->master = chan_new(api->loop, PROC_CHANNEL_FD, &ops, api);
	api->give_up = timer_new(api->loop, leave, api);
	api->server = server_new(api->loop, PROC_EXTRA_FD, &options);
	chan_send(api->master, MSG_READY, NULL, 0, -1);
}

static void
api_clear(struct api *api)
{
	server_free(api->server);
	timer_free(api->give_up);
	chan_free(api->master);
	loop_free(api->loop);
}

int
api_main(const struct conf *conf)
{
	struct api api;

	log_process("api");
	proc_title("jobqd: api");
	api_init(&api, conf);
	loop_run(api.loop);
	api_clear(&api);
	return 0;
}
