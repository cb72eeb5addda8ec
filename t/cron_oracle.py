"""Compare jobqd's cron with croniter's.

    python3 cron_oracle.py PROGRAM COUNT SEED

PROGRAM is t/unit/cron_next. COUNT random expressions of five and of six
fields, in what both understand the same way, each from a random instant;
prints each difference and ends with "N compared, M differ".
"""
import calendar
import random
import subprocess
import sys

import croniter

TIMES = 5
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()
# name: low, high, names
FIELDS = [("second", 0, 59, None), ("minute", 0, 59, None), ("hour", 0, 23, None),
          ("day", 1, 31, None), ("month", 1, 12, MONTHS), ("weekday", 0, 6, WEEKDAYS)]


def one(rng, low, high, names):
    value = rng.randint(low, high)
    if names and rng.random() < 0.3:
        return names[value - low]
    return str(value)


def item(rng, name, low, high, names):
    kind = rng.random()
    if kind < 0.45:
        return one(rng, low, high, names)
    first = rng.randint(low, high)
    last = rng.randint(first, high)
    # croniter refuses a step longer than the field, and takes a range of one
    # value for a backward one.
    step = rng.randint(1, max(1, (high - low) // 2))
    if kind < 0.65 and last > first:
        return f"{first}-{last}"
    if kind < 0.85 and last - first >= 2:
        return f"{first}-{last}/{rng.randint(1, last - first)}"
    # Where n/step ends in a week is read in two ways: in croniter on day 7.
    if name != "weekday":
        return f"{first}/{step}" if first + step <= high else str(first)
    return str(first)


def field(rng, name, low, high, names, star):
    if rng.random() < star:
        # A star with a step in a day field is read in two ways: see below.
        if name in ("day", "weekday") or rng.random() < 0.5:
            return "*"
        return f"*/{rng.randint(1, (high - low) // 2)}"
    if name == "day" and rng.random() < 0.1:
        return "L"
    if name == "weekday" and rng.random() < 0.15:
        # Alone in its field, and with a star for the day of the month, as
        # croniter mixes them with others in its own way.
        return f"{rng.randint(0, 6)}#{rng.randint(1, 5)}"
    return ",".join(item(rng, name, low, high, names) for _ in range(rng.choice([1, 1, 1, 2, 3])))


def expression(rng, seconds):
    fields = [field(rng, *FIELDS[0], star=0.3)] if seconds else []
    fields += [field(rng, *FIELDS[1], star=0.3), field(rng, *FIELDS[2], star=0.4)]
    day, month, weekday = (field(rng, *FIELDS[3], star=0.5), field(rng, *FIELDS[4], star=0.5),
                           field(rng, *FIELDS[5], star=0.5))
    if "#" in weekday or day == "L":
        day, weekday = ("*", weekday) if "#" in weekday else (day, "*")
    return fields + [day, month, weekday]


def common(fields):
    """Whether croniter can be asked. A field that names every day is a star
    to it, though none is written; and it stumbles over days that one of the
    months does not have (31 nov with a weekday: never; 30,1: misses the first
    of March)."""
    expanded, _ = croniter.croniter.expand(" ".join(fields[-5:]))
    if any(not fields[i].startswith("*") and expanded[i] == ["*"] for i in (-3, -1)):
        return False
    days, months = expanded[2], expanded[3]
    if days in (["*"], ["l"]):
        return True
    if months == ["*"]:
        months = range(1, 13)
    return max(days) <= min(calendar.monthrange(2023, month)[1] for month in months)


def expected(fields, after):
    """croniter's answer; its seconds are the sixth field."""
    order = fields[1:] + fields[:1] if len(fields) == 6 else fields
    it = croniter.croniter(" ".join(order), after)
    times = []
    try:
        for _ in range(TIMES):
            times.append(int(it.get_next(float)))
    except croniter.CroniterBadDateError:
        pass        # it looks fifty years ahead
    return times


def main():
    program, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    cases = []
    for n in range(count):
        fields = expression(rng, n % 2 == 1)
        while not common(fields):
            fields = expression(rng, n % 2 == 1)
        cases.append((fields, rng.randint(0, 2_500_000_000)))
    text = "".join(f"{after} {TIMES} UTC standard {' '.join(fields)}\n" for fields, after in cases)
    out = subprocess.run([program], input=text, capture_output=True, text=True, check=True).stdout.splitlines()
    differ = 0
    for (fields, after), line in zip(cases, out, strict=True):
        want = expected(fields, after)
        got = [] if line.startswith("error") else [int(t) for t in line.split()]
        # What croniter gives up on may come later here.
        if line.startswith("error") or got[:len(want)] != want or \
                (len(want) < TIMES and len(got) > len(want) and got[len(want)] - after < 40 * 366 * 86400):
            differ += 1
            print(f"{' '.join(fields)} after {after}: {line}, croniter {want}")
    print(f"{len(out)} compared, {differ} differ")
    return differ != 0


if __name__ == "__main__":
    sys.exit(main())
