#!/usr/bin/env python3
"""What is new at a Graph-like service, for the driver worker.

Jobs of type sync with {"resourceType", "userId", "teamId", "fullSync"}: page after
page since the last run, or from the beginning; stored with the place where the
next run goes on. jobqd_worker.py is among the clients of jobqd.
"""
import json
import os
from urllib.parse import quote, urlencode

import jobqd_worker
from job_tools import Fail, ask, psql

env = os.environ
worker = jobqd_worker.Worker()


def authorization():
    form = {"grant_type": "client_credentials", "scope": env["GRAPH_SCOPE"],
            "client_id": env["GRAPH_CLIENT_ID"], "client_secret": env["GRAPH_CLIENT_SECRET"]}
    with ask("POST", env["GRAPH_TOKEN_URL"], urlencode(form).encode()) as answer:
        return {"Authorization": "Bearer " + json.load(answer)["access_token"]}


def fetch(job):
    data = job.data
    kind, owner = ("teams", data["teamId"]) if data.get("teamId") else ("users", data["userId"])
    resource = data["resourceType"]
    owner_key = f"{kind}/{owner}"
    url = "" if data.get("fullSync") else psql(
        "SELECT delta FROM sync_state WHERE resource = :'resource' AND owner = :'owner'",
        resource=resource, owner=owner_key)
    url = url or "{}/{}/{}/{}/delta".format(env["GRAPH_URL"], kind, quote(owner, safe=""),
                                            quote(resource, safe=""))
    headers, items = authorization(), []
    while url:
        job.check()
        with ask("GET", url, headers=headers) as answer:
            page = json.load(answer)
        items += page["value"]
        job.progress(note=f"{len(items)} {resource}")
        delta, url = page.get("@odata.deltaLink"), page.get("@odata.nextLink")
    # What was fetched and up to where: both or neither.
    new = psql("""
WITH item AS (SELECT * FROM jsonb_to_recordset(:'items')
	AS (id text, sender text, subject text, content text, received timestamptz)),
stored AS (INSERT INTO message
	SELECT id, :'kind', sender, subject, content, coalesce(received, now()) FROM item
	ON CONFLICT (id) DO NOTHING RETURNING id),
state AS (INSERT INTO sync_state (resource, owner, delta) VALUES (:'resource', :'owner', :'delta')
	ON CONFLICT (resource, owner) DO UPDATE SET delta = excluded.delta, synced_at = now()),
history AS (INSERT INTO sync_history (job, resource, owner, full_sync, fetched)
	SELECT :'job', :'resource', :'owner', :'full', count(*) FROM item)
SELECT count(*) FROM stored""", items=json.dumps(items), kind=kind, resource=resource,
               owner=owner_key, delta=delta or "", job=job.id, full=bool(data.get("fullSync")))
    return {"fetched": len(items), "new": int(new)}


@worker.handler("sync")
def sync(job):
    try:
        return fetch(job)
    except Fail as e:
        raise jobqd_worker.Fail(str(e), e.class_, e.retry_after)
    except (KeyError, ValueError) as e:
        raise jobqd_worker.Fail(f"{type(e).__name__}: {e}", "validation")


worker.run()
