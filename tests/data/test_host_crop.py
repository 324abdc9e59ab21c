"""Crops of the original image: torchvision's distribution, and the device's pixels."""

import io
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.stats import ks_2samp

from ssljax.data.augment import View, make_views
from ssljax.data.crop import crop_and_resize, sample_boxes
from ssljax.data.decode import decode
from ssljax.data.decode_crops import dct_scale, decode_crops
from ssljax.data.host_crop import Box, HostCrops, crop_box, crop_numbers
from ssljax.data.order import permutation

HEIGHT, WIDTH, SIDE, DRAWS = 375, 500, 224, 20_000
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def torchvision_box(rng, height, width, scale=SCALE, ratio=RATIO):
    """Draw as ``RandomResizedCrop.get_params`` of torchvision, line by line."""
    area = height * width
    log_ratio = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        target_area = area * rng.uniform(scale[0], scale[1])
        aspect_ratio = math.exp(rng.uniform(*log_ratio))
        w = round(math.sqrt(target_area * aspect_ratio))
        h = round(math.sqrt(target_area / aspect_ratio))
        if 0 < w <= width and 0 < h <= height:
            i = int(rng.integers(0, height - h + 1))
            j = int(rng.integers(0, width - w + 1))
            return i, j, h, w
    in_ratio = float(width) / float(height)
    if in_ratio < min(ratio):
        w = width
        h = round(w / min(ratio))
    elif in_ratio > max(ratio):
        h = height
        w = round(h * max(ratio))
    else:
        w = width
        h = height
    return (height - h) // 2, (width - w) // 2, h, w


def statistics(boxes, height=HEIGHT, width=WIDTH):
    """Return area, aspect, centre and the share of crops that 224 pixels enlarge."""
    y, x, h, w = np.asarray(boxes, float).T
    return {
        "area": h * w / (height * width),
        "aspect": w / h,
        "centre y": (y + h / 2) / height,
        "centre x": (x + w / 2) / width,
    }, float(np.mean(np.maximum(h, w) < SIDE))


def drawn(numbers, height=HEIGHT, width=WIDTH, scale=SCALE):
    return [
        crop_box(row, height=height, width=width, scale=scale, ratio=RATIO)
        for row in numbers
    ]


def test_boxes_have_the_distribution_of_torchvision():
    ours, upsampled = statistics(
        drawn(crop_numbers(3, 0, view=0, batch_size=DRAWS)), HEIGHT, WIDTH
    )
    rng = np.random.default_rng(0)
    theirs, reference = statistics(
        [torchvision_box(rng, HEIGHT, WIDTH) for _ in range(DRAWS)]
    )
    for name, values in ours.items():
        assert ks_2samp(values, theirs[name])[1] > 0.01, name
    # A tilt of the centre that the test can find: it is not blind.
    assert ks_2samp(ours["centre x"] + 0.02, theirs["centre x"])[1] < 1e-6
    assert abs(upsampled - reference) < 0.01
    assert 0.2 < upsampled < 0.24


def test_crops_of_the_stored_image_were_mostly_upsampled():
    boxes = sample_boxes(
        jax.random.key(0), batch=DRAWS, height=256, width=256, scale=SCALE, ratio=RATIO
    )
    _, upsampled = statistics(boxes, 256, 256)
    assert 0.72 < upsampled < 0.76


@pytest.mark.parametrize("size", [(40, 1000), (1000, 40), (3, 2), (1, 1)])
def test_odd_images_get_boxes_that_fit(size):
    height, width = size
    rng = np.random.default_rng(0)
    boxes = drawn(crop_numbers(0, 3, view=0, batch_size=300), height, width)
    for y, x, h, w in boxes:
        assert h >= 1 and w >= 1 and y >= 0 and x >= 0
        assert y + h <= height and x + w <= width
    # All of ten attempts fail only for images that are far from square.
    theirs = [torchvision_box(rng, height, width) for _ in range(300)]
    both = [[b[2] * b[3] for b in some] for some in (boxes, theirs)]
    assert ks_2samp(*both)[1] > 0.01


def test_numbers_depend_on_seed_step_row_and_view_alone():
    whole = crop_numbers(1, 2, view=0, batch_size=64)
    np.testing.assert_array_equal(crop_numbers(1, 2, view=0, batch_size=16), whole[:16])
    others = [
        crop_numbers(seed, step, view=view, batch_size=64)
        for seed, step, view in ((1, 2, 1), (1, 3, 0), (2, 2, 0), (2, 1, 0))
    ]
    for other in others:
        assert abs(np.corrcoef(whole.ravel(), other.ravel())[0, 1]) < 0.1
    assert 0 <= whole.min() and whole.max() < 1 and abs(whole.mean() - 0.5) < 0.02


def test_the_order_of_the_images_has_other_random_words():
    words = np.random.Philox(key=np.array([1, 2], np.uint64)).random_raw(64 * 22)
    ordered = np.argsort(words, kind="stable")
    np.testing.assert_array_equal(ordered, permutation(1, 2, size=64 * 22))
    crops = crop_numbers(1, 2, view=0, batch_size=64).ravel()
    assert not np.isin((words >> np.uint64(11)) * 2.0**-53, crops).any()


