"""A webhook receiver for the tests.

receiver.py PORT FILE SECRET: answers 200 and appends one JSON line a request
to FILE: path, headers, body, and whether each signature verifies, by
Python's own hmac and the text of the two schemes' specifications.
Paths: /ok, /slow (200 ms), /fail/CODE, /retry-after/CODE/VALUE.
"""
import base64
import hashlib
import hmac
import http.server
import json
import socketserver
import sys
import threading
import time

port, path, secret = int(sys.argv[1]), sys.argv[2], sys.argv[3]
lock = threading.Lock()
out = open(path, "a", buffering=1)


def standard_webhooks(headers, body):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = b".".join([headers.get("webhook-id", "").encode(),
                      headers.get("webhook-timestamp", "").encode(), body])
    want = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    fresh = abs(time.time() - int(headers.get("webhook-timestamp", "0"))) < 300
    return fresh and any(
        hmac.compare_digest(one, "v1," + want)
        for one in headers.get("webhook-signature", "").split(" "))


def timestamped_hmac(headers, body):
    text = headers.get("x-webhook-timestamp", "").encode() + b"." + body
    want = hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
    fresh = abs(time.time() - int(headers.get("x-webhook-timestamp", "0"))) < 300
    return fresh and hmac.compare_digest(headers.get("x-webhook-signature", ""), want)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {k.lower(): v for k, v in self.headers.items()}
        record = {"path": self.path, "headers": headers, "body": body.decode("utf-8", "replace")}
        if "webhook-signature" in headers:
            record["standard"] = standard_webhooks(headers, body)
        if "x-webhook-signature" in headers:
            record["timestamped"] = timestamped_hmac(headers, body)
        with lock:
            out.write(json.dumps(record) + "\n")
        parts = self.path.strip("/").split("/")
        code, extra = 200, {}
        if parts[0] == "slow":
            time.sleep(0.2)
        elif parts[0] == "fail":
            code = int(parts[1])
        elif parts[0] == "retry-after":
            code, extra = int(parts[1]), {"Retry-After": parts[2]}
        answer = b'{"received":true}'
        self.send_response(code)
        for name, value in extra.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 512


Server(("127.0.0.1", port), Handler).serve_forever()
