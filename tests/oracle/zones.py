# SPDX-License-Identifier: Apache-2.0
"""Local times around every clock change from 2020 to 2037 in every zone, with what RFC 5545 §3.3.5 makes of them,
by Python's zoneinfo: in a gap the offset before it, in an overlap the first instant.

Writes lines of ZONE, LOCAL, SECONDS, FIT (tabs between).
"""
import datetime
import zoneinfo

UTC = datetime.timezone.utc
FIRST = datetime.datetime(2020, 1, 1, tzinfo=UTC)
LAST = datetime.datetime(2038, 1, 1, tzinfo=UTC)
STEP = datetime.timedelta(days=7)
AROUND = [-86400, -7200, -3601, -3600, -1801, -1800, -900, -1, 0, 1, 900, 1800, 1801, 3599, 3600, 7200, 86400]


def offset(zone, at):
    return at.astimezone(zone).utcoffset()


def changes(zone):
    """The instants at which the offset changes, to the second."""
    at, before = FIRST, offset(zone, FIRST)
    while at < LAST:
        after = offset(zone, at + STEP)
        if before != after:
            low, high = at, at + STEP
            while high - low > datetime.timedelta(seconds=1):
                middle = low + datetime.timedelta(seconds=(high - low).total_seconds() // 2)
                if offset(zone, middle) == before:
                    low = middle
                else:
                    high = middle
            yield high
        at, before = at + STEP, after


def expected(zone, local):
    """fold=0 is the offset before in a gap, and the first instant in an overlap (PEP 495)."""
    first = local.replace(tzinfo=zone, fold=0)
    second = local.replace(tzinfo=zone, fold=1)
    at = first.astimezone(UTC)
    fit = "plain"
    if first.utcoffset() != second.utcoffset():
        exists = at.astimezone(zone).replace(tzinfo=None) == local
        fit = "overlap" if exists else "gap"
    return int(at.timestamp()), fit


def main():
    for name in sorted(zoneinfo.available_timezones()):
        if name in ("localtime", "Factory", "posixrules"):
            continue
        zone = zoneinfo.ZoneInfo(name)
        probes = [datetime.datetime(2026, 1, 1, 9), datetime.datetime(2026, 7, 1, 9)]
        for at in changes(zone):
            wall = (at - datetime.timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None, fold=0)
            probes += [wall + datetime.timedelta(seconds=1 + s) for s in AROUND]
        for local in probes:
            seconds, fit = expected(zone, local)
            print(name, local.isoformat(), seconds, fit, sep="\t")


main()
