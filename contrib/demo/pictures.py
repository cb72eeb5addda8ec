"""pictures.py DIRECTORY COUNT: pictures for the demo to make thumbnails of."""
import sys

import fleet_png as png

WIDTH, HEIGHT = 320, 200


def pixel(x, y, n):
    """A road, a sky, and a car of some colour."""
    hue = (n * 47) % 256
    if 60 < x - n % 5 * 20 < 180 and 95 < y < 140:
        return hue, 255 - hue, (hue * 3) % 256
    for wheel in (85, 155):
        if (x - n % 5 * 20 - wheel) ** 2 + (y - 140) ** 2 < 150:
            return 20, 20, 20
    if y > 130:
        return 90 + y // 8, 90 + y // 8, 95 + y // 8
    return 120 + y // 2, 170 + y // 4, 255 - x // 16


for n in range(1, int(sys.argv[2]) + 1):
    rows = [bytearray(v for x in range(WIDTH) for v in pixel(x, y, n)) for y in range(HEIGHT)]
    png.write(f"{sys.argv[1]}/car-{n}.png", WIDTH, HEIGHT, rows)
