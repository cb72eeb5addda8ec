/*
 * Typed access to nodes, as drivers use it.
 */
#include "confs.h"

#include "conf/sink.h"

/* The options of the one handler of the text `{…}`. */
static struct conf *
options(const char *map, const struct node **node)
{
	char text[1000];
	struct conf *conf;

	snprintf(text, sizeof(text), "handlers: {h: {driver: http, %s}}\n",
	    map);
	conf = confs_load(text);
	*node = conf->handlers[0].options;
	return conf;
}

static void
test_node_values(void **state)
{
	static const char *const names[] = { "one", "two", NULL };
	struct conf_sink sink = { 0 };
	const struct node *n;
	struct conf *conf = options("s: \"a b\", i: \"-7\", b: off, d: 1m, "
	    "z: 2KiB, c: two, e: ''", &n);
	const char *text = "before", *none = "before";
	int64_t i = 1, d = 1, z = 1;
	bool b = true;
	int c = 9;

	(void)state;
	node_str(n, "s", &text, &sink);
	node_str(n, "absent", &none, &sink);
	node_int(n, "i", -10, 10, &i, &sink);
	node_bool(n, "b", &b, &sink);
	node_duration_ms(n, "d", &d, &sink);
	node_size(n, "z", &z, &sink);
	node_choice(n, "c", names, &c, &sink);
	assert_string_equal(text, "a b");
	assert_string_equal(none, "before");
	assert_int_equal(i, -7);
	assert_false(b);
	assert_int_equal(d, 60000);
	assert_int_equal(z, 2048);
	assert_int_equal(c, 1);
	assert_int_equal(sink.count, 0);
	assert_null(node_get(n, "absent"));
	assert_null(node_get(node_get(n, "s"), "x"));
	assert_null(node_get(NULL, "x"));
	assert_int_equal(node_entry(n, "s")->column, 30);
	conf_free(conf);
}

static void
test_node_mistakes(void **state)
{
	static const char *const names[] = { "one", "two", NULL };
	static const char *const keys[] = { "driver", "s", "i", "b", "d", "z",
	    "choice", NULL };
	struct conf_sink sink = { 0 };
	const struct node *n;
	struct conf *conf = options("s: [a], i: 11, b: 2, d: 1, z: 1x, "
	    "choise: three", &n);
	const char *text = "before";
	int64_t i = 1, d = 1, z = 1;
	bool b = true;
	int c = 9;
	char *said;

	(void)state;
	node_str(n, "s", &text, &sink);
	node_int(n, "i", -10, 10, &i, &sink);
	node_bool(n, "b", &b, &sink);
	node_duration_ms(n, "d", &d, &sink);
	node_size(n, "z", &z, &sink);
	node_choice(n, "choise", names, &c, &sink);
	node_known_keys(n, keys, &sink);
	assert_string_equal(text, "before");
	assert_true(i == 1 && d == 1 && z == 1 && b && c == 9);
	said = sink_text(&sink);
	assert_string_equal(said,
	    "x.yml:1:30: s: needs a single value\n"
	    "x.yml:1:38: i: \"11\" is not a whole number from -10 to 10\n"
	    "x.yml:1:45: b: \"2\" is not true or false (yes, no, on, off, 1, 0)\n"
	    "x.yml:1:51: d: \"1\" is not a duration like 500ms, 30s, 5m, 1h or 1d\n"
	    "x.yml:1:57: z: \"1x\" is not a size like 4096, 100KiB or 1MiB\n"
	    "x.yml:1:64: choise: \"three\" is not one or two\n"
	    "x.yml:1:64: unknown key \"choise\" (did you mean \"choice\"?)\n");
	free(said);
	sink_clear(&sink);
	/* Without a sink in silence. */
	node_int(n, "i", -10, 10, &i, NULL);
	node_known_keys(n, keys, NULL);
	assert_int_equal(i, 1);
	conf_free(conf);
}

static void
test_node_secret(void **state)
{
	const struct node *n;
	struct conf *conf = options("a: plain, b_file: secret, c_file: empty, "
	    "d_file: absent", &n);
	struct conf_sink sink = { 0 };
	char *secret;

	(void)state;
	confs_write("secret", "of the file\r\nmore\n");
	confs_write("empty", "\n");
	secret = node_secret(n, "a", &sink);
	assert_string_equal(secret, "plain");
	free(secret);
	secret = node_secret(n, "b", &sink);
	assert_string_equal(secret, "of the file");
	free(secret);
	assert_null(node_secret(n, "absent", &sink));
	assert_int_equal(sink.count, 0);
	assert_null(node_secret(n, "c", &sink));
	assert_null(node_secret(n, "d", &sink));
	secret = sink_text(&sink);
	assert_string_equal(secret,
	    "x.yml:1:56: c_file: the first line of empty is empty\n"
	    "x.yml:1:71: d_file: cannot read absent: No such file or directory\n");
	free(secret);
	sink_clear(&sink);
	conf_free(conf);
}

static void
test_node_json(void **state)
{
	static const struct {
		const char *yaml, *json;
	} cases[] = {
		{ "1", "1" }, { "-0.5e+3", "-0.5e+3" }, { "\"1\"", "\"1\"" },
		{ "01", "\"01\"" }, { "1.", "\"1.\"" }, { ".5", "\".5\"" },
		{ "+1", "\"+1\"" }, { "0x10", "\"0x10\"" },
		{ "1e", "\"1e\"" }, { "TRUE", "true" }, { "false", "false" },
		{ "'false'", "\"false\"" }, { "yes", "\"yes\"" },
		{ "~", "null" }, { "null", "null" }, { "", "null" },
		{ "''", "\"\"" }, { "no", "\"no\"" }, { "12:30", "\"12:30\"" },
		{ "[]", "[]" }, { "{}", "{}" }, { "[1, [a], {b: c}]",
		    "[1,[\"a\"],{\"b\":\"c\"}]" },
		{ "\"\\\" \\\\ \\n \\u00e9 \\x01\"",
		    "\"\\\" \\\\ \\n \xc3\xa9 \\u0001\"" },
		{ "{1: true, \"a\\\"b\": 2}", "{\"1\":true,\"a\\\"b\":2}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char map[200], *json;
		const struct node *n;
		struct conf *conf;

		snprintf(map, sizeof(map), "v: %s ", cases[i].yaml);
		conf = options(map, &n);
		json = node_json(node_get(n, "v"));
		assert_string_equal(json, cases[i].json);
		free(json);
		conf_free(conf);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_node_values),
		cmocka_unit_test(test_node_mistakes),
		cmocka_unit_test(test_node_secret),
		cmocka_unit_test(test_node_json),
	};

	return cmocka_run_group_tests(tests, confs_setup, confs_teardown);
}
