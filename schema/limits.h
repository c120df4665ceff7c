/* SPDX-License-Identifier: Apache-2.0 */
/* Every limit that a client can meet, in one place. */
#ifndef TASKWIRE_LIMITS_H
#define TASKWIRE_LIMITS_H

#define LIMIT_BODY_BYTES (1024 * 1024)
#define LIMIT_HEADER_BYTES (16 * 1024)
#define LIMIT_WS_MESSAGE_BYTES (1024 * 1024)
#define LIMIT_WS_ANONYMOUS_BYTES (4 * 1024)
#define LIMIT_TITLE_CHARS 500
#define LIMIT_NOTES_BYTES (64 * 1024)
#define LIMIT_TAGS 32
#define LIMIT_TAG_CHARS 64
#define LIMIT_REMINDERS 16
#define LIMIT_POSITION_CHARS 64
/* A task, its subtasks, theirs …: so many levels, and so many below the top one. A command changes
 * all of them in one transaction. */
#define LIMIT_TASK_LEVELS 8
#define LIMIT_SUBTASKS 1000
#define LIMIT_RULE_BYTES 500
#define LIMIT_SKIPS 100 /* dates of a rule without an occurrence */
#define LIMIT_EMAIL_BYTES 254
#define LIMIT_NAME_CHARS 200
#define LIMIT_PASSWORD_MIN_CHARS 8
#define LIMIT_PASSWORD_BYTES 1024
#define LIMIT_TOKEN_LISTS 100
#define LIMIT_MEMBERS 1000
/* Of a removed member's tasks so many lose him with him, open ones first. */
#define LIMIT_RELEASED_TASKS 5000
#define LIMIT_RELEASED_BYTES (16 * 1024 * 1024)
#define LIMIT_BULK_COMMANDS 1000
#define LIMIT_PAGE 500
#define LIMIT_PAGE_DEFAULT 50

/* Of any JSON or msgpack value from outside. */
#define LIMIT_DEPTH 16
#define LIMIT_ELEMENTS 65536
#define LIMIT_STRING_BYTES (256 * 1024)

/* One event or task, encoded. The largest legal task has notes of 64 KiB, and an event may hold
 * them three times. */
#define LIMIT_EVENT_BYTES (512 * 1024)

#endif
