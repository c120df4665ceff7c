/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that are listened on, and connections that are handed round. */
#include "server_fixture.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#define HOST "Host: a\r\n"

static char error[CONFIG_ERROR_CHARS];
static char directory[] = "/tmp/taskwire-test-XXXXXX";

static listeners_t *open_at(const char *listen)
{
    config_t config = {.listen = listen, .admin_listen = "127.0.0.1:0"};
    error[0] = '\0';
    return listeners_new(&config, error, sizeof error);
}

static int make_directory(void **unused)
{
    (void)unused;
    return mkdtemp(directory) == NULL;
}

static int drop_directory(void **unused)
{
    (void)unused;
    return rmdir(directory);
}

static void an_address_is_listened_on(void **unused)
{
    (void)unused;
    static const struct {
        const char *listen;
        const char *url;
    } right[] = {
        {"127.0.0.1:0", "http://127.0.0.1:"},
        {"localhost:0", "http://"},
        {"[::1]:0", "http://[::1]:"},
        {"0.0.0.0:0", "http://0.0.0.0:"},
        {":0", "http://0.0.0.0:"},
        {"*:0", "http://0.0.0.0:"},
    };
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        listeners_t *listeners = open_at(right[i].listen);
        if (listeners == NULL)
            fail_msg("%s", error);
        const char *url = listeners_url(listeners);
        assert_memory_equal(url, right[i].url, strlen(right[i].url));
        assert_true(atoi(strrchr(url, ':') + 1) > 0);
        assert_string_not_equal(url, listeners_admin_url(listeners));
        listeners_destroy(&listeners);
        assert_null(listeners);
    }
}

static void what_is_no_address_is_refused_by_name(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {
        "",
        "8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:http",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "::1:8080",
        "[::1]",
        "127.0.0.1:123456",
        "unix:",
        "unix:relative",
        "300.0.0.1:0",
        "no such host:0",
        "127.0.0.1: 80",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (open_at(wrong[i]) != NULL)
            fail_msg("listens on '%s'", wrong[i]);
        assert_memory_equal(error, "LISTEN: ", 8);
        assert_non_null(strstr(error, wrong[i]));
    }
    config_t config = {.listen = "127.0.0.1:0", .admin_listen = "nowhere"};
    assert_null(listeners_new(&config, error, sizeof error));
    assert_memory_equal(error, "ADMIN_LISTEN: nowhere: ", 23);
}

static void an_address_that_is_taken_is_refused(void **unused)
{
    (void)unused;
    listeners_t *first = open_at("127.0.0.1:0");
    const char *address = listeners_url(first) + strlen("http://");
    assert_null(open_at(address));
    assert_non_null(strstr(error, "in use"));
    listeners_destroy(&first);
}

static void a_unix_socket_is_made_and_removed(void **unused)
{
    (void)unused;
    char listen[128];
    snprintf(listen, sizeof listen, "unix:%s/socket", directory);
    const char *path = listen + strlen("unix:");
    listeners_t *listeners = open_at(listen);
    assert_non_null(listeners);
    assert_string_equal(listeners_url(listeners), listen);
    assert_null(open_at(listen));
    struct stat is;
    assert_int_equal(stat(path, &is), 0);
    listeners_destroy(&listeners);
    assert_int_not_equal(stat(path, &is), 0);
}

static void a_unix_socket_left_behind_is_replaced(void **unused)
{
    (void)unused;
    char listen_at[128];
    snprintf(listen_at, sizeof listen_at, "unix:%s/socket", directory);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, listen_at + strlen("unix:"));
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (struct sockaddr *)&address, sizeof address), 0);
    close(dead);
    listeners_t *listeners = open_at(listen_at);
    assert_non_null(listeners);
    listeners_destroy(&listeners);
    FILE *file = fopen(address.sun_path, "w");
    assert_non_null(file);
    fclose(file);
    assert_null(open_at(listen_at));
    assert_int_equal(unlink(address.sun_path), 0);
}

static void connections_are_shared_out(void **unused)
{
    (void)unused;
    fixture_t *fixture = fixture_start(3, &usual_limits);
    client_t clients[30];
    for (int i = 0; i < 30; i++) {
        clients[i] = client_connect(fixture->port);
        assert_int_equal(client_ask(&clients[i], "GET / HTTP/1.1\r\n" HOST "\r\n").status, 200);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture->owners[i].n_served, 10);
    for (int i = 0; i < 30; i++)
        client_close(&clients[i]);
    fixture_stop(fixture);
}

static void requests_know_which_address_they_came_to(void **unused)
{
    (void)unused;
    fixture_t *fixture = fixture_start(2, &usual_limits);
    int port = atoi(strrchr(listeners_admin_url(fixture->listeners), ':') + 1);
    client_t client = client_connect(port);
    answer_in_t answer = client_ask(&client, "GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_true(answer_has(&answer, "tag=1 "));
    client_close(&client);
    fixture_stop(fixture);
}

static void a_full_inlet_refuses(void **unused)
{
    (void)unused;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    inlet_t *inlet = inlet_new(&loop, take, NULL);
    for (int i = 0; i < INLET_MAX_WAITING; i++)
        assert_true(inlet_push(inlet, &(arrival_t){.fd = dup(0)}));
    assert_false(inlet_push(inlet, &(arrival_t){0}));
    inlet_destroy(&inlet);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void nobody_waits_for_ever_when_files_run_out(void **unused)
{
    (void)unused;
    fixture_t *fixture = fixture_start(1, &usual_limits);
    client_t first = client_connect(fixture->port);
    assert_int_equal(client_ask(&first, "GET / HTTP/1.1\r\n" HOST "\r\n").status, 200);
    client_t clients[40];
    for (int i = 0; i < 40; i++)
        clients[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    struct rlimit less = {.rlim_cur = (rlim_t)clients[39].fd + 10, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &less), 0);
    for (int i = 0; i < 40; i++)
        clients[i] = client_connect_fd(clients[i].fd, fixture->port);
    /* Those that cannot be taken are turned away. */
    int n_served = 0;
    for (int i = 0; i < 40; i++) {
        client_send(&clients[i], "GET / HTTP/1.1\r\n" HOST "\r\n");
        n_served += client_read(&clients[i]).status == 200;
    }
    assert_in_range(n_served, 1, 39);
    for (int i = 0; i < 40; i++)
        client_close(&clients[i]);
    assert_int_equal(client_ask(&first, "GET / HTTP/1.1\r\n" HOST "\r\n").status, 200);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    wait_for_counter(fixture->port, "connections=2");
    client_close(&first);
    fixture_stop(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_listened_on),
        cmocka_unit_test(what_is_no_address_is_refused_by_name),
        cmocka_unit_test(an_address_that_is_taken_is_refused),
        cmocka_unit_test(a_unix_socket_is_made_and_removed),
        cmocka_unit_test(a_unix_socket_left_behind_is_replaced),
        cmocka_unit_test(connections_are_shared_out),
        cmocka_unit_test(requests_know_which_address_they_came_to),
        cmocka_unit_test(a_full_inlet_refuses),
        cmocka_unit_test(nobody_waits_for_ever_when_files_run_out),
    };
    return cmocka_run_group_tests(tests, make_directory, drop_directory);
}
