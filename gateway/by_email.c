/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/by_email.h"

#include "schema/limits.h"

bool by_email_find(const command_t *command, slice_t *out)
{
    slice_t value;
    slice_t account;
    slice_t data = command->data;
    if (command->op != OP_MEMBER_PUT || data.data == NULL || !mp_map_find(data, "email", &value) ||
        mp_map_find(data, "account", &account))
        return false;
    mp_reader_t reader = mp_reader(value);
    return mp_get_str(&reader, out) && out->n_bytes <= LIMIT_EMAIL_BYTES;
}

void by_email_put_account(slice_t data, const uuid_t *account, buf_t *out)
{
    mp_reader_t reader = mp_reader(data);
    uint32_t n_pairs = 0;
    size_t n_written = 0;
    size_t place = mp_open(out);
    mp_get_map(&reader, &n_pairs);
    for (uint32_t i = 0; i < n_pairs; i++) {
        slice_t key;
        slice_t value;
        if (!mp_get_str(&reader, &key) || !mp_get_raw(&reader, &value))
            break;
        bool is_email = slice_is(key, "email");
        if (is_email && uuid_is_nil(account))
            continue;
        mp_put_str(out, is_email ? slice_str("account") : key);
        if (is_email)
            mp_put_uuid(out, account);
        else
            mp_put_raw(out, value);
        n_written++;
    }
    mp_close_map(out, place, n_written);
}

void by_email_name(problem_t *problem)
{
    for (size_t i = 0; i < problem->n_fields; i++) {
        if (slice_is(problem->fields[i].pointer, "/account"))
            problem->fields[i] =
                (err_field_t){slice_str("/email"), slice_str("no account has this e-mail address")};
    }
}
