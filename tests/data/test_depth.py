"""Images of more than 8 bits: one scale for a data set, from a sample of it."""

import struct

import numpy as np
import pytest
from in_memory import images_of
from PIL import Image

from ssljax.data import DataError, load
from ssljax.data.depth import Extremes, choose_levels


def folder_of(root, arrays, suffix):
    root.mkdir(exist_ok=True)
    for i, values in enumerate(arrays):
        path = root / f"{i:03}.{suffix}"
        Image.fromarray(values).save(path)
        if values.dtype == np.uint32:
            # Pillow writes tag 339, SHORT, one value: 2, signed; 1 is unsigned.
            signed, unsigned = (struct.pack("<HHII", 339, 3, 1, k) for k in (2, 1))
            data = path.read_bytes()
            assert data.count(signed) == 1
            path.write_bytes(data.replace(signed, unsigned))
    return root


def ramps(dtype, high, count=60):
    """Images whose largest values differ, each of its own content."""
    ramp = np.linspace(0, 1, 36 * 36).reshape(36, 36)
    tops = np.linspace(0.3, 1.0, count) * high
    return [(ramp * top).astype(dtype) for top in tops]


@pytest.mark.parametrize(
    ("dtype", "high", "suffix", "white"),
    [
        (np.float32, 1.0000002, "tiff", "1"),
        (np.float32, 255.0, "tiff", "255"),
        (np.float32, 60_000.0, "tiff", "65535"),
        (np.uint16, 4095, "png", "4095"),
        (np.uint16, 4095, "tiff", "4095"),
        (np.uint16, 16_000, "png", "16383"),
        (np.uint16, 65_535, "png", "65535"),
        (np.int32, 65_000, "tiff", "65535"),
        (np.uint32, 2**32 - 1000, "tiff", "4294967295"),
    ],
)
def test_one_scale_for_all_images(tmp_path, dtype, high, suffix, white):
    arrays = ramps(dtype, high)
    root = folder_of(tmp_path / "data", arrays, suffix)
    train, test = (load("folder", path=str(root), split=s) for s in ("train", "test"))
    for source in (train, test):
        assert f"white at {white} in" in source.note
    found = np.sort(
        np.concatenate([images_of(s).max((1, 2, 3)) for s in (train, test)])
    )
    tops = [255 * float(a.max()) / float(white) for a in arrays]
    # Resizing from 36 to 32 pixels moves a ramp's end a little.
    assert abs(found - np.minimum(255, tops)).max() <= 3
    assert found[-1] > 200 and found[0] < 100


def test_what_cannot_be_decided_is_refused(tmp_path):
    for low, high in ((-1.0, 1.0), (0.0, 3.0), (0.0, 1e6)):
        values = [a + low for a in ramps(np.float32, high - low, count=20)]
        root = folder_of(tmp_path / f"{low} {high}", values, "tiff")
        with pytest.raises(DataError, match="no scale is known; .* 8 or 16 bits"):
            load("folder", path=str(root))


def test_images_of_eight_bits_beside_deep_ones_keep_their_values():
    found = [Extremes(False, 0, 300), Extremes(True, 0, 0.2)]
    assert choose_levels(found, "x") == (1023, 1.0)
    assert choose_levels([], "x") == (None, None)
