# SPDX-License-Identifier: Apache-2.0
"""The measures. Each is repeated, with its peers in turn in every repetition, so that what disturbs the machine for a
while disturbs them alike; ratios are taken within a repetition."""
import json
import os
import statistics
import subprocess
import time

import machine
import peer
import world as w

ALL_TASKS = range(w.N_TASKS)
ONE_LIST = range(0, w.N_TASKS, w.N_LISTS)
FOLLOWERS = 1000


def median(values):
    return statistics.median(values) if values else 0


def spread(values):
    """How far apart the runs were, as a share of their median."""
    return (max(values) - min(values)) / max(1e-9, median(values)) if values else 0


def summary(runs, key="rate"):
    values = [run[key] for run in runs]
    return {"median": round(median(values), 3), "spread": round(spread(values), 3), "runs": runs}


class Measures:
    def __init__(self, world, seconds, repeat, is_quick, note):
        self.world, self.seconds, self.repeat, self.is_quick, self.note = world, seconds, repeat, is_quick, note
        self.rest_s = 1 if is_quick else 2

    # --- one run of a load generator ---

    # `server` is who is measured: taskwire, or another.

    def load(self, program, *options, server=None):
        server = server or self.world.server
        return [os.path.join(self.world.loads, program), "--port", str(server.port), *map(str, options)]

    def watch(self, command, operations, server=None):
        """Runs it and returns what it printed, with the CPU that everybody used per operation."""
        server = server or self.world.server
        names = self.world.backend_names()
        load_before = w.children_cpu_us()
        before = machine.Sample(server.pid, self.world.postmaster)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        after = machine.Sample(server.pid, self.world.postmaster)
        if done.returncode != 0:
            raise w.Failed(f"{command[0]} ended with {done.returncode}")
        run = json.loads(done.stdout)
        use = machine.Use(before, after, w.children_cpu_us() - load_before, names)
        run["cpu_us"] = use.per(operations(run))
        run["is_disturbed"] = use.is_disturbed()
        return run

    def http(self, method, connections, tasks, seconds=None, rate=None, author=None, server=None):
        options = ["--method", method, "--connections", connections, "--seconds", seconds or self.seconds,
                   "--targets", self.world.http_targets(tasks, author)]
        if rate:
            options += ["--rate", rate]
        run = self.watch(self.load("load_http", *options, server=server), lambda found: found["answers"], server)
        if run["good"] != run["answers"] or run["unanswered"] + run["closed"] + run["unreadable"] > 0:
            raise w.Failed(f"not every {method} succeeded: {run}")
        return run

    # --- beside pgbench ---

    def patch(self, connections, tasks, author=None):
        run = self.http("PATCH", connections, tasks, author=author)
        run["backlog"], run["settle_s"] = self.world.settle()
        return run

    def pgbench(self, script, connections, tasks):
        return lambda: peer.run(self.world, script, connections, tasks, self.seconds, 1 if self.is_quick else 2)

    def beside(self, title, mine, peers, target):
        """`mine` and each of the peers in turn; every second time the other way round."""
        runs = {"taskwire": [], **{name: [] for name in peers}}
        steps = [("taskwire", mine), *peers.items()]
        for i in range(self.repeat):
            for name, step in steps if i % 2 == 0 else reversed(steps):
                self.note(f"{title}: {name}, run {i + 1} of {self.repeat}")
                self.world.checkpoint()
                runs[name].append(step())
        row = {"title": title, "unit": "/s", "target_ratio": target, "ratios": {}}
        row.update((name, summary(found)) for name, found in runs.items())
        for name in peers:
            ratios = [a["rate"] / b["rate"] for a, b in zip(runs["taskwire"], runs[name])]
            row["ratios"][name] = {"median": round(median(ratios), 3), "spread": round(spread(ratios), 3)}
        return row

    def patch_beside(self, title, connections, tasks, target, has_pipelined):
        self.patch_warm_up(connections, tasks)
        peers = {"pgbench": self.pgbench("patch.sql", connections, tasks)}
        if has_pipelined:
            peers["pipelined"] = self.pgbench("patch_pipelined.sql", connections, tasks)
        return self.beside(title, lambda: self.patch(connections, tasks), peers, target)

    def patch_warm_up(self, connections, tasks):
        self.http("PATCH", connections, tasks, seconds=1)
        self.world.settle()

    def measure_patch(self):
        """Authors are the owners of the 16 lists; then one of them writes in all lists."""
        return [self.patch_beside("PATCH, 32 connections", 32, ALL_TASKS, 1.5, True),
                self.patch_beside("PATCH, 256 connections", 256, ALL_TASKS, 1.5, not self.is_quick),
                self.beside("PATCH by one author in 16 lists, 32 connections",
                            lambda: self.patch(32, ALL_TASKS, author=0), {}, None)]

    def measure_one_list(self):
        return [self.patch_beside("PATCH in one list, 32 connections", 32, ONE_LIST, None, not self.is_quick)]

    def measure_get(self):
        rows = []
        for n in (32, 256):
            self.http("GET", n, ALL_TASKS, seconds=1)
            rows.append(self.beside(f"GET by id, {n} connections", lambda n=n: self.http("GET", n, ALL_TASKS),
                                    {"pgbench": self.pgbench("get.sql", n, ALL_TASKS)}, 0.5))
        return rows

    # --- from commit to frame ---

    def follow(self, connections, lists, *options):
        """Starts followers and returns when all are subscribed."""
        command = self.load("load_ws", "--token", self.world.tokens[0], "--streams", self.world.streams(lists),
                            "--connections", connections, *options)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if process.stdout.readline() != "ready\n":
            process.kill()
            process.wait()
            raise w.Failed("followers do not get their subscriptions")
        return process

    @staticmethod
    def unfollow(process):
        found, _ = process.communicate("")
        if process.returncode != 0:
            raise w.Failed("the followers failed")
        return json.loads(found)

    def commits(self, since):
        """When the transaction of each event was committed, by PostgreSQL's own record."""
        instant = "(extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint"
        rows = self.world.sql(f"SELECT stream, rev, {instant} FROM event WHERE id > {since}")
        return {(stream, int(rev)): int(at) for stream, rev, at in rows}

    def latency_run(self, rate):
        record = os.path.join(self.world.directory, "frames")
        since = int(self.world.sql("SELECT coalesce(max(id), 0) FROM event")[0][0])
        followers = self.follow(w.N_LISTS, range(w.N_LISTS), "--record", record)
        run = self.http("PATCH", 32, ALL_TASKS, rate=rate)
        self.world.settle()
        followed = self.unfollow(followers)
        if followed["gaps"] + followed["resets"] + followed["gone"] + followed["odd"] > 0 or \
                followed["deliveries"] != run["answers"]:
            raise w.Failed(f"not every frame came once and in order: {followed}")
        commits = self.commits(since)
        from_commit, from_due = [], []
        with open(record) as file:
            for line in file:
                stream, rev, got, sent = line.split()
                from_commit.append(int(got) - commits[stream, int(rev)])
                from_due.append(int(got) - int(sent))
        run["commit_to_frame_us"] = percentiles(from_commit)
        run["request_to_frame_us"] = percentiles(from_due)
        return run

    def measure_latency(self, rate=1000):
        title = f"commit to frame, {rate} writes/s, {w.N_LISTS} lists"
        self.http("PATCH", 32, ALL_TASKS, seconds=1, rate=rate)
        runs = []
        for i in range(self.repeat):
            self.note(f"{title}: run {i + 1} of {self.repeat}")
            self.world.checkpoint()
            runs.append(self.latency_run(rate))
        keys = {"commit to frame": "commit_to_frame_us", "request due to frame": "request_to_frame_us",
                "request due to answer": "latency_us"}
        figures = {}
        for name, key in keys.items():
            for share in ("p50", "p99"):
                values = [run[key][share] for run in runs]
                figures[f"{name} {share}"] = {"median": median(values), "spread": round(spread(values), 3)}
        return [{"title": title, "unit": "us", "figures": figures, "runs": runs}]

    # --- fan-out ---

    def fan_out_run(self, *options):
        command = self.load("load_ws", "--token", self.world.tokens[0], "--streams", self.world.streams([0]),
                            "--connections", FOLLOWERS, "--targets", self.world.ws_targets(ONE_LIST),
                            "--seconds", self.seconds, *options)
        run = self.watch(command, lambda found: found["deliveries"])
        if run["gaps"] + run["refused"] + run["gone"] + run["odd"] > 0 or run["everywhere"] != run["writes"]:
            raise w.Failed(f"not every frame came once and in order to every follower: {run}")
        self.world.settle()
        return run

    def measure_fan_out(self):
        rows = []
        kinds = [("32 writes under way", 150000, ["--window", 32]), ("1 write under way", None, ["--window", 1]),
                 ("at 150 writes/s", None, ["--rate", 150])]
        for words, target, options in kinds[:2] if self.is_quick else kinds:
            title = f"fan-out to {FOLLOWERS} subscribers, {words}"
            runs = []
            for i in range(self.repeat):
                self.note(f"{title}: run {i + 1} of {self.repeat}")
                runs.append(self.fan_out_run(*options))
            rows.append({"title": title, "unit": "/s", "target": target, "taskwire": summary(runs)})
        return rows

    # --- memory and start ---

    def measure_memory(self):
        """Of a fresh process: nothing asked yet, then with followers that hear nothing."""
        found = {"idle": [], f"with {FOLLOWERS} idle WebSockets": [], "after they left": []}
        for i in range(self.repeat):
            self.note(f"memory: run {i + 1} of {self.repeat}")
            self.world.restart_server()
            time.sleep(self.rest_s)
            self.note_memory(found["idle"])
            followers = self.follow(FOLLOWERS, range(w.N_LISTS))
            time.sleep(self.rest_s)
            self.note_memory(found[f"with {FOLLOWERS} idle WebSockets"])
            opened = self.unfollow(followers)
            time.sleep(self.rest_s)
            self.note_memory(found["after they left"])
        rows = [{"title": f"memory (RSS), {words}", "unit": "MB", "target_most": 25 if words == "idle" else None,
                 "taskwire": summary(runs, "rss_mb")} for words, runs in found.items()]
        rows[1]["opening_us"] = opened["opening_us"]
        return rows

    def note_memory(self, runs):
        rss, anon = machine.memory_of(self.world.server.pid)
        runs.append({"rss_mb": round(rss / 2**20, 1), "anonymous_mb": round(anon / 2**20, 1)})

    def measure_start(self):
        self.note("start")
        taken = [self.world.restart_server() for _ in range(2 * self.repeat - 1)]
        titles = ["start to listening", "start to the first answered GET"]
        return [{"title": title, "unit": "ms",
                 "taskwire": summary([{"ms": round(times[i] * 1000, 1)} for times in taken], "ms")}
                for i, title in enumerate(titles)]


def percentiles(values):
    ordered = sorted(values)
    def at(share):
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
    return {"n": len(ordered), "min": ordered[0], "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999),
            "max": ordered[-1]}
