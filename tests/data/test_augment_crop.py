"""Random resized crops against torchvision's rule, JAX's resampling and PIL."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.data import crop

N = 4096
crop_and_resize = jax.jit(
    crop.crop_and_resize, static_argnames=("size", "interpolation")
)
resize_weights = jax.jit(
    crop.resize_weights, static_argnames=("source", "target", "interpolation")
)
FILTERS = ("bilinear", "bicubic")
sample_boxes = jax.jit(
    crop.sample_boxes, static_argnames=("batch", "height", "width", "scale", "ratio")
)


@pytest.fixture(autouse=True)
def exact_products():
    with jax.default_matmul_precision("highest"):
        yield


def noise(batch, height, width, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    shape = (batch, height, width, channels)
    return jnp.asarray(rng.integers(0, 256, shape, dtype=np.uint8))


def boxes(height=32, width=32, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), batch=N):
    drawn = sample_boxes(
        jax.random.key(0),
        batch=batch,
        height=height,
        width=width,
        scale=scale,
        ratio=ratio,
    )
    return np.asarray(drawn)


def torchvision_box(rng, height, width, scale, ratio):
    """RandomResizedCrop.get_params, one box at a time."""
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = np.exp(rng.uniform(*np.log(ratio)))
        w, h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return rng.integers(height - h + 1), rng.integers(width - w + 1), h, w
    if width / height < ratio[0]:
        w, h = width, round(width / ratio[0])
    elif width / height > ratio[1]:
        w, h = round(height * ratio[1]), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


def two_sample_distance(a, b):
    grid = np.unique(np.concatenate([a, b]))
    cdf = [np.searchsorted(np.sort(v), grid, side="right") / len(v) for v in (a, b)]
    return np.abs(cdf[0] - cdf[1]).max()


@pytest.mark.parametrize(
    "height, width, scale, ratio",
    [
        (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
        (33, 47, (0.2, 1.0), (3 / 4, 4 / 3)),
        (20, 60, (0.5, 1.0), (3 / 4, 4 / 3)),  # often falls back to the centre
    ],
)
def test_boxes_are_distributed_as_torchvision_draws_them(height, width, scale, ratio):
    ours = boxes(height, width, scale, ratio)
    rng = np.random.default_rng(0)
    theirs = np.array(
        [torchvision_box(rng, height, width, scale, ratio) for _ in range(N // 2)]
    )
    for i in range(4):
        # Exceeded once in a thousand for equal laws, per coordinate.
        assert two_sample_distance(ours[:, i], theirs[:, i]) < 1.95 * np.sqrt(3 / N)


def test_boxes_are_whole_pixels_inside_the_image():
    b = boxes(33, 47, (0.2, 1.0))
    np.testing.assert_array_equal(b, np.round(b))
    assert (b[:, :2] >= 0).all() and (b[:, 2:] >= 1).all()
    assert (b[:, 0] + b[:, 2] <= 33).all() and (b[:, 1] + b[:, 3] <= 47).all()


def test_area_is_uniform_and_ratio_log_uniform_when_every_attempt_fits():
    # Large images make the rounding to pixels negligible.
    b = boxes(2000, 2000, scale=(0.1, 0.5), ratio=(0.75, 4 / 3))
    area = np.sort(b[:, 2] * b[:, 3]) / 2000**2
    log_ratio = np.sort(np.log(b[:, 3] / b[:, 2]))
    quantiles = (np.arange(N) + 0.5) / N
    bound = 1.95 / np.sqrt(N)
    assert 0.0995 < area[0] and area[-1] < 0.5005
    assert np.abs((area - 0.1) / 0.4 - quantiles).max() < bound
    span = np.log(4 / 3)
    assert np.abs(log_ratio).max() < span + 0.003
    assert np.abs((log_ratio + span) / (2 * span) - quantiles).max() < bound


@pytest.mark.parametrize(
    "height, width, box",
    [(10, 100, (0, 43, 10, 13)), (100, 10, (43, 0, 13, 10)), (30, 30, (0, 0, 30, 30))],
)
def test_the_central_fallback(height, width, box):
    # A full-area box of an elongated image has no allowed ratio; the square one has,
    # and is the image itself.
    ratio = (1.0, 1.0) if height == width else (3 / 4, 4 / 3)
    b = boxes(height, width, scale=(1.0, 1.0), ratio=ratio, batch=64)
    np.testing.assert_array_equal(b, np.tile(box, (64, 1)))


CASES = [  # y, x, h, w: up, down, both, single pixels, the whole
    (3, 5, 7, 9),
    (0, 0, 40, 50),
    (10, 0, 30, 8),
    (39, 49, 1, 1),
    (0, 20, 40, 30),
]


def cropped(size, interpolation="bilinear", images=None):
    """Our crops of all cases from one image: ``[cases, size, size, channels]``."""
    images = noise(1, 40, 50) if images is None else images
    planes = crop_and_resize(
        jnp.tile(images, (len(CASES), 1, 1, 1)),
        jnp.array(CASES, float),
        size=size,
        interpolation=interpolation,
    )
    return jnp.moveaxis(planes, 0, -1)


# One cut at a time has a program of its own, so the sizes are shared out.
@pytest.mark.parametrize("size, cases", [(1, (1,)), (12, range(5)), (32, (0,))])
def test_equals_scale_and_translate_of_the_cut_box(size, cases):
    resample = jax.jit(
        functools.partial(
            jax.image.scale_and_translate,
            shape=(size, size, 3),
            spatial_dims=(0, 1),
            method="bilinear",
            antialias=True,
            precision=jax.lax.Precision.HIGHEST,
        )
    )
    ours, (image,) = cropped(size), noise(1, 40, 50)
    for case in cases:
        y, x, h, w = CASES[case]
        cut = image[y : y + h, x : x + w].astype(jnp.float32) / 255
        scale = jnp.array([size / h, size / w], jnp.float32)
        expected = resample(cut, scale=scale, translation=jnp.zeros(2))
        np.testing.assert_allclose(
            ours[case], expected, atol=1e-5, err_msg=str(CASES[case])
        )


@pytest.mark.parametrize(
    ("size", "interpolation"),
    [(12, "bilinear"), (32, "bilinear"), (12, "bicubic"), (32, "bicubic")],
)
def test_equals_pil_within_its_rounding(size, interpolation):
    from PIL import Image

    kind = Image.Resampling[interpolation.upper()]
    ours, (image,) = np.asarray(cropped(size, interpolation)), noise(1, 40, 50)
    picture = Image.fromarray(np.asarray(image))
    for case, (y, x, h, w) in zip(ours, CASES, strict=True):
        # torchvision cuts first; PIL's own box argument lets outside pixels in. One
        # axis at a time, since versions of Pillow differ in which one comes first.
        part = picture.crop((x, y, x + w, y + h))
        expected = part.resize((size, h), kind).resize((size, size), kind)
        # PIL rounds to whole levels after each of the two passes; the absolute values
        # of cubic weights sum to at most 1.27.
        bound = 1.01 if interpolation == "bilinear" else 1.15
        assert np.abs(255 * case - np.asarray(expected)).max() <= bound, (y, x, h, w)


@pytest.mark.parametrize("interpolation", FILTERS)
def test_equals_pil_on_floats_of_few_levels(interpolation):
    """Levels from 100 to 155 leave nothing to clip, and mode F does not round."""
    from PIL import Image

    kind = Image.Resampling[interpolation.upper()]
    image = 100 + noise(1, 40, 50, channels=1) % 56
    picture = Image.fromarray(np.asarray(image)[0, ..., 0].astype(np.float32))
    for size in (12, 32):
        ours = 255 * np.asarray(cropped(size, interpolation, image))[..., 0]
        for case, (y, x, h, w) in zip(ours, CASES, strict=True):
            part = picture.crop((x, y, x + w, y + h))
            expected = part.resize((size, size), kind)
            # 155 levels at float32, through two passes.
            np.testing.assert_allclose(case, np.asarray(expected), atol=2e-4)


@pytest.mark.parametrize("interpolation", FILTERS)
def test_equals_pil_box_argument_on_the_whole_image(interpolation):
    from PIL import Image

    (image,) = noise(1, 40, 50)
    expected = Image.fromarray(np.asarray(image)).resize(
        (12, 12), Image.Resampling[interpolation.upper()], box=(0, 0, 50, 40)
    )
    whole = CASES.index((0, 0, 40, 50))
    difference = 255 * np.asarray(cropped(12, interpolation))[whole]
    assert np.abs(difference - np.asarray(expected)).max() <= 1.15


def test_a_cubic_overshoots_at_an_edge_and_is_clipped():
    step = jnp.zeros((1, 8, 8, 1), jnp.uint8).at[:, :, 4:].set(255)
    box = jnp.array([[0.0, 0.0, 8.0, 8.0]])
    grey = 64 + step // 2  # from 64 to 191: room on both sides
    low, high = 64 / 255, 191 / 255
    for interpolation, beyond in (("bilinear", False), ("bicubic", True)):
        planes = crop_and_resize(grey, box, size=32, interpolation=interpolation)
        assert (planes.min() < low - 0.01) == beyond == (planes.max() > high + 0.01)
        full = crop_and_resize(step, box, size=32, interpolation=interpolation)
        assert full.min() == 0 and full.max() == 1


@pytest.mark.parametrize("interpolation", FILTERS)
def test_flip_is_exact(interpolation):
    images = noise(5, 40, 50)
    box = jnp.array(CASES, float)
    flip = jnp.array([True, False, True, False, True])
    resize = functools.partial(
        crop_and_resize, images, box, size=12, interpolation=interpolation
    )
    flipped, plain = resize(flip=flip), resize()
    expected = jnp.where(flip[None, :, None, None], plain[..., ::-1], plain)
    np.testing.assert_array_equal(flipped, expected)


@pytest.mark.parametrize("interpolation", FILTERS)
def test_the_whole_image_at_its_own_size_is_untouched(interpolation):
    images = noise(3, 32, 32)
    box = jnp.tile(jnp.array([[0.0, 0.0, 32.0, 32.0]]), (3, 1))
    result = crop_and_resize(images, box, size=32, interpolation=interpolation)
    np.testing.assert_array_equal(
        jnp.moveaxis(result, 0, -1), images.astype(jnp.float32) / 255
    )


@pytest.mark.parametrize("interpolation", FILTERS)
def test_pixels_outside_the_box_never_leak_in(interpolation):
    images = jnp.zeros((1, 20, 20, 1), jnp.uint8).at[:, 5:12, 6:15].set(200)
    box = jnp.array([[5.0, 6.0, 7.0, 9.0]])
    for size in (3, 32):
        result = crop_and_resize(images, box, size=size, interpolation=interpolation)
        np.testing.assert_allclose(result, 200 / 255, atol=1e-6)


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("target", [1, 7, 40])
def test_every_row_of_weights_sums_to_one(target, interpolation):
    start, length = np.meshgrid([0.0, 0.6], [0.25, 1.0, 3.5, 20.0])
    w = resize_weights(
        jnp.asarray(start.ravel(), jnp.float32),
        jnp.asarray(length.ravel(), jnp.float32),
        source=24,
        target=target,
        interpolation=interpolation,
    )
    assert w.shape == (8, target, 24)
    # The lobes of the cubic are negative.
    assert bool((w >= (0 if interpolation == "bilinear" else -0.15)).all())
    np.testing.assert_allclose(w.sum(axis=2), 1.0, atol=1e-5)
