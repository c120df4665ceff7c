/* SPDX-License-Identifier: Apache-2.0 */
/* Every line has a bounded length and every block a bounded number of them, so that reading a file
 * of any size takes the memory of one block. Torn is told from wrong by what a crash can do: the
 * end of the file is missing, or is zeroes that were never written over. Anything else was done by
 * somebody. */
#include "actors/anchor_file.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "schema/instant.h"

#define LINE_CHARS 256
#define MIN_HEADS 64
#define LOCK_TRIES 20
#define LOCK_PAUSE_US 25000
#define MAGIC "taskwire-anchors 1 "

typedef enum { LINE_WHOLE, LINE_CUT, LINE_BAD } line_state_t;

/* A line without its end. */
typedef struct {
    char text[LINE_CHARS];
    size_t n_chars;
    bool has_zero;
} line_t;

void anchor_reader_init(anchor_reader_t *self, FILE *file, int64_t n_bytes)
{
    *self = (anchor_reader_t){
        .file = file, .n_left = n_bytes, .previous = "-", .last_us = INSTANT_NONE};
}

void anchor_reader_fini(anchor_reader_t *self)
{
    buf_fini(&self->text);
    free(self->heads);
    self->heads = NULL;
}

static int read_char(anchor_reader_t *self)
{
    return self->n_left-- > 0 ? getc_unlocked(self->file) : EOF;
}

static line_state_t read_line(anchor_reader_t *self, line_t *out)
{
    int c = 0;
    self->n_lines++;
    out->n_chars = 0;
    out->has_zero = false;
    while ((c = read_char(self)) != EOF && c != '\n') {
        out->has_zero = out->has_zero || c == '\0';
        if (out->n_chars == LINE_CHARS - 1)
            return LINE_BAD;
        out->text[out->n_chars++] = (char)c;
    }
    out->text[out->n_chars] = '\0';
    if (c == EOF)
        return LINE_CUT;
    return out->has_zero ? LINE_BAD : LINE_WHOLE;
}

/* --- the parts of a line: each word is taken off its front --- */

static bool take_word(slice_t *line, slice_t *out)
{
    const uint8_t *space = line->n_bytes == 0 ? NULL : memchr(line->data, ' ', line->n_bytes);
    size_t n = space == NULL ? line->n_bytes : (size_t)(space - line->data);
    *out = slice_of(line->data, n);
    size_t n_taken = space == NULL ? n : n + 1;
    *line = slice_of(line->data + n_taken, line->n_bytes - n_taken);
    return n > 0;
}

