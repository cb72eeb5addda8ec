/*
 * What a configuration that is right turns into: values, defaults, digests,
 * the dump; and what bounds it.
 */
#include "confs.h"

#include <signal.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "conf/shape.h"
#include "core/job.h"

#define MINUTE INT64_C(60000)
#define DAY (24 * 60 * MINUTE)

static void
test_conf_defaults(void **state)
{
	struct conf *conf = confs_load("");
	char hostname[256];

	(void)state;
	assert_string_equal(conf->path, "x.yml");
	assert_string_equal(conf->daemon.user, "jobqd");
	assert_string_equal(conf->daemon.pid_file, "/run/jobqd/jobqd.pid");
	assert_int_equal(conf->daemon.shutdown_timeout_ms, 30000);
	assert_string_equal(conf->daemon.timezone, "UTC");
	assert_int_equal(gethostname(hostname, sizeof(hostname)), 0);
	assert_string_equal(conf->daemon.node, hostname);
	assert_string_equal(conf->database.url, "postgresql:///jobq");
	assert_string_equal(conf->database.embedded, "");
	assert_string_equal(conf->database.schema, "jobq");
	assert_true(conf->database.migrate_auto);
	assert_false(conf->database.pooler_transaction);
	assert_string_equal(conf->log.file, "stderr");
	assert_int_equal(conf->log.level, LOG_LEVEL_INFO);
	assert_int_equal(conf->log.format, LOG_TEXT);
	assert_string_equal(conf->api.listen, "127.0.0.1:8787");
	assert_int_equal(conf->api.rate_count, 100);
	assert_int_equal(conf->api.rate_period_ms, 1000);
	assert_int_equal(conf->api.max_body, 1 << 20);
	assert_int_equal(conf->monitor.interval_ms, MINUTE);
	assert_int_equal(conf->npolicies, 1);
	assert_string_equal(conf->policies[0].name, "default");
	assert_int_equal(conf->nqueues, 0);
	assert_null(conf->workflows);
	conf_free(conf);
	conf_free(NULL);
}

static void
test_conf_queue_defaults(void **state)
{
	struct conf *conf = confs_load("handlers: {h: {driver: noop}}\n"
	    "queues: {email: {handler: h}}\n");
	const struct queue_conf *q = conf_queue(conf, "email");

	(void)state;
	assert_non_null(q);
	assert_null(conf_queue(conf, "mail"));
	assert_ptr_equal(conf_handler(conf, "h"), q->types[0].handler);
	assert_int_equal(q->ntypes, 1);
	assert_string_equal(q->types[0].type, "");
	assert_int_equal(q->types[0].timeout_ms, 0);
	assert_int_equal(q->workers, 1);
	assert_int_equal(q->concurrency, 1);
	assert_int_equal(q->priority, 5);
	assert_int_equal(q->timeout_ms, MINUTE);
	assert_int_equal(q->cancel_signal, SIGTERM);
	assert_int_equal(q->grace_ms, 5000);
	assert_int_equal(q->expire_ms, 0);
	assert_int_equal(q->lease_ms, 30000);
	assert_int_equal(q->poll_ms, 1000);
	assert_ptr_equal(q->retry, &conf->policies[0]);
	assert_string_equal(q->unique, "");
	assert_int_equal(q->unique_ms, UNIQUE_DONE);
	assert_false(q->breaker);
	assert_int_equal(q->max_payload, 100 * 1024);
	assert_null(q->schema);
	assert_false(sandbox_is_on(&q->box));
	assert_int_equal(q->keep.completed_ms, DAY);
	assert_int_equal(q->keep.dead_ms, 90 * DAY);
	assert_int_equal(q->recycle.jobs, 10000);
	assert_int_equal(q->recycle.rss_bytes, INT64_C(512) << 20);
	assert_true(q->enabled);
	conf_free(conf);
}

static void
test_conf_types(void **state)
{
	struct conf *conf = confs_load(
	    "handlers: {a: {driver: noop}, null: {driver: exec}}\n"
	    "queues:\n"
	    "  q:\n"
	    "    handler: null\n"
	    "    types: {one: a, two: {handler: a, timeout: 5m}, three: {timeout: 1s}}\n");
	const struct queue_conf *q = conf_queue(conf, "q");

	(void)state;
	assert_int_equal(q->ntypes, 4);
	assert_string_equal(q->types[0].type, "one");
	assert_string_equal(q->types[0].handler->driver, "noop");
	assert_int_equal(q->types[1].timeout_ms, 5 * MINUTE);
	assert_string_equal(q->types[2].handler->name, "null");
	assert_int_equal(q->types[2].timeout_ms, 1000);
	assert_string_equal(q->types[3].type, "");
	assert_string_equal(q->types[3].handler->driver, "exec");
	conf_free(conf);
}

