/* SPDX-License-Identifier: Apache-2.0 */
/* Connection strings are not parsed here, only searched: a text that libpq would refuse must not
 * show its password either. */
#include "actors/mask.h"

#define MASK "****"

/* The end of the value of a parameter; in connection strings there may be quotes around it. */
static const char *value_end(const char *value)
{
    if (*value != '\'')
        return value + strcspn(value, "& \t");
    const char *at = value + 1;
    while (*at != '\0' && *at != '\'')
        at += at[0] == '\\' && at[1] != '\0' ? 2 : 1;
    return *at == '\'' ? at + 1 : at;
}

/* Where the password in front of a host begins and ends; false if there is none. A password with a
 * bare / or @ is wrong but happens, so the last @ counts. */
static bool find_url_password(const char *text, const char **start, const char **end)
{
    const char *authority = strstr(text, "://");
    if (authority == NULL)
        return false;
    authority += strlen("://");
    const char *colon = strchr(authority, ':');
    size_t n_chars = strcspn(authority, "?#");
    const char *at = memrchr(authority, '@', n_chars);
    if (colon == NULL || at == NULL || colon > at)
        return false;
    *start = colon + 1;
    *end = at;
    return true;
}

/* The value behind a key and its equals sign, or NULL if none follows. */
static const char *find_value(const char *behind_key)
{
    const char *at = behind_key + strspn(behind_key, " \t");
    if (*at != '=')
        return NULL;
    return at + 1 + strspn(at + 1, " \t");
}

void mask_secrets(const char *text, buf_t *out)
{
    static const char key[] = "password";
    const char *start = NULL;
    const char *end = NULL;
    if (find_url_password(text, &start, &end)) {
        buf_append(out, text, (size_t)(start - text));
        buf_append_str(out, MASK);
        text = end;
    }
    const char *found = NULL;
    while ((found = strcasestr(text, key)) != NULL) {
        const char *behind = found + strlen(key);
        const char *value = find_value(behind);
        const char *next = value != NULL ? value : behind;
        buf_append(out, text, (size_t)(next - text));
        if (value != NULL)
            buf_append_str(out, MASK);
        text = value != NULL ? value_end(value) : behind;
    }
    buf_append_str(out, text);
}
