"""An SMTP server that does as its recipients say, for the tests.

    smtp_server.py PORT FILE [tls CERT KEY] [smtps CERT KEY] [auth USER PASSWORD] [stall PHASE]

Appends one JSON line a session to FILE: the commands, the mail, whether it
was encrypted. refuse…@ gets 550, defer…@ 451, deferonce…@ 451 the first
time, a sender refuse…@ 550. stall: says nothing at greeting, mail, data or
end, forever; "drop" closes instead of the answer to the final dot.
"""
import base64
import json
import socket
import socketserver
import ssl
import sys
import threading

port, path, words = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
options = {}
while words:
    count = {"tls": 2, "smtps": 2, "auth": 2, "stall": 1}[words[0]]
    options[words[0]] = words[1:1 + count]
    words = words[1 + count:]
lock = threading.Lock()
seen = set()


class Session(socketserver.BaseRequestHandler):
    def say(self, text):
        self.request.sendall(text.encode() + b"\r\n")

    def line(self):
        while b"\r\n" not in self.data:
            more = self.request.recv(65536)
            if not more:
                raise EOFError
            self.data += more
        line, self.data = self.data.split(b"\r\n", 1)
        return line

    def stall(self, phase):
        if options.get("stall") == [phase]:
            self.request.recv(1)
            raise EOFError

    def wrap(self, files):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        self.request = context.wrap_socket(self.request, server_side=True)
        self.record["tls"] = True
        self.data = b""

    def handle(self):
        self.data, self.authorized = b"", "auth" not in options
        self.record = {"commands": [], "rcpt": [], "tls": False}
        try:
            if "smtps" in options:
                self.wrap(options["smtps"])
            self.stall("greeting")
            self.say("220 test ready")
            while self.command(self.line().decode("latin-1")):
                pass
        except (EOFError, OSError, ssl.SSLError) as e:
            self.record["error"] = repr(e)
        with lock, open(path, "a") as out:
            out.write(json.dumps(self.record) + "\n")

    def command(self, line):
        verb = line.split(" ")[0].upper()
        if verb != "AUTH":
            self.record["commands"].append(line)
        if verb == "EHLO":
            self.say("250-test")
            if "tls" in options and not self.record["tls"]:
                self.say("250-STARTTLS")
            if "auth" in options:
                self.say("250-AUTH PLAIN LOGIN")
            self.say("250-PIPELINING\r\n250 SIZE 10000000")
        elif verb == "STARTTLS":
            self.say("220 go")
            self.wrap(options["tls"])
        elif verb == "AUTH":
            want = "\0%s\0%s" % tuple(options["auth"])
            self.authorized = base64.b64decode(line.split(" ")[2]).decode() == want
            self.say("235 fine" if self.authorized else "535 5.7.8 wrong password")
        elif verb == "MAIL":
            self.stall("mail")
            if not self.authorized:
                self.say("530 5.7.0 authenticate first")
            elif "<refuse" in line:
                self.say("550 5.1.8 no such sender")
            else:
                self.say("250 sender fine")
        elif verb == "RCPT":
            self.recipient(line)
        elif verb == "DATA":
            if self.record["rcpt"]:
                self.mail()
            else:
                self.say("554 no recipients")
        elif verb == "QUIT":
            self.say("221 bye")
            return False
        else:
            self.say("250 fine" if verb in ("RSET", "NOOP") else "502 what")
        return True

    def recipient(self, line):
        address = line[line.index("<") + 1:line.index(">")]
        with lock:
            again = address in seen
            seen.add(address)
        if address.startswith("refuse"):
            self.say("550 5.1.1 no such user " + address)
        elif address.startswith("deferonce") and again:
            self.record["rcpt"].append(address)
            self.say("250 now it is fine")
        elif address.startswith("defer"):
            self.say("451 4.2.1 busy " + address)
        else:
            self.record["rcpt"].append(address)
            self.say("250 recipient fine")

    def mail(self):
        self.stall("data")
        self.say("354 go ahead")
        lines = []
        while (line := self.line()) != b".":
            lines.append(line[1:] if line.startswith(b".") else line)
        self.record["mail"] = b"\r\n".join(lines).decode("latin-1")
        self.stall("end")
        if options.get("stall") == ["drop"]:
            raise EOFError
        self.say("250 2.0.0 queued")


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 100


Server(("127.0.0.1", port), Session).serve_forever()
