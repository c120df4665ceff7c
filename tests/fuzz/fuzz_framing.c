/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a client sends. Wherever they are cut, the head ends at the same place; what is
 * read lies within the bytes that came, and keeps the rules that handlers rely on. */
#include <stdlib.h>

#include "gateway/framing.h"
#include "schema/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

/* The first byte says in which steps the rest arrives. */
static scan_t scan_in_steps(slice_t bytes, size_t step, size_t *n_head)
{
    size_t line = 0;
    for (size_t n = step; n < bytes.n_bytes; n += step) {
        scan_t scan = framing_scan(slice_of(bytes.data, n), &line, n_head);
        must(line <= n);
        if (scan != SCAN_MORE)
            return scan;
    }
    return framing_scan(bytes, &line, n_head);
}

static void check_text(slice_t text)
{
    for (size_t i = 0; i < text.n_bytes; i++)
        must(text.data[i] != '\0' && text.data[i] != '\r' && text.data[i] != '\n');
}

static void check_head(const head_t *head)
{
    must(head->body_bytes <= LIMIT_BODY_BYTES);
    must(head->path.n_bytes > 0 && (head->path.data[0] == '/' || slice_is(head->path, "*")));
    check_text(head->path);
    check_text(head->query);
    for (int i = 0; i < HEADER_COUNT; i++)
        check_text(head->headers[i]);
    must(head->is_http_10 || head->headers[HEADER_HOST].data != NULL);
    fault_t fault;
    if (head->wants_websocket && framing_check_websocket(head, &fault))
        must(head->websocket_key.n_bytes == 24 && head->method == METHOD_GET);
    framing_offers(head->headers[HEADER_SEC_WEBSOCKET_PROTOCOL], "taskwire.v1.json");
}

static void try_head(slice_t bytes)
{
    arena_t *arena = arena_new();
    head_t head;
    fault_t fault;
    if (framing_parse(bytes, arena, &head, &fault))
        check_head(&head);
    else
        must(fault.status >= 400 && fault.status < 600 && fault.detail != NULL);
    arena_destroy(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes < 2)
        return 0;
    slice_t bytes = slice_of(data + 1, n_bytes - 1);
    size_t line = 0;
    size_t n_at_once = 0;
    size_t n_in_steps = 0;
    scan_t scan = framing_scan(bytes, &line, &n_at_once);
    must(scan_in_steps(bytes, 1u + data[0] % 16, &n_in_steps) == scan);
    try_head(bytes);
    if (scan != SCAN_WHOLE)
        return 0;
    must(n_at_once == n_in_steps && n_at_once <= bytes.n_bytes);
    try_head(slice_of(bytes.data, n_at_once));
    return 0;
}
