"""verify.py DIRECTORY: did everything arrive, exactly as it was sent?

sent.jsonl holds the jobs as they are in the database, one a line. They are
compared with the mails (read by Python's email), what the receiver wrote
down, and the pictures. One line for each kind; exit 1 if anything is amiss.
"""
import collections
import email
import email.policy
import glob
import json
import sys

import fleet_png as png

directory = sys.argv[1]
failed = False


def lines(name):
    with open(f"{directory}/{name}", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def say(good, text):
    global failed
    failed = failed or not good
    print(f"  {'ok  ' if good else 'BAD '} {text}")


sent = collections.defaultdict(list)
for job in lines("sent.jsonl"):
    sent[job["type"]].append(job)

mails = collections.Counter()
for path in glob.glob(f"{directory}/mail/*.eml"):
    with open(path, "rb") as f:
        m = email.message_from_binary_file(f, policy=email.policy.default)
    body = m.get_body(("plain",)).get_content().replace("\r\n", "\n").rstrip("\n")
    mails[str(m["To"]), str(m["Subject"]), body] += 1
wanted = collections.Counter(
    (j["data"]["to"], j["data"]["subject"], j["data"]["text"].rstrip("\n"))
    for j in sent["email_notification"])
say(not wanted - mails, f"{sum((mails & wanted).values())} of {sum(wanted.values())} mails "
    f"on disk as they were sent")

received = lines("received.jsonl")
for kind, scheme, name in (("webhook", "timestamped", "X-Webhook-Signature"),
                           ("webhook-standard", "standard", "Standard Webhooks")):
    got = {r["event"]: r for r in received if r["scheme"] == scheme and r["status"] == 200}
    good = [j for j in sent[kind] if (r := got.get(str(j["id"]))) and r["verified"]
            and r["type"] == j["data"]["eventType"] and json.loads(r["body"]) == j["data"]["payload"]]
    say(len(good) == len(sent[kind]) == len(got),
        f"{len(good)} of {len(sent[kind])} webhooks verified by the receiver, {name}")
retried = len(received) - len({r["event"] for r in received})
say(all(r["verified"] for r in received), f"no signature was wrong in {len(received)} "
    f"deliveries, {retried} of them repeated after a 503")



def size(path):
    try:
        return png.read(path)[:2]
    except (OSError, ValueError):
        return None


small = sum(size(f"{directory}/thumbnails/{job['data']['picture']}") == (96, 60)
            for job in sent["thumbnail"])
say(small == len(sent["thumbnail"]), f"{small} of {len(sent['thumbnail'])} thumbnails, 96x60")

for job in sent["daily_metrics"]:
    r = (job["result"] or {"rows": [{}]})["rows"][0]
    say(r.get("utilization", 0) > 0 and r.get("roi", 0) > 0,
        f"nightly refresh: {r.get('utilization')} rows of utilization, {r.get('roi')} of ROI")
for job in sent["cleanup"]:
    r = job["result"] or {}
    left = len(glob.glob(f"{directory}/exports/*"))
    say(r.get("removed") == 40 and left == 10, f"cleanup: {r.get('removed')} old files removed, {left} kept")
unfinished = [j["id"] for group in sent.values() for j in group if j["state"] != "completed"]
say(not unfinished, f"{sum(map(len, sent.values()))} jobs completed" if not unfinished
    else f"not completed: {unfinished[:10]}")
sys.exit(1 if failed else 0)
