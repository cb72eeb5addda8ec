/*
 * The schema's name in statements: see stmt.h.
 */
#include "config.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "db/stmt.h"

static void put_name(struct buf *, const char *name);

char *
stmt_in_schema(const char *sql, const char *schema)
{
	struct buf b = { 0 };
	const char *from = sql, *p;

	while ((p = strstr(from, SCHEMA_DEFAULT ".")) != NULL) {
		bool inside = p > sql && (isalnum((unsigned char)p[-1]) ||
		    p[-1] == '_' || p[-1] == '"');

		buf_put(&b, from, (size_t)(p - from));
		if (inside)
			buf_str(&b, SCHEMA_DEFAULT);
		else
			put_name(&b, schema);
		from = p + strlen(SCHEMA_DEFAULT);
	}
	buf_str(&b, from);
	return buf_detach(&b);
}

char *
stmt_listen(const char *schema)
{
	struct buf b = { 0 };

	buf_str(&b, "LISTEN ");
	put_name(&b, schema);
	return buf_detach(&b);
}

static void
put_name(struct buf *b, const char *name)
{
	buf_char(b, '"');
	for (; *name != '\0'; name++) {
		if (*name == '"')
			buf_char(b, '"');
		buf_char(b, *name);
	}
	buf_char(b, '"');
}
