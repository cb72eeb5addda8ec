"""mails.py DIRECTORY: the mails in it, as JSON lines, read by Python's email.

A file is a message (.eml) or what smtp-sink dumps: its X-… lines tell the
envelope and stand before the message.
"""
import email
import email.policy
import glob
import json
import sys

for name in sorted(glob.glob(sys.argv[1] + "/*")):
    with open(name, "rb") as f:
        raw = f.read()
    message = email.message_from_bytes(raw, policy=email.policy.default)
    record = {
        "file": name.rsplit("/", 1)[1],
        "from": str(message["From"]), "to": str(message["To"]),
        "subject": str(message["Subject"]), "id": str(message["Message-ID"]),
        "case": message["X-Case"] and str(message["X-Case"]), "headers": message.keys(),
        "envelope": [str(v) for v in message.get_all("X-Rcpt-Args", [])],
        "defects": [str(d) for part in message.walk() for d in part.defects],
    }
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        record[kind] = part.get_content().replace("\r\n", "\n") if part else None
    record["attachments"] = [
        [a.get_filename(), a.get_content_type(), a.get_payload(decode=True).decode("latin-1")]
        for a in message.iter_attachments()]
    print(json.dumps(record))
