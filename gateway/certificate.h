/* SPDX-License-Identifier: Apache-2.0 */
/* What TLS is spoken with: certificate and key, read from their files at the start and again when
 * the files change. OpenSSL is known here and in tls.c only. Thread: any. */
#ifndef TASKWIRE_GATEWAY_CERTIFICATE_H
#define TASKWIRE_GATEWAY_CERTIFICATE_H

#include "actors/config.h"

struct ssl_ctx_st;

typedef struct certificate certificate_t;

/* Reads TLS_CERT (PEM: the certificate and those between it and the root) and TLS_KEY. NULL, with a
 * sentence that names the setting in `error`, if that fails. */
certificate_t *certificate_new(const config_t *config, char *error, size_t error_size);
void certificate_destroy(certificate_t **self_p);

/* Reads the files anew if they have changed. While they do not fit, what was read before stays in
 * use; said in the log once. Connections that there are keep what they began with. */
void certificate_look(certificate_t *self);
/* What new connections use. Owns: the caller's reference, for SSL_CTX_free. */
struct ssl_ctx_st *certificate_take(certificate_t *self);

#endif
