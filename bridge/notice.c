/* SPDX-License-Identifier: Apache-2.0 */
/* One notice is under way at a time, so that a database that answers slowly is asked less. The
 * first of a series goes at once; the pause comes after it. */
#include "bridge/notice.h"

#include <stdio.h>

#define DIGITS 16

void notice_format(const notice_t *self, char out[NOTICE_CHARS + 1])
{
    snprintf(out, NOTICE_CHARS + 1, "%016llx %016llx", (unsigned long long)self->process,
             (unsigned long long)self->shards);
}

/* Lower case only, as it is written. */
static bool parse_digits(const char *text, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < DIGITS; i++) {
        char c = text[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && (c < 'a' || c > 'f'))
            return false;
        *out = *out << 4 | (uint64_t)(is_digit ? c - '0' : c - 'a' + 10);
    }
    return true;
}

bool notice_parse(const char *text, notice_t *out)
{
    return parse_digits(text, &out->process) && text[DIGITS] == ' ' &&
           parse_digits(text + DIGITS + 1, &out->shards) && text[NOTICE_CHARS] == '\0';
}

void notice_pace_add(notice_pace_t *self, shard_set_t shards)
{
    self->waiting |= shards;
}

shard_set_t notice_pace_take(notice_pace_t *self, int64_t mono_us)
{
    if (self->under_way != 0 || mono_us < self->next_mono_us)
        return 0;
    self->under_way = self->waiting;
    self->waiting = 0;
    if (self->under_way != 0)
        self->next_mono_us = mono_us + NOTICE_PAUSE_US;
    return self->under_way;
}

void notice_pace_arrived(notice_pace_t *self)
{
    self->under_way = 0;
}

void notice_pace_failed(notice_pace_t *self, int64_t mono_us, int64_t retry_us)
{
    self->waiting |= self->under_way;
    self->under_way = 0;
    self->next_mono_us = mono_us + retry_us;
}

int64_t notice_pace_wait_us(const notice_pace_t *self, int64_t mono_us)
{
    if (self->waiting == 0 || self->under_way != 0)
        return INT64_MAX;
    return self->next_mono_us > mono_us ? self->next_mono_us - mono_us : 0;
}
