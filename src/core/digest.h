/*
 * SHA-256 and HMAC-SHA-256, for tokens, cookies and signatures.
 */
#ifndef CORE_DIGEST_H
#define CORE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#define DIGEST_SIZE 32
#define DIGEST_HEX_MAX (2 * DIGEST_SIZE + 1)

void digest_sha256(unsigned char out[DIGEST_SIZE], const void *data, size_t len);
void digest_hmac(unsigned char out[DIGEST_SIZE], const void *key, size_t key_len,
    const void *data, size_t len);
/* Takes as long for two that differ as for two that do not. */
bool digest_equal(const unsigned char a[DIGEST_SIZE], const unsigned char b[DIGEST_SIZE]);

/* 64 hexadecimal digits, lower case; returns buf. */
char *digest_hex(char buf[DIGEST_HEX_MAX], const unsigned char digest[DIGEST_SIZE]);
/* -1: it is not 64 hexadecimal digits, of either case. */
int digest_parse(unsigned char out[DIGEST_SIZE], const char *hex);

#endif
