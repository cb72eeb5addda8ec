"""A job's program: makes a thumbnail of a picture.

Data on standard input: {"picture": "car-7.png", "width": 96}. Reads
$FLEET_STATE/pictures, writes $FLEET_STATE/thumbnails. The last line of its
output is the job's result; exit 65 says that the data is wrong, so that
trying again is of no use.
"""
import json
import os
import sys

import fleet_png as png


def progress(pct, note):
    try:
        os.write(3, json.dumps({"progress": {"pct": pct, "note": note}}).encode() + b"\n")
    except OSError:
        pass  # run by hand, without a job server


def main():
    data = json.load(sys.stdin)
    name, width = str(data.get("picture", "")), int(data.get("width", 96))
    if not name.endswith(".png") or os.path.basename(name) != name:
        raise ValueError(f"{name!r} is no picture's name")
    if not 1 <= width <= 2000:
        raise ValueError(f"a thumbnail {width} pixels wide")
    state = os.environ["FLEET_STATE"]
    target = f"{state}/thumbnails/{name}"
    progress(10, "reading")
    picture = png.read(f"{state}/pictures/{name}")
    progress(40, "scaling")
    small = png.scale(*picture, width)
    # Renamed when it is whole, so that a run that is cut off leaves nothing.
    unfinished = f"{target}.{os.getpid()}"
    png.write(unfinished, *small)
    os.replace(unfinished, target)
    print(f"{name}: {picture[0]}x{picture[1]} to {small[0]}x{small[1]}")
    print(json.dumps({"thumbnail": target, "width": small[0], "height": small[1],
                      "bytes": os.path.getsize(target)}))


try:
    main()
except (ValueError, FileNotFoundError) as e:
    print(f"thumbnail: {e}", file=sys.stderr)
    sys.exit(65)