def encoded(pixels, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height, width):
    """An image that a JPEG keeps, different in each corner."""
    small = Image.fromarray(noise(6, 8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pixels_are_those_of_the_crop_on_the_device(interpolation):
    pixels = noise(120, 160)
    if interpolation == "bicubic":
        # Versions of Pillow differ in the axis after which they clip first.
        pixels = 64 + pixels // 2
    views = (
        View(interpolation=interpolation),
        View(crop_scale=(0.5, 1.0), interpolation=interpolation),
    )
    crops = HostCrops(views, (48, 100))
    for numbers in crops.draw(0, 0, batch_size=4):
        made = decode_crops(encoded(pixels), numbers, crops)
        boxes = crops.boxes(numbers, height=120, width=160)
        for view, box, size in zip(made, boxes, crops.sizes, strict=True):
            assert view.shape == (size, size, 3) and view.dtype == np.uint8
            planes = crop_and_resize(
                jnp.asarray(pixels)[None],
                jnp.array([box], jnp.float32),
                size=size,
                interpolation=interpolation,
            )
            expected = np.moveaxis(np.asarray(planes)[:, 0], 0, -1) * 255
            # Pillow rounds to whole numbers after each axis.
            assert np.abs(view - expected).max() < 1.6


def test_each_view_of_the_host_has_its_own_filter():
    pixels = noise(60, 80)
    crops = HostCrops((View(), View(interpolation="bicubic")), (64, 64))
    numbers = np.repeat(crops.draw(0, 0, batch_size=1)[0][:1], 2, axis=0)
    linear, cubic = decode_crops(encoded(pixels), numbers, crops)
    # The same box of noise, enlarged: the cubic keeps more of its contrast.
    assert cubic.std() > 1.05 * linear.std()


def test_grey_images_and_files(tmp_path):
    pixels = noise(60, 80)[..., 0]
    path = tmp_path / "grey.png"
    path.write_bytes(encoded(pixels))
    crops = HostCrops((View(),), (32,))
    numbers = crops.draw(0, 0, batch_size=1)[0]
    (grey,) = decode_crops(path, numbers, crops, channels=1)
    (colour,) = decode_crops(str(path), numbers, crops)
    assert grey.shape == (32, 32, 1)
    np.testing.assert_array_equal(colour, np.repeat(grey, 3, axis=2))


def test_a_fraction_of_a_jpeg_never_makes_a_crop_smaller_than_its_view():
    for room, expected in ((1, 1), (1.99, 1), (2, 2), (3.9, 2), (4, 4), (9, 8)):
        box = Box(0, 0, int(room * 100), 2000)
        assert dct_scale([box], [100]) == expected
    # The smallest crop decides, whichever view it is.
    assert dct_scale([Box(0, 0, 900, 900), Box(0, 0, 99, 99)], [100, 50]) == 1
    assert dct_scale([Box(0, 0, 50, 900)], [100]) == 1


@pytest.mark.parametrize("size", [(1200, 1600), (1203, 1597)])
def test_a_jpeg_decoded_at_a_fraction_gives_the_same_crop(size, monkeypatch):
    data = encoded(smooth(*size), "JPEG", quality=95)
    crops = HostCrops((View(crop_scale=(0.5, 1.0)),) * 2, (96, 64))
    opened = []
    original = Image.Image.crop
    monkeypatch.setattr(
        Image.Image,
        "crop",
        lambda self, box: (opened.append(self.size), original(self, box))[1],
    )
    full = encoded(decode(data, size=None), compress_level=0)
    for numbers in crops.draw(0, 0, batch_size=2):
        boxes = crops.boxes(numbers, height=size[0], width=size[1])
        assert dct_scale(boxes, crops.sizes) == 8
        views = decode_crops(data, numbers, crops)
        whole = decode_crops(full, numbers, crops)
        for view, expected in zip(views, whole, strict=True):
            assert np.abs(view.astype(int) - expected).max() <= 4
    eighth = (-(-size[1] // 8), -(-size[0] // 8))
    assert {eighth, size[::-1]} == set(opened)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_of_the_upright_image(orientation):
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = smooth(480, 640)
    stored = Image.fromarray(upright)
    if orientation > 1:
        stored = stored.transpose(turns[orientation])
    exif = Image.Exif()
    exif[274] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, "JPEG", quality=95, exif=exif)
    crops = HostCrops((View(crop_scale=(0.3, 1.0)),) * 2, (64, 48))
    for numbers in crops.draw(0, 0, batch_size=3):
        turned = decode_crops(buffer.getvalue(), numbers, crops)
        plain = decode_crops(encoded(upright), numbers, crops)
        for view, expected in zip(turned, plain, strict=True):
            assert np.abs(view.astype(int) - expected).max() <= 8


@pytest.mark.slow
def test_the_device_does_the_rest_to_crops_as_to_images():
    images = jnp.asarray(np.stack([noise(32, 32, seed) for seed in range(6)]))
    # The whole image, so that the crop on the device changes nothing.
    view = View(crop_scale=(1, 1), crop_ratio=(1, 1), blur=0.5, solarize=0.3)
    key = jax.random.key(3)

    @jax.jit
    def draw(images):
        whole = make_views(key, images, (view, view), size=32)
        given = make_views(key, (images, images), (view, view), size=32)
        part = make_views(
            key, [images[2:4]] * 2, (view, view), size=(32, 32), rows=(jnp.int32(2), 6)
        )
        return whole, given, part

    whole, given, part = draw(images)
    for a, b, c in zip(whole, given, part, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
        np.testing.assert_allclose(b[2:4], c, atol=2e-6)
    with pytest.raises(ValueError, match="crops must be 24 x 24 pixels"):
        make_views(key, (images,), (view,), size=24)
