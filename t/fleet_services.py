"""The services that a fleet office works with, for t/840-fleet.t.

fleet_services.py PORT FILE: Microsoft Graph below /graph with its tokens at
/token, push notifications at /push, telematics below /samsara. Appends one JSON
line a request to FILE: method, path, authorization, body, and how many were
being answered. POST /control {"match", "status", "times", "sleep", "headers"}
says what becomes of the next requests whose path begins so: times 0 takes it
back.
"""
import http.server
import json
import socketserver
import sys
import threading
import time

port, out = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
lock, control, flying, tokens = threading.Lock(), {}, 0, set()
base = f"http://127.0.0.1:{port}"


def chat(n):
    return {"id": f"chat-{n}", "chatId": "19:yard", "from": {"user": {"displayName": "Zoë"}},
            "body": {"content": f"Message {n}: \t\"quoted\" \\ and ünïcode"}, "createdDateTime": "2026-01-01T08:00:00Z"}


def mail(n, subject, text):
    return {"id": f"mail-{n}", "subject": subject, "from": {"emailAddress": {"address": "shop@example.com"}},
            "body": {"content": text}, "receivedDateTime": "2026-01-02T08:00:00Z"}


inbox = [mail(1, "Invoice 77", "Total: 129.50 EUR"), mail(2, "Tyre change", "Your service is booked"),
         mail(3, "Hello", "How are you?")]
files = {}


def page(path, items, **more):
    return {"value": items} | {f"@odata.{k}": f"{base}{path}?{v}" for k, v in more.items()}


def graph(method, path, query, body):
    if path == "/graph/chats/getAllMessages/delta":
        if query == "":
            return 200, page(path, [chat(1), chat(2)], nextLink="page=2")
        if query == "page=2":
            return 200, page(path, [chat(3)], deltaLink="since=3")
        n = int(query.removeprefix("since="))
        return 200, page(path, [chat(n + 1)], deltaLink=f"since={n + 1}")
    if path.startswith("/graph/me/mailFolders/"):
        new = inbox if path.split("/")[4] == "Inbox" and query == "" else []
        return 200, page(path, new, deltaLink="since=all")
    if path == "/graph/subscriptions" and method == "POST":
        return 201, {"id": "sub-new", "resource": body["resource"]}
    if path.startswith("/graph/subscriptions/") and method == "PATCH":
        return 200, {"id": path.split("/")[-1]}
    if path.endswith("/messages") and method == "POST":
        return 201, {"id": "sent-1"}
    return 404, {}


def samsara(path, query):
    if path == "/samsara/fleet/vehicles":
        if "after=" not in query:
            return 200, {"data": [{"id": "samsara-1", "licensePlate": "NEW-1"}], "pagination": {"hasNextPage": True, "endCursor": "c1"}}
        return 200, {"data": [{"id": "samsara-2", "licensePlate": "NEW-2"}], "pagination": {"hasNextPage": False}}
    if path == "/samsara/fleet/vehicles/stats":
        return 200, {"data": [{"id": f"samsara-{n}", "gps": {"time": "2026-01-01T08:00:00Z", "latitude": 52.5, "longitude": 13.4}} for n in (1, 2, 3)]}
    return 200, {"data": [{"id": "safety-1", "driver": {"id": "5"}, "behavior": "speeding", "time": "2026-01-01T08:00:00Z"}]}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value, headers={}):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in ({"Content-Type": "application/json"} | headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def serve(self):
        global flying
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        path, _, query = self.path.partition("?")
        who = self.headers.get("authorization", "").removeprefix("Bearer ")
        if path == "/control":
            with lock:
                one = json.loads(raw)
                control[one["match"]] = one
            return self.answer(200, {})
        with lock:
            flying += 1
            way = next((c for m, c in control.items() if path.startswith(m) and c["times"] > 0), None)
            if way:
                way["times"] -= 1
        if way:
            time.sleep(way.get("sleep", 0))
        if way and way.get("status"):
            status, value = way["status"], {"error": "as told"}
        elif path == "/token":
            tokens.add(token := f"token-{len(tokens)}")
            status, value = 200, {"access_token": token, "expires_in": 3600}
        elif path.startswith("/graph/") and who not in tokens or path == "/push" and who != "push-token" \
                or path.startswith("/files/") and who != "files-token" or path.startswith("/samsara/") and who != "samsara-token":
            status, value = 401, {"error": "who are you?"}
        elif path.startswith("/files/"):
            with lock:
                if self.command == "PUT":
                    files[path] = raw
            status, value = (200, files[path]) if path in files else (404, {})
        elif path.startswith("/graph/"):
            status, value = graph(self.command, path, query, json.loads(raw) if raw else {})
        elif path.startswith("/samsara/"):
            status, value = samsara(path, query)
        else:
            status, value = 200, {}
        with lock:
            record = {"method": self.command, "path": self.path, "who": who, "status": status, "flying": flying,
                      "type": self.headers.get("content-type"), "length": len(raw),
                      "body": raw[:10000].decode("utf-8", "replace")}
            flying -= 1
            out.write(json.dumps(record) + "\n")
        try:
            self.answer(status, value, (way or {}).get("headers", {}))
        except OSError:
            pass

    do_GET = do_POST = do_PUT = do_PATCH = serve

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads, request_queue_size = True, 100


Server(("127.0.0.1", port), Handler).serve_forever()