static void
test_conf_policies(void **state)
{
	struct conf *conf = confs_load(
	    "retry:\n"
	    "  squares: {attempts: 4, backoff: polynomial, base: 1s, exponent: 2, jitter: 0%}\n"
	    "  graph:\n"
	    "    retries: 5\n"
	    "    backoff: [1s, 2s, 90m]\n"
	    "    on:\n"
	    "      rate_limit: {attempts: 6, respect_retry_after: false}\n"
	    "      network: {base: 10s}\n"
	    "      auth: {retries: 1, backoff: fixed, base: 5m}\n"
	    "handlers: {h: {driver: noop}}\n"
	    "queues:\n"
	    "  a: {handler: h, retry: squares}\n"
	    "  b: {handler: h, retry: {attempts: 7, backoff: fixed, base: 1h}}\n");
	const struct retry_policy *p = conf_queue(conf, "a")->retry;

	(void)state;
	assert_int_equal(conf->npolicies, 3);
	assert_string_equal(p->name, "squares");
	assert_int_equal(p->attempts, 4);
	assert_int_equal(p->max_crashes, 3);
	assert_int_equal(p->backoff.shape, BACKOFF_POLYNOMIAL);
	assert_int_equal(p->backoff.base_ms, 1000);
	assert_int_equal(p->backoff.max_ms, MINUTE);
	assert_true(p->backoff.exponent == 2 && p->backoff.jitter == 0);
	assert_int_equal(p->on[CLASS_NETWORK].attempts, 0);
	assert_int_equal(p->on[CLASS_NETWORK].respect_retry_after, -1);

	p = &conf->policies[1];
	assert_int_equal(p->attempts, 6);
	assert_int_equal(p->on[CLASS_AUTH].attempts, 2);
	assert_int_equal(p->backoff.shape, BACKOFF_LIST);
	assert_int_equal(p->backoff.ndelays, 3);
	assert_int_equal(p->backoff.delays_ms[2], 90 * MINUTE);
	assert_int_equal(p->backoff.max_ms, 0);
	assert_int_equal(p->on[CLASS_RATE_LIMIT].attempts, 6);
	assert_int_equal(p->on[CLASS_RATE_LIMIT].respect_retry_after, 0);
	assert_false(p->on[CLASS_RATE_LIMIT].has_backoff);
	assert_true(p->on[CLASS_NETWORK].has_backoff);
	assert_int_equal(p->on[CLASS_NETWORK].backoff.shape, BACKOFF_LIST);
	assert_int_equal(p->on[CLASS_NETWORK].backoff.base_ms, 10000);
	assert_int_equal(p->on[CLASS_AUTH].backoff.shape, BACKOFF_FIXED);
	assert_int_equal(p->on[CLASS_AUTH].backoff.max_ms, 0);

	p = conf_queue(conf, "b")->retry;
	assert_int_equal(p->attempts, 7);
	assert_string_equal(p->name, "queues.b");
	assert_int_equal(p->backoff.base_ms, 60 * MINUTE);
	conf_free(conf);
}

static void
test_conf_priorities(void **state)
{
	struct conf *conf = confs_load(
	    "priority_scales:\n"
	    "  stars: {order: large_first, names: {one: 1, five: 5}}\n"
	    "handlers: {h: {driver: noop}}\n"
	    "queues:\n"
	    "  a: {handler: h, priority: critical}\n"
	    "  b: {handler: h, priority: 42}\n"
	    "  c: {handler: h, priority_scale: fleettracker, priority: critical}\n"
	    "  d: {handler: h, priority_scale: stars, priority: five}\n"
	    "  e: {handler: h, priority_scale: stars, priority: 7}\n"
	    "  f: {handler: h, priority_scale: rto}\n");

	(void)state;
	assert_int_equal(conf_queue(conf, "a")->priority, 1);
	assert_int_equal(conf_queue(conf, "b")->priority, 42);
	assert_false(conf_queue(conf, "b")->large_first);
	assert_int_equal(conf_queue(conf, "c")->priority, PRIORITY_MAX - 20);
	assert_true(conf_queue(conf, "c")->large_first);
	assert_int_equal(conf_queue(conf, "d")->priority, PRIORITY_MAX - 5);
	assert_string_equal(conf_queue(conf, "d")->scale->names[1].name,
	    "five");
	assert_int_equal(conf_queue(conf, "e")->priority, PRIORITY_MAX - 7);
	assert_int_equal(conf_queue(conf, "f")->priority, 10);
	conf_free(conf);
}

