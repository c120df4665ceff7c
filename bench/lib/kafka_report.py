# SPDX-License-Identifier: Apache-2.0
"""The tables of the Kafka suite."""
import machine
import report

PER_CPU_S = 300_000
OF_BARE = 0.4
OF_MSGPACK = 1 / 3
RATES = {"durable": 100_000, "publish": 100_000}


def said(words, is_reached):
    return f"{words}: {'reached' if is_reached else 'MISSED'}"


def verdict(row, rows):
    rate = row["taskwire"]["median"]
    if row["what"] == "bare":
        return ""
    if row["encoding"] != "msgpack":
        other = next(r for r in rows if r.get("what") == row["what"] and r["size"] == row["size"] and r["encoding"] == "msgpack")
        return said("≥ 1/3 of msgpack", rate >= OF_MSGPACK * other["taskwire"]["median"])
    if row["what"] == "actors":
        return (said(f"≥ {OF_BARE:.0%} of (a)", row["of_bare"] >= OF_BARE) + "; "
                + said(f"≥ {PER_CPU_S:,} per CPU second", row["per_cpu_s"] >= PER_CPU_S))
    return said(f"≥ {RATES[row['what']]:,}/s", rate >= RATES[row["what"]])


def line(row, rows):
    run = row["taskwire"]["runs"][0]
    used = run["cpu_us"]
    together = used["server"] + used["postgres"] + used["broker"]
    mark = " (!)" if run["is_disturbed"] else ""
    return [row["title"] + mark, f"{row['taskwire']['median']:,.0f}/s", f"{row['of_bare']:.0%}" if "of_bare" in row else "",
            f"{used['server']:.2f}", f"{used['postgres']:.2f}", f"{used['broker']:.2f}", f"{machine.CPUS * 1e6 / max(0.01, together):,.0f}/s", f"{row['per_cpu_s']:,}", verdict(row, rows)]


def threads(row):
    used = row["taskwire"]["runs"][0]["cpu_us"]
    return report.largest({**used["threads"], **{f"pg:{key}": us for key, us in used["backends"].items()}}, 9)


def show(result):
    host, rows = result["machine"], result["rows"]
    rates = [row for row in rows if "what" in row]
    print()
    print(f"{host['cpus']} × {host['cpu']}, {host['memory_mb']:,} MB, fdatasync {host['fdatasync_us']} µs, load average"
          f" {host['load_average']:.2f}")
    for warning in result["warnings"]:
        print(f"WARNING: {warning}")
    print()
    if rates:
        report.print_table(["events", "rate", "of (a)", "CPU: taskwire, µs", "PostgreSQL", "broker", "CPUs allow", "per CPU second", "to reach"],
                           [line(row, rates) for row in rates])
    figures = [row for row in rows if "figures" in row]
    if figures:
        report.rates(figures)
    for row in rates:
        if row["what"] == "durable":
            print(f"{row['title']}, µs an event: {threads(row)}")
