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
    def said(words, is_reached):
        return f"{words}: {'reached' if is_reached else 'MISSED'}"
    if row.get("target_ratio"):
        peer = next(iter(row["ratios"]))
        return said(f"≥ {row['target_ratio']} × {peer}", row["ratios"][peer]["median"] >= row["target_ratio"])
    if row.get("target"):
        return said(f"≥ {row['target']:,}/s", row["taskwire"]["median"] >= row["target"])
    if row.get("target_most"):
        return said(f"≤ {row['target_most']} {row['unit']}", row["taskwire"]["median"] <= row["target_most"])
    return ""


def all_runs(row):
    for key in ("taskwire", *row.get("ratios", {})):
        yield from row.get(key, {}).get("runs", [])
    yield from row.get("runs", [])


def is_disturbed(row):
    return any(run.get("is_disturbed") for run in all_runs(row))


def print_table(header, lines):
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    for line in [header, *lines]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print()


def figure_verdict(row, words, summary):
    """Of a row of figures only the 99th percentile may have one."""
    if "target_most_us" not in row or not words.endswith("p99"):
        return ""
    most = row["target_most_us"]
    return f"≤ {most / 1000:g} ms: {'reached' if summary['median'] <= most else 'MISSED'}"


def figure_lines(row, mark):
    what = row["title"].partition(",")[2].strip()
    return [[f"{what}: {words}{mark}", figure(summary, row["unit"]), "", "", "", "", figure_verdict(row, words, summary)]
            for words, summary in row["figures"].items()]


def rate_line(row, mark):
    cells = [row["title"] + mark, figure(row["taskwire"], row["unit"])]
    for name in ("pgbench", "pipelined"):
        has = name in row.get("ratios", {})
        cells += [figure(row[name], row["unit"]), f"{row['ratios'][name]['median']:.2f}"] if has else ["", ""]
    return [*cells, verdict(row)]


def is_rival(row):
    """Beside another server, and not beside the same SQL."""
    return any(name not in ("pgbench", "pipelined") for name in row.get("ratios", {}))


def rivals(rows):
    lines = []
    for row in filter(is_rival, rows):
        mark = " (!)" if is_disturbed(row) else ""
        for i, (name, ratio) in enumerate(row["ratios"].items()):
            mine = [row["title"] + mark, figure(row["taskwire"], row["unit"])] if i == 0 else ["", ""]
            lines.append([*mine, name, figure(row[name], row["unit"]), f"{ratio['median']:.2f} ±{ratio['spread'] * 50:.0f} %",
                          verdict(row) if i == 0 else ""])
    if lines:
        print_table(["measure (median ± half the spread)", "taskwire", "beside", "", "ratio", "to reach"], lines)


def rates(rows):
    lines = []
    for row in rows:
        if is_rival(row):
            continue
        mark = " (!)" if is_disturbed(row) else ""
        lines += figure_lines(row, mark) if "figures" in row else [rate_line(row, mark)]
    if lines:
        print_table(["measure (median ± half the spread)", "taskwire", "pgbench", "ratio", "pgbench, pipelined", "ratio",
                     "to reach"], lines)


def middle(runs):
    """The run whose rate is the median."""
    return sorted(runs, key=lambda run: run["rate"])[len(runs) // 2]


def cpu_cells(cpu):
    busy = cpu["busy"]
    return [f"{cpu['server']:.1f}", f"{cpu['postgres']:.1f}", f"{cpu['load']:.1f}",
            f"{busy['server']:.2f} + {busy['postgres']:.2f} + {busy['load']:.2f}"]


def largest(found, n):
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {us:.1f}" for name, us in ordered[:n] if us >= 0.05)


def with_runs(rows, key):
    """Each row and peer that has such figures: the row, the name in the first column, the run to show."""
    for row in rows:
        for name in ("taskwire", *row.get("ratios", {})):
            runs = row.get(name, {}).get("runs") or (row.get("runs") if name == "taskwire" else None)
            if runs and key in runs[0]:
                yield name, row["title"] if name == "taskwire" else f"    {name}", middle(runs)


def cpu(rows):
    lines = []
    for name, title, run in with_runs(rows, "cpu_us"):
        used = run["cpu_us"]
        backends = {f"pg:{key}": us for key, us in used["backends"].items()}
        inside = largest({**used["threads"], **backends}, 7) if name == "taskwire" else ""
        lines.append([title, *cpu_cells(used), inside])
    if lines:
        print_table(["CPU, µs an operation", "taskwire", "PostgreSQL", "load", "CPUs busy", "threads and backends"], lines)


def latencies(rows):
    lines = []
    for _, title, run in with_runs(rows, "latency_us"):
        found = run["latency_us"]
        keys = ("mean", "p50", "p90", "p99", "max")
        lines.append([title, *(f"{found[key] / 1000:.2f}" if key in found else "" for key in keys)])
    if lines:
        print_table(["latency, ms", "mean", "p50", "p90", "p99", "max"], lines)


def backlogs(rows):
    for row in rows:
        runs = [run for run in row.get("taskwire", {}).get("runs", []) if "backlog" in run]
        if runs:
            run = middle(runs)
            print(f"{row['title']}: {run['backlog']:,} of {run['answers']:,} events were not audited yet at the end"
                  f" ({run['settle_s']:.1f} s until all were)")


def resets(rows):
    for row in rows:
        n = sum(run.get("resets", 0) for run in all_runs(row))
        if n > 0:
            print(f"{row['title']}: {n:,} times a follower was too slow and had to resume")


def show(result):
    machine = result["machine"]
    print()
    print(f"{machine['cpus']} × {machine['cpu']}, {machine['memory_mb']:,} MB, fdatasync {machine['fdatasync_us']} µs, load average"
          f" {machine['load_average']:.2f}; {result['data']}")
    for warning in result["warnings"]:
        print(f"WARNING: {warning}")
    print()
    rates(result["rows"])
    rivals(result["rows"])
    latencies(result["rows"])
    cpu(result["rows"])
    backlogs(result["rows"])
    resets(result["rows"])
