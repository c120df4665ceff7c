/* SPDX-License-Identifier: Apache-2.0 */
/* A tag is t-EPOCH-LIST-TASK-REV or l-EPOCH-LIST-REV-HEAD-OPEN-ROLE: ids as 22 characters of
 * base64url, numbers in decimal. Nobody needs to keep them secret; they are only not to be relied
 * upon. What a client sends is compared part by part with what the tag of the thing at hand would
 * begin with, never decoded. */
#include "gateway/etag.h"

#include <sodium.h>

#define MAX_TAG_CHARS 160
#define ID_CHARS 22
#define MAX_REV_DIGITS 18

static void format_id(const uuid_t *id, char out[ID_CHARS + 1])
{
    sodium_bin2base64(out, ID_CHARS + 1, id->bytes, UUID_BYTES,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

slice_t etag_of_task(const char epoch[EPOCH_CHARS], const task_tag_t *tag, arena_t *arena)
{
    char list[ID_CHARS + 1];
    char task[ID_CHARS + 1];
    format_id(&tag->list, list);
    format_id(&tag->task, task);
    return arena_format(arena, "\"t-%.*s-%s-%s-%lld\"", EPOCH_CHARS, epoch, list, task,
                        (long long)tag->rev);
}

slice_t etag_of_list(const char epoch[EPOCH_CHARS], const list_tag_t *tag, arena_t *arena)
{
    char list[ID_CHARS + 1];
    format_id(&tag->list, list);
    return arena_format(arena, "\"l-%.*s-%s-%lld-%lld-%lld-%d\"", EPOCH_CHARS, epoch, list,
                        (long long)tag->rev, (long long)tag->head, (long long)tag->n_open,
                        tag->role);
}

/* --- the headers: lists of tags --- */

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    bool is_wrong;
} tags_t;

static void skip_space(tags_t *self)
{
    while (self->at < self->end && (*self->at == ' ' || *self->at == '\t'))
        self->at++;
}

/* Also takes empty list elements, as RFC 9110 §5.6.1 wants. */
static void skip_commas(tags_t *self)
{
    skip_space(self);
    while (self->at < self->end && *self->at == ',') {
        self->at++;
        skip_space(self);
    }
}

static bool is_tag_char(uint8_t c)
{
    return c == 0x21 || (c >= 0x23 && c <= 0x7e) || c >= 0x80;
}

/* The next tag, with its quotes but without W/. False at the end, and when it is malformed. */
static bool next_tag(tags_t *self, slice_t *tag, bool *is_weak)
{
    skip_commas(self);
    if (self->at == self->end)
        return false;
    *is_weak = self->end - self->at >= 2 && self->at[0] == 'W' && self->at[1] == '/';
    const uint8_t *start = *is_weak ? self->at + 2 : self->at;
    const uint8_t *at = start;
    if (at < self->end && *at == '"') {
        at++;
        while (at < self->end && is_tag_char(*at))
            at++;
    }
    if (at == start || at == self->end || *at != '"') {
        self->is_wrong = true;
        return false;
    }
    *tag = slice_of(start, (size_t)(at + 1 - start));
    self->at = at + 1;
    skip_space(self);
    self->is_wrong = self->at < self->end && *self->at != ',';
    return !self->is_wrong;
}

static slice_t trimmed(slice_t text)
{
    while (text.n_bytes > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = slice_of(text.data + 1, text.n_bytes - 1);
    while (text.n_bytes > 0 &&
           (text.data[text.n_bytes - 1] == ' ' || text.data[text.n_bytes - 1] == '\t'))
        text.n_bytes--;
    return text;
}

/* --- If-Match --- */

static bool take(slice_t *text, slice_t prefix)
{
    if (text->n_bytes < prefix.n_bytes || memcmp(text->data, prefix.data, prefix.n_bytes) != 0)
        return false;
    *text = slice_of(text->data + prefix.n_bytes, text->n_bytes - prefix.n_bytes);
    return true;
}

/* Skips an id that is not compared, and the dash behind it. */
static bool skip_id(slice_t *text)
{
    if (text->n_bytes <= ID_CHARS || text->data[ID_CHARS] != '-')
        return false;
    *text = slice_of(text->data + ID_CHARS + 1, text->n_bytes - ID_CHARS - 1);
    return true;
}

/* A rev and the character behind it. */
static bool take_rev(slice_t text, char behind, int64_t *rev)
{
    size_t n = 0;
    *rev = 0;
    for (; n < text.n_bytes && n <= MAX_REV_DIGITS; n++) {
        uint8_t c = text.data[n];
        if (c < '0' || c > '9')
            break;
        *rev = *rev * 10 + (c - '0');
    }
    return n > 0 && n <= MAX_REV_DIGITS && n < text.n_bytes && text.data[n] == (uint8_t)behind &&
           *rev > 0;
}

static bool rev_of_task(slice_t tag, const char *epoch, const uuid_t *task, int64_t *rev)
{
    char id[ID_CHARS + 1];
    format_id(task, id);
    return take(&tag, slice_str("\"t-")) && take(&tag, slice_of(epoch, EPOCH_CHARS)) &&
           take(&tag, slice_str("-")) && skip_id(&tag) && take(&tag, slice_str(id)) &&
           take(&tag, slice_str("-")) && take_rev(tag, '"', rev);
}

static bool rev_of_list(slice_t tag, const char *epoch, const uuid_t *list, int64_t *rev)
{
    char id[ID_CHARS + 1];
    format_id(list, id);
    return take(&tag, slice_str("\"l-")) && take(&tag, slice_of(epoch, EPOCH_CHARS)) &&
           take(&tag, slice_str("-")) && take(&tag, slice_str(id)) && take(&tag, slice_str("-")) &&
           take_rev(tag, '-', rev);
}

typedef bool rev_of_f(slice_t tag, const char *epoch, const uuid_t *id, int64_t *rev);

static int64_t expected(slice_t if_match, const char *epoch, const uuid_t *id, rev_of_f *rev_of)
{
    if (slice_is(trimmed(if_match), "*"))
        return 0;
    tags_t tags = {if_match.data, if_match.data + if_match.n_bytes, false};
    int64_t newest = ETAG_NEVER;
    slice_t tag;
    bool is_weak;
    while (next_tag(&tags, &tag, &is_weak)) {
        int64_t rev;
        if (!is_weak && rev_of(tag, epoch, id, &rev) && rev > newest)
            newest = rev;
    }
    return tags.is_wrong ? ETAG_NEVER : newest;
}

int64_t etag_expected_task(slice_t if_match, const char epoch[EPOCH_CHARS], const uuid_t *task)
{
    return expected(if_match, epoch, task, rev_of_task);
}

int64_t etag_expected_list(slice_t if_match, const char epoch[EPOCH_CHARS], const uuid_t *list)
{
    return expected(if_match, epoch, list, rev_of_list);
}

/* --- If-None-Match --- */

bool etag_is_known(slice_t if_none_match, slice_t etag)
{
    if (if_none_match.n_bytes == 0)
        return false;
    if (slice_is(trimmed(if_none_match), "*"))
        return true;
    tags_t tags = {if_none_match.data, if_none_match.data + if_none_match.n_bytes, false};
    slice_t tag;
    bool is_weak;
    bool is_known = false;
    while (next_tag(&tags, &tag, &is_weak))
        is_known = is_known || slice_eq(tag, etag);
    return is_known && !tags.is_wrong;
}
