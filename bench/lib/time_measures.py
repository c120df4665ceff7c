# SPDX-License-Identifier: Apache-2.0
"""The measures of time: reminders that wait, are registered, and fire; occurrences that follow each other. What is durable
is taken from the database itself: when PostgreSQL recorded the commit of a row."""
import concurrent.futures
import contextlib
import datetime
import http.client
import json
import os
import resource
import subprocess
import time
import uuid

import machine
import peer
import world as w
from measures import median, spread, summary

BULK = 1000
BATCH = 500  # rows of the peer's statements, about those of the writer's
SPREAD_S = 365 * 86400
POLL_S = 0.2


class Size:
    """How much of it, in the quick run and in the whole one."""

    def __init__(self, options):
        is_quick = options.quick
        self.pending = [1_000_000] if is_quick else [1_000_000, 10_000_000]
        self.wheel = 1_000_000 if is_quick else 10_000_000
        self.register = 20_000 if is_quick else 100_000
        self.burst = 20_000 if is_quick else 100_000
        self.steady = [(1000, 5)] if is_quick else [(1000, 20), (10_000, 10)]
        self.successors = 5_000 if is_quick else 20_000
        self.repeat = 1 if is_quick else options.repeat


def instant(at_s):
    return datetime.datetime.fromtimestamp(at_s, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def one(value, unit=None, key="rate"):
    """As `summary` makes it, of one run."""
    return {"median": value, "spread": 0, "runs": [{key: value}], "unit": unit}


def own_cpu_us():
    use = resource.getrusage(resource.RUSAGE_SELF)
    return int((use.ru_utime + use.ru_stime) * 1e6) + w.children_cpu_us()


def beside(title, mine, peers, **more):
    """A row of rates and of their ratios within each repetition."""
    ratios = [a["rate"] / b["rate"] for a, b in zip(mine, peers)]
    return {"title": title, "unit": "/s", "taskwire": summary(mine), "pgbench": summary(peers),
            "ratios": {"pgbench": {"median": round(median(ratios), 3), "spread": round(spread(ratios), 3)}}, **more}


class TimeMeasures:
    def __init__(self, world, options, note):
        self.world, self.note = world, note
        self.size = Size(options)
        self.is_quick = options.quick
        self.registered_per_s = 1500  # as it was seen last; at first a guess

    # --- what is there ---

    def count(self, sql):
        return int(self.world.sql(sql)[0][0])

    def wait(self, is_there, words, limit_s=600):
        """Waits until the function says that it is there: it answers nothing, or how far it is."""
        start = time.monotonic()
        while (found := is_there()) is not None:
            if time.monotonic() - start > limit_s:
                raise w.Failed(f"{words}: {found} after {limit_s} s")
            time.sleep(POLL_S)

    def wait_for_rows(self, rows, wanted, words):
        """Until there are so many `rows` ("table WHERE …"); answers when the last one was committed, in seconds."""
        last = []

        def is_there():
            n, at = self.world.sql("SELECT count(*), coalesce(extract(epoch FROM max(pg_xact_commit_timestamp(xmin))), 0)"
                                   f" FROM {rows}")[0]
            last[:] = [float(at)]
            return None if int(n) >= wanted else f"{int(n):,} of {wanted:,}"
        self.wait(is_there, words)
        return last[0]

    def newest_event(self):
        return self.count("SELECT coalesce(max(id), 0) FROM event")

    def notes(self, actor="reminder"):
        return self.world.server.actors()[actor]["notes"]

    @contextlib.contextmanager
    def watch(self, n, with_server=True):
        """Fills what it gives with the CPU that everybody used meanwhile for each of `n`."""
        run = {}
        server = self.world.server.pid if with_server else None
        load = own_cpu_us()
        before = machine.Sample(server, self.world.postmaster)
        yield run
        after = machine.Sample(server, self.world.postmaster)
        use = machine.Use(before, after, own_cpu_us() - load, self.world.backend_names())
        run["cpu_us"] = use.per(n)
        run["is_disturbed"] = use.is_disturbed()

    # --- pending ---

    def measure_pending(self):
        rows = []
        for n in self.size.pending:
            rows += self.pending(n)
        return rows

    def fill_pending(self, n, near):
        """Rows as the actor makes them, of tasks that nobody asks for. The indexes are made when the rows are there: one
        of 10 million random keys does not fit in memory as it grows."""
        keys = self.world.sql("SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
                              " WHERE conrelid = 'reminder'::regclass AND contype = 'p'")
        indexes = self.world.sql("SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index"
                                 " WHERE indrelid = 'reminder'::regclass AND NOT indisprimary")
        self.world.sql("TRUNCATE reminder; " + "".join(f"DROP INDEX {name};" for name, _ in indexes)
                       + "".join(f"ALTER TABLE reminder DROP CONSTRAINT {name};" for name, _ in keys))
        self.world.sql(f"""INSERT INTO reminder (task, reminder, list, event_id, state, fire_at, whom)
            SELECT gen_random_uuid(), gen_random_uuid(), '{w.list_id(0)}', i, 0, now() + CASE WHEN i <= {near}
              THEN interval '7 minutes' + random() * interval '2 minutes'
              ELSE interval '1 day' + random() * interval '{SPREAD_S} seconds' END, 2 FROM generate_series(1, {n}) i""")
        self.world.sql("SET maintenance_work_mem = '1GB'; "
                       + "".join(f"ALTER TABLE reminder ADD CONSTRAINT {name} {text};" for name, text in keys)
                       + "".join(f"{text};" for _, text in indexes))
        self.world.sql("VACUUM (ANALYZE) reminder")
        self.world.checkpoint()

    def pending(self, n):
        """A hundredth of them within the horizon, or as many as are held ahead."""
        near = min(n // 100, 60_000)
        self.note(f"pending: making {n:,} rows")
        self.world.server.stop()
        self.fill_pending(n, near)
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
        self.world.sql("TRUNCATE reminder")
        self.world.server.start()
        return [{"title": f"{n:,} pending: memory (RSS)", "unit": "MB", "target_most": 640,
                 "taskwire": one(round(rss / 2**20, 1), key="rss_mb"), "anonymous_mb": round(anonymous / 2**20, 1)},
                {"title": f"{n:,} pending: from its start until {near:,} are at hand", "unit": "s", "target_most": 5,
                 "taskwire": one(round(ready_s, 3))}]

    # --- sending ---

    def bulks(self, commands):
        """`commands` by list, as requests of a thousand by the list's owner; the lists take turns."""
        requests = []
        for number, of_list in enumerate(commands):
            for at in range(0, len(of_list), BULK):
                requests.append((at, number, json.dumps({"commands": of_list[at:at + BULK]})))
        return [(owner, body) for _, owner, body in sorted(requests, key=lambda request: request[:2])]

    def creations(self, n, data_of):
        """Commands that create tasks, by list: a thousand in one, then in the next. `data_of` says what is in task I."""
        commands = [[] for _ in range(w.N_LISTS)]
        for i in range(n):
            owner = i // BULK % w.N_LISTS
            commands[owner].append({"id": str(uuid.uuid4()), "op": "task.create", "list": w.list_id(owner),
                                    "task": str(uuid.uuid4()), "data": {"title": f"Water the plants {i:016d}", **data_of(i)}})
        return commands

    def send(self, request):
        owner, body = request
        connection = http.client.HTTPConnection("127.0.0.1", self.world.server.port, timeout=60)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.world.tokens[owner]}"}
        for _ in range(200):
            connection.request("POST", "/v1/commands", body, headers)
            answer = connection.getresponse()
            found = answer.read()
            if answer.status == 200 and b'"ok":false' not in found:
                connection.close()
                return
            if answer.status != 503:
                refused = [result for result in json.loads(found).get("results", []) if not result["ok"]]
                if answer.status != 200 or any(result["problem"]["status"] != 503 for result in refused):
                    raise w.Failed(f"a command was refused: {refused[:1] or found[:500]}")
            time.sleep(0.02)
        raise w.Failed("a bulk finds no room")

    def send_all(self, commands):
        requests = self.bulks(commands)
        start = time.time()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(self.send, requests))
        return start, time.time()

    # --- registering ---

    def register(self, n, instant_of):
        """Until every reminder is a row: the rate of that, and of the commands."""
        commands = self.creations(n, lambda i: {"due": "2035-11-23T09:00", "reminders": [{"at": instant_of(i), "for": "all"}]})
        since = self.newest_event()
        with self.watch(n) as run:
            start, answered = self.send_all(commands)
            stored = self.wait_for_rows(f"reminder WHERE event_id > {since}", n, "registering")
        run.update(rate=n / (stored - start), answered=n / (answered - start))
        self.registered_per_s = run["rate"]
        return run

    def measure_register(self):
        n = self.size.register
        mine, peers = [], []
        for i in range(self.size.repeat):
            self.note(f"register: {n:,} by bulk, run {i + 1} of {self.size.repeat}")
            self.world.checkpoint()
            mine.append(self.register(n, lambda i: instant(time.time() + 30 * 86400 + i)))
            self.world.settle(600)
            self.sample("created", "task.created")
            self.note("register: PostgreSQL")
            self.world.checkpoint()
            peers.append(self.bulk_rate("register", n))
        rows = [{"title": f"register by bulk, {n:,}: answered", "unit": "/s",
                 "taskwire": summary([{"rate": run["answered"]} for run in mine])},
                beside(f"register by bulk, {n:,}: until rows", mine, peers, target_ratio=0.6)]
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
        row = self.world.sql("SELECT e.type, e.epoch, e.digest, e.salt, e.fingerprint, e.body, t.body, t.title, t.words,"
                             " t.sort_title FROM event e JOIN task t ON t.id = e.task WHERE e.id = (SELECT max(id) FROM event"
                             " WHERE type = (SELECT type FROM event WHERE task IS NOT NULL AND"
                             f" position('{event_type}'::bytea IN body) > 0 ORDER BY id DESC LIMIT 1))")[0]
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
        with self.watch(n) as run:
            start = time.monotonic()
            done = subprocess.run(command + [self.world.url("peer")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  check=False, env={**os.environ, "PGOPTIONS": "-c jit=off -c synchronous_commit=on"})
            run["rate"] = n / (time.monotonic() - start)
        if done.returncode != 0 or "number of failed transactions: 0" not in done.stdout:
            raise w.Failed(f"pgbench failed: {done.stderr[-500:]}{done.stdout[-500:]}")
        return run

    # --- firing ---

    def fired_since(self, since):
        """Of every reminder that fired: how many microseconds after its instant its event is dated, and committed; and when
        that, and what the reminder actor keeps of it, was committed."""
        rows = self.world.sql(f"""SELECT (extract(epoch FROM p.fired_at - p.fire_at) * 1000000)::bigint,
              (extract(epoch FROM pg_xact_commit_timestamp(e.xmin) - p.fire_at) * 1000000)::bigint,
              (extract(epoch FROM pg_xact_commit_timestamp(e.xmin)) * 1000000)::bigint,
              (extract(epoch FROM pg_xact_commit_timestamp(p.xmin)) * 1000000)::bigint
            FROM event e JOIN reminder_past p ON p.task = e.task AND p.list = e.stream AND p.fired_at = e.at
            WHERE e.id > {since}""")
        return [tuple(map(int, row)) for row in rows]

    def has_fired(self):
        notes = self.notes()
        left = notes["near"] + notes["firing"] + notes["fired"]
        return None if left == 0 else f"{left:,} are left"

    def fire(self, n, rate):
        """Registers so many ahead, due at that rate, waits, and answers what came of them."""
        at = Instants(time.time() + 15 + 1.5 * n / self.registered_per_s, rate)
        since = self.newest_event()
        self.register(n, at)
        self.world.settle(600)
        if at.start_s - time.time() < 1:
            raise w.Failed(f"registering took too long: {time.time() - at.start_s:.1f} s too late")
        self.world.checkpoint()
        time.sleep(max(0, at.start_s - 0.5 - time.time()))
        with self.watch(n) as run:
            time.sleep(max(0, at.start_s + n / rate - time.time()))
            self.wait(self.has_fired, "firing")
        found = self.fired_since(since)
        if len(found) != n:
            raise w.Failed(f"{len(found):,} events for {n:,} reminders")
        if min(late for late, _, _, _ in found) < 0:
            raise w.Failed(f"a reminder was early by {-min(late for late, _, _, _ in found)} us")
        self.world.settle(600)
        late = sorted(late for _, late, _, _ in found)
        run.update(durable=n / (max(commit for _, _, commit, _ in found) / 1e6 - at.start_s),
                   rate=n / (max(commit for _, _, _, commit in found) / 1e6 - at.start_s),
                   p50=percentile(late, 0.5), p99=percentile(late, 0.99), earliest=late[0])
        return run

    def lateness(self, title, runs, target_us=None):
        figures = {f"committed after its instant, {name}": summary(runs, name) for name in ("p50", "p99")}
        row = {"title": title, "unit": "us", "figures": figures, "runs": runs, "earliest_us": min(run["earliest"] for run in runs)}
        if target_us is not None:
            row["target_most_us"] = target_us
        return row

    def measure_fire(self):
        n = self.size.burst
        mine, peers = [], []
        for i in range(self.size.repeat):
            self.note(f"fire: {n:,} in one second, run {i + 1} of {self.size.repeat}")
            mine.append(self.fire(n, n))
            self.sample("due", "reminder.due")
            self.sample("created", "task.created")
            self.note("fire: PostgreSQL")
            self.bulk_rate("register", n)  # the rows that fire
            self.world.checkpoint()
            peers.append(self.bulk_rate("fire", n))
        return [{"title": f"{n:,} due in one second: events durable", "unit": "/s",
                 "taskwire": summary([{"rate": run["durable"]} for run in mine])},
                beside(f"{n:,} due in one second: until rows", mine, peers, target_ratio=0.6),
                self.lateness(f"lateness, {n:,} in one second", mine)]

    def measure_steady(self):
        rows = []
        for rate, seconds in self.size.steady:
            self.note(f"steady: {rate:,}/s for {seconds} s")
            run = self.fire(rate * seconds, rate)
            rows.append(self.lateness(f"lateness, {rate:,}/s for {seconds} s", [run], 5000 if rate == 1000 else None))
        return rows

    # --- what follows ---

    def measure_next(self):
        self.note("next")
        done = subprocess.run([os.path.join(self.world.loads, "load_recur"), "100" if self.is_quick else "1000"],
                              stdout=subprocess.PIPE, text=True, check=True)
        return [{"title": f"next occurrence, {found['kind']} ({found['rule']})", "unit": "/s", "taskwire": one(found["next_per_s"])}
                for found in json.loads(done.stdout)]

    def successors(self, n):
        """Tasks that repeat are completed; until each has its successor."""
        created = self.creations(n, lambda i: {"due": "2030-01-07T09:00", "time_zone": "Europe/Zurich",
                                               "recurrence": {"rule": "FREQ=WEEKLY;BYDAY=MO,TH"}})
        self.send_all(created)
        self.world.settle(600)
        done = [[{"id": str(uuid.uuid4()), "op": "task.complete", "list": task["list"], "task": task["task"]} for task in of_list]
                for of_list in created]
        self.world.checkpoint()
        with self.watch(n) as run:
            start, answered = self.send_all(done)
            last = self.wait_for_rows(f"task WHERE occurrence = 2 AND created_at > to_timestamp({start})", n, "succeeding")
        self.world.settle(600)
        doubled = self.count("SELECT count(*) FROM (SELECT series FROM task WHERE series IS NOT NULL GROUP BY series"
                             " HAVING count(*) <> 2) s")
        if doubled > 0:
            raise w.Failed(f"{doubled:,} series have not exactly one successor")
        run.update(rate=n / (last - start), answered=n / (answered - start))
        return run

    def measure_successors(self):
        n = self.size.successors
        runs = []
        for i in range(self.size.repeat):
            self.note(f"successors: {n:,}, run {i + 1} of {self.size.repeat}")
            runs.append(self.successors(n))
        return [{"title": f"{n:,} completed by bulk: answered", "unit": "/s",
                 "taskwire": summary([{"rate": run["answered"]} for run in runs])},
                {"title": f"{n:,} completed by bulk: successors durable", "unit": "/s", "taskwire": summary(runs)}]

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
