/*
 * Broken configurations, and exactly what is said of each.
 */
#include "confs.h"

#define H "handlers: {h: {driver: noop}}\n"
#define Q H "queues: {q: {handler: h}}\n"

static const struct {
	const char *text;
	const char *complaints;
} broken[] = {
	/* YAML itself */
	{ "queues: [\n",
	    "x.yml:2:1: did not find expected node content, while parsing a flow node that began on line 2\n" },
	{ "a: b: c\n",
	    "x.yml:1:5: mapping values are not allowed in this context\n" },
	{ "\tqueues: {}\n",
	    "x.yml:1:1: found character that cannot start any token, while scanning for the next token that began on line 1; indent with spaces, and quote a text that begins with @ ` or %\n" },
	{ "log: {level: @info}\n",
	    "x.yml:1:14: found character that cannot start any token, while scanning for the next token that began on line 1; indent with spaces, and quote a text that begins with @ ` or %\n" },
	{ "log: \"open\n",
	    "x.yml:2:1: found unexpected end of stream, while scanning a quoted scalar that began on line 1\n" },
	{ "log: \xff\n",
	    "x.yml:1:1: invalid leading UTF-8 octet (byte 5 of the file)\n" },
	{ "log: {}\n---\nlog: {}\n",
	    "x.yml:2:1: a second document; only one is allowed in a file\n" },
	{ "- a\n- b\n",
	    "x.yml:1:1: the file is no map of sections (\"queues:\" and so on)\n" },
	{ "just words\n",
	    "x.yml:1:1: the file is no map of sections (\"queues:\" and so on)\n" },
	{ "log: &a {level: info}\n",
	    "x.yml:1:6: anchors and aliases (& and *) are not supported; quote a text that begins so\n" },
	{ "log: {level: *a}\n",
	    "x.yml:1:14: anchors and aliases (& and *) are not supported; quote a text that begins so\n" },
	{ "log: {level: !!str info}\n",
	    "x.yml:1:14: tags (!) are not supported; quote a text that begins so\n" },
	{ "log: {level: info, level: debug}\n",
	    "x.yml:1:20: \"level\" is already at x.yml:1\n" },
	{ "log: {level: info}\nlog: {level: debug}\n",
	    "x.yml:2:1: \"log\" is already at x.yml:1\n" },
	{ H "queues:\n  q: {handler: h}\n  q: {handler: h}\n",
	    "x.yml:4:3: \"q\" is already at x.yml:3\n" },
	{ "? {a: b}\n: c\n",
	    "x.yml:1:3: a key must be a word\n" },
	{ "log: {file: \"a\\0b\"}\n",
	    "x.yml:1:13: a NUL character cannot be used\n" },
	{ "log: {file: \"a\\nb\", bad\\nkey: 1}\n",
	    "x.yml:1:21: unknown key \"bad\\nkey\"\n" },

	/* Variables */
	{ "log: {file: \"${JOBQD_NONE}\"}\n",
	    "x.yml:1:13: the environment variable JOBQD_NONE is not set; set it, or write ${JOBQD_NONE:-default}\n" },
	{ "log: {file: \"${JOBQD_FILE\"}\n",
	    "x.yml:1:13: \"${\" has no \"}\"; for the characters themselves write $${\n" },
	{ "log: {file: \"a${1A}\"}\n",
	    "x.yml:1:13: \"${1A}\" is neither ${NAME} nor ${NAME:-default}; for the characters themselves write $${\n" },
	{ "log: {file: \"a${A:=b}\"}\n",
	    "x.yml:1:13: \"${A:=b}\" is neither ${NAME} nor ${NAME:-default}; for the characters themselves write $${\n" },
	{ "log: {file: \"a${JOBQD_LATIN1}\"}\n",
	    "x.yml:1:13: the environment variable JOBQD_LATIN1 is not UTF-8\n" },
	{ "monitor: {interval: \"${JOBQD_WORD}\"}\n",
	    "x.yml:1:11: interval: \"word\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 100ms to 1d\n" },

	/* Keys */
	{ "queue: {}\n",
	    "x.yml:1:1: unknown key \"queue\" (did you mean \"queues\"?)\n" },
	{ "zzzzzzzzz: {}\n", "x.yml:1:1: unknown key \"zzzzzzzzz\"\n" },
	{ "log:\n  levle: info\n",
	    "x.yml:2:3: unknown key \"levle\" (did you mean \"level\"?)\n" },
	{ H "queues: {q: {handler: h, worker: 2}}\n",
	    "x.yml:2:26: unknown key \"worker\" (did you mean \"workers\"?)\n" },
	{ H "queues: {q: {handler: h, cancel: {signl: TERM}}}\n",
	    "x.yml:2:35: unknown key \"signl\" (did you mean \"signal\"?)\n" },
	{ "handlers: {h: {driver: noop, drive: 1}}\n",
	    "x.yml:1:30: unknown key \"drive\" (did you mean \"driver\"?)\n" },
	{ "daemon: yes\n", "x.yml:1:1: daemon: needs a map of keys\n" },
	{ "queues: [a]\n", "x.yml:1:1: queues: needs a map of names\n" },
	{ H "queues: {q: h}\n",
	    "x.yml:2:10: q: needs a map of keys\n"
	    "x.yml:2:10: queue \"q\" has neither handler: nor types:, nor "
	    "workers: 0, which leaves its jobs to workers elsewhere\n" },

	/* Values */
	{ "log: {level: loud}\n",
	    "x.yml:1:7: level: \"loud\" is not error, warn, info or debug\n" },
	{ "log: {level: [info]}\n",
	    "x.yml:1:7: level: needs a single value, not a list\n" },
	{ "log: {file: {a: b}}\n",
	    "x.yml:1:7: file: needs a single value, not a map\n" },
	{ H "queues: {q: {handler: h, workers: many}}\n",
	    "x.yml:2:26: workers: \"many\" is not a whole number from 0 to 1000\n" },
	{ H "queues: {q: {handler: h, workers: -1}}\n",
	    "x.yml:2:26: workers: \"-1\" is not a whole number from 0 to 1000\n" },
	{ H "queues: {q: {handler: h, workers: 99999999999999999999}}\n",
	    "x.yml:2:26: workers: \"99999999999999999999\" is not a whole number from 0 to 1000\n" },
	{ H "queues: {q: {handler: h, workers: 1.5}}\n",
	    "x.yml:2:26: workers: \"1.5\" is not a whole number from 0 to 1000\n" },
	{ H "queues: {q: {handler: h, workers: }}\n",
	    "x.yml:2:26: workers: \"\" is not a whole number from 0 to 1000\n" },
	{ H "queues: {q: {handler: h, timeout: 60}}\n",
	    "x.yml:2:26: timeout: \"60\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 1ms to 24d\n" },
	{ H "queues: {q: {handler: h, timeout: 60 s}}\n",
	    "x.yml:2:26: timeout: \"60 s\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 1ms to 24d\n" },
	{ H "queues: {q: {handler: h, lease: 1w}}\n",
	    "x.yml:2:26: lease: \"1w\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 1s to 1h\n" },
	{ H "queues: {q: {handler: h, max_payload: 100kb}}\n",
	    "x.yml:2:26: max_payload: \"100kb\" is not a size like 4096, 100KiB or 1MiB from 1 to 64MiB\n" },
	{ H "queues: {q: {handler: h, enabled: maybe}}\n",
	    "x.yml:2:26: enabled: \"maybe\" is not true or false (yes, no, on, off, 1, 0)\n" },
	{ H "queues: {q: {handler: h, cancel: {signal: SEGV}}}\n",
	    "x.yml:2:35: signal: \"SEGV\" is not TERM, INT, QUIT, HUP, USR1, USR2 or KILL\n" },
	{ H "queues: {q: {handler: h, priority: urgent}}\n",
	    "x.yml:2:26: priority: \"urgent\" is neither a number from 0 to 99 nor a name of the scale default\n" },
	{ H "queues: {q: {handler: h, priority: 100}}\n",
	    "x.yml:2:26: priority: \"100\" is neither a number from 0 to 99 nor a name of the scale default\n" },
	{ H "queues: {q: {handler: h, priority_scale: hze}}\n",
	    "x.yml:2:26: priority_scale: there is no scale \"hze\" (did you mean \"hse\"?)\n" },
	{ "priority_scales: {s: {names: {low: 200}}}\n",
	    "x.yml:1:31: low: \"200\" is not a whole number from 0 to 99\n" },
	{ "priority_scales: {s: {names: {low: 2}}}\n"
	    H "queues: {q: {handler: h, priority_scale: s}}\n",
	    "x.yml:3:10: priority: \"normal\" is neither a number from 0 to 99 nor a name of the scale s\n" },
	{ H "queues: {q: {handler: h, unique_until: never}}\n",
	    "x.yml:2:26: unique_until: \"never\" is not done, started or a duration\n" },
	{ H "queues: {q: {handler: h, unique_conflict: overwrite}}\n",
	    "x.yml:2:26: unique_conflict: \"overwrite\" is not existing, replace or move\n" },
	{ H "queues: {q: {handler: h, unique: message_id}}\n",
	    "x.yml:2:26: unique: \"message_id\": needs a member of the job's data, like data.account_id\n" },
	{ H "queues: {q: {handler: h, fair: data..a}}\n",
	    "x.yml:2:26: fair: \"data..a\": needs tenant, or a member of the job's data, like data.account_id\n" },
	{ H "queues: {q: {handler: h, breaker: sometimes}}\n",
	    "x.yml:2:26: breaker: needs off, on, or a map like {failures: 50%, of: 20, open: 1m}\n" },
	{ H "queues: {q: {handler: h, breaker: {failures: 150%}}}\n",
	    "x.yml:2:36: failures: \"150%\" is not a percentage from 0% to 100%\n" },
	{ H "queues: {q: {handler: h, schema: {to: text}}}\n",
	    "x.yml:2:35: to: \"text\" is not string, number, integer, boolean, object, array or any (with ? at its end: may be missing)\n" },
	{ H "queues: {q: {handler: h, limits: teams}}\n",
	    "x.yml:2:26: limits: needs a list, as in [one, two]\n" },
	{ "api: {rate_limit: fast, listen: nowhere}\n",
	    "x.yml:1:7: rate_limit: \"fast\" is not a rate like 50/s or 10000/10m\n"
	    "x.yml:1:25: listen: \"nowhere\": needs HOST:PORT, unix:PATH or off\n" },
	{ "api: {listen: \"127.0.0.1:80000\"}\n",
	    "x.yml:1:7: listen: \"127.0.0.1:80000\": the port is a number from 1 to 65535\n" },
	{ "api: {tls: {cert: /a.pem}}\n",
	    "x.yml:1:7: tls: a certificate needs its key, and a key its certificate: both cert and key, or neither\n" },
	{ "api: {trusted_proxies: [10.0.0.0/8, proxy, 10.0.0.0/40]}\n",
	    "x.yml:1:37: trusted_proxies: needs an address or a network, like 10.0.0.0/8 or fd00::/8, or unix\n"
	    "x.yml:1:44: trusted_proxies: what is behind the / is a number of bits, at most 32 of IPv4 and 128 of IPv6\n" },
	{ "api: {admin_key: a, admin_key_file: /b}\n",
	    "x.yml:1:21: both admin_key and admin_key_file: one is enough\n" },
	{ "daemon: {timezone: Mars/Olympus, node: \"a b\"}\n",
	    "x.yml:1:10: timezone: \"Mars/Olympus\": no such time zone; write one like UTC or Europe/Berlin\n"
	    "x.yml:1:34: node: \"a b\": a node's name has no blanks and only ASCII\n" },
	{ "database: {url: jobq, schema: pg_jobs}\n",
	    "x.yml:1:12: url: \"***\": needs a form like postgresql://user@host/database or host=... dbname=...\n"
	    "x.yml:1:23: schema: \"pg_jobs\": a schema's name is 1 to 48 lower-case letters, digits and _, and begins neither with a digit nor with pg_\n" },
	{ "database: {url: \"postgresql:///a\", embedded: /tmp/a}\n",
	    "x.yml:1:12: url: there is embedded: too; one of them is enough\n" },
	{ "database: {embedded: here, migrate: yes}\n",
	    "x.yml:1:12: embedded: \"here\": needs an absolute path of at most 85 bytes, because a socket lies in it\n"
	    "x.yml:1:28: migrate: \"yes\" is not manual or auto\n" },
	{ "monitor: {report: \"99 * * * *\"}\n", NULL },

	/* Retry policies */
	{ "retry: {p: {backoff: cubic}}\n",
	    "x.yml:1:13: backoff: \"cubic\" is not fixed, linear, exponential or polynomial\n" },
	{ "retry: {p: {backoff: [1s, soon]}}\n",
	    "x.yml:1:27: backoff: \"soon\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 0 to 366d\n" },
	{ "retry: {p: {backoff: []}}\n",
	    "x.yml:1:13: backoff: a list has 1 to 64 delays\n" },
	{ "retry: {p: {factor: 0.5}}\n",
	    "x.yml:1:13: factor: \"0.5\" is not a number from 1 to 1000\n" },
	{ "retry: {p: {jitter: lots}}\n",
	    "x.yml:1:13: jitter: \"lots\" is not a percentage from 0% to 100%\n" },
	{ "retry: {p: {jitter: 120%}}\n",
	    "x.yml:1:13: jitter: \"120%\" is not a percentage from 0% to 100%\n" },
	{ "retry: {p: {attempts: -3, base: -1s, exponent: -1, max_crashes: 1001}}\n",
	    "x.yml:1:13: attempts: \"-3\" is not a whole number from 1 to 1000\n"
	    "x.yml:1:27: base: \"-1s\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 0 to 366d\n"
	    "x.yml:1:38: exponent: \"-1\" is not a number from 0 to 10\n"
	    "x.yml:1:52: max_crashes: \"1001\" is not a whole number from 0 to 1000\n" },
	{ "retry: {p: {backoff: linear, base: 400d}}\n",
	    "x.yml:1:30: base: \"400d\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 0 to 366d\n" },
	{ "retry: {p: {retries: -1}}\n",
	    "x.yml:1:13: retries: \"-1\" is not a whole number from 0 to 999\n" },
	{ "retry: {p: {attempts: 3, retries: 2, on: {network: {retries: 4, attempts: 5}}}}\n",
	    "x.yml:1:26: retries: there is attempts, too, which is one more; one of them is enough\n"
	    "x.yml:1:53: retries: there is attempts, too, which is one more; one of them is enough\n" },
	{ "retry: {p: {backoff: [1s, 5m, 2s], max: 1m}}\n",
	    "x.yml:1:36: max: a delay of backoff is 5m, above max, 1m; write a larger max\n" },
	{ "retry: {p: {on: {network: {base: 10m}, auth: {base: 5s, max: 1s}}}}\n",
	    "x.yml:1:18: max: base is 10m, above max, 1m; write a larger max\n"
	    "x.yml:1:57: max: base is 5s, above max, 1s; write a larger max\n" },
	{ H "queues: {q: {handler: h, retry: {base: 90s}}}\n",
	    "x.yml:2:26: max: base is 90s, above max, 1m; write a larger max\n" },
	{ "retry: {p: {attempts: 1, backoff: [1s, 2s]}}\n",
	    "x.yml:1:26: backoff: there are delays and only one attempt; write attempts: 2 or more\n" },
	{ "retry: {p: {retries: 0, backoff: [1s]}, q: {attempts: 1, backoff: [1s], on: {network: {attempts: 2}}}}\n",
	    "x.yml:1:25: backoff: there are delays and only one attempt; write attempts: 2 or more\n" },
	{ "retry: {p: {on: {validation: {base: 1s}, network: {attempts: 1, backoff: [1s, 2s]}}}}\n",
	    "x.yml:1:31: base: failures of class validation are not tried again; write attempts: 2 or more\n"
	    "x.yml:1:65: backoff: failures of class network are not tried again; write attempts: 2 or more\n" },
	{ "retry: {p: {on: {timeout: {respect_retry_after: true}, crash: {respect_retry_after: yes}, resource: {respect_retry_after: false}}}}\n",
	    "x.yml:1:18: timeout: respect_retry_after is for failures that the other side tells of, such as rate_limit\n"
	    "x.yml:1:56: crash: respect_retry_after is for failures that the other side tells of, such as rate_limit\n" },
	{ "retry: {p: {on: {network: {factor: 0.9, jitter: 101%, max: -1}}}}\n",
	    "x.yml:1:28: factor: \"0.9\" is not a number from 1 to 1000\n"
	    "x.yml:1:41: jitter: \"101%\" is not a percentage from 0% to 100%\n"
	    "x.yml:1:55: max: \"-1\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 0 to 366d\n" },
	{ "retry: {p: {on: [network]}, q: 3}\n", NULL },
	{ "retry: {p: {base: 5m}}\n",
	    "x.yml:1:9: max: base is 5m, above max, 1m; write a larger max\n" },
	{ "retry: {p: {on: {netwrk: {attempts: 2}}}}\n",
	    "x.yml:1:18: there is no class \"netwrk\" (did you mean \"network\"?)\n" },
	{ "retry: {p: {on: {lost: {attempts: 2}}}}\n",
	    "x.yml:1:18: lost: what was lost charges nothing and runs again at once; it has no rule\n" },
	{ "retry: {p: {on: {network: {attempts: 0, bse: 1s}}}}\n",
	    "x.yml:1:28: attempts: \"0\" is not a whole number from 1 to 1000\n"
	    "x.yml:1:41: unknown key \"bse\" (did you mean \"base\"?)\n" },
	{ H "queues: {q: {handler: h, retry: {attempts: 0}}}\n",
	    "x.yml:2:34: attempts: \"0\" is not a whole number from 1 to 1000\n" },

	/* Handlers */
	{ "handlers: {h: {argv: [a]}}\n",
	    "x.yml:1:12: handler \"h\" has no driver:\n" },
	{ "handlers: {h: noop}\n",
	    "x.yml:1:12: h: needs a map of keys, driver: first of all\n" },
	{ "handlers: {h: {driver: sql}}\n",
	    "x.yml:1:16: driver: this build has no driver \"sql\"\n" },
	{ "handlers: {h: {driver: htpp}}\n",
	    "x.yml:1:16: driver: there is no driver \"htpp\" (did you mean \"http\"?)\n" },
	{ "handlers: {h: {driver: email, password: a, password_file: /b}}\n",
	    "x.yml:1:44: both password and password_file: one of them is enough\n" },
	{ "handlers: {h: {driver: email, password_file: /nonexistent/b}}\n",
	    "x.yml:1:31: password_file: cannot read /nonexistent/b: No such file or directory\n" },
	{ "handlers: {\"a b\": {driver: noop}}\n",
	    "x.yml:1:12: \"a b\": a name is 1 to 63 letters, digits and _ . -, the first a letter or digit\n" },

	/* Names that point nowhere */
	{ H "queues: {q: {handler: hh}}\n",
	    "x.yml:2:14: handler: there is no handler \"hh\" (did you mean \"h\"?)\n" },
	{ H "queues: {q: {handler: [h]}}\n",
	    "x.yml:2:14: handler: needs the name of a handler\n" },
	{ H "queues: {Q: {handler: h}}\n",
	    "x.yml:2:10: \"Q\": a queue's name is 1 to 63 lower-case letters, digits and _ . -, the first a letter\n" },
	{ H "queues: {q: {types: {a: nobody, b: {handler: h, timeout: x}, c: {timeout: 1s}}}}\n",
	    "x.yml:2:22: a: there is no handler \"nobody\"\n"
	    "x.yml:2:49: timeout: \"x\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 0 to 24d\n"
	    "x.yml:2:62: type \"c\" has no handler:\n" },
	{ H "queues: {q: {handler: h, retry: defualt}}\n",
	    "x.yml:2:26: retry: there is no policy \"defualt\" (did you mean \"default\"?)\n" },
	{ "limits: {teams: {rate: 5/s}}\n"
	    H "queues: {q: {handler: h, limits: [teams, temas]}}\n",
	    "x.yml:3:42: limits: there is no limit \"temas\" (did you mean \"teams\"?)\n" },
	{ "limits: {teams: {rate: 5, concurrency: -1}}\n",
	    "x.yml:1:18: rate: \"5\" is not a rate like 50/s or 10000/10m\n"
	    "x.yml:1:27: concurrency: \"-1\" is not a whole number from 0 to 1000000\n" },
	{ "limits: {a: {}, b: {rate: 3000000000/s}}\n" Q,
	    "x.yml:1:10: limit \"a\" has none of rate:, concurrency: and min_gap:\n"
	    "x.yml:1:17: limit \"b\": a rate counts at most 2147483647\n" },
	{ H "queues: {q: {handler: h, fair_weights: {a: 2}}}\n",
	    "x.yml:2:26: fair_weights: needs fair:, whose values have them\n" },
	{ H "queues: {q: {handler: h, fair: tenant, fair_weights: [a]}}\n",
	    "x.yml:2:40: fair_weights: needs a map\n" },
	{ H "queues: {q: {handler: h, fair: tenant, fair_weights: {a: 0, b: 101, c: {}}}}\n",
	    "x.yml:2:55: a: \"0\" is no weight from 1 to 100\n"
	    "x.yml:2:61: b: \"101\" is no weight from 1 to 100\n"
	    "x.yml:2:69: c: \"\" is no weight from 1 to 100\n" },
	{ H "queues: {q: {handler: h, per_key: 0, ageing: -1s}}\n",
	    "x.yml:2:26: per_key: \"0\" is not a whole number from 1 to 1000000\n"
	    "x.yml:2:38: ageing: \"-1s\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 0 to 366d\n" },

	/* Schedules */
	{ Q "schedules: {s: {every: 30s, queue: qq}}\n",
	    "x.yml:3:29: queue: there is no queue \"qq\" (did you mean \"q\"?)\n" },
	{ Q "schedules: {s: {every: 30s}}\n",
	    "x.yml:3:13: schedule \"s\" has no queue:\n" },
	{ Q "schedules: {s: {queue: q}}\n",
	    "x.yml:3:13: schedule \"s\" has none of cron:, every: and at:\n" },
	{ Q "schedules: {s: {queue: q, every: 30s, cron: \"* * * * *\"}}\n",
	    "x.yml:3:27: every: one of cron, every and at is enough\n" },
	{ Q "schedules: {s: {queue: q, every: 10ms}}\n",
	    "x.yml:3:27: every: \"10ms\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 1s to 366d\n" },
	{ Q "schedules: {s: {queue: q, at: 2026-02-30T00:00:00Z}}\n",
	    "x.yml:3:27: at: \"2026-02-30T00:00:00Z\" is not an instant like 2026-12-01T10:00:00Z\n" },
	{ Q "schedules: {s: {queue: q, at: 2026-12-01T24:00}}\n",
	    "x.yml:3:27: at: \"2026-12-01T24:00\" is not an instant like 2026-12-01T10:00:00Z\n" },
	{ Q "schedules: {s: {queue: q, every: 1m, timezone: ../../etc/passwd}}\n",
	    "x.yml:3:38: timezone: \"../../etc/passwd\": no such time zone; write one like UTC or Europe/Berlin\n" },
	{ Q "schedules: {s: {queue: q, every: 1m, timezone: Europe/Berlni, dst: summer}}\n",
	    "x.yml:3:38: timezone: \"Europe/Berlni\": no such time zone (did you mean \"Europe/Berlin\"?)\n"
	    "x.yml:3:63: dst: \"summer\" is not standard, skip or clock\n" },
	{ Q "schedules: {s: {queue: q, at: \"\"}}\n",
	    "x.yml:3:27: at: needs an instant like 2026-12-01T10:00:00Z\n" },
	{ Q "schedules: {s: {queue: q, every: 1m, starts: 2027-01-01T00:00:00Z, ends: 2026-01-01T00:00:00Z}}\n",
	    "x.yml:3:13: schedule \"s\" ends before it starts\n" },
	{ Q "schedules: {s: {queue: q, every: 1m, data: [1]}}\n",
	    "x.yml:3:38: data: needs a map\n" },
	{ Q "schedules: {s: {queue: q, every: 1m, overlap: never, catch_up: al}}\n",
	    "x.yml:3:38: overlap: \"never\" is not allow, skip or replace\n"
	    "x.yml:3:54: catch_up: \"al\" is not none, last or all\n" },
	{ H "queues: {q: {types: {a: h}, max_payload: 10}}\n"
	    "schedules: {s: {queue: q, every: 1m, type: b, data: {text: long enough}}}\n",
	    "x.yml:3:38: type: the queue q has no handler for the type \"b\"\n"
	    "x.yml:3:47: data: 22 bytes, more than the queue's max_payload\n" },

	{ Q "hooks: {g: {queue: q, verify: {scheme: md5}}}\n",
	    "x.yml:3:23: \"verify\" needs a secret:, secrets: or secret_file:, or scheme: none\n"
	    "x.yml:3:32: scheme: \"md5\" is not none, standard-webhooks, timestamped-hmac, github, microsoft-graph or token\n" },
	{ Q "hooks: {g: {verify: {scheme: none}, event_id: id}}\n",
	    "x.yml:3:9: \"g\" has no queue:\n"
	    "x.yml:3:37: event_id: \"id\": needs header:NAME, in small letters, or body:PATH, like header:webhook-id or body:data.id\n" },
	{ Q "hooks: {g: {queue: q, verify: {secrets: [\"whsec_%\"], header: X-A, tolerance: 1}, payload: all}}\n",
	    "x.yml:3:32: secrets: the secret has no base64 after \"whsec_\"\n"
	    "x.yml:3:54: header: \"X-A\": needs the name of a header, in small letters\n"
	    "x.yml:3:67: tolerance: \"1\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 1s to 1d\n"
	    "x.yml:3:82: payload: \"all\" is not raw or event\n" },
	{ H "channels: {c: {email: [a@b], via: hh}, d: {}, e: {webhook: x}}\n",
	    "x.yml:2:30: via: there is no handler \"hh\" (did you mean \"h\"?)\n"
	    "x.yml:2:40: \"d\" needs exactly one of email:, webhook:, webhook_file: and exec:\n"
	    "x.yml:2:47: \"e\" needs exactly one of email:, webhook:, webhook_file: and exec:\n"
	    "x.yml:2:51: webhook: \"***\": needs an address that begins with https:// or http://\n" },
	{ H "channels: {c: {email: [a@b, ops], via: h}, d: {email: [a@b]}, e: {exec: [x], via: h, sign: {secret: s}}}\n",
	    "x.yml:2:29: email: needs an address like ops@example.com\n"
	    "x.yml:2:35: via: the handler h sends no mail, its driver is noop\n"
	    "x.yml:2:44: \"d\" needs via:, the handler that sends its mail\n"
	    "x.yml:2:78: via: goes with email: only\n"
	    "x.yml:2:86: sign: goes with webhook: only\n" },
	{ "channels: {c: {webhook: \"https://a\", format: html, headers: [a], sign: {scheme: none}, timeout: 0}}\n",
	    "x.yml:1:38: format: \"html\" is not auto, generic, slack or teams\n"
	    "x.yml:1:52: headers: needs a map\n"
	    "x.yml:1:66: sign: needs a secret: or secret_file:\n"
	    "x.yml:1:88: timeout: \"0\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 1s to 1h\n" },
	{ "channels: {c: {webhook: \"https://a\"}}\nmonitor: {report_to: [c, d]}\n",
	    "x.yml:2:26: report_to: there is no channel \"d\" (did you mean \"c\"?)\n" },
	{ "alerts: {a: {metric: backlog, above: lots, notify: [ops]}}\n",
	    "x.yml:1:31: above: \"lots\": backlog needs a number, as 1000\n"
	    "x.yml:1:53: notify: there is no channel \"ops\"\n" },
	{ Q "alerts: {a: {metric: failure_rate, above: 1000, below: 1}, b: {above: 1}, c: {metric: loda, above: 1}}\n",
	    "x.yml:3:10: \"a\" needs either above: or below:\n"
	    "x.yml:3:60: \"b\" has no metric:\n"
	    "x.yml:3:79: metric: \"loda\" is not backlog, oldest_ready, failure_rate, error_count, retries, run_time_avg, dead_letters, dead_letters_new, stalled, paused, workers, unserved, node_down, database_down, schedule_late, oldest_snapshot_age or table_size\n" },
	{ Q "alerts: {a: {metric: backlog, queues: [q, r], above: 10, clear: 11}, b: {metric: node_down, queues: [q], above: 0}, c: {metric: workers, below: 2, clear: 1}}\n",
	    "x.yml:3:43: queues: there is no queue \"r\" (did you mean \"q\"?)\n"
	    "x.yml:3:58: clear: it would end at 11 and start above 10\n"
	    "x.yml:3:93: queues: node_down is of no queue\n"
	    "x.yml:3:148: clear: it would end at 1 and start below 2\n" },
	{ Q "alerts: {a: {metric: run_time_avg, above: 60000, escalate: {after: 5m}}}\n",
	    "x.yml:3:36: above: \"60000\": run_time_avg needs a duration, as 30s\n"
	    "x.yml:3:50: escalate: needs after: and notify:\n" },
	{ "monitor: {quiet: \"22:00-24:00\"}\n",
	    "x.yml:1:11: quiet: \"22:00-24:00\": needs two different times of the day, as 22:00-07:00\n" },
	{ Q "workflows: {w: {steps: {a: {queue: q, after: [b]}, b: {queue: q, after: [a]}, c: {queue: r}}}}\n",
	    "x.yml:3:25: step \"a\" waits for itself, by way of its after:\n"
	    "x.yml:3:83: queue: there is no queue \"r\" (did you mean \"q\"?)\n" },
	{ Q "workflows: {w: {steps: {a: {queue: q, after: [z]}}, on_failure: {type: x}}, v: {}}\n",
	    "x.yml:3:47: after: there is no step \"z\" (did you mean \"a\"?)\n"
	    "x.yml:3:53: \"on_failure\" has no queue:\n"
	    "x.yml:3:77: \"v\" has no steps:\n" },
	{ Q "workflows: {w: {steps: {a: {queue: q, after: [a]}, b: {queue: q, after: [a]}}}}\n",
	    "x.yml:3:25: step \"a\" waits for itself, by way of its after:\n" },
	{ Q "workflows: {w: {steps: {a.b: {queue: q}, c: {queue: q, priority: loud, delay: soon, max_attempts: -1}}}}\n",
	    "x.yml:3:25: \"a.b\": a step's name has no dot\n"
	    "x.yml:3:56: priority: \"loud\" is neither a number from 0 to 99 nor a name of the scale of the queue q\n"
	    "x.yml:3:72: delay: \"soon\" is not a duration like 500ms, 30s, 5m, 1h or 1d from 0 to 366d\n"
	    "x.yml:3:85: max_attempts: \"-1\" is not a whole number from 0 to 30000\n" },
	/* … paths of templates */
	{ Q "workflows: {w: {steps: {one: {queue: q}, two: {queue: q, after: [one], data: {x: \"{{result.oen.x}}\"}}}}}\n",
	    "x.yml:3:79: {{result.oen.x}}: there is no step \"oen\" (did you mean \"one\"?)\n" },
	{ Q "workflows: {w: {steps: {one: {queue: q}, two: {queue: q, data: {x: [{y: \"{{count.one.failed}}\"}]}}}}}\n",
	    "x.yml:3:70: {{count.one.failed}}: \"two\" does not come after \"one\": name that in its after:\n" },
	{ Q "workflows: {w: {steps: {a: {queue: q}, b: {queue: q, after: [a]}, c: {queue: q, after: [b], data: {x: \"{{result.a}}\"}}, d: {queue: q, if: \"!result.c\"}}}}\n",
	    "x.yml:3:135: {{result.c}}: \"d\" does not come after \"c\": name that in its after:\n" },
	{ Q "workflows: {w: {steps: {a: {queue: q, data: {x: \"{{item}}\"}}, b: {queue: q, for_each: \"{{data.x}}\", data: {x: \"{{item}}\"}}}}}\n",
	    "x.yml:3:46: {{item}}: a path begins with one of data, result, count, workflow, now, as in {{data.name}}\n" },
	{ Q "workflows: {w: {steps: {a: {queue: q, for_each: items, tenant: \"{{data..x}}\", key: \"{{data.x\"}}, on_failure: {queue: q, tenant: \"{{result.a}}\"}}}\n",
	    "x.yml:3:39: {{items}}: a path begins with one of data, result, count, workflow, now, item, index, as in {{data.name}}\n"
	    "x.yml:3:56: {{data..x}}: an empty name beside a dot\n"
	    "x.yml:3:79: \"{{\" without \"}}\" within 256 bytes\n"
	    "x.yml:3:121: {{result.a}}: which steps have ended before on_failure is not known\n" },
	{ Q "workflows: {w: {steps: {a: {queue: q, type: \"{{result}}\"}}}}\n",
	    "x.yml:3:39: {{result}}: of which step? name it, as in result.STEP\n" },

	/* Includes */
	{ "include: nothing.yml\n",
	    "x.yml:1:1: cannot open nothing.yml: No such file or directory\n" },
	{ "include: x.yml\n", "x.yml:1:1: x.yml includes itself\n" },
	{ "include: {a: b}\n",
	    "x.yml:1:1: include: needs a path, or a list of paths\n" },
	{ "include: [sub/loop.yml, [a]]\n",
	    "x.yml:1:25: include: needs a path, or a list of paths\n"
	    "sub/loop.yml:2:1: sub/../x.yml includes itself\n" },
	{ "include: sub/bad*.yml\nlog: {levle: x}\n",
	    "x.yml:2:7: unknown key \"levle\" (did you mean \"level\"?)\n"
	    "sub/bad2.yml:2:7: \"level\" is already at sub/bad1.yml:1\n" },
	{ "include: sub\n", "x.yml:1:1: cannot read sub: Is a directory\n" },
};

static void
test_conf_errors_table(void **state)
{
	int failures = 0;

	(void)state;
	assert_int_equal(mkdir("sub", 0700), 0);
	confs_write("sub/loop.yml", "\ninclude: ../x.yml\n");
	confs_write("sub/bad1.yml", "log: {level: info}\n");
	confs_write("sub/bad2.yml", "\nlog: {level: info}\n");
	setenv("JOBQD_LATIN1", "caf\xe9", 1);
	setenv("JOBQD_WORD", "word", 1);
	unsetenv("JOBQD_NONE");
	for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++) {
		char *said = confs_complaints(broken[i].text);

		if (broken[i].complaints != NULL &&
		    strcmp(said, broken[i].complaints) != 0) {
			print_error("of\n%sis said\n%snot\n%s\n",
			    broken[i].text, said, broken[i].complaints);
			failures++;
		}
		free(said);
	}
	assert_int_equal(failures, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conf_errors_table),
	};

	return cmocka_run_group_tests(tests, confs_setup, confs_teardown);
}
