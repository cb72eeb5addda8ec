#include "unit.h"

#include "base/xalloc.h"
#include "core/template.h"

#define DATA "{\"path\":\"/srv/a b.png\",\"n\":42,\"half\":0.5,\"tenth\":0.1," \
	"\"big\":9007199254740993,\"yes\":true,\"no\":false,\"none\":null," \
	"\"empty\":\"\",\"dots\":\"..\",\"o\":{\"k\":{\"deep\":\"down\"},\"1\":\"one\"}," \
	"\"list\":[\"a\",{\"b\":2}],\"tricky\":\"{{data.path}}\"," \
	"\"quote\":\"caf\xc3\xa9 \\\"x\\\"\\n\"," \
	"\"html\":\"<a href=\\\"x\\\">'&\"}"

#define CONTEXT "{\"now\":\"2026-11-26T12:00:00Z\",\"job\":{\"id\":42,\"attempt\":2," \
	"\"queue\":\"work\",\"type\":\"a \\\"b\\\"\",\"tenant\":null},\"data\":" DATA "}"

static void
check_as(enum template_use use, const char *text, const char *expected)
{
	struct buf out = { 0 };
	struct err e = { 0 };

	buf_str(&out, "> ");
	if (template_expand(text, CONTEXT, use, &out, &e) != 0)
		fail_msg("%s: %s", text, e.msg);
	assert_string_equal(out.data + 2, expected);
	assert_int_equal(out.len, strlen(expected) + 2);
	assert_int_equal(template_check(text, &e), 0);
	buf_clear(&out);
}

static void
check(const char *text, const char *expected)
{
	check_as(TEMPLATE_TEXT, text, expected);
}

static void
refuse_as(enum template_use use, const char *text, const char *message,
    bool in_check)
{
	struct buf out = { 0 };
	struct err e = { 0 };

	buf_str(&out, "> ");
	assert_int_equal(template_expand(text, CONTEXT, use, &out, &e), -1);
	if (strstr(e.msg, message) == NULL)
		fail_msg("%s: %s", text, e.msg);
	assert_string_equal(out.data, "> ");
	assert_int_equal(out.len, 2);
	assert_int_equal(template_check(text, &e), in_check ? -1 : 0);
	buf_clear(&out);
}

static void
refuse(const char *text, const char *message, bool in_check)
{
	refuse_as(TEMPLATE_TEXT, text, message, in_check);
}

static void
test_template_leaves_plain_text(void **state)
{
	(void)state;
	check("", "");
	check("plain", "plain");
	check("{data.path} }} { { }", "{data.path} }} { { }");
	assert_false(template_used("{ { data.path }}"));
	assert_true(template_used("a{{data.path}}"));
}

static void
test_template_values(void **state)
{
	(void)state;
	check("{{data.path}}", "/srv/a b.png");
	check("in {{data.path}} at {{data.n}}.", "in /srv/a b.png at 42.");
	check("{{ data.n }}{{	data.n	}}", "4242");
	check("{{data.half}} {{data.tenth}} {{data.big}}",
	    "0.5 0.1 9007199254740993");
	check("{{data.yes}} {{data.no}}", "true false");
	check("[{{data.empty}}]", "[]");
	check("{{data.quote}}", "caf\xc3\xa9 \"x\"\n");
	check("{{data.o.k.deep}} {{data.o.1}}", "down one");
	check("{{data.list.0}} {{data.list.1.b}}", "a 2");
}

static void
test_template_objects_as_json(void **state)
{
	(void)state;
	check("{{data.o.k}}", "{\"deep\":\"down\"}");
	check("{{data.list}}", "[\"a\",{\"b\":2}]");
}

/* Numbers as they stand, however long; keys with escapes; unusual layout. */
static void
test_template_bytes(void **state)
{
	static const char context[] = " { \"data\" : { \"n\" : 123456789012345678901234.50 , "
	    "\"a\\\"b\" : [ 1 , [ ] , { \"x\" : \"y\\u00e9\" } ] , \"e\" : {} , \"a\" : 1, \"a\" : 2 } } ";
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(template_expand("{{data.n}} {{data.a\"b.2.x}} "
	    "{{data.a\"b.1}} {{data.e}} {{data.a\"b.0}} {{data.a}}", context,
	    TEMPLATE_TEXT, &out, NULL), 0);
	assert_string_equal(out.data, "123456789012345678901234.50 y\xc3\xa9 [ ] "
	    "{} 1 2");
	buf_clear(&out);
	assert_int_equal(template_expand("x={{data}}", "{\"data\":{\"a\":1}}",
	    TEMPLATE_TEXT, &out, NULL), 0);
	assert_string_equal(out.data, "x={\"a\":1}");
	buf_clear(&out);
	assert_int_equal(template_expand("", "{}", TEMPLATE_TEXT, &out, NULL), 0);
	buf_clear(&out);
}

