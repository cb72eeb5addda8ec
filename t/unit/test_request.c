#include "unit.h"

#include "driver/http/request.h"

#define NOW 1700000000

static void
test_request_where(void **state)
{
	char where[64];

	(void)state;
	request_where("https://user:word@host.example:8443/path?key=secret",
	    where, sizeof(where));
	assert_string_equal(where, "https://host.example:8443");
	request_where("http://host", where, sizeof(where));
	assert_string_equal(where, "http://host");
	request_where("http://a@b@[::1]:1?x@y", where, sizeof(where));
	assert_string_equal(where, "http://[::1]:1");
}

static void
test_request_destination(void **state)
{
	static const struct {
		const char *url, *name;
	} cases[] = {
		{ "https://user:word@Host.Example/path?key=secret", "https://host.example:443" },
		{ "http://host:8080/x", "http://host:8080" },
		{ "HTTP://host:", "http://host:80" },
		{ "http://[::1]/x", "http://[::1]:80" },
		{ "http://[::1]:81#x", "http://[::1]:81" },
		{ "host/x", NULL },
		{ "http://host.that.is.too.long.for.its.place.example/", NULL },
	};
	char name[40];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool fits = request_destination(cases[i].url, name, sizeof(name));

		assert_int_equal(fits, cases[i].name != NULL);
		if (fits)
			assert_string_equal(name, cases[i].name);
	}
}

static int
make(const char *data, struct request *r, struct err *e)
{
	static const struct node options = { .kind = NODE_MAP };
	char type[] = "t", text[1024];
	struct job job = { .id = 7, .attempt = 1, .type = type, .data = text };

	strcpy(text, data);
	return request_make(r, &options, NULL, &job, "q", NOW, e);
}

static void
test_request_make(void **state)
{
	struct request r;
	struct err e;

	(void)state;
	assert_int_equal(make("{\"url\":\"http://h/\",\"payload\": {\"b\": 1.0, \"a\":[ ]} ,"
	    "\"method\":\"put\",\"headers\":{\"A\":\"1\",\"a\":\"2\"}}", &r, &e), 0);
	assert_string_equal(r.url, "http://h/");
	assert_string_equal(r.method, "PUT");
	assert_string_equal(r.body, "{\"b\": 1.0, \"a\":[ ]}");
	assert_int_equal(r.body_len, strlen(r.body));
	assert_int_equal(r.headers.n, 2);
	assert_string_equal(r.headers.v[0], "a: 2");
	assert_string_equal(r.headers.v[1], "Content-Type: application/json");
	request_clear(&r);
	assert_int_equal(make("{\"url\":\"http://h/\",\"x\":1}", &r, &e), 0);
	assert_null(r.body);
	request_clear(&r);
}

/* Whatever the data: no crash, and no header or URL with a line end. */
static void
test_request_fuzz(void **state)
{
	static const char *const seeds[] = {
		"{\"url\":\"http://h/\",\"payload\":{\"a\":1},"
		"\"headers\":{\"A\":\"1\"},\"secret\":\"s\",\"eventType\":\"e\"}",
		"{\"url\":\"http://h/?a#b\",\"form\":{\"a\":[1,\"b\"]},"
		"\"query\":{\"A\":\"1\",\"b\":true},\"secret\":[\"s\",\"t\"]}",
		"{\"url\":\"http://h/\",\"multipart\":{\"a\":1,\"f\":{\"text\":\"x\","
		"\"filename\":\"n\",\"type\":\"a/b\"}},\"save_to\":\"a/b\"}",
		"{\"url\":\"http://h/\",\"upload\":\"a/b\",\"save_to\":\"c\"}",
	};
	uint64_t chances = 11;
	int made = 0;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		struct request r;
		char text[300];
		struct err e;
		size_t len;

		strcpy(text, seeds[i % 4]);
		len = mutate(text, strlen(text), sizeof(text) - 1,
		    "{}\":,\\rn/ a1\r\n", &chances);
		text[len] = '\0';
		if (make(text, &r, &e) == 0) {
			made++;
			assert_null(strpbrk(r.url, "\r\n "));
			for (size_t j = 0; j < r.headers.n; j++)
				assert_null(strpbrk(r.headers.v[j], "\r\n"));
		}
		request_clear(&r);
	}
	assert_true(made > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_where),
		cmocka_unit_test(test_request_destination),
		cmocka_unit_test(test_request_make),
		cmocka_unit_test(test_request_fuzz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
