/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses are compared in binary, because one address has many spellings; IPv4 that comes mapped
 * into IPv6 is IPv4. A range of IPv6 holds no IPv4 address, not even ::/0. */
#include "gateway/origin.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <strings.h>

#define ADDRESS_CHARS 64
/* What stands before an IPv4 address that is mapped into IPv6. */
#define MAPPED_BITS 96

typedef struct {
    bool is_v6;
    uint8_t bytes[16]; /* IPv4: the first four */
} ip_t;

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static slice_t trim(slice_t text)
{
    while (text.n_bytes > 0 && is_space(text.data[0]))
        text = slice_of(text.data + 1, text.n_bytes - 1);
    while (text.n_bytes > 0 && is_space(text.data[text.n_bytes - 1]))
        text.n_bytes--;
    return text;
}

/* Takes the last item of a list separated by commas. */
static bool take_last(slice_t *list, slice_t *item)
{
    if (list->data == NULL)
        return false;
    size_t n = list->n_bytes;
    while (n > 0 && list->data[n - 1] != ',')
        n--;
    *item = trim(slice_of(list->data + n, list->n_bytes - n));
    *list = n == 0 ? slice_none() : slice_of(list->data, n - 1);
    return true;
}

/* --- web origins --- */

static bool same_text(slice_t a, slice_t b)
{
    return a.n_bytes == b.n_bytes &&
           strncasecmp((const char *)a.data, (const char *)b.data, a.n_bytes) == 0;
}

bool origin_is_in(slice_t origin, const char *origins)
{
    slice_t list = slice_str(origins);
    slice_t item;
    while (take_last(&list, &item)) {
        if (item.n_bytes > 0 && same_text(origin, item))
            return true;
    }
    return false;
}

bool origin_is_host(slice_t origin, slice_t host, bool is_https)
{
    static const char *const schemes[] = {"https://", "http://"};
    if (host.n_bytes == 0)
        return false;
    for (size_t i = 0; i < (is_https ? 1 : sizeof schemes / sizeof *schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (origin.n_bytes > n && same_text(slice_of(origin.data, n), slice_str(schemes[i])) &&
            same_text(slice_of(origin.data + n, origin.n_bytes - n), host))
            return true;
    }
    return false;
}

/* --- addresses --- */

static void unmap(ip_t *self)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    if (!self->is_v6 || memcmp(self->bytes, prefix, sizeof prefix) != 0)
        return;
    uint8_t v4[4];
    memcpy(v4, self->bytes + sizeof prefix, sizeof v4);
    *self = (ip_t){0};
    memcpy(self->bytes, v4, sizeof v4);
}

static bool parse(slice_t text, ip_t *out)
{
    char copy[ADDRESS_CHARS];
    *out = (ip_t){0};
    if (text.n_bytes == 0 || text.n_bytes >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.n_bytes);
    copy[text.n_bytes] = '\0';
    if (inet_pton(AF_INET, copy, out->bytes) == 1)
        return true;
    out->is_v6 = inet_pton(AF_INET6, copy, out->bytes) == 1;
    bool ok = out->is_v6;
    unmap(out);
    return ok;
}

/* A range of addresses: those that begin with the same bits. */
typedef struct {
    ip_t first;
    unsigned n_bits;
} range_t;

static bool parse_n_bits(slice_t text, unsigned *out)
{
    *out = 0;
    if (text.n_bytes == 0 || text.n_bytes > 3)
        return false;
    for (size_t i = 0; i < text.n_bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *out = *out * 10 + (text.data[i] - '0');
    }
    return true;
}

/* An address, or a range in CIDR notation (RFC 4632). */
static bool parse_range(slice_t text, range_t *out)
{
    const uint8_t *slash = memchr(text.data, '/', text.n_bytes);
    size_t n_address = slash == NULL ? text.n_bytes : (size_t)(slash - text.data);
    slice_t address = slice_of(text.data, n_address);
    if (!parse(address, &out->first))
        return false;
    unsigned n_most = out->first.is_v6 ? 128 : 32;
    out->n_bits = n_most;
    if (slash == NULL)
        return true;
    if (!parse_n_bits(slice_of(slash + 1, text.n_bytes - n_address - 1), &out->n_bits))
        return false;
    bool was_mapped = !out->first.is_v6 && memchr(address.data, ':', n_address) != NULL;
    if (was_mapped && out->n_bits < MAPPED_BITS)
        return false;
    out->n_bits -= was_mapped ? MAPPED_BITS : 0;
    return out->n_bits <= n_most;
}

static bool is_in_range(const ip_t *ip, const range_t *range)
{
    size_t n_bytes = range->n_bits / 8;
    unsigned n_rest = range->n_bits % 8;
    if (ip->is_v6 != range->first.is_v6 || memcmp(ip->bytes, range->first.bytes, n_bytes) != 0)
        return false;
    return n_rest == 0 || (ip->bytes[n_bytes] ^ range->first.bytes[n_bytes]) >> (8 - n_rest) == 0;
}

static bool is_covered(slice_t peer, slice_t item)
{
    ip_t ip;
    range_t range;
    if (!parse(peer, &ip))
        return slice_eq(peer, item); /* the other end of a Unix socket */
    return parse_range(item, &range) && is_in_range(&ip, &range);
}

bool origin_is_trusted(slice_t peer, const char *trusted)
{
    slice_t list = slice_str(trusted);
    slice_t item;
    while (take_last(&list, &item)) {
        if (item.n_bytes > 0 && is_covered(peer, item))
            return true;
    }
    return false;
}

bool origin_is_forwarded_https(slice_t forwarded_proto)
{
    slice_t last;
    return take_last(&forwarded_proto, &last) && same_text(last, slice_str("https"));
}

slice_t origin_client_address(slice_t peer, slice_t forwarded_for, const char *trusted,
                              arena_t *arena)
{
    slice_t client = peer;
    slice_t item;
    while (origin_is_trusted(client, trusted) && take_last(&forwarded_for, &item)) {
        ip_t ignored;
        if (!parse(item, &ignored))
            break;
        client = item;
    }
    return client.data == peer.data ? peer : arena_copy(arena, client);
}

void origin_address_key(slice_t address, uint8_t out[ORIGIN_KEY_BYTES])
{
    ip_t parsed;
    memset(out, 0, ORIGIN_KEY_BYTES);
    if (!parse(address, &parsed)) {
        crypto_generichash(out, ORIGIN_KEY_BYTES, address.data, address.n_bytes, NULL, 0);
        return;
    }
    out[0] = parsed.is_v6 ? 6 : 4;
    memcpy(out + 1, parsed.bytes, parsed.is_v6 ? 8 : 4);
}
