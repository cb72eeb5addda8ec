"""The subscribers of the demo: receives webhooks and verifies signatures.

receiver.py DIRECTORY: reads the subscribers' secrets from secrets.json
there, writes its port to the file port, and one JSON line a request to
received.jsonl. Signatures are checked by Python's hmac and the text of the
two schemes. What does not verify is answered with 401; the first delivery to
/flaky/… with 503, as by a subscriber that has just been restarted.
"""
import base64
import hashlib
import hmac
import http.server
import json
import os
import sys
import threading
import time

directory = sys.argv[1]
with open(f"{directory}/secrets.json") as f:
    secrets = json.load(f)
log = open(f"{directory}/received.jsonl", "a", buffering=1)
lock = threading.Lock()
seen = set()


def fresh(timestamp):
    return timestamp.isdigit() and abs(time.time() - int(timestamp)) < 300


def verify_standard(headers, body, secret):
    """Standard Webhooks: HMAC-SHA-256 over id.timestamp.body, in base64."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    moment = headers.get("webhook-timestamp", "")
    signed = f"{headers.get('webhook-id')}.{moment}.".encode() + body
    mac = hmac.new(key, signed, hashlib.sha256).digest()
    want = "v1," + base64.b64encode(mac).decode()
    return fresh(moment) and any(hmac.compare_digest(one, want)
                                 for one in headers["webhook-signature"].split())


def verify_timestamped(headers, body, secret):
    """X-Webhook-Signature: HMAC-SHA-256 over timestamp.body, in hex."""
    moment = headers.get("x-webhook-timestamp", "")
    want = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    return fresh(moment) and hmac.compare_digest(headers["x-webhook-signature"], want)


class Subscriber(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        kind, _, subscriber = self.path.strip("/").partition("/")
        secret = secrets.get(subscriber, "")
        scheme, good = "none", False
        if "webhook-signature" in headers:
            scheme, good = "standard", verify_standard(headers, body, secret)
        elif "x-webhook-signature" in headers:
            scheme, good = "timestamped", verify_timestamped(headers, body, secret)
        event = headers.get("x-event-id", "")
        with lock:
            first = event not in seen
            seen.add(event)
        status = 503 if kind == "flaky" and first else 200 if good else 401
        with lock:
            log.write(json.dumps({
                "event": event, "type": headers.get("x-event-type", ""), "scheme": scheme,
                "verified": good, "status": status, "body": body.decode("utf-8", "replace")}) + "\n")
        answer = json.dumps({"received": good}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


server = Server(("127.0.0.1", 0), Subscriber)
with open(f"{directory}/port.new", "w") as f:
    f.write(f"{server.server_port}\n")
os.rename(f"{directory}/port.new", f"{directory}/port")
server.serve_forever()
