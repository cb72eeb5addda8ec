/*
 * Addresses and networks.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "os/address.h"

static struct address
address(const char *text)
{
	struct address a = { .is_unix = true };

	if (strcmp(text, "unix") != 0 && !address_parse(text, &a))
		fail_msg("%s is no address", text);
	return a;
}

static void
test_address_text(void **state)
{
	static const char *const same[] = { "192.0.2.1", "2001:db8::1", "::1", "unix" };
	static const char *const bad[] = { "", "1", "192.0.2", "192.0.2.256",
	    "192.0.2.1 ", "192.0.2.1:80", "[::1]", "::1%lo", "localhost", "0x7f.1",
	    "0127.0.0.1", "2130706433" };
	char text[ADDRESS_MAX];
	struct address a;

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++) {
		a = address(same[i]);
		assert_string_equal(address_text(&a, text), same[i]);
	}
	a = address("::ffff:192.0.2.1");
	assert_string_equal(address_text(&a, text), "192.0.2.1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (address_parse(bad[i], &a))
			fail_msg("%s is taken", bad[i]);
}

static void
test_address_of_sockets(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char text[ADDRESS_MAX];
	struct address a;

	(void)state;
	inet_pton(AF_INET, "192.0.2.7", &in.sin_addr);
	a = address_of((struct sockaddr *)&in);
	assert_string_equal(address_text(&a, text), "192.0.2.7");
	inet_pton(AF_INET6, "::ffff:192.0.2.7", &in6.sin6_addr);
	a = address_of((struct sockaddr *)&in6);
	assert_string_equal(address_text(&a, text), "192.0.2.7");
	inet_pton(AF_INET6, "2001:db8::7", &in6.sin6_addr);
	a = address_of((struct sockaddr *)&in6);
	assert_string_equal(address_text(&a, text), "2001:db8::7");
	a = address_of((struct sockaddr *)&un);
	assert_string_equal(address_text(&a, text), "unix");
}

static void
test_address_networks(void **state)
{
	static const struct { const char *net, *in, *out; } cases[] = {
		{ "10.0.0.0/8", "10.255.0.1", "11.0.0.1" },
		{ "10.1.2.3", "10.1.2.3", "10.1.2.4" },
		{ "192.0.2.128/25", "192.0.2.129", "192.0.2.127" },
		{ "0.0.0.0/0", "8.8.8.8", "2001:db8::1" },
		{ "0.0.0.0/0", "::ffff:8.8.8.8", "unix" },
		{ "::/0", "2001:db8::1", "unix" },
		{ "fd00::/8", "fdff::1", "fc00::1" },
		{ "2001:db8:8000::/33", "2001:db8:8001::", "2001:db8:7fff::" },
		{ "::1", "::1", "::2" },
		{ "::1/128", "::1", "127.0.0.1" },
		{ "127.0.0.0/8", "127.1.2.3", "::1" },
		{ "unix", "unix", "127.0.0.1" },
	};
	static const char *const bad[] = { "", "/", "10.0.0.0/", "10.0.0.0/33",
	    "10.0.0.0/-1", "10.0.0.0/8x", "::/129", "10/8", "unix/8", "host",
	    "10.0.0.0/ 8", "1111:2222:3333:4444:5555:6666:7777:8888:9999:0000:1111" };
	struct network n;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct address in = address(cases[i].in), out = address(cases[i].out);

		assert_null(network_parse(cases[i].net, &n));
		if (!network_has(&n, &in))
			fail_msg("%s has no %s", cases[i].net, cases[i].in);
		if (network_has(&n, &out))
			fail_msg("%s has %s", cases[i].net, cases[i].out);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (network_parse(bad[i], NULL) == NULL)
			fail_msg("%s is taken", bad[i]);
}

static void
test_address_clients(void **state)
{
	struct address a = address("192.0.2.1"), b = address("192.0.2.2");
	struct address c = address("2001:db8::1"), d = address("2001:db8::ffff:1");
	struct address e = address("2001:db8:0:1::1"), u = address("unix");
	struct address l = address("127.9.9.9"), l6 = address("::1");

	(void)state;
	assert_true(address_is_same(&a, &a));
	assert_false(address_is_same(&a, &b));
	assert_true(address_is_same(&c, &d));
	assert_false(address_is_same(&c, &e));
	assert_false(address_is_same(&a, &u));
	assert_true(address_is_loopback(&l));
	assert_true(address_is_loopback(&l6));
	assert_false(address_is_loopback(&a));
	assert_false(address_is_loopback(&c));
	assert_false(address_is_loopback(&u));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address_text),
		cmocka_unit_test(test_address_of_sockets),
		cmocka_unit_test(test_address_networks),
		cmocka_unit_test(test_address_clients),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
