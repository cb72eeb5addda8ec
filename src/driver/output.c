/*
 * The file that a report becomes: see output.h.
 */
#include "config.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_ZIP
#include <archive.h>
#include <archive_entry.h>
#endif

#include "base/xalloc.h"
#include "driver/output.h"

#define WRITE_SIZE (256u << 10)
#define RANDOM_DIGITS 16		/* hexadecimal, of a name */

int
output_directory(const char *path, struct err *e)
{
	int fd;

	if (mkdir(path, 0750) < 0 && errno != EEXIST)
		return err_errno(e, "cannot make %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "cannot open %s", path);
	if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0) {
		err_errno(e, "cannot write to %s", path);
		close(fd);
		return -1;
	}
	return fd;
}

static int
make_temporary(struct output *o, struct err *e)
{
	o->fd = openat(o->dir, o->temporary, O_RDWR | O_CREAT | O_EXCL |
	    O_NOFOLLOW | O_CLOEXEC, 0640);
	if (o->fd < 0)
		return err_errno(e, "cannot make %s", o->temporary);
	/* For is_abandoned(): its writer lives. */
	flock(o->fd, LOCK_EX | LOCK_NB);
	return 0;
}

int
output_open(struct output *o, int dir, const char *stem, int64_t job,
    const char *extension, int64_t max, struct err *e)
{
	unsigned char chance[RANDOM_DIGITS / 2];

	memset(o, 0, sizeof(*o));
	arc4random_buf(chance, sizeof(chance));
	o->dir = dir;
	o->max = max;
	struct buf name = { .len = 0 };
	buf_printf(&name, "%s-%" PRId64 "-", stem, job);
	for (size_t i = 0; i < sizeof(chance); i++)
		buf_printf(&name, "%02x", chance[i]);
	buf_printf(&name, ".%s", extension);
	o->name = buf_detach(&name);
	o->temporary = xasprintf(".%s", o->name);
	return make_temporary(o, e);
}

static bool is_abandoned(int dir, const char *name);

static char *
part_name(int64_t job, int attempt)
{
	return xasprintf(".jobqd-%" PRId64 "-%d.part", job, attempt);
}

int
output_replace(struct output *o, int dir, const char *name, int64_t job,
    int attempt, int64_t max, struct err *e)
{
	memset(o, 0, sizeof(*o));
	o->dir = dir;
	o->max = max;
	o->name = xstrdup(name);
	o->temporary = part_name(job, attempt);
	/* Its own is there when a claim was lost, and the number is used again. */
	for (int n = attempt > 0 ? attempt - 1 : 0; n <= attempt; n++) {
		char *left = part_name(job, n);

		if (is_abandoned(dir, left))
			unlinkat(dir, left, 0);
		free(left);
	}
	return make_temporary(o, e);
}

