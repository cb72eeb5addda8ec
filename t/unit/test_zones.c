#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "conf/zones.h"

/* A directory of zones with good files, bad ones, and what is no file. */

static char directory[] = "/tmp/jobqd-zones-XXXXXX";

static void
write_file(const char *name, const void *bytes, size_t len)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* Version 1, no changes, one offset. */
static void
write_zone(const char *name, int32_t offset)
{
	unsigned char bytes[44 + 6 + 4] = "TZif";

	bytes[39] = 1;
	bytes[43] = 4;
	for (int i = 0; i < 4; i++)
		bytes[44 + i] = (unsigned char)((uint32_t)offset >> (24 - 8 * i));
	write_file(name, bytes, sizeof(bytes));
}

static int
setup(void **state)
{
	char path[200];

	(void)state;
	if (mkdtemp(directory) == NULL || chdir(directory) != 0 ||
	    mkdir("zones", 0755) != 0 || mkdir("zones/Europe", 0755) != 0 ||
	    mkdir("zones/America", 0755) != 0 ||
	    mkdir("zones/America/Indiana", 0755) != 0 ||
	    mkfifo("zones/Pipe", 0644) != 0)
		return -1;
	write_zone("Secret", 3600);
	write_zone("zones/Europe/Berlin", 3600);
	write_zone("zones/America/Indiana/Knox", -21600);
	write_zone("zones/UTC", 7200);
	write_file("zones/Broken", "TZif2", 5);
	write_file("zones/zone.tab", "# no zone\n", 10);
	snprintf(path, sizeof(path), "%s/zones", directory);
	return setenv("TZDIR", path, 1);
}

static int
teardown(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return chdir("/") != 0 || system(command) != 0;
}

static void
refuse(const char *name, const char *why)
{
	const struct zone *zone;
	struct err e = { 0 };

	if (zones_find(name, &zone, &e) == 0)
		fail_msg("%s: accepted", name);
	if (strstr(e.msg, why) == NULL)
		fail_msg("%s: %s", name, e.msg);
}

static int32_t
offset(const char *name)
{
	const struct zone *zone;
	struct err e = { 0 };

	if (zones_find(name, &zone, &e) != 0)
		fail_msg("%s: %s", name, e.msg);
	return zone_span(zone, 0).offset;
}

static void
test_zones_by_name(void **state)
{
	const struct zone *zone = (const void *)"", *again;

	(void)state;
	assert_int_equal(offset("Europe/Berlin"), 3600);
	assert_int_equal(offset("America/Indiana/Knox"), -21600);
	/* UTC is no matter of files */
	assert_int_equal(zones_find("UTC", &zone, NULL), 0);
	assert_null(zone);
	assert_int_equal(zones_find("Europe/Berlin", &zone, NULL), 0);
	assert_int_equal(zones_find("Europe/Berlin", &again, NULL), 0);
	assert_ptr_equal(zone, again);
}

/* A file that changes is another zone for who asks then. */
static void
test_zones_changed(void **state)
{
	const struct zone *before;

	(void)state;
	write_zone("zones/Europe/Rome", 3600);
	assert_int_equal(zones_find("Europe/Rome", &before, NULL), 0);
	write_zone("zones/new", 7200);
	assert_int_equal(rename("zones/new", "zones/Europe/Rome"), 0);
	assert_int_equal(offset("Europe/Rome"), 7200);
	assert_int_equal(zone_span(before, 0).offset, 3600);
}

static void
test_zones_refusals(void **state)
{
	static const char *const none[] = { "", "/", ".", "..", "../Secret",
	    "Europe/../../Secret", "Europe/./Berlin", "Europe//Berlin",
	    "/etc/passwd", "Europe/", "Europe", "Pipe", ":UTC", "Europe/Berlin\n",
	    "Europe/Berlin/x", "zones/../Secret", "Mars/Olympus" };
	char path[200], huge[300];

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		refuse(none[i], "no such time zone");
	snprintf(path, sizeof(path), "%s/Secret", directory);
	refuse(path, "no such time zone");
	memset(huge, 'A', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	refuse(huge, "no such time zone");
	refuse("Broken", "/zones/Broken: not a usable time zone file");
	refuse("zone.tab", "/zones/zone.tab: not a usable time zone file");
}

static void
test_zones_nearest(void **state)
{
	(void)state;
	refuse("Europe/Berln", "did you mean \"Europe/Berlin\"?");
	refuse("europe/berlin", "did you mean \"Europe/Berlin\"?");
	refuse("berlin", "did you mean \"Europe/Berlin\"?");
	refuse("Knox", "did you mean \"America/Indiana/Knox\"?");
	refuse("Pacific/Auckland", "write one like UTC or Europe/Berlin");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zones_by_name),
		cmocka_unit_test(test_zones_nearest),
		cmocka_unit_test(test_zones_changed),
		cmocka_unit_test(test_zones_refusals),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
