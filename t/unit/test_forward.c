/*
 * Who a request is from: only what proxies say that are trusted counts, and of
 * that only what they cannot have been told.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "api/forward.h"

static struct network trusted[4];
static struct forward_options options = { .trusted = trusted };

/* The client's address, and whether it had TLS. */
static const char *
client(const char *peer, const char *fields, bool *secure)
{
	static char text[ADDRESS_MAX];
	struct http_request r = { 0 };
	struct address from = { .is_unix = true }, a;
	char *head;

	if (asprintf(&head, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields) < 0)
		abort();
	assert_int_equal(http_parse(&r, head, strlen(head)), 0);
	if (strcmp(peer, "unix") != 0)
		assert_true(address_parse(peer, &from));
	a = forward_client(&options, &r, &from, secure);
	http_request_clear(&r);
	free(head);
	return address_text(&a, text);
}

static int
set_up(void **state)
{
	static const char *const networks[] = { "10.0.0.0/8", "192.0.2.1", "fd00::/8", "unix" };

	(void)state;
	options.ntrusted = 4;
	for (size_t i = 0; i < 4; i++)
		assert_null(network_parse(networks[i], &trusted[i]));
	return 0;
}

static void
test_forward_x(void **state)
{
	static const struct { const char *peer, *fields, *client; } cases[] = {
		/* nobody trusted says anything */
		{ "198.51.100.1", "", "198.51.100.1" },
		{ "198.51.100.1", "X-Forwarded-For: 203.0.113.9\r\n", "198.51.100.1" },
		{ "10.1.1.1", "", "10.1.1.1" },
		{ "unix", "", "unix" },
		/* one proxy */
		{ "10.1.1.1", "X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9" },
		{ "unix", "X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9" },
		{ "10.1.1.1", "X-Forwarded-For: 2001:db8::9\r\n", "2001:db8::9" },
		{ "10.1.1.1", "X-Forwarded-For: 203.0.113.9:4711\r\n", "203.0.113.9" },
		{ "10.1.1.1", "X-Forwarded-For: [2001:db8::9]:4711\r\n", "2001:db8::9" },
		{ "10.1.1.1", "X-Forwarded-For: ::ffff:203.0.113.9\r\n", "203.0.113.9" },
		/* what the client wrote itself stands to the left */
		{ "10.1.1.1", "X-Forwarded-For: 127.0.0.1, 203.0.113.9\r\n", "203.0.113.9" },
		{ "10.1.1.1", "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 203.0.113.9\r\n",
		    "203.0.113.9" },
		{ "10.1.1.1", "X-Forwarded-For: \" , 203.0.113.9\r\n", "10.1.1.1" },
		/* several of ours */
		{ "10.1.1.1", "X-Forwarded-For: 1.1.1.1, 203.0.113.9, 192.0.2.1, fd00::5\r\n",
		    "203.0.113.9" },
		{ "10.1.1.1", "X-Forwarded-For: 10.9.9.9, 10.8.8.8\r\n", "10.9.9.9" },
		/* what is no address ends it */
		{ "10.1.1.1", "X-Forwarded-For: 203.0.113.9, unknown\r\n", "10.1.1.1" },
		{ "10.1.1.1", "X-Forwarded-For: 203.0.113.9,\r\n", "203.0.113.9" },
		{ "10.1.1.1", "X-Forwarded-For: 203.0.113.9, , 10.2.2.2\r\n", "10.2.2.2" },
		{ "10.1.1.1", "X-Forwarded-For: [::1\r\n", "10.1.1.1" },
		{ "10.1.1.1", "X-Forwarded-For: 203.0.113.9.203.0.113.9.203.0.113.9.203.0.113.9"
		    ".203.0.113.9\r\n", "10.1.1.1" },
		/* the other field does not count */
		{ "10.1.1.1", "Forwarded: for=203.0.113.9\r\n", "10.1.1.1" },
	};

	(void)state;
	options.field = FORWARD_X;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		bool secure = false;
		const char *got = client(cases[i].peer, cases[i].fields, &secure);

		if (strcmp(got, cases[i].client) != 0)
			fail_msg("%s with %s: %s", cases[i].peer, cases[i].fields, got);
	}
}

