"""Compare jobqd's time zones with Python's.

    python3 zone_oracle.py PROGRAM DIRECTORY

PROGRAM is t/unit/zone_spans. Every zone of the system from 1970 to 2060, and
files with random tables and rules, written to DIRECTORY, from 1970 to 2040;
prints each difference and ends with "N zones, M changes compared, D differ".

Left out, as Python 3.11 does otherwise than RFC 9636 and POSIX say: times
before the first change (type 0; Python's is the first of standard time), days
by a bare number (from 0, Python's from -1), J59 of leap years (February 28,
Python's March 1), and rules with hours of three digits (it refuses them).
t/unit/test_zone.c has examples of these.
"""
import datetime
import io
import os
import random
import struct
import subprocess
import sys
import zoneinfo

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
STEP = 2 * 86400


def instant(year):
    return int(datetime.datetime(year, 1, 1, tzinfo=UTC).timestamp())


def offset(zone, t):
    return int((EPOCH + datetime.timedelta(seconds=t)).astimezone(zone).utcoffset().total_seconds())


def changes(zone, start, end):
    """[(instant, offset from then on)], found by looking every other day and halving:
    two are never so near."""
    found, last = [(start, offset(zone, start))], offset(zone, start)
    for t in range(start + STEP, end + STEP, STEP):
        t = min(t, end - 1)
        now = offset(zone, t)
        if now != last:
            low, high = t - STEP, t
            while high - low > 1:
                middle = (low + high) // 2
                if offset(zone, middle) == last:
                    low = middle
                else:
                    high = middle
            found.append((high, now))
            last = now
    return found


def moment(rng):
    """A day of the rule, with the time of the change."""
    if rng.random() < 0.7:
        day = f"M{rng.randint(1, 12)}.{rng.randint(1, 5)}.{rng.randint(0, 6)}"
    else:
        day = f"J{rng.choice((rng.randint(1, 58), rng.randint(60, 365)))}"
    kind = rng.random()
    if kind < 0.3:
        return day
    hours = rng.randint(0, 24) if kind < 0.8 else rng.randint(-99, 99)
    return f"{day}/{hours}" + (f":{rng.randint(0, 59):02}" if rng.random() < 0.3 else "")


def hours(rng):
    return f"{rng.randint(-14, 12)}" + (f":{rng.choice((15, 30, 45))}" if rng.random() < 0.3 else "")


def rule(rng):
    if rng.random() < 0.1:
        return ""
    if rng.random() < 0.2:
        return f"<+{rng.randint(10, 99)}>{hours(rng)}"
    start, end = moment(rng), moment(rng)
    return f"AAA{hours(rng)}BBB{hours(rng) if rng.random() < 0.4 else ''},{start},{end}"


def sane(text):
    """Not daylight saving for moments, or changes that overtake each other:
    then it is nobody's business what comes out."""
    if "," not in text:
        return True
    zone = zoneinfo.ZoneInfo.from_file(io.BytesIO(tzif([], [3600], text)))
    times = [t for t, _ in changes(zone, instant(2001), instant(2009))[1:]]
    return len(times) == 16 and all(b - a > 3 * 86400 for a, b in zip(times, times[1:]))


def tzif(table, offsets, text):
    """A file of version 3: [(instant, type)], the types' offsets, the rule."""
    def head(times, types):
        return b"TZif3" + bytes(15) + struct.pack(">6l", 0, 0, 0, times, types, 4)
    out = head(0, 1) + struct.pack(">lBB", 0, 0, 0) + b"LMT\0"
    out += head(len(table), len(offsets))
    out += b"".join(struct.pack(">q", t) for t, _ in table) + bytes(n for _, n in table)
    out += b"".join(struct.pack(">lBB", o, n % 2, 0) for n, o in enumerate(offsets)) + b"LMT\0"
    return out + b"\n" + text.encode() + b"\n"


def random_zone(rng, path):
    offsets = [rng.randrange(-40000, 50000, 60) for _ in range(5)]
    text = rule(rng)
    while not sane(text):
        text = rule(rng)
    table, t = [], instant(1970) - 1
    for _ in range(20 if text == "" else rng.choice((0, 0, 20))):
        table.append((t, rng.randrange(5)))
        t += rng.randint(4 * 86400, 900 * 86400)
    if table and text:      # a file's rule agrees with its last change
        probe = zoneinfo.ZoneInfo.from_file(io.BytesIO(tzif([], [0], text)))
        offsets[table[-1][1]] = offset(probe, table[-1][0])
    with open(path, "wb") as f:
        f.write(tzif(table, offsets, text))


def main():
    program, directory = sys.argv[1:3]
    rng = random.Random(1)
    cases = [(name, zoneinfo.ZoneInfo(name), next(p for d in zoneinfo.TZPATH
              if os.path.exists(p := os.path.join(d, name))), instant(1970), instant(2060))
             for name in sorted(zoneinfo.available_timezones())]
    # One of each group of names for the same times.
    seen, single = set(), []
    for case in cases:
        with open(case[2], "rb") as f:
            content = f.read()
        if content not in seen:
            seen.add(content)
            single.append(case)
    for n in range(100):
        path = os.path.join(directory, f"zone{n}")
        random_zone(rng, path)
        with open(path, "rb") as f:
            single.append((path, zoneinfo.ZoneInfo.from_file(f), path, instant(1970), instant(2040)))
    text = "".join(f"{path} {start} {end}\n" for _, _, path, start, end in single)
    out = subprocess.run([program], input=text, capture_output=True, text=True, check=True).stdout.splitlines()
    compared = differ = 0
    for (name, zone, path, start, end), line in zip(single, out, strict=True):
        want = changes(zone, start, end)
        compared += len(want)
        got = line if line.startswith("error") else \
            [tuple(int(n) for n in item.split("=")) for item in line.split()]
        if got != want:
            differ += 1
            print(f"{name}: {got}, Python {want}")
    print(f"{len(out)} zones, {compared} changes compared, {differ} differ")
    return differ != 0


if __name__ == "__main__":
    sys.exit(main())
