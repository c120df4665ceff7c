# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Private PostgreSQL clusters, to be sourced. Everything of a cluster is in a directory of its own; it listens
# only on a Unix socket, so any number of them can run side by side. PostgreSQL refuses to run as root: as root the
# directory and the server belong to an unprivileged account.
#
#   url=$(pg_start DIR [-c NAME=VALUE …])   makes the cluster if need be, starts it if need be, prints its URL
#   pg_stop DIR [fast|immediate|smart]      stops it if it runs; the data stays, a later pg_start gives the same URL
#   pg_remove DIR                           stops it and deletes the directory
#   pg_url DIR [DATABASE]                   prints the URL without looking whether it runs
#   pg_postmaster_pid DIR                   prints the server's process id; fails if it does not run
#
# Nobody needs a password, but who is a member of a role named `taskwire_password`. Settings given to pg_start hold
# until the next start. The log is DIR/log.

pg_bin()
{
    local found
    if [ -n "${TW_PG_BIN:-}" ]; then
        echo "$TW_PG_BIN"
        return
    fi
    # shellcheck disable=SC2012 # the names are Debian's
    found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -n | tail -n 1) || true
    [ -n "$found" ] || found=$(dirname "$(command -v pg_ctl)" 2>/dev/null) || true
    if [ ! -x "$found/pg_ctl" ]; then
        echo "postgres.sh: no pg_ctl found (set TW_PG_BIN)" >&2
        return 1
    fi
    echo "$found"
}

# The account that the server runs as.
pg_account()
{
    if [ "$(id -u)" -ne 0 ]; then
        id -un
    elif [ -n "${TW_PG_ACCOUNT:-}" ]; then
        echo "$TW_PG_ACCOUNT"
    elif id -u postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

# Runs a command as that account, from a directory that it can read.
pg_as()
(
    cd / || exit 1
    unset PGDATA PGHOST PGPORT PGUSER PGDATABASE PGOPTIONS PGSERVICE
    account=$(pg_account)
    if [ "$(id -u)" -ne 0 ]; then
        exec "$@"
    elif command -v setpriv >/dev/null; then
        exec setpriv --reuid "$account" --regid "$(id -g "$account")" --init-groups -- "$@"
    else
        exec runuser -u "$account" -- "$@"
    fi
)

# The directory as an absolute path, whether or not it is there.
pg_path()
{
    case $1 in
    /*) echo "${1%/}" ;;
    *) echo "$PWD/${1%/}" ;;
    esac
}

# Where the socket is: in DIR, unless its path would be longer than a socket's may be.
pg_socket()
{
    local dir=$1 short
    if [ "${#dir}" -le 80 ]; then
        echo "$dir"
        return
    fi
    short=$(cat "$dir/socket" 2>/dev/null) || true
    if [ -z "$short" ] || { [ ! -d "$short" ] && ! pg_as mkdir -m 700 "$short"; }; then
        short=$(pg_as mktemp -d /tmp/tw-pg.XXXXXX) || return 1
        echo "$short" >"$dir/socket"
    fi
    echo "$short"
}

pg_url()
{
    local dir socket encoded='' i char
    dir=$(pg_path "$1")
    socket=$(pg_socket "$dir") || return 1
    for ((i = 0; i < ${#socket}; i++)); do
        char=${socket:i:1}
        case $char in
        [A-Za-z0-9/._-]) encoded+=$char ;;
        *) encoded+=$(printf '%s' "$char" | od -An -tx1 | tr ' ' % | tr -d '\n') ;;
        esac
    done
    echo "postgresql://postgres@/${2:-postgres}?host=$encoded&port=5432"
}

pg_is_running()
{
    pg_as "$(pg_bin)/pg_ctl" -D "$1/data" status >/dev/null 2>&1
}

pg_postmaster_pid()
{
    local dir
    dir=$(pg_path "$1")
    pg_is_running "$dir" && head -n 1 "$dir/data/postmaster.pid"
}

# A cluster that was only half made (killed in initdb) is made anew.
pg_make()
{
    local dir=$1
    [ -e "$dir/made" ] && return
    rm -rf "$dir/data"
    if ! pg_as "$(pg_bin)/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >"$dir/initdb.log" 2>&1; then
        cat "$dir/initdb.log" >&2
        return 1
    fi
    cat >"$dir/data/pg_hba.conf" <<HBA
local all +taskwire_password scram-sha-256
local all all trust
local replication all trust
HBA
    touch "$dir/made"
}

# Right after a crash old children may still hold the shared memory: then it is tried again.
pg_launch()
{
    local dir=$1 socket options try
    shift
    socket=$(pg_socket "$dir") || return 1
    options="-c listen_addresses='' -p 5432 -c unix_socket_directories='$socket'"
    [ $# -gt 0 ] && options+=" $(printf '%q ' "$@")"
    for try in 1 2 3 4 5; do
        pg_as "$(pg_bin)/pg_ctl" -D "$dir/data" -l "$dir/log" -o "$options" -w -t 60 start >"$dir/start.log" 2>&1 9>&- && return
        [ "$try" = 5 ] || sleep 0.5
    done
    cat "$dir/start.log" >&2
    tail -n 20 "$dir/log" >&2
    return 1
}

pg_start()
{
    local dir
    dir=$(pg_path "$1")
    shift
    pg_bin >/dev/null || return 1
    mkdir -p "$dir" && chmod 700 "$dir" || return 1
    [ "$(id -u)" -ne 0 ] || chown "$(pg_account):" "$dir" || return 1
    if ! pg_as test -w "$dir"; then
        echo "postgres.sh: $(pg_account) cannot reach $dir" >&2
        return 1
    fi
    (
        flock 9
        pg_make "$dir" && { pg_is_running "$dir" || pg_launch "$dir" "$@"; }
    ) 9>"$dir/lock" || return 1
    pg_url "$dir"
}

pg_stop()
{
    local dir short
    dir=$(pg_path "$1")
    [ -d "$dir/data" ] || return 0
    if pg_is_running "$dir" && ! pg_as "$(pg_bin)/pg_ctl" -D "$dir/data" -m "${2:-fast}" -w -t 60 stop >/dev/null; then
        pg_is_running "$dir" && return 1
    fi
    short=$(cat "$dir/socket" 2>/dev/null) || true
    [ -z "$short" ] || rmdir "$short" 2>/dev/null || true
}

pg_remove()
{
    pg_stop "$1" immediate || return 1
    rm -rf "$(pg_path "$1")"
}
