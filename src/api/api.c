/*
 * The api process, one a node, where api.listen is not off. It accepts on a
 * socket that the master holds and hands down, so that neither its death nor
 * a reload loses a client that was about to connect. What it tells of the node
 * it reads from the board; of jobs and all else, from the database. What it has
 * is in the tables of routes: see route.h.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "api/ask.h"
#include "api/caller.h"
#include "api/events.h"
#include "api/hook.h"
#include "api/metrics.h"
#include "api/probe.h"
#include "api/pull.h"
#include "api/route.h"
#include "api/server.h"
#include "api/ui.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "conf/shape.h"
#include "core/digest.h"
#include "core/jtext.h"
#include "core/msg.h"
#include "db/array.h"
#include "os/chan.h"
#include "os/proc.h"

#define CONNECTIONS_MAX 1000
#define EXPIRY_DAYS 14		/* before its end a certificate is warned of */
#define IDEMPOTENCY_KEY_MAX 255
#define OTHER_FDS 32		/* of this process, that are no connections */

struct api {
	const struct conf *conf;
	struct loop *loop;
	struct chan *master;	/* NULL: gone */
	struct server *server;
	struct callers *callers;
	struct asker *asker;
	struct events *events;
	struct tls_server *tls;	/* NULL: none */
	struct network *proxies;
	struct timer *give_up;	/* STOP's time is over */
};

static answer_fn get_metrics, get_openapi, get_session, post_session,
    delete_session, get_events;

static const struct param session_params[] = {
	{ "token", IN_BODY, PARAM_TEXT, "a token, where no Authorization says it", .max = 1024 },
	{ 0 }
};

static const struct param events_params[] = {
	{ "events", IN_QUERY, PARAM_TEXT, "a list of job, queue, alert and schedule",
	    .def = "job,queue,alert,schedule" },
	{ "queue", IN_QUERY, PARAM_TEXT, "of this queue, or of several: a,b" },
	{ "type", IN_QUERY, PARAM_TEXT, "of jobs of this type" },
	{ "state", IN_QUERY, PARAM_TEXT, "of jobs in this state, or in several: dead,cancelled" },
	{ "job", IN_QUERY, PARAM_ID, "of this job" },
	{ "last_event_id", IN_QUERY, PARAM_TEXT,
	    "go on behind this one; the header Last-Event-ID goes before" },
	{ 0 }
};

