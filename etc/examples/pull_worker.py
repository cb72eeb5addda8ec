#!/usr/bin/env python3
"""A worker that fetches jobs of a queue from jobqd over HTTP (jobqd-api(7), Pull
workers), with nothing but Python's own library.

    JOBQD_URL=http://127.0.0.1:8787 JOBQD_TOKEN=... pull_worker.py QUEUE

What a job does is run(). TERM ends it when the job that runs is done.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request

URL = os.environ.get("JOBQD_URL", "http://127.0.0.1:8787")
TOKEN = os.environ["JOBQD_TOKEN"]
stopping = threading.Event()


class Gone(Exception):
    """The job is not ours any more: drop it."""


def post(path, **body):
    """POST; tries again while jobqd or its database is away."""
    while True:
        request = urllib.request.Request(URL + path, json.dumps(body).encode(), {
            "Authorization": "Bearer " + TOKEN, "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as e:
            if e.code == 409:
                raise Gone from e
            if e.code not in (429, 503):
                raise
            time.sleep(float(e.headers.get("Retry-After") or 1))
        except OSError:
            time.sleep(1)


def renew(job, done, cancelled):
    """Until it is done, every few seconds, well within the queue's lease."""
    while not done.wait(5):
        try:
            if post("/v1/jobs/%d/renew" % job["id"], token=job["token"])["cancelled"]:
                cancelled.set()
        except Gone:
            cancelled.set()
            return


def run(job, cancelled):
    """The work: whatever it returns is the job's result, and an exception fails it.
    What takes long looks at cancelled now and then."""
    for _ in range(int(job["data"].get("seconds", 0) * 10)):
        if cancelled.wait(0.1):
            raise RuntimeError("stopped")
    return {"hello": job["data"].get("name", "world")}


def handle(job):
    done, cancelled = threading.Event(), threading.Event()
    threading.Thread(target=renew, args=(job, done, cancelled), daemon=True).start()
    path = "/v1/jobs/%d/" % job["id"]
    try:
        try:
            result = run(job, cancelled)
        except Exception as e:  # pylint: disable=broad-except
            post(path + "fail", token=job["token"], message=str(e) or repr(e))
        else:
            post(path + "complete", token=job["token"], result=result)
    except Gone:
        pass
    finally:
        done.set()


def main():
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    while not stopping.is_set():
        for job in post("/v1/queues/%s/lease" % sys.argv[1], wait="20s")["jobs"]:
            handle(job)


main()
