"""Compare jobqd's mails with what Python's email package reads in them.

    python3 mime_oracle.py PROGRAM COUNT SEED [SCRIPT]

With SCRIPT, t/mail_npm.js, what npm's mailparser reads in them.
PROGRAM is t/unit/mail_text. COUNT random mails: names, subjects, headers,
texts and attachments of many alphabets, lengths and line ends. Prints each
difference and ends with "N compared, M differ".
"""
import base64
import email
import email.header
import email.policy
import email.utils
import json
import random
import re
import subprocess
import sys

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz", "ABC xyz 012 .,;:-", "äöüßÄÖÜé ñ",
    "日本語中文한국어", "🚚🔧😀 ", "\"\\()<>@,;:.[]=?_ ", "=?UTF-8?B?QQ==?=", "a b  c   ",
]


def word(rng, low, high):
    alphabet = rng.choice(ALPHABETS)
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(low, high)))


def line(rng, limit=120):
    text = " ".join(word(rng, 0, 20) for _ in range(rng.randint(0, 12)))
    return text[:rng.choice([5, 40, limit])]


def body(rng):
    if rng.random() < 0.05:
        return ""
    parts = []
    for _ in range(rng.randint(1, 30)):
        parts.append(rng.choice([
            lambda: line(rng), lambda: ".", lambda: "..", lambda: "From me",
            lambda: "x" * rng.choice([75, 76, 77, 998, 999, 3000]), lambda: "tab\t",
            lambda: "--=_jobqd_mixed", lambda: "trailing ", lambda: "ü" * rng.randint(1, 200),
            lambda: "a=3D b=", lambda: ""])())
    end = rng.choice(["\n", "\n", "\r\n", "\r"])
    return end.join(parts) + (end if rng.random() < 0.5 else "")


def address(rng):
    local = "".join(rng.choice("abcdef.+-_09") for _ in range(rng.randint(1, 20))).strip(".")
    local = re.sub(r"\.\.+", ".", local) or "x"
    domain = ".".join("".join(rng.choice("abcdefxyz09") for _ in range(rng.randint(1, 12)))
                      for _ in range(rng.randint(1, 4)))
    return local + "@" + domain


def mailbox(rng):
    plain = address(rng)
    name = word(rng, 0, 40).strip()
    if rng.random() < 0.4 or not name:
        return plain, "", plain
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{quoted} <{plain}>", name, plain


def make(rng):
    """A job's data, and what is to be read in its mail."""
    data, want = {}, {}
    for key in ("to", "cc", "reply_to"):
        if key == "to" or rng.random() < 0.4:
            boxes = [mailbox(rng) for _ in range(rng.randint(1, 5))]
            data[key] = [b[0] for b in boxes] if rng.random() < 0.6 else ", ".join(b[0] for b in boxes)
            want[key] = [(b[1], b[2]) for b in boxes]
    if rng.random() < 0.3:
        data["bcc"] = [address(rng)]
    data["subject"] = want["subject"] = line(rng, 400)
    if rng.random() < 0.8:
        data["text"] = body(rng)
    if rng.random() < 0.5 or "text" not in data:
        data["html"] = "<p>" + body(rng) + "</p>"
    if rng.random() < 0.4:
        value = line(rng, 300)
        data["headers"] = {"X-Random": value}
        want["header"] = value
    if rng.random() < 0.5:
        data["attachments"], want["attachments"] = [], []
        for _ in range(rng.randint(1, 4)):
            # get_filename() takes a pair of quotes or <> off, whoever put it there.
            name = re.sub(r"[/\\]", "", word(rng, 1, rng.choice([10, 60]))).strip('"<> ') or "f"
            content = rng.randbytes(rng.choice([0, 1, 2, 3, 56, 57, 58, 5000]))
            one = {"filename": name, "type": "application/x-test",
                   "content": base64.b64encode(content).decode()}
            place = rng.choice(["", "", "id", "inline", "file"])
            if place in ("id", "file"):
                one["content_id"] = f"part{len(want['attachments'])}.{rng.randrange(10**9)}@x"
            if place in ("inline", "file"):
                one["inline"] = place == "inline"
            data["attachments"].append(one)
            want["attachments"].append((
                name, content, one.get("content_id"), place in ("id", "inline")))
        # Those that the HTML shows come with it, before the others.
        if "html" in data:
            want["attachments"].sort(key=lambda a: not a[3])
    return data, want


def lines(text):
    return re.sub(r"\r\n|\r|\n", "\n", text).rstrip("\n")


