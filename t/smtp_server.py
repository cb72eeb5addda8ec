"""An SMTP server that does as it is told and as its recipients say, for the
tests.

    smtp_server.py PORT FILE [OPTION ...] [-- PORT FILE ...]

Prints the port of each, which is a free one where PORT is 0.
Appends one JSON line to FILE for each mail (or what else was said until RSET
or the end): the number of its session, the commands, who was accepted, the
mail, or as unconfirmed one that was not confirmed, the version of TLS.
refuse…@ gets 550, defer…@ 451, deferonce…@ 451 the first time, a sender
refuse…@ 550.

    tls CERT KEY       STARTTLS          smtps CERT KEY    from the first byte
    auth USER PASSWORD [ways: AUTH_WAYS=…]: PLAIN, LOGIN, CRAM-MD5, XOAUTH2
    stall PHASE        says nothing at a phase, for ever
    drop PHASE         closes            reset PHASE       … with RST
    say PHASE TEXT     that, instead; 421 closes
    times N            only the first N times that a phase comes
    leave N            closes after N mails, without a word
    limit N            recipients of a mail; the others get 452 4.5.3
    size N             bytes of a mail   plain             knows no extension
    helo               knows no EHLO     handshake         fails at it
    noise SEED         a fifth of its answers are nonsense
    lax                waits for the mail whatever was refused

Phases: greeting ehlo starttls auth mail rcpt data body end quit. At body it
stops reading; what it says there comes after 64 KiB of the mail.
"""
import base64
import hmac
import json
import os
import random
import socket
import socketserver
import ssl
import struct
import sys
import threading

TAKES = {"tls": 2, "smtps": 2, "auth": 2, "stall": 1, "drop": 1, "reset": 1, "say": 2, "times": 1,
         "leave": 1, "limit": 1, "size": 1, "plain": 0, "helo": 0, "handshake": 0, "noise": 1,
         "lax": 0}
ACTIONS = ("stall", "drop", "reset", "say")
ways = os.environ.get("AUTH_WAYS", "PLAIN LOGIN")
lock = threading.Lock()


