# SPDX-License-Identifier: Apache-2.0
"""The measures of the Kafka bridge, with a broker of its own beside the rest. A log is made once per size of its events, in
a database of its own, and read again and again: what the actors know of it is taken away before each measure."""
import http.client
import json
import os
import re
import subprocess
import time

import machine
import measures as m
import world as w

ENCODINGS = ("msgpack", "json")
ACTORS = "('recurrence', 'reminder', 'audit')"


class Size:
    """How much of it, in the quick run and in the whole one."""

    def __init__(self, is_quick):
        self.events = 150_000 if is_quick else 1_000_000
        self.streams = 10_000
        # Bytes of a task's notes, which its events repeat.
        self.notes = {"small": 0, "large": 400}
        self.latency_s = 5 if is_quick else 15


class Broker:
    """A private Kafka of one node."""

    def __init__(self, directory):
        self.directory = os.path.join(directory, "kafka")
        self.addresses = None

    def shell(self, script):
        command = ["bash", "-c", f'. "{w.ROOT}/deploy/lib/kafka.sh"; {script}', "bash", self.directory]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise w.Failed(f"{script}: {done.stderr.strip()}")
        return done.stdout.strip()

    def start(self):
        self.addresses = self.shell('kafka_start "$1"').splitlines()[-1]
        self.pid = int(self.shell('kafka_pid "$1"'))

    def remove(self):
        if os.path.exists(self.directory):
            self.shell('kafka_remove "$1"')

    def cpu_us(self):
        return machine.stat_of(self.pid)[1]


class Watch:
    """CPU that PostgreSQL and the broker use meanwhile, and the program if it is told."""

    def __init__(self, world, broker, server=None):
        self.world, self.broker, self.server = world, broker, server
        self.names = world.backend_names()
        self.before = machine.Sample(server, world.postmaster)
        self.broker_before = broker.cpu_us()
        self.load_before = w.children_cpu_us()

    def end(self, n, program_us=None):
        """Microseconds per event; `program_us` is what a program used that has ended."""
        after = machine.Sample(self.server, self.world.postmaster)
        broker_us = self.broker.cpu_us() - self.broker_before
        load_us = w.children_cpu_us() - self.load_before if program_us is not None else 0
        use = machine.Use(self.before, after, broker_us + load_us, self.names)
        used = use.per(n)
        used["broker"] = round(broker_us / n, 2)
        used["server"] = round((use.server if program_us is None else program_us) / n, 2)
        return used, use.is_disturbed()


class Beside(m.Measures):
    """Followers of one process, while another one is written to."""

    def __init__(self, world, follower, seconds, note):
        super().__init__(world, seconds, 1, False, note)
        self.follower = follower

    def follow(self, *options):
        writer, self.world.server = self.world.server, self.follower
        try:
            return super().follow(*options)
        finally:
            self.world.server = writer


