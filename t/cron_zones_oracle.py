"""Compare jobqd's cron in time zones with a walk minute by minute.

    python3 cron_zones_oracle.py PROGRAM EXPRESSIONS ZONE...

PROGRAM is t/unit/cron_next. Around each change of the zones' clocks from 1970
to 2060, that many random expressions by each rule for what a change does.
Which local times there are is Python's zoneinfo's to say, what an expression
means is said here a second time, and the rules' words are taken literally.
Prints each difference and ends with "N compared, M differ".
"""
import calendar
import datetime
import random
import subprocess
import sys
import zoneinfo

from zone_oracle import EPOCH, changes, instant, offset

RULES = ("standard", "skip", "clock")
AROUND = 4 * 3600       # before a change and after what it skips or repeats
MINUTE = datetime.timedelta(minutes=1)
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()
FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


# What a field says, as a set of values for a month; each part is (text, values).

def part(rng, n, local):
    low, high = FIELDS[n]
    near = (local.minute, local.hour, local.day, local.month, local.isoweekday() % 7)[n]
    kind = rng.random()
    # Near the change more often than anywhere, or little would be tested.
    value = near if rng.random() < 0.5 else rng.randint(low, high)
    if kind < 0.55:
        names = {3: MONTHS, 4: WEEKDAYS}.get(n)
        text = names[value - low] if names and rng.random() < 0.3 else str(value)
        return text, {value}
    if kind < 0.8:
        last = rng.randint(value, high)
        step = rng.choice((1, 1, 2, 3, 5))
        return f"{value}-{last}" + (f"/{step}" if step > 1 else ""), set(range(value, last + 1, step))
    step = rng.randint(1, (high - low) // 2)
    return f"{value}/{step}", set(range(value, high + 1, step))


def field(rng, n, local, star):
    low, high = FIELDS[n]
    if rng.random() < star:
        step = rng.choice((1, 1, 1, 2, 3, 4, 6, 15))
        if step > (high - low) // 2:
            step = 1
        return "*" + (f"/{step}" if step > 1 else ""), set(range(low, high + 1, step)), True
    parts = [part(rng, n, local) for _ in range(rng.choice((1, 1, 2, 3)))]
    return ",".join(text for text, _ in parts), set().union(*(values for _, values in parts)), False


def nearest(day, year, month):
    """The weekday nearest to that day, in the month."""
    length = calendar.monthrange(year, month)[1]
    if day > length:
        return None
    return min((d for d in range(1, length + 1) if datetime.date(year, month, d).weekday() < 5),
               key=lambda d: abs(d - day))


def days(rng, local):
    """Text and test of the two day fields."""
    text, values, star = field(rng, 2, local, 0.6)
    kind = rng.random()
    test = lambda d: d.day in values
    if kind < 0.06:
        text, star, test = "L", False, lambda d: d.day == calendar.monthrange(d.year, d.month)[1]
    elif kind < 0.1:
        text, star = "LW", False
        test = lambda d: d.day == nearest(calendar.monthrange(d.year, d.month)[1], d.year, d.month)
    elif kind < 0.16:
        day = rng.choice((local.day, rng.randint(1, 31)))
        text, star, test = f"{day}W", False, lambda d: d.day == nearest(day, d.year, d.month)
    wtext, wvalues, wstar = field(rng, 4, local, 0.6)
    kind = rng.random()
    wtest = lambda d: d.isoweekday() % 7 in wvalues
    weekday = local.isoweekday() % 7 if rng.random() < 0.7 else rng.randint(0, 6)
    if kind < 0.08:
        wtext, wstar = f"{weekday}L", False
        wtest = lambda d: d.isoweekday() % 7 == weekday and \
            d.day + 7 > calendar.monthrange(d.year, d.month)[1]
    elif kind < 0.16:
        nth = rng.choice(((local.day + 6) // 7, rng.randint(1, 5)))
        wtext, wstar = f"{weekday}#{nth}", False
        wtest = lambda d: d.isoweekday() % 7 == weekday and (d.day + 6) // 7 == nth
    if star or wstar:
        return text, wtext, lambda d: test(d) and wtest(d)
    return text, wtext, lambda d: test(d) or wtest(d)


def expression(rng, local):
    """(text, fixed, matches(local minute), seconds of a minute)"""
    second, seconds = rng.choice((("", {0}), ("", {0}), ("0 ", {0}), ("59 ", {59}), ("*/20 ", {0, 20, 40}),
                                  ("7,30-32 ", {7, 30, 31, 32})))
    minute, minutes, mstar = field(rng, 0, local, 0.3)
    hour, hours, hstar = field(rng, 1, local, 0.3)
    month, months, _ = field(rng, 3, local, 0.8)
    day, weekday, of_day = days(rng, local)
    known = {}

    def matches(t):
        if t.minute not in minutes or t.hour not in hours or t.month not in months:
            return False
        date = t.date()
        if date not in known:
            known[date] = of_day(date)
        return known[date]
    return f"{second}{minute} {hour} {day} {month} {weekday}", not (mstar or hstar), matches, sorted(seconds)


def walk(zone, start, end):
    """[(instant, local time, whether it is there the second time, local
    minutes that were skipped right before)] for each minute."""
    minutes, last = [], None
    for t in range(start, end, 60):
        local = (EPOCH + datetime.timedelta(seconds=t)).astimezone(zone)
        wall = local.replace(tzinfo=None, fold=0)
        skipped = []
        if last is not None and wall > last + MINUTE:
            missing = last + MINUTE
            while missing < wall:
                skipped.append(missing)
                missing += MINUTE
        minutes.append((t, wall, local.fold == 1, skipped))
        last = wall
    return minutes


def expected(minutes, rule, fixed, matches, seconds):
    if rule == "standard" and not fixed:
        rule = "clock"
    fires = []
    for t, local, again, skipped in minutes:
        due = {t + s for s in seconds} if matches(local) and not (again and rule != "clock") else set()
        if rule == "standard" and any(matches(missing) for missing in skipped):
            due.add(t)
        fires += sorted(due)
    return fires


def main():
    program, count, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    rng = random.Random(7)
    cases = []
    for name in names:
        zone = zoneinfo.ZoneInfo(name)
        found = changes(zone, instant(1970), instant(2060))
        for (_, before), (at, after) in zip(found, found[1:]):
            if at % 60 != 0:
                continue        # off by seconds, before standard time
            shift = abs(after - before)
            start = (at - shift - AROUND) // 60 * 60
            end = at + shift + AROUND
            minutes = walk(zone, start, end)
            for _ in range(count):
                local = rng.choice(minutes)[1]
                if after > before and rng.random() < 0.5:
                    local = rng.choice(next(m for m in minutes if m[0] == at)[3])
                text, *meaning = expression(rng, local)
                for rule in RULES:
                    cases.append((f"{start - 1} {{}} {name} {rule} {text}", end,
                                  expected(minutes, rule, *meaning)))
    text = "".join(line.format(len(want) + 1) + "\n" for line, _, want in cases)
    out = subprocess.run([program], input=text, capture_output=True, text=True, check=True).stdout.splitlines()
    differ = fired = 0
    for (line, end, want), answer in zip(cases, out, strict=True):
        got = [] if answer.startswith("error") else [int(t) for t in answer.split()]
        fired += len(want)
        if answer.startswith("error") or [t for t in got if t < end] != want:
            differ += 1
            print(f"{line}: {answer}, the walk {want}")
    print(f"{len(out)} compared, {fired} firings, {differ} differ")
    return differ != 0


if __name__ == "__main__":
    sys.exit(main())