/* The scales that there are already: S0-14, S1-3, S2-15, S3-3, S4-7. */
static void
test_conf_scales(void **state)
{
	static const struct { const char *scale, *name; int stored; } names[] = {
		{ "default", "critical", 1 }, { "default", "high", 3 },
		{ "default", "normal", 5 }, { "default", "low", 8 },
		{ "default", "very_low", 10 },
		{ "fleettracker", "critical", PRIORITY_MAX - 20 },
		{ "fleettracker", "high", PRIORITY_MAX - 10 },
		{ "fleettracker", "normal", PRIORITY_MAX - 5 },
		{ "fleettracker", "low", PRIORITY_MAX - 1 },
		{ "rto", "critical", 1 }, { "rto", "high", 5 },
		{ "rto", "normal", 10 }, { "rto", "low", 15 },
		{ "hse", "critical", 1 }, { "hse", "high", 2 }, { "hse", "normal", 3 },
		{ "hse", "low", 4 }, { "hse", "very_low", 5 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char text[256];
		struct conf *conf;

		snprintf(text, sizeof(text), "handlers: {h: {driver: noop}}\n"
		    "queues: {q: {handler: h, priority_scale: %s, priority: %s}}\n",
		    names[i].scale, names[i].name);
		conf = confs_load(text);
		assert_int_equal(conf_queue(conf, "q")->priority, names[i].stored);
		conf_free(conf);
	}
}

static void
test_conf_schedules(void **state)
{
	struct conf *conf = confs_load(
	    "daemon: {timezone: UTC}\n"
	    "handlers: {h: {driver: noop}}\n"
	    "queues: {q: {handler: h}}\n"
	    "schedules:\n"
	    "  a: {cron: \"*/30 * * * * *\", queue: q, type: t, data: {n: 1, s: \"1\", b: yes, l: [true, ~]}}\n"
	    "  b: {every: 30s, queue: q, enabled: off, requires_env: [A, B]}\n"
	    "  c: {at: \"2026-12-01T11:00:00.5+01:00\", queue: q}\n");
	const struct schedule_conf *s = conf->schedules;

	(void)state;
	assert_int_equal(conf->nschedules, 3);
	assert_int_equal(s[0].kind, SPEC_CRON);
	assert_string_equal(s[0].spec, "*/30 * * * * *");
	assert_int_equal(s[0].cron.seconds, UINT64_C(1) | UINT64_C(1) << 30);
	assert_string_equal(s[0].type, "t");
	assert_string_equal(s[0].data,
	    "{\"n\":1,\"s\":\"1\",\"b\":\"yes\",\"l\":[true,null]}");
	assert_string_equal(s[0].timezone, "UTC");
	assert_true(s[0].enabled);
	assert_int_equal(s[0].catch_up, CATCH_UP_LAST);
	assert_int_equal(s[0].catch_up_window_ms, 60 * MINUTE);
	assert_int_equal(s[1].kind, SPEC_EVERY);
	assert_int_equal(s[1].every_ms, 30000);
	assert_false(s[1].enabled);
	assert_int_equal(s[1].nrequires_env, 2);
	assert_string_equal(s[1].data, "{}");
	assert_int_equal(s[2].kind, SPEC_AT);
	assert_int_equal(s[2].at_ms, INT64_C(1796119200500));
	conf_free(conf);
}

static void
test_conf_booleans(void **state)
{
	static const char *const yes[] = { "true", "yes", "on", "1", "True",
	    "\"yes\"" };
	static const char *const no[] = { "false", "no", "off", "0", "OFF",
	    "'0'" };
	char text[200];

	(void)state;
	for (size_t i = 0; i < 12; i++) {
		struct conf *conf;

		snprintf(text, sizeof(text), "handlers: {h: {driver: noop}}\n"
		    "queues: {q: {handler: h, enabled: %s}}\n",
		    i < 6 ? yes[i] : no[i - 6]);
		conf = confs_load(text);
		assert_int_equal(conf->queues[0].enabled, i < 6);
		conf_free(conf);
	}
}

static void
test_conf_variables(void **state)
{
	struct conf *conf;

	(void)state;
	setenv("JOBQD_A", "one", 1);
	setenv("JOBQD_EMPTY", "", 1);
	unsetenv("JOBQD_NONE");
	conf = confs_load(
	    "log: {file: \"/${JOBQD_A}/${JOBQD_NONE:-two}/${JOBQD_EMPTY:-three}${JOBQD_EMPTY}\"}\n"
	    "daemon:\n"
	    "  user: ${JOBQD_A}\n"
	    "  group: $JOBQD_A $1 $$ $${JOBQD_A} ${JOBQD_NONE:-a:-$b}\n"
	    "  pid_file: ${JOBQD_NONE:-}\n");
	assert_string_equal(conf->log.file, "/one/two/three");
	assert_string_equal(conf->daemon.user, "one");
	assert_string_equal(conf->daemon.group,
	    "$JOBQD_A $1 $$ ${JOBQD_A} a:-$b");
	assert_string_equal(conf->daemon.pid_file, "");
	conf_free(conf);
	/* What comes out of a variable is text, never more YAML. */
	setenv("JOBQD_A", "x\nuser: root\n${HOME}", 1);
	conf = confs_load("daemon:\n  group: ${JOBQD_A}\n");
	assert_string_equal(conf->daemon.group, "x\nuser: root\n${HOME}");
	assert_string_equal(conf->daemon.user, "jobqd");
	conf_free(conf);
}

static void
test_conf_include(void **state)
{
	struct conf *conf;

	(void)state;
	assert_int_equal(mkdir("conf.d", 0700), 0);
	confs_write("conf.d/b.yml", "queues:\n  b: {handler: h}\n"
	    "log: {level: debug}\n");
	confs_write("conf.d/a.yml", "queues:\n  a: {handler: h}\n"
	    "include: more/*.yml\nschedules:\n");
	assert_int_equal(mkdir("conf.d/more", 0700), 0);
	confs_write("conf.d/more/h.yml", "handlers: {h: {driver: noop}}\n");
	conf = confs_load("include: [conf.d/*.yml, none.d/*.yml]\n"
	    "queues:\n  main: {handler: h}\n"
	    "log: {format: json}\nhandlers:\n");
	assert_int_equal(conf->nqueues, 3);
	assert_string_equal(conf->queues[0].name, "main");
	assert_string_equal(conf->queues[1].name, "a");
	assert_string_equal(conf->queues[2].name, "b");
	assert_int_equal(conf->log.level, LOG_LEVEL_DEBUG);
	assert_int_equal(conf->log.format, LOG_JSON);
	assert_int_equal(conf->nfiles, 4);
	assert_string_equal(conf->files[2], "conf.d/more/h.yml");
	assert_string_equal(conf->handlers[0].file, "conf.d/more/h.yml");
	conf_free(conf);
}

static void
test_conf_embedded(void **state)
{
	struct conf *conf = confs_load("database: {embedded: \"/tmp/it's\"}\n");
	char *dump = confs_dump(conf);

	(void)state;
	assert_string_equal(conf->database.url,
	    "host='/tmp/it\\'s' port=5432 user=jobq dbname=jobq");
	conf_free(conf);
	conf = confs_load(dump);
	assert_string_equal(conf->database.embedded, "/tmp/it's");
	conf_free(conf);
	free(dump);
}

/* Times without an offset are of the schedule's zone, which is the daemon's
 * unless it has one. */
static void
test_conf_zones(void **state)
{
	static const char text[] =
	    "daemon: {timezone: Australia/Sydney}\n"
	    "handlers: {h: {driver: noop}}\n"
	    "queues: {q: {handler: h}}\n"
	    "schedules:\n"
	    "  a: {cron: \"0 2 * * *\", queue: q}\n"
	    "  b: {at: \"2026-12-01T11:00\", queue: q, dst: skip, timezone: Europe/Berlin}\n"
	    "  c: {at: \"2026-12-01 11:00:00.5\", queue: q, dst: clock}\n"
	    "  d: {every: 1h, starts: 2026-12-01T11:00:00, ends: \"2026-12-01T11:00:00+01:00\", queue: q}\n"
	    "  e: {every: 1h, queue: q, timezone: UTC}\n";
	struct conf *conf;
	const struct schedule_conf *s;
	char *first, *second;

	(void)state;
	if (access("/usr/share/zoneinfo/Australia/Sydney", R_OK) != 0)
		skip();
	conf = confs_load(text);
	s = conf->schedules;
	assert_int_equal(zone_span(conf->daemon.zone, INT64_C(1796083200)).offset,
	    11 * 3600);
	assert_ptr_equal(s[0].zone, conf->daemon.zone);
	assert_string_equal(s[0].timezone, "Australia/Sydney");
	assert_int_equal(s[0].dst, CRON_DST_STANDARD);
	assert_int_equal(s[1].dst, CRON_DST_SKIP);
	assert_int_equal(s[1].at_ms, INT64_C(1796119200000));
	assert_int_equal(s[2].dst, CRON_DST_CLOCK);
	assert_int_equal(s[2].at_ms, INT64_C(1796083200500));
	assert_int_equal(s[3].starts_ms, INT64_C(1796083200000));
	assert_int_equal(s[3].ends_ms, INT64_C(1796119200000));
	assert_null(s[4].zone);
	first = confs_dump(conf);
	conf_free(conf);
	conf = confs_load(first);
	assert_int_equal(conf->schedules[1].at_ms, INT64_C(1796119200000));
	assert_int_equal(conf->schedules[3].starts_ms, INT64_C(1796083200000));
	second = confs_dump(conf);
	assert_string_equal(first, second);
	free(first);
	free(second);
	conf_free(conf);
}

static void
test_conf_shape(void **state)
{
	static const struct { const char *data, *why; } cases[] = {
		{ "{\"to\": \"a\", \"n\": 3, \"x\": null}", NULL },
		{ "{\"n\": -3, \"to\": \"\", \"x\": [1], \"more\": 1, \"list\": null, \"ok\": false}", NULL },
		{ "{\"n\": 0, \"to\": \"\", \"x\": 1, \"list\": [], \"part\": 2, \"o\": {}}", NULL },
		{ "{\"n\": 0, \"to\": \"\", \"x\": 1, \"part\": 2.5}", NULL },
		{ "{}", "data.to is missing; the queue's schema asks for string" },
		{ "{\"to\": null}", "data.to is of type null; the queue's schema asks for string" },
		{ "{\"to\": \"\", \"n\": 1.5}", "data.n is of type number; the queue's schema asks for integer" },
		{ "{\"to\": \"\", \"n\": \"1\"}", "data.n is of type string; the queue's schema asks for integer" },
		{ "{\"to\": \"\", \"n\": 1}", "data.x is missing; the queue's schema asks for any" },
		{ "{\"to\": {\"to\": \"\"}, \"n\": 1}", "data.to is of type object; the queue's schema asks for string" },
		{ "{\"to\": \"\", \"n\": 1, \"x\": 1, \"list\": {}}", "data.list is of type object; the queue's schema asks for array" },
		{ "{\"to\": \"\", \"n\": 1, \"x\": 1, \"ok\": 1}", "data.ok is of type integer; the queue's schema asks for boolean" },
		{ "{\"to\": \"\", \"n\": 1, \"x\": 1, \"o\": true}", "data.o is of type boolean; the queue's schema asks for object" },
		{ "{\"to\": \"\", \"n\": 1, \"x\": 1, \"part\": []}", "data.part is of type array; the queue's schema asks for number" },
	};
	struct conf *conf = confs_load("handlers: {h: {driver: noop}}\n"
	    "queues: {q: {handler: h, schema: {to: string, n: integer, x: any, list: \"array?\", "
	    "ok: \"boolean?\", o: \"object?\", part: \"number?\"}}, free: {handler: h}}\n");
	char why[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		bool fits = shape_fits(conf->queues[0].schema, cases[i].data, why,
		    sizeof(why));

		assert_int_equal(fits, cases[i].why == NULL);
		if (!fits)
			assert_string_equal(why, cases[i].why);
	}
	assert_true(shape_fits(conf->queues[1].schema, "{}", why, sizeof(why)));
	conf_free(conf);
}

/* What the monitor's workers run: a type and a slot for each channel. */
static void
test_conf_notices(void **state)
{
	struct conf *conf = confs_load(
	    "handlers: {m: {driver: email}}\n"
	    "channels:\n"
	    "  ops: {email: [\"Ops <ops@example.com>\"], via: m, timeout: 5s}\n"
	    "  chat: {webhook: \"https://hooks.slack.com/a\", allow_private: yes, headers: {X-A: b}, sign: {secret: s}}\n"
	    "  page: {exec: [/bin/page, \"{{data.subject}}\"]}\n"
	    "  file: {webhook_file: /etc/url, format: teams}\n"
	    "monitor: {report_to: [ops]}\n");
	const struct queue_conf *q = conf->notices;
	const struct node *options;

	(void)state;
	assert_int_equal(q->workers, 4);
	assert_int_equal(q->ntypes, 4);
	assert_int_equal(q->concurrency, 1);
	assert_non_null(q->retry);
	assert_null(conf_queue(conf, q->name));
	assert_string_equal(q->types[0].type, "ops");
	assert_ptr_equal(q->types[0].handler, conf_handler(conf, "m"));
	assert_int_equal(q->types[0].timeout_ms, 5000);
	assert_int_equal(q->types[1].timeout_ms, 30000);
	assert_string_equal(q->types[1].handler->driver, "http");
	options = q->types[1].handler->options;
	assert_string_equal(node_get(options, "url")->text, "https://hooks.slack.com/a");
	assert_string_equal(node_get(options, "allow_private")->text, "yes");
	assert_string_equal(node_get(node_get(options, "headers"), "X-A")->text, "b");
	assert_string_equal(node_get(node_get(options, "sign"), "secret")->text, "s");
	assert_string_equal(q->types[2].handler->driver, "exec");
	options = q->types[2].handler->options;
	assert_int_equal(node_get(options, "argv")->count, 2);
	assert_string_equal(node_get(options, "env_prefix")->text, "ALERT_");
	assert_null(node_get(q->types[3].handler->options, "url"));
	assert_string_equal(conf->monitor.report_to[0], "ops");
	conf_free(conf);
	conf = confs_load("{}");
	assert_null(conf->notices);
	conf_free(conf);
}

/* Everything at once, with texts that are hard to write. */
static const char rich[] =
    "daemon: {node: n1, shutdown_timeout: 90s}\n"
    "database: {url: \"postgresql://u:pa:ss@db.example.com/jobq?sslmode=require\"}\n"
    "api: {admin_key: open sesame, listen: off}\n"
    "priority_scales: {default: {names: {normal: 7, \"1\": 1}}}\n"
    "retry:\n"
    "  p: {backoff: [500ms, 90s], jitter: 12.5%, on: {rate_limit: {respect_retry_after: yes}, auth: {attempts: 2, base: 1s}}}\n"
    "  default: {attempts: 9, backoff: linear, factor: 1.5, max: 0}\n"
    "limits: {l: {rate: 10000/10m, concurrency: 3, min_gap: 20ms}, m: {concurrency: 1}}\n"
    "handlers:\n"
    "  h: {driver: exec, argv: [/bin/sh, -c, \"echo $${HOME} \\\"$1\\\"; \\n\"], env: {API_TOKEN: t0p, STRIPE_KEY: sk9, DB_PASS: dbp, DB: user=a password=dbq host=h, LANG: C}}\n"
    "  m: {driver: email, server: \"smtp://me:hush@mx.example.com\", password: \"{{data.password}}\", user: , port: \"25\", n: 25, z: ~, list: [{a: b}, [], {}, [1, [2]]]}\n"
    "  s: {driver: http, sign: {secret: whsec_x, secret_id: 7}, auth: {bearer_file: /dev/null}, headers: {Authorization: Basic abc}}\n"
    "  u: {driver: http, url: \"https://h/x?token=tq1&sig=sg1&a=b&api_key={{data.k}}\", auth: {credentials: body}}\n"
    "  d: {driver: http, url: \"host=db user=me password=hush\"}\n"
    "queues:\n"
    "  a:\n"
    "    types: {t: h, \"odd: type\": {handler: m, timeout: 1500ms}}\n"
    "    retry: {attempts: 2, on: {crash: {attempts: 1}}}\n"
    "    breaker: {of: 7}\n"
    "    limits: [l, m]\n"
    "    fair: tenant\n"
    "    fair_weights: {gold: 3}\n"
    "    ageing: 10m\n"
    "    schema: {to: string, n: integer?}\n"
    "    unique: data.id\n"
    "    unique_until: 36h\n"
    "    unique_conflict: move\n"
    "    sandbox: {memory: 1GiB, network: no, read: [/srv/in], write: [/srv/out, \"/srv/a b\"]}\n"
    "    cancel: {signal: sigint}\n"
    "    log: \"/var/log/a b.log\"\n"
    "    log_level: debug\n"
    "  b: {handler: h, retry: p, priority_scale: fleettracker, priority: high, recycle: {age: 0}, unique_until: started}\n"
    "schedules:\n"
    "  s: {cron: \"0 9 * * 1-5\", queue: b, type: \"\\u00e9\\u2028\\ufeff\\x7f\", data: {a: \"1\", b: 1e3, c: [~, \"null\", null, TRUE], d: {}, \"e f\": \"\"}, starts: \"2026-01-01T00:00:00.250Z\"}\n"
    "  e: {every: 90s, queue: b, timezone: UTC}\n"
    "hooks: {g: {queue: b, verify: {secret: shh}, event_id: \"header:webhook-id\"}, t: {queue: b, type: t, tenant: acme, verify: {scheme: token, secrets: [\"hush hush\", t0p], header: x-gitlab-token}, event_type: \"body:kind\", payload: event}}\n"
    "channels: {c: {webhook: \"https://hooks.example.com/T0/B0/xyz\", format: slack, sign: {secret: shh}, headers: {Authorization: x, X-A: b}, allow_private: on}, f: {webhook_file: /etc/f, timeout: 5s}, o: {email: [ops@example.com], via: m}, x: {exec: [/bin/page, \"a b\"]}}\n"
    "alerts: {a: {metric: failure_rate, queues: [a], above: 10%, clear: 5%, for: 90s, notify: [c, o], repeat: 4h, escalate: {after: 30m, notify: [x]}}}\n"
    "monitor: {quiet: \"22:00-07:00\"}\n"
    "workflows: {w: {steps: {one: {queue: b}, two: {queue: a, type: t, after: [one], if: data.x, data: {k: v}}, three: {queue: b, after: [two], for_each: result.two.x, allow_failure: yes, priority: high, delay: 5m, timeout: 1h, max_attempts: 5, tenant: \"{{item.t}}\", key: k}}, on_failure: {queue: b, type: undo, delay: 2s}}}\n";

static void
test_conf_dump_is_stable(void **state)
{
	struct conf *conf = confs_load(rich);
	char *first = confs_dump(conf), *second;

	(void)state;
	conf_free(conf);
	conf = confs_load(first);
	second = confs_dump(conf);
	assert_string_equal(first, second);
	conf_free(conf);
	free(first);
	free(second);
}

/* But for the secrets the dump says all there is. */
static void
test_conf_dump_is_complete(void **state)
{
	static const char plain[] =
	    "retry: {p: {backoff: fixed, base: 5m, on: {network: {attempts: 9}}}}\n"
	    "handlers: {h: {driver: exec, argv: [a, \"1\", 1, ~, \"${JOBQD_X}\"]}}\n"
	    "queues: {q: {handler: h, retry: p, keep: {dead: 1w}, workers: 3}}\n"
	    "schedules: {s: {at: 2026-12-01T10:00:00Z, queue: q, data: {x: [1, {y: no}]}}}\n";
	struct conf *conf, *again;
	char *dump;

	(void)state;
	setenv("JOBQD_X", "${not again}", 1);
	conf = confs_load(plain);
	dump = confs_dump(conf);
	again = confs_load(dump);
	assert_int_equal(conf->whole_digest, again->whole_digest);
	assert_int_equal(conf->shared_digest, again->shared_digest);
	assert_int_equal(conf->queues[0].digest, again->queues[0].digest);
	conf_free(conf);
	conf_free(again);
	free(dump);
}

static void
test_conf_dump_hides_secrets(void **state)
{
	static const char *const hidden[] = { "pa:ss", "open sesame", "t0p",
	    "hush", "whsec_x", "abc", "shh", "xyz", "sk9", "dbp",
	    "dbq", "tq1", "sg1" };
	static const char *const shown[] = {
	    "url: \"postgresql://u:***@db.example.com/jobq?sslmode=require\"",
	    "server: \"smtp://me:***@mx.example.com\"",
	    "password: \"{{data.password}}\"", "secret: \"***\"",
	    "url: \"https://h/x?token=***&sig=***&a=b&api_key={{data.k}}\"",
	    "credentials: body", "DB: \"user=a password=*** host=h\"",
	    "secret_id: 7", "bearer_file: /dev/null", "LANG: C",
	    "admin_key: \"***\"" };
	struct conf *conf = confs_load(rich);
	char *dump = confs_dump(conf);

	(void)state;
	for (size_t i = 0; i < sizeof(hidden) / sizeof(*hidden); i++)
		if (strstr(dump, hidden[i]) != NULL)
			fail_msg("%s is in the dump", hidden[i]);
	for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++)
		if (strstr(dump, shown[i]) == NULL)
			fail_msg("%s is not in the dump", shown[i]);
	conf_free(conf);
	free(dump);
	conf = confs_load("database: {url: \"host=h password='it\\\\'s it' user=me\"}\n");
	dump = confs_dump(conf);
	assert_non_null(strstr(dump, "url: \"host=h password=*** user=me\""));
	conf_free(conf);
	free(dump);
}

