/* SPDX-License-Identifier: Apache-2.0 */
/* The files are looked at, not watched: whoever renews a certificate may replace a file, a link or
 * the directory, and only a look finds all of these. Certificate and key change one after the
 * other; in between they do not belong together, and what was there before is used. */
#include "gateway/certificate.h"

#include "actors/log.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ERROR_CHARS 512
/* Forward secrecy and authenticated encryption; TLS 1.3 has nothing else. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

/* What tells one content of a file from another. */
typedef struct {
    struct timespec changed_at;
    ino_t inode;
    off_t n_bytes;
} look_t;

struct certificate {
    char *cert_path;
    char *key_path;
    char *cert_setting; /* as it was written */
    char *key_setting;
    look_t seen[2]; /* when they were read last, or tried to */
    log_once_t unfit;
    pthread_mutex_t mutex; /* guards what follows */
    SSL_CTX *context;
};

/* --- files --- */

static look_t look_at(const char *path)
{
    struct stat is = {0};
    (void)stat(path, &is); /* a file that is not there looks like nothing else */
    return (look_t){is.st_mtim, is.st_ino, is.st_size};
}

static bool is_same(const look_t *a, const look_t *b)
{
    return a->changed_at.tv_sec == b->changed_at.tv_sec &&
           a->changed_at.tv_nsec == b->changed_at.tv_nsec && a->inode == b->inode &&
           a->n_bytes == b->n_bytes;
}

/* --- the context --- */

/* Nobody is there to be asked for the passphrase of a key. */
static int no_passphrase(char *out, int size, int is_writing, void *arg)
{
    (void)out;
    (void)size;
    (void)is_writing;
    (void)arg;
    return -1;
}

/* HTTP/1.1 is all we speak; who offers others only is told so. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *n_out,
                           const unsigned char *in, unsigned n_in, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl;
    (void)arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, n_out, ours, sizeof ours - 1, in, n_in) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *new_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(context, CIPHERS) != 1)
        abort();
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    return context;
}

/* Why OpenSSL refused: the first of what it says. */
static bool complain(const char *setting, const char *path, char *error, size_t error_size)
{
    unsigned long code = ERR_get_error();
    bool is_system = ERR_SYSTEM_ERROR(code);
    const char *why = is_system ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
    snprintf(error, error_size, "%s: %s: %s", setting, path, why == NULL ? "it is unfit" : why);
    ERR_clear_error();
    return false;
}

static bool read_files(const certificate_t *self, SSL_CTX *context, char *error, size_t error_size)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, self->cert_path) != 1)
        return complain(self->cert_setting, self->cert_path, error, error_size);
    if (SSL_CTX_use_PrivateKey_file(context, self->key_path, SSL_FILETYPE_PEM) != 1)
        return complain(self->key_setting, self->key_path, error, error_size);
    return true;
}

/* Reads both files and begins to use them. */
static bool load(certificate_t *self, char *error, size_t error_size)
{
    self->seen[0] = look_at(self->cert_path);
    self->seen[1] = look_at(self->key_path);
    SSL_CTX *context = new_context();
    if (!read_files(self, context, error, error_size)) {
        SSL_CTX_free(context);
        return false;
    }
    pthread_mutex_lock(&self->mutex);
    SSL_CTX *before = self->context;
    self->context = context;
    pthread_mutex_unlock(&self->mutex);
    SSL_CTX_free(before);
    return true;
}

/* --- from outside --- */

static char *copy_text(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        abort();
    return copy;
}

certificate_t *certificate_new(const config_t *config, char *error, size_t error_size)
{
    certificate_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->cert_path = copy_text(config->tls_cert);
    self->key_path = copy_text(config->tls_key);
    self->cert_setting = copy_text(config_key(config, "TLS_CERT"));
    self->key_setting = copy_text(config_key(config, "TLS_KEY"));
    pthread_mutex_init(&self->mutex, NULL);
    const char *missing = self->cert_path[0] == '\0'  ? self->cert_setting
                          : self->key_path[0] == '\0' ? self->key_setting
                                                      : NULL;
    if (missing != NULL)
        snprintf(error, error_size, "%s: it is missing: %s and %s go together", missing,
                 self->cert_setting, self->key_setting);
    if (missing != NULL || !load(self, error, error_size))
        certificate_destroy(&self);
    return self;
}

void certificate_destroy(certificate_t **self_p)
{
    certificate_t *self = *self_p;
    if (self == NULL)
        return;
    SSL_CTX_free(self->context);
    pthread_mutex_destroy(&self->mutex);
    free(self->cert_path);
    free(self->key_path);
    free(self->cert_setting);
    free(self->key_setting);
    free(self);
    *self_p = NULL;
}

void certificate_look(certificate_t *self)
{
    char error[ERROR_CHARS];
    look_t cert = look_at(self->cert_path);
    look_t key = look_at(self->key_path);
    if (is_same(&cert, &self->seen[0]) && is_same(&key, &self->seen[1]))
        return;
    if (load(self, error, sizeof error)) {
        log_clear(&self->unfit);
        log_line(LOG_INFO, "gateway", "the certificate was read anew", NULL);
    } else if (log_once(&self->unfit)) {
        log_line(LOG_WARN, "gateway", "the certificate that was there before stays in use",
                 "why=\"%s\"", error);
    }
}

SSL_CTX *certificate_take(certificate_t *self)
{
    pthread_mutex_lock(&self->mutex);
    SSL_CTX *context = self->context;
    SSL_CTX_up_ref(context);
    pthread_mutex_unlock(&self->mutex);
    return context;
}
