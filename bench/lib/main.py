# SPDX-License-Identifier: Apache-2.0
"""Called by bench/run, which has built everything."""
import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import time

import kafka_report
import machine
import report
import rivals
import world as w
from kafka_measures import KafkaMeasures
from measures import Measures
from rival_measures import RivalMeasures
from time_measures import TimeMeasures

SUITES = {"http": ["memory", "start", "get", "patch", "one-list", "latency", "fan-out"],
          "rivals": ["wrk", "crud", "rooms"],
          "time": ["wheel", "next", "pending", "register", "fire", "steady", "successors"],
          "kafka": ["bridge", "latency"]}


def parse():
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("suite", nargs="?", choices=SUITES, default="http")
    parser.add_argument("--build", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--out", default=os.path.join(w.ROOT, "bench", "out", "last.json"))
    parser.add_argument("--dir")
    options = parser.parse_args()
    names = SUITES[options.suite]
    options.only = options.only.split(",") if options.only else names
    unknown = [name for name in options.only if name not in names]
    if unknown or options.repeat < 1 or (options.seconds is not None and options.seconds < 1):
        parser.error(f"--only takes {', '.join(names)}; --repeat and --seconds take numbers from 1")
    options.seconds = options.seconds or (2 if options.quick else 8)
    return options


def note(words):
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{words}")
        sys.stderr.flush()
    else:
        print(words, file=sys.stderr)


def warn(result):
    before = result["machine"]["busy_before"]
    if before > 0.1:
        result["warnings"].append(f"the machine was busy before the start ({before:.0%} of its CPUs);"
                                  " take ratios, not rates")
    disturbed = [row["title"] for row in result["rows"] if report.is_disturbed(row)]
    if disturbed:
        result["warnings"].append("others, or the host, took over 10 % of the CPUs in what is marked (!)")


def header(world, options):
    version = subprocess.run([world.program, "version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "version": version,
            "postgres": world.sql("SHOW server_version", "postgres")[0][0], "cluster": w.CLUSTER,
            "machine": machine.describe(world.directory), "data": f"{w.N_TASKS:,} tasks in {w.N_LISTS} lists of an owner each",
            "seconds": options.seconds, "repeat": options.repeat, "warnings": [], "rows": []}


def main():
    options = parse()
    start = time.monotonic()
    with w.World(options.build, options.dir) as world:
        note("making data")
        result = header(world, options)
        if options.suite == "rivals":
            result["rivals"] = rivals.versions()
        world.server.start()
        world.seed()
        if options.suite == "time":
            measures = TimeMeasures(world, options, note)
        elif options.suite == "kafka":
            measures = KafkaMeasures(world, options, note)
        else:
            kind = RivalMeasures if options.suite == "rivals" else Measures
            measures = kind(world, options.seconds, options.repeat, options.quick, note)
        for name in SUITES[options.suite]:
            if name in options.only:
                result["rows"] += getattr(measures, "measure_" + name.replace("-", "_"))()
        note("")
    result["took_s"] = round(time.monotonic() - start, 1)
    warn(result)
    os.makedirs(os.path.dirname(os.path.abspath(options.out)), exist_ok=True)
    with open(options.out, "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    (kafka_report if options.suite == "kafka" else report).show(result)
    print(f"took {result['took_s']:.0f} s; everything is in {options.out}")


def on_signal(_number, _frame):
    raise KeyboardInterrupt


signal.signal(signal.SIGTERM, on_signal)
signal.signal(signal.SIGHUP, on_signal)
try:
    main()
except (w.Failed, http.client.HTTPException, OSError) as failure:
    sys.exit(f"bench/run: {failure}")
except KeyboardInterrupt:
    sys.exit(130)
