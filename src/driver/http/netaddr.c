/*
 * Addresses: see netaddr.h. The blocks are those of the registries of
 * special-purpose addresses (RFC 6890 and what followed).
 */
#include "config.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "driver/http/netaddr.h"

struct block4 {
	uint32_t net;
	int bits;
};

static const struct block4 private4[] = {
	{ 0x00000000, 8 },	/* this network */
	{ 0x0a000000, 8 },	/* private */
	{ 0x64400000, 10 },	/* shared by carriers */
	{ 0x7f000000, 8 },	/* loopback */
	{ 0xa9fe0000, 16 },	/* link-local; metadata services of clouds */
	{ 0xac100000, 12 },	/* private */
	{ 0xc0000000, 24 },	/* protocol assignments */
	{ 0xc0000200, 24 },	/* documentation */
	{ 0xc0586300, 24 },	/* 6to4 relays */
	{ 0xc0a80000, 16 },	/* private */
	{ 0xc6120000, 15 },	/* benchmarks */
	{ 0xc6336400, 24 },	/* documentation */
	{ 0xcb007100, 24 },	/* documentation */
	{ 0xe0000000, 4 },	/* multicast */
	{ 0xf0000000, 4 },	/* reserved, broadcast */
};

struct block6 {
	uint8_t net[8];		/* none here is longer than 64 bits */
	int bits;
};

static const struct block6 private6[] = {
	{ { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 48 },	/* NAT64, local use */
	{ { 0x01, 0x00 }, 48 },				/* discard, dummy */
	{ { 0x20, 0x01, 0x00, 0x00 }, 23 },		/* assignments, Teredo */
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 },		/* documentation */
	{ { 0x3f, 0xff }, 20 },				/* documentation */
	{ { 0x5f, 0x00 }, 16 },				/* segment routing */
	{ { 0xfc }, 7 },				/* unique local */
	{ { 0xfe, 0x80 }, 10 },				/* link-local */
	{ { 0xfe, 0xc0 }, 10 },				/* site-local, once */
	{ { 0xff }, 8 },				/* multicast */
};

static bool
is_private4(uint32_t addr)
{
	for (size_t i = 0; i < sizeof(private4) / sizeof(private4[0]); i++)
		if ((addr ^ private4[i].net) >> (32 - private4[i].bits) == 0)
			return true;
	return false;
}

static bool
starts_with(const uint8_t *addr, const uint8_t *net, int bits)
{
	int bytes = bits / 8, rest = bits % 8;

	if (memcmp(addr, net, (size_t)bytes) != 0)
		return false;
	return rest == 0 || (addr[bytes] ^ net[bytes]) >> (8 - rest) == 0;
}

static uint32_t
v4_at(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	    (uint32_t)p[2] << 8 | p[3];
}

static bool
is_private6(const uint8_t *a)
{
	static const uint8_t zeros[12];
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };

	if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0)
		return is_private4(v4_at(a + 12));
	if (memcmp(a, zeros, 12) == 0)
		return true;	/* unspecified, loopback, and the old embedding */
	if (a[0] == 0x20 && a[1] == 0x02)	/* 6to4 */
		return is_private4(v4_at(a + 2));
	for (size_t i = 0; i < sizeof(private6) / sizeof(private6[0]); i++)
		if (starts_with(a, private6[i].net, private6[i].bits))
			return true;
	return false;
}

bool
netaddr_is_private(const struct sockaddr *sa)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	switch (sa->sa_family) {
	case AF_INET:
		memcpy(&in, sa, sizeof(in));
		return is_private4(ntohl(in.sin_addr.s_addr));
	case AF_INET6:
		memcpy(&in6, sa, sizeof(in6));
		return is_private6(in6.sin6_addr.s6_addr);
	default:
		return true;
	}
}
