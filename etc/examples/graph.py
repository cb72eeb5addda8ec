#!/usr/bin/env python3
"""Files and messages of a Graph-like service, for the driver exec.

    graph.py upload|download    {"fileId", "fileName", "fileSize", "contentType", …}
    graph.py sync               {"resourceType", "userId", "teamId", "fullSync"}

upload sends $ATTACHMENTS/fileName, download writes it, sync stores what is new
since the last run.
"""
import http.client
import json
import os
import shutil
import urllib.parse

from exec_job import TEMPORARY, VALIDATION, ask, fail, main, psql, tell

env = os.environ


def authorization():
    form = {"grant_type": "client_credentials", "scope": env["GRAPH_SCOPE"],
            "client_id": env["GRAPH_CLIENT_ID"], "client_secret": env["GRAPH_CLIENT_SECRET"]}
    with ask("POST", env["GRAPH_TOKEN_URL"], urllib.parse.urlencode(form).encode()) as answer:
        return {"Authorization": "Bearer " + json.load(answer)["access_token"]}


class Progress:
    """A file that says how much of it was read or written."""

    def __init__(self, file, size):
        self.file, self.size, self.done, self.told = file, size, 0, 0

    def count(self, n):
        self.done += n
        pct = 100 * self.done // self.size if self.size else 100
        if pct >= self.told + 10:
            self.told = pct
            tell(pct=min(pct, 100), note=f"{self.done} of {self.size} bytes")

    def read(self, n=-1):
        data = self.file.read(n)
        self.count(len(data))
        return data

    def write(self, data):
        self.count(len(data))
        return self.file.write(data)


def file_of(job):
    name = job["fileName"]
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        fail(VALIDATION, f"fileName: {name!r} is no plain name")
    return (os.path.join(env["ATTACHMENTS"], name),
            f"{env['GRAPH_URL']}/files/{urllib.parse.quote(job['fileId'], safe='')}/content")


def upload(job):
    path, url = file_of(job)
    try:
        file = open(path, "rb")
    except OSError as e:
        fail(VALIDATION, str(e))
    with file:
        size = os.fstat(file.fileno()).st_size
        if size != job["fileSize"]:
            fail(VALIDATION, f"{path}: {size} bytes, not {job['fileSize']}")
        headers = authorization() | {"Content-Type": job["contentType"], "Content-Length": str(size)}
        with ask("PUT", url, Progress(file, size), headers) as answer:
            return {"status": answer.status, "bytes": size}


def download(job):
    path, url = file_of(job)
    part = f"{path}.{env.get('JOBQ_ID', '0')}.part"
    try:
        with ask("GET", url, headers=authorization()) as answer, open(part, "wb") as file:
            shutil.copyfileobj(answer, Progress(file, job["fileSize"]))
            size = file.tell()
        if size != job["fileSize"]:
            fail(TEMPORARY, f"{url}: {size} bytes, not {job['fileSize']}")
        os.rename(part, path)
        return {"file": path, "bytes": size}
    except (OSError, http.client.HTTPException) as e:
        fail(TEMPORARY, f"{url}: {e}")
    finally:
        if os.path.exists(part):
            os.unlink(part)


def sync(job):
    kind, owner = ("teams", job["teamId"]) if job.get("teamId") else ("users", job["userId"])
    resource = job["resourceType"]
    owner_key = f"{kind}/{owner}"
    url = "" if job.get("fullSync") else psql(
        "SELECT delta FROM sync_state WHERE resource = :'resource' AND owner = :'owner'",
        resource=resource, owner=owner_key)
    url = url or "{}/{}/{}/{}/delta".format(
        env["GRAPH_URL"], kind, urllib.parse.quote(owner, safe=""), urllib.parse.quote(resource, safe=""))
    headers, items = authorization(), []
    while url:
        with ask("GET", url, headers=headers) as answer:
            page = json.load(answer)
        items += page["value"]
        tell(note=f"{len(items)} {resource}")
        delta, url = page.get("@odata.deltaLink"), page.get("@odata.nextLink")
    # What was fetched and up to where: both or neither.
    new = psql("""
WITH item AS (SELECT * FROM jsonb_to_recordset(:'items')
	AS (id text, sender text, subject text, content text, received timestamptz)),
stored AS (INSERT INTO message SELECT id, :'kind', sender, subject, content, coalesce(received, now()) FROM item
	ON CONFLICT (id) DO NOTHING RETURNING id),
state AS (INSERT INTO sync_state (resource, owner, delta) VALUES (:'resource', :'owner', :'delta')
	ON CONFLICT (resource, owner) DO UPDATE SET delta = excluded.delta, synced_at = now()),
history AS (INSERT INTO sync_history (job, resource, owner, full_sync, fetched)
	SELECT :'job', :'resource', :'owner', :'full', count(*) FROM item)
SELECT count(*) FROM stored""", items=json.dumps(items), kind=kind, resource=resource, owner=owner_key,
               delta=delta or "", job=env.get("JOBQ_ID", "0"), full=bool(job.get("fullSync")))
    return {"fetched": len(items), "new": int(new)}


main({"upload": upload, "download": download, "sync": sync})
