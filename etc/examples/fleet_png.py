"""PNG pictures with the standard library alone: 8 bits a channel, colour or
grey, with or without transparency, not interlaced. A picture is (width,
height, rows); a row is a bytearray of 3 bytes a pixel.
"""
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
PIXELS_MAX = 50_000_000


def read(path):
    """The picture in a file; ValueError says why it is none."""
    with open(path, "rb") as f:
        data = f.read()
    if not data.startswith(SIGNATURE):
        raise ValueError("no PNG picture")
    header, packed, at = None, [], len(SIGNATURE)
    while at + 12 <= len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed.append(body)
        at += size + 12
    if header is None:
        raise ValueError("the picture has no header")
    width, height, depth, colour, _, _, interlaced = header
    if depth != 8 or colour not in CHANNELS or interlaced:
        raise ValueError("a kind of PNG that is not supported")
    if width * height > PIXELS_MAX:
        raise ValueError("the picture is too large")
    try:
        raw = zlib.decompress(b"".join(packed))
    except zlib.error as e:
        raise ValueError(f"the picture is damaged: {e}")
    channels = CHANNELS[colour]
    stride = width * channels
    if len(raw) < (stride + 1) * height:
        raise ValueError("the picture is cut short")
    rows, above = [], bytearray(stride)
    for y in range(height):
        start = y * (stride + 1)
        row = bytearray(raw[start + 1:start + 1 + stride])
        unfilter(raw[start], row, above, channels)
        rows.append(to_rgb(row, channels))
        above = row
    return width, height, rows


def unfilter(kind, row, above, step):
    for i in range(len(row) if kind else 0):
        left = row[i - step] if i >= step else 0
        corner = above[i - step] if i >= step else 0
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = above[i]
        elif kind == 3:
            guess = (left + above[i]) // 2
        elif kind == 4:
            p = left + above[i] - corner
            guess = min((left, above[i], corner), key=lambda v: abs(p - v))
        else:
            raise ValueError("the picture is damaged")
        row[i] = (row[i] + guess) & 255


def to_rgb(row, channels):
    if channels == 3:
        return row
    rgb = bytearray(len(row) // channels * 3)
    for c in range(3):
        rgb[c::3] = row[c if channels == 4 else 0::channels]
    return rgb


def write(path, width, height, rows):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + \
            struct.pack(">I", zlib.crc32(kind + body))

    raw = b"".join(b"\0" + bytes(row) for row in rows)
    with open(path, "wb") as f:
        f.write(SIGNATURE)
        f.write(chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)))
        f.write(chunk(b"IDAT", zlib.compress(raw, 6)))
        f.write(chunk(b"IEND", b""))


def scale(width, height, rows, new_width):
    """A smaller one: each new pixel is the mean of those it covers."""
    new_width = min(new_width, width)
    new_height = max(1, height * new_width // width)
    out = []
    for y in range(new_height):
        top = y * height // new_height
        bottom = max(top + 1, (y + 1) * height // new_height)
        line = bytearray()
        for x in range(new_width):
            left = x * width // new_width * 3
            right = max(left + 3, (x + 1) * width // new_width * 3)
            for c in range(3):
                values = [v for row in rows[top:bottom] for v in row[left + c:right:3]]
                line.append(sum(values) // len(values))
        out.append(line)
    return new_width, new_height, out