static uint64_t
digest_of(const char *queue, const char *rest)
{
	char *text = xasprintf("%s\nqueues: {q: {%s}, other: {handler: h}}\n",
	    rest, queue);
	struct conf *conf = confs_load(text);
	uint64_t digest = conf->queues[0].digest;

	conf_free(conf);
	free(text);
	return digest;
}

static void
test_conf_digest(void **state)
{
	const char *h = "handlers: {h: {driver: email, password_file: key}}";
	uint64_t plain;

	(void)state;
	confs_write("key", "one\n");
	plain = digest_of("handler: h", h);
	/* The same in other words. */
	assert_int_equal(plain, digest_of("handler: h, timeout: 60s, limits: []",
	    "# a comment\nhandlers:\n  h:\n    driver: \"email\"\n"
	    "    password_file: key\n"));
	assert_int_equal(plain, digest_of("workers: 1, handler: h", h));
	/* What matters to its processes. */
	assert_int_not_equal(plain, digest_of("handler: h, workers: 2", h));
	assert_int_not_equal(plain, digest_of("handler: h",
	    "handlers: {h: {driver: email, password_file: key, x: 1}}"));
	assert_int_not_equal(plain, digest_of("handler: h",
	    "handlers: {h: {driver: email, password_file: key}}\n"
	    "retry: {default: {attempts: 4}}"));
	assert_int_not_equal(plain, digest_of("handler: h",
	    "handlers: {h: {driver: email, password_file: key}}\n"
	    "log: {level: debug}"));
	/* Its leader writes to the log of a schedule's jobs. */
	assert_int_not_equal(digest_of("handler: h", "handlers: {h: "
	    "{driver: email, password_file: key}}\n"
	    "schedules: {s: {cron: \"@daily\", queue: q, log: /a}}"),
	    digest_of("handler: h", "handlers: {h: "
	    "{driver: email, password_file: key}}\n"
	    "schedules: {s: {cron: \"@daily\", queue: q, log: /b}}"));
	/* And what does not. */
	assert_int_equal(plain, digest_of("handler: h",
	    "handlers: {h: {driver: email, password_file: key}, i: {driver: noop}}\n"
	    "daemon: {shutdown_timeout: 1s}\nmonitor: {interval: 1s}\n"
	    "retry: {other: {attempts: 4}}"));
	/* A password changed in its file. */
	confs_write("key", "two\n");
	assert_int_not_equal(plain, digest_of("handler: h", h));
}

