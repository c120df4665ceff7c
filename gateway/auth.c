/* SPDX-License-Identifier: Apache-2.0 */
/* The cache is a hash table over the hashes of secrets. An entry is first a lookup under way, with
 * all who wait for it, and then what was found. Since everything is believed equally long, entries
 * stand in the order in which they expire, in one queue for tokens and one for what is none: a
 * flood of wrong secrets pushes out only other wrong ones. An entry that must be forgotten while
 * its lookup runs answers those who wait, and is not kept. */
#include "gateway/auth.h"

#include <sodium.h>
#include <stdlib.h>

#include "schema/limits.h"

#define N_BUCKETS 4096
#define SECRET_PREFIX "tw_"
#define SECRET_BYTES 32

typedef struct waiter {
    struct waiter *next;
    auth_done_f *done;
    void *arg;
} waiter_t;

typedef enum { ENTRY_PENDING, ENTRY_KNOWN, ENTRY_UNKNOWN } entry_kind_t;

typedef struct entry {
    auth_t *auth;
    entry_kind_t kind;
    bool is_stale; /* pending: no longer in the table, and not to be kept */
    uint8_t hash[AUTH_HASH_BYTES];
    struct entry *next_in_bucket;
    struct entry *previous; /* in its queue */
    struct entry *next;
    waiter_t *waiters;
    waiter_t **last_waiter;
    int64_t until_us; /* of the monotonic clock */
    identity_t identity;
    uuid_t lists[]; /* of the identity */
} entry_t;

typedef struct {
    entry_t *first; /* expires first */
    entry_t *last;
    size_t n;
} queue_t;

struct auth {
    gateway_t *gateway;
    entry_t *buckets[N_BUCKETS];
    queue_t pending;
    queue_t known;
    queue_t unknown;
    pg_params_t params;
};

static const pg_stmt_t select_token = {
    "SELECT account, id, kind, scopes, lists, expires_at FROM token"
    " WHERE hash = $1::bytea AND (expires_at IS NULL OR expires_at > now())"};

/* --- secrets --- */

