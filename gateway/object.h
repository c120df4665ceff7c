/* SPDX-License-Identifier: Apache-2.0 */
/* Key and value of a msgpack map in one call: for the small objects that answers are made of. */
#ifndef TASKWIRE_OBJECT_H
#define TASKWIRE_OBJECT_H

#include "schema/mp.h"

static inline void object_text(buf_t *out, const char *key, slice_t value)
{
    mp_put_cstr(out, key);
    mp_put_str(out, value);
}

static inline void object_int(buf_t *out, const char *key, int64_t value)
{
    mp_put_cstr(out, key);
    mp_put_int(out, value);
}

static inline void object_bool(buf_t *out, const char *key, bool value)
{
    mp_put_cstr(out, key);
    mp_put_bool(out, value);
}

static inline void object_uuid(buf_t *out, const char *key, const uuid_t *value)
{
    mp_put_cstr(out, key);
    mp_put_uuid(out, value);
}

static inline void object_instant(buf_t *out, const char *key, int64_t at_us)
{
    mp_put_cstr(out, key);
    mp_put_instant(out, at_us);
}

#endif