static int
write_all(struct output *o, const char *data, size_t len, struct err *e)
{
	while (len > 0) {
		ssize_t n = write(o->fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "cannot write to %s", o->name);
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
flush(struct output *o, struct err *e)
{
	off_t from = (off_t)(o->bytes - (int64_t)o->buf.len);
	int rc = write_all(o, o->buf.data, o->buf.len, e);

	/* On its way to the disk meanwhile: the end does not wait for all of it. */
	sync_file_range(o->fd, from, (off_t)o->buf.len, SYNC_FILE_RANGE_WRITE);
	buf_reset(&o->buf);
	return rc;
}

#ifdef HAVE_ZIP
static int
zip_failed(struct output *o, struct err *e)
{
	const char *why = archive_error_string(o->archive);

	return err_set(e, "cannot write to %s: %s", o->name, why ? why : "zip");
}

int
output_zip(struct output *o, struct err *e)
{
	o->archive = archive_write_new();
	if (o->archive == NULL)
		return err_set(e, "no memory for a zip archive");
	if (archive_write_set_format_zip(o->archive) != ARCHIVE_OK ||
	    archive_write_open_fd(o->archive, o->fd) != ARCHIVE_OK)
		return zip_failed(o, e);
	return 0;
}

static int
zip_data(struct output *o, struct err *e)
{
	size_t done = 0;

	while (done < o->buf.len) {
		la_ssize_t n = archive_write_data(o->archive, o->buf.data + done,
		    o->buf.len - done);

		if (n <= 0)
			return zip_failed(o, e);
		done += (size_t)n;
	}
	buf_reset(&o->buf);
	return 0;
}

static int
zip_end_entry(struct output *o, struct err *e)
{
	if (!o->in_entry)
		return 0;
	o->in_entry = false;
	if (zip_data(o, e) < 0)
		return -1;
	return archive_write_finish_entry(o->archive) == ARCHIVE_OK ? 0 :
	    zip_failed(o, e);
}

static int
zip_entry(struct output *o, const char *name, struct err *e)
{
	struct archive_entry *entry;
	int rc;

	if (zip_end_entry(o, e) < 0)
		return -1;
	entry = archive_entry_new();
	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_mtime(entry, time(NULL), 0);
	rc = archive_write_header(o->archive, entry);
	archive_entry_free(entry);
	o->in_entry = rc == ARCHIVE_OK;
	return o->in_entry ? 0 : zip_failed(o, e);
}

static int
zip_close(struct output *o, struct err *e)
{
	if (zip_end_entry(o, e) < 0)
		return -1;
	return archive_write_close(o->archive) == ARCHIVE_OK ? 0 : zip_failed(o, e);
}

static void
zip_free(struct output *o)
{
	if (o->archive == NULL)
		return;
	archive_write_fail(o->archive);	/* else it would still write its directory */
	archive_write_free(o->archive);
	o->archive = NULL;
}
#else
int
output_zip(struct output *o, struct err *e)
{
	(void)o;
	return err_set(e, "this build makes no zip archives (it lacks libarchive)");
}

static int
zip_data(struct output *o, struct err *e)
{
	return output_zip(o, e);
}

static int
zip_entry(struct output *o, const char *name, struct err *e)
{
	(void)name;
	return output_zip(o, e);
}

static int
zip_close(struct output *o, struct err *e)
{
	return output_zip(o, e);
}

static void
zip_free(struct output *o)
{
	(void)o;
}
#endif

int
output_entry(struct output *o, const char *name, struct err *e)
{
	return o->archive != NULL ? zip_entry(o, name, e) : 0;
}

int
output_put(struct output *o, const void *data, size_t len, struct err *e)
{
	o->bytes += (int64_t)len;
	if (o->bytes > o->max)
		return err_set(e, "more than max_size, %" PRId64 " bytes", o->max);
	buf_put(&o->buf, data, len);
	if (o->buf.len < WRITE_SIZE)
		return 0;
	return o->archive != NULL ? zip_data(o, e) : flush(o, e);
}

int
output_finish(struct output *o, struct err *e)
{
	struct stat st;

	if ((o->archive != NULL ? zip_close(o, e) : flush(o, e)) < 0)
		return -1;
	zip_free(o);
	if (fsync(o->fd) < 0 || fstat(o->fd, &st) < 0)
		return err_errno(e, "cannot write to %s", o->name);
	o->bytes = st.st_size;
	if (o->bytes > o->max)
		return err_set(e, "%" PRId64 " bytes, more than max_size, %" PRId64,
		    o->bytes, o->max);
	if (renameat(o->dir, o->temporary, o->dir, o->name) < 0 ||
	    fsync(o->dir) < 0)
		return err_errno(e, "cannot rename to %s", o->name);
	free(o->temporary);
	o->temporary = NULL;
	return 0;
}

void
output_remove(struct output *o)
{
	if (o->temporary == NULL && o->name != NULL)
		unlinkat(o->dir, o->name, 0);
}

void
output_clear(struct output *o)
{
	zip_free(o);
	if (o->temporary != NULL && o->fd >= 0)
		unlinkat(o->dir, o->temporary, 0);
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
	buf_clear(&o->buf);
	free(o->temporary);
	free(o->name);
	o->name = o->temporary = NULL;
}

bool
output_has_zip(void)
{
#ifdef HAVE_ZIP
	return true;
#else
	return false;
#endif
}

const char *
output_library(void)
{
#ifdef HAVE_ZIP
	return archive_version_string();
#else
	return NULL;
#endif
}

/*
 * Old files
 */

/* STEM-JOB-RANDOM.EXTENSION: one of ours, whatever else is in the directory. */
static bool
is_ours(const char *name)
{
	const char *dot = strrchr(name, '.'), *at;

	if (dot == NULL || dot - name < RANDOM_DIGITS + 4)
		return false;
	at = dot - RANDOM_DIGITS;
	if ((int)strspn(at, "0123456789abcdef") != RANDOM_DIGITS || at[-1] != '-')
		return false;
	for (at -= 2; at > name && isdigit((unsigned char)*at); at--)
		;
	return at > name && *at == '-' && at[1] != '-';
}

/* One that nobody writes any more. */
static bool
is_abandoned(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool free_now = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;

	if (fd >= 0)
		close(fd);
	return free_now;
}

size_t
output_expire(int dir, int64_t keep_ms)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	time_t now = time(NULL);
	size_t removed = 0;

	if (list == NULL) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while ((entry = readdir(list)) != NULL) {
		const char *name = entry->d_name;
		bool temporary = *name == '.';
		struct stat st;

		if (!is_ours(name + temporary) ||
		    fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		/* A moment between its making and its lock. */
		if (temporary ? now - st.st_mtime < 10 || !is_abandoned(dir, name) :
		    keep_ms == 0 || now - st.st_mtime < keep_ms / 1000)
			continue;
		removed += unlinkat(dir, name, 0) == 0;
	}
	closedir(list);
	return removed;
}
