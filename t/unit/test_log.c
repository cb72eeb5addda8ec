#include "unit.h"

#include <fcntl.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <jansson.h>

#include "base/log.h"

static char directory[] = "/tmp/test_log.XXXXXX";
static char path[64];

static int
set_up(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/test_log.XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/log", directory);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	log_open("stderr", LOG_LEVEL_INFO, LOG_TEXT, NULL);
	log_process("jobqd");
	unlink(path);
	rmdir(directory);
	return 0;
}

static void
begin(enum log_level level, enum log_format format)
{
	struct err e = { 0 };

	if (log_open(path, level, format, &e) != 0)
		fail_msg("%s", e.msg);
}

/* What the file has, new; and starts the file again. */
static char *
written(void)
{
	char *text = calloc(1, 1 << 16);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_non_null(text);
	assert_true(fd >= 0);
	assert_true(read(fd, text, (1 << 16) - 1) >= 0);
	close(fd);
	assert_int_equal(truncate(path, 0), 0);
	return text;
}

/* The one record written, without its time and pid. */
static void
check_text(const char *expected)
{
	char *text = written(), *rest = strchr(text, ' ');
	char *pid, *close_pid;

	assert_non_null(rest);
	assert_int_equal(text[10], 'T');
	assert_int_equal(rest[-1], 'Z');
	assert_int_equal(rest - text, 24);
	pid = strchr(rest, '[');
	close_pid = strchr(rest, ']');
	assert_non_null(pid);
	assert_non_null(close_pid);
	assert_int_equal(atoi(pid + 1), getpid());
	memmove(pid + 1, close_pid, strlen(close_pid) + 1);
	assert_string_equal(rest + 1, expected);
	free(text);
}

/* Every line is a JSON object; returns how many there are. */
static int
check_json(const char *text)
{
	int lines = 0;

	while (*text != '\0') {
		const char *end = strchr(text, '\n');
		json_error_t why;
		json_t *record;

		assert_non_null(end);
		assert_true(end - text < 4095);
		record = json_loadb(text, (size_t)(end - text),
		    JSON_REJECT_DUPLICATES, &why);
		if (record == NULL)
			fail_msg("%s: …%s", why.text, end - 40);
		assert_true(json_is_object(record));
		assert_non_null(json_object_get(record, "event"));
		json_decref(record);
		text = end + 1;
		lines++;
	}
	return lines;
}

static void
test_log_text(void **state)
{
	const char *volatile none = NULL;	/* which the compiler need not know */

	(void)state;
	begin(LOG_LEVEL_INFO, LOG_TEXT);
	log_process("queue %s", "email");
	log_info("worker exited", "worker=%d status=%d", 3, 0);
	check_text("info  queue email []: worker exited worker=3 status=0\n");
	log_error("gone", "");
	check_text("error queue email []: gone\n");
	log_warn("odd", "text=%s empty=%s none=%s plain=%s", "a \"b\"\n\x01", "",
	    none, "x=y");
	check_text("warn  queue email []: odd text=\"a \\\"b\\\"\\n\\u0001\" "
	    "empty=\"\" none=- plain=x=y\n");
	log_info("bytes", "text=%s", "a\xff" "b caf\xc3\xa9");
	check_text("info  queue email []: bytes text=\"a?b caf\xc3\xa9\"\n");
}

static void
test_log_conversions(void **state)
{
	(void)state;
	begin(LOG_LEVEL_INFO, LOG_TEXT);
	log_info("n", "c=%c d=%d u=%u x=%x", 'c', -1, 4000000000u, 255u);
	check_text("info  jobqd []: n c=c d=-1 u=4000000000 x=0xff\n");
	log_info("n", "ld=%ld lu=%lu lld=%lld llu=%llu", -5L, 5UL, INT64_MIN + 0LL,
	    UINT64_MAX + 0ULL);
	check_text("info  jobqd []: n ld=-5 lu=5 lld=-9223372036854775808 "
	    "llu=18446744073709551615\n");
	log_info("n", "zu=%zu zd=%zd jd=%jd f=%.2f", (size_t)7, (ssize_t)-7,
	    (intmax_t)-8, 1.255);
	check_text("info  jobqd []: n zu=7 zd=-7 jd=-8 f=1.25\n");
}

