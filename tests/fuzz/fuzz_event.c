/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an event and as a task. An event that is accepted and has only known keys encodes to
 * the very same bytes; a task that is accepted encodes to what decodes to the same task. */
#include <stdlib.h>

#include "schema/event.h"
#include "schema/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static void try_event(slice_t bytes)
{
    event_t event;
    event_t again;
    if (!event_decode(bytes, &event))
        return;
    buf_t out = {0};
    event_put_json(&event, &out);
    event_put_client_json(&event, &out);
    buf_reset(&out);
    if (event.type != EVENT_UNKNOWN) {
        event_encode(&event, &out);
        must(out.n_bytes <= bytes.n_bytes && event_decode(buf_slice(&out), &again));
        if (out.n_bytes == bytes.n_bytes)
            must(slice_eq(buf_slice(&out), bytes));
    }
    buf_fini(&out);
}

static void try_task(slice_t bytes, arena_t *arena)
{
    task_t task;
    task_t copy;
    task_t again;
    if (!task_decode(bytes, arena, &task))
        return;
    task_copy(&task, arena, &copy);
    buf_t out = {0};
    task_encode(&copy, &out);
    must(mp_is_canonical(buf_slice(&out)) && task_decode(buf_slice(&out), arena, &again));
    must(task_diff(&task, &again) == 0);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    slice_t bytes = slice_of(data, n_bytes);
    arena_t *arena = arena_new();
    try_event(bytes);
    try_task(bytes, arena);
    arena_destroy(&arena);
    return 0;
}