const struct route api_routes[] = {
	{ "GET", "/", "The dashboard", "dashboard", .answer = ui_page,
	    .any_query = true, .type = "text/html" },
	{ "GET", "/healthz", "Is this process of use? 200 also when the database is away",
	    "probes", .answer = probe_alive, .any_query = true },
	{ "GET", "/readyz", "Can this node run jobs? The health file, or 503",
	    "probes", .answer = probe_ready, .any_query = true },
	{ "GET", "/metrics", "Metrics for Prometheus", "probes",
	    .answer = get_metrics, .any_query = true, .type = "text/plain" },
	{ "GET", "/v1/openapi.json", "This description", "probes",
	    .answer = get_openapi, .any_query = true },
	{ "GET", "/v1/session", "Who calls: name, role and tenant of the token", "session",
	    ROLE_VIEWER, true, .answer = get_session },
	{ "POST", "/v1/session", "Log in: a cookie for a token", "session",
	    .answer = post_session, .params = session_params, .status = 204 },
	{ "DELETE", "/v1/session", "Log out: the cookie ends", "session",
	    .answer = delete_session, .status = 204 },
	{ "GET", "/v1/events", "What happens, as it happens: server-sent events", "events",
	    ROLE_VIEWER, true, .answer = get_events, .params = events_params,
	    .type = "text/event-stream" },
	{ 0 }
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

static void
get_openapi(struct exchange *x, void *arg)
{
	(void)arg;
	x->status = 200;
	openapi_text(&x->body, PACKAGE_VERSION);
	exchange_done(x);
}

static void
get_session(struct exchange *x, void *arg)
{
	(void)arg;
	session_show(x);
	exchange_done(x);
}

static void
post_session(struct exchange *x, void *arg)
{
	const struct api *api = arg;

	session_begin(api->callers, x);
	exchange_done(x);
}

static void
delete_session(struct exchange *x, void *arg)
{
	(void)arg;
	session_end(x);
	exchange_done(x);
}

static void
get_events(struct exchange *x, void *arg)
{
	const struct api *api = arg;

	events_stream(api->events, x);
}

/* The row of a route's statement: see route.h. */
static void
answer_row(struct exchange *x, const PGresult *res, void *arg)
{
	int body = PQfnumber(res, "body"), status = PQfnumber(res, "status");
	int location = PQfnumber(res, "location");

	(void)arg;
	if (PQntuples(res) == 0 || (body >= 0 && PQgetisnull(res, 0, body))) {
		exchange_problem(x, 404, "there is no %s", x->request.path);
		exchange_done(x);
		return;
	}
	x->status = status >= 0 && !PQgetisnull(res, 0, status) ?
	    (int)pg_int(res, 0, status) : x->route->status > 0 ? x->route->status : 200;
	if (location >= 0 && !PQgetisnull(res, 0, location))
		buf_printf(&x->headers, "Location: %s\r\n", pg_text(res, 0, location));
	if (body >= 0 && x->status != 204) {
		buf_str(&x->body, pg_text(res, 0, body));
		buf_char(&x->body, '\n');
	}
	exchange_done(x);
}

/* For a request that may come again: see api_once(). */
static void
ask_once(struct exchange *x, const char *key)
{
	static const char once[] = "SELECT status, body, location "
	    "FROM jobq.api_once($1, $2, $3, $4)";
	char hex[2 + DIGEST_HEX_MAX] = "\\x";
	unsigned char digest[DIGEST_SIZE];
	struct array values = { 0 };
	struct buf whole = { 0 }, format = { 0 };

	buf_printf(&whole, "%s %s?%s\n", x->request.method, x->request.path,
	    x->request.query ? x->request.query : "");
	buf_put(&whole, x->content.data, x->content.len);
	digest_sha256(digest, whole.data, whole.len);
	digest_hex(hex + 2, digest);
	/* $1 of the statement is the first of what it is formatted with. */
	for (const char *p = x->route->sql; *p != '\0';) {
		size_t n = strspn(p + 1, "0123456789");

		if (*p != '$' || n == 0) {
			buf_char(&format, *p++);
			continue;
		}
		buf_printf(&format, "%%%.*s$L", (int)n, p + 1);
		p += 1 + n;
	}
	for (size_t i = 0; i < route_params(x->route); i++)
		array_text(&values, x->values[i]);
	ask(x, once, 4, (const char *[]){ key, hex, format.data, array_close(&values) },
	    answer_row, NULL);
	array_clear(&values);
	buf_clear(&format);
	buf_clear(&whole);
}

/* The statement of the route. */
static void
ask_route(struct exchange *x)
{
	const struct route *r = x->route;
	const char *key = r->creates ? http_field(&x->request, "idempotency-key") : NULL;

	if (key != NULL)
		ask_once(x, key);
	else
		ask(x, r->sql, (int)route_params(r), (const char *const *)x->values,
		    answer_row, NULL);
}

/* What goes into a queue, encrypted if that wants it. */
static void
seal_and_ask(struct exchange *x, const char *queue)
{
	struct err e;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < route_params(x->route); i++) {
		const char *name = x->route->params[i].name;

		if (x->values[i] == NULL)
			continue;
		if (strcmp(name, "data") == 0)
			rc = conf_seal_data(ask_conf(x), queue, &x->values[i], &e);
		else if (strcmp(name, "jobs") == 0)
			rc = conf_seal_jobs(ask_conf(x), queue, &x->values[i], &e);
	}
	if (rc == 0) {
		ask_route(x);
		return;
	}
	log_error("not encrypted", "path=%s reason=%s", x->request.path, e.msg);
	exchange_problem(x, 500, "this failed here; the log says why");
	exchange_done(x);
}

