/*
 * Prints the offsets of time zone files, for comparing with other programs.
 * Each line of standard input: FILE FROM UNTIL; the answer: INSTANT=OFFSET for
 * FROM and each later instant at which the offset is another one, before UNTIL,
 * or "error: …".
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/zone.h"

static void
print_spans(const struct zone *z, int64_t from, int64_t until)
{
	struct zone_span span = zone_span(z, from);
	int32_t last = span.offset;

	printf("%" PRId64 "=%" PRId32, from, last);
	while (span.until < until) {
		span = zone_span(z, span.until);
		if (span.offset != last)
			printf(" %" PRId64 "=%" PRId32, span.from, span.offset);
		last = span.offset;
	}
}

static void
answer(const char *line)
{
	static unsigned char bytes[ZONE_FILE_MAX + 1];
	struct zone *z = NULL;
	struct err e = { 0 };
	int64_t from, until;
	char path[1024];
	FILE *f = NULL;

	if (sscanf(line, "%1023s %" SCNd64 " %" SCNd64, path, &from, &until) != 3)
		printf("error: not FILE FROM UNTIL");
	else if ((f = fopen(path, "r")) == NULL)
		printf("error: %s: cannot be opened", path);
	else if ((z = zone_new(bytes, fread(bytes, 1, sizeof(bytes), f), &e)) == NULL)
		printf("error: %s", e.msg);
	else
		print_spans(z, from, until);
	putchar('\n');
	zone_free(z);
	if (f != NULL)
		fclose(f);
}

int
main(void)
{
	char line[2048];

	while (fgets(line, sizeof(line), stdin) != NULL)
		answer(line);
	return 0;
}