/* The value of a digit, or -1. Lower case only: there is one way to write a file. */
static int digit_of(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_hex(slice_t text, uint8_t *out, size_t n_bytes)
{
    if (text.n_bytes != 2 * n_bytes)
        return false;
    for (size_t i = 0; i < n_bytes; i++) {
        int high = digit_of(text.data[2 * i]);
        int low = digit_of(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool parse_positive(slice_t text, int64_t max, int64_t *out)
{
    *out = 0;
    if (text.n_bytes == 0 || text.data[0] == '0')
        return false;
    for (size_t i = 0; i < text.n_bytes; i++) {
        int digit = text.data[i] - '0';
        if (digit < 0 || digit > 9 || *out > (max - digit) / 10)
            return false;
        *out = *out * 10 + digit;
    }
    return true;
}

static bool parse_header(const line_t *line, uint8_t public_key[ANCHOR_KEY_BYTES])
{
    size_t n_magic = strlen(MAGIC);
    return line->n_chars > n_magic && memcmp(line->text, MAGIC, n_magic) == 0 &&
           parse_hex(slice_of(line->text + n_magic, line->n_chars - n_magic), public_key,
                     ANCHOR_KEY_BYTES);
}

/* `block TIME EPOCH N PREVIOUS_SIGNATURE` */
static bool parse_opening(anchor_reader_t *self, const line_t *line, int64_t *n_heads,
                          slice_t *previous)
{
    slice_t rest = slice_of(line->text, line->n_chars);
    slice_t kind, time, epoch, n;
    if (!take_word(&rest, &kind) || !take_word(&rest, &time) || !take_word(&rest, &epoch) ||
        !take_word(&rest, &n) || !take_word(&rest, previous) || rest.n_bytes > 0)
        return false;
    self->is_part = slice_is(kind, "part");
    if (epoch.n_bytes == EPOCH_CHARS)
        memcpy(self->epoch, epoch.data, EPOCH_CHARS);
    return (self->is_part || slice_is(kind, "block")) && instant_parse(time, &self->at_us) &&
           epoch.n_bytes == EPOCH_CHARS && parse_positive(n, ANCHOR_MAX_HEADS, n_heads);
}

/* `STREAM REV HASH` */
static bool parse_head(const line_t *line, anchor_head_t *out)
{
    slice_t rest = slice_of(line->text, line->n_chars);
    slice_t stream, rev, hash;
    return take_word(&rest, &stream) && take_word(&rest, &rev) && take_word(&rest, &hash) &&
           rest.n_bytes == 0 && uuid_parse(stream, &out->stream) &&
           parse_positive(rev, INT64_MAX, &out->rev) &&
           parse_hex(hash, out->link.bytes, LINK_BYTES);
}

/* `signature SIGNATURE` */
static bool parse_signature(const line_t *line, uint8_t out[ANCHOR_SIGNATURE_BYTES])
{
    slice_t rest = slice_of(line->text, line->n_chars);
    slice_t word;
    return take_word(&rest, &word) && slice_is(word, "signature") &&
           parse_hex(rest, out, ANCHOR_SIGNATURE_BYTES);
}

/* --- blocks --- */

static anchor_step_t wrong(anchor_reader_t *self, const char *what)
{
    snprintf(self->why, sizeof self->why, "line %zu: block %zu %s", self->n_lines,
             self->n_blocks + 1, what);
    return ANCHOR_WRONG;
}

/* What a line that cannot be read means. Zeroes that a crash left are followed by no other block.
 */
static anchor_step_t judge(anchor_reader_t *self, line_state_t state, line_t *line,
                           const char *what)
{
    size_t n_lines = self->n_lines;
    bool may_be_torn = state == LINE_CUT || line->has_zero;
    while (state != LINE_CUT && may_be_torn) {
        state = read_line(self, line);
        if (strncmp(line->text, "block ", 6) == 0 || strncmp(line->text, "part ", 5) == 0)
            may_be_torn = state == LINE_CUT;
    }
    self->n_lines = n_lines;
    return may_be_torn ? ANCHOR_TORN : wrong(self, what);
}

static void keep(anchor_reader_t *self, const line_t *line)
{
    buf_append(&self->text, line->text, line->n_chars);
    buf_append_byte(&self->text, '\n');
}

static anchor_step_t read_header(anchor_reader_t *self)
{
    line_t line;
    line_state_t state = read_line(self, &line);
    if (state == LINE_CUT)
        return line.n_chars == 0 ? ANCHOR_END : ANCHOR_TORN;
    if (state != LINE_WHOLE || !parse_header(&line, self->public_key)) {
        snprintf(self->why, sizeof self->why, "line 1: it is not that of a file of anchors");
        return ANCHOR_WRONG;
    }
    self->has_header = true;
    self->end = (int64_t)line.n_chars + 1;
    return ANCHOR_BLOCK;
}

/* The count in a block's first line is believed only as far as lines follow. */
static anchor_head_t *place_of_head(anchor_reader_t *self)
{
    if (self->n_heads == self->capacity) {
        self->capacity = self->capacity == 0 ? MIN_HEADS : self->capacity * 2;
        self->heads = realloc(self->heads, self->capacity * sizeof *self->heads);
        if (self->heads == NULL)
            abort();
    }
    return &self->heads[self->n_heads];
}

static anchor_step_t read_heads(anchor_reader_t *self, size_t n_heads, line_t *line)
{
    for (self->n_heads = 0; self->n_heads < n_heads; self->n_heads++) {
        line_state_t state = read_line(self, line);
        if (state != LINE_WHOLE || !parse_head(line, place_of_head(self)))
            return judge(self, state, line, "has a line that is none");
        keep(self, line);
    }
    return ANCHOR_BLOCK;
}

static anchor_step_t read_signature(anchor_reader_t *self, line_t *line)
{
    uint8_t signature[ANCHOR_SIGNATURE_BYTES];
    line_state_t state = read_line(self, line);
    if (state != LINE_WHOLE || !parse_signature(line, signature))
        return judge(self, state, line, "has no signature");
    if (crypto_sign_verify_detached(signature, self->text.data, self->text.n_bytes,
                                    self->public_key) != 0)
        return wrong(self, "is not signed by the key of the file");
    sodium_bin2hex(self->previous, sizeof self->previous, signature, sizeof signature);
    self->end += (int64_t)(self->text.n_bytes + line->n_chars + 1);
    self->n_blocks++;
    if (!self->is_part)
        self->last_us = self->at_us;
    return ANCHOR_BLOCK;
}

anchor_step_t anchor_reader_next(anchor_reader_t *self)
{
    line_t line;
    int64_t n_heads = 0;
    slice_t previous;
    anchor_step_t step = self->has_header ? ANCHOR_BLOCK : read_header(self);
    if (step != ANCHOR_BLOCK)
        return step;
    line_state_t state = read_line(self, &line);
    if (state == LINE_CUT && line.n_chars == 0)
        return ANCHOR_END;
    if (state != LINE_WHOLE || !parse_opening(self, &line, &n_heads, &previous))
        return judge(self, state, &line, "does not begin as one");
    if (!slice_is(previous, self->previous))
        return wrong(self, "does not follow the one before it");
    buf_reset(&self->text);
    keep(self, &line);
    step = read_heads(self, (size_t)n_heads, &line);
    return step == ANCHOR_BLOCK ? read_signature(self, &line) : step;
}

bool anchor_file_lock(int fd, int kind)
{
    for (int try = 0; try < LOCK_TRIES; try++) {
        if (flock(fd, kind | LOCK_NB) == 0 || (errno != EWOULDBLOCK && errno != EINTR))
            return true;
        usleep(LOCK_PAUSE_US);
    }
    errno = EWOULDBLOCK;
    return false;
}