void auth_make_secret(char out[AUTH_SECRET_CHARS + 1])
{
    uint8_t bytes[SECRET_BYTES];
    size_t n_prefix = strlen(SECRET_PREFIX);
    randombytes_buf(bytes, sizeof bytes);
    memcpy(out, SECRET_PREFIX, n_prefix);
    sodium_bin2base64(out + n_prefix, AUTH_SECRET_CHARS + 1 - n_prefix, bytes, sizeof bytes,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(bytes, sizeof bytes);
}

void auth_hash_secret(slice_t secret, uint8_t out[AUTH_HASH_BYTES])
{
    crypto_generichash(out, AUTH_HASH_BYTES, secret.data, secret.n_bytes, NULL, 0);
}

static bool has_form_of_secret(slice_t secret)
{
    return secret.n_bytes == AUTH_SECRET_CHARS &&
           memcmp(secret.data, SECRET_PREFIX, strlen(SECRET_PREFIX)) == 0;
}

static slice_t trim(slice_t text)
{
    while (text.n_bytes > 0 && text.data[0] == ' ')
        text = slice_of(text.data + 1, text.n_bytes - 1);
    while (text.n_bytes > 0 && text.data[text.n_bytes - 1] == ' ')
        text.n_bytes--;
    return text;
}

/* The value of our cookie among those of a Cookie header. */
static slice_t find_cookie(slice_t cookies)
{
    const slice_t name = slice_str(AUTH_COOKIE "=");
    while (cookies.n_bytes > 0) {
        const uint8_t *semicolon = memchr(cookies.data, ';', cookies.n_bytes);
        size_t n = semicolon == NULL ? cookies.n_bytes : (size_t)(semicolon - cookies.data);
        slice_t pair = trim(slice_of(cookies.data, n));
        if (pair.n_bytes >= name.n_bytes && memcmp(pair.data, name.data, name.n_bytes) == 0)
            return slice_of(pair.data + name.n_bytes, pair.n_bytes - name.n_bytes);
        size_t n_taken = semicolon == NULL ? n : n + 1;
        cookies = slice_of(cookies.data + n_taken, cookies.n_bytes - n_taken);
    }
    return slice_none();
}

/* A header of another scheme counts as a secret that nobody has, not as none. */
slice_t auth_secret_of(const request_t *request)
{
    static const char bearer[] = "bearer ";
    slice_t header = request_header(request, HEADER_AUTHORIZATION);
    if (header.data == NULL)
        return find_cookie(request_header(request, HEADER_COOKIE));
    size_t n = sizeof bearer - 1;
    if (header.n_bytes < n || strncasecmp((const char *)header.data, bearer, n) != 0)
        return slice_str("");
    return trim(slice_of(header.data + n, header.n_bytes - n));
}

/* --- entries --- */

static entry_t **bucket_of(auth_t *self, const uint8_t *hash)
{
    uint32_t i;
    memcpy(&i, hash, sizeof i);
    return &self->buckets[i % N_BUCKETS];
}

static entry_t *find(auth_t *self, const uint8_t *hash)
{
    entry_t *entry = *bucket_of(self, hash);
    while (entry != NULL && memcmp(entry->hash, hash, AUTH_HASH_BYTES) != 0)
        entry = entry->next_in_bucket;
    return entry;
}

static queue_t *queue_of(entry_t *entry)
{
    auth_t *self = entry->auth;
    switch (entry->kind) {
    case ENTRY_PENDING:
        return &self->pending;
    case ENTRY_KNOWN:
        return &self->known;
    case ENTRY_UNKNOWN:
        return &self->unknown;
    }
    return NULL;
}

static void enter_table(entry_t *entry)
{
    entry_t **bucket = bucket_of(entry->auth, entry->hash);
    entry->next_in_bucket = *bucket;
    *bucket = entry;
}

static void leave_table(entry_t *entry)
{
    entry_t **at = bucket_of(entry->auth, entry->hash);
    while (*at != entry)
        at = &(*at)->next_in_bucket;
    *at = entry->next_in_bucket;
}

static void enter_queue(entry_t *entry)
{
    queue_t *queue = queue_of(entry);
    entry->previous = queue->last;
    entry->next = NULL;
    if (queue->last == NULL)
        queue->first = entry;
    else
        queue->last->next = entry;
    queue->last = entry;
    queue->n++;
}

static void leave_queue(entry_t *entry)
{
    queue_t *queue = queue_of(entry);
    if (entry->previous == NULL)
        queue->first = entry->next;
    else
        entry->previous->next = entry->next;
    if (entry->next == NULL)
        queue->last = entry->previous;
    else
        entry->next->previous = entry->previous;
    queue->n--;
}

static void add(entry_t *entry)
{
    enter_table(entry);
    enter_queue(entry);
}

static void take_out(entry_t *entry)
{
    if (!entry->is_stale)
        leave_table(entry);
    leave_queue(entry);
}

static void drop(entry_t *entry)
{
    take_out(entry);
    free(entry);
}

static entry_t *entry_new(auth_t *self, entry_kind_t kind, const uint8_t *hash, size_t n_lists)
{
    entry_t *entry = calloc(1, sizeof *entry + n_lists * sizeof(uuid_t));
    if (entry == NULL)
        abort();
    entry->auth = self;
    entry->kind = kind;
    memcpy(entry->hash, hash, AUTH_HASH_BYTES);
    entry->last_waiter = &entry->waiters;
    return entry;
}

static void keep(entry_t *entry, size_t max)
{
    queue_t *queue = queue_of(entry);
    if (queue->n >= max)
        drop(queue->first);
    add(entry);
}

/* --- the cache --- */

auth_t *auth_new(gateway_t *gateway)
{
    auth_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->gateway = gateway;
    return self;
}

static void drop_all(queue_t *queue)
{
    while (queue->first != NULL)
        drop(queue->first);
}

void auth_destroy(auth_t **self_p)
{
    auth_t *self = *self_p;
    if (self == NULL)
        return;
    drop_all(&self->pending);
    drop_all(&self->known);
    drop_all(&self->unknown);
    pg_params_fini(&self->params);
    free(self);
    *self_p = NULL;
}

static void drop_expired(queue_t *queue, int64_t now_us)
{
    while (queue->first != NULL && queue->first->until_us <= now_us)
        drop(queue->first);
}

void auth_on_tick(auth_t *self)
{
    int64_t now_us = self->gateway->now.mono_us;
    drop_expired(&self->known, now_us);
    drop_expired(&self->unknown, now_us);
}

/* A lookup under way may have read what was before: who asks from now on starts another. */
static void mark_pending_stale(auth_t *self)
{
    for (entry_t *entry = self->pending.first; entry != NULL; entry = entry->next) {
        if (!entry->is_stale)
            leave_table(entry);
        entry->is_stale = true;
    }
}

void auth_forget_all(auth_t *self)
{
    mark_pending_stale(self);
    drop_all(&self->known);
    drop_all(&self->unknown);
}

static bool is_about(const access_t *access, const identity_t *identity)
{
    return uuid_eq(&access->account, &identity->account) &&
           (uuid_is_nil(&access->token) || uuid_eq(&access->token, &identity->token));
}

/* Of membership nothing is cached here: who may touch which list is asked with each read. */
void auth_forget(auth_t *self, const access_t *access)
{
    if (!uuid_is_nil(&access->list))
        return;
    mark_pending_stale(self);
    entry_t *next;
    for (entry_t *entry = self->known.first; entry != NULL; entry = next) {
        next = entry->next;
        if (is_about(access, &entry->identity))
            drop(entry);
    }
}

/* --- looking up --- */

/* Answers all who wait. The entry is out of the table by now, so they may ask again. */
static void tell_waiters(entry_t *entry, err_t err, const identity_t *identity)
{
    waiter_t *waiter = entry->waiters;
    while (waiter != NULL) {
        waiter_t *next = waiter->next;
        waiter->done(waiter->arg, err, identity);
        free(waiter);
        waiter = next;
    }
}

static bool has_expired(const auth_t *self, const identity_t *identity)
{
    return identity->expires_at_us != INSTANT_NONE &&
           identity->expires_at_us <= self->gateway->now.wall_us;
}

static entry_t *read_known(const entry_t *pending, const pg_result_t *result)
{
    uuid_t lists[LIMIT_TOKEN_LISTS];
    size_t n_lists = pg_uuid_array(result, 0, 4, lists, LIMIT_TOKEN_LISTS);
    entry_t *entry = entry_new(pending->auth, ENTRY_KNOWN, pending->hash, n_lists);
    memcpy(entry->lists, lists, n_lists * sizeof *lists);
    entry->until_us = pending->auth->gateway->now.mono_us + AUTH_KNOWN_US;
    entry->identity = (identity_t){
        .account = pg_uuid(result, 0, 0),
        .token = pg_uuid(result, 0, 1),
        .is_session = pg_int(result, 0, 2) == TOKEN_SESSION,
        .scopes = (uint32_t)pg_int(result, 0, 3),
        .lists = n_lists == 0 ? NULL : entry->lists,
        .n_lists = (uint32_t)n_lists,
        .expires_at_us = pg_instant(result, 0, 5),
    };
    return entry;
}

static void found_known(entry_t *pending, const pg_result_t *result)
{
    entry_t *entry = read_known(pending, result);
    tell_waiters(pending, ERR_OK, &entry->identity);
    /* One who waited may have looked it up again, or ended it. */
    if (!pending->is_stale && find(pending->auth, pending->hash) == NULL)
        keep(entry, AUTH_MAX_KNOWN);
    else
        free(entry);
}

static void found_unknown(entry_t *pending)
{
    tell_waiters(pending, ERR_UNAUTHENTICATED, NULL);
    if (pending->is_stale || find(pending->auth, pending->hash) != NULL)
        return;
    entry_t *entry = entry_new(pending->auth, ENTRY_UNKNOWN, pending->hash, 0);
    entry->until_us = pending->auth->gateway->now.mono_us + AUTH_UNKNOWN_US;
    keep(entry, AUTH_MAX_UNKNOWN);
}

static void on_token(void *arg, pg_fate_t fate, const pg_result_t *result)
{
    entry_t *pending = arg;
    take_out(pending);
    if (fate != PG_OK)
        tell_waiters(pending, ERR_UNAVAILABLE, NULL);
    else if (pg_rows(result) == 0)
        found_unknown(pending);
    else
        found_known(pending, result);
    free(pending);
}

static void wait_for(entry_t *entry, auth_done_f *done, void *arg)
{
    waiter_t *waiter = calloc(1, sizeof *waiter);
    if (waiter == NULL)
        abort();
    waiter->done = done;
    waiter->arg = arg;
    *entry->last_waiter = waiter;
    entry->last_waiter = &waiter->next;
}

static void look_up(auth_t *self, const uint8_t *hash, auth_done_f *done, void *arg)
{
    entry_t *entry = entry_new(self, ENTRY_PENDING, hash, 0);
    pg_params_reset(&self->params);
    pg_put_bytea(&self->params, slice_of(hash, AUTH_HASH_BYTES));
    err_t err = reads_query(self->gateway->reads, &select_token, &self->params, on_token, entry);
    if (err != ERR_OK) {
        free(entry);
        done(arg, err, NULL);
        return;
    }
    wait_for(entry, done, arg);
    add(entry);
}

/* An answer from the cache. False: there is none, or it is too old. */
static bool answer_known(auth_t *self, entry_t *entry, auth_done_f *done, void *arg)
{
    if (entry == NULL)
        return false;
    if (entry->kind == ENTRY_PENDING) {
        wait_for(entry, done, arg);
        return true;
    }
    if (entry->until_us <= self->gateway->now.mono_us) {
        drop(entry);
        return false;
    }
    if (entry->kind == ENTRY_UNKNOWN || has_expired(self, &entry->identity))
        done(arg, ERR_UNAUTHENTICATED, NULL);
    else
        done(arg, ERR_OK, &entry->identity);
    return true;
}

void auth_identify(auth_t *self, slice_t secret, auth_done_f *done, void *arg)
{
    uint8_t hash[AUTH_HASH_BYTES];
    if (!has_form_of_secret(secret)) {
        done(arg, ERR_UNAUTHENTICATED, NULL);
        return;
    }
    auth_hash_secret(secret, hash);
    if (!answer_known(self, find(self, hash), done, arg))
        look_up(self, hash, done, arg);
}
