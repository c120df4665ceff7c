# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The jobs of the test suite, some at once, to be sourced: test programs and node test files, each with a directory for
# what it says. The caller sets `root`, `out` (a temporary directory) and, for jobs with kafka, `broker` (HOST:PORT).
#
# A job is three words with | between: its kind (cmocka, node or fuzz), how the program is run (the preset, and maybe
# `kafka` behind it), and the file.

root=${root:?}
out=${out:?}
broker=
passed=0
failed=0
failures=()
durations=()
declare -A running=() # of the pid of each job that runs

count()
{
    passed=$((passed + $1))
    failed=$((failed + $2))
}

fail()
{
    count 0 1
    failures+=("$1")
    say "FAILED $1"
}

# Keeps what a cmocka program says; its claims are TAP lines.
start_cmocka()
{
    CMOCKA_MESSAGE_OUTPUT=tap timeout 300 "$2" >"$3/tap" 2>"$3/stderr"
}

# A node test file against the program of the preset.
start_node()
{
    local preset=${1%% *} kafka=
    [ "$preset" = "$1" ] || kafka=$broker
    TASKWIRE_TEST_KAFKA=$kafka TASKWIRE_BIN=$root/build/$preset/taskwire \
        timeout 600 node --test --test-reporter=tap "$2" >"$3/tap" 2>"$3/stderr"
}

# A fuzz target on its corpus and a few seconds beyond.
start_fuzz()
{
    local name corpora=("$3/corpus")
    name=$(basename "$2")
    mkdir "$3/corpus"
    [ ! -d "tests/fuzz/corpus/${name#fuzz_}" ] || corpora+=("tests/fuzz/corpus/${name#fuzz_}")
    timeout 120 "$2" -max_total_time=4 -timeout=5 -rss_limit_mb=1024 -artifact_prefix="$3/" "${corpora[@]}" >"$3/stderr" 2>&1 &&
        echo "ok 1" >"$3/tap"
}

# Runs a job; last it leaves its status.
start_job()
{
    local kind=$1 how=$2 file=$3 dir=$4 begun=$EPOCHREALTIME
    mkdir -p "$dir"
    "start_$kind" "$how" "$file" "$dir"
    echo "$? $(((${EPOCHREALTIME/./} - ${begun/./}) / 100000))" >"$dir/status"
}

# Sets n_ok and n_not_ok to the claims of a job that has ended.
count_claims()
{
    case $1 in
    node)
        n_ok=$(sed -n 's/^# pass //p' "$2" | tail -n 1)
        n_not_ok=$(sed -n 's/^# fail //p' "$2" | tail -n 1)
        ;;
    *)
        n_ok=$(grep -c '^ok ' "$2")
        n_not_ok=$(grep -c '^not ok ' "$2")
        ;;
    esac
    n_ok=${n_ok:-0}
    n_not_ok=${n_not_ok:-0}
}

show_failure()
{
    case $1 in
    node) grep -vE '^ *(ok|duration_ms|---|\.\.\.|type:)' "$2/tap" | head -n 100 ;;
    *) grep -A3 '^not ok ' "$2/tap" | head -n 40 ;;
    esac
    tail -n 30 "$2/stderr"
}

# Counts the claims of a job that has ended.
end_job()
{
    local kind how file dir=$2 n_ok n_not_ok status tenths
    IFS='|' read -r kind how file <<<"$1"
    [ -e "$dir/tap" ] || touch "$dir/tap"
    read -r status tenths < <(cat "$dir/status" 2>/dev/null || echo killed 0)
    count_claims "$kind" "$dir/tap"
    count "$n_ok" "$n_not_ok"
    durations+=("$((tenths / 10)) s $how $file")
    grep -h '^ *# ledger' "$dir/tap" | sed 's/^ *# //'
    if [ "$status" = 0 ] && [ "$n_not_ok" -eq 0 ]; then
        rm -rf "$dir"
        return
    fi
    show_failure "$kind" "$dir"
    if [ "$n_not_ok" -eq 0 ]; then
        fail "$how $file (status $status)"
    else
        failures+=("$how $file")
        say "FAILED $how $file"
    fi
}

# Waits until at least one job has ended.
await_job()
{
    local pid number job
    wait -n "${!running[@]}" 2>/dev/null # which forgets a process that a signal ended: so look for oneself
    for pid in "${!running[@]}"; do
        kill -0 "$pid" 2>/dev/null && continue
        IFS=' ' read -r number job <<<"${running[$pid]}"
        unset "running[$pid]"
        end_job "$job" "$out/jobs/$number"
    done
}

# Runs the jobs, so many at once. The later ones wait for the earlier ones only: so what takes long comes first.
run_jobs()
{
    local n_at_once=$1 job kind how file
    shift
    for job in "$@"; do
        IFS='|' read -r kind how file <<<"$job"
        while [ ${#running[@]} -ge "$n_at_once" ]; do
            await_job
        done
        n_jobs=$((${n_jobs:-0} + 1))
        start_job "$kind" "$how" "$file" "$out/jobs/$n_jobs" &
        running[$!]="$n_jobs $job"
    done
    while [ ${#running[@]} -gt 0 ]; do
        await_job
    done
}

# What took longest.
show_durations()
{
    printf '%s\n' "${durations[@]+"${durations[@]}"}" | sort -rn | head -n "$1"
}