/* No row: there is no such job, as the statement will say. */
static void
on_queue(struct exchange *x, const PGresult *res, void *arg)
{
	(void)arg;
	if (PQntuples(res) > 0)
		seal_and_ask(x, pg_text(res, 0, 0));
	else
		ask_route(x);
}

static bool
any_encrypted(const struct conf *conf)
{
	for (size_t i = 0; i < conf->nqueues; i++)
		if (conf->queues[i].encrypt.keys != NULL)
			return true;
	return false;
}

/* Other data for a job: its queue is known to the database alone. */
static void
find_queue(struct exchange *x)
{
	const char *params[] = { route_value(x, "id") };

	if (params[0] == NULL || route_value(x, "data") == NULL ||
	    !any_encrypted(ask_conf(x)))
		ask_route(x);
	else
		ask(x, "SELECT q.name FROM jobq.job j JOIN jobq.queue q "
		    "ON q.id = j.queue WHERE j.id = $1", 1, params, on_queue, NULL);
}

/* Data that no worker would begin, by its queue's schema; what is encrypted, or
 * no object at all, is the business of others. */
static bool
data_fits(const struct queue_conf *q, const char *data, char *why, size_t size)
{
	return *data != '{' || seal_is(data) ||
	    shape_fits(q->schema, data, why, size);
}

/* True; or false, and the problem is told. */
static bool
values_fit(struct exchange *x)
{
	const struct queue_conf *q = conf_queue(ask_conf(x), route_value(x, "queue"));
	const char *one = route_value(x, "data"), *at = route_value(x, "jobs"), *job;
	char why[512], text[600];
	size_t len;

	if (q == NULL || q->schema == NULL)
		return true;
	if (one != NULL && !data_fits(q, one, why, sizeof(why))) {
		exchange_problem_of(x, 422, "data", why);
		return false;
	}
	for (int n = 1; at != NULL && (job = jtext_element(&at, &len)) != NULL; n++) {
		const char *data = *job == '{' ? jtext_member(job, "data", &len) : job;

		if (data_fits(q, data == NULL ? "{}" : data, why, sizeof(why)))
			continue;
		snprintf(text, sizeof(text), "job %d: %s", n, why);
		exchange_problem_of(x, 422, "jobs", text);
		return false;
	}
	return true;
}

/* Whatever the route: its parameters, then its function or its statement. */
static void
answer(struct exchange *x, void *arg)
{
	const struct route *r = x->route;
	const char *key = r->creates ? http_field(&x->request, "idempotency-key") : NULL;
	struct route_problem p;

	x->values = xcalloc(ROUTE_PARAMS_MAX, sizeof(*x->values));
	if (route_read(r, &x->request, &x->content, x->values, &p) < 0) {
		exchange_problem_of(x, p.status, p.field, p.text);
		exchange_done(x);
	} else if (key != NULL && (*key == '\0' || strlen(key) > IDEMPOTENCY_KEY_MAX)) {
		exchange_problem_of(x, 422, "Idempotency-Key",
		    "the Idempotency-Key is to have 1 to 255 bytes");
		exchange_done(x);
	} else if (r->enqueues && !values_fit(x)) {
		exchange_done(x);
	} else if (r->answer != NULL) {
		r->answer(x, arg);
	} else if (!r->seals) {
		ask_route(x);
	} else if (route_value(x, "queue") != NULL) {
		seal_and_ask(x, route_value(x, "queue"));
	} else {
		find_queue(x);
	}
}

