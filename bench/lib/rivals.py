# SPDX-License-Identifier: Apache-2.0
"""Servers that taskwire is measured beside, each started with what a reader of its manual would choose."""
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import world as w

HOME = os.path.join(w.ROOT, "bench", "peers")
VENV = os.path.join(HOME, ".venv")


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        raise w.Failed(f"{' '.join(command)}: {done.stdout[-2000:]}")
    return done.stdout


def install_python():
    """An environment that is made anew when the versions change."""
    wanted, got = os.path.join(HOME, "requirements.txt"), os.path.join(VENV, "installed")
    with open(wanted) as file:
        text = file.read()
    if os.path.exists(got):
        with open(got) as file:
            if file.read() == text:
                return
    shutil.rmtree(VENV, ignore_errors=True)
    run(["python3", "-m", "venv", VENV])
    run([os.path.join(VENV, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", wanted])
    with open(got, "w") as file:
        file.write(text)


def install_node():
    if not os.path.exists(os.path.join(HOME, "node_modules", ".package-lock.json")):
        run(["npm", "ci", "--silent", "--no-progress"], cwd=HOME)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Rival:
    """A server, in a session of its own, so that all its processes end together."""
    name = ""

    def __init__(self, world):
        self.world, self.process, self.port = world, None, None
        self.log = os.path.join(world.directory, f"{self.name}.log")

    def spawn(self, command, **options):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(command, stderr=log, start_new_session=True, **options)

    def await_port(self, limit_s=30):
        limit = time.monotonic() + limit_s
        while self.process.poll() is None and time.monotonic() < limit:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise w.Failed(f"{self.name} does not start: {self.last_words()}")

    def last_words(self):
        with open(self.log) as file:
            return file.read()[-2000:]

    @property
    def pid(self):
        if self.process.poll() is not None:
            raise w.Failed(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")
        return self.process.pid

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None


class FastApi(Rival):
    """bench/peers/crud.py in two workers, on a database of its own with the same content."""
    name = "fastapi"
    WORKERS = 2

    def start(self):
        install_python()
        self.fill()
        self.port = free_port()
        self.spawn([os.path.join(VENV, "bin", "uvicorn"), "crud:app", "--app-dir", HOME, "--host", "127.0.0.1", "--port",
                    str(self.port), "--workers", str(self.WORKERS), "--loop", "uvloop", "--http", "httptools",
                    "--no-access-log", "--log-level", "warning"],
                   env={"PATH": os.environ["PATH"], "DATABASE_URL": self.url(), "PYTHONDONTWRITEBYTECODE": "1"},
                   stdout=subprocess.DEVNULL)
        self.await_port()
        self.await_answer()

    def url(self):
        """As asyncpg reads it: a directory of sockets as a parameter."""
        return self.world.url("crud")

    def await_answer(self, limit_s=30):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/tasks/{w.task_id(0)}",
                                         headers={"Authorization": f"Bearer {self.world.tokens[0]}"})
        limit = time.monotonic() + limit_s
        while True:
            try:
                with urllib.request.urlopen(request, timeout=5):
                    return
            except (urllib.error.URLError, OSError) as failure:
                if self.process.poll() is not None or time.monotonic() > limit:
                    raise w.Failed(f"{self.name} does not answer: {failure} {self.last_words()}") from failure
            time.sleep(0.05)

    def fill(self):
        if self.world.sql("SELECT 1 FROM pg_database WHERE datname = 'crud'", "postgres"):
            return
        self.world.sql("CREATE DATABASE crud OWNER taskwire", "postgres")
        with open(os.path.join(HOME, "crud.sql")) as file:
            self.world.sql("SET ROLE taskwire;" + file.read(), "crud")
        rows = [f"('{w.peer_account_id(n)}', 'bench{n}@example.org', '\\x{hashlib.sha256(token.encode()).hexdigest()}'::bytea,"
                f" '{w.list_id(n)}'::uuid)" for n, token in enumerate(self.world.tokens)]
        tags = ", ".join(f"'{tag}'" for tag in w.TAGS)
        self.world.sql(
            f"CREATE TEMP TABLE seed AS SELECT a::uuid AS account, email, hash, list FROM (VALUES {', '.join(rows)})"
            " AS v (a, email, hash, list);"
            "INSERT INTO account SELECT account, email FROM seed; INSERT INTO token SELECT hash, account FROM seed;"
            "INSERT INTO list SELECT list, email FROM seed; INSERT INTO member SELECT list, account, 3 FROM seed;"
            "INSERT INTO task (id, list, title, notes, tags, due)"
            f" SELECT ('{w.task_id(0)[:24]}' || lpad(n::text, 12, '0'))::uuid,"
            f" ('{w.list_id(0)[:24]}' || lpad((n % {w.N_LISTS})::text, 12, '0'))::uuid,"
            f" 'Water the plants ' || lpad(n::text, 16, '0'), '{w.NOTES}', ARRAY[{tags}], '2030-11-23T09:00Z'"
            f" FROM generate_series(0, {w.N_TASKS - 1}) n", "crud")
        self.world.sql("VACUUM (FREEZE, ANALYZE)", "crud")


class NodeRooms(Rival):
    """bench/peers/rooms.mjs."""
    name = "node-ws"
    dialect = "rooms"

    def start(self):
        install_node()
        self.spawn(["node", os.path.join(HOME, "rooms.mjs")], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.strip().isdigit():
            raise w.Failed(f"{self.name} does not start: {self.last_words()}")
        self.port = int(line)


class Nats(Rival):
    """nats-server with its WebSocket door."""
    name = "nats"
    dialect = "nats"

    def start(self):
        self.port = free_port()
        config = self.world.write_file("nats.conf", [
            "listen: 127.0.0.1:-1", "max_connections: 70000",
            f'websocket {{ listen: "127.0.0.1:{self.port}", no_tls: true, compression: false }}'])
        self.spawn(["nats-server", "-c", config], stdout=subprocess.DEVNULL)
        self.await_port()


def versions():
    """Of what is measured beside taskwire, as they say it."""
    found = {"node": run(["node", "--version"]).strip(),
             "nats-server": re.sub(r"^\D*", "", run(["nats-server", "--version"]).strip())}
    with open(os.path.join(HOME, "requirements.txt")) as file:
        for line in file:
            name, _, version = line.strip().partition("==")
            if name in ("fastapi", "uvicorn", "asyncpg"):
                found[name] = version
    return found