static void
test_template_job(void **state)
{
	struct job job = { .id = 7, .attempt = 3, .type = (char *)"t\"x",
		.data = (char *)"{\"a\": 1}", .tenant = (char *)"acme" };
	struct buf context = { 0 }, out = { 0 };

	(void)state;
	template_context(&context, &job, "email", 1764158400);
	assert_int_equal(template_expand("{{job.id}} {{job.attempt}} {{job.queue}} "
	    "{{job.type}} {{job.tenant}} {{now}} {{data.a}}", context.data,
	    TEMPLATE_TEXT, &out, NULL), 0);
	assert_string_equal(out.data, "7 3 email t\"x acme 2025-11-26T12:00:00Z 1");
	buf_clear(&context);
	buf_clear(&out);
	check("{{job.id}}/{{job.type}} at {{now}}", "42/a \"b\" at "
	    "2026-11-26T12:00:00Z");
	refuse("{{job.tenant}}", "{{job.tenant}}: is null", false);
	refuse("{{job.secret}}", "no such value", false);
}

static void
test_template_escapes(void **state)
{
	(void)state;
	check_as(TEMPLATE_URL, "https://x/{{data.path}}?q={{data.o.k}}",
	    "https://x/%2Fsrv%2Fa%20b.png?q=%7B%22deep%22%3A%22down%22%7D");
	refuse_as(TEMPLATE_URL, "https://x/{{data.quote}}",
	    "has a control character", false);
	check_as(TEMPLATE_URL, "{{data.path}}/{{data.n}}", "/srv/a b.png/42");
	check_as(TEMPLATE_URL, "x?d={{data.dots}}", "x?d=..");
	refuse_as(TEMPLATE_URL, "https://x/{{data.dots}}/y", "which would change",
	    false);
	check_as(TEMPLATE_LINE, "by {{data.path}}", "by /srv/a b.png");
	refuse_as(TEMPLATE_LINE, "x {{data.quote}}", "has a control character",
	    false);
	check_as(TEMPLATE_FILE, "report-{{data.n}}.csv", "report-42.csv");
	refuse_as(TEMPLATE_FILE, "r-{{data.path}}", "part of a file's name", false);
	refuse_as(TEMPLATE_FILE, "{{data.dots}}", "part of a file's name", false);
	refuse_as(TEMPLATE_FILE, "{{data.empty}}", "part of a file's name", false);
	check_as(TEMPLATE_HTML, "<b title=\"{{data.html}}\">",
	    "<b title=\"&lt;a href=&quot;x&quot;&gt;&#39;&amp;\">");
	check_as(TEMPLATE_JSON, "{\"a\":\"{{data.quote}}\"}",
	    "{\"a\":\"caf\xc3\xa9 \\\"x\\\"\\n\"}");
}

static void
test_template_paths(void **state)
{
	const char *text = "a {{ x.y }} b {{z}}";
	struct template_path path, key;
	struct err e;

	(void)state;
	assert_int_equal(template_next(&text, &path, &e), 1);
	assert_int_equal(path.len, 3);
	assert_true(template_key(&path, &key));
	assert_memory_equal(key.text, "x", 1);
	assert_true(template_key(&path, &key));
	assert_memory_equal(key.text, "y", 1);
	assert_false(template_key(&path, &key));
	assert_int_equal(template_next(&text, &path, &e), 1);
	assert_int_equal(template_next(&text, &path, &e), 0);
	text = "{{x";
	assert_int_equal(template_next(&text, &path, &e), -1);
}

static void
test_template_does_not_recurse(void **state)
{
	(void)state;
	check("{{data.tricky}}", "{{data.path}}");
	check("{{data.tricky}}{{data.n}}", "{{data.path}}42");
}

static void
test_template_names_what_is_unknown(void **state)
{
	(void)state;
	refuse("a {{data.nowhere}}", "{{data.nowhere}}: no such value", false);
	refuse("{{data.path.x}}", "{{data.path.x}}: no such value", false);
	refuse("{{data.o.k.deep.er}}", "{{data.o.k.deep.er}}", false);
	refuse("{{data.list.2}}", "{{data.list.2}}: no such value", false);
	refuse("{{data.list.-1}}", "{{data.list.-1}}: no such value", false);
	refuse("{{data.list.4294967296}}", "no such value", false);
	refuse("{{data.list.99999999999999999999}}", "no such value", false);
	refuse("{{data.none}}", "{{data.none}}: is null", false);
	refuse("{{data.pat}}", "{{data.pat}}: no such value", false);
}

