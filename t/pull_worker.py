#!/usr/bin/env python3
"""A worker elsewhere, by nothing but HTTP: pull_worker.py PORT TOKEN QUEUE LOG
[--max N] [--hang] [--once]. Each job that is done is a line of LOG: its id and
attempt. --hang takes a job, says so in LOG and never comes back. Jobs whose data
has "fail" fail with that class until the attempt in "until"."""

import http.client
import json
import sys
import time

port, token, queue, log = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
most = int(sys.argv[sys.argv.index("--max") + 1]) if "--max" in sys.argv else 1
connection = None


def post(path, body):
    """(status, answer); tries until there is a server."""
    global connection
    while True:
        try:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
            connection.request("POST", path, json.dumps(body), {
                "Authorization": "Bearer " + token, "Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 503:
                return answer.status, json.loads(text)
        except (OSError, http.client.HTTPException):
            connection = None
        time.sleep(0.1)


def note(*words):
    with open(log, "a") as f:
        f.write(" ".join(str(w) for w in words) + "\n")


while True:
    status, answer = post("/v1/queues/%s/lease" % queue, {"max": most, "wait": "20s"})
    if status != 200:
        note("error", status, json.dumps(answer))
        time.sleep(0.1)
        continue
    for job in answer["jobs"]:
        path = "/v1/jobs/%d/" % job["id"]
        if "--hang" in sys.argv:
            note("hangs", job["id"], job["attempt"])
            time.sleep(3600)
        if "fail" in job["data"] and job["attempt"] < job["data"].get("until", 1000):
            post(path + "fail", {"token": job["token"], "class": job["data"]["fail"], "message": "as it was told"})
            note("failed", job["id"], job["attempt"])
            continue
        status, said = post(path + "complete", {"token": job["token"], "result": {"n": job["data"].get("n")}})
        note("done" if status == 200 else "late", job["id"], job["attempt"])
