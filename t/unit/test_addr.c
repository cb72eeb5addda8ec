#include "unit.h"

#include "driver/email/addr.h"

static void
test_addr_good(void **state)
{
	static const struct { const char *text, *name, *address; } all[] = {
		{ "a@b", NULL, "a@b" },
		{ " a.b+c@d-e.example ", NULL, "a.b+c@d-e.example" },
		{ "<a@b>", NULL, "a@b" },
		{ "Ann <a@b>", "Ann", "a@b" },
		{ "\"Doe, J\" <a@b>", "Doe, J", "a@b" },
		{ "\"a \\\"b\\\" \\\\ c\" <a@b>", "a \"b\" \\ c", "a@b" },
		{ "Doe, J <a@b>", "Doe, J", "a@b" },
		{ "J\xc3\xbcrgen <a@b>", "J\xc3\xbcrgen", "a@b" },
		{ "\"\" <a@b>", NULL, "a@b" },
		{ "A\xc2\x9c <a@b>", "A\xc2\x9c", "a@b" },
		{ "a <b> <a@b>", "a <b>", "a@b" },
		{ "a@[192.0.2.1]", NULL, "a@[192.0.2.1]" },
		{ "a@[IPv6:2001:db8::1]", NULL, "a@[IPv6:2001:db8::1]" },
		{ "\xc3\xbc@b", NULL, "\xc3\xbc@b" },
		{ "J <a@\xe6\x97\xa5.example>", "J", "a@\xe6\x97\xa5.example" },
		{ "!#$%&'*+-/=?^_`{|}~@b", NULL, "!#$%&'*+-/=?^_`{|}~@b" },
	};
	struct addr a;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_int_equal(addr_parse(all[i].text, &a, &e), 0);
		assert_string_equal(a.address, all[i].address);
		if (all[i].name == NULL)
			assert_null(a.name);
		else
			assert_string_equal(a.name, all[i].name);
		addr_clear(&a);
	}
	assert_int_equal(addr_parse("\xc3\x9c <a@b>", &a, &e), 0);
	assert_true(addr_is_ascii(&a));
	addr_clear(&a);
	assert_int_equal(addr_parse("a@\xc3\xbc.b", &a, &e), 0);
	assert_false(addr_is_ascii(&a));
	addr_clear(&a);
}

static void
test_addr_bad(void **state)
{
	static const char *const all[] = {
		"", " ", "a", "@b", "a@", "a@b c", "a b@c", "a@@b", "a@b@c",
		".a@b", "a.@b", "a..b@c", "a@-b", "a@b-", "a@b..c", "a@.b",
		"a@b.", "<a@b", "a@b>", "A <a@b> B", "\"a\"@b", "a@b,c@d",
		"a@b\r\nRCPT TO:<c@d>", "a\n@b", "A\r\nBcc: x <a@b>",
		"A\x7f <a@b>", "a@b\x01", "\xc3@b", "a@\xc3.example",
		"a\xc2\x85@b", "a@\xed\xa0\x80.b", "A\xc2 <a@b>",
		"a@b\xef\xbb\xbf", "a\xe2\x80\xa8@b", "a\xc2\xa0@b",
		"\xff <a@b>", "a@[", "a@[]", "a@[1]x", "a@[1 2]", "a@b_c",
	};
	char longest[400];
	struct addr a;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (addr_parse(all[i], &a, &e) == 0)
			fail_msg("\"%s\" is taken for an address", all[i]);
		for (const char *p = e.msg; *p != '\0'; p++)
			assert_true((unsigned char)*p >= 0x20);
	}
	memset(longest, 'a', sizeof(longest));
	memcpy(longest + 65, "@b", 3);
	assert_int_equal(addr_parse(longest, &a, &e), -1);
	assert_int_equal(addr_parse(longest + 1, &a, &e), 0);
	addr_clear(&a);
}

static void
test_addrs(void **state)
{
	struct addrs list = { .n = 0 };
	struct err e;

	(void)state;
	assert_int_equal(addrs_parse("", &list, &e), 0);
	assert_int_equal(addrs_parse("  ", &list, &e), 0);
	assert_int_equal(list.n, 0);
	assert_int_equal(addrs_parse("a@b, \"x, \\\" y\" <c@d>,E <e@f>", &list, &e), 0);
	assert_int_equal(list.n, 3);
	assert_string_equal(list.v[1].name, "x, \" y");
	assert_string_equal(list.v[2].address, "e@f");
	assert_int_equal(addrs_parse("g@h,", &list, &e), -1);
	assert_int_equal(addrs_parse(",g@h", &list, &e), -1);
	addrs_clear(&list);
}

/* Whatever comes in: no crash, and what comes out is safe on the wire. */
static void
test_addr_fuzz(void **state)
{
	static const char *const seeds[] = {
		"a@b", "\"Doe, J\" <a@b.example>, c@d", "X \\\" <y@[1.2.3.4]>",
	};
	uint64_t chances = 1;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		struct addrs list = { .n = 0 };
		char text[80];
		struct err e;
		char *input;
		size_t len;

		strcpy(text, seeds[i % 3]);
		len = mutate(text, strlen(text), sizeof(text) - 1,
		    "ab@.,<>\"\\ []\r\n:-", &chances);
		input = exact(text, len, true);
		if (addrs_parse(input, &list, &e) == 0)
			for (size_t j = 0; j < list.n; j++)
				assert_int_equal(strcspn(list.v[j].address,
				    "\r\n\t <>,\"\\"), strlen(list.v[j].address));
		addrs_clear(&list);
		free(input);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addr_good),
		cmocka_unit_test(test_addr_bad),
		cmocka_unit_test(test_addrs),
		cmocka_unit_test(test_addr_fuzz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