/* Of queues that are served, and of schedules; not the daemon's own. */
static void
test_conf_own_logs(void **state)
{
	struct conf *conf = confs_load("handlers: {h: {driver: noop}}\n"
	    "log: {file: /main}\n"
	    "queues:\n"
	    "  a: {handler: h, log: /a, log_level: debug}\n"
	    "  b: {handler: h}\n"
	    "  c: {handler: h, log: /c, enabled: false}\n"
	    "  d: {handler: h, log: /main}\n"
	    "schedules: {s: {cron: \"@daily\", queue: a, log: /s}}\n");
	static const char *const expected[] = { "/a", "", "", "", "/s" };

	(void)state;
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(conf_own_log(conf, i), expected[i]);
	assert_null(conf_own_log(conf, 5));
	assert_int_equal(conf->queues[0].log_level, LOG_LEVEL_DEBUG + 1);
	assert_int_equal(conf->queues[1].log_level, 0);
	conf_free(conf);
}

static void
test_conf_restart_keys(void **state)
{
	struct conf *a = confs_load("daemon: {user: a, node: n}\n");
	struct conf *b = confs_load("daemon: {user: b, node: n, pid_file: /p}\n"
	    "database: {embedded: /tmp/x}\nlog: {level: warn}\n");
	char *keys = conf_restart_keys(a, b);

	(void)state;
	assert_string_equal(keys, "daemon.user, daemon.pid_file, "
	    "database.embedded");
	assert_null(conf_restart_keys(a, a));
	free(keys);
	conf_free(a);
	conf_free(b);
}

