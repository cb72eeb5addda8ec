/*
 * Encrypted payloads: AES-256-GCM in an envelope that is a JSON object,
 *
 *	{"$enc":{"v":1,"k":"KEY","n":"NONCE","c":"CIPHERTEXT"}}
 *
 * KEY names the key, NONCE is 12 random bytes, CIPHERTEXT ends with the tag of
 * 16 bytes; both are base64. What is authenticated with it is the text
 *
 *	jobq 1 KEY QUEUE FIELD
 *
 * so it is of no use in another queue, or as another part of a job. Pure, but
 * for the nonce.
 */
#ifndef CORE_SEAL_H
#define CORE_SEAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

#define SEAL_KEY_SIZE 32
#define SEAL_ID_MAX 64		/* bytes of a key's name: letters, digits and _ . - */
#define SEAL_FRAME_MAX 160	/* an envelope is 4/3 of its text and at most so much */

struct seal_key {
	char id[SEAL_ID_MAX + 1];
	unsigned char bytes[SEAL_KEY_SIZE];
};

/* The first encrypts, all decrypt. */
struct keyring {
	struct seal_key *keys;
	size_t count;
};

/* What is wrong with a key's name; NULL: nothing. */
const char *seal_check_id(const char *id);
/* -1: that is no base64 of 32 bytes. */
int seal_key_parse(struct seal_key *, const char *id, const char *base64);
const struct seal_key *keyring_find(const struct keyring *, const char *id);
/* Copies the key. */
void keyring_add(struct keyring *, const struct seal_key *);
void keyring_free(struct keyring *);	/* and wipe */

/* Is the JSON text an object with the member $enc? Then it is an envelope, or
 * wants to be one. */
bool seal_is(const char *json);

/*
 * Put text into an envelope, appended to out.
 *   field	what it is of the job: data, result, error, note, output
 * -1 with e: OpenSSL cannot.
 */
int seal(const struct keyring *, const char *queue, const char *field,
    const char *text, size_t len, struct buf *out, struct err *e);

/*
 * In the place of the text, which is the caller's: a job's data as an envelope,
 * unless it is one already; so with the data of a job that is an object as
 * enqueue_object() takes it, and of each in an array of those. The JSON is valid.
 */
int seal_data(const struct keyring *, const char *queue, char **json, struct err *e);
int seal_job(const struct keyring *, const char *queue, char **json, struct err *e);
int seal_jobs(const struct keyring *, const char *queue, char **json, struct err *e);

enum unsealed {
	UNSEALED = 0,
	UNSEAL_NO_KEY,		/* somebody has to give us the key */
	UNSEAL_BROKEN,		/* no envelope, or changed, or for something else */
};
/*
 * Take it out again, appended to out and followed by a NUL. Not UNSEALED: e
 * says why, in words that name the key and nothing else of the envelope.
 */
enum unsealed unseal(const struct keyring *, const char *queue,
    const char *field, const char *json, struct buf *out, struct err *e);

#endif
