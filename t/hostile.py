"""A web server for the tests that answers as no server should.

hostile.py PORT FILE: what it does is the path. Appends one JSON line a request
to FILE: its first line, its headers, its body as base64, and how many
connections were open then.
"""
import base64
import hashlib
import json
import socket
import socketserver
import struct
import sys
import threading
import time
import zlib

port, out = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
lock = threading.Lock()


def head(status, *headers):
    return ("HTTP/1.1 %s\r\n%s\r\n" % (status, "".join(h + "\r\n" for h in headers))).encode()


def whole(status, body, *headers):
    return head(status, "Content-Length: %d" % len(body), *headers) + body


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            while self.one():
                pass
        except (ConnectionError, ValueError, IndexError):
            pass

    def one(self):
        line = self.rfile.readline(65536).decode("latin-1").strip()
        if not line:
            return False
        headers = {}
        while (h := self.rfile.readline(65536).strip()):
            name, value = h.decode("latin-1").split(":", 1)
            headers[name.lower()] = value.strip()
        left = size = int(headers.get("content-length", "0"))
        digest, body = hashlib.sha256(), b""
        while left > 0 and (some := self.rfile.read(min(left, 1 << 18))):
            digest.update(some)
            body += some if size <= 1 << 20 else b""
            left -= len(some)
        with lock:
            out.write(json.dumps({"line": line, "headers": headers, "bytes": size - left,
                                  "sha256": digest.hexdigest(),
                                  "body": base64.b64encode(body).decode()}) + "\n")
        words = line.split(" ")[1].split("?")[0].strip("/").split("/")
        return getattr(self, "do_" + words[0])(*words[1:])

    def send(self, *parts):
        for part in parts:
            self.wfile.write(part)
        return True

    def do_status(self, code, retry_after=None):
        extra = ["Retry-After: " + retry_after.replace("_", " ")] if retry_after else []
        if code in ("204", "304"):
            return self.send(head(code + " X", *extra))
        return self.send(whole(code + " X", b"", *extra))

    def do_location(self, code):
        return self.send(whole(code + " X", b"", "Location: http://127.0.0.1:%d/status/200" % port))

    def do_json(self, status="200"):
        return self.send(whole(status + " X", b'{"id": 7, "tags": ["a"]}', "Content-Type: application/json",
                               "ETag: \"e\"", "X-Request-Id: r1", "Set-Cookie: a=b"))

    def do_echo(self):
        return self.do_echo_with("200")

    def do_echo_with(self, status):
        with open(out.name) as f:
            last = f.readlines()[-1]
        return self.send(whole(status + " X", last.encode(), "Content-Type: text/plain",
                               "X-Echo: " + json.loads(last)["headers"].get("authorization", "")))

    # OAuth: tokens t1secret, t2secret … of which the newest is good.
    tokens, refused = 0, 0

    def do_token(self, life="3600"):
        with lock:
            Handler.tokens += 1
        return self.send(whole("200 X", json.dumps({"access_token": "t%dsecret" % Handler.tokens, "token_type": "Bearer",
                                                    "expires_in": float(life)}).encode(), "Content-Type: application/json"))

    def do_token_error(self, status, word):
        return self.send(whole(status + " X", json.dumps({"error": word, "error_description": "no"}).encode()))

    def do_guarded(self, ms="0"):
        time.sleep(int(ms) / 1000)
        with open(out.name) as f:
            mine = [r for r in map(json.loads, f) if r["line"].split(" ")[1].startswith("/guarded")][-1]
        good = mine["headers"].get("authorization") == "Bearer t%dsecret" % Handler.tokens
        return self.send(whole("200 X" if good else "401 X", b""))

    def do_guarded_later(self):
        with lock:
            Handler.refused += 1
            first = Handler.refused == 1
        return self.send(whole("401 X", b"")) if first else self.do_guarded()

    # Fails N times, then answers well after MS; and says in FILE how many were
    # here and how many had been answered well when a request came.
    failed, inside, well = {}, {}, {}

    def do_recovers(self, name, n, ms):
        with lock:
            self.failed[name] = self.failed.get(name, 0) + 1
            bad = self.failed[name] <= int(n)
            self.inside[name] = self.inside.get(name, 0) + (not bad)
            out.write(json.dumps({"line": "x /came/%s" % name, "bad": bad, "inside": self.inside[name],
                                  "well": self.well.get(name, 0)}) + "\n")
        time.sleep(0 if bad else int(ms) / 1000)
        with lock:
            self.inside[name] -= not bad
            self.well[name] = self.well.get(name, 0) + (not bad)
        return self.send(whole("503 X" if bad else "200 X", b""))

    def do_reset(self):
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    def do_reset_late(self):
        self.send(head("200 X", "Content-Length: 100"), b"some")
        return self.do_reset()

    def do_close(self):
        return False

    def do_short(self):
        self.send(head("200 X", "Content-Length: 100"), b"short")
        return False

    def do_drip(self):
        self.send(head("200 X", "Content-Length: 1000000"))
        while True:
            self.send(b"x")
            time.sleep(0.05)

    def do_drip_head(self):
        self.send(b"HTTP/1.1 200 X\r\nX-Drip: ")
        while True:
            self.send(b"x")
            time.sleep(0.05)

    def do_stall(self):
        self.send(head("200 X", "Content-Length: 1000000"), b"x" * 1000)
        self.rfile.read(1)

    def do_mute(self, after="0"):
        self.rfile.read(1)

    def do_late(self, ms):
        time.sleep(int(ms) / 1000)
        return self.send(whole("200 X", b"late"))

    def do_header_endless(self):
        self.send(b"HTTP/1.1 200 X\r\nX-A: ")
        while True:
            self.send(b"x" * 65536)

    def do_headers_endless(self):
        self.send(b"HTTP/1.1 200 X\r\n")
        while True:
            self.send(b"X-A: b\r\n" * 1000)

    def do_interim_endless(self):
        while True:
            self.send(head("103 Early") * 1000)

    def do_interim(self):
        return self.send(head("100 Continue"), head("103 Early Hints", "Retry-After: 9", "Link: </a>"),
                         whole("200 X", b"done"))

    def do_switch(self):
        return self.send(head("101 Switching Protocols", "Upgrade: x"))

    def do_body_endless(self):
        self.send(head("200 X"))
        while True:
            self.send(b"x" * 65536)

    def do_body_endless_of(self, status):
        self.send(head(status + " X"))
        while True:
            self.send(b"x" * 65536)

    def do_chunks(self, what):
        self.send(head("200 X", "Transfer-Encoding: chunked"), b"5\r\nhello\r\n")
        self.send({"size": b"zz\r\nabc\r\n", "huge": b"ffffffffffffffffff\r\nabc", "none": b"",
                   "end": b"5\r\nhello0\r\n\r\n", "good": b"0\r\nX-Trailer: a\r\n\r\n"}[what])
        return what == "good"

    def do_bytes(self, n, how="length", end="whole"):
        n, block = int(n), bytes(range(256)) * 1024
        chunked = how == "chunked"
        self.send(head("200 X", "Transfer-Encoding: chunked" if chunked else "Content-Length: %d" % n,
                       "Content-Type: application/pdf; x=y"))
        while n > 0:
            some = block[:min(n, len(block))]
            self.send(b"%x\r\n%s\r\n" % (len(some), some) if chunked else some)
            n -= len(some)
            if end == "cut":
                return False
            time.sleep(0.1 if end == "slow" else 0)
        return self.send(b"0\r\n\r\n" if chunked else b"")

    def do_two_lengths(self):
        self.send(head("200 X", "Content-Length: 3", "Content-Length: 5"), b"abcde")
        return False

    def do_bad_length(self):
        self.send(head("200 X", "Content-Length: -7"), b"abcde")
        return False

    def do_nul(self):
        self.send(b"HTTP/1.1 200 X\r\nX-Nul: a\0b\r\nContent-Length: 0\r\n\r\n")
        return True

    def do_text(self):
        self.send(b"I am no web server\r\n\r\n")
        return False

    def do_http09(self):
        self.send(b"<html>")
        return False

    def do_status_line(self, text):
        self.send(text.replace("_", " ").encode() + b"\r\nContent-Length: 0\r\n\r\n")
        return False

    def do_gzip(self, what):
        pack = zlib.compressobj(9, zlib.DEFLATED, 31)
        if what == "good":
            return self.send(whole("200 X", pack.compress(b"unpacked " * 100) + pack.flush(), "Content-Encoding: gzip"))
        if what == "bad":
            return self.send(whole("200 X", b"no gzip at all", "Content-Encoding: gzip"))
        self.send(head("200 X", "Content-Encoding: gzip"))
        zeros = bytes(1 << 20)
        for _ in range(1 << 14):
            self.send(pack.compress(zeros))
        return False


class Server(socketserver.ThreadingTCPServer):
    daemon_threads, request_queue_size, allow_reuse_address = True, 512, True


Server(("127.0.0.1", port), Handler).serve_forever()
