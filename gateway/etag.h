/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags of tasks and lists. Opaque to clients; inside they name the history, the list and the
 * revision, so that If-Match becomes the revision that a command expects without anything being
 * read first. Source: RFC 9110 §8.8.3 (tags), §13.1 (If-Match, If-None-Match). */
#ifndef TASKWIRE_ETAG_H
#define TASKWIRE_ETAG_H

#include "schema/arena.h"
#include "schema/event.h"

/* An expectation that nothing meets. */
#define ETAG_NEVER INT64_C(-1)

typedef struct {
    uuid_t list;
    uuid_t task;
    int64_t rev;
} task_tag_t;

/* What is shown of a list: all of it counts for If-None-Match, only list and rev for If-Match. */
typedef struct {
    uuid_t list;
    int64_t rev;
    int64_t head;
    int64_t n_open;
    int role;
} list_tag_t;

/* The tag with its quotes, in the arena. */
slice_t etag_of_task(const char epoch[EPOCH_CHARS], const task_tag_t *tag, arena_t *arena);
slice_t etag_of_list(const char epoch[EPOCH_CHARS], const list_tag_t *tag, arena_t *arena);

/* What an If-Match header expects of this task or list: its rev; 0: any that exists (`*`);
 * ETAG_NEVER: one that never was, because the header is malformed or its tags are of something else
 * or of another history. Of several tags the newest counts: revs only grow, so an older one cannot
 * match where a newer one existed. */
int64_t etag_expected_task(slice_t if_match, const char epoch[EPOCH_CHARS], const uuid_t *task);
int64_t etag_expected_list(slice_t if_match, const char epoch[EPOCH_CHARS], const uuid_t *list);

/* Whether an If-None-Match header names this tag (weakly), so that the answer is 304. False if it
 * is absent. */
bool etag_is_known(slice_t if_none_match, slice_t etag);

#endif
