/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over the table: it has some forty rows, most of which differ from the path within the
 * first bytes behind /v1/. */
#include "gateway/router.h"

static const char *const method_names[] = {
    [METHOD_GET] = "GET",         [METHOD_HEAD] = "HEAD",   [METHOD_POST] = "POST",
    [METHOD_PUT] = "PUT",         [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE",
    [METHOD_OPTIONS] = "OPTIONS",
};

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Undoes percent-encoding, which changes nothing in the paths that there are but is allowed. An
 * encoded slash is none. */
static bool decode(slice_t path, uint8_t out[ROUTE_MAX_PATH], size_t *n_out)
{
    *n_out = 0;
    for (size_t i = 0; i < path.n_bytes; i++) {
        uint8_t c = path.data[i];
        if (c == '%') {
            int high = i + 2 < path.n_bytes ? hex_value(path.data[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_value(path.data[i + 2]);
            if (low < 0)
                return false;
            c = (uint8_t)(high << 4 | low);
            if (c == '/')
                return false;
            i += 2;
        }
        if (*n_out == ROUTE_MAX_PATH)
            return false;
        out[(*n_out)++] = c;
    }
    return true;
}

/* Takes the id that stands at the start of the path, up to the next slash. */
static bool take_id(slice_t *path, uuid_t *out)
{
    if (path->n_bytes < UUID_TEXT_CHARS || !uuid_parse(slice_of(path->data, UUID_TEXT_CHARS), out))
        return false;
    *path = slice_of(path->data + UUID_TEXT_CHARS, path->n_bytes - UUID_TEXT_CHARS);
    return path->n_bytes == 0 || path->data[0] == '/';
}

static bool matches(const char *pattern, slice_t path, uuid_t ids[ROUTE_MAX_IDS])
{
    size_t n_ids = 0;
    while (*pattern != '\0') {
        if (*pattern == '{') {
            if (n_ids == ROUTE_MAX_IDS || !take_id(&path, &ids[n_ids++]))
                return false;
            pattern = strchr(pattern, '}') + 1;
            continue;
        }
        if (path.n_bytes == 0 || path.data[0] != (uint8_t)*pattern)
            return false;
        path = slice_of(path.data + 1, path.n_bytes - 1);
        pattern++;
    }
    return path.n_bytes == 0;
}

void router_match(const route_t *routes, size_t n_routes, unsigned hidden, method_t method,
                  slice_t path, route_match_t *out)
{
    uint8_t bytes[ROUTE_MAX_PATH];
    size_t n_bytes;
    *out = (route_match_t){0};
    if (!decode(path, bytes, &n_bytes))
        return;
    method_t wanted = method == METHOD_HEAD ? METHOD_GET : method;
    for (size_t i = 0; i < n_routes; i++) {
        uuid_t ids[ROUTE_MAX_IDS] = {0};
        if ((hidden & 1u << routes[i].whom) != 0 ||
            !matches(routes[i].pattern, slice_of(bytes, n_bytes), ids))
            continue;
        out->methods |= 1u << routes[i].method;
        if (routes[i].method == wanted) {
            out->route = &routes[i];
            memcpy(out->ids, ids, sizeof ids);
            return;
        }
    }
}

void router_put_methods(unsigned methods, buf_t *out)
{
    if ((methods & 1u << METHOD_GET) != 0)
        methods |= 1u << METHOD_HEAD;
    methods |= 1u << METHOD_OPTIONS;
    const char *separator = "";
    for (unsigned i = 0; i < sizeof method_names / sizeof *method_names; i++) {
        if ((methods & 1u << i) == 0)
            continue;
        buf_format(out, "%s%s", separator, method_names[i]);
        separator = ", ";
    }
}
