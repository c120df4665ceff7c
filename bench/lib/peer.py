# SPDX-License-Identifier: Apache-2.0
"""pgbench doing the same SQL, on its own copy of the data in the same cluster."""
import itertools
import os
import re
import subprocess

import machine
import world as w

# As taskwire's own sessions.
OPTIONS = ("-c jit=off -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan"
           " -c synchronous_commit=on")
runs = itertools.count(1)


def computed_id(first, variable):
    """The id that a number stands for, as SQL."""
    return f"('{first[:24]}' || lpad(:{variable}::text, 12, '0'))::uuid"


def script(world, name, tasks):
    """Fills in one of bench/sql; `tasks` is a range."""
    shard = "CASE " + " ".join(f"WHEN :l = {n} THEN {shard}" for n, shard in enumerate(world.shards)) + " ELSE 0 END"
    values = {"last": len(tasks) - 1, "stride": tasks.step, "lists": w.N_LISTS, "shard": shard,
              "LIST": computed_id(w.list_id(0), "l"), "TASK": computed_id(w.task_id(0), "task"),
              "ACCOUNT": computed_id(w.peer_account_id(0), "l"), "COMMAND": "lpad(to_hex(:c::bigint), 32, '0')::uuid",
              "TITLE": "('Water the plants ' || lpad(:c::text, 16, '0'))"}
    with open(os.path.join(w.ROOT, "bench", "sql", name)) as file:
        text = re.sub(r"@(\w+)@", lambda found: str(values[found.group(1)]), file.read())
    return world.write_file(name, text.splitlines())


class NotReady(Exception):
    """Its connections were not ready soon enough."""


def run(world, name, connections, tasks, seconds, spare_s):
    """One run, with so many seconds to spare for the beginning, or more on a busy machine."""
    for spare in (spare_s, 4 * spare_s, 16 * spare_s):
        try:
            return run_once(world, name, connections, tasks, seconds, spare)
        except NotReady:
            pass
    raise w.Failed("pgbench takes too long to get going: the machine is too busy to measure anything")


def start(world, name, connections, tasks, seconds):
    command = [os.path.join(world.pg_bin, "pgbench"), "-n", "-M", "prepared", "-c", str(connections),
               "-j", str(min(connections, machine.CPUS)), "-T", str(seconds), "-P", "1", "-f", script(world, name, tasks),
               "-D", "k=0", "-D", f"run={next(runs)}"]
    for key, value in world.sample.items():
        command += ["-D", f"{key}={value}"]
    return subprocess.Popen(command + [world.url("peer")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "PGOPTIONS": OPTIONS})


def first_report(process):
    """Waits for it; returns its instant and the transactions until then, and what came before it."""
    noise = ""
    for line in process.stderr:
        found = re.match(r"progress: ([\d.]+) s, ([\d.]+) tps", line)
        if found:
            return float(found.group(1)), float(found.group(1)) * float(found.group(2)), noise
        noise += line
    return 0, 0, noise


def run_once(world, name, connections, tasks, seconds, spare_s):
    """What comes before the first report, due after a second, does not count: each connection prepares its statements."""
    process = start(world, name, connections, tasks, seconds + spare_s)
    first_s, first_transactions, noise = first_report(process)
    before = machine.Sample(world.server.pid, world.postmaster)
    own_before = (machine.stat_of(process.pid) or (0, 0, 0))[1]
    children_before = w.children_cpu_us()
    output, errors = process.communicate()
    after = machine.Sample(world.server.pid, world.postmaster)
    found = re.search(r"number of transactions actually processed: (\d+)", output)
    failed = re.search(r"number of failed transactions: (\d+)", output)
    if process.returncode != 0 or not found or (failed and int(failed.group(1)) > 0):
        raise w.Failed(f"pgbench failed: {noise}{errors[-2000:]}{output[-2000:]}")
    window_s = seconds + spare_s - first_s
    if first_s == 0 or window_s < seconds / 2:
        raise NotReady
    transactions = int(found.group(1)) - first_transactions
    latency_ms = float(re.search(r"latency average = ([\d.]+) ms", output).group(1))
    use = machine.Use(before, after, w.children_cpu_us() - children_before - own_before, {})
    return {"rate": transactions / window_s, "latency_us": {"mean": latency_ms * 1000}, "cpu_us": use.per(transactions),
            "is_disturbed": use.is_disturbed()}