static void
test_log_json(void **state)
{
	const char *volatile none = NULL;
	json_t *record;
	char *text;

	(void)state;
	begin(LOG_LEVEL_INFO, LOG_JSON);
	log_info("a \"b\"", "n=%d f=%.1f s=%s x=%x none=%s", -3, 2.5,
	    "q\"\\\n\xff", 16u, none);
	text = written();
	record = json_loads(text, 0, NULL);
	assert_non_null(record);
	assert_string_equal(json_string_value(json_object_get(record, "event")),
	    "a \"b\"");
	assert_string_equal(json_string_value(json_object_get(record, "level")),
	    "info");
	assert_string_equal(json_string_value(json_object_get(record, "process")),
	    "jobqd");
	assert_int_equal(json_integer_value(json_object_get(record, "pid")),
	    getpid());
	assert_int_equal(json_integer_value(json_object_get(record, "n")), -3);
	assert_true(json_real_value(json_object_get(record, "f")) == 2.5);
	assert_string_equal(json_string_value(json_object_get(record, "s")),
	    "q\"\\\n?");
	assert_string_equal(json_string_value(json_object_get(record, "x")),
	    "0x10");
	assert_true(json_is_null(json_object_get(record, "none")));
	json_decref(record);
	free(text);
}

/* No key comes twice. */
static void
test_log_json_keys(void **state)
{
	char *text;

	(void)state;
	begin(LOG_LEVEL_INFO, LOG_JSON);
	log_info("worker died", "pid=%d level=%s pids=%d", 7, "high", 8);
	text = written();
	assert_int_equal(check_json(text), 1);
	assert_non_null(strstr(text,
	    ",\"its_pid\":7,\"its_level\":\"high\",\"pids\":8}"));
	free(text);
	begin(LOG_LEVEL_INFO, LOG_TEXT);
	log_info("worker died", "pid=%d", 7);
	check_text("info  jobqd []: worker died pid=7\n");
}

/* Numbers that JSON does not have become strings. */
static void
test_log_json_without_numbers(void **state)
{
	char *text;

	(void)state;
	begin(LOG_LEVEL_INFO, LOG_JSON);
	log_info("n", "a=%.2f b=%.2f", 0.0 / 0.0, 1e308 * 10);
	text = written();
	assert_int_equal(check_json(text), 1);
	free(text);
}

/* Values of every length: one line each, bounded, and still JSON and UTF-8. */
static void
test_log_bounds(void **state)
{
	static const char *const units[] = { "w", "\"", "\x01", "\xc3\xa9", "\xf0\x9f\x98\x80" };
	char wide[3000];

	(void)state;
	for (size_t u = 0; u < 5; u++)
		for (int size = 1000; size < 2200; size += 7) {
			size_t n = strlen(units[u]), len = 0;
			char *text;

			while (len + n < (size_t)size) {
				memcpy(wide + len, units[u], n);
				len += n;
			}
			wide[len] = '\0';
			begin(LOG_LEVEL_INFO, LOG_JSON);
			log_info("wide", "a=%s b=%s c=%d last=%s", wide, wide, 7, wide);
			text = written();
			assert_int_equal(check_json(text), 1);
			free(text);
			begin(LOG_LEVEL_INFO, LOG_TEXT);
			log_info("wide", "a=%s b=%s c=%d last=%s", wide, wide, 7, wide);
			text = written();
			assert_in_range(strlen(text), 1000, 4095);
			assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
			free(text);
		}
}

static void
test_log_levels(void **state)
{
	char *text;

	(void)state;
	begin(LOG_LEVEL_WARN, LOG_JSON);
	log_info("no", "");
	log_debug("no", "");
	log_warn("yes", "");
	log_error("yes", "");
	text = written();
	assert_int_equal(check_json(text), 2);
	free(text);
	assert_true(log_would(LOG_LEVEL_ERROR));
	assert_false(log_would(LOG_LEVEL_INFO));
}

static void
test_log_open_failure_changes_nothing(void **state)
{
	struct err e = { 0 };
	int fd;

	(void)state;
	begin(LOG_LEVEL_INFO, LOG_TEXT);
	fd = log_fd();
	assert_int_equal(log_open("/nonexistent/log", LOG_LEVEL_DEBUG, LOG_JSON,
	    &e), -1);
	assert_string_equal(e.msg, "cannot open the log file /nonexistent/log: "
	    "No such file or directory");
	assert_int_equal(log_fd(), fd);
	log_info("still here", "");
	check_text("info  jobqd []: still here\n");
}

/* Rotation: the file is moved away, the next record goes to a new one. */
static void
test_log_reopen(void **state)
{
	char moved[80];
	struct stat st;
	char *text;
	int fd;

	(void)state;
	begin(LOG_LEVEL_INFO, LOG_TEXT);
	fd = log_fd();
	log_info("first", "");
	snprintf(moved, sizeof(moved), "%s.1", path);
	assert_int_equal(rename(path, moved), 0);
	log_info("second", "");
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(log_reopen(NULL), 0);
	log_info("third", "");
	assert_int_equal(log_fd(), fd);
	text = written();
	assert_non_null(strstr(text, "third"));
	assert_null(strstr(text, "second"));
	free(text);
	assert_int_equal(stat(moved, &st), 0);
	assert_true(st.st_size > 0);
	unlink(moved);
}

