"""What programs of jobs share: to ask a web service, to run SQL, and to be the
program of a driver exec. See graph.py and rto.py.
"""
import http.client
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request


class Fail(Exception):
    """What went wrong, of which class, and after how many seconds to come again."""

    def __init__(self, message, class_="error", retry_after=None):
        super().__init__(message)
        self.class_, self.retry_after = class_, retry_after


def ask(method, url, body=None, headers=None):
    """The answer, a file. body: bytes, or what is sent as JSON."""
    headers = dict(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    try:
        request = urllib.request.Request(url, body, headers, method=method)
        return urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as e:
        text, wait = f"{method} {url}: {e.code} {e.reason}", e.headers.get("Retry-After", "")
        wait = int(wait) if wait.isdigit() else None
        if e.code == 429 or e.code == 503 and wait is not None:
            raise Fail(text, "rate_limit", wait)
        if e.code in (401, 403):
            raise Fail(text, "auth")
        raise Fail(text, "network" if e.code in (408, 425) or e.code >= 500 else "validation")
    except (OSError, http.client.HTTPException) as e:
        raise Fail(f"{method} {url}: {e}", "network")


def psql(sql, **values):
    """Run SQL, in one transaction, with a literal for each :'name'. In the
    database that JOB_DATABASE says, else libpq's own variables."""
    sql = re.sub(r":'(\w+)'", lambda m: "'" + str(values[m[1]]).replace("'", "''") + "'", sql)
    run = subprocess.run(["psql", "-XAtq1", "-v", "ON_ERROR_STOP=1", "-f", "-",
                          os.environ.get("JOB_DATABASE", "")],
                         input=sql, text=True, capture_output=True)
    if run.returncode:
        raise Fail(run.stderr.strip(), "network")
    return run.stdout.strip()


def tell(**progress):
    """pct and note, on the descriptor where the driver exec reads progress."""
    try:
        os.write(3, json.dumps({"progress": progress}).encode() + b"\n")
    except OSError:
        pass


def main(tasks):
    """Do the task that the first argument names, with the job's data. The exit
    status tells the driver exec the class of a failure."""
    try:
        print(json.dumps(tasks[sys.argv[1]](json.load(sys.stdin))))
    except Fail as e:
        print(e, file=sys.stderr)
        sys.exit({"validation": 65, "network": 75, "rate_limit": 75, "auth": 77}.get(e.class_, 1))
    except (KeyError, ValueError) as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        sys.exit(65)
