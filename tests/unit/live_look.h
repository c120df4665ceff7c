/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at what a socket of live_world.h got, and what clients usually say. */
#ifndef TASKWIRE_LIVE_LOOK_H
#define TASKWIRE_LIVE_LOOK_H

#include "tests/unit/live_world.h"

/* --- looking at what came --- */

static inline const char *nth(const socket_t *socket, size_t n)
{
    const char *at = (const char *)socket->received.data;
    if (n >= socket->n_received)
        return "";
    while (n-- > 0)
        at += strlen(at) + 1;
    return at;
}

static inline int count(const socket_t *socket, const char *part)
{
    int n = 0;
    for (size_t i = 0; i < socket->n_received; i++)
        n += strstr(nth(socket, i), part) != NULL;
    return n;
}

static inline bool got(const socket_t *socket, const char *part)
{
    return count(socket, part) > 0;
}

static inline void assert_got(const socket_t *socket, const char *part)
{
    for (size_t i = 0; !got(socket, part) && i < socket->n_received && i < 5; i++)
        printf("  got: %s\n", nth(socket, i));
    if (!got(socket, part))
        fail_msg("no message with %s", part);
}

/* The events of a socket are just these revs, in order. */
static inline void assert_revs(const socket_t *socket, int64_t first, int64_t last)
{
    int64_t next = first;
    for (size_t i = 0; i < socket->n_received; i++) {
        const char *rev = strstr(nth(socket, i), "\"rev\":");
        if (strstr(nth(socket, i), "\"op\":\"event\"") == NULL)
            continue;
        assert_non_null(rev);
        assert_int_equal(atoll(rev + 6), next++);
    }
    assert_int_equal(next, last + 1);
}

/* --- talking --- */

static inline const char *id_text(const uuid_t *id)
{
    static char text[UUID_TEXT_CHARS + 1];
    uuid_format(id, text);
    return text;
}

static inline void subscribe_to(socket_t *socket, const uuid_t *stream, const char *more)
{
    buf_t json = {0};
    buf_format(&json, "{\"op\":\"subscribe\",\"stream\":\"%s\"%s}", id_text(stream), more);
    buf_append_byte(&json, '\0');
    w_send(socket, (const char *)json.data);
    buf_fini(&json);
}

static inline void resume(socket_t *socket, const uuid_t *stream, int64_t after)
{
    buf_t more = {0};
    buf_format(&more, ",\"after\":%lld,\"epoch\":\"" W_EPOCHS "\"", (long long)after);
    buf_append_byte(&more, '\0');
    subscribe_to(socket, stream, (const char *)more.data);
    buf_fini(&more);
}

static inline void change_list(int list, int n)
{
    while (n-- > 0)
        w_change(list);
}

#endif
