# SPDX-License-Identifier: Apache-2.0
"""What is measured beside other servers: by the same load generators, in the same run, on the same machine."""
import os
import re
import subprocess

import rivals
import world as w
from measures import ALL_TASKS, FOLLOWERS, ONE_LIST, Measures


class RivalMeasures(Measures):
    # --- the usual task service ---

    def crud_row(self, title, crud, method, connections, target):
        self.http(method, connections, ALL_TASKS, seconds=1)
        self.http(method, connections, ALL_TASKS, seconds=1, server=crud)
        self.world.settle()

        def mine():
            return self.patch(connections, ALL_TASKS) if method == "PATCH" else self.http(method, connections, ALL_TASKS)
        return self.beside(title, mine, {crud.name: lambda: self.http(method, connections, ALL_TASKS, server=crud)}, target)

    def measure_crud(self):
        with rivals.FastApi(self.world) as crud:
            return [self.crud_row(f"{method}, {n} connections", crud, method, n, target)
                    for method, n, target in (("PATCH", 32, 20), ("PATCH", 256, 20), ("GET", 32, None))]

    # --- wrk: whether our own load generator measures right ---

    def wrk_run(self, connections):
        command = ["wrk", "-t", "2", "-c", str(connections), "-d", f"{self.seconds}s", "--latency", "-s",
                   os.path.join(rivals.HOME, "wrk.lua"), f"http://127.0.0.1:{self.world.server.port}",
                   self.world.http_targets(ALL_TASKS)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
        if done.returncode != 0 or rate is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
            raise w.Failed(f"wrk failed: {done.stdout}")
        factors = {"us": 1, "ms": 1000, "s": 1_000_000}
        latency = {f"p{share}": float(value) * factors[unit]
                   for share, value, unit in re.findall(r"(50|90|99)%\s+([\d.]+)(us|ms|s)", done.stdout)}
        return {"rate": float(rate.group(1)), "latency_us": latency}

    def measure_wrk(self):
        self.http("GET", 32, ALL_TASKS, seconds=1)
        return [self.beside("GET by id, 32 connections, asked by load_http", lambda: self.http("GET", 32, ALL_TASKS),
                            {"wrk": lambda: self.wrk_run(32)}, None)]

    # --- fan-out ---

    def rooms_run(self, rival, *options):
        room = self.world.write_file("room", [f"{w.list_id(0)} {self.world.sample['epoch']} 0"])
        command = self.load("load_ws", "--dialect", rival.dialect, "--streams", room, "--connections", FOLLOWERS,
                            "--targets", self.world.ws_targets(ONE_LIST), "--seconds", self.seconds, *options, server=rival)
        run = self.watch(command, lambda found: found["deliveries"], rival)
        if run["gaps"] + run["gone"] + run["odd"] > 0 or run["everywhere"] != run["writes"]:
            raise w.Failed(f"{rival.name}: not every frame came once and in order to every follower: {run}")
        return run

    def measure_rooms(self):
        with rivals.NodeRooms(self.world) as node, rivals.Nats(self.world) as nats:
            rows = []
            for words, window in (("32 writes under way", 32), ("1 write under way", 1)):
                def of(rival, window=window):
                    return lambda: self.rooms_run(rival, "--window", window)
                rows.append(self.beside(f"fan-out to {FOLLOWERS} subscribers, {words}",
                                        lambda window=window: self.fan_out_run("--window", window),
                                        {rival.name: of(rival) for rival in (node, nats)}, None))
            return rows