/* What cannot be opened again is written on, and the first of them named. */
static void
test_log_reopen_failure(void **state)
{
	char moved[80], expected[120];
	struct err e = { 0 };

	(void)state;
	begin(LOG_LEVEL_INFO, LOG_TEXT);
	snprintf(moved, sizeof(moved), "%s.1", path);
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(log_reopen(&e), -1);
	snprintf(expected, sizeof(expected),
	    "cannot open the log file %s: Is a directory", path);
	assert_string_equal(e.msg, expected);
	log_info("still here", "");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rename(moved, path), 0);
	check_text("info  jobqd []: still here\n");
}

/* All that a file has. */
static char *
contents(const char *name)
{
	char *text = calloc(1, 1 << 16);
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	assert_non_null(text);
	assert_true(fd >= 0);
	assert_true(read(fd, text, (1 << 16) - 1) >= 0);
	close(fd);
	return text;
}

static bool
says(const char *name, const char *word)
{
	char *text = contents(name);
	bool found = strstr(text, word) != NULL;

	free(text);
	return found;
}

/* In a child, since there is no way back: which record goes where. */
static void
test_log_own(void **state)
{
	char queue[80], schedule[80], none[80];
	struct err e = { 0 };
	const char *volatile nobody = NULL;
	int status;
	pid_t pid;

	(void)state;
	snprintf(queue, sizeof(queue), "%s.queue", path);
	snprintf(schedule, sizeof(schedule), "%s.schedule", path);
	snprintf(none, sizeof(none), "%s.none", path);
	begin(LOG_LEVEL_INFO, LOG_TEXT);
	assert_int_equal(log_own_open("/nonexistent/own", &e), -1);
	assert_int_equal(log_own_fd(0), -1);
	assert_int_equal(log_own_open(queue, &e), 0);
	assert_int_equal(log_own_open(queue, &e), 0);	/* shared */
	assert_int_equal(log_own_open(none, &e), 0);
	assert_int_equal(log_own_open(schedule, &e), 0);
	assert_true(log_own_fd(0) >= 16 && log_own_fd(2) >= 16);
	assert_int_equal(log_own_fd(3), -1);
	log_own_close(none);
	assert_int_equal(log_own_fd(2), -1);
	assert_int_equal(log_own_open(none, &e), 0);
	log_info("of the parent", "");
	pid = fork();
	if (pid == 0) {
		log_own(queue);
		log_own("/not/open");	/* changes nothing */
		log_route("type", "tick", schedule);
		log_route("type", "tack", "/not/open");
		log_own_settled();
		log_info("all else", "type=%s number=%d", "tack", 1);
		log_info("of a type", "id=%d type=%s class=%s", 1, "tick", nobody);
		log_warn("grave", "types=%s", "tick");
		log_set_level(LOG_LEVEL_ERROR);
		log_warn("not said", "");
		rename(queue, none);
		log_reopen(NULL);
		log_error("anew", "type=%s", "ticks");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(says(path, "of the parent"));
	assert_false(says(path, "all else") || says(path, "of a type"));
	assert_true(says(path, "grave") && says(path, "anew"));
	assert_true(says(none, "all else type=tack number=1\n"));
	assert_true(says(none, "grave") && !says(none, "of a type"));
	assert_true(says(queue, "anew") && !says(queue, "grave"));
	assert_true(says(schedule, "of a type id=1 type=tick class=-\n"));
	assert_false(says(schedule, "grave") || says(schedule, "all else"));
	log_own_close(queue);
	log_own_close(schedule);
	log_own_close(none);
	unlink(queue);
	unlink(schedule);
	unlink(none);
}

static void
test_log_fatal(void **state)
{
	int status;
	char *text;
	pid_t pid;

	(void)state;
	begin(LOG_LEVEL_INFO, LOG_TEXT);
	pid = fork();
	if (pid == 0)
		fatal("cannot go on", "why=%s", "reasons");
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	text = written();
	assert_non_null(strstr(text, "error jobqd ["));
	assert_non_null(strstr(text, "cannot go on why=reasons\n"));
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_log_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_conversions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_json, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_json_keys, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(test_log_json_without_numbers,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_bounds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_levels, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_open_failure_changes_nothing,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_reopen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_reopen_failure,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_fatal, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
