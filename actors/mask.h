/* SPDX-License-Identifier: Apache-2.0 */
/* Showing a setting without the passwords that it holds. */
#ifndef TASKWIRE_MASK_H
#define TASKWIRE_MASK_H

#include "schema/buf.h"

/* Appends the text with `****` in place of the password of scheme://user:password@host and of each
 * password=VALUE parameter, in a URL's query or in a libpq connection string. Rather masks too much
 * than too little. */
void mask_secrets(const char *text, buf_t *out);

#endif
