#!/usr/bin/env python3
"""Encrypted payloads: what a producer does whose jobs nobody else is to read,
and what reads their results; see ENCRYPTED JOBS in jobqd.yml(5).

    encrypt.py seal KEY_FILE QUEUE         a job's data, from standard input
    encrypt.py unseal KEY_FILE QUEUE PART  data, result, error, note or output

or in a program:

    keys = read_keys("/etc/app/payroll.keys")
    cursor.execute("select jobq.enqueue('payroll', 'pay', %s::jsonb)",
                   [seal(keys, "payroll", json.dumps({"iban": iban}))])

Needs the package cryptography (python3-cryptography in Debian).
"""
import base64
import json
import os
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def read_keys(path):
    """The keys by name, the one that encrypts first."""
    keys = {}
    with open(path) as lines:
        for line in lines:
            words = line.split("#")[0].split()
            if words:
                keys[words[0]] = base64.b64decode(words[1], validate=True)
    return keys


def context(key, queue, part):
    return f"jobq 1 {key} {queue} {part}".encode()


def seal(keys, queue, text, part="data"):
    """The envelope, as JSON text."""
    key = next(iter(keys))
    nonce = os.urandom(12)
    sealed = AESGCM(keys[key]).encrypt(nonce, text.encode(), context(key, queue, part))
    return json.dumps({"$enc": {
        "v": 1,
        "k": key,
        "n": base64.b64encode(nonce).decode(),
        "c": base64.b64encode(sealed).decode(),
    }})


def unseal(keys, queue, envelope, part="data"):
    """What is in it; an exception when it was changed, or is for something else."""
    e = json.loads(envelope)["$enc"]
    if e["v"] != 1:
        raise ValueError("an envelope of another version")
    return AESGCM(keys[e["k"]]).decrypt(
        base64.b64decode(e["n"], validate=True), base64.b64decode(e["c"], validate=True),
        context(e["k"], queue, part)).decode()


if __name__ == "__main__":
    if sys.argv[1:2] == ["seal"] and len(sys.argv) == 4:
        print(seal(read_keys(sys.argv[2]), sys.argv[3], sys.stdin.read()))
    elif sys.argv[1:2] == ["unseal"] and len(sys.argv) == 5:
        print(unseal(read_keys(sys.argv[2]), sys.argv[3], sys.stdin.read(), sys.argv[4]))
    else:
        sys.exit(__doc__)
