/* SPDX-License-Identifier: Apache-2.0 */
/* How a refusal looks to a client, over HTTP and WebSocket alike. The numbers, codes and titles
 * come from the error list; here is only the form. Source: RFC 9457. */
#include "gateway/inner.h"

#include "schema/json.h"

static void put_pair(buf_t *out, const char *name, slice_t text)
{
    buf_format(out, ",\"%s\":", name);
    json_put_str(out, text);
}

/* There always is one: else of the first field that is wrong; else what the title says has to do.
 */
static void put_detail(const problem_t *problem, buf_t *out)
{
    buf_t text = {0};
    if (problem->detail.data != NULL) {
        buf_append_slice(&text, problem->detail);
    } else if (problem->n_fields > 0) {
        buf_append_slice(&text, problem->fields[0].pointer);
        buf_append_str(&text, problem->fields[0].pointer.n_bytes > 0 ? ": " : "");
        buf_append_slice(&text, problem->fields[0].detail);
    } else {
        buf_format(&text, "%s.", err_title(problem->err));
    }
    put_pair(out, "detail", buf_slice(&text));
    buf_fini(&text);
}

static void put_fields(const problem_t *problem, buf_t *out)
{
    buf_append_str(out, ",\"errors\":[");
    for (size_t i = 0; i < problem->n_fields; i++) {
        buf_append_str(out, i == 0 ? "{\"pointer\":" : ",{\"pointer\":");
        json_put_str(out, problem->fields[i].pointer);
        put_pair(out, "detail", problem->fields[i].detail);
        buf_append_byte(out, '}');
    }
    buf_append_byte(out, ']');
}

/* A state that cannot be shown is left out: the refusal itself must come through. */
static void put_current(slice_t current, buf_t *out)
{
    size_t start = out->n_bytes;
    buf_append_str(out, ",\"current\":");
    if (!json_from_mp(current, out))
        out->n_bytes = start;
}

void problem_put_json(const problem_t *problem, slice_t request_id, buf_t *out)
{
    const char *code = err_code(problem->err);
    buf_format(out, "{\"type\":\"urn:taskwire:problem:%s\",\"title\":", code);
    json_put_str(out, slice_str(err_title(problem->err)));
    buf_format(out, ",\"status\":%d", err_status(problem->err));
    put_detail(problem, out);
    buf_format(out, ",\"code\":\"%s\"", code);
    if (request_id.data != NULL) {
        buf_append_str(out, ",\"instance\":\"urn:taskwire:request:");
        buf_append_slice(out, request_id);
        buf_append_byte(out, '"');
    }
    if (problem->n_fields > 0)
        put_fields(problem, out);
    if (problem->current.data != NULL)
        put_current(problem->current, out);
    buf_append_byte(out, '}');
}
