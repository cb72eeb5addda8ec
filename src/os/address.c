/*
 * Addresses and networks: see address.h.
 */
#include "config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "os/address.h"

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

static bool
is_v4(const struct address *a)
{
	return memcmp(a->bytes, mapped, sizeof(mapped)) == 0;
}

struct address
address_of(const struct sockaddr *sa)
{
	struct address a = { .is_unix = false };

	if (sa->sa_family == AF_INET) {
		memcpy(a.bytes, mapped, sizeof(mapped));
		memcpy(a.bytes + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr,
		    4);
	} else if (sa->sa_family == AF_INET6) {
		memcpy(a.bytes,
		    &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	} else {
		a.is_unix = true;
	}
	return a;
}

bool
address_parse(const char *text, struct address *a)
{
	struct address got = { .is_unix = false };

	if (inet_pton(AF_INET, text, got.bytes + 12) == 1)
		memcpy(got.bytes, mapped, sizeof(mapped));
	else if (inet_pton(AF_INET6, text, got.bytes) != 1)
		return false;
	*a = got;
	return true;
}

char *
address_text(const struct address *a, char buf[ADDRESS_MAX])
{
	if (a->is_unix)
		strlcpy(buf, "unix", ADDRESS_MAX);
	else if (is_v4(a))
		inet_ntop(AF_INET, a->bytes + 12, buf, ADDRESS_MAX);
	else
		inet_ntop(AF_INET6, a->bytes, buf, ADDRESS_MAX);
	return buf;
}

bool
address_is_loopback(const struct address *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	return !a->is_unix && (is_v4(a) ? a->bytes[12] == 127 :
	    memcmp(a->bytes, one, sizeof(one)) == 0);
}

bool
address_is_same(const struct address *a, const struct address *b)
{
	return a->is_unix == b->is_unix &&
	    memcmp(a->bytes, b->bytes, is_v4(a) ? 16 : 8) == 0;
}

const char *
network_parse(const char *text, struct network *n)
{
	static const char wrong[] = "needs an address or a network, like "
	    "10.0.0.0/8 or fd00::/8, or unix";
	struct network got = { .bits = 128 };
	char address[ADDRESS_MAX];
	const char *slash = strchr(text, '/');
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	char *end;

	if (strcmp(text, "unix") == 0) {
		got.address.is_unix = true;
	} else {
		if (len >= sizeof(address))
			return wrong;
		memcpy(address, text, len);
		address[len] = '\0';
		if (!address_parse(address, &got.address))
			return wrong;
	}
	if (slash != NULL) {
		int most = is_v4(&got.address) ? 32 : 128;
		long bits = strtol(slash + 1, &end, 10);

		if (!isdigit((unsigned char)slash[1]) || *end != '\0' || bits > most)
			return "what is behind the / is a number of bits, at most "
			    "32 of IPv4 and 128 of IPv6";
		got.bits = (int)bits + 128 - most;
	}
	if (n != NULL)
		*n = got;
	return NULL;
}

bool
network_has(const struct network *n, const struct address *a)
{
	int bytes = n->bits / 8, rest = n->bits % 8;

	if (n->address.is_unix || a->is_unix)
		return n->address.is_unix && a->is_unix;
	return memcmp(a->bytes, n->address.bytes, (size_t)bytes) == 0 &&
	    (rest == 0 ||
	    (a->bytes[bytes] ^ n->address.bytes[bytes]) >> (8 - rest) == 0);
}
