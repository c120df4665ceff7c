# SPDX-License-Identifier: Apache-2.0
"""What is measured: a private PostgreSQL with two databases of the same content, and a taskwire on the first."""
import concurrent.futures
import http.client
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
N_LISTS = 16
N_TASKS = 2000
PASSWORD = "correct horse battery staple"
NOTES = "Two cans for the ferns, half a can for the cactus; the orchid only gets what is left in the rain barrel."
TAGS = ["home", "garden"]
CLUSTER = ["max_connections=400", "track_commit_timestamp=on"]


def list_id(n):
    return f"01900000-0000-7000-9000-{n:012d}"


def task_id(n):
    return f"01900000-0000-7000-8000-{n:012d}"


def peer_account_id(n):
    """Of the peer's copy, where ids can be computed from a number in SQL."""
    return f"01900000-0000-7000-a000-{n:012d}"


def list_of(task):
    return task % N_LISTS


class Failed(Exception):
    """Something that is measured did not do what it should."""


def shell(script, *args):
    """Runs functions of deploy/lib/postgres.sh."""
    command = ["bash", "-c", f'. "{ROOT}/deploy/lib/postgres.sh"; {script}', "bash", *args]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{script}: {done.stderr.strip()}")
    return done.stdout.strip()


class Server:
    """A running taskwire."""

    def __init__(self, program, directory, database_url):
        self.program, self.directory = program, directory
        self.environment = {
            "PATH": os.environ["PATH"],
            "TASKWIRE_DATABASE_URL": database_url,
            "TASKWIRE_DATA_DIR": os.path.join(directory, "data"),
            "TASKWIRE_LISTEN": "127.0.0.1:0",
            "TASKWIRE_ADMIN_LISTEN": "127.0.0.1:0",
            "TASKWIRE_REGISTRATION": "open",
            "TASKWIRE_RATE_LIMIT": "0",
            "TASKWIRE_RATE_LIMIT_ANONYMOUS": "0",
            "TASKWIRE_CONNECTION_LIMIT": "0",
            # For trying settings: BENCH_TASKWIRE_GATEWAYS=2 bench/run
            **{key[6:]: value for key, value in os.environ.items() if key.startswith("BENCH_TASKWIRE_")},
        }
        self.process = None
        os.makedirs(self.environment["TASKWIRE_DATA_DIR"], exist_ok=True)

    def start(self):
        """Returns the seconds until it was ready."""
        log_path = os.path.join(self.directory, "taskwire.log")
        start = time.monotonic()
        with open(log_path, "a") as log:
            at = log.tell()
            self.process = subprocess.Popen([self.program, "serve"], env=self.environment, stdout=subprocess.PIPE, stderr=log,
                                            text=True)
        line = self.process.stdout.readline()
        taken = time.monotonic() - start
        with open(log_path) as log:
            log.seek(at)
            said = log.read()
        admin = re.search(r"admin=http://[^:]*:(\d+)", said)
        if "listening on" not in line or admin is None:
            self.stop()
            raise Failed(f"taskwire does not start: {said[-2000:]}")
        self.port = int(line.rsplit(":", 1)[1])
        self.admin_port = int(admin.group(1))
        return taken

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process = None

    @property
    def pid(self):
        if self.process.poll() is not None:
            raise Failed(f"taskwire ended with {self.process.returncode}")
        return self.process.pid

    def show_log(self):
        """Its last words, before the directory goes."""
        with open(os.path.join(self.directory, "taskwire.log")) as log:
            sys.stderr.write("".join(log.readlines()[-10:]))

    def actors(self):
        """What the actors say of themselves, by name."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        connection.request("GET", "/actors")
        found = json.loads(connection.getresponse().read())
        connection.close()
        return {actor["name"]: actor for actor in found["actors"]}


class Client:
    """Sets the scene over HTTP, by the public interface."""

    def __init__(self, port, token=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.token = token

    def call(self, method, path, body=None):
        """Sends it until it is not 503 any more: that says, try again."""
        limit = time.monotonic() + 10
        while True:
            status, text = self.try_call(method, path, body)
            if status in (200, 201):
                return json.loads(text)
            if status != 503 or time.monotonic() > limit:
                raise Failed(f"{method} {path} answered {status}: {text.decode()}")
            time.sleep(0.005)

    def try_call(self, method, path, body=None):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def close(self):
        self.connection.close()


class World:
    def __init__(self, build, directory=None):
        self.program = os.path.join(build, "taskwire")
        self.loads = os.path.join(build, "bench")
        self.directory = tempfile.mkdtemp(prefix="taskwire-bench-", dir=directory)
        os.chmod(self.directory, 0o755)
        self.pg = os.path.join(self.directory, "pg")
        self.server = None
        self.tokens = []
        self.closers = []

    def on_exit(self, close):
        """Has this called at the end, before the directory goes."""
        self.closers.append(close)

    def __enter__(self):
        try:
            self.start_database()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, kind=None, *_):
        if self.server is not None:
            self.server.stop()
            if kind is not None and kind is not KeyboardInterrupt:
                self.server.show_log()
        for close in self.closers:
            close()
        shell('pg_remove "$1"', self.pg)
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- the database ---

    def start_database(self):
        settings = [word for setting in CLUSTER for word in ("-c", setting)]
        shell('pg_start "$@"', self.pg, *settings)
        self.postmaster = int(shell('pg_postmaster_pid "$1"', self.pg))
        self.pg_bin = shell("pg_bin")
        self.sql("CREATE ROLE taskwire LOGIN CREATEROLE", "postgres")
        self.sql("CREATE DATABASE taskwire OWNER taskwire", "postgres")
        self.server = Server(self.program, self.directory, self.url("taskwire"))

    def url(self, database):
        return shell('pg_url "$1" "$2"', self.pg, database).replace("//postgres@", "//taskwire@")

    def sql(self, text, database="taskwire"):
        """Rows as lists of text."""
        script = 'pg_as "$(pg_bin)/psql" -X -q -At -F "|" -v ON_ERROR_STOP=1 -d "$(pg_url "$1" "$2")" -c "$3"'
        found = shell(script, self.pg, database, text)
        return [line.split("|") for line in found.split("\n")] if found else []

    def backend_names(self):
        """Which backend serves whom."""
        rows = self.sql("SELECT pid, CASE WHEN backend_type = 'client backend' THEN application_name ELSE backend_type END"
                        " FROM pg_stat_activity", "postgres")
        return {int(pid): name for pid, name in rows}

    # --- content ---

    def seed(self):
        """An account per list, its tasks, and the first account as an editor of all lists. Then the peer's copy."""
        client = Client(self.server.port)
        for n in range(N_LISTS):
            made = client.call("POST", "/v1/accounts", {"email": f"bench{n}@example.org", "password": PASSWORD,
                                                        "name": f"Bench {n}", "time_zone": "Europe/Zurich"})
            self.tokens.append(made["token"])
        client.close()
        with concurrent.futures.ThreadPoolExecutor(N_LISTS) as pool:
            list(pool.map(self.seed_list, range(N_LISTS)))
        self.sample = self.take_sample()
        self.settle()
        self.server.stop()
        self.make_peer()
        self.server.start()

    def seed_list(self, n):
        client = Client(self.server.port, self.tokens[n])
        client.call("POST", "/v1/lists", {"id": list_id(n), "title": f"List {n}"})
        if n > 0:
            client.call("POST", f"/v1/lists/{list_id(n)}/members", {"email": "bench0@example.org", "role": "editor"})
        for task in range(n, N_TASKS, N_LISTS):
            client.call("POST", f"/v1/lists/{list_id(n)}/tasks",
                        {"id": task_id(task), "title": f"Water the plants {task:016d}", "notes": NOTES, "tags": TAGS,
                         "due": "2030-11-23T09:00"})
        client.close()

    def take_sample(self):
        """The bytes of one PATCH: what the peer writes."""
        client = Client(self.server.port, self.tokens[0])
        client.call("PATCH", f"/v1/tasks/{task_id(0)}", {"title": f"Water the plants {time.time_ns() // 1000:016d}"})
        client.close()
        row = self.sql("SELECT e.type, e.epoch, e.digest, e.salt, e.fingerprint, e.body, t.body, t.due_at"
                       " FROM event e JOIN task t ON t.id = e.task"
                       f" WHERE e.task = '{task_id(0)}' ORDER BY e.rev DESC LIMIT 1")[0]
        names = ["type", "epoch", "digest", "salt", "fingerprint", "event_body", "task_body", "due_at"]
        return dict(zip(names, row), tags=",".join(TAGS))

    def make_peer(self):
        self.sql("CREATE DATABASE peer TEMPLATE taskwire OWNER taskwire", "postgres")
        for n in range(N_LISTS):
            old = f"(SELECT id FROM account WHERE email = 'bench{n}@example.org')"
            self.sql(f"UPDATE member SET account = '{peer_account_id(n)}' WHERE account = {old};"
                     f" UPDATE account SET id = '{peer_account_id(n)}' WHERE id = {old}", "peer")
        for database in ("taskwire", "peer"):
            self.sql("VACUUM (FREEZE, ANALYZE)", database)
        self.shards = [int(row[0]) for row in
                       self.sql(f"SELECT shard FROM stream WHERE id::text LIKE '{list_id(0)[:23]}%' ORDER BY id")]
        self.checkpoint()

    def checkpoint(self):
        """So that each run begins with the same debt to the disk."""
        self.sql("CHECKPOINT", "postgres")

    def restart_server(self):
        """Returns the seconds until it said that it listens, and until it answered its first read."""
        self.server.stop()
        start = time.monotonic()
        listening = self.server.start()
        client = Client(self.server.port, self.tokens[0])
        client.call("GET", f"/v1/tasks/{task_id(0)}")
        client.close()
        return listening, time.monotonic() - start

    # --- waiting ---

    def backlog(self):
        """Events that the audit actor, the slowest one, has not handled."""
        row = self.sql("SELECT coalesce(sum(s.head - coalesce(h.rev, 0)), 0) FROM stream s LEFT JOIN audit_head h ON h.stream = s.id")
        return int(row[0][0])

    def is_quiet(self):
        actors = self.server.actors()
        return actors["relay"]["notes"]["under_way"] == 0 and actors["writer"]["notes"]["queue"] == 0

    def settle(self, limit_s=120):
        """Waits until every actor has handled every event; returns the backlog there was and the seconds it took."""
        start = time.monotonic()
        first = backlog = self.backlog()
        while (backlog > 0 or not self.is_quiet()) and time.monotonic() - start < limit_s:
            time.sleep(0.1)
            backlog = self.backlog()
        if backlog > 0:
            raise Failed(f"{backlog} events are not handled after {limit_s} s")
        return first, time.monotonic() - start

    # --- files for the load generators ---

    def write_file(self, name, lines):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write("".join(line + "\n" for line in lines))
        return path

    def http_targets(self, tasks, author=None):
        """Each task is asked for by its list's owner, or all by the author of this number."""
        def token(task):
            return self.tokens[list_of(task) if author is None else author]
        return self.write_file("http", [f"/v1/tasks/{task_id(n)} {token(n)}" for n in tasks])

    def ws_targets(self, tasks):
        return self.write_file("targets", [f"{list_id(list_of(n))} {task_id(n)}" for n in tasks])

    def streams(self, lists):
        """From where on followers read: now."""
        heads = dict(self.sql("SELECT id, head FROM stream"))
        return self.write_file("streams", [f"{list_id(n)} {self.sample['epoch']} {heads[list_id(n)]}" for n in lists])


def children_cpu_us():
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((use.ru_utime + use.ru_stime) * 1e6)
