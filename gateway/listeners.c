/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses that the program listens on, opened before any thread runs so that a wrong setting
 * stops the start, the limits of clients, and the list of inlets that share what comes in. A Unix
 * socket that a dead process left behind is replaced; one that somebody answers on is not. */
#include "gateway/acceptor.h"

#include "gateway/gateway.h"
#include "gateway/origin.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024
#define HOST_CHARS 256
#define PORT_CHARS 6
#define URL_CHARS (HOST_CHARS + 32)
#define UNIX_PREFIX "unix:"

typedef struct {
    int fd;
    char url[URL_CHARS];
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path]; /* of a Unix socket, else empty */
} listening_t;

struct listeners {
    listening_t all[LISTENER_COUNT];
    limits_t limits;
    certificate_t *certificate; /* NULL: no TLS */
    char *trusted; /* proxies, whose connections are not counted */
    pthread_mutex_t mutex; /* guards what follows */
    inlet_t *inlets[LISTENERS_MAX_INLETS];
    size_t n_inlets;
    size_t next;
};

/* Where a failure is described, in a sentence that begins with the setting. */
typedef struct {
    const char *setting;
    const char *value;
    char *text;
    size_t size;
} complaint_t;

static bool complain(const complaint_t *to, const char *what, const char *why)
{
    snprintf(to->text, to->size, "%s: %s: %s%s%s", to->setting, to->value, what,
             why == NULL ? "" : ": ", why == NULL ? "" : why);
    return false;
}

/* --- addresses --- */

typedef struct {
    char host[HOST_CHARS]; /* empty: every address of this machine */
    char port[PORT_CHARS];
} place_t;

static bool is_port(const char *text)
{
    size_t n_chars = strlen(text);
    return n_chars > 0 && n_chars < PORT_CHARS && strspn(text, "0123456789") == n_chars &&
           atoi(text) <= 65535;
}

/* host:port, [IPv6]:port, or *:port and :port. */
static bool split_address(const char *value, place_t *out)
{
    const char *colon = strrchr(value, ':');
    if (colon == NULL || !is_port(colon + 1))
        return false;
    const char *host = value;
    size_t n_host = (size_t)(colon - value);
    bool is_bracketed = n_host > 2 && host[0] == '[' && host[n_host - 1] == ']';
    if (is_bracketed) {
        host++;
        n_host -= 2;
    } else if (memchr(host, ':', n_host) != NULL) {
        return false;
    }
    if (n_host >= HOST_CHARS)
        return false;
    memcpy(out->host, host, n_host);
    out->host[n_host] = '\0';
    if (strcmp(out->host, "*") == 0)
        out->host[0] = '\0';
    strcpy(out->port, colon + 1);
    return true;
}

