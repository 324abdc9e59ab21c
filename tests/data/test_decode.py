"""Decoding of every kind of image, and of files that are damaged."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ssljax.data import decode, opening


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width=40, height=24):
    x = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    y = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    return np.stack([x, y, 255 - x], -1).round().astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG"])
def test_every_format_gives_rgb_of_its_own_size(kind):
    pixels = gradient()
    options = {"lossless": True} if kind == "WEBP" else {}
    got = decode.decode(encoded(Image.fromarray(pixels), kind, **options), size=None)
    assert got.shape == (24, 40, 3) and got.dtype == np.uint8
    tolerance = {"JPEG": 8, "GIF": 20}.get(kind, 0)
    assert abs(got.astype(int) - pixels).mean() <= tolerance


def test_grey_is_repeated_and_one_channel_is_kept_when_asked():
    grey = gradient()[..., 1]
    data = encoded(Image.fromarray(grey))
    np.testing.assert_array_equal(
        decode.decode(data, size=None), np.stack([grey] * 3, axis=-1)
    )
    one = decode.decode(data, size=None, channels=1)
    np.testing.assert_array_equal(one, grey[..., None])


def test_transparency_is_composited_on_white():
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[0, :, 3] = 255
    rgba[1, :, 3] = 51
    got = decode.decode(encoded(Image.fromarray(rgba)), size=None)
    assert got[0, 0].tolist() == [200, 0, 0]
    assert got[1, 0].tolist() == [244, 204, 204]  # a fifth of the colour
    assert got[2, 0].tolist() == [255, 255, 255]


def test_palettes_with_and_without_transparency():
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    got = decode.decode(encoded(image), size=None)
    assert got[0, 0].tolist() == [10, 20, 30] and got[0, 1].tolist() == [40, 50, 60]
    got = decode.decode(encoded(image, transparency=0), size=None)
    assert got[0, 0].tolist() == [255, 255, 255] and got[0, 1].tolist() == [40, 50, 60]


def test_sixteen_bits_keep_their_range():
    deep = np.array([[0, 257 * 100, 65535]], np.uint16)
    got = decode.decode(encoded(Image.fromarray(deep)), size=None)
    assert got[0, :, 0].tolist() == [0, 100, 255]
    # Dark 16-bit images are still 16-bit: 200 of 65535 is black.
    dark = np.full((2, 2), 200, np.uint16)
    assert decode.decode(encoded(Image.fromarray(dark)), size=None).max() == 1


def test_float_images_are_scaled_from_the_unit_interval():
    values = np.array([[0.0, 0.5, 1.0]], np.float32)
    got = decode.decode(encoded(Image.fromarray(values), "TIFF"), size=None)
    assert got[0, :, 0].tolist() == [0, 128, 255]


def test_cmyk_becomes_rgb():
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red ink
    red, green, blue = decode.decode(encoded(image, "JPEG"), size=None)[4, 4]
    assert red > 240 and green < 15 and blue < 15


def test_the_exif_orientation_is_applied():
    pixels = gradient()
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    data = encoded(Image.fromarray(pixels), "PNG", exif=exif)
    np.testing.assert_array_equal(
        decode.decode(data, size=None), np.rot90(pixels, k=-1)
    )
    assert opening.header_size(data) == (24, 40)


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (6, 6), c) for c in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode.decode(data, size=None)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("width, height", [(40, 24), (24, 40)])
def test_resizing_is_the_shorter_side_then_the_centre(width, height):
    image = Image.fromarray(gradient(width, height))
    half = np.asarray(image.resize((width // 2, height // 2), Image.Resampling.BICUBIC))
    left, top = (width // 2 - 12) // 2, (height // 2 - 12) // 2
    np.testing.assert_array_equal(
        decode.decode(encoded(image), size=12), half[top : top + 12, left : left + 12]
    )


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    got = decode.decode(encoded(Image.fromarray(stripes)), size=16)
    assert abs(got[:, 2:-2].astype(int) - 128).max() < 10


def test_a_large_jpeg_is_resized_like_a_png():
    # The JPEG decoder may drop resolution first; the result must stay close.
    pixels = gradient(400, 300)
    plain = decode.decode(encoded(Image.fromarray(pixels)), size=32).astype(int)
    fast = decode.decode(
        encoded(Image.fromarray(pixels), "JPEG", quality=95), size=32
    ).astype(int)
    assert abs(plain - fast).max() <= 6


@pytest.mark.parametrize("keep", [0, 5, 60, 90])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_file_cut_short_has_a_reason_of_one_line(kind, keep):
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(opening.UnreadableImage, match=".") as caught:
        decode.decode(data[: len(data) * keep // 100], size=None)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_an_image_are_reported_so():
    with pytest.raises(opening.UnreadableImage, match="^not an image$"):
        decode.decode(b"plain words", size=None)


def png_header(width, height):
    """The start of a PNG, enough to know its size."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    checked = body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + checked + b"\0\0\0\1IDAT"


@pytest.mark.parametrize("side", [13_400, 19_000, 30_000])
def test_a_decompression_bomb_is_unreadable(side):
    data = png_header(side, side)
    for call in (opening.header_size, lambda d: decode.decode(d, size=32)):
        with pytest.raises(opening.UnreadableImage, match="decompression bomb"):
            call(data)
    assert opening.header_size(png_header(13_000, 13_000)) == (13_000, 13_000)


@pytest.mark.parametrize(
    "sides, size",
    [([31], 32), ([32], 32), ([63, 64], 32), ([64], 64), ([223], 96), ([5000], 224)],
)
def test_the_chosen_size_is_not_above_the_median(sides, size):
    assert decode.choose_size(sides) == size


def test_parallel_map_keeps_the_order():
    assert decode.parallel_map(lambda i: i * i, range(1000)) == [
        i * i for i in range(1000)
    ]
