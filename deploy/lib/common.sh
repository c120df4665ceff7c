# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What deploy/up, deploy/down and tests/run share: messages, packages, places. To be sourced.

say()
{
    printf '%s\n' "$*"
}

die()
{
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Runs a command with root's rights, by sudo where we are not root.
as_root()
{
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "packages must be installed; run this as root, or install sudo"
    fi
}

is_installed()
{
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# The first of "a|b" that is installed, else the first that Debian has: names differ between releases.
pick_package()
{
    local name
    local -a names
    IFS='|' read -ra names <<<"$1"
    for name in "${names[@]}"; do
        is_installed "$name" && { echo "$name"; return; }
    done
    for name in "${names[@]}"; do
        apt-cache show "$name" >/dev/null 2>&1 && { echo "$name"; return; }
    done
    echo "${names[0]}"
}

apt_install()
{
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null
}

# Debian's server package makes and starts a cluster of its own; we want none but ours.
install_postgresql()
{
    local conf=/etc/postgresql-common/createcluster.conf
    apt_install postgresql-common || return 1
    as_root sed -i.taskwire -E 's/^#?[[:space:]]*create_main_cluster.*/create_main_cluster = false/' "$conf"
    apt_install postgresql
    local status=$?
    as_root mv "$conf.taskwire" "$conf"
    return $status
}

# Installs what is missing of these packages ("a|b": either). Quiet and without apt when nothing is.
install_packages()
{
    local wanted package missing=()
    for wanted in "$@"; do
        # shellcheck disable=SC2086
        package=$(pick_package "$wanted")
        is_installed "$package" || missing+=("$wanted")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing: ${missing[*]}"
    as_root apt-get update -q >/dev/null || say "apt-get update failed; trying with what is known"
    local chosen=()
    for wanted in "${missing[@]}"; do
        package=$(pick_package "$wanted")
        if [ "$package" = postgresql ]; then
            install_postgresql || die "PostgreSQL could not be installed"
        else
            chosen+=("$package")
        fi
    done
    [ ${#chosen[@]} -eq 0 ] || apt_install "${chosen[@]}" || die "these packages could not be installed: ${chosen[*]}"
}

# To build and run taskwire.
BUILD_PACKAGES=(gcc g++ libc6-dev cmake ninja-build pkg-config libczmq-dev libzmq3-dev libpq-dev librdkafka-dev "libmsgpack-c-dev|libmsgpack-dev"
    libsimdjson-dev libsodium-dev libssl-dev libutf8proc-dev libuv1-dev libwebsockets-dev libwebsockets-evlib-uv libcctz-dev tzdata)
RUN_PACKAGES=(postgresql librdkafka1 util-linux procps python3)
export BUILD_PACKAGES RUN_PACKAGES

# Where the state is.
taskwire_home()
{
    if [ -n "${TASKWIRE_HOME:-}" ]; then
        case $TASKWIRE_HOME in
        /*) echo "$TASKWIRE_HOME" ;;
        *) echo "$PWD/$TASKWIRE_HOME" ;;
        esac
    elif [ "$(id -u)" -eq 0 ]; then
        echo /var/lib/taskwire
    else
        echo "$HOME/.local/share/taskwire"
    fi
}

# Whether a process with the pid in this file lives.
is_alive()
{
    local pid
    pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null
}

# Waits, at most this many seconds, until a command succeeds.
wait_until()
{
    local seconds=$1 i
    shift
    for ((i = 0; i < seconds * 10; i++)); do
        "$@" && return
        sleep 0.1
    done
    return 1
}

# Asks the keeper with this file of its pid to end what it keeps, and waits, at most this many seconds, until both have
# ended. Fine if there is none.
end_keeper()
{
    is_alive "$1" || return 0
    kill -TERM "$(cat "$1")" 2>/dev/null
    wait_until "$2" not_alive "$1"
}

not_alive()
{
    ! is_alive "$1"
}
