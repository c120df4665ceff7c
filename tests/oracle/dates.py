# SPDX-License-Identifier: Apache-2.0
"""What python-dateutil makes of rules: reads lines of RULE, DATE, N, SINGLE (tabs between), writes the dates.

SINGLE is the rule with INTERVAL=1: its first date is where a rule starts that is given to something due on DATE. Without
it DATE is where the rule starts.
"""
import datetime
import itertools
import sys

from dateutil.rrule import rrulestr


def main():
    for line in sys.stdin:
        rule, date, n, single = line.rstrip("\n").split("\t")
        due = datetime.datetime.fromisoformat(date)
        start = next(iter(rrulestr(single, dtstart=due)), None) if single else due
        if start is None:
            print("never")
            continue
        dates = itertools.islice(rrulestr(rule, dtstart=start), int(n))
        print(" ".join(d.date().isoformat() for d in dates))


main()
