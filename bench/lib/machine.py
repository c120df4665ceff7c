# SPDX-License-Identifier: Apache-2.0
"""What the machine says of itself: who used how much CPU, whether others were busy, how fast the disk is."""
import os
import statistics
import time

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
CPUS = os.cpu_count()


def stat_of(pid):
    """Parent, own CPU and CPU of children that have ended, in microseconds; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    utime, stime, cutime, cstime = map(int, fields[11:15])
    return int(fields[1]), (utime + stime) * TICK_US, (cutime + cstime) * TICK_US


def run_us(path):
    """CPU of one thread, finer than ticks; None if it has ended."""
    try:
        with open(f"{path}/schedstat") as file:
            return int(file.read().split()[0]) // 1000
    except (FileNotFoundError, ProcessLookupError):
        return None


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def family_of(pid):
    """The process and what it has started, and so on."""
    parents = {child: stat[0] for child in pids() if (stat := stat_of(child)) is not None}
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family


def threads_of(pid):
    """CPU by name of thread, in microseconds, of a process and what it has started."""
    found = {}
    for task in [f"/proc/{member}/task/{tid}" for member in family_of(pid) for tid in os.listdir(f"/proc/{member}/task")]:
        try:
            with open(f"{task}/comm") as file:
                name = file.read().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[name] = found.get(name, 0) + (run_us(task) or 0)
    return found


def memory_of(pid):
    """Resident memory in bytes: all of it, and the part that no file backs."""
    found = {}
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key in ("VmRSS", "RssAnon"):
                found[key] = int(value.split()[0]) * 1024
    return found["VmRSS"], found["RssAnon"]


def postgres_use(postmaster):
    """What all of PostgreSQL has used so far, and each live backend by its pid. A process that ends moves from its own
    line into the postmaster's, so the two must be read while none does."""
    for _ in range(10):
        before = stat_of(postmaster)
        backends = {}
        for pid in pids():
            stat = stat_of(pid)
            if stat is not None and stat[0] == postmaster:
                backends[pid] = run_us(f"/proc/{pid}") or stat[1]
        after = stat_of(postmaster)
        if after[2] == before[2]:
            break
    return after[1] + after[2] + sum(backends.values()), backends


class Sample:
    """CPU used so far by the server and its threads, by PostgreSQL and its live backends, and by the machine."""

    def __init__(self, server, postmaster):
        self.at = time.monotonic()
        self.threads = threads_of(server) if server else {}
        self.postgres, self.backends = postgres_use(postmaster)
        with open("/proc/stat") as file:
            self.machine = [int(value) * TICK_US for value in file.readline().split()[1:9]]


class Use:
    """What was used between two samples, in microseconds. `load` is what the load generators used meanwhile."""

    def __init__(self, before, after, load_us, backend_names):
        self.seconds = after.at - before.at
        self.threads = {name: us - before.threads.get(name, 0) for name, us in after.threads.items()}
        self.server = sum(self.threads.values())
        self.postgres = after.postgres - before.postgres
        self.load = load_us
        self.backends = {}
        for pid, us in after.backends.items():
            name = backend_names.get(pid, "others")
            self.backends[name] = self.backends.get(name, 0) + us - before.backends.get(pid, 0)
        # user, nice, system, idle, iowait, irq, softirq, steal
        spent = [b - a for a, b in zip(before.machine, after.machine)]
        self.others = max(0, sum(spent[:3]) - self.server - self.postgres - self.load)
        self.steal = spent[7]

    def is_disturbed(self):
        """Whether others took what this measure could have used."""
        return (self.others + self.steal) / 1e6 > 0.1 * CPUS * self.seconds

    def per(self, operations):
        """As a JSON object, microseconds per operation."""
        def each(us):
            return round(us / max(1, operations), 2)
        return {"server": each(self.server), "postgres": each(self.postgres), "load": each(self.load),
                "threads": {name: each(us) for name, us in self.threads.items() if us > 0},
                "backends": {name: each(us) for name, us in self.backends.items() if us > 0},
                "others_share": round(self.others / 1e6 / self.seconds / CPUS, 3),
                "steal_share": round(self.steal / 1e6 / self.seconds / CPUS, 3),
                "busy": {"server": round(self.server / 1e6 / self.seconds, 2),
                         "postgres": round(self.postgres / 1e6 / self.seconds, 2),
                         "load": round(self.load / 1e6 / self.seconds, 2)}}


def busy_share():
    """How much of all CPUs somebody uses while we do nothing for a second."""
    def read():
        with open("/proc/stat") as file:
            return [int(value) for value in file.readline().split()[1:9]]
    before = read()
    time.sleep(1)
    spent = [b - a for a, b in zip(before, read())]
    return 1 - (spent[3] + spent[4]) / max(1, sum(spent))


def sync_us(directory):
    """The median time to write and sync 8 KiB there: what each commit costs at least."""
    path = os.path.join(directory, "sync")
    taken = []
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.write(file, bytes(8192 * 64))
        os.fsync(file)
        for i in range(200):
            start = time.monotonic()
            os.pwrite(file, bytes(8192), 8192 * (i % 64))
            os.fdatasync(file)
            taken.append((time.monotonic() - start) * 1e6)
    finally:
        os.close(file)
        os.unlink(path)
    return round(statistics.median(taken))


def describe(directory):
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"cpus": CPUS, "cpu": model, "kernel": os.uname().release,
            "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
            "fdatasync_us": sync_us(directory), "load_average": os.getloadavg()[0],
            "busy_before": round(busy_share(), 3)}
