"""What programs of the driver exec share: how to fail, to tell progress, to ask
a web service, to run SQL. See graph.py and rto.py.

The exit status says what to do about a failure: 65 no use in trying again, 75
and 69 try again, 77 what we showed to be let in was refused.
"""
import http.client
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

VALIDATION, UNAVAILABLE, TEMPORARY, AUTH = 65, 69, 75, 77


def fail(status, text):
    print(text, file=sys.stderr)
    sys.exit(status)


def tell(**progress):
    """pct and note, on the descriptor that jobqd reads progress from."""
    try:
        os.write(3, json.dumps({"progress": progress}).encode() + b"\n")
    except OSError:
        pass


def ask(method, url, body=None, headers=None):
    """The answer, a file. body: bytes, a file, or what is sent as JSON."""
    headers = dict(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    try:
        return urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=30)
    except urllib.error.HTTPError as e:
        text = f"{method} {url}: {e.code} {e.reason}"
        if e.code in (401, 403):
            fail(AUTH, text)
        fail(TEMPORARY if e.code in (408, 425, 429) or e.code >= 500 else VALIDATION, text)
    except (OSError, http.client.HTTPException) as e:
        fail(UNAVAILABLE, f"{method} {url}: {e}")


def psql(sql, **values):
    """Run SQL, in one transaction, with a literal for each :'name'. In the
    database that JOB_DATABASE says, else libpq's own variables."""
    sql = re.sub(r":'(\w+)'", lambda m: "'" + str(values[m[1]]).replace("'", "''") + "'", sql)
    run = subprocess.run(["psql", "-XAtq1", "-v", "ON_ERROR_STOP=1", "-f", "-", os.environ.get("JOB_DATABASE", "")],
                         input=sql, text=True, capture_output=True)
    if run.returncode:
        fail(UNAVAILABLE, run.stderr)
    return run.stdout.strip()


def main(tasks):
    """Do the task that the first argument names, with the job's data."""
    task = tasks.get(sys.argv[1]) or fail(VALIDATION, f"no such task: {sys.argv[1]}")
    try:
        result = task(json.load(sys.stdin))
    except (KeyError, ValueError) as e:
        fail(VALIDATION, f"{type(e).__name__}: {e}")
    print(json.dumps(result))
