/*
 * driver/form and driver/upload: forms of HTTP, and files within them as they
 * are sent.
 */
#include "unit.h"

#include <jansson.h>
#include <unistd.h>

#include "driver/http/form.h"
#include "driver/http/upload.h"

static json_t *
read_json(const char *text)
{
	json_t *map = json_loads(text, 0, NULL);

	assert_non_null(map);
	return map;
}

static void
test_form_encode(void **state)
{
	static const struct {
		const char *map, *form;		/* NULL: refused */
	} cases[] = {
		{ "{}", "" },
		{ "{\"a\":\"b\",\"c\":[1,true,null,\"d\"],\"e\":null,\"f\":\"\"}", "a=b&c=1&c=true&c=d&f=" },
		{ "{\"a b&=\":\"c d&=%+\"}", "a%20b%26%3D=c%20d%26%3D%25%2B" },
		{ "{\"\\u00fc\":\"-._~/\"}", "%C3%BC=-._~%2F" },
		{ "{\"a\":1.5,\"b\":-7,\"c\":12345678901234567}", "a=1.5&b=-7&c=12345678901234567" },
		{ "{\"a\":{}}", NULL },
		{ "{\"a\":[[1]]}", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *map = read_json(cases[i].map);
		struct buf b = { .len = 0 };
		struct err e;

		buf_put(&b, "", 0);
		assert_int_equal(form_encode(map, &b, &e), cases[i].form ? 0 : -1);
		if (cases[i].form != NULL)
			assert_string_equal(b.data, cases[i].form);
		buf_clear(&b);
		json_decref(map);
	}
}

static void
test_form_multipart(void **state)
{
	static const char want[] =
	    "--X\r\nContent-Disposition: form-data; name=\"a%22b\"\r\n\r\n7\r\n"
	    "--X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n.txt\"\r\n"
	    "Content-Type: text/plain\r\n\r\nhello\r\n"
	    "--X--\r\n";
	json_t *map = read_json("{\"a\\\"b\":7,\"f\":{\"content\":\"aGVsbG8=\","
	    "\"filename\":\"n.txt\",\"type\":\"text/plain\"}}");
	struct pieces p = { .v = NULL };
	struct err e;

	(void)state;
	assert_int_equal(form_multipart(map, "X", &p, &e), 0);
	assert_int_equal(p.n, 1);
	assert_string_equal(p.v[0].bytes.data, want);
	pieces_clear(&p);
	json_decref(map);
}

static void
test_form_boundary(void **state)
{
	char a[FORM_BOUNDARY_MAX], b[FORM_BOUNDARY_MAX];

	(void)state;
	form_boundary(a);
	form_boundary(b);
	assert_true(strlen(a) > 32 && strcmp(a, b) != 0);
}

/* Files between bytes, read by any number of bytes, from anywhere. */
static void
test_form_upload(void **state)
{
	char dir[] = "/tmp/test_form.XXXXXX", path[64], got[200], want[200];
	struct pieces p = { .v = NULL };
	struct upload u;
	struct err e;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("0123456789", f);
	fclose(f);
	pieces_bytes(&p, "be", 2);
	pieces_bytes(&p, "fore", 4);
	pieces_file(&p, "file");
	pieces_file(&p, "file");
	pieces_bytes(&p, "after", 5);
	assert_int_equal(p.n, 4);
	assert_int_equal(upload_open(&u, &p, dir, &e), 0);
	assert_int_equal(u.size, 31);
	strcpy(want, "before01234567890123456789after");
	for (size_t step = 1; step < 40; step++)
		for (int from = 0; from <= 31; from += 5) {
			size_t n = 0;
			ssize_t some;

			upload_seek(&u, from);
			while ((some = upload_read(&u, got + n, step, &e)) > 0)
				n += (size_t)some;
			assert_int_equal(some, 0);
			assert_int_equal(n, 31 - from);
			assert_memory_equal(got, want + from, n);
		}
	/* It becomes shorter. */
	assert_int_equal(truncate(path, 3), 0);
	upload_seek(&u, 6);
	assert_int_equal(upload_read(&u, got, 100, &e), 3);
	assert_int_equal(upload_read(&u, got, 100, &e), -1);
	assert_non_null(strstr(e.msg, "shorter"));
	upload_close(&u);
	pieces_file(&p, "../file");
	assert_int_equal(upload_open(&u, &p, dir, &e), -1);
	upload_close(&u);
	pieces_clear(&p);
	unlink(path);
	rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form_encode),
		cmocka_unit_test(test_form_multipart),
		cmocka_unit_test(test_form_boundary),
		cmocka_unit_test(test_form_upload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
