"""A folder as people have it: more than sixty odd files, and what is right for each.

The picture has a colour per quadrant, so that a turned, mirrored, inverted or clipped
reading shows. Grey files have its greys, palettes are exact.
"""

import io
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin, features

WIDTH, HEIGHT = 96, 64
# Of the quadrants: top left, top right, bottom left, bottom right.
COLOURS = np.array([(220, 60, 40), (40, 190, 80), (50, 70, 210), (235, 215, 90)])
GREYS = np.array([[230] * 3, [160] * 3, [90] * 3, [25] * 3])


@dataclass(frozen=True)
class Right:
    """The right reading: a colour per quadrant, the size, and how near is near."""

    colours: np.ndarray
    size: tuple[int, int] = (WIDTH, HEIGHT)
    within: float = 6.0


def picture(colours=COLOURS, width=WIDTH, height=HEIGHT):
    """Return the picture, uint8 ``[height, width, 3]``."""
    rows = [
        np.repeat(colours[pair][:, None], width // 2, 1).reshape(-1, 3)
        for pair in ([0, 1], [2, 3])
    ]
    both = np.stack([row[None].repeat(height // 2, 0) for row in rows])
    return both.reshape(height, width, 3).astype(np.uint8)


def quadrants(pixels):
    """Return the mean colour of each quadrant, away from its edges, ``[4, 3]``."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    dy, dx = height // 4, width // 4
    parts = [
        pixels[y + dy : y + height - dy, x + dx : x + width - dx]
        for y in (0, height)
        for x in (0, width)
    ]
    return np.stack([part.mean((0, 1)) for part in parts])


def save(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RGB = Image.fromarray(picture())
GREY = Image.fromarray(picture(GREYS)).convert("L")
# The order of the quadrants once an orientation is applied to the stored picture.
TURNED = {
    1: (0, 1, 2, 3),
    2: (1, 0, 3, 2),
    3: (3, 2, 1, 0),
    4: (2, 3, 0, 1),
    5: (0, 2, 1, 3),
    6: (2, 0, 3, 1),
    7: (3, 1, 2, 0),
    8: (1, 3, 0, 2),
}


def turned(orientation, within=6.0):
    size = (HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT)
    return Right(COLOURS[list(TURNED[orientation])], size, within)


def oriented(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def jpegs():
    """Yield ``(name, bytes, right)``, as the other parts do."""
    right = Right(COLOURS, within=12)
    plain = save(RGB, "JPEG")
    yield "progressive.jpg", save(RGB, "JPEG", progressive=True), right
    yield "cmyk.jpg", save(RGB.convert("CMYK"), "JPEG"), right
    yield "grey.jpg", save(GREY, "JPEG"), Right(GREYS)
    yield "411.jpg", save(RGB, "JPEG", subsampling="4:1:1"), right
    for k in range(1, 9):
        yield f"exif{k}.jpg", save(RGB, "JPEG", exif=oriented(k)), turned(k, 12)
    broken = b"Exif\0\0II*\0\xff\xff\xff\x7f"
    yield "broken-exif.jpg", save(RGB, "JPEG", exif=broken), right
    yield "motion.jpg", plain + b"\0\0\0\x18ftypmp42" + bytes(50_000), right
    yield "padded.jpg", plain + bytes(9_000), right
    yield "profile.jpg", save(RGB, "JPEG", icc_profile=bytes(70_000)), right
    yield "comment.jpg", save(RGB, "JPEG", comment=b"x" * 60_000), right
    mpo = save(RGB, "MPO", save_all=True, append_images=[GREY.convert("RGB")])
    yield "two-pictures.jpg", mpo, right
    yield "wide.jpg", save(RGB.resize((4000, 8)), "JPEG"), Right(COLOURS, (4000, 8), 40)
    for name in ("jfif.jfif", "jpe.jpe", "UPPER.JPEG", "Mixed.JpG"):
        yield name, plain, right


def pngs():
    exact = Right(COLOURS, within=0.5)
    yield "plain.png", save(RGB, "PNG"), exact
    palette = RGB.quantize(4)
    yield "palette.png", save(palette, "PNG"), exact
    white = np.array(COLOURS)
    white[palette_quadrant(palette, 0)] = 255
    see = save(palette, "PNG", transparency=0)
    yield "palette-transparent.png", see, Right(white, within=0.5)
    alpha = GREY.copy()
    alpha.paste(255, (0, 0, WIDTH, HEIGHT))
    alpha.paste(0, (0, 0, WIDTH // 2, HEIGHT // 2))
    bare = np.array(GREYS)
    bare[0] = 255
    la = Image.merge("LA", (GREY, alpha))
    yield "grey-alpha.png", save(la, "PNG"), Right(bare, within=0.5)
    rgba = np.array(COLOURS)
    rgba[0] = 255
    yield "alpha.png", save(with_alpha(alpha), "PNG"), Right(rgba, within=0.5)
    deep = np.asarray(GREY).astype(np.uint16) * 257
    yield "16-bit.png", save(Image.fromarray(deep), "PNG"), Right(GREYS, within=1)
    bits = GREY.point(lambda v: 255 * (v > 128)).convert("1")
    two = np.where(GREYS > 128, 255, 0)
    yield "1-bit.png", save(bits, "PNG"), Right(two, within=0.5)
    yield (
        "key.png",
        save(RGB, "PNG", transparency=tuple(COLOURS[0].tolist())),
        Right(np.array([[255] * 3, *COLOURS[1:]]), within=0.5),
    )
    yield "trailer.png", save(RGB, "PNG") + b"more" * 9_000, exact
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 3_000_000, zip=True)
    yield "text.png", save(RGB, "PNG", pnginfo=info), exact
    yield "profile.png", save(RGB, "PNG", icc_profile=bytes(1_200_000)), exact
    yield "interlaced.png", interlaced(), exact
    yield "exif.png", save(RGB, "PNG", exif=oriented(6)), turned(6, 0.5)
    grey = Image.fromarray(picture(GREYS[::-1]))
    moving = save(RGB, "PNG", save_all=True, append_images=[grey])
    yield "animated.png", moving, exact


def others():
    exact, near = Right(COLOURS, within=0.5), Right(COLOURS, within=12)
    negative = Image.fromarray(255 - picture())
    moving = {"save_all": True, "append_images": [negative], "duration": 50}
    yield "animated.gif", save(RGB.quantize(4), "GIF", **moving), exact
    yield "palette.gif", save(RGB.quantize(4), "GIF"), exact
    alpha = Image.new("L", RGB.size, 255)
    alpha.paste(0, (0, 0, WIDTH // 2, HEIGHT // 2))
    bare = Right(np.array([[255] * 3, *COLOURS[1:]]), within=12)
    yield "lossy.webp", save(RGB, "WEBP"), near
    yield "lossless.webp", save(RGB, "WEBP", lossless=True), exact
    yield "animated.webp", save(RGB, "WEBP", lossless=True, **moving), exact
    yield "alpha.webp", save(with_alpha(alpha), "WEBP"), bare
    yield "exif.webp", save(RGB, "WEBP", exif=oriented(8)), turned(8, 12)
    for kind in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "raw", "jpeg"):
        right = near if kind == "jpeg" else exact
        yield f"{kind}.tif", save(RGB, "TIFF", compression=kind), right
    pages = save(RGB, "TIFF", save_all=True, append_images=[negative])
    yield "pages.tiff", pages, exact
    for k in (3, 5, 6):
        yield f"exif{k}.tif", save(RGB, "TIFF", tiffinfo={274: k}), turned(k, 0.5)
    yield "cmyk.tif", save(RGB.convert("CMYK"), "TIFF"), exact
    yield "lab.tif", save(lab(), "TIFF"), Right(COLOURS, within=12)
    grey = Right(GREYS, within=1)
    deep = np.asarray(GREY).astype(np.uint16) * 257
    yield "16-bit.tif", save(Image.fromarray(deep), "TIFF"), grey
    inverse = Image.fromarray(65535 - deep)
    yield "white-is-zero.tif", white_is_zero(save(inverse, "TIFF")), grey
    small = Image.fromarray(255 - np.asarray(GREY))
    yield "white-is-zero-8.tif", white_is_zero(save(small, "TIFF")), grey
    yield "32-bit.tif", save(Image.fromarray(deep.astype(np.int32)), "TIFF"), grey
    real = Image.fromarray(np.asarray(GREY).astype(np.float32) / 255)
    yield "float.tif", save(real, "TIFF"), grey
    yield "plain.bmp", save(RGB, "BMP"), exact
    yield "palette.bmp", save(RGB.quantize(4), "BMP"), exact
    yield "grey.pgm", save(GREY, "PPM"), Right(GREYS, within=0.5)
    yield "colour.ppm", save(RGB, "PPM"), exact
    text = b" ".join(b"%d" % v for v in picture().ravel())
    yield "text.ppm", b"P3\n%d %d 255\n%b\n" % (WIDTH, HEIGHT, text), exact
    if features.check("avif"):
        yield "photo.avif", save(RGB, "AVIF"), near
        yield "turned.avif", save(RGB, "AVIF", exif=oriented(6)), turned(6, 12)
    yield "png-called.jpg", save(RGB, "PNG"), exact
    yield "jpeg-called.png", save(RGB, "JPEG"), near
    yield "webp-called.jpeg", save(RGB, "WEBP"), near
    yield "no-suffix", save(RGB, "JPEG"), near
    yield "dot.png", save(RGB.resize((1, 1)), "PNG"), Right(COLOURS, (1, 1), 300)


def names():
    """Yield good images with names that break programs."""
    for name in (
        b"two words.png",
        b'quote\'d "name".png',
        b"$HOME `x` *.png",
        b"-rf.png",
        b"a\nline.png",
        "café 🦊.png".encode(),
        b"latin-caf\xe9.png",
        b"%20#?.png",
    ):
        yield os.fsdecode(name), save(RGB, "PNG"), Right(COLOURS, within=0.5)


def damaged():
    """Yield ``(name, bytes, reason)`` of what cannot be used."""
    big = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), "u1"))
    half = {
        "jpg": ("JPEG", {}, "truncated"),
        "progressive.jpg": ("JPEG", {"progressive": True}, "truncated"),
        "png": ("PNG", {}, "truncated|broken"),
        "webp": ("WEBP", {}, "could not create"),
        "gif": ("GIF", {}, "truncated"),
        "tif": ("TIFF", {}, "truncated"),
        "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}, "a damaged TIFF"),
        "bmp": ("BMP", {}, "truncated"),
        "ppm": ("PPM", {}, "truncated"),
    }
    if features.check("avif"):
        half["avif"] = ("AVIF", {}, "a damaged AVIF")
    for suffix, (kind, options, reason) in half.items():
        data = save(big, kind, **options)
        yield f"half.{suffix}", data[: len(data) // 2], reason
    # Pillow refuses it too: nothing says that only the marker of the end is missing.
    yield "no-end.jpg", save(RGB, "JPEG")[:-2], "truncated"
    yield "empty.jpg", b"", "empty"
    yield "empty.png", b"", "empty"
    yield "text.jpg", b"not an image\n" * 9, "not an image"
    yield "page.png", b"<!DOCTYPE html><html>404</html>", "not an image: a web page"
    yield "page.jpg", b"\n<html><head>", "not an image: a web page"
    yield "started.jpg", save(RGB, "JPEG")[:20], "a damaged JPEG"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    yield "pointer.jpg", pointer, "Git LFS pointer; run git lfs pull"
    yield "phone.jpg", b"\0\0\0\x18ftypheic" + bytes(99), "HEIC .* Pillow cannot read"
    yield "zeros.jpg", bytes(5_000), "not an image"


def write(root: Path):
    """Write the folder.

    Returns:
        The right reading per path, the pattern of the reason per path, and what the
        note must say of files that are no images by their names.
    """
    right: dict[str, Right] = {}
    reasons: dict[str, str] = {}
    for make in (jpegs, pngs, others, names):
        for name, data, expected in make():
            (root / name).write_bytes(data)
            right[name] = expected
    for name, data, reason in damaged():
        (root / name).write_bytes(data)
        reasons[name] = reason
    plain, exact = save(RGB, "PNG"), Right(COLOURS, within=0.5)
    folder = root / "a folder.jpg"
    folder.mkdir()
    (folder / "inside.png").write_bytes(plain)
    right["a folder.jpg/inside.png"] = exact
    (root / "link.png").symlink_to("plain.png")
    right["link.png"] = exact
    for name, target in {"dangling.jpg": "nowhere.jpg", "loop.jpg": "loop.jpg"}.items():
        (root / name).symlink_to(target)
    reasons["dangling.jpg"] = "No such file"
    reasons["loop.jpg"] = "Too many levels of symbolic links"
    os.mkfifo(root / "pipe.jpg")
    reasons["pipe.jpg"] = "not a file"
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(root)  # a socket's path may have a hundred characters
        try:
            listener.bind("socket.jpg")
        finally:
            os.chdir(here)
    reasons["socket.jpg"] = "not a file"
    for name in ("@eaDir", "__MACOSX", ".cache"):
        (root / name).mkdir()
        (root / name / "plain.png").write_bytes(plain)
    for name in ("Thumbs.db", ".DS_Store", "._plain.png", "desktop.ini"):
        (root / name).write_bytes(b"\0\5\x16\7litter")
    (root / ".hidden.png").write_bytes(plain)
    for name in ("clip.mp4", "notes.TXT", "plain.png.part", "list.csv", "README"):
        (root / name).write_bytes(b"words")
    return right, reasons, ("1 .mp4", "1 .txt", "1 .part", "1 .csv", "1 without suffix")


def with_alpha(alpha):
    image = RGB.copy()
    image.putalpha(alpha)
    return image


def palette_quadrant(palette, index):
    """Return the quadrant that has an index of the palette."""
    pixels = np.asarray(palette)
    corners = pixels[0, 0], pixels[0, -1], pixels[-1, 0], pixels[-1, -1]
    return [int(c) for c in corners].index(index)


def lab():
    from PIL import ImageCms

    profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    return ImageCms.profileToProfile(RGB, *profiles, outputMode="LAB")


def white_is_zero(data):
    """Set tag 262, SHORT, of a TIFF file from 1, black is zero, to 0."""
    black, white = (struct.pack("<HHII", 262, 3, 1, k) for k in (1, 0))
    assert data.count(black) == 1
    return data.replace(black, white)


def interlaced():
    """Return an Adam7 PNG, which Pillow reads and does not write."""
    import zlib

    pixels = picture()
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)]
    passes += [(1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b"".join(
        b"\0" + row.tobytes() for x, y, dx, dy in passes for row in pixels[y::dy, x::dx]
    )

    def chunk(kind, body):
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")
