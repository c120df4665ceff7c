/* SPDX-License-Identifier: Apache-2.0 */
/* Reading answers in binary, and what failures mean. Columns are of the types that our own
 * statements name, so a value of another length can only come from a statement that does not fit
 * its reader: it reads as zero, never beyond its end. A NULL result (a lost or skipped statement)
 * has no rows and no words. */
#include "actors/pg_private.h"

#include <stdio.h>
#include <stdlib.h>

/* dimensions, flags, type of the items, length, lower bound */
#define ARRAY_HEAD_BYTES 20

static const uint8_t *cell(const pg_result_t *self, int row, int col, size_t *n_bytes)
{
    *n_bytes = 0;
    if (pg_is_null(self, row, col))
        return NULL;
    *n_bytes = (size_t)PQgetlength(self->answer, row, col);
    return (const uint8_t *)PQgetvalue(self->answer, row, col);
}

static uint64_t read_number(const uint8_t *at, size_t n_bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n_bytes; i++)
        value = value << 8 | at[i];
    return value;
}

int pg_rows(const pg_result_t *self)
{
    return self == NULL ? 0 : PQntuples(self->answer);
}

bool pg_is_null(const pg_result_t *self, int row, int col)
{
    return self == NULL || row < 0 || row >= PQntuples(self->answer) || col < 0 ||
           col >= PQnfields(self->answer) || PQgetisnull(self->answer, row, col);
}

bool pg_bool(const pg_result_t *self, int row, int col)
{
    size_t n_bytes;
    const uint8_t *at = cell(self, row, col, &n_bytes);
    return n_bytes == 1 && at[0] != 0;
}

int64_t pg_int(const pg_result_t *self, int row, int col)
{
    size_t n_bytes;
    const uint8_t *at = cell(self, row, col, &n_bytes);
    if (n_bytes == 2)
        return (int16_t)read_number(at, 2);
    if (n_bytes == 4)
        return (int32_t)read_number(at, 4);
    return n_bytes == 8 ? (int64_t)read_number(at, 8) : 0;
}

uuid_t pg_uuid(const pg_result_t *self, int row, int col)
{
    uuid_t id = UUID_NIL;
    size_t n_bytes;
    const uint8_t *at = cell(self, row, col, &n_bytes);
    if (n_bytes == UUID_BYTES)
        memcpy(id.bytes, at, UUID_BYTES);
    return id;
}

slice_t pg_bytes(const pg_result_t *self, int row, int col)
{
    size_t n_bytes;
    const uint8_t *at = cell(self, row, col, &n_bytes);
    return slice_of(at, n_bytes);
}

int64_t pg_instant(const pg_result_t *self, int row, int col)
{
    size_t n_bytes;
    const uint8_t *at = cell(self, row, col, &n_bytes);
    if (n_bytes != 8)
        return INSTANT_NONE;
    int64_t since_2000 = (int64_t)read_number(at, 8);
    int64_t at_us;
    /* -infinity and infinity are the two ends of the range. */
    if (since_2000 == INT64_MIN)
        return INSTANT_MIN;
    return __builtin_add_overflow(since_2000, PG_EPOCH_US, &at_us) ? INSTANT_MAX : at_us;
}

size_t pg_uuid_array(const pg_result_t *self, int row, int col, uuid_t *out, size_t max)
{
    size_t n_bytes;
    const uint8_t *at = cell(self, row, col, &n_bytes);
    if (n_bytes < ARRAY_HEAD_BYTES || read_number(at, 4) != 1)
        return 0;
    size_t n = (size_t)read_number(at + 12, 4);
    size_t used = ARRAY_HEAD_BYTES;
    size_t found = 0;
    for (size_t i = 0; i < n && n_bytes - used >= 4; i++) {
        int32_t item_bytes = (int32_t)read_number(at + used, 4);
        used += 4;
        if (item_bytes < 0)
            continue;
        if (item_bytes != UUID_BYTES || n_bytes - used < UUID_BYTES)
            break;
        if (found < max)
            memcpy(out[found].bytes, at + used, UUID_BYTES);
        used += UUID_BYTES;
        found++;
    }
    return found;
}

int64_t pg_changed(const pg_result_t *self)
{
    /* PQcmdTuples wants a pointer to non-const, but only reads. */
    return self == NULL ? 0 : strtoll(PQcmdTuples((PGresult *)self->answer), NULL, 10);
}

const char *pg_sqlstate(const pg_result_t *self)
{
    if (self == NULL)
        return "";
    return self->sqlstate != NULL ? self->sqlstate : pg_answer_sqlstate(self->answer);
}

static const char *field_or_empty(const PGresult *answer, int field)
{
    const char *text = PQresultErrorField(answer, field);
    return text == NULL ? "" : text;
}

const char *pg_message(const pg_result_t *self)
{
    if (self == NULL)
        return "";
    return self->message != NULL ? self->message
                                 : field_or_empty(self->answer, PG_DIAG_MESSAGE_PRIMARY);
}

const char *pg_constraint(const pg_result_t *self)
{
    return self == NULL ? "" : field_or_empty(self->answer, PG_DIAG_CONSTRAINT_NAME);
}

bool pg_answer_is_good(const PGresult *answer)
{
    ExecStatusType status = PQresultStatus(answer);
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
}

const char *pg_answer_sqlstate(const PGresult *answer)
{
    return field_or_empty(answer, PG_DIAG_SQLSTATE);
}

pg_fate_t pg_fate_of(const char *sqlstate, bool *is_known)
{
    static const char *const again[] = {"08", "40", "53", "55", "57", "58", "25P03", "25006"};
    *is_known = true;
    for (size_t i = 0; i < sizeof again / sizeof again[0]; i++) {
        if (strncmp(sqlstate, again[i], strlen(again[i])) == 0)
            return PG_RETRY;
    }
    *is_known = strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0;
    return PG_REJECTED;
}

void pg_words(char out[PG_WORDS_CHARS], const char *text)
{
    size_t n = 0;
    bool is_gap = false;
    for (; *text != '\0' && n + 2 < PG_WORDS_CHARS; text++) {
        unsigned char c = (unsigned char)*text;
        if (c <= ' ' || c == 0x7f) {
            is_gap = n > 0;
            continue;
        }
        if (is_gap)
            out[n++] = ' ';
        is_gap = false;
        out[n++] = c == '"' ? '\'' : (char)c;
    }
    out[n] = '\0';
}
