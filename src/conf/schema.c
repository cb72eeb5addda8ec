/*
 * The table of keys: every key of the configuration with its type, default,
 * range, and whether a reload takes it. jobqd.yml(5) says in words what is
 * said here; a test compares the two.
 */
#include "config.h"

#include <assert.h>
#include <stddef.h>

#include "conf/keys.h"
#include "conf/parts.h"
#include "core/metric.h"
#include "core/units.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define YEAR (366 * DAY)
#define RUN_MAX (24 * DAY)	/* milliseconds of it still fit in an int */

#define MIB (INT64_C(1) << 20)
#define TIB (INT64_C(1) << 40)

#define C(m) offsetof(struct conf, m)
#define Q(m) offsetof(struct queue_conf, m)
#define S(m) offsetof(struct schedule_conf, m)
#define END { .name = NULL }

/* KEY_WORDS, KEY_RATE and KEY_NAMED fill two members that lie together. */
#define TOGETHER(type, a, b)						\
	static_assert(offsetof(struct type, b) - offsetof(struct type, a) == \
	    sizeof(((struct type *)0)->a), #a)
TOGETHER(conf, api.proxies, api.nproxies);
TOGETHER(conf, api.rate_count, api.rate_period_ms);
TOGETHER(limit_conf, rate_count, rate_period_ms);
TOGETHER(queue_conf, limits, nlimits);
TOGETHER(queue_conf, box.read, box.nread);
TOGETHER(queue_conf, box.write, box.nwrite);
TOGETHER(schedule_conf, requires_env, nrequires_env);
TOGETHER(hook_conf, secrets, nsecrets);
TOGETHER(channel_conf, email, nemail);
TOGETHER(channel_conf, exec, nexec);
TOGETHER(conf, monitor.report_to, monitor.nreport_to);
TOGETHER(alert_conf, queues, nqueues);
TOGETHER(alert_conf, notify, nnotify);
TOGETHER(alert_conf, escalate.notify, escalate.nnotify);
TOGETHER(step_conf, after, nafter);
TOGETHER(workflow_conf, steps, nsteps);
TOGETHER(conf, policies, npolicies);
TOGETHER(conf, limits, nlimits);
TOGETHER(conf, handlers, nhandlers);
TOGETHER(conf, queues, nqueues);
TOGETHER(conf, schedules, nschedules);
TOGETHER(conf, scales, nscales);
TOGETHER(conf, read.hooks, read.nhooks);
TOGETHER(conf, read.channels, read.nchannels);
TOGETHER(conf, read.alerts, read.nalerts);
TOGETHER(conf, read.workflows, read.nworkflows);

static const char *const levels[] = { "error", "warn", "info", "debug", NULL };
static const char *const own_levels[] = { "inherit", "error", "warn", "info",
    "debug", NULL };
static const char *const formats[] = { "text", "json", NULL };
static const char *const migrations[] = { "manual", "auto", NULL };
static const char *const poolers[] = { "none", "transaction", NULL };
static const char *const orders[] = { "small_first", "large_first", NULL };
static const char *const conflicts[] = { "existing", "replace", "move", NULL };
static const char *const overlaps[] = { "allow", "skip", "replace", NULL };
static const char *const catch_ups[] = { "none", "last", "all", NULL };
static const char *const channel_formats[] = { "auto", "generic", "slack",
    "teams", NULL };
static const char *const forwardeds[] = { "x-forwarded-for", "forwarded", NULL };
static const char *const payloads[] = { "raw", "event", NULL };
const char *const conf_severities[] = { "info", "warning", "critical", NULL };

static const struct key daemon_keys[] = {
	{ "user", KEY_TEXT, C(daemon.user), "jobqd", .flags = KEY_RESTART },
	{ "group", KEY_TEXT, C(daemon.group), "jobqd", .flags = KEY_RESTART },
	{ "pid_file", KEY_TEXT, C(daemon.pid_file), "/run/jobqd/jobqd.pid",
	    .flags = KEY_RESTART },
	{ "node", KEY_TEXT, C(daemon.node), "${HOSTNAME}",
	    .flags = KEY_RESTART, .check = check_node_name },
	{ "shutdown_timeout", KEY_DURATION, C(daemon.shutdown_timeout_ms),
	    "30s", 0, DAY },
	{ "timezone", KEY_TEXT, C(daemon.timezone), "UTC",
	    .check = check_timezone },
	END
};

static const struct key database_keys[] = {
	{ "url", KEY_TEXT, C(database.url), "postgresql:///jobq",
	    .flags = KEY_URL, .check = check_database },
	{ "embedded", KEY_TEXT, C(database.embedded), "",
	    .flags = KEY_RESTART, .check = check_socket_directory },
	{ "schema", KEY_TEXT, C(database.schema), "jobq",
	    .check = check_schema },
	{ "migrate", KEY_FLAG, C(database.migrate_auto), "auto",
	    .names = migrations },
	{ "pooler", KEY_FLAG, C(database.pooler_transaction), "none",
	    .names = poolers },
	END
};

static const struct key log_keys[] = {
	{ "file", KEY_TEXT, C(log.file), "stderr", .check = check_not_empty },
	{ "level", KEY_CHOICE, C(log.level), "info", .names = levels },
	{ "format", KEY_CHOICE, C(log.format), "text", .names = formats },
	END
};

static const struct key tls_keys[] = {
	{ "cert", KEY_TEXT, C(api.tls_cert), "" },
	{ "key", KEY_TEXT, C(api.tls_key), "" },
	END
};

static const struct key api_keys[] = {
	{ "listen", KEY_TEXT, C(api.listen), "127.0.0.1:8787",
	    .check = check_listen },
	{ "socket_mode", KEY_TEXT, C(api.socket_mode), "0660",
	    .flags = KEY_RESTART, .check = check_mode },
	{ "tokens_file", KEY_TEXT, C(api.tokens_file), "" },
	{ "admin_key", KEY_TEXT, C(api.admin_key), "",
	    .flags = KEY_QUIET | KEY_SECRET },
	{ "admin_key_file", KEY_TEXT, C(api.admin_key_file), "",
	    .flags = KEY_QUIET },
	{ "rate_limit", KEY_RATE, C(api.rate_count), "100/s" },
	{ "max_body", KEY_SIZE, C(api.max_body), "1MiB", 1024, 1024 * MIB },
	{ "connections_per_address", KEY_INT, C(api.per_address), "100", 0, 100000 },
	{ "trusted_proxies", KEY_WORDS, C(api.proxies), .check = check_network },
	{ "forwarded", KEY_CHOICE, C(api.forwarded), "x-forwarded-for",
	    .names = forwardeds },
	{ "tls", KEY_MAP, .table = tls_keys },
	END
};

static const struct key monitor_keys[] = {
	{ "interval", KEY_DURATION, C(monitor.interval_ms), "1m", 100, DAY },
	{ "health_file", KEY_TEXT, C(monitor.health_file),
	    "/run/jobqd/health.json" },
	{ "statistics", KEY_DURATION, C(monitor.statistics_ms), "5m",
	    SECOND, DAY },
	{ "keep_size", KEY_SIZE, C(monitor.keep_size), "0", 0, 1024 * TIB },
	{ "report", KEY_TEXT, C(monitor.report), "0 0 * * *",
	    .check = check_cron },
	{ "report_to", KEY_WORDS, C(monitor.report_to) },
	{ "quiet", KEY_TEXT, C(monitor.quiet), "", .check = check_quiet },
	END
};

static const struct key scale_keys[] = {
	{ "order", KEY_FLAG, offsetof(struct priority_scale, large_first),
	    "small_first", .names = orders },
	{ "names", KEY_CUSTOM, .read = scale_read_names,
	    .dump = scale_dump_names, .free = scale_free_names },
	END
};

/* backoff may also be a list; on, by class, inherits what the policy says:
 * the order of these lines is the order of reading. */
const struct key policy_keys[] = {
	{ "attempts", KEY_INT, offsetof(struct retry_policy, attempts), "3",
	    1, 1000 },
	{ "retries", KEY_CUSTOM, .read = policy_read_retries },
	{ "max_crashes", KEY_INT, offsetof(struct retry_policy, max_crashes),
	    "3", 0, 1000 },
	{ "backoff", KEY_CUSTOM, .read = policy_read_shape,
	    .dump = policy_dump_shape },
	{ "base", KEY_DURATION, offsetof(struct retry_policy, backoff.base_ms),
	    "2s", 0, YEAR },
	{ "factor", KEY_REAL, offsetof(struct retry_policy, backoff.factor),
	    "2", 1, 1000 },
	{ "exponent", KEY_REAL,
	    offsetof(struct retry_policy, backoff.exponent), "2", 0, 10 },
	{ "max", KEY_CUSTOM, .read = policy_read_max, .dump = policy_dump_max },
	{ "jitter", KEY_PERCENT, offsetof(struct retry_policy, backoff.jitter),
	    "20%" },
	{ "on", KEY_CUSTOM, .read = policy_read_on, .dump = policy_dump_on },
	END
};

static const struct key limit_keys[] = {
	{ "rate", KEY_RATE, offsetof(struct limit_conf, rate_count), "" },
	{ "concurrency", KEY_INT, offsetof(struct limit_conf, concurrency),
	    "0", 0, 1000000 },
	{ "min_gap", KEY_DURATION, offsetof(struct limit_conf, min_gap_ms),
	    "0", 0, DAY },
	END
};

static const struct key handler_keys[] = {
	{ "driver", KEY_TEXT, offsetof(struct handler_conf, driver),
	    .flags = KEY_RESULT },
	END
};

static const struct key cancel_keys[] = {
	{ "signal", KEY_SIGNAL, Q(cancel_signal), "TERM" },
	{ "grace", KEY_DURATION, Q(grace_ms), "5s", 0, DAY },
	END
};

static const struct key keep_keys[] = {
	{ "completed", KEY_DURATION, Q(keep.completed_ms), "1d", 0, 100 * YEAR },
	{ "dead", KEY_DURATION, Q(keep.dead_ms), "90d", 0, 100 * YEAR },
	{ "cancelled", KEY_DURATION, Q(keep.cancelled_ms), "1d", 0, 100 * YEAR },
	{ "history", KEY_DURATION, Q(keep.history_ms), "90d", 0, 100 * YEAR },
	END
};

static const struct key recycle_keys[] = {
	{ "jobs", KEY_LONG, Q(recycle.jobs), "10000", 0, 1000000000 },
	{ "age", KEY_DURATION, Q(recycle.age_ms), "1d", 0, YEAR },
	{ "rss", KEY_SIZE, Q(recycle.rss_bytes), "512MiB", 0, TIB },
	END
};

static const struct key sandbox_keys[] = {
	{ "user", KEY_TEXT, Q(box.user), "" },
	{ "memory", KEY_SIZE, Q(box.memory), "0", 0, TIB },
	{ "cpu_time", KEY_DURATION, Q(box.cpu_ms), "0", 0, YEAR },
	{ "processes", KEY_INT, Q(box.processes), "0", 0, 1000000 },
	{ "files", KEY_INT, Q(box.files), "0", 0, 1000000 },
	{ "file_size", KEY_SIZE, Q(box.file_size), "0", 0, 1024 * TIB },
	{ "network", KEY_BOOL, Q(box.network), "true" },
	{ "read", KEY_WORDS, Q(box.read), .check = check_absolute },
	{ "write", KEY_WORDS, Q(box.write), .check = check_absolute },
	{ "isolate", KEY_BOOL, Q(box.isolate), "false" },
	END
};

const struct key breaker_keys[] = {
	{ "failures", KEY_PERCENT, Q(breaker_failures), "50%" },
	{ "of", KEY_INT, Q(breaker_of), "20", 1, 100000 },
	{ "open", KEY_DURATION, Q(breaker_open_ms), "1m", SECOND, DAY },
	END
};

static const struct key encrypt_keys[] = {
	{ "key_file", KEY_TEXT, Q(encrypt.key_file), "" },
	{ "required", KEY_BOOL, Q(encrypt.required), "true" },
	{ "results", KEY_BOOL, Q(encrypt.results), "true" },
	END
};

static const struct key queue_keys[] = {
	{ "handler", KEY_CUSTOM, .read = queue_read_later,
	    .dump = queue_dump_handler, .free = queue_free_types },
	{ "types", KEY_CUSTOM, .read = queue_read_later,
	    .dump = queue_dump_types },
	{ "workers", KEY_INT, Q(workers), "1", 0, 1000 },
	{ "concurrency", KEY_INT, Q(concurrency), "1", 1, 10000 },
	{ "priority", KEY_TEXT, Q(priority_text), "normal" },
	{ "priority_scale", KEY_TEXT, Q(priority_scale), "" },
	{ "timeout", KEY_DURATION, Q(timeout_ms), "1m", 1, RUN_MAX },
	{ "cancel", KEY_MAP, .table = cancel_keys },
	{ "expire", KEY_DURATION, Q(expire_ms), "0", 0, 10 * YEAR },
	{ "lease", KEY_DURATION, Q(lease_ms), "30s", SECOND, HOUR },
	{ "poll", KEY_DURATION, Q(poll_ms), "1s", 10, HOUR },
	{ "retry", KEY_CUSTOM, .read = queue_read_retry,
	    .dump = queue_dump_retry, .free = queue_free_retry },
	{ "retry_against", KEY_TEXT, Q(retry_against), "" },
	{ "limits", KEY_WORDS, Q(limits) },
	{ "concurrency_key", KEY_TEXT, Q(concurrency_key), "",
	    .check = check_path_or_tenant },
	{ "per_key", KEY_INT, Q(per_key), "1", 1, 1000000 },
	{ "fair", KEY_TEXT, Q(fair), "", .check = check_path_or_tenant },
	{ "fair_weights", KEY_NODE, Q(fair_weights) },
	{ "ageing", KEY_DURATION, Q(ageing_ms), "0", 0, YEAR },
	{ "unique", KEY_TEXT, Q(unique), "", .check = check_path },
	{ "unique_until", KEY_CUSTOM, .read = queue_read_until,
	    .dump = queue_dump_until },
	{ "unique_conflict", KEY_CHOICE, Q(unique_conflict), "existing",
	    .names = conflicts },
	{ "breaker", KEY_CUSTOM, .read = queue_read_breaker,
	    .dump = queue_dump_breaker },
	{ "max_payload", KEY_SIZE, Q(max_payload), "100KiB", 1, 64 * MIB },
	{ "schema", KEY_NODE, Q(schema) },
	{ "encrypt", KEY_MAP, .table = encrypt_keys },
	{ "keep", KEY_MAP, .table = keep_keys },
	{ "recycle", KEY_MAP, .table = recycle_keys },
	{ "sandbox", KEY_MAP, .table = sandbox_keys },
	{ "log", KEY_TEXT, Q(log), "", .check = check_own_log },
	{ "log_level", KEY_CHOICE, Q(log_level), "inherit",
	    .names = own_levels },
	{ "enabled", KEY_BOOL, Q(enabled), "true" },
	END
};

static const struct key schedule_keys[] = {
	{ "cron", KEY_CUSTOM, .read = schedule_read_cron,
	    .dump = schedule_dump_spec },
	{ "every", KEY_CUSTOM, .read = schedule_read_every,
	    .dump = schedule_dump_spec },
	{ "at", KEY_CUSTOM, .read = schedule_read_at,
	    .dump = schedule_dump_spec, .free = schedule_free_spec },
	{ "timezone", KEY_TEXT, S(timezone), .check = check_timezone },
	{ "dst", KEY_CHOICE, S(dst), "standard", .names = cron_dst_names },
	{ "queue", KEY_TEXT, S(queue), "" },
	{ "type", KEY_TEXT, S(type), "" },
	{ "data", KEY_NODE, S(data_node) },
	{ "priority", KEY_TEXT, S(priority_text), "", .flags = KEY_QUIET },
	{ "tenant", KEY_TEXT, S(tenant), "", .flags = KEY_QUIET },
	{ "enabled", KEY_BOOL, S(enabled), "true" },
	{ "description", KEY_TEXT, S(description), "" },
	{ "overlap", KEY_CHOICE, S(overlap), "allow", .names = overlaps },
	{ "catch_up", KEY_CHOICE, S(catch_up), "last", .names = catch_ups },
	{ "catch_up_window", KEY_DURATION, S(catch_up_window_ms), "1h",
	    0, YEAR },
	{ "jitter", KEY_DURATION, S(jitter_ms), "0", 0, DAY },
	{ "starts", KEY_INSTANT, S(starts_ms), "" },
	{ "ends", KEY_INSTANT, S(ends_ms), "" },
	{ "only_if", KEY_TEXT, S(only_if), "" },
	{ "for_each", KEY_TEXT, S(for_each), "" },
	{ "requires_env", KEY_WORDS, S(requires_env) },
	{ "log", KEY_TEXT, S(log), "", .check = check_own_log },
	{ "(data)", KEY_TEXT, S(data), .flags = KEY_RESULT },
	END
};

#define HOOK(m) offsetof(struct hook_conf, m)
static const struct key verify_keys[] = {
	{ "scheme", KEY_CHOICE, HOOK(scheme),
	    "standard-webhooks", .names = verify_scheme_names },
	{ "secret", KEY_TEXT, HOOK(secret), "", .flags = KEY_QUIET | KEY_SECRET },
	{ "secret_file", KEY_TEXT, HOOK(secret_file), "", .flags = KEY_QUIET },
	{ "secrets", KEY_WORDS, HOOK(secrets), .flags = KEY_QUIET | KEY_SECRET,
	    .check = check_not_empty },
	{ "header", KEY_TEXT, HOOK(token_header), "authorization",
	    .check = check_header },
	{ "tolerance", KEY_DURATION, HOOK(tolerance_ms), "5m", SECOND, DAY },
	END
};

static const struct key hook_keys[] = {
	{ "queue", KEY_TEXT, HOOK(queue), "" },
	{ "type", KEY_TEXT, HOOK(type), "" },
	{ "tenant", KEY_TEXT, HOOK(tenant), "", .flags = KEY_QUIET },
	{ "verify", KEY_MAP, .table = verify_keys },
	{ "event_id", KEY_TEXT, HOOK(event_id), "", .check = check_event_part },
	{ "event_type", KEY_TEXT, HOOK(event_type), "", .check = check_event_part },
	{ "payload", KEY_CHOICE, HOOK(payload), "raw", .names = payloads },
	END
};

#define CHANNEL(m) offsetof(struct channel_conf, m)
static const struct key channel_keys[] = {
	{ "email", KEY_WORDS, CHANNEL(email), .flags = KEY_QUIET,
	    .check = check_mail_address },
	{ "via", KEY_TEXT, CHANNEL(via), "", .flags = KEY_QUIET },
	{ "webhook", KEY_TEXT, CHANNEL(webhook), "",
	    .flags = KEY_QUIET | KEY_SECRET, .check = check_webhook },
	{ "webhook_file", KEY_TEXT, CHANNEL(webhook_file), "",
	    .flags = KEY_QUIET },
	{ "format", KEY_CHOICE, CHANNEL(format), "auto", .flags = KEY_QUIET,
	    .names = channel_formats },
	{ "allow_private", KEY_BOOL, CHANNEL(allow_private), "false",
	    .flags = KEY_QUIET },
	{ "headers", KEY_NODE, CHANNEL(headers), .flags = KEY_QUIET },
	{ "sign", KEY_NODE, CHANNEL(sign), .flags = KEY_QUIET },
	{ "exec", KEY_WORDS, CHANNEL(exec), .flags = KEY_QUIET },
	{ "timeout", KEY_DURATION, CHANNEL(timeout_ms), "30s", SECOND, HOUR },
	END
};

#define A(m) offsetof(struct alert_conf, m)

static const struct key escalate_keys[] = {
	{ "after", KEY_DURATION, A(escalate.after_ms), "0", 0, 30 * DAY },
	{ "notify", KEY_WORDS, A(escalate.notify) },
	END
};

static const struct key alert_keys[] = {
	{ "metric", KEY_CHOICE, A(metric), "backlog", .names = metric_names },
	{ "queues", KEY_WORDS, A(queues) },
	{ "above", KEY_TEXT, A(above), "", .flags = KEY_QUIET },
	{ "below", KEY_TEXT, A(below), "", .flags = KEY_QUIET },
	{ "clear", KEY_TEXT, A(clear), "", .flags = KEY_QUIET },
	{ "window", KEY_DURATION, A(window_ms), "5m", SECOND, DAY },
	{ "for", KEY_DURATION, A(for_ms), "0", 0, DAY },
	{ "min_jobs", KEY_INT, A(min_jobs), "0", 0, 1000000000 },
	{ "notify", KEY_WORDS, A(notify) },
	{ "repeat", KEY_DURATION, A(repeat_ms), "0", 0, 30 * DAY },
	{ "escalate", KEY_MAP, .table = escalate_keys },
	{ "severity", KEY_CHOICE, A(severity), "warning",
	    .names = conf_severities },
	END
};

/* What a step and on_failure say of their job. */
#define STEP(m) offsetof(struct step_conf, m)
#define JOB_KEYS \
	{ "priority", KEY_TEXT, STEP(priority_text), "", .flags = KEY_QUIET }, \
	{ "delay", KEY_DURATION, STEP(delay_ms), "0", 0, YEAR, KEY_QUIET }, \
	{ "timeout", KEY_DURATION, STEP(timeout_ms), "0", 0, RUN_MAX, \
	    KEY_QUIET }, \
	{ "max_attempts", KEY_INT, STEP(max_attempts), "0", 0, 30000, \
	    KEY_QUIET }, \
	{ "tenant", KEY_TEXT, STEP(tenant), "", .flags = KEY_QUIET }, \
	{ "key", KEY_TEXT, STEP(key), "", .flags = KEY_QUIET }

static const struct key step_keys[] = {
	{ "queue", KEY_TEXT, STEP(queue), "" },
	{ "type", KEY_TEXT, STEP(type), "" },
	{ "after", KEY_WORDS, STEP(after) },
	{ "if", KEY_TEXT, STEP(condition), "", .flags = KEY_QUIET },
	{ "for_each", KEY_TEXT, STEP(for_each), "", .flags = KEY_QUIET },
	{ "allow_failure", KEY_BOOL, STEP(allow_failure), "false",
	    .flags = KEY_QUIET },
	{ "data", KEY_NODE, STEP(data), .flags = KEY_QUIET },
	JOB_KEYS,
	END
};

static const struct key undo_keys[] = {
	{ "queue", KEY_TEXT, STEP(queue), "" },
	{ "type", KEY_TEXT, STEP(type), "" },
	JOB_KEYS,
	END
};

static const struct key workflow_keys[] = {
	{ "steps", KEY_NAMED, offsetof(struct workflow_conf, steps),
	    .table = step_keys, .size = sizeof(struct step_conf),
	    .check = check_step_name },
	{ "on_failure", KEY_MAP, offsetof(struct workflow_conf, on_failure),
	    .table = undo_keys, .flags = KEY_QUIET },
	END
};

const struct key conf_keys[] = {
	{ "include", KEY_CUSTOM, .read = conf_read_include },
	{ "daemon", KEY_MAP, .table = daemon_keys, .finish = daemon_finish },
	{ "database", KEY_MAP, .table = database_keys,
	    .finish = database_finish },
	{ "log", KEY_MAP, .table = log_keys },
	{ "api", KEY_MAP, .table = api_keys, .finish = api_finish },
	{ "monitor", KEY_MAP, .table = monitor_keys },
	{ "priority_scales", KEY_NAMED, C(scales), .table = scale_keys,
	    .size = sizeof(struct priority_scale), .check = check_name },
	{ "retry", KEY_NAMED, C(policies), .table = policy_keys,
	    .size = sizeof(struct retry_policy), .check = check_name,
	    .finish = policy_finish },
	{ "limits", KEY_NAMED, C(limits), .table = limit_keys,
	    .size = sizeof(struct limit_conf), .check = check_name,
	    .finish = limit_finish },
	{ "handlers", KEY_NAMED, C(handlers), .table = handler_keys,
	    .size = sizeof(struct handler_conf), .check = check_name,
	    .flags = KEY_OPEN, .finish = handler_finish,
	    .dump = handler_dump },
	{ "queues", KEY_NAMED, C(queues), .table = queue_keys,
	    .size = sizeof(struct queue_conf), .check = check_queue_name },
	{ "schedules", KEY_NAMED, C(schedules), .table = schedule_keys,
	    .size = sizeof(struct schedule_conf), .check = check_name,
	    .finish = schedule_finish },
	{ "hooks", KEY_NAMED, C(read.hooks), .table = hook_keys,
	    .size = sizeof(struct hook_conf), .check = check_name },
	{ "channels", KEY_NAMED, C(read.channels), .table = channel_keys,
	    .size = sizeof(struct channel_conf), .check = check_name },
	{ "alerts", KEY_NAMED, C(read.alerts), .table = alert_keys,
	    .size = sizeof(struct alert_conf), .check = check_name },
	{ "workflows", KEY_NAMED, C(read.workflows), .table = workflow_keys,
	    .size = sizeof(struct workflow_conf), .check = check_name },
	END
};
