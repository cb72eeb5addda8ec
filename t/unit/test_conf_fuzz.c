/*
 * The sample configuration with random changes: whatever comes out is either
 * loaded, and its dump too and to the same, or complained of with places.
 */
#include "confs.h"

#include <sys/mman.h>

#define MUTATIONS 20000
#define ROOM 256

/* Pieces of YAML and of values are likelier to lead somewhere than bytes. */
static const char alphabet[] = "{}[]:,-#&*!|>'\"%@`?~$ \n\t09azAZ_./\\";

static char sample[16384];
static size_t sample_len;

static void
read_sample(void)
{
	FILE *f = fopen(SRCDIR "/etc/jobqd.yml", "r");

	assert_non_null(f);
	sample_len = fread(sample, 1, sizeof(sample), f);
	assert_in_range(sample_len, 1000, sizeof(sample) - 1);
	fclose(f);
}

static struct conf *
load(const char *text, size_t len, char **complaints)
{
	static char path[40];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("x.yml", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, text, len, 0), (ssize_t)len);
	return conf_load(path, &confs_drivers, complaints);
}

/* Every line is PATH:LINE:COL: message. */
static void
check_complaints(const char *text)
{
	assert_true(*text != '\0');
	while (*text != '\0') {
		const char *end = strchr(text, '\n');
		int line, column, used = 0;

		assert_non_null(end);
		if (sscanf(text, "/proc/self/fd/%*d:%d:%d: %n", &line, &column,
		    &used) != 2 || used == 0 || line < 1 || column < 1 ||
		    text + used >= end)
			fail_msg("no place: %.*s", (int)(end - text), text);
		text = end + 1;
	}
}

static void
check_dump(struct conf *conf)
{
	char *first = confs_dump(conf), *second, *complaints;
	struct conf *again = load(first, strlen(first), &complaints);

	if (again == NULL)
		fail_msg("of the dump\n%s\nis said\n%s", first, complaints);
	second = confs_dump(again);
	assert_string_equal(first, second);
	conf_free(again);
	free(first);
	free(second);
}

static void
test_conf_fuzz_sample(void **state)
{
	uint64_t seed = 1;
	int loaded = 0;

	(void)state;
	read_sample();
	for (int i = 0; i < MUTATIONS; i++) {
		char text[sizeof(sample) + ROOM], *complaints;
		struct conf *conf;
		size_t len;

		memcpy(text, sample, sample_len);
		len = mutate(text, sample_len, sizeof(text), alphabet, &seed);
		conf = load(text, len, &complaints);
		if (conf == NULL) {
			check_complaints(complaints);
			free(complaints);
			continue;
		}
		/* Of every few only: comments and names are most of it. */
		if (loaded++ % 16 == 0)
			check_dump(conf);
		conf_free(conf);
	}
	assert_in_range(loaded, MUTATIONS / 10, MUTATIONS * 9 / 10);
}

static void
test_conf_fuzz_sample_itself(void **state)
{
	struct conf *conf;
	char *complaints;

	(void)state;
	read_sample();
	conf = load(sample, sample_len, &complaints);
	if (conf == NULL)
		fail_msg("%s", complaints);
	check_dump(conf);
	conf_free(conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conf_fuzz_sample_itself),
		cmocka_unit_test(test_conf_fuzz_sample),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