/* Who answers; else the answer is that nobody does, or not to this caller. */
static answer_fn *
route(struct exchange *x, void *arg)
{
	struct api *api = arg;
	struct buf allow = { 0 };

	x->route = route_find(x->request.method, x->request.path, &allow);
	x->asker = api->asker;
	if (x->route == NULL && allow.len > 0) {
		exchange_problem(x, 405, "%s is not for %s; allowed: %s",
		    x->request.method, x->request.path, allow.data);
		buf_printf(&x->headers, "Allow: %s\r\n", allow.data);
	} else if (x->route == NULL) {
		exchange_problem(x, 404, "there is no %s", x->request.path);
	}
	buf_clear(&allow);
	if (x->route == NULL || !callers_admit(api->callers, x, x->route))
		return NULL;
	return answer;
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
		pull_stop();
		server_stop(api->server, leave, api);
		timer_set(api->give_up, msg_get_range(&r, 0, INT64_C(86400000)) *
		    MONO_MS);
	} else if (!pull_message(type, &r)) {
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
	pull_master_gone();
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

/* The files were good when the configuration was read. */
static int
init_tls(struct api *api)
{
	const char *cert = api->conf->api.tls_cert;
	struct err e;
	int64_t days;

	if (*cert == '\0')
		return 0;
	api->tls = tls_server_new(cert, api->conf->api.tls_key, &e);
	if (api->tls == NULL) {
		log_error("no TLS", "reason=%s", e.msg);
		return -1;
	}
	days = (tls_server_expires(api->tls) - (int64_t)time(NULL)) / 86400;
	if (days < EXPIRY_DAYS)
		log_warn("the certificate expires", "file=%s days=%lld", cert,
		    (long long)days);
	return 0;
}

static struct forward_options
init_proxies(struct api *api)
{
	size_t n = api->conf->api.nproxies;

	api->proxies = xcalloc(n + 1, sizeof(*api->proxies));
	for (size_t i = 0; i < n; i++)
		network_parse(api->conf->api.proxies[i], &api->proxies[i]);
	return (struct forward_options){ .trusted = api->proxies,
	    .ntrusted = n, .field = api->conf->api.forwarded };
}

static int
api_init(struct api *api, const struct conf *conf)
{
	static const struct chan_ops ops = { on_message, on_closed };
	struct server_options options = {
		.route = route, .arg = api,
		.body_max = (size_t)conf->api.max_body,
		.connections_max = most_connections(),
		.per_address = (size_t)conf->api.per_address,
		.head_within = 10 * MONO_SECOND,
		.body_within = 30 * MONO_SECOND,
		.write_within = 30 * MONO_SECOND,
		.idle_within = 60 * MONO_SECOND,
	};

	*api = (struct api){ .conf = conf, .loop = loop_new() };
	if (init_tls(api) != 0)
		return -1;
	options.tls = api->tls;
	options.forward = init_proxies(api);
	loop_signal(api->loop, SIGTERM, on_term, api);
	api->master = chan_new(api->loop, PROC_CHANNEL_FD, &ops, api);
	api->callers = callers_new(conf);
	api->asker = asker_new(api->loop, conf);
	pull_open(api->loop, conf, api->master);
	api->events = events_new(api->loop, conf, options.connections_max / 2);
	hooks_open(conf, api->callers);
	api->give_up = timer_new(api->loop, leave, api);
	api->server = server_new(api->loop, PROC_EXTRA_FD, &options);
	chan_send(api->master, MSG_READY, NULL, 0, -1);
	return 0;
}

static void
api_clear(struct api *api)
{
	pull_close();
	/* Exchanges that wait for the database outlive their connections. */
	server_free(api->server);
	events_free(api->events);
	asker_free(api->asker);
	callers_free(api->callers);
	tls_server_free(api->tls);
	free(api->proxies);
	hooks_close();
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
	if (api_init(&api, conf) != 0)
		return EXIT_FAILURE;
	loop_run(api.loop);
	api_clear(&api);
	return 0;
}