static bool say_url(listening_t *self, bool is_tls)
{
    struct sockaddr_storage address = {0};
    socklen_t n_bytes = sizeof address;
    char host[HOST_CHARS];
    char port[PORT_CHARS];
    if (getsockname(self->fd, (struct sockaddr *)&address, &n_bytes) != 0 ||
        getnameinfo((struct sockaddr *)&address, n_bytes, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return false;
    bool is_v6 = address.ss_family == AF_INET6;
    snprintf(self->url, sizeof self->url, is_v6 ? "%s://[%s]:%s" : "%s://%s:%s",
             is_tls ? "https" : "http", host, port);
    return true;
}

/* Leaves errno as the call that failed set it. */
static int listen_at(const struct addrinfo *at)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, at->ai_protocol);
    if (fd < 0)
        return -1;
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

/* The first address of the name that can be had. */
static bool open_inet(listening_t *self, bool is_tls, const complaint_t *to)
{
    place_t place;
    if (!split_address(to->value, &place))
        return complain(to, "this is no address (host:port, [IPv6]:port or unix:/path)", NULL);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    if (place.host[0] == '\0')
        hints.ai_family = AF_INET;
    struct addrinfo *found = NULL;
    int failure =
        getaddrinfo(place.host[0] == '\0' ? NULL : place.host, place.port, &hints, &found);
    if (failure != 0)
        return complain(to, "the host cannot be found", gai_strerror(failure));
    for (const struct addrinfo *at = found; at != NULL && self->fd < 0; at = at->ai_next)
        self->fd = listen_at(at);
    int reason = errno;
    freeaddrinfo(found);
    if (self->fd < 0)
        return complain(to, "cannot listen there", strerror(reason));
    return say_url(self, is_tls) || complain(to, "the address cannot be named", NULL);
}

/* --- Unix sockets --- */

/* Whether nobody answers there, so that what is left of it can go. */
static bool is_abandoned(const struct sockaddr_un *address)
{
    struct stat is;
    if (stat(address->sun_path, &is) != 0 || !S_ISSOCK(is.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool is_refused = connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
                      errno == ECONNREFUSED;
    close(fd);
    return is_refused;
}

static bool open_unix(listening_t *self, const complaint_t *to)
{
    const char *path = to->value + strlen(UNIX_PREFIX);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path[0] != '/' || strlen(path) >= sizeof address.sun_path)
        return complain(to, "a Unix socket needs an absolute path of at most 107 bytes", NULL);
    strcpy(address.sun_path, path);
    if (is_abandoned(&address))
        unlink(path);
    struct addrinfo at = {
        .ai_family = AF_UNIX, .ai_addr = (struct sockaddr *)&address, .ai_addrlen = sizeof address};
    self->fd = listen_at(&at);
    if (self->fd < 0)
        return complain(to, "cannot listen there", strerror(errno));
    strcpy(self->path, path);
    snprintf(self->url, sizeof self->url, "%s", to->value);
    return true;
}

/* --- the listeners --- */

static bool open_one(listening_t *self, bool is_tls, const complaint_t *to)
{
    bool is_unix = strncmp(to->value, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0;
    return is_unix ? open_unix(self, to) : open_inet(self, is_tls, to);
}

static bool is_set(const char *setting)
{
    return setting != NULL && *setting != '\0'; /* NULL: a config that a test made */
}

static bool open_certificate(listeners_t *self, const config_t *config, char *error,
                             size_t error_size)
{
    if (!is_set(config->tls_cert) && !is_set(config->tls_key))
        return true;
    self->certificate = certificate_new(config, error, error_size);
    return self->certificate != NULL;
}

listeners_t *listeners_new(const config_t *config, char *error, size_t error_size)
{
    listeners_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    limits_init(&self->limits, config);
    self->trusted = strdup(config->trusted_proxies == NULL ? "" : config->trusted_proxies);
    if (self->trusted == NULL)
        abort();
    pthread_mutex_init(&self->mutex, NULL);
    for (size_t i = 0; i < LISTENER_COUNT; i++)
        self->all[i].fd = -1;
    complaint_t public = {config_key(config, "LISTEN"), config->listen, error, error_size};
    complaint_t admin = {config_key(config, "ADMIN_LISTEN"), config->admin_listen, error,
                         error_size};
    if (!open_certificate(self, config, error, error_size) ||
        !open_one(&self->all[LISTENER_PUBLIC], self->certificate != NULL, &public) ||
        !open_one(&self->all[LISTENER_ADMIN], false, &admin))
        listeners_destroy(&self);
    return self;
}

void listeners_destroy(listeners_t **self_p)
{
    if (self_p == NULL || *self_p == NULL)
        return;
    listeners_t *self = *self_p;
    *self_p = NULL;
    for (size_t i = 0; i < LISTENER_COUNT; i++) {
        if (self->all[i].fd >= 0)
            close(self->all[i].fd);
        if (self->all[i].path[0] != '\0')
            unlink(self->all[i].path);
    }
    limits_fini(&self->limits);
    certificate_destroy(&self->certificate);
    free(self->trusted);
    pthread_mutex_destroy(&self->mutex);
    free(self);
}

const char *listeners_url(const listeners_t *self)
{
    return self->all[LISTENER_PUBLIC].url;
}

const char *listeners_admin_url(const listeners_t *self)
{
    return self->all[LISTENER_ADMIN].url;
}

int listeners_fd(const listeners_t *self, listener_t which)
{
    return self->all[which].fd;
}

certificate_t *listeners_certificate(const listeners_t *self)
{
    return self->certificate;
}

const limits_t *listeners_limits(const listeners_t *self)
{
    return &self->limits;
}

/* --- inlets --- */

bool listeners_join(listeners_t *self, inlet_t *inlet)
{
    pthread_mutex_lock(&self->mutex);
    bool has_room = self->n_inlets < LISTENERS_MAX_INLETS;
    if (has_room)
        self->inlets[self->n_inlets++] = inlet;
    pthread_mutex_unlock(&self->mutex);
    return has_room;
}

void listeners_leave(listeners_t *self, inlet_t *inlet)
{
    pthread_mutex_lock(&self->mutex);
    size_t n_left = 0;
    for (size_t i = 0; i < self->n_inlets; i++) {
        if (self->inlets[i] != inlet)
            self->inlets[n_left++] = self->inlets[i];
    }
    self->n_inlets = n_left;
    pthread_mutex_unlock(&self->mutex);
}

/* Whether those of its address are counted: proxies bring many clients. */
static bool is_counted(const listeners_t *self, int tag, const char *peer)
{
    return tag == (int)LISTENER_PUBLIC && !origin_is_trusted(slice_str(peer), self->trusted);
}

static bool enter(listeners_t *self, const arrival_t *arrival)
{
    uint8_t key[ORIGIN_KEY_BYTES];
    if (!is_counted(self, arrival->tag, arrival->peer))
        return true;
    origin_address_key(slice_str(arrival->peer), key);
    return crowd_enter(self->limits.crowd, key);
}

void listeners_dismiss(listeners_t *self, int tag, const char *peer)
{
    uint8_t key[ORIGIN_KEY_BYTES];
    if (!is_counted(self, tag, peer))
        return;
    origin_address_key(slice_str(peer), key);
    crowd_leave(self->limits.crowd, key);
}

static bool push(listeners_t *self, const arrival_t *arrival)
{
    bool is_taken = false;
    pthread_mutex_lock(&self->mutex);
    for (size_t i = 0; i < self->n_inlets && !is_taken; i++)
        is_taken = inlet_push(self->inlets[self->next++ % self->n_inlets], arrival);
    pthread_mutex_unlock(&self->mutex);
    return is_taken;
}

bool listeners_hand_over(listeners_t *self, const arrival_t *arrival)
{
    bool may_enter = enter(self, arrival);
    if (may_enter && push(self, arrival))
        return true;
    if (may_enter)
        listeners_dismiss(self, arrival->tag, arrival->peer);
    close(arrival->fd);
    return false;
}
