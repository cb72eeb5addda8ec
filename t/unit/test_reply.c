#include "unit.h"

#include "base/utf8.h"
#include "driver/email/reply.h"

static void
test_reply_lines(void **state)
{
	struct reply r = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(reply_add(&r, "250-mail.example", &e), 1);
	assert_int_equal(reply_add(&r, "250-", &e), 1);
	assert_int_equal(reply_add(&r, "250 2.0.0 \tfine\x1b", &e), 0);
	assert_int_equal(r.code, 250);
	assert_string_equal(r.text, "mail.example  2.0.0  fine ");
	memset(&r, 0, sizeof(r));
	assert_int_equal(reply_add(&r, "354", &e), 0);
	assert_int_equal(r.code, 354);
	assert_string_equal(r.text, "");
}

static void
test_reply_bad(void **state)
{
	static const char *const all[] = {
		"", "2", "25", "2 0", "25x", "250x", "250_x", "199 a", "600 a",
		"-50 a", " 250 a", "2500", "\xff\xfe",
	};
	struct reply r = { 0 };
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		memset(&r, 0, sizeof(r));
		if (reply_add(&r, all[i], &e) != -1)
			fail_msg("\"%s\" is taken for an answer", all[i]);
	}
	memset(&r, 0, sizeof(r));
	assert_int_equal(reply_add(&r, "250-a", &e), 1);
	assert_int_equal(reply_add(&r, "550 b", &e), -1);
}

/* It ends, however long it is, and so does its text, between two characters. */
static void
test_reply_long(void **state)
{
	struct reply r = { 0 };
	struct err e;
	int n = 0;

	(void)state;
	while (reply_add(&r, "250-gr\xc3\xbc\xc3\x9f""e", &e) == 1)
		n++;
	assert_int_equal(n, REPLY_LINES_MAX);
	memset(&r, 0, sizeof(r));
	for (n = 0; n < 100; n++)
		assert_int_equal(reply_add(&r, "250-gr\xc3\xbc\xc3\x9f""e", &e), 1);
	assert_int_equal(reply_add(&r, "250 x", &e), 0);
	assert_int_equal(strlen(r.text), REPLY_TEXT_MAX);
	for (size_t i = 0, len; i < REPLY_TEXT_MAX; i += len) {
		len = utf8_length(r.text + i, REPLY_TEXT_MAX - i);
		assert_true(len > 0);
	}
}

static void
test_offers(void **state)
{
	struct offers o = { 0 };

	(void)state;
	offers_add(&o, "250-pipelining.example at your service");
	offers_add(&o, "250-SIZES 1");
	offers_add(&o, "250");
	assert_false(o.pipelining || o.sizes || o.starttls || o.utf8);
	offers_add(&o, "250-Size 10240000");
	offers_add(&o, "250-PIPELINING");
	offers_add(&o, "250-STARTTLS");
	offers_add(&o, "250-AUTH PLAIN LOGIN");
	offers_add(&o, "250-AUTH=LOGIN PLAIN");
	offers_add(&o, "250 SMTPUTF8");
	assert_true(o.pipelining && o.sizes && o.starttls && o.utf8);
	assert_int_equal(o.size_max, 10240000);
	assert_string_equal(o.auth, "LOGIN PLAIN");
	memset(&o, 0, sizeof(o));
	offers_add(&o, "250 SIZE");
	assert_true(o.sizes);
	assert_int_equal(o.size_max, 0);
}

/* Whatever a server says: what is kept can be stored and shown. */
static void
test_reply_fuzz(void **state)
{
	static const char *const seeds[] = {
		"250-mail.example", "250 2.1.5 Ok", "250-AUTH PLAIN LOGIN", "550 5.1.1 <a@b>",
	};
	uint64_t chances = 7;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		struct reply r = { 0 };
		struct offers o = { 0 };
		struct err e;
		int more = 1;

		for (int n = 0; n < 3 && more == 1; n++) {
			char text[80], *line;
			size_t len;

			strcpy(text, seeds[chance_below(&chances, 4)]);
			len = mutate(text, strlen(text), sizeof(text) - 1,
			    "250- 9x\t\xc3\xbc\xff\x7f", &chances);
			line = exact(text, strnlen(text, len), true);
			more = reply_add(&r, line, &e);
			if (more >= 0)
				offers_add(&o, line);
			free(line);
		}
		if (more != 0)
			continue;
		assert_in_range(r.code, 200, 599);
		for (size_t j = 0, n; r.text[j] != '\0'; j += n) {
			n = utf8_length(r.text + j, strlen(r.text) - j);
			assert_true(n > 0 && (unsigned char)r.text[j] >= ' ' &&
			    r.text[j] != 0x7f);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reply_lines),
		cmocka_unit_test(test_reply_bad),
		cmocka_unit_test(test_reply_long),
		cmocka_unit_test(test_offers),
		cmocka_unit_test(test_reply_fuzz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
