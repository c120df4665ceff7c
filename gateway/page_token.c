/* SPDX-License-Identifier: Apache-2.0 */
/* base64url of MAC and place. The MAC also covers the purpose, with its length in front, so that
 * the bytes cannot be divided differently. */
#include "gateway/page_token.h"

#include <sodium.h>

#define MAC_BYTES 16
#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

static void make_mac(const uint8_t *key, slice_t purpose, slice_t place, uint8_t out[MAC_BYTES])
{
    uint64_t n_purpose = purpose.n_bytes;
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, key, PAGE_TOKEN_KEY_BYTES, MAC_BYTES);
    crypto_generichash_update(&hash, (const uint8_t *)&n_purpose, sizeof n_purpose);
    crypto_generichash_update(&hash, purpose.data, purpose.n_bytes);
    crypto_generichash_update(&hash, place.data, place.n_bytes);
    crypto_generichash_final(&hash, out, MAC_BYTES);
}

slice_t page_token_encode(const uint8_t key[PAGE_TOKEN_KEY_BYTES], slice_t purpose, slice_t place,
                          arena_t *arena)
{
    size_t n_bytes = MAC_BYTES + place.n_bytes;
    uint8_t *bytes = arena_alloc(arena, n_bytes);
    make_mac(key, purpose, place, bytes);
    memcpy(bytes + MAC_BYTES, place.data, place.n_bytes);
    size_t n_text = sodium_base64_encoded_len(n_bytes, VARIANT);
    char *text = arena_alloc(arena, n_text);
    sodium_bin2base64(text, n_text, bytes, n_bytes, VARIANT);
    return slice_of(text, n_text - 1);
}

bool page_token_decode(const uint8_t key[PAGE_TOKEN_KEY_BYTES], slice_t purpose, slice_t token,
                       arena_t *arena, slice_t *place)
{
    size_t n_bytes = 0;
    const char *end = NULL;
    const char *text = (const char *)token.data;
    if (token.n_bytes > (MAC_BYTES + PAGE_TOKEN_MAX_PLACE) * 4 / 3 + 4)
        return false;
    uint8_t *bytes = arena_alloc(arena, token.n_bytes + 1);
    if (sodium_base642bin(bytes, token.n_bytes + 1, text, token.n_bytes, NULL, &n_bytes, &end,
                          VARIANT) != 0)
        return false;
    if (end != text + token.n_bytes || n_bytes < MAC_BYTES)
        return false;
    uint8_t mac[MAC_BYTES];
    *place = slice_of(bytes + MAC_BYTES, n_bytes - MAC_BYTES);
    make_mac(key, purpose, *place, mac);
    return sodium_memcmp(mac, bytes, MAC_BYTES) == 0;
}
