"""Whatever the decoder decodes is an image: trailers, odd metadata, large photos."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ssljax.data import decode, load
from ssljax.data.examine import examine

# Set aside by the package too, but pytest has filters of its own.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")

PIXELS = np.stack(
    np.broadcast_arrays(np.arange(64) * 4, np.arange(48)[:, None] * 5, 90), axis=-1
).astype(np.uint8)


def encoded(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind, **options)
    return buffer.getvalue()


def text_chunk():
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 5_000_000, zip=True)
    return encoded("PNG", pnginfo=info)


def exif(entry):
    """A little-endian EXIF block with one entry of twelve bytes, orientation."""
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1)
    return b"Exif\0\0" + head + entry + struct.pack("<I", 0)


def oriented(kind, count, value):
    return encoded("JPEG", exif=exif(struct.pack("<HHI4s", 274, kind, count, value)))


ODD = {
    "motion.jpg": encoded("JPEG") + b"\0\0\0\x18ftypmp42" + bytes(200_000),
    "padded.jpg": encoded("JPEG") + bytes(100_000),
    "trailer.png": encoded("PNG") + b"more" * 50_000,
    "text.png": text_chunk(),
    "profile.png": encoded("PNG", icc_profile=bytes(3_000_000)),
    "long.jpg": oriented(4, 1, struct.pack("<I", 6)),
    "byte.jpg": oriented(1, 1, b"\6\0\0\0"),
    "text.jpg": oriented(2, 2, b"6\0\0\0"),
    "nonsense.jpg": oriented(2, 4, b"abc\0"),
    "zero.jpg": oriented(3, 1, struct.pack("<HH", 0, 0)),
    "broken.jpg": encoded("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"),
}
TURNED = {"long.jpg", "byte.jpg", "text.jpg"}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_an_image(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(ODD[name])
    found = decode.decode(path, size=None)
    shape = (64, 48, 3) if name in TURNED else (48, 64, 3)
    assert found.shape == shape
    assert examine(str(path))[:2] == (shape[1], shape[0])
    expected = np.rot90(PIXELS, -1) if name in TURNED else PIXELS
    assert abs(found.astype(float) - expected).mean() < (5 if "jpg" in name else 1e-9)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_that_of_pillow(orientation):
    from PIL import ImageOps

    data = oriented(3, 1, struct.pack("<HH", orientation, 0))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(decode.decode(data, size=None), expected)


def png_of(width, height):
    """A grey PNG of this size, written without holding its pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes((width + 7) // 8)) * height, 1)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_a_hundred_megapixels_are_a_photo_and_two_hundred_a_bomb(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png_of(12_000, 9_000))
    assert examine(str(path))[:2] == (12_000, 9_000)
    assert decode.decode(path, size=32).shape == (32, 32, 3)
    path.write_bytes(png_of(16_000, 12_000))
    assert "decompression bomb" in str(examine(str(path)).reason)


def test_a_folder_of_them_is_used_whole(tmp_path):
    for name, data in ODD.items():
        path = tmp_path / "train" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "test").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "test" / "0.bmp")
    for store in ("memory", "stream"):
        source = load("folder", path=str(tmp_path), store=store)
        assert source.size == len(ODD) and source.skipped == ()
