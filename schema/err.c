/* SPDX-License-Identifier: Apache-2.0 */
/* The columns of the error list, looked up by error. */
#include "schema/err.h"

typedef struct {
    const char *code;
    const char *title;
    int status;
    err_action_t action;
} row_t;

static const row_t rows[ERR_COUNT] = {
#define ERR_ROW(id, code, status, action, title)                                                   \
    [ERR_##id] = {code, title, status, ERR_DO_##action},
    ERR_LIST(ERR_ROW)
#undef ERR_ROW
};

/* A number that is none of ours is a bug, and is shown as one. */
static const row_t *row_of(err_t err)
{
    return &rows[(unsigned)err < ERR_COUNT ? err : ERR_INTERNAL];
}

const char *err_code(err_t err)
{
    return row_of(err)->code;
}

int err_status(err_t err)
{
    return row_of(err)->status;
}

const char *err_title(err_t err)
{
    return row_of(err)->title;
}

err_action_t err_action(err_t err)
{
    return row_of(err)->action;
}

void problem_add_field(problem_t *self, slice_t pointer, slice_t detail)
{
    if (self->err == ERR_OK)
        self->err = ERR_INVALID;
    if (self->n_fields == LIMIT_PROBLEM_FIELDS)
        return;
    self->fields[self->n_fields++] = (err_field_t){pointer, detail};
}
