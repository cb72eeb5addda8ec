"""A job's program: removes old files.

Data on standard input: {"directory": "exports", "older_than_days": 30}; the
directory is one of $FLEET_STATE.
"""
import json
import os
import sys
import time

data = json.load(sys.stdin)
name, days = str(data.get("directory", "")), float(data.get("older_than_days", 30))
if not name or os.path.basename(name) != name or name.startswith(".") or days < 1:
    print(f"cleanup: not doing that: {name!r}, {days} days", file=sys.stderr)
    sys.exit(65)
removed = kept = size = 0
for entry in os.scandir(f"{os.environ['FLEET_STATE']}/{name}"):
    info = entry.stat(follow_symlinks=False)
    if entry.is_file(follow_symlinks=False) and info.st_mtime < time.time() - days * 86400:
        print(f"removing {entry.name}")
        os.unlink(entry.path)
        removed, size = removed + 1, size + info.st_size
    else:
        kept += 1
print(json.dumps({"removed": removed, "kept": kept, "bytes": size}))
