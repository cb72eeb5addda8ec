"""What is new at the services that a fleet office works with, into its tables.

    fleet_sync.py teams_sync       {}
    fleet_sync.py outlook_sync     {"folders": ["Inbox", …], "categorize": …, "parse_receipts": …}
    fleet_sync.py telematics_sync  {}

Up to where a run has come is stored in the same transaction as what it has
found, so the next one begins right there, and one that is cut off has done
nothing.
"""
import datetime
import json
import os
import re
import urllib.parse

from job_tools import ask, main, psql

env = os.environ
now = datetime.datetime.now(datetime.timezone.utc)


def ask_json(url, token):
    with ask("GET", url, headers={"Authorization": "Bearer " + token}) as answer:
        return json.load(answer)


def store(sql, rows, resource, link):
    """In one transaction: sql, with the rows as r of incoming, and the link; how many."""
    rows = json.dumps(rows).replace("\\u0000", "")
    return int(psql(f"""
INSERT INTO sync_state (resource, link) VALUES (:'resource', :'link')
	ON CONFLICT (resource) DO UPDATE SET link = excluded.link, synced_at = now();
WITH incoming AS (SELECT r FROM jsonb_array_elements(:'rows') r), stored AS ({sql} RETURNING 1)
SELECT count(*) FROM stored""", rows=rows, resource=resource, link=link))


def state(resource):
    """(link, hours since) of the last run, ("", None) before the first."""
    row = psql("""
SELECT link, extract(epoch FROM now() - synced_at) / 3600 FROM sync_state
WHERE resource = :'resource'""", resource=resource)
    link, _, hours = row.rpartition("|")
    return link, float(hours) if hours else None


def is_on(value):
    return str(value).lower() in ("true", "yes", "on", "1")


def graph_token():
    form = {"grant_type": "client_credentials", "scope": env["GRAPH_SCOPE"],
            "client_id": env["GRAPH_CLIENT_ID"], "client_secret": env["GRAPH_CLIENT_SECRET"]}
    with ask("POST", env["GRAPH_TOKEN_URL"], urllib.parse.urlencode(form).encode()) as answer:
        return json.load(answer)["access_token"]


def delta(resource, path, token, row):
    """What is new of a resource of Graph, stored as messages; (fetched, new)."""
    url, rows = state(resource)[0] or env["GRAPH_URL"] + path, []
    while url:
        page = ask_json(url, token)
        rows += [row(item) for item in page["value"]]
        link, url = page.get("@odata.deltaLink", ""), page.get("@odata.nextLink")
    return len(rows), store("""
INSERT INTO message (id, channel, folder, sender, subject, content, received_at, category, amount)
SELECT m.* FROM incoming, jsonb_to_record(r) AS m (id text, channel text, folder text,
	sender text, subject text, content text, received_at timestamptz, category text, amount numeric)
ON CONFLICT (id) DO NOTHING""", rows, resource, link)


def teams_sync(job):
    def row(item):
        return {"id": item["id"], "channel": "teams", "folder": item.get("chatId", ""),
                "sender": item["from"]["user"]["displayName"], "content": item["body"]["content"],
                "received_at": item["createdDateTime"]}

    fetched, new = delta("teams", "/chats/getAllMessages/delta", graph_token(), row)
    return {"fetched": fetched, "new": new}


def category(text):
    """In the place of a model: a few words."""
    for name, words in (("finance", "invoice|receipt|payment"),
                        ("maintenance", "service|repair|tyre"),
                        ("claims", "accident|damage|collision")):
        if re.search(rf"\b({words})", text, re.IGNORECASE):
            return name
    return "other"


def outlook_sync(job):
    result, token = {}, graph_token()
    for folder in job.get("folders", ["Inbox"]):
        def row(item):
            text = f"{item['subject']} {item['body']['content']}"
            kind = category(text)
            total = re.search(r"(?:total|amount)\D{0,10}(\d+(?:\.\d\d)?)", text, re.IGNORECASE)
            is_receipt = total and kind == "finance" and is_on(job.get("parse_receipts"))
            return {"id": item["id"], "channel": "outlook", "folder": folder,
                    "sender": item["from"]["emailAddress"]["address"],
                    "subject": item["subject"], "content": item["body"]["content"],
                    "received_at": item["receivedDateTime"],
                    "category": kind if is_on(job.get("categorize")) else None,
                    "amount": total[1] if is_receipt else None}

        path = f"/me/mailFolders/{urllib.parse.quote(folder, safe='')}/messages/delta"
        fetched, new = delta("outlook/" + folder, path, token, row)
        result[folder] = {"fetched": fetched, "new": new}
    return result


def samsara(path, **query):
    """All pages of a list."""
    rows = []
    while True:
        page = ask_json(f"{env['SAMSARA_URL']}{path}?{urllib.parse.urlencode(query)}",
                        env["SAMSARA_API_TOKEN"])
        rows += page["data"]
        if not page.get("pagination", {}).get("hasNextPage"):
            return rows
        query["after"] = page["pagination"]["endCursor"]


def telematics_sync(job):
    result, stamp = {}, now.isoformat()
    hours = state("samsara/vehicles")[1]
    if hours is None or hours >= 24:
        result["vehicles"] = store("""
UPDATE vehicle v SET plate = r->>'licensePlate' FROM incoming WHERE v.samsara_id = r->>'id'""",
                                   samsara("/fleet/vehicles"), "samsara/vehicles", stamp)
    result["positions"] = store("""
INSERT INTO track_in SELECT v.id, (r->'gps'->>'time')::timestamptz, (r->'gps'->>'latitude')::float8,
	(r->'gps'->>'longitude')::float8 FROM incoming JOIN vehicle v ON v.samsara_id = r->>'id'""",
                                samsara("/fleet/vehicles/stats", types="gps"), "samsara/stats", stamp)
    since = state("samsara/safety-events")[0] or (now - datetime.timedelta(days=1)).isoformat()
    result["safety_events"] = store("""
INSERT INTO safety_event SELECT r->>'id', (r->'driver'->>'id')::int, r->>'behavior', (r->>'time')::timestamptz
FROM incoming ON CONFLICT (id) DO NOTHING""",
                                    samsara("/fleet/safety-events", startTime=since, endTime=stamp),
                                    "samsara/safety-events", stamp)
    return result


main({"teams_sync": teams_sync, "outlook_sync": outlook_sync, "telematics_sync": telematics_sync})