static void
test_template_malformed(void **state)
{
	char wide[400];

	(void)state;
	refuse("{{data.path", "without", true);
	refuse("{{", "without", true);
	refuse("x {{}} y", "nothing is called", true);
	refuse("{{path}}", "{{path}}: nothing is called", true);
	refuse("{{dat.path}}", "nothing is called", true);
	refuse("{{datas}}", "nothing is called", true);
	refuse("{{data.}}", "{{data.}}: an empty name", true);
	refuse("{{data..path}}", "an empty name", true);
	refuse("{{.data}}", "an empty name", true);
	refuse("{{{data.path}}}", "nothing is called", true);
	memset(wide, 'a', sizeof(wide));
	memcpy(wide, "{{data.", 7);
	memcpy(wide + sizeof(wide) - 3, "}}", 3);
	refuse(wide, "without", true);
}

static void
test_template_refuses_nul(void **state)
{
	struct buf out = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(template_expand("{{data.z}}",
	    "{\"data\":{\"z\":\"a\\u0000b\"}}", TEMPLATE_TEXT, &out, &e), -1);
	assert_non_null(strstr(e.msg, "{{data.z}}: has a NUL"));
	buf_clear(&out);
}

static void
test_template_is_bounded(void **state)
{
	char *half = xmalloc(TEMPLATE_MAX / 2 + 1);
	struct buf out = { 0 };
	struct err e = { 0 };
	char *context;

	(void)state;
	memset(half, 'h', TEMPLATE_MAX / 2);
	half[TEMPLATE_MAX / 2] = '\0';
	context = xasprintf("{\"data\":{\"h\":\"%s\"}}", half);
	buf_str(&out, "kept");
	assert_int_equal(template_expand("{{data.h}}{{data.h}}", context,
	    TEMPLATE_TEXT, &out, &e), 0);
	assert_int_equal(out.len, TEMPLATE_MAX + 4);
	buf_reset(&out);
	buf_str(&out, "kept");
	assert_int_equal(template_expand("{{data.h}}{{data.h}}!", context,
	    TEMPLATE_TEXT, &out, &e), -1);
	assert_non_null(strstr(e.msg, "longer than 1048576 bytes"));
	assert_string_equal(out.data, "kept");
	assert_int_equal(template_expand("{{data.h}}{{data.h}}{{data.h}}",
	    context, TEMPLATE_TEXT, &out, &e), -1);
	assert_int_equal(out.len, 4);
	buf_clear(&out);
	free(context);
	free(half);
}

/* Never a crash; what the check refuses is never expanded. */
static void
test_template_mutations(void **state)
{
	static const char *const samples[] = {
		"{{data.path}}", "a{{ data.o.k.deep }}b{{data.n}}", "{{data.list.1}}",
		"{{data}}{{data.half}}", "x{y}z{{data.tricky}}",
	};
	struct buf out = { 0 };
	uint64_t seed = 5;
	int expanded = 0;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		const char *sample = samples[chance_below(&seed, 5)];
		size_t len = strlen(sample);
		struct err e = { 0 };
		char text[64], *typed;

		memcpy(text, sample, len);
		len = mutate(text, len, sizeof(text), "{}. adtknolis01", &seed);
		typed = exact(text, len, true);
		buf_reset(&out);
		if (template_expand(typed, CONTEXT,
		    (enum template_use)chance_below(&seed, 5), &out, &e) == 0) {
			expanded++;
			assert_int_equal(template_check(typed, &e), 0);
			assert_string_equal(e.msg, "");
			assert_int_equal(strlen(out.data), out.len);
		} else {
			assert_string_not_equal(e.msg, "");
			assert_int_equal(out.len, 0);
		}
		free(typed);
	}
	assert_in_range(expanded, 1000, 99000);
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_template_leaves_plain_text),
		cmocka_unit_test(test_template_values),
		cmocka_unit_test(test_template_objects_as_json),
		cmocka_unit_test(test_template_bytes),
		cmocka_unit_test(test_template_job),
		cmocka_unit_test(test_template_escapes),
		cmocka_unit_test(test_template_paths),
		cmocka_unit_test(test_template_does_not_recurse),
		cmocka_unit_test(test_template_names_what_is_unknown),
		cmocka_unit_test(test_template_malformed),
		cmocka_unit_test(test_template_refuses_nul),
		cmocka_unit_test(test_template_is_bounded),
		cmocka_unit_test(test_template_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