class Session(socketserver.BaseRequestHandler):
    def say(self, text):
        data = text.encode() + b"\r\n"
        rng = self.server.noise
        if rng and rng.random() < 0.2:
            code = rng.choice([b"", b"2", b"25", b"199", b"250", b"354", b"421", b"450", b"550", b"600", b"2x0", b"-50"])
            data = rng.choice([
                b"", code + b"\r\n", code + b" \xff\xfe\0\1\x1b[31m\r\n", rng.randbytes(rng.choice([1, 100, 5000])) + b"\r\n",
                code + b" " + b"x" * rng.choice([511, 2047, 2048, 70000]) + b"\r\n", (code + b"-more\r\n") * rng.choice([3, 300]),
                b"250-a\r\n550 b\r\n", code + b"\n", data + data, data[:-2], data.replace(b"\r\n", b"\n"), b"\r\n" + data])
        self.request.sendall(data)

    def line(self):
        while (end := self.data.find(b"\r\n", self.at)) < 0:
            more = self.request.recv(65536)
            if not more:
                raise EOFError
            self.data, self.at = self.data[self.at:] + more, 0
        line, self.at = self.data[self.at:end], end + 2
        return line

    def trouble(self, phase):
        """What was ordered for a phase; whether it has been answered."""
        options = self.server.options
        action = next((a for a in ACTIONS if a in options and options[a][0] == phase), None)
        with lock:
            if action is None or self.server.left == 0:
                return False
            self.server.left -= 1
        if action == "stall":
            if phase != "body":
                self.request.recv(1)
                self.request.settimeout(None)
            threading.Event().wait()
        if action == "reset":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if action == "say":
            self.say(options["say"][1])
            if not options["say"][1].startswith("421"):
                return True
        raise EOFError

    def wrap(self, files):
        if "handshake" in self.options:
            self.request.recv(65536)
            self.say("no TLS here")
            raise EOFError
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        self.request = context.wrap_socket(self.request, server_side=True)
        self.tls = self.request.version()
        self.data, self.at = b"", 0

    def begin(self):
        self.record = {"session": self.number, "commands": [], "rcpt": [], "tls": self.tls}

    def write(self):
        if self.record["commands"]:
            with lock, open(self.server.path, "a") as out:
                out.write(json.dumps(self.record) + "\n")
        self.begin()

    def handle(self):
        options = self.options = self.server.options
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with lock:
            self.server.sessions += 1
            self.number = self.server.sessions
        self.data, self.at, self.mails = b"", 0, 0
        self.authorized, self.tls = "auth" not in options, None
        self.begin()
        try:
            if "smtps" in options:
                self.wrap(options["smtps"])
                self.begin()
            if not self.trouble("greeting"):
                self.say("220 test ready")
            while self.command(self.line().decode("utf-8")):
                pass
        except (EOFError, OSError, ssl.SSLError) as e:
            self.record["error"] = repr(e)
        self.write()
        self.request.close()

    def command(self, line):
        verb, options = line.split(" ")[0].upper(), self.options
        if verb != "AUTH":
            self.record["commands"].append(line)
        if verb in ("EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "QUIT") and self.trouble(verb.lower()):
            return verb != "QUIT"
        if verb == "EHLO" and "helo" in options:
            self.say("502 what")
        elif verb == "EHLO":
            offers = ["test"]
            if "tls" in options and not self.tls:
                offers.append("STARTTLS")
            if "auth" in options:
                offers += ["AUTH " + ways, "AUTH=" + ways]
            if "plain" not in options:
                offers += ["PIPELINING", "SIZE " + options.get("size", ["10000000"])[0], "8BITMIME", "SMTPUTF8"]
            self.say("\r\n".join("250" + (" " if o is offers[-1] else "-") + o for o in offers))
        elif verb == "STARTTLS":
            self.say("220 go")
            self.wrap(options["tls"])
            self.record["tls"] = self.tls
        elif verb == "AUTH":
            self.authorized = self.log_in(line.split(" "))
            self.say("235 fine" if self.authorized else "535 5.7.8 wrong password")
        elif verb == "MAIL":
            if not self.authorized:
                self.say("530 5.7.0 authenticate first")
            elif "<refuse" in line:
                self.say("550 5.1.8 no such sender")
            else:
                self.record["from"] = line
                self.say("250 sender fine")
        elif verb == "RCPT" and "from" not in self.record and "lax" not in options:
            self.say("503 no sender")
        elif verb == "RCPT":
            self.recipient(line)
        elif verb == "DATA":
            if self.record["rcpt"] or "lax" in options:
                self.mail()
            else:
                self.say("554 no recipients")
        elif verb == "QUIT":
            self.say("221 bye")
            return False
        else:
            self.say("250 fine" if verb in ("RSET", "NOOP", "HELO") else "502 what")
            if verb == "RSET":
                self.write()
        return True

    def ask(self, question):
        self.say("334 " + base64.b64encode(question.encode()).decode())
        return base64.b64decode(self.line()).decode()

    def log_in(self, words):
        user, password = self.options["auth"]
        first = base64.b64decode(words[2]).decode() if len(words) > 2 else None
        self.record["auth"] = words[1]
        if words[1] not in ways.split(" "):
            return False
        if words[1] == "PLAIN":
            return (first if first is not None else self.ask("")) == f"\0{user}\0{password}"
        if words[1] == "LOGIN":
            given = first if first is not None else self.ask("Username:")
            return [given, self.ask("Password:")] == [user, password]
        if words[1] == "CRAM-MD5":
            digest = hmac.new(password.encode(), b"<1.2@test>", "md5").hexdigest()
            return self.ask("<1.2@test>") == f"{user} {digest}"
        if first == f"user={user}\1auth=Bearer {password}\1\1":
            return True
        self.ask('{"status":"400"}')
        return False

    def recipient(self, line):
        address = line[line.index("<") + 1:line.index(">")]
        with lock:
            again = address in self.server.seen
            self.server.seen.add(address)
        if address.startswith("refuse"):
            self.say("550 5.1.1 no such user " + address)
        elif address.startswith("defer") and not (address.startswith("deferonce") and again):
            self.say("451 4.2.1 busy " + address)
        elif len(self.record["rcpt"]) >= int(self.options.get("limit", ["1000000"])[0]):
            self.say("452 4.5.3 too many recipients")
        else:
            self.record["rcpt"].append(address)
            self.say("250 recipient fine")

    def mail(self):
        self.say("354 go ahead")
        lines, count, looked = [], 0, False
        while (line := self.line()) != b".":
            lines.append(line[1:] if line.startswith(b".") else line)
            count += len(line)
            if count > 65536 and not looked:
                looked = True
                self.trouble("body")
        self.record["unconfirmed"] = b"\r\n".join(lines).decode("utf-8")
        if self.trouble("end"):
            self.write()
            return
        self.record["mail"] = self.record.pop("unconfirmed")
        self.say("250 2.0.0 queued as %d" % self.number)
        self.write()
        self.mails += 1
        if self.mails == int(self.options.get("leave", ["0"])[0]):
            raise EOFError


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 100

    def __init__(self, port, path, *words):
        self.path, self.options, self.seen, self.sessions = path, {}, set(), 0
        while words:
            count = 1 + TAKES[words[0]]
            self.options[words[0]] = words[1:count]
            words = words[count:]
        self.noise = random.Random(int(self.options["noise"][0])) if "noise" in self.options else None
        self.left = int(self.options["times"][0]) if "times" in self.options else -1
        super().__init__(("127.0.0.1", int(port)), Session, False)
        # So that a mail of some megabytes is not in the kernel's hands at once.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.server_bind()
        self.server_activate()
        print(self.server_address[1], flush=True)

    def shutdown_request(self, request):
        request.close()


words = sys.argv[1:]
while words:
    end = words.index("--") if "--" in words else len(words)
    if end > 0:
        threading.Thread(target=Server(*words[:end]).serve_forever).start()
    words = words[end + 1:]
