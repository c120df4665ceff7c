# SPDX-License-Identifier: Apache-2.0
"""The table that people read; the JSON has all of it."""


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def figure(summary, unit):
    value = summary["median"]
    if unit == "us":
        return f"{value / 1000:.2f} ms ±{summary['spread'] * 50:.0f} %"
    return f"{number(value)} {unit} ±{summary['spread'] * 50:.0f} %".replace(" /s", "/s")


def verdict(row):
    if row.get("target_ratio"):
        is_reached = row["ratios"]["pgbench"]["median"] >= row["target_ratio"]
        return f"≥ {row['target_ratio']} × pgbench: {'reached' if is_reached else 'MISSED'}"
    if row.get("target"):
        return f"≥ {row['target']:,}/s: {'reached' if row['taskwire']['median'] >= row['target'] else 'MISSED'}"
    if row.get("target_most"):
        return f"≤ {row['target_most']} {row['unit']}: {'reached' if row['taskwire']['median'] <= row['target_most'] else 'MISSED'}"
    return ""


def all_runs(row):
    for key in ("taskwire", "pgbench", "pipelined"):
        yield from row.get(key, {}).get("runs", [])
    yield from row.get("runs", [])


def is_disturbed(row):
    return any(run.get("is_disturbed") for run in all_runs(row))


def print_table(header, lines):
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    for line in [header, *lines]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print()


def rates(rows):
    lines = []
    for row in rows:
        mark = " (!)" if is_disturbed(row) else ""
        if "figures" in row:
            for words, summary in row["figures"].items():
                lines.append([f"{row['title'].partition(',')[2].strip()}: {words}{mark}", figure(summary, row["unit"]), "", "", "", "", ""])
            continue
        cells = [row["title"] + mark, figure(row["taskwire"], row["unit"])]
        for name in ("pgbench", "pipelined"):
            has = name in row.get("ratios", {})
            cells += [figure(row[name], row["unit"]), f"{row['ratios'][name]['median']:.2f}"] if has else ["", ""]
        lines.append([*cells, verdict(row)])
    print_table(["measure (median ± half the spread)", "taskwire", "pgbench", "ratio", "pgbench, pipelined", "ratio", "to reach"], lines)


def middle(runs):
    """The run whose rate is the median."""
    return sorted(runs, key=lambda run: run["rate"])[len(runs) // 2]


def cpu_cells(cpu):
    busy = cpu["busy"]
    return [f"{cpu['server']:.1f}", f"{cpu['postgres']:.1f}", f"{cpu['load']:.1f}",
            f"{busy['server']:.2f} + {busy['postgres']:.2f} + {busy['load']:.2f}"]


def largest(found, n):
    return ", ".join(f"{name} {us:.1f}" for name, us in sorted(found.items(), key=lambda item: -item[1])[:n] if us >= 0.05)


def cpu(rows):
    lines = []
    for row in rows:
        for name in ("taskwire", "pgbench", "pipelined"):
            runs = row.get(name, {}).get("runs") or (row.get("runs") if name == "taskwire" else None)
            if not runs or "cpu_us" not in runs[0]:
                continue
            used = middle(runs)["cpu_us"]
            inside = largest({**used["threads"], **{f"pg:{key}": us for key, us in used["backends"].items()}}, 7) if name == "taskwire" else ""
            lines.append([row["title"] if name == "taskwire" else f"    {name}", *cpu_cells(used), inside])
    if lines:
        print_table(["CPU, µs an operation", "taskwire", "PostgreSQL", "load", "CPUs busy", "threads and backends"], lines)


def latencies(rows):
    lines = []
    for row in rows:
        for name in ("taskwire", "pgbench", "pipelined"):
            runs = row.get(name, {}).get("runs") or (row.get("runs") if name == "taskwire" else None)
            if not runs or "latency_us" not in runs[0]:
                continue
            found = middle(runs)["latency_us"]
            lines.append([row["title"] if name == "taskwire" else f"    {name}"] +
                         [f"{found[key] / 1000:.2f}" if key in found else "" for key in ("mean", "p50", "p90", "p99", "max")])
    if lines:
        print_table(["latency, ms", "mean", "p50", "p90", "p99", "max"], lines)


def backlogs(rows):
    for row in rows:
        runs = [run for run in row.get("taskwire", {}).get("runs", []) if "backlog" in run]
        if runs:
            run = middle(runs)
            print(f"{row['title']}: {run['backlog']:,} of {run['answers']:,} events were not audited yet at the end;"
                  f" that took {run['settle_s']:.1f} s more")


def show(result):
    machine = result["machine"]
    print()
    print(f"{machine['cpus']} × {machine['cpu']}, {machine['memory_mb']:,} MB, fdatasync {machine['fdatasync_us']} µs, load average"
          f" {machine['load_average']:.2f}; {result['data']}")
    for warning in result["warnings"]:
        print(f"WARNING: {warning}")
    print()
    rates(result["rows"])
    latencies(result["rows"])
    cpu(result["rows"])
    backlogs(result["rows"])
