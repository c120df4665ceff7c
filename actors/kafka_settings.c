/* SPDX-License-Identifier: Apache-2.0 */
/* The library's names are in lower case with dots, ours in upper case with underscores. Values may
 * have several lines, for keys and certificates are given so (ssl.key.pem). */
#include "actors/kafka_settings.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/mask.h"

void kafka_settings_fini(kafka_settings_t *self)
{
    for (size_t i = 0; i < self->n; i++)
        free(self->items[i].value);
    self->n = 0;
}

static void take(kafka_settings_t *self, const char *name, const char *key, const char *value)
{
    kafka_setting_t *item = &self->items[self->n++];
    snprintf(item->name, sizeof item->name, "%s", name);
    snprintf(item->key, sizeof item->key, "%s", key);
    item->value = strdup(value);
    if (item->value == NULL)
        abort();
}

/* SASL_MECHANISM → sasl.mechanism */
static void spell_name(char *out, size_t size, const char *name)
{
    size_t n = 0;
    for (; name[n] != '\0' && n < size - 1; n++)
        out[n] = name[n] == '_' ? '.' : (char)tolower((unsigned char)name[n]);
    out[n] = '\0';
}

const char *kafka_settings_add(kafka_settings_t *self, const char *key, const char *name,
                               const char *value)
{
    char spelled[KAFKA_SETTING_KEY_CHARS];
    spell_name(spelled, sizeof spelled, name);
    if (spelled[0] == '\0')
        return "there is no such setting (taskwire --help lists them)";
    if (kafka_settings_find(self, spelled) != NULL)
        return "it is given twice";
    if (self->n == KAFKA_SETTINGS_MAX)
        return "there are too many settings of this kind";
    for (const char *at = value; *at != '\0'; at++) {
        if (iscntrl((unsigned char)*at) && strchr("\t\r\n", *at) == NULL)
            return "it must not have control characters";
    }
    take(self, spelled, key, value);
    return NULL;
}

const kafka_setting_t *kafka_settings_find(const kafka_settings_t *self, const char *name)
{
    for (size_t i = 0; i < self->n; i++) {
        if (strcmp(self->items[i].name, name) == 0)
            return &self->items[i];
    }
    return NULL;
}

static void merge(kafka_settings_t *self, const kafka_settings_t *from,
                  const kafka_settings_t *but_not)
{
    for (size_t i = 0; i < from->n && self->n < KAFKA_SETTINGS_MAX; i++) {
        const kafka_setting_t *item = &from->items[i];
        if (*item->value != '\0' &&
            (but_not == NULL || kafka_settings_find(but_not, item->name) == NULL))
            take(self, item->name, item->key, item->value);
    }
}

void kafka_settings_merge(kafka_settings_t *self, const kafka_settings_t *first,
                          const kafka_settings_t *second)
{
    merge(self, first, NULL);
    merge(self, second, first);
}

/* Names of the library's that hold one: sasl.password, ssl.key.password, ssl.key.pem,
 * sasl.oauthbearer.client.secret, sasl.oauthbearer.config (it may have a token). */
bool kafka_setting_is_secret(const char *name)
{
    static const char *const words[] = {"password", "secret", "key.pem", "oauthbearer.config"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strstr(name, words[i]) != NULL)
            return true;
    }
    return false;
}

static void put_upper(buf_t *out, const char *name)
{
    for (; *name != '\0'; name++)
        buf_append_byte(out, *name == '.' ? '_' : (uint8_t)toupper((unsigned char)*name));
}

void kafka_settings_print(const kafka_settings_t *self, const char *prefix, buf_t *out)
{
    for (size_t i = 0; i < self->n; i++) {
        const kafka_setting_t *item = &self->items[i];
        buf_format(out, "%sKAFKA_", prefix);
        put_upper(out, item->name);
        buf_append_byte(out, '=');
        size_t start = out->n_bytes;
        if (kafka_setting_is_secret(item->name))
            buf_append_str(out, "****");
        else
            mask_secrets(item->value, out);
        for (size_t at = start; at < out->n_bytes; at++) { /* one line each */
            if (iscntrl(out->data[at]))
                out->data[at] = ' ';
        }
        buf_append_byte(out, '\n');
    }
}
