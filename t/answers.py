"""A web service that answers what it is told to, for the tests.

answers.py PORT FILE RULES: RULES is a file of JSON, read at each request, a
list of [method, pattern of the path, [answer, …]], the method a pattern too; the
first that fits counts.
An answer is {status, headers, json or text, delay in seconds}; the second request that fits gets
the second one, and the last one repeats. Else it is 404. Appends one JSON line a
request to FILE: method, path, headers, status, body (its first 64 KiB), of all
of the body length and sha256, and how many of its method were being answered.
"""
import collections
import hashlib
import http.server
import json
import re
import socketserver
import sys
import threading
import time

port, path, rules = int(sys.argv[1]), sys.argv[2], sys.argv[3]
lock = threading.Lock()
out = open(path, "a", buffering=1)
asked, flying = {}, collections.Counter()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        with lock:
            answer = {"status": 404}
            for method, pattern, answers in json.load(open(rules)):
                if re.fullmatch(method, self.command) and re.search(pattern, self.path):
                    key = json.dumps([method, pattern, answers])
                    n = asked[key] = asked.get(key, -1) + 1
                    answer = answers[min(n, len(answers) - 1)]
                    break
            status = answer.get("status", 200)
            flying[self.command] += 1
            out.write(json.dumps({
                "method": self.command, "path": self.path, "status": status,
                "headers": {k.lower(): v for k, v in self.headers.items()},
                "body": body[:65536].decode("latin-1"), "length": len(body),
                "sha256": hashlib.sha256(body).hexdigest(), "flying": flying[self.command]}) + "\n")
        time.sleep(answer.get("delay", 0))
        with lock:
            flying[self.command] -= 1
        text = (json.dumps(answer["json"]) if "json" in answer else answer.get("text", "")).encode()
        self.send_response(status)
        for name, value in answer.get("headers", {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json" if "json" in answer else "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 512


Server(("127.0.0.1", port), Handler).serve_forever()