static void
test_forward_standard(void **state)
{
	static const struct { const char *peer, *fields, *client; bool secure; } cases[] = {
		{ "198.51.100.1", "Forwarded: for=203.0.113.9;proto=https\r\n", "198.51.100.1", false },
		{ "10.1.1.1", "Forwarded: for=203.0.113.9\r\n", "203.0.113.9", false },
		{ "10.1.1.1", "Forwarded: For=203.0.113.9;proto=https\r\n", "203.0.113.9", true },
		{ "10.1.1.1", "Forwarded: by=10.1.1.1; proto=http ; for=\"203.0.113.9:47\"\r\n",
		    "203.0.113.9", false },
		{ "10.1.1.1", "Forwarded: for=\"[2001:db8::9]:47\"\r\n", "2001:db8::9", false },
		{ "10.1.1.1", "Forwarded: for=\"a,b;c\\\"\", for=203.0.113.9\r\n", "203.0.113.9", false },
		{ "10.1.1.1", "Forwarded: for=1.1.1.1\r\nForwarded: for=203.0.113.9, for=10.3.3.3\r\n",
		    "203.0.113.9", false },
		{ "10.1.1.1", "Forwarded: for=_hidden\r\n", "10.1.1.1", false },
		{ "10.1.1.1", "Forwarded: host=x\r\n", "10.1.1.1", false },
		{ "10.1.1.1", "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n",
		    "10.1.1.1", false },
	};

	(void)state;
	options.field = FORWARD_STANDARD;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		bool secure = false;
		const char *got = client(cases[i].peer, cases[i].fields, &secure);

		if (strcmp(got, cases[i].client) != 0 || secure != cases[i].secure)
			fail_msg("%s with %s: %s, %d", cases[i].peer, cases[i].fields,
			    got, secure);
	}
}

static void
test_forward_proto(void **state)
{
	bool secure = false;

	(void)state;
	options.field = FORWARD_X;
	client("10.1.1.1", "X-Forwarded-Proto: https\r\n", &secure);
	assert_true(secure);
	client("10.1.1.1", "", &secure);
	assert_true(secure);	/* as it was */
	client("10.1.1.1", "X-Forwarded-Proto: http\r\n", &secure);
	assert_false(secure);
	client("198.51.100.1", "X-Forwarded-Proto: https\r\n", &secure);
	assert_false(secure);
}

/* Many hops: the nearest ones count. */
static void
test_forward_long(void **state)
{
	char fields[HTTP_HEAD_MAX - 100] = "X-Forwarded-For: ";
	size_t n = strlen(fields);
	bool secure = false;

	(void)state;
	options.field = FORWARD_X;
	while (n < sizeof(fields) - 60)
		n += (size_t)snprintf(fields + n, sizeof(fields) - n, "1.1.1.1,");
	snprintf(fields + n, sizeof(fields) - n, "203.0.113.9, 10.1.1.2\r\n");
	assert_string_equal(client("10.1.1.1", fields, &secure), "203.0.113.9");
}

/* Pieces in any order: an address comes out, and it is never one that only an
 * untrusted peer has told. */
static void
test_forward_chance(void **state)
{
	static const char *const pieces[] = { "for=", "\"", "[", "]", "203.0.113.9", ",",
	    ";", " ", ":", "::", "proto=https", "\\", "=", "10.1.1.1", "unix", "x", "%" };
	unsigned seed = 8787;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char fields[600] = "Forwarded: a";
		size_t n = strlen(fields);
		bool secure = false;

		options.field = i % 2 ? FORWARD_STANDARD : FORWARD_X;
		if (i % 2 == 0)
			n = (size_t)snprintf(fields, sizeof(fields), "X-Forwarded-For: a");
		for (int k = rand_r(&seed) % 20; k >= 0; k--)
			n += (size_t)snprintf(fields + n, sizeof(fields) - n, "%s",
			    pieces[(size_t)rand_r(&seed) % (sizeof(pieces) / sizeof(*pieces))]);
		snprintf(fields + n, sizeof(fields) - n, "\r\n");
		assert_int_not_equal(*client("10.1.1.1", fields, &secure), '\0');
		assert_string_equal(client("198.51.100.1", fields, &secure), "198.51.100.1");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forward_x),
		cmocka_unit_test(test_forward_standard),
		cmocka_unit_test(test_forward_proto),
		cmocka_unit_test(test_forward_long),
		cmocka_unit_test(test_forward_chance),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
