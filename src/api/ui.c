/*
 * The dashboard: see ui.h. Only the style and the script that are built in may
 * do anything: the policy names them by their digests, so whatever gets into
 * the page otherwise is text.
 */
#include "config.h"

#include <string.h>

#include "api/ui.h"
#include "api/uitext.h"
#include "core/base64.h"
#include "core/digest.h"

static struct {
	struct buf text;
	struct buf headers;
	char etag[DIGEST_HEX_MAX + 2];
} page;

static void
put_lines(struct buf *b, const char *const *lines)
{
	for (; *lines != NULL; lines++)
		buf_str(b, *lines);
}

/* Append an element's lines; its text begins behind the newline of its tag. */
static void
put_element(const char *const *lines, struct buf *hash)
{
	unsigned char digest[DIGEST_SIZE];
	size_t begin = page.text.len - 1;

	put_lines(&page.text, lines);
	digest_sha256(digest, page.text.data + begin, page.text.len - begin);
	base64_encode(hash, digest, sizeof(digest));
}

static void
make_page(void)
{
	struct buf style = { 0 }, script = { 0 };
	char hex[DIGEST_HEX_MAX];
	unsigned char digest[DIGEST_SIZE];

	put_lines(&page.text, ui_top);
	put_element(ui_style, &style);
	put_lines(&page.text, ui_middle);
	put_element(ui_script, &script);
	put_lines(&page.text, ui_bottom);
	digest_sha256(digest, page.text.data, page.text.len);
	/* Half of it is enough to tell pages apart. */
	buf_printf(&page.headers, "ETag: \"%.32s\"\r\n", digest_hex(hex, digest));
	memcpy(page.etag, page.headers.data + strlen("ETag: "), 34);
	buf_printf(&page.headers,
	    "Content-Security-Policy: default-src 'none'; script-src 'sha256-%s'; "
	    "style-src 'sha256-%s'; connect-src 'self'; img-src data:; base-uri 'none'; "
	    "form-action 'none'; frame-ancestors 'none'; "
	    "require-trusted-types-for 'script'; trusted-types 'none'\r\n",
	    script.data, style.data);
	buf_clear(&script);
	buf_clear(&style);
}

void
ui_page(struct exchange *x, void *arg)
{
	const char *had = http_field(&x->request, "if-none-match");

	(void)arg;
	if (page.text.len == 0)
		make_page();
	buf_put(&x->headers, page.headers.data, page.headers.len);
	x->type = "text/html; charset=utf-8";
	x->cache = "no-cache";
	if (had != NULL && strstr(had, page.etag) != NULL) {
		x->status = 304;
	} else {
		x->status = 200;
		buf_put(&x->body, page.text.data, page.text.len);
	}
	exchange_done(x);
}