static void
test_conf_default_path(void **state)
{
	(void)state;
	unsetenv("JOBQD_CONF");
	assert_string_equal(conf_default_path(), SYSCONFDIR "/jobqd.yml");
	setenv("JOBQD_CONF", "/a.yml", 1);
	assert_string_equal(conf_default_path(), "/a.yml");
}

static void
expect_complaint(const char *text, const char *part)
{
	char *said = confs_complaints(text);

	if (strstr(said, part) == NULL)
		fail_msg("\"%s\" is not in: %s", part, said);
	free(said);
}

static char *
repeat(const char *head, const char *piece, size_t count)
{
	struct buf b = { 0 };

	buf_str(&b, head);
	for (size_t i = 0; i < count; i++)
		buf_str(&b, piece);
	return buf_detach(&b);
}

static void
test_conf_bounds(void **state)
{
	struct buf many = { 0 };
	char *text, *said;

	(void)state;
	text = repeat("a: ", "[", 1000);
	expect_complaint(text, "x.yml:1:68: nested too deeply\n");
	free(text);
	text = repeat("a:\n", "# a line\n", 200000);
	expect_complaint(text, "x.yml is larger than 1024 KiB");
	free(text);
	setenv("JOBQD_BIG", (text = repeat("", "0123456789", 10000)), 1);
	free(text);
	text = repeat("a:\n", "- ${JOBQD_BIG}\n", 1000);
	expect_complaint(text, "too much text once the variables are in");
	free(text);
	unsetenv("JOBQD_BIG");
	/* Many mistakes end soon, and are counted. */
	for (int i = 0; i < 50000; i++)
		buf_printf(&many, "key%d: 1\n", i);
	said = confs_complaints(many.data);
	assert_non_null(strstr(said, "x.yml:200:1: unknown key"));
	assert_null(strstr(said, "x.yml:201:1:"));
	assert_non_null(strstr(said, "more mistakes\n"));
	free(said);
	buf_clear(&many);
	/* Twice the same key among many. */
	buf_str(&many, "workflows:\n");
	for (int i = 0; i < 50000; i++)
		buf_printf(&many, "  k%d:\n", i % 49999);
	expect_complaint(many.data,
	    "x.yml:50001:3: \"k0\" is already at x.yml:2");
	buf_clear(&many);
}

