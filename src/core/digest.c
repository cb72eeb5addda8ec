/*
 * Digests: see digest.h.
 */
#include "config.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/digest.h"

void
digest_sha256(unsigned char out[DIGEST_SIZE], const void *data, size_t len)
{
	/* All there is to fail is memory; a digest of nothing would fit all. */
	if (EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) != 1)
		abort();
}

void
digest_hmac(unsigned char out[DIGEST_SIZE], const void *key, size_t key_len,
    const void *data, size_t len)
{
	/* HMAC() would look all of it up at each call. No key stays here. */
	static EVP_MAC_CTX *blank;
	EVP_MAC_CTX *ctx;
	char name[] = "SHA256";
	OSSL_PARAM digest[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
		OSSL_PARAM_END,
	};

	if (blank == NULL) {
		EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

		blank = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
		EVP_MAC_free(mac);
		if (blank == NULL || EVP_MAC_init(blank,
		    (const unsigned char *)"", 0, digest) != 1)
			abort();
	}
	ctx = EVP_MAC_CTX_dup(blank);
	if (ctx == NULL || EVP_MAC_init(ctx, key, key_len, NULL) != 1 ||
	    EVP_MAC_update(ctx, data, len) != 1 ||
	    EVP_MAC_final(ctx, out, NULL, DIGEST_SIZE) != 1)
		abort();
	EVP_MAC_CTX_free(ctx);
}

bool
digest_equal(const unsigned char a[DIGEST_SIZE], const unsigned char b[DIGEST_SIZE])
{
	return CRYPTO_memcmp(a, b, DIGEST_SIZE) == 0;
}

char *
digest_hex(char buf[DIGEST_HEX_MAX], const unsigned char digest[DIGEST_SIZE])
{
	for (size_t i = 0; i < DIGEST_SIZE; i++)
		snprintf(buf + 2 * i, 3, "%02x", digest[i]);
	return buf;
}

int
digest_parse(unsigned char out[DIGEST_SIZE], const char *hex)
{
	if (strlen(hex) != 2 * DIGEST_SIZE ||
	    strspn(hex, "0123456789abcdefABCDEF") != 2 * DIGEST_SIZE)
		return -1;
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		char pair[] = { hex[2 * i], hex[2 * i + 1], '\0' };

		out[i] = (unsigned char)strtoul(pair, NULL, 16);
	}
	return 0;
}
