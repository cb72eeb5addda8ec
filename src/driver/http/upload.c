/*
 * What is sent from files: see upload.h.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "driver/below.h"
#include "driver/http/upload.h"

int
upload_open(struct upload *u, const struct pieces *pieces, const char *dir,
    struct err *e)
{
	struct stat st;

	*u = (struct upload){ .pieces = pieces };
	u->fds = xreallocarray(NULL, pieces->n, sizeof(*u->fds));
	u->sizes = xreallocarray(NULL, pieces->n, sizeof(*u->sizes));
	memset(u->fds, 0xff, pieces->n * sizeof(*u->fds));
	for (size_t i = 0; i < pieces->n; i++) {
		const struct piece *p = &pieces->v[i];

		u->sizes[i] = (int64_t)p->bytes.len;
		if (p->path != NULL) {
			if ((u->fds[i] = below_open(dir, p->path, e)) < 0)
				return -1;
			if (fstat(u->fds[i], &st) < 0)
				return err_errno(e, "cannot read the file");
			u->sizes[i] = st.st_size;
		}
		u->size += u->sizes[i];
	}
	return 0;
}

void
upload_close(struct upload *u)
{
	for (size_t i = 0; u->fds != NULL && i < u->pieces->n; i++)
		if (u->fds[i] >= 0)
			close(u->fds[i]);
	free(u->fds);
	free(u->sizes);
	*u = (struct upload){ .pieces = NULL };
}

static ssize_t
read_piece(const struct upload *u, size_t i, int64_t from, char *out, size_t len)
{
	ssize_t n;

	if (u->fds[i] < 0) {
		memcpy(out, u->pieces->v[i].bytes.data + from, len);
		return (ssize_t)len;
	}
	do {
		n = pread(u->fds[i], out, len, from);
	} while (n < 0 && errno == EINTR);
	return n;
}

ssize_t
upload_read(struct upload *u, void *buf, size_t len, struct err *e)
{
	int64_t from = u->at;
	size_t i = 0;
	ssize_t n;

	while (i < u->pieces->n && from >= u->sizes[i])
		from -= u->sizes[i++];
	if (i == u->pieces->n)
		return 0;
	if (u->sizes[i] - from < (int64_t)len)
		len = (size_t)(u->sizes[i] - from);
	n = read_piece(u, i, from, buf, len);
	if (n < 0)
		return err_errno(e, "cannot read the file");
	if (n == 0)
		return err_set(e, "the file became shorter while it was sent");
	u->at += n;
	return n;
}

void
upload_seek(struct upload *u, int64_t at)
{
	u->at = at;
}
