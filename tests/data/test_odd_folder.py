"""A folder of odd files: every image is used and right, every other file is listed."""

import os
import re

import numpy as np
import odd_folder
import pytest
from PIL import Image, PngImagePlugin

from ssljax.data import decode, load
from ssljax.data.depth import Levels
from ssljax.data.examine import examine
from ssljax.data.opening import orientation
from ssljax.data.plain_headers import plain_header
from ssljax.data.walk import shown

# Set aside by the package too, but pytest has filters of its own.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Corrupt EXIF data", "ignore:Palette images with Transparency"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    # Beside a held-out folder, so that no image of this one is.
    root = tmp_path_factory.mktemp("odd")
    (root / "train").mkdir()
    (root / "test").mkdir()
    Image.new("RGB", (9, 9)).save(root / "test" / "0.bmp")
    return root, *odd_folder.write(root / "train")


def test_it_has_sixty_files_and_pillow_opens_those_that_are_right(folder, monkeypatch):
    root, right, reasons, _ = folder
    # The one limit that a user's photos exceed.
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 2**26)
    assert len(right) >= 60 and len(reasons) >= 20
    for name in right:
        with Image.open(root / "train" / name) as image:
            image.load()
    for name in reasons.keys() - {"pipe.jpg"}:  # opening it would wait for a writer
        with pytest.raises(OSError), Image.open(root / "train" / name) as image:
            image.load()


def test_every_reading_is_right(folder):
    root, right, _, _ = folder
    levels, wrong = Levels(65535, 1.0), []
    for name, expected in right.items():
        path = root / "train" / name
        pixels = decode.decode(path, size=None, levels=levels)
        size = pixels.shape[1], pixels.shape[0]
        if not size == examine(str(path))[:2] == expected.size:
            wrong.append((name, size, examine(str(path))))
        elif min(size) > 1:
            off = abs(odd_folder.quadrants(pixels) - expected.colours).max()
            if off > expected.within:
                wrong.append((name, off, odd_folder.quadrants(pixels).tolist()))
    assert wrong == []


def test_plain_headers_are_those_of_pillow(folder):
    root, right, _, _ = folder
    plain = 0
    for name in right:
        data = (root / "train" / name).read_bytes()
        for head in (data, data[:4096]):
            found = plain_header(head)
            if found is not None:
                with Image.open(root / "train" / name) as image:
                    kind = "JPEG" if image.format == "MPO" else image.format
                    assert found == (kind, *image.size), name
                    assert orientation(image) == 1 or kind == "PNG"
                plain += 1
    assert plain > 60


@pytest.mark.parametrize("store", ["memory", "stream"])
def test_every_image_is_used_and_every_other_file_is_listed(folder, store):
    root, right, reasons, passed_over = folder
    source = load("folder", path=str(root), store=store, image_size=64)
    listed = dict(source.skipped)
    assert listed.keys() == {f"train/{shown(name)}" for name in reasons}
    assert source.size == len(right)
    for name, reason in reasons.items():
        found = listed[f"train/{shown(name)}"]
        assert re.search(reason, found) and "\n" not in found, (name, found)
    for said in passed_over:
        assert said in source.note
    assert "1 image whose name starts with a dot" in source.note
    assert "folders named @eaDir, __MACOSX" in source.note
    assert "white at 65535 in integer images and 1 in floating-point" in source.note
    images, _, replaced = source.read_many(np.arange(source.size))
    assert replaced == ()
    if store == "memory":
        return
    # Resized and cropped, each file is still itself.
    for name, pixels in zip(source.read.paths, images, strict=True):
        expected = right[name.removeprefix("train/")]
        if min(expected.size) >= 32:
            off = abs(odd_folder.quadrants(pixels) - expected.colours).max()
            assert off <= expected.within + 2, name


def test_a_forbidden_file_is_listed(tmp_path, monkeypatch):
    """By another error in opening where the tests run as the superuser."""
    for name in ("train/a.png", "train/b.png", "test/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        odd_folder.RGB.rotate(len(name)).save(tmp_path / name)
    (tmp_path / "train" / "a.png").chmod(0)
    if os.access(tmp_path / "train" / "a.png", os.R_OK):
        opened = open

        def refuse(path, *args, **kwargs):
            if str(path).endswith("a.png"):
                raise PermissionError(13, "Permission denied", str(path))
            return opened(path, *args, **kwargs)

        monkeypatch.setattr("builtins.open", refuse)
    source = load("folder", path=str(tmp_path), store="stream")
    assert source.skipped == (("train/a.png", "Permission denied"),)
    assert source.size == 1
