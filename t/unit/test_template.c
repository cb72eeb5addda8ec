#include "unit.h"

#include "base/xalloc.h"
#include "core/template.h"

#define DATA "{\"path\":\"/srv/a b.png\",\"n\":42,\"half\":0.5,\"tenth\":0.1," \
	"\"big\":9007199254740993,\"yes\":true,\"no\":false,\"none\":null," \
	"\"empty\":\"\",\"o\":{\"k\":{\"deep\":\"down\"},\"1\":\"one\"}," \
	"\"list\":[\"a\",{\"b\":2}],\"tricky\":\"{{data.path}}\"," \
	"\"quote\":\"caf\xc3\xa9 \\\"x\\\"\\n\"}"

static json_t *
sample_data(void)
{
	json_t *data = json_loads(DATA, 0, NULL);

	assert_non_null(data);
	return data;
}

static void
check(const char *text, const char *expected)
{
	json_t *data = sample_data();
	struct buf out = { 0 };
	struct err e = { 0 };

	buf_str(&out, "> ");
	if (template_expand(text, data, &out, &e) != 0)
		fail_msg("%s: %s", text, e.msg);
	assert_string_equal(out.data + 2, expected);
	assert_int_equal(out.len, strlen(expected) + 2);
	assert_int_equal(template_check(text, &e), 0);
	buf_clear(&out);
	json_decref(data);
}

static void
refuse(const char *text, const char *message, bool in_check)
{
	json_t *data = sample_data();
	struct buf out = { 0 };
	struct err e = { 0 };

	buf_str(&out, "> ");
	assert_int_equal(template_expand(text, data, &out, &e), -1);
	assert_non_null(strstr(e.msg, message));
	assert_string_equal(out.data, "> ");
	assert_int_equal(out.len, 2);
	e.msg[0] = '\0';
	assert_int_equal(template_check(text, &e), in_check ? -1 : 0);
	if (in_check)
		assert_non_null(strstr(e.msg, message));
	buf_clear(&out);
	json_decref(data);
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

static void
test_template_whole_data(void **state)
{
	json_t *data = json_pack("{s:i}", "a", 1);
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(template_expand("x={{data}}", data, &out, NULL), 0);
	assert_string_equal(out.data, "x={\"a\":1}");
	buf_clear(&out);
	json_decref(data);
	assert_int_equal(template_expand("{{data.a}}", NULL, &out, NULL), -1);
	assert_int_equal(template_expand("", NULL, &out, NULL), 0);
	buf_clear(&out);
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
	refuse("x {{}} y", "only data", true);
	refuse("{{path}}", "{{path}}: only data", true);
	refuse("{{dat.path}}", "only data", true);
	refuse("{{datas}}", "only data", true);
	refuse("{{data.}}", "{{data.}}: an empty name", true);
	refuse("{{data..path}}", "an empty name", true);
	refuse("{{.data}}", "only data", true);
	refuse("{{{data.path}}}", "only data", true);
	memset(wide, 'a', sizeof(wide));
	memcpy(wide, "{{data.", 7);
	memcpy(wide + sizeof(wide) - 3, "}}", 3);
	refuse(wide, "without", true);
}

static void
test_template_refuses_nul(void **state)
{
	json_t *data = json_loads("{\"z\":\"a\\u0000b\"}", JSON_ALLOW_NUL, NULL);
	struct buf out = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_non_null(data);
	assert_int_equal(template_expand("{{data.z}}", data, &out, &e), -1);
	assert_non_null(strstr(e.msg, "{{data.z}}: has a NUL"));
	buf_clear(&out);
	json_decref(data);
}

static void
test_template_is_bounded(void **state)
{
	char *half = xmalloc(TEMPLATE_MAX / 2 + 1);
	struct buf out = { 0 };
	struct err e = { 0 };
	json_t *data;

	(void)state;
	memset(half, 'h', TEMPLATE_MAX / 2);
	half[TEMPLATE_MAX / 2] = '\0';
	data = json_pack("{s:s}", "h", half);
	buf_str(&out, "kept");
	assert_int_equal(template_expand("{{data.h}}{{data.h}}", data, &out,
	    &e), 0);
	assert_int_equal(out.len, TEMPLATE_MAX + 4);
	buf_reset(&out);
	buf_str(&out, "kept");
	assert_int_equal(template_expand("{{data.h}}{{data.h}}!", data, &out,
	    &e), -1);
	assert_non_null(strstr(e.msg, "longer than 1048576 bytes"));
	assert_string_equal(out.data, "kept");
	assert_int_equal(template_expand("{{data.h}}{{data.h}}{{data.h}}", data,
	    &out, &e), -1);
	assert_int_equal(out.len, 4);
	buf_clear(&out);
	json_decref(data);
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
	json_t *data = sample_data();
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
		if (template_expand(typed, data, &out, &e) == 0) {
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
	json_decref(data);
}

static void
test_template_names(void **state)
{
	(void)state;
	assert_true(template_names("{{data.a}}", "a", 1));
	assert_true(template_names("x{{ data.b }}{{data.a.c}}", "a", 1));
	assert_true(template_names("{{data}}", "a", 1));
	assert_false(template_names("data.a {data.a} {{data.a", "a", 1));
	assert_false(template_names("{{data.aa}}{{data.b.a}}", "a", 1));
	assert_false(template_names("", "", 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_template_leaves_plain_text),
		cmocka_unit_test(test_template_values),
		cmocka_unit_test(test_template_objects_as_json),
		cmocka_unit_test(test_template_whole_data),
		cmocka_unit_test(test_template_does_not_recurse),
		cmocka_unit_test(test_template_names_what_is_unknown),
		cmocka_unit_test(test_template_malformed),
		cmocka_unit_test(test_template_refuses_nul),
		cmocka_unit_test(test_template_is_bounded),
		cmocka_unit_test(test_template_mutations),
		cmocka_unit_test(test_template_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