static void
test_conf_without_drivers(void **state)
{
	struct conf *conf;
	char *complaints;

	(void)state;
	confs_write("x.yml", "handlers: {h: {driver: sql, any: thing}}\n");
	conf = conf_load("x.yml", NULL, &complaints);
	assert_non_null(conf);
	conf_free(conf);
	assert_null(conf_load("absent.yml", NULL, &complaints));
	assert_string_equal(complaints, "absent.yml:1:1: cannot open "
	    "absent.yml: No such file or directory\n");
	free(complaints);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conf_defaults),
		cmocka_unit_test(test_conf_queue_defaults),
		cmocka_unit_test(test_conf_types),
		cmocka_unit_test(test_conf_policies),
		cmocka_unit_test(test_conf_priorities),
		cmocka_unit_test(test_conf_scales),
		cmocka_unit_test(test_conf_schedules),
		cmocka_unit_test(test_conf_zones),
		cmocka_unit_test(test_conf_booleans),
		cmocka_unit_test(test_conf_variables),
		cmocka_unit_test(test_conf_include),
		cmocka_unit_test(test_conf_embedded),
		cmocka_unit_test(test_conf_shape),
		cmocka_unit_test(test_conf_notices),
		cmocka_unit_test(test_conf_own_logs),
		cmocka_unit_test(test_conf_dump_is_stable),
		cmocka_unit_test(test_conf_dump_is_complete),
		cmocka_unit_test(test_conf_dump_hides_secrets),
		cmocka_unit_test(test_conf_digest),
		cmocka_unit_test(test_conf_restart_keys),
		cmocka_unit_test(test_conf_default_path),
		cmocka_unit_test(test_conf_bounds),
		cmocka_unit_test(test_conf_without_drivers),
	};

	return cmocka_run_group_tests(tests, confs_setup, confs_teardown);
}