def boxes(raw, name):
    """By the older functions: those behind policy.default put blanks between
    the encoded words of a name, which RFC 2047 forbids."""
    value = email.message_from_bytes(raw).get(name)
    if value is None:
        return []
    pairs = email.utils.getaddresses([re.sub(r"\r\n(?=[ \t])", "", value)])
    return [(str(email.header.make_header(email.header.decode_header(n))), a) for n, a in pairs]


def differences(data, want, answer):
    if "error" in answer:
        return ["refused: " + answer["error"]]
    found = []
    raw = answer["mail"].encode("ascii")
    message = email.message_from_bytes(raw, policy=email.policy.default)

    def same(what, got, expected):
        if got != expected:
            found.append(f"{what}: got {got!r}, want {expected!r}")

    for one in raw.split(b"\r\n"):
        if b"\n" in one or b"\r" in one or len(one) > 998:
            found.append(f"a bad line: {one[:80]!r}")
    for part in message.walk():
        same("defects", [str(d) for d in part.defects], [])
    same("subject", str(message["subject"]), want["subject"])
    for key, name in (("to", "To"), ("cc", "Cc"), ("reply_to", "Reply-To")):
        same(name, boxes(raw, name), want.get(key, []))
    same("Bcc", message["Bcc"], None)
    if "header" in want:
        same("X-Random", str(message["X-Random"]), want["header"])
    for kind, key in (("plain", "text"), ("html", "html")):
        part = message.get_body((kind,))
        same(kind, lines(part.get_content()) if part else None,
             lines(data[key]) if key in data else None)
    leaves = [p for p in message.walk() if p.get_content_disposition()]
    got = [(a.get_filename(), a.get_payload(decode=True), (a["Content-ID"] or "").strip("<>") or None,
            a.get_content_disposition() == "inline") for a in leaves]
    same("attachments", got, want.get("attachments", []))
    related = next((p for p in message.walk() if p.get_content_subtype() == "related"), None)
    shown = sum(a[3] for a in want.get("attachments", [])) if "html" in data else 0
    same("related", len(list(related.iter_parts())) if related else 0, shown + 1 if shown else 0)
    everyone = {a for b in ("to", "cc") for _, a in want.get(b, [])} | set(data.get("bcc", []))
    same("recipients", {r.lower() for r in answer["recipients"]}, {r.lower() for r in everyone})
    return found


def npm_differences(data, want, read):
    """What mailparser makes of blanks at the ends of names and texts is its own affair."""
    found = []

    def same(what, got, expected):
        if got != expected:
            found.append(f"{what}: got {got!r}, want {expected!r}")

    def trimmed(pairs):
        return [(name.strip(), address.lower()) for name, address in pairs]

    same("subject", (read.get("subject") or "").strip(), want["subject"].strip())
    for key in ("to", "cc", "reply_to"):
        same(key, trimmed(read[key]), trimmed(want.get(key, [])))
    if "header" in want:
        same("X-Random", (read.get("random") or "").strip(), want["header"].strip())
    for kind, key in (("plain", "text"), ("html", "html")):
        same(kind, lines(read.get(kind) or ""), lines(data.get(key, "")))
    got = [(name, base64.b64decode(content), (cid or "").strip("<>") or None, disposition == "inline")
           for name, _, content, cid, disposition in read["attachments"]]
    same("attachments", got, want.get("attachments", []))
    return found


def read_by_npm(script, answers):
    text = "".join(json.dumps(answer["mail"]) + "\n" for answer in answers)
    out = subprocess.run(["node", script, "parse"], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(one) for one in out.decode().split("\n") if one]


def main():
    program, count, rng = sys.argv[1], int(sys.argv[2]), random.Random(int(sys.argv[3]))
    compare = npm_differences if len(sys.argv) > 4 else differences
    mails = [make(rng) for _ in range(count)]
    text = "".join(json.dumps(d, ensure_ascii=rng.random() < 0.5) + "\n" for d, _ in mails)
    out = subprocess.run([program], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
    answers = [json.loads(one) for one in out.decode().split("\n") if one]
    if len(sys.argv) > 4:
        answers = read_by_npm(sys.argv[4], answers)
    differ = 0
    for (data, want), answer in zip(mails, answers, strict=True):
        found = compare(data, want, answer)
        if found:
            differ += 1
            print(json.dumps(data)[:300], *(one[:1000] for one in found), sep="\n    ")
    print(f"{count} compared, {differ} differ")


main()
