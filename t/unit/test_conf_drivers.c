/*
 * What is wrong with the options of a handler, said by its driver.
 */
#include "confs.h"

#include "driver/driver.h"

static void
check_options(const char *driver, const struct node *options,
    struct conf_sink *sink)
{
	driver_find(driver)->check(options, sink);
}

static const struct conf_drivers real_drivers = { driver_names, check_options };

#define REPORT(options) "handlers: {h: {driver: report, directory: /r, " options "}}\n"
#define REPORTS "reports: {a: {query: SELECT 1}}"
#define HTTP(options) "handlers: {h: {driver: http, " options "}}\n"
#define SQL(options) "handlers: {h: {driver: sql, " options "}}\n"

#ifdef HAVE_EMAIL
#define EMAIL(options) "handlers: {h: {driver: email, " options "}}\n"
#endif

static const struct {
	const char *text, *complaints;
} cases[] = {
#ifdef HAVE_EMAIL
	{ EMAIL("timeout: 1s, timeouts: {connect: 5s, end: 10m}, connection_mails: 1, connection_idle: 0"), "" },
	{ EMAIL("user: a, password: b, auth: cram-md5, tls_name: mail.example.com"), "" },
	{ EMAIL("timeouts: {conect: 5s, end: 11m}"),
	    "x.yml:1:42: unknown key \"conect\" (did you mean \"connect\"?)\n"
	    "x.yml:1:54: end: 100ms to 10m\n" },
	{ EMAIL("return_path: nobody"),
	    "x.yml:1:31: return_path: \"nobody\" is no mail address\n" },
	{ EMAIL("timeouts: 5s"), "x.yml:1:31: timeouts: needs a map\n" },
	{ EMAIL("auth: plain"), "x.yml:1:31: auth: needs user\n" },
	{ EMAIL("user: a, auth: digest"),
	    "x.yml:1:40: auth: \"digest\" is not auto, plain, login, cram-md5 or xoauth2\n" },
	{ EMAIL("connection_mails: 0"),
	    "x.yml:1:31: connection_mails: \"0\" is not a whole number from 1 to 1000000\n" },
	{ EMAIL("server: \"file:mail\", force_from: yes"),
	    "x.yml:1:31: server: file: needs an absolute path\n"
	    "x.yml:1:52: force_from: needs from\n" },
#endif
	{ SQL("statement: SELECT 1"), "" },
	{ SQL("statements: [SELECT 1, SELECT 2], transactional: yes, role: a, max_rows: 0"), "" },
	{ SQL("statements: {a: DELETE}, choose: \"{{data.what}}\", batch: {limit: 1, pause: 0}"), "" },
	{ SQL("role: a"),
	    "x.yml:1:15: statement: needs either statement: or statements:\n" },
	{ SQL("statement: SELECT 1, statements: [SELECT 2]"),
	    "x.yml:1:50: statements: needs either statement: or statements:\n" },
	{ SQL("statement: \"\""),
	    "x.yml:1:29: statement: is empty\n" },
	{ SQL("statments: [a]"),
	    "x.yml:1:15: statement: needs either statement: or statements:\n"
	    "x.yml:1:29: unknown key \"statments\" (did you mean \"statements\"?)\n" },
	{ SQL("statements: []"),
	    "x.yml:1:29: statements: needs a list of statements, or a map of names and statements, at most 100\n" },
	{ SQL("statements: [SELECT 1, {a: b}]"),
	    "x.yml:1:52: statements: needs the text of a statement\n" },
	{ SQL("statements: {a: b}"),
	    "x.yml:1:29: statements: choose: and a map of statements: go together\n" },
	{ SQL("statements: [a], choose: b"),
	    "x.yml:1:46: choose: choose: and a map of statements: go together\n" },
	{ SQL("statements: {a: b}, choose: \"{{nothing}}\""),
	    "x.yml:1:49: choose: {{nothing}}: a path begins with one of data, job, now, as in {{data.name}}\n" },
	{ SQL("statement: a, max_rows: 10001"),
	    "x.yml:1:43: max_rows: \"10001\" is not a whole number from 0 to 10000\n" },
	{ SQL("statement: a, transactional: yes, url: \"postgresql:///x\""),
	    "x.yml:1:43: transactional: the job is completed in the database that it is in: not with url:\n" },
	{ SQL("statement: a, transactional: yes, autocommit: yes"),
	    "x.yml:1:63: autocommit: is no transaction: not with transactional:\n" },
	{ SQL("statement: a, transactional: yes, batch: {}"),
	    "x.yml:1:63: batch: every batch commits by itself: not with transactional:\n" },
	{ SQL("statements: [a], batch: {limit: 0}"),
	    "x.yml:1:46: batch: repeats one statement: not with a list of them\n"
	    "x.yml:1:54: limit: \"0\" is not a whole number from 1 to 1000000\n" },
	{ SQL("statement: a, batch: {pause: 2h, size: 3}"),
	    "x.yml:1:51: pause: at most 1h\n"
	    "x.yml:1:62: unknown key \"size\"\n" },
	{ SQL("statement: a, batch: 5"),
	    "x.yml:1:43: batch: needs a map: limit, pause\n" },
	{ SQL("statement: a, url_file: /nonexistent/url"),
	    "x.yml:1:43: url_file: cannot read /nonexistent/url: No such file or directory\n" },

#ifdef HAVE_HTTP
	{ HTTP("keep_body: 128KiB, keep_headers: [ETag]"), "" },
	{ HTTP("keep_body: 1MiB, keep_headers: ETag"),
	    "x.yml:1:30: keep_body: at most 128KiB\n"
	    "x.yml:1:47: keep_headers: needs a list of at most 20 names\n" },
	{ HTTP("keep_headers: [\"\", [a]]"),
	    "x.yml:1:45: keep_headers: needs the name of a header\n"
	    "x.yml:1:49: keep_headers: needs the name of a header\n" },
	{ HTTP("url: \"http://h/\", query: {a: \"{{data.a}}\"}, payload: {a: [\"{{data.b}}\"]}"), "" },
	{ HTTP("sign: {secret: [a, b]}, body: \"{{data.text}}\""), "" },
	{ HTTP("url: \"http:///x\", query: 5, form: {a: \"{{b}}\"}"),
	    "x.yml:1:30: url: names no host\n"
	    "x.yml:1:48: query: needs a map\n"
	    "x.yml:1:58: form: {{b}}: a path begins with one of data, job, now, as in {{data.name}}\n" },
	{ HTTP("body: [a], payload: {}, multipart: []"),
	    "x.yml:1:30: body: only one of payload and body\n"
	    "x.yml:1:30: body: needs a single value\n"
	    "x.yml:1:54: multipart: only one of body and multipart\n"
	    "x.yml:1:54: multipart: needs a map\n" },
	{ HTTP("directory: /d, upload: \"{{data.file}}\", save_to: x, max_size: 1GiB"), "" },
	{ HTTP("directory: d, max_size: 0"),
	    "x.yml:1:30: directory: needs an absolute path\n"
	    "x.yml:1:44: max_size: must be more than 0\n" },
	{ HTTP("upload: a, save_to: \"{{b}}\", sign: {secret: x}"),
	    "x.yml:1:30: upload: needs directory:, below which it is\n"
	    "x.yml:1:30: upload: what is sent from a file is not signed\n"
	    "x.yml:1:41: save_to: {{b}}: a path begins with one of data, job, now, as in {{data.name}}\n" },
	{ HTTP("auth: {oauth2: {token_url: \"https://x/\", client_id: a, client_secret: b, scope: c, params: {audience: d}, credentials: body}}"), "" },
	{ HTTP("auth: {oauth2: {token_url: x, params: 5, credentials: cookie}}"),
	    "x.yml:1:45: oauth2: token_url needs to be a URL\n"
	    "x.yml:1:45: oauth2: client_id is missing\n"
	    "x.yml:1:68: params: needs a map of names and texts\n"
	    "x.yml:1:71: credentials: \"cookie\" is not header or body\n" },
	{ HTTP("allow_networks: [10.1.0.0/16, \"fd00::/8\"], answer_timeout: 5s, stall_timeout: 30s, slow_start: off"), "" },
	{ HTTP("allow_networks: 10.1.0.0/16, stall_timeout: x"),
	    "x.yml:1:30: allow_networks: needs a list of networks, such as 10.1.0.0/16\n"
	    "x.yml:1:59: stall_timeout: \"x\" is not a duration like 500ms, 30s, 5m, 1h or 1d\n" },
	{ HTTP("allow_networks: [10.1.0.0/33, [a]]"),
	    "x.yml:1:47: allow_networks: what is behind the / is a number of bits, at most 32 of IPv4 and 128 of IPv6\n"
	    "x.yml:1:60: allow_networks: needs a network, such as 10.1.0.0/16\n" },
	{ HTTP("sign: {secret: []}"),
	    "x.yml:1:37: secret: needs 1 to 10 of them\n" },
	{ HTTP("sign: {secret: [a, \"{{data.b}}\"]}"),
	    "x.yml:1:49: secret: needs a text without {{}} in a list\n" },
#endif

	{ REPORT(REPORTS), "" },
	{ REPORT(REPORTS ", formats: [csv, json, ndjson], keep: 0, bom: yes, max_size: 1GiB, role: a"), "" },
	{ REPORT("reports: {a: {query: SELECT 1, title: A, columns: {b: B}, totals: [b], chart: {label: a, value: b}, parameters: {c: date, d: \"text?\"}}}"), "" },
	{ "handlers: {h: {driver: report}}\n",
	    "x.yml:1:15: directory: needs an absolute path\n"
	    "x.yml:1:15: reports: needs a map of names and reports\n" },
	{ "handlers: {h: {driver: report, directory: r, reports: {}}}\n",
	    "x.yml:1:32: directory: needs an absolute path\n"
	    "x.yml:1:46: reports: needs a map of names and reports\n" },
	{ REPORT("reports: {a: {}, b/c: {query: SELECT 1}, d: SELECT 1}"),
	    "x.yml:1:57: a: has no query:\n"
	    "x.yml:1:64: b/c: a report's name is 1 to 63 letters, digits, _ and -\n"
	    "x.yml:1:88: d: needs a map of keys, query: first of all\n" },
	{ REPORT("reports: {a: {query: SELECT 1, columns: [a], totals: a, chart: {label: a}, parameters: {p: day}, colour: red}}"),
	    "x.yml:1:78: columns: needs a map\n"
	    "x.yml:1:92: totals: needs a list of columns\n"
	    "x.yml:1:103: chart: needs label: and value:, two columns\n"
	    "x.yml:1:135: p: a parameter is text, integer, number, date or boolean, with \"?\" when it may be missing\n"
	    "x.yml:1:144: unknown key \"colour\"\n" },
	{ REPORT(REPORTS ", formats: [csv, doc]"),
	    "x.yml:1:95: formats: \"doc\" is none of csv, json, ndjson, xlsx, pdf\n" },
	{ REPORT(REPORTS ", formats: csv, max_size: 0, link_base: ftp://x, attach_max: 11MiB"),
	    "x.yml:1:80: formats: needs a list of formats\n"
	    "x.yml:1:94: max_size: must be more than 0\n"
	    "x.yml:1:107: link_base: needs a http or https address\n"
	    "x.yml:1:127: attach_max: needs mail_queue:\n"
	    "x.yml:1:127: attach_max: at most 10MiB\n" },
	{ REPORT(REPORTS ", mail_queue: emial") "queues: {email: {handler: h}}\n",
	    "x.yml:1:80: mail_queue: there is no queue \"emial\" (did you mean \"email\"?)\n" },
#ifndef HAVE_XLSX
	{ REPORT(REPORTS ", formats: [xlsx]"),
	    "x.yml:1:90: formats: this build writes no xlsx; build it with libxlsxwriter-dev installed\n" },
#endif
};

static void
test_conf_drivers_table(void **state)
{
	int failures = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct conf *conf;
		char *said = NULL;

		confs_write("x.yml", cases[i].text);
		conf = conf_load("x.yml", &real_drivers, &said);
		if (strcmp(said ? said : "", cases[i].complaints) != 0) {
			print_error("of\n%sis said\n%snot\n%s\n", cases[i].text,
			    said ? said : "", cases[i].complaints);
			failures++;
		}
		conf_free(conf);
		free(said);
	}
	assert_int_equal(failures, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conf_drivers_table),
	};

	return cmocka_run_group_tests(tests, confs_setup, confs_teardown);
}
