/*
 * Routes: which one a request has, and what its parameters are, told to the
 * byte; then queries and bodies that were mutated.
 */
#include "unit.h"

#include <jansson.h>

#include "api/route.h"

#ifndef FUZZ_ROUNDS
#define FUZZ_ROUNDS 300000
#endif

static const struct param list[] = {
	{ "text", IN_QUERY, PARAM_TEXT, "", .min = 1, .max = 10 },
	{ "n", IN_QUERY, PARAM_INTEGER, "", .min = -5, .max = 10, .def = "7" },
	{ "word", IN_QUERY, PARAM_WORD, "", .words = "one two three" },
	{ "at", IN_QUERY, PARAM_INSTANT, "" },
	{ "data", IN_QUERY, PARAM_FIELDS, "" },
	{ "tags", IN_QUERY, PARAM_TEXTS, "" },
	{ 0 }
};

static const struct param body[] = {
	{ "id", IN_PATH, PARAM_ID, "" },
	{ "text", IN_BODY, PARAM_TEXT, "", true },
	{ "n", IN_BODY, PARAM_INTEGER, "" },
	{ "flag", IN_BODY, PARAM_BOOLEAN, "" },
	{ "wait", IN_BODY, PARAM_DURATION, "" },
	{ "object", IN_BODY, PARAM_OBJECT, "" },
	{ "array", IN_BODY, PARAM_ARRAY, "", .min = 1, .max = 3 },
	{ "any", IN_BODY, PARAM_JSON, "" },
	{ "texts", IN_BODY, PARAM_TEXTS, "" },
	{ "ids", IN_BODY, PARAM_IDS, "" },
	{ 0 }
};

static const struct route routes[] = {
	{ "GET", "/v1/things", "a", "t", ROLE_VIEWER, true, "S", .params = list },
	{ "POST", "/v1/things", "b", "t", ROLE_PRODUCER, true, "S" },
	{ "GET", "/v1/things/{id}", "c", "t", ROLE_VIEWER, true, "S" },
	{ "DELETE", "/v1/things/{id}", "d", "t", ROLE_OPERATOR, true, "S", .status = 204 },
	{ "POST", "/v1/things/{id}", "e", "t", ROLE_OPERATOR, false, "S", .params = body },
	{ "POST", "/v1/things/all", "f", "t", ROLE_ADMIN, false, "S", .creates = true },
	{ "POST", "/v1/things/{id}/do", "g", "u", ROLE_NONE, true, "S", .raw = true },
	{ 0 }
};
const struct route *const route_tables[] = { routes, NULL };

