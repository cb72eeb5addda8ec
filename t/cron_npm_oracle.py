"""Compare jobqd's cron with that of an npm package.

    python3 cron_npm_oracle.py PROGRAM cron-parser|croner COUNT SEED

PROGRAM is t/unit/cron_next; the package is where NODE_PATH says. COUNT random
expressions of five and six fields, each in one of some zones and from a random
instant; prints each difference and ends with a line of counts.

Left out:
  - a star with a step in a day field, and a list that names every day, beside
    the other day field: here a star is a star, as in cron, and both fields
    must match; there, either
  - what the package refuses: cron-parser values that a list names twice, W, and
    days that no month has; croner n/step in favour of n-last/step, and nL in
    favour of n#L, so it is asked in its words
  - instants within a day of a change of the clocks: each has a rule of its own,
    and t/052 compares ours
"""
import os
import random
import subprocess
import sys
import zoneinfo

from cron_oracle import FIELDS, TIMES, expression
from zone_oracle import offset

ZONES = ("UTC", "UTC", "Australia/Sydney", "Australia/Lord_Howe", "Europe/Berlin", "America/New_York",
         "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca")
LASTS = {name: high for name, _, high, _ in FIELDS}


def special(rng, fields):
    """Sometimes what croniter has not, alone in its day field."""
    kind = rng.random()
    if kind < 0.1:
        fields[-3] = rng.choice(("L", "LW", f"{rng.randint(1, 31)}W"))
    elif kind < 0.2:
        fields[-1] = f"{rng.randint(0, 6)}{rng.choice(('L', f'#{rng.randint(1, 5)}'))}"
    return fields


def in_croners_words(fields):
    names = [name for name, *_ in FIELDS][-len(fields):]
    words = []
    for name, field in zip(names, fields):
        items = []
        for item in field.split(","):
            value, slash, step = item.partition("/")
            if slash and value.isdigit():
                item = f"{value}-{LASTS[name]}/{step}"
            if name == "weekday" and item.endswith("L"):
                item = f"{item[:-1]}#L"
            items.append(item)
        words.append(",".join(items))
    return words


def near_change(zone, times):
    return any(offset(zone, t - 86400) != offset(zone, t + 86400) for t in times)


def ask(command, cases):
    text = "".join(f"{after} {TIMES} {zone} standard {' '.join(fields)}\n" for after, zone, fields in cases)
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout.splitlines()


def main():
    program, package, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    rng = random.Random(seed)
    cases = [(rng.randint(0, 2_500_000_000), rng.choice(ZONES), special(rng, expression(rng, n % 2 == 1)))
             for n in range(count)]
    ours = ask([program], cases)
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cron_npm.js")
    theirs = ask(["node", script, package], [(after, zone, in_croners_words(fields)) for after, zone, fields in cases]
                 if package == "croner" else cases)
    zones = {name: zoneinfo.ZoneInfo(name) for name in ZONES}
    compared = refused = edges = differ = 0
    for (after, zone, fields), our, their in zip(cases, ours, theirs, strict=True):
        if their.startswith("error"):
            refused += 1
        elif not our.startswith("error") and near_change(zones[zone], map(int, f"{our} {their}".split())):
            edges += 1
        else:
            compared += 1
            if our != their:
                differ += 1
                print(f"{' '.join(fields)} in {zone} after {after}: {our}, {package} {their}")
    print(f"{compared} compared, {refused} refused, {edges} at changes, {differ} differ")
    return differ != 0


if __name__ == "__main__":
    sys.exit(main())
