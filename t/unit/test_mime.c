#include "unit.h"

#include "base/xalloc.h"
#include "driver/email/mime.h"

static void
fill(struct mail *m, const char *subject, const char *text)
{
	memset(m, 0, sizeof(*m));
	m->from.address = xstrdup("a@b");
	m->to.v = xcalloc(1, sizeof(*m->to.v));
	m->to.n = 1;
	m->to.v[0].address = xstrdup("c@d");
	m->subject = xstrdup(subject);
	m->text = xstrdup(text);
	m->message_id = xstrdup("<1@b>");
	m->date = 1700000000;
}

static void
test_mime_plain(void **state)
{
	struct buf out = { .len = 0 };
	struct mail m;

	(void)state;
	fill(&m, "hello", "one\n.\ntwo");
	mime_build(&m, &out);
	assert_string_equal(out.data,
	    "From: a@b\r\n"
	    "To: c@d\r\n"
	    "Subject: hello\r\n"
	    "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
	    "Message-ID: <1@b>\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: 7bit\r\n"
	    "\r\n"
	    "one\r\n.\r\ntwo\r\n");
	buf_clear(&out);
	mail_clear(&m);
}

static void
add_attachment(struct mail *m, const char *name, bool in_place)
{
	struct mail_attachment *a = &m->attachments[m->nattachments++];

	a->filename = xstrdup(name);
	a->type = xstrdup("image/png");
	a->content_id = in_place ? xstrdup(name) : NULL;
	a->in_place = in_place;
	buf_str(&a->content, name);
}

/* What is shown in the HTML goes with it, the rest behind all. */
static void
test_mime_places(void **state)
{
	static const struct { bool text, html, file; const char *parts; } all[] = {
		{ true, false, false, "mixed plain inline" },
		{ false, true, false, "related html inline" },
		{ true, true, false, "alternative plain related html inline" },
		{ true, true, true,
		    "mixed alternative plain related html inline attachment" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct buf out = { .len = 0 };
		struct mail m;
		char parts[200], *save, *word;
		const char *at;

		fill(&m, "s", "t");
		m.html = all[i].html ? xstrdup("<img src=cid:a>") : NULL;
		if (!all[i].text) {
			free(m.text);
			m.text = NULL;
		}
		m.attachments = xcalloc(2, sizeof(*m.attachments));
		add_attachment(&m, "a", true);
		if (all[i].file)
			add_attachment(&m, "b", false);
		mime_build(&m, &out);
		at = out.data;
		strcpy(parts, all[i].parts);
		for (word = strtok_r(parts, " ", &save); word != NULL;
		    word = strtok_r(NULL, " ", &save)) {
			at = strstr(at, word);
			assert_non_null(at);
		}
		assert_non_null(strstr(out.data, "Content-ID: <a>\r\n"));
		mail_clear(&m);
		buf_clear(&out);
	}
}

/* Every text: ASCII, CR LF, lines that fit. (What is in them is compared by
 * t/210-mime-oracle.t.) */
static void
test_mime_lines(void **state)
{
	static const char *const pieces[] = {
		"a", " ", "\t", "\n", "\r\n", "\r", ".", "=", "\xc3\xbc",
		"\xe6\x97\xa5", "\xf0\x9f\x98\x80", "From ", "=_", "xxxxxxxxxxxxxxxxxxxx",
	};
	uint64_t chances = 13;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct buf out = { .len = 0 }, text = { .len = 0 };
		struct mail m;
		size_t line = 0;

		for (int n = chance_below(&chances, 200); n > 0; n--)
			buf_str(&text, pieces[chance_below(&chances, 14)]);
		fill(&m, "s", text.data ? text.data : "");
		mime_build(&m, &out);
		assert_memory_equal(out.data + out.len - 2, "\r\n", 2);
		for (size_t j = 0; j < out.len; j++) {
			assert_true((unsigned char)out.data[j] < 0x7f);
			if (out.data[j] == '\n') {
				assert_true(j > 0 && out.data[j - 1] == '\r');
				line = 0;
			} else {
				assert_true(++line <= 79);
			}
			if (out.data[j] == '\r')
				assert_true(out.data[j + 1] == '\n');
		}
		mail_clear(&m);
		buf_clear(&out);
		buf_clear(&text);
	}
}

static void
test_mime_words(void **state)
{
	(void)state;
	assert_true(mime_is_type("image/png"));
	assert_true(mime_is_type("text/plain; charset=utf-8"));
	assert_false(mime_is_type("image"));
	assert_false(mime_is_type("image/"));
	assert_false(mime_is_type("multipart/mixed"));
	assert_false(mime_is_type("a/b\r\nX: y"));
	assert_false(mime_is_type("a/b\xc3\xbc"));
	assert_true(mime_is_header("X-Fleet"));
	assert_true(mime_is_header("List-Unsubscribe"));
	assert_false(mime_is_header("Bcc"));
	assert_false(mime_is_header("content-type"));
	assert_false(mime_is_header("Resent-Bcc"));
	assert_false(mime_is_header("X-Envelope-To"));
	assert_false(mime_is_header("A B"));
	assert_false(mime_is_header("A:"));
	assert_false(mime_is_header(""));
	assert_true(mime_is_id("logo"));
	assert_true(mime_is_id("part1.06090408@example.com"));
	assert_false(mime_is_id(""));
	assert_false(mime_is_id("a>\r\nX: y"));
	assert_false(mime_is_id("a b"));
	assert_false(mime_is_id("<a@b>"));
	assert_true(mime_is_text("gr\xc3\xbc\xc3\x9f"));
	assert_false(mime_is_text("a\nb"));
	assert_false(mime_is_text("a\xff"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mime_plain),
		cmocka_unit_test(test_mime_places),
		cmocka_unit_test(test_mime_lines),
		cmocka_unit_test(test_mime_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