static void
test_route_find(void **state)
{
	static const struct { const char *method, *path, *about, *allow; } cases[] = {
		{ "GET", "/v1/things", "a", NULL }, { "HEAD", "/v1/things", "a", NULL },
		{ "POST", "/v1/things", "b", NULL }, { "GET", "/v1/things/7", "c", NULL },
		{ "DELETE", "/v1/things/7", "d", NULL }, { "POST", "/v1/things/7", "e", NULL },
		{ "POST", "/v1/things/all", "f", NULL }, { "GET", "/v1/things/all", "c", NULL },
		{ "POST", "/v1/things/all/do", "g", NULL },
		{ "PUT", "/v1/things", NULL, "GET, HEAD, POST" },
		{ "PUT", "/v1/things/1", NULL, "GET, HEAD, DELETE, POST" },
		{ "GET", "/v1/things/1/do", NULL, "POST" },
		{ "GET", "/v1/things/", NULL, "" }, { "GET", "/v1/things//do", NULL, "" },
		{ "GET", "/v1/thing", NULL, "" }, { "GET", "/v1/thingss", NULL, "" },
		{ "GET", "/v1/things/1/do/x", NULL, "" }, { "GET", "/", NULL, "" },
		{ "GET", "*", NULL, "" }, { "GET", "/v1", NULL, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct buf allow = { 0 };
		const struct route *r = route_find(cases[i].method, cases[i].path, &allow);

		if (cases[i].about != NULL) {
			assert_non_null(r);
			assert_string_equal(r->about, cases[i].about);
		} else {
			assert_null(r);
			assert_string_equal(allow.len ? allow.data : "", cases[i].allow);
		}
		buf_clear(&allow);
	}
}

/* "name=value;…" of what is there, or "STATUS FIELD". */
static char *
outcome(const struct route *r, const char *path, const char *query,
    const char *content, size_t len)
{
	struct http_request request = { .method = "POST", .path = (char *)path, .query = query };
	struct buf b = { 0 }, in = { 0 };
	char *values[ROUTE_PARAMS_MAX];
	struct route_problem p;

	buf_put(&in, content, len);
	if (route_read(r, &request, &in, values, &p) < 0) {
		assert_true(*p.text != '\0');
		buf_printf(&b, "%d %s", p.status, p.field);
	} else {
		buf_str(&b, "");
		for (size_t i = 0; i < route_params(r); i++) {
			if (values[i] != NULL)
				buf_printf(&b, "%s=%s;", r->params[i].name, values[i]);
			free(values[i]);
		}
	}
	buf_clear(&in);
	return buf_detach(&b);
}

static void
expect(const struct route *r, const char *path, const char *query,
    const char *content, const char *wanted)
{
	char *got = outcome(r, path, query, content, strlen(content));

	if (strcmp(got, wanted) != 0)
		fail_msg("%s?%s %s: %s, not %s", path, query ? query : "", content, got, wanted);
	free(got);
}

static void
test_route_query(void **state)
{
	static const struct { const char *query, *wanted; } cases[] = {
		{ NULL, "n=7;" }, { "", "n=7;" }, { "&&", "n=7;" }, { "text=&n=", "n=7;" },
		{ "text=a+b%20c%2B", "text=a b c+;n=7;" }, { "text=%C3%A9", "text=\xc3\xa9;n=7;" },
		{ "n=-5", "n=-5;" }, { "n=10", "n=10;" }, { "n=11", "422 n" }, { "n=1x", "422 n" },
		{ "n=99999999999999999999", "422 n" }, { "n=-", "422 n" }, { "n=+1", "422 n" },
		{ "n=1&n=2", "422 n" }, { "word=two", "n=7;word=two;" }, { "word=tw", "422 word" },
		{ "word=one two", "422 word" }, { "text=12345678901", "422 text" },
		{ "at=2026-01-01T00:00:00Z", "n=7;at=2026-01-01T00:00:00Z;" },
		{ "at=2026-01-01T00:00:00+01:00", "n=7;at=2026-01-01T00:00:00+01:00;" },
		{ "at=2026-01-01T00:00:00", "422 at" }, { "at=now", "422 at" },
		{ "data.x=1&data.y.z=%22", "n=7;data={\"x\":\"1\",\"y.z\":\"\\\"\"};" },
		{ "data=1", "422 data" }, { "data.=1", "422 data." }, { "tags=a", "n=7;tags={\"a\"};" },
		{ "txt=1", "422 txt" }, { "%74ext=1", "text=1;n=7;" },
		{ "text=%", "400 " }, { "text=%4", "400 " }, { "text=%zz", "400 " },
		{ "text=%00", "400 " }, { "text=%ff", "400 " }, { "%ff=1", "400 " }, { "=1", "422 " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		expect(&routes[0], "/v1/things", cases[i].query, "", cases[i].wanted);
}

static void
test_route_body(void **state)
{
	static const struct { const char *content, *wanted; } cases[] = {
		{ "", "422 text" }, { "{}", "422 text" }, { "[]", "422 " }, { "{", "400 " },
		{ "{\"text\":\"a\"}", "id=5;text=a;" },
		{ "{\"text\":\"\\u00e9\\n\"}", "id=5;text=\xc3\xa9\n;" },
		{ "{\"te\\u0078t\":\"a\"}", "id=5;text=a;" },
		{ "{\"text\":null}", "422 text" }, { "{\"text\":1}", "422 text" },
		{ "{\"text\":\"a\",\"n\":-3}", "id=5;text=a;n=-3;" },
		{ "{\"text\":\"a\",\"n\":\"3\"}", "422 n" }, { "{\"text\":\"a\",\"n\":3.0}", "422 n" },
		{ "{\"text\":\"a\",\"n\":3000000000}", "422 n" },
		{ "{\"text\":\"a\",\"flag\":true}", "id=5;text=a;flag=true;" },
		{ "{\"text\":\"a\",\"flag\":\"true\"}", "422 flag" },
		{ "{\"text\":\"a\",\"wait\":90}", "id=5;text=a;wait=90 seconds;" },
		{ "{\"text\":\"a\",\"wait\":0.5}", "id=5;text=a;wait=0.5 seconds;" },
		{ "{\"text\":\"a\",\"wait\":\"5m\"}", "id=5;text=a;wait=5m;" },
		{ "{\"text\":\"a\",\"wait\":\"1 hour 30 minutes\"}",
		    "id=5;text=a;wait=1 hour 30 minutes;" },
		{ "{\"text\":\"a\",\"wait\":\"01:30:00\"}", "id=5;text=a;wait=01:30:00;" },
		{ "{\"text\":\"a\",\"wait\":\"PT5M\"}", "id=5;text=a;wait=PT5M;" },
		{ "{\"text\":\"a\",\"wait\":\"soon\"}", "422 wait" },
		{ "{\"text\":\"a\",\"wait\":\"\"}", "422 wait" },
		{ "{\"text\":\"a\",\"wait\":-1}", "422 wait" },
		{ "{\"text\":\"a\",\"wait\":\"5 minutes ago\"}", "422 wait" },
		{ "{\"text\":\"a\",\"object\":{\"a\": [1e400]}}", "id=5;text=a;object={\"a\": [1e400]};" },
		{ "{\"text\":\"a\",\"object\":[]}", "422 object" },
		{ "{\"text\":\"a\",\"array\":[1,[2,3],\"]\"]}", "id=5;text=a;array=[1,[2,3],\"]\"];" },
		{ "{\"text\":\"a\",\"array\":[]}", "422 array" },
		{ "{\"text\":\"a\",\"array\":[1,2,3,4]}", "422 array" },
		{ "{\"text\":\"a\",\"any\":null}", "id=5;text=a;any=null;" },
		{ "{\"text\":\"a\",\"any\":\"x\"}", "id=5;text=a;any=\"x\";" },
		{ "{\"text\":\"a\",\"texts\":[\"a,b\",\"c\\\"d\"]}",
		    "id=5;text=a;texts={\"a,b\",\"c\\\"d\"};" },
		{ "{\"text\":\"a\",\"texts\":[]}", "id=5;text=a;texts={};" },
		{ "{\"text\":\"a\",\"texts\":[1]}", "422 texts" },
		{ "{\"text\":\"a\",\"ids\":[1,22]}", "id=5;text=a;ids={\"1\",\"22\"};" },
		{ "{\"text\":\"a\",\"ids\":[0]}", "422 ids" }, { "{\"text\":\"a\",\"ids\":[\"1\"]}", "422 ids" },
		{ "{\"text\":\"a\",\"id\":6}", "422 id" }, { "{\"txt\":\"a\"}", "422 txt" },
		{ "{\"text\":\"a\",\"text\":\"b\"}", "400 " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		expect(&routes[4], "/v1/things/5", NULL, cases[i].content, cases[i].wanted);
	expect(&routes[4], "/v1/things/0", NULL, "{\"text\":\"a\"}", "404 id");
	expect(&routes[4], "/v1/things/x", NULL, "{\"text\":\"a\"}", "404 id");
	expect(&routes[4], "/v1/things/9223372036854775808", NULL, "{\"text\":\"a\"}", "404 id");
	expect(&routes[4], "/v1/things/5", "x=1", "{\"text\":\"a\"}", "422 x");
	expect(&routes[1], "/v1/things", NULL, "", "");
	expect(&routes[1], "/v1/things", NULL, "{}", "");
	expect(&routes[1], "/v1/things", NULL, "{\"a\":1}", "422 a");
	expect(&routes[6], "/v1/things/1/do", NULL, "\xff", "");
}

static void
test_route_mutations(void **state)
{
	static const char query[] = "text=a%20b&n=3&word=two&data.x=%C3%A9&tags=t&at=2026-01-01T00:00:00Z";
	static const char content[] = "{\"text\":\"a\",\"n\":3,\"wait\":\"5m\",\"ids\":[1,2],"
	    "\"texts\":[\"x\"],\"object\":{\"a\":1},\"any\":[null]}";
	uint64_t random = 1;
	size_t good = 0;

	(void)state;
	for (int i = 0; i < FUZZ_ROUNDS; i++) {
		char text[300], *copy, *got;
		size_t len;

		if (i % 2 == 0) {
			len = strlen(query);
			memcpy(text, query, len);
			len = mutate(text, len, sizeof(text) - 1, "=&%.+0aFdtx", &random);
			copy = exact(text, len, true);
			got = outcome(&routes[0], "/v1/things", copy, "", 0);
		} else {
			len = strlen(content);
			memcpy(text, content, len);
			len = mutate(text, len, sizeof(text) - 1, "{}[]\":,\\u01ntx ", &random);
			copy = exact(text, len, true);
			got = outcome(&routes[4], "/v1/things/5", NULL, copy, len);
		}
		good += *got != '4';
		free(copy);
		free(got);
	}
	print_message("%zu of %d taken\n", good, FUZZ_ROUNDS);
	assert_in_range(good, FUZZ_ROUNDS / 100, FUZZ_ROUNDS);
}

static void
test_route_openapi(void **state)
{
	struct buf b = { 0 };
	json_t *all, *paths, *post;

	(void)state;
	openapi_text(&b, "1.2.3");
	all = json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(all);
	paths = json_object_get(all, "paths");
	assert_int_equal(json_object_size(paths), 4);
	assert_int_equal(json_object_size(json_object_get(paths, "/v1/things/{id}")), 3);
	post = json_object_get(json_object_get(paths, "/v1/things/{id}"), "post");
	assert_string_equal(json_string_value(json_object_get(post, "x-role")), "operator");
	assert_true(json_is_false(json_object_get(post, "x-tenant")));
	json_decref(all);
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_route_find),
		cmocka_unit_test(test_route_query),
		cmocka_unit_test(test_route_body),
		cmocka_unit_test(test_route_mutations),
		cmocka_unit_test(test_route_openapi),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
