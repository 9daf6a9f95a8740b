"""Writes the small images of `tests/fixtures/images`, which the `image` crate cannot write.

    python3 tests/python/images.py        # Pillow 11 or later
"""

from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parents[1] / "fixtures" / "images"

# Of 255; Adobe's files hold 255 less the ink.
INK = (51, 102, 204, 51)


def ycck_to_rgb(y, cb, cr, k):
    """What a YCCK pixel is in RGB: the inverse of JPEG's YCbCr gives 255 less the colour that is held,
    which black then darkens."""
    r = y + 1.402 * (cr - 128)
    g = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    b = y + 1.772 * (cb - 128)
    clip = lambda v: min(max(v, 0), 255)
    return tuple(round((255 - clip(v)) * k / 255) for v in (r, g, b))


def main():
    FOLDER.mkdir(exist_ok=True)
    cmyk = FOLDER / "cmyk.jpg"
    Image.new("CMYK", (16, 16), INK).save(cmyk, quality=95)
    bytes_ = bytearray(cmyk.read_bytes())
    # Adobe's block: name, version, two flags, and which colours these are: 0 CMYK, 2 YCCK.
    transform = bytes_.index(b"Adobe") + len(b"Adobe") + 6
    assert bytes_[transform] == 0
    bytes_[transform] = 2
    (FOLDER / "ycck.jpg").write_bytes(bytes_)
    print("ycck", ycck_to_rgb(*(255 - ink for ink in INK)))

    palette = Image.new("P", (4, 1))
    palette.putpalette([200, 100, 50, 10, 20, 30, 90, 90, 90])
    palette.putdata([0, 1, 2, 0])
    palette.save(FOLDER / "palette.png", transparency=2)

    bits = Image.new("1", (4, 1))
    bits.putdata([0, 1, 1, 0])
    bits.save(FOLDER / "bits.png")

    for path in sorted(FOLDER.iterdir()):
        image = Image.open(path)
        print(path.name, image.mode, image.size, list(image.convert("RGB").getdata())[:4])


main()