class KafkaMeasures:
    def __init__(self, world, options, note):
        self.world, self.note = world, note
        self.size = Size(options.quick)
        self.broker = Broker(world.directory)
        world.on_exit(self.broker.remove)
        self.broker.start()
        self.n_runs = 0

    # --- the log ---

    def environment(self, database, encoding, prefix):
        """What the program and its parts are set to; each run is a group of its own, which begins at the start."""
        self.n_runs += 1
        directory = os.path.join(self.world.directory, f"data-{database}")
        os.makedirs(directory, exist_ok=True)
        return {**self.world.server.environment,
                "TASKWIRE_DATABASE_URL": self.world.url(database), "TASKWIRE_DATA_DIR": directory,
                "TASKWIRE_KAFKA_BROKERS": self.broker.addresses,
                "TASKWIRE_KAFKA_ENCODING": encoding, "TASKWIRE_KAFKA_TOPIC_PREFIX": prefix,
                "TASKWIRE_KAFKA_GROUP": f"bench-{self.n_runs}"}

    def server(self, environment):
        server = w.Server(self.world.program, self.world.directory, environment["TASKWIRE_DATABASE_URL"])
        server.environment = environment
        self.world.server.stop()
        self.world.server = server
        return server

    def number(self, sql, database):
        return int(self.world.sql(sql, database)[0][0])

    def make_log(self, name):
        """A database with an account, by the program itself; the lists and their events by load_log."""
        database = f"log_{name}"
        self.note(f"{name}: making {self.size.events:,} events")
        self.world.sql(f"CREATE DATABASE {database} OWNER taskwire", "postgres")
        environment = self.environment(database, "json", "")
        server = self.server({key: value for key, value in environment.items() if "KAFKA" not in key})
        server.start()
        client = w.Client(server.port)
        client.call("POST", "/v1/accounts", {"email": "bench@example.org", "password": w.PASSWORD, "name": "Bench",
                                             "time_zone": "Europe/Zurich"})
        client.close()
        server.stop()
        self.fill(name, database)
        self.world.sql("VACUUM (ANALYZE)", database)
        self.world.checkpoint()
        return database

    def fill(self, name, database):
        epoch, account = self.world.sql("SELECT e.epoch, a.id FROM log_epoch e, account a", database)[0]
        first = self.number("SELECT max(id) + 1 FROM event", database)
        command = [os.path.join(self.world.loads, "load_log"), "--account", account, "--epoch", epoch, "--first-id", str(first),
                   "--events", str(self.size.events), "--streams", str(self.size.streams), "--notes", str(self.size.notes[name])]
        copy = ("COPY event (id, shard, stream, rev, type, task, command, by, is_answer, at, epoch, digest, salt, fingerprint, body)"
                " FROM STDIN (FORMAT binary)")
        with subprocess.Popen(command, stdout=subprocess.PIPE) as load:
            script = 'pg_as "$(pg_bin)/psql" -X -q -v ON_ERROR_STOP=1 -d "$(pg_url "$1" "$2")" -c "$3"'
            done = subprocess.run(["bash", "-c", f'. "{w.ROOT}/deploy/lib/postgres.sh"; {script}', "bash", self.world.pg, database, copy],
                                  stdin=load.stdout, stderr=subprocess.PIPE, text=True, check=False)
        if load.returncode != 0 or done.returncode != 0:
            raise w.Failed(f"the log cannot be filled: {done.stderr[-500:]}")
        self.world.sql(f"""INSERT INTO stream (id, shard, is_account, head, tail, n_open)
              SELECT stream, shard, false, max(rev), '', 0 FROM event WHERE id >= {first} GROUP BY stream, shard;
            INSERT INTO list (id, rev, title, is_archived, n_owners, n_members, created_at, created_by, updated_at)
              SELECT id, 1, 'Bench', false, 1, 1, now(), '{account}', now() FROM stream WHERE NOT is_account;
            INSERT INTO member (list, account, role, since) SELECT id, '{account}', 3, now() FROM list;
            SELECT setval('event_id', (SELECT max(id) FROM event))""", database)

    def forget(self, database):
        """What the actors know of the log, so that they begin at its start."""
        self.world.sql(f"""ALTER TABLE audit DISABLE TRIGGER ALL; TRUNCATE audit, audit_head;
            ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_rows; ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_truncate;
            DELETE FROM relay_position WHERE actor IN {ACTORS}""", database)
        self.world.checkpoint()

    # --- one measure each ---

    def run(self, what, environment, *arguments):
        """A program that measures itself: what it printed."""
        command = [os.path.join(self.world.loads, what), *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, env=environment)
        if done.returncode != 0:
            raise w.Failed(f"{what} ended with {done.returncode}: {done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def watched(self, n_events, what, environment, *arguments):
        watch = Watch(self.world, self.broker)
        found = self.run(what, environment, *arguments)
        found["cpu_us"], found["is_disturbed"] = watch.end(n_events, found["cpu_s"] * 1e6)
        return found

    def publish(self, database, environment):
        self.world.sql("DELETE FROM relay_position WHERE actor = 'kafka'", database)
        n = self.number("SELECT count(*) FROM event", database)
        n_records = n + self.number("SELECT count(*) FROM event WHERE task IS NOT NULL", database)
        self.world.checkpoint()
        found = self.watched(n, "load_bridge", environment, "publish", n_records)
        found["rate"] *= n / n_records
        # The relay may have been stopped before it had read the topic through; the next one would write it again.
        topic = environment["TASKWIRE_KAFKA_TOPIC_PREFIX"] + "task-updates"
        self.world.sql(f"UPDATE kafka_topic SET epoch = (SELECT epoch FROM log_epoch) WHERE name = '{topic}'", database)
        return found

    def bare(self, database, environment):
        n = self.number("SELECT count(*) FROM event", database)
        topic = environment["TASKWIRE_KAFKA_TOPIC_PREFIX"] + "task-events"
        return self.watched(n, "load_kafka", {"PATH": os.environ["PATH"]}, "--brokers", self.broker.addresses, "--topic", topic,
                            "--records", n)

    def actors(self, database, environment):
        self.forget(database)
        n = self.number("SELECT count(*) FROM event", database)
        return self.watched(n, "load_bridge", environment, "consume", n)

    def counters(self, server):
        """Records taken from Kafka, and events in the audit chain."""
        connection = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        def of(name):
            return int(float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE).group(1)))
        return of("taskwire_consumer_records_total"), of("taskwire_audit_events_total")

    def durable(self, database, environment):
        """The whole program: from the first record until the chain of the last event is committed."""
        self.forget(database)
        n = self.number("SELECT count(*) FROM event", database)
        server = self.server(environment)
        server.start()
        limit = time.monotonic() + 300
        while self.counters(server)[0] == 0:
            if time.monotonic() > limit:
                raise w.Failed("nothing is taken from Kafka")
            time.sleep(0.005)
        start, watch = time.monotonic(), Watch(self.world, self.broker, server.pid)
        while (done := self.counters(server)[1]) < n:
            if time.monotonic() > limit:
                raise w.Failed(f"{done:,} of {n:,} events are audited")
            time.sleep(0.05)
        seconds = time.monotonic() - start
        used, is_disturbed = watch.end(n)
        missing = self.number("SELECT count(*) FROM stream s LEFT JOIN audit_head h ON h.stream = s.id"
                              " WHERE s.head IS DISTINCT FROM h.rev", database)
        server.stop()
        if missing > 0:
            raise w.Failed(f"{missing:,} streams are not audited to their end")
        n_rows = self.number("SELECT count(*) FROM audit", database)
        return {"n": n, "seconds": round(seconds, 3), "rate": round(n / seconds), "cpu_us": used, "is_disturbed": is_disturbed,
                "audit_rows": n_rows}

    def verify(self, database, environment):
        done = subprocess.run([self.world.program, "verify"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        if done.returncode != 0:
            raise w.Failed(f"the audit does not verify: {done.stdout[-1000:]}")

    # --- all of a size and an encoding ---

    def measure_log(self, name, database, encoding):
        def environment():
            return self.environment(database, encoding, f"{name}-{encoding}-")
        title = f"{name} events, {encoding}"
        self.note(f"{title}: into Kafka")
        found = {"publish": self.publish(database, environment())}
        self.note(f"{title}: a bare consumer")
        bare = [self.bare(database, environment())]
        self.note(f"{title}: the actors")
        found["actors"] = self.actors(database, environment())
        bare.append(self.bare(database, environment()))
        found["bare"] = {**bare[0], "runs": bare, "rate": (bare[0]["rate"] + bare[1]["rate"]) / 2}
        self.note(f"{title}: durable")
        last = environment()
        found["durable"] = self.durable(database, last)
        if encoding == ENCODINGS[0]:
            self.note(f"{title}: verifying")
            self.verify(database, last)
        return [self.row(name, encoding, what, found) for what in ("bare", "actors", "durable", "publish")]

    def row(self, name, encoding, what, found):
        words = {"bare": "(a) a bare consumer", "durable": "(b) Kafka to durable audit", "actors": "(c) the same without its database",
                 "publish": "(e) the log into Kafka"}
        run = found[what]
        row = {"title": f"{words[what]}, {name}, {encoding}", "unit": "/s", "what": what, "size": name, "encoding": encoding,
               "taskwire": {"median": run["rate"], "spread": 0, "runs": [run]},
               "per_cpu_s": round(1e6 / max(0.01, run["cpu_us"]["server"]))}
        if what == "actors":
            row["of_bare"] = round(run["rate"] / found["bare"]["rate"], 3)
        return row

    # --- from a request to a frame ---

    def measure_latency(self):
        """1,000 PATCHes a second to one process, while another one, or the same, shows them to followers."""
        encoding = ENCODINGS[0]
        first = self.server(self.environment("taskwire", encoding, "latency-"))
        first.start()
        second = w.Server(self.world.program, self.world.directory, first.environment["TASKWIRE_DATABASE_URL"])
        second.environment = {**first.environment, "TASKWIRE_DATA_DIR": os.path.join(self.world.directory, "data-second")}
        os.makedirs(second.environment["TASKWIRE_DATA_DIR"], exist_ok=True)
        self.world.on_exit(second.stop)
        second.start()
        rows = [self.latency("by way of another process", second, 25_000), self.latency("in the same process", first, None)]
        second.stop()
        return rows

    def latency(self, words, follower, target_us):
        title = f"(d) HTTP to frame, 1,000 writes/s {words}"
        self.note(title)
        runs = Beside(self.world, follower, self.size.latency_s, self.note)
        runs.http("PATCH", 32, m.ALL_TASKS, seconds=2, rate=1000)
        self.world.settle()
        self.world.checkpoint()
        found = runs.latency_run(1000)
        figures = {f"{name} {share}": {"median": found[key][share], "spread": 0}
                   for name, key, share in (("request due to frame", "request_to_frame_us", "p50"),
                                            ("request due to frame", "request_to_frame_us", "p99"),
                                            ("commit to frame", "commit_to_frame_us", "p50"))}
        row = {"title": title, "unit": "us", "figures": figures, "runs": [found]}
        if target_us is not None:
            row["target_most_us"] = target_us
        return row

    # --- the rest ---

    def measure_bridge(self):
        rows = []
        for name in self.size.notes:
            database = self.make_log(name)
            bytes_each = self.world.sql("SELECT round(avg(octet_length(body))) FROM event WHERE task IS NOT NULL", database)[0][0]
            for encoding in ENCODINGS:
                made = self.measure_log(name, database, encoding)
                for row in made:
                    row["event_bytes"] = int(bytes_each)
                rows += made
            self.world.server.stop()
            self.world.sql(f"DROP DATABASE {database}", "postgres")
        return rows
