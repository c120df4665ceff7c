# SPDX-License-Identifier: Apache-2.0
"""The measures of time: reminders that wait, are registered, and fire. Each figure is of one run; what fired is taken from
the log itself: an event's instant, and the commit that PostgreSQL records for its row."""
import concurrent.futures
import datetime
import http.client
import json
import os
import subprocess
import time
import uuid

import machine
import peer
import world as w

BULK = 1000
BATCH = 500  # rows of the peer's statements, about those of the writer's
SPREAD_S = 365 * 86400


class Size:
    """How much of it, in the quick run and in the whole one."""

    def __init__(self, is_quick):
        self.pending = 1_000_000 if is_quick else 10_000_000
        self.wheel = 1_000_000 if is_quick else 10_000_000
        self.register = 20_000 if is_quick else 200_000
        self.burst = 20_000 if is_quick else 100_000
        self.steady = [(1000, 5)] if is_quick else [(1000, 20), (10_000, 10)]


def instant(at_s):
    return datetime.datetime.fromtimestamp(at_s, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def one(value, unit=None, key="rate"):
    """As `measures.summary` makes it, of one run."""
    return {"median": value, "spread": 0, "runs": [{key: value}], "unit": unit}


class TimeMeasures:
    def __init__(self, world, options, note):
        self.world, self.note = world, note
        self.size = Size(options.quick)
        self.is_quick = options.quick

    # --- what is there ---

    def count(self, sql):
        return int(self.world.sql(sql)[0][0])

    def wait(self, sql, wanted, words, limit_s=600):
        """Waits until the query answers at least that; the seconds it took."""
        start = time.monotonic()
        while (found := self.count(sql)) < wanted:
            if time.monotonic() - start > limit_s:
                raise w.Failed(f"{words}: {found:,} of {wanted:,} after {limit_s} s")
            time.sleep(0.02)
        return time.monotonic() - start

    def notes(self):
        return self.world.server.actors()["reminder"]["notes"]

    # --- pending ---

    def measure_pending(self):
        """Rows as the actor makes them, of tasks that nobody asks for; a hundredth of them within the horizon."""
        n = self.size.pending
        self.note(f"pending: making {n:,} rows")
        self.world.server.stop()
        near = min(n // 100, 60_000)
        self.world.sql(f"""INSERT INTO reminder (task, reminder, list, event_id, state, fire_at, whom)
            SELECT gen_random_uuid(), gen_random_uuid(), '{w.list_id(0)}', i, 0, now() + CASE WHEN i <= {near}
              THEN interval '5 minutes' + random() * interval '4 minutes'
              ELSE interval '1 day' + random() * interval '{SPREAD_S} seconds' END, 2 FROM generate_series(1, {n}) i""")
        self.world.sql("VACUUM (ANALYZE) reminder")
        self.world.checkpoint()
        self.note("pending: starting")
        start = time.monotonic()
        self.world.server.start()
        while not ((found := self.notes())["near"] >= near and found["loading"] == 0):
            if time.monotonic() - start > 120:
                raise w.Failed(f"the near reminders are not loaded: {found}")
            time.sleep(0.005)
        ready_s = time.monotonic() - start
        time.sleep(2)
        rss, anonymous = machine.memory_of(self.world.server.pid)
        self.world.server.stop()
        self.world.sql("DELETE FROM reminder")
        self.world.sql("VACUUM reminder")
        self.world.server.start()
        return [{"title": f"{n:,} pending: memory (RSS)", "unit": "MB", "target_most": 640,
                 "taskwire": one(round(rss / 2**20, 1), key="rss_mb"), "anonymous_mb": round(anonymous / 2**20, 1)},
                {"title": f"{n:,} pending: start to ready", "unit": "s", "target_most": 5, "taskwire": one(round(ready_s, 3))}]

    # --- registering ---

    def commands(self, n, instant_of):
        """Bulks of task.create with a reminder each; as many lists as there are take turns."""
        bulks = []
        for start in range(0, n, BULK):
            owner = len(bulks) % w.N_LISTS
            commands = [{"id": str(uuid.uuid4()), "op": "task.create", "list": w.list_id(owner), "task": str(uuid.uuid4()),
                         "data": {"title": f"Water the plants {i:016d}", "due": "2035-11-23T09:00",
                                  "reminders": [{"at": instant_of(i), "for": "all"}]}}
                        for i in range(start, min(n, start + BULK))]
            bulks.append((owner, json.dumps({"commands": commands})))
        return bulks

    def send(self, bulk):
        owner, body = bulk
        connection = http.client.HTTPConnection("127.0.0.1", self.world.server.port, timeout=60)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.world.tokens[owner]}"}
        for _ in range(200):
            connection.request("POST", "/v1/commands", body, headers)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            if answer.status == 200 and all(result["ok"] for result in found["results"]):
                connection.close()
                return
            if answer.status == 200 and not all(result["ok"] or result["problem"]["status"] == 503 for result in found["results"]):
                raise w.Failed(f"a command was refused: {[r for r in found['results'] if not r['ok']][0]}")
            time.sleep(0.02)
        raise w.Failed("a bulk finds no room")

    def register(self, n, instant_of):
        """Until every reminder is a row; the rate of the commands, and that of the rows."""
        bulks = self.commands(n, instant_of)
        before = self.count("SELECT count(*) FROM reminder")
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(self.send, bulks))
        answered_s = time.monotonic() - start
        self.wait("SELECT count(*) FROM reminder", before + n, "registering")
        return n / answered_s, n / (time.monotonic() - start)

    def measure_register(self):
        n = self.size.register
        self.note(f"register: {n:,} by bulk")
        self.world.checkpoint()
        answered, stored = self.register(n, lambda i: instant(time.time() + 30 * 86400 + i))
        self.world.settle(600)
        self.sample("created", "task.created")
        self.note("register: PostgreSQL")
        self.world.checkpoint()
        peer_rate = self.bulk_rate("register", n)
        rows = [{"title": f"register by bulk, {n:,}: answered", "unit": "/s", "taskwire": one(round(answered, 1))},
                {"title": f"register by bulk, {n:,}: until rows", "unit": "/s", "taskwire": one(round(stored, 1)),
                 "target_ratio": 0.6, "pgbench": one(round(peer_rate, 1)),
                 "ratios": {"pgbench": {"median": round(stored / peer_rate, 3), "spread": 0}}}]
        for connections in (32, 256):
            self.note(f"register: a command in each request, {connections} connections")
            rate = self.register_singly(connections)
            rows.append({"title": f"register by single commands, {connections} connections", "unit": "/s",
                         "taskwire": one(round(rate, 1))})
        return rows

    def register_singly(self, connections):
        """PATCHes that give a task another reminder, by the load generator; until the last is a row."""
        command = [os.path.join(self.world.loads, "load_http"), "--port", str(self.world.server.port), "--method", "PATCH",
                   "--body", "reminder", "--connections", str(connections), "--seconds", "2" if self.is_quick else "8",
                   "--targets", self.world.http_targets(range(w.N_TASKS))]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        run = json.loads(done.stdout) if done.returncode == 0 else {}
        if run.get("good", 0) == 0 or run["good"] != run["answers"]:
            raise w.Failed(f"not every PATCH succeeded: {run}")
        start = time.monotonic()
        self.world.settle(600)
        return run["good"] / (run["good"] / run["rate"] + time.monotonic() - start)

    # --- PostgreSQL's own rate for the same rows ---

    def sample(self, name, event_type):
        """The bytes of the newest event of that type and of its task."""
        row = self.world.sql("SELECT e.type, e.epoch, e.digest, e.salt, e.fingerprint, e.body, t.body, t.title, t.words, t.sort_title"
                             " FROM event e"
                             " JOIN task t ON t.id = e.task WHERE e.id = (SELECT max(id) FROM event WHERE type ="
                             f" (SELECT type FROM event WHERE task IS NOT NULL AND position('{event_type}'::bytea IN body) > 0"
                             " ORDER BY id DESC LIMIT 1))")[0]
        names = ["type", "epoch", "digest", "salt", "fingerprint", "event_body", "task_body", "title", "words", "sort_title"]
        setattr(self, name, dict(zip(names, row)))

    def bulk_rate(self, what, n):
        """As many rows as one session gets in, in statements of BATCH rows: what the writer writes is one transaction, what
        the reminder actor writes another."""
        with open(os.path.join(w.ROOT, "bench", "sql", f"bulk_{what}.sql")) as file:
            text = file.read().replace("@BATCH@", str(BATCH)).replace("@LIST@", f"'{w.list_id(0)}'::uuid")
        path = self.world.write_file(f"bulk_{what}.sql", text.splitlines())
        command = [os.path.join(self.world.pg_bin, "pgbench"), "-n", "-M", "prepared", "-c", "1", "-t", str(n // BATCH), "-f", path,
                   "-D", f"run={next(peer.runs)}", "-D", "k=0"]
        sample = self.created if what == "register" else self.due
        for key, value in sample.items():
            command += ["-D", f"{key}={value}"]
        start = time.monotonic()
        done = subprocess.run(command + [self.world.url("peer")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False, env={**os.environ, "PGOPTIONS": "-c jit=off -c synchronous_commit=on"})
        if done.returncode != 0 or "number of failed transactions: 0" not in done.stdout:
            raise w.Failed(f"pgbench failed: {done.stderr[-500:]}{done.stdout[-500:]}")
        return n / (time.monotonic() - start)

    # --- firing ---

    def fired_since(self, since):
        """Of every reminder that fired: how many microseconds after its instant its event is dated, and committed."""
        rows = self.world.sql(f"""SELECT (extract(epoch FROM p.fired_at - p.fire_at) * 1000000)::bigint,
              (extract(epoch FROM pg_xact_commit_timestamp(e.xmin) - p.fire_at) * 1000000)::bigint,
              (extract(epoch FROM pg_xact_commit_timestamp(e.xmin)) * 1000000)::bigint
            FROM event e JOIN reminder_past p ON p.task = e.task AND p.list = e.stream AND p.fired_at = e.at
            WHERE e.id > {since}""")
        return [tuple(map(int, row)) for row in rows]

    def fire(self, n, instant_of, last_s):
        """Registers them ahead, waits, and answers what came of them."""
        since = self.count("SELECT coalesce(max(id), 0) FROM event")
        past = self.count("SELECT count(*) FROM reminder_past")
        self.register(n, instant_of)
        self.world.settle(600)
        left_s = instant_of.start_s - time.time()
        if left_s < 1:
            raise w.Failed(f"registering took too long: {-left_s:.1f} s too late")
        self.world.checkpoint()
        time.sleep(max(0, last_s - time.time()))
        self.wait("SELECT count(*) FROM reminder_past", past + n, "firing")
        found = self.fired_since(since)
        if len(found) != n:
            raise w.Failed(f"{len(found):,} events for {n:,} reminders")
        if min(late for late, _, _ in found) < 0:
            raise w.Failed(f"a reminder was early by {-min(late for late, _, _ in found)} us")
        self.world.settle(600)
        return found

    def ahead_s(self, n):
        """Time enough to register so many at the rate that was seen."""
        return 15 + n / 1500

    def lateness(self, title, found, target_us=None):
        ordered = sorted(late for _, late, _ in found)
        figures = {f"committed after its instant, {name}": one(percentile(ordered, share))
                   for name, share in (("p50", 0.5), ("p99", 0.99))}
        row = {"title": title, "unit": "us", "figures": figures, "runs": [], "earliest_us": min(late for late, _, _ in found)}
        if target_us is not None:
            row["target_most_us"] = target_us
        return row

    def measure_fire(self):
        n = self.size.burst
        self.note(f"fire: {n:,} in one second")
        at = Instants(time.time() + self.ahead_s(n), n)  # spread over the second
        found = self.fire(n, at, at.start_s + 1)
        rate = n / (max(commit for _, _, commit in found) / 1e6 - at.start_s)
        self.sample("due", "reminder.due")
        self.sample("created", "task.created")
        self.world.checkpoint()
        self.note("fire: PostgreSQL")
        self.bulk_rate("register", n)  # the rows that fire
        peer_rate = self.bulk_rate("fire", n)
        return [{"title": f"{n:,} due in one second: until durable", "unit": "/s", "target_ratio": 0.6,
                 "taskwire": one(round(rate, 1)), "pgbench": one(round(peer_rate, 1)),
                 "ratios": {"pgbench": {"median": round(rate / peer_rate, 3), "spread": 0}}},
                self.lateness(f"lateness, {n:,} in one second", found)]

    def measure_steady(self):
        rows = []
        for rate, seconds in self.size.steady:
            n = rate * seconds
            self.note(f"steady: {rate:,}/s for {seconds} s")
            at = Instants(time.time() + self.ahead_s(n), rate)
            found = self.fire(n, at, at.start_s + seconds)
            rows.append(self.lateness(f"lateness, {rate:,}/s for {seconds} s", found, 5000 if rate == 1000 else None))
        return rows

    def measure_wheel(self):
        n = self.size.wheel
        self.note("wheel")
        done = subprocess.run([os.path.join(self.world.loads, "load_wheel"), str(n)], stdout=subprocess.PIPE, text=True, check=True)
        run = json.loads(done.stdout)
        return [{"title": f"the wheel alone, {n:,} timers: {words}", "unit": "/s", "taskwire": one(run[key])}
                for words, key in (("set", "set_per_s"), ("fire", "fire_per_s"), ("cancel", "cancel_per_s"))]


class Instants:
    """The instant of reminder I: so many a second from a start on."""

    def __init__(self, start_s, rate):
        self.start_s, self.rate = float(int(start_s)), rate

    def __call__(self, i):
        return instant(self.start_s + i / self.rate)
