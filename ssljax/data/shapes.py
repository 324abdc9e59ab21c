"""Generate ``shapes``, a set of 32 x 32 colour images in twelve classes.

Every image shows two to four copies of one shape. The shape is the class. Colours,
places, sizes, rotations, background and noise are drawn for every image or copy,
independently of the class. Crops of one image therefore share the class and little
else, as contrastive learning needs, while raw pixels do not predict the class.

All arithmetic is on integers and all randomness is raw Philox words, so the images
are identical bit by bit on every machine and numpy version.
"""

import itertools
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np

CLASS_NAMES = (
    "disc",
    "ring",
    "square",
    "frame",
    "triangle",
    "plus",
    "star",
    "bar",
    "chevron",
    "crescent",
    "dumbbell",
    "tee",
)
SIZES = {"train": 10_000, "test": 2_000}

_SIDE = 32
_PATCH = 24  # pixels; a copy reaches at most 9 pixels from its centre
_SUPER = 4  # samples per pixel side
_MARGIN = 12  # canvas border that is cut off, so that copies may leave the image
_TEMPLATE = 512  # a template spans [-4, 4] radii: every sample of a patch is inside
_MAX_COPIES = 4
_CHUNK = 250  # images; keeps the temporaries inside the cache
_THREADS = min(8, os.cpu_count() or 1)  # NumPy releases the interpreter lock
_STREAMS = {"train": 1, "test": 2}


@lru_cache(maxsize=4)
def generate(
    split: str, size: int | None = None, rows: tuple[int, ...] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the images and labels of one split.

    Args:
        split: ``"train"`` or ``"test"``; their random streams are disjoint.
        size: number of images, 10,000 and 2,000 by default. A smaller set is a prefix
            of a larger one.
        rows: which images of the set to return, ascending; None for all. The others
            are not drawn.

    Returns:
        Images uint8 ``[size, 32, 32, 3]`` and labels int32 ``[size]``, read-only; of
        ``rows`` only, where given. Labels cycle through the twelve classes, so every
        prefix is balanced.

    >>> images, labels = generate("train", 24)
    >>> images.shape, CLASS_NAMES[labels[0]]
    ((24, 32, 32, 3), 'disc')
    """
    size = SIZES[split] if size is None else size
    labels = (np.arange(size) % len(CLASS_NAMES)).astype(np.int32)
    layout = _Words(_STREAMS[split], purpose=0)
    noise = _Words(_STREAMS[split], purpose=1)
    wanted = np.arange(size) if rows is None else np.array(rows, dtype=np.int64)
    labels = labels[wanted]
    images = np.empty((len(wanted), _SIDE, _SIDE, 3), np.uint8)

    def chunks() -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        # The words must be drawn in order; the images may be drawn in any order.
        for start in range(0, size, _CHUNK):
            n = min(_CHUNK, size - start)
            grain = noise.bytes((n, 2, _SIDE, _SIDE, 3))
            draws = layout.uniform(0, 1 << 24, (n, 24 * 5))
            part = slice(*np.searchsorted(wanted, [start, start + n]))
            if here := (wanted[part] - start).tolist():
                yield part, draws[here], grain[here]

    def draw(chunk: tuple[slice, np.ndarray, np.ndarray]) -> None:
        part, draws, grain = chunk
        images[part] = _draw(labels[part], draws, grain)

    templates()  # cached now, or several threads would compute it at once
    with ThreadPoolExecutor(_THREADS) as pool:
        todo = chunks()
        # A few at a time: all words together are larger than the images.
        while batch := list(itertools.islice(todo, 4 * _THREADS)):
            list(pool.map(draw, batch))
    images.flags.writeable = False
    labels.flags.writeable = False
    return images, labels


class _Words:
    """Read a stream of raw Philox words as small integers."""

    def __init__(self, stream: int, *, purpose: int):
        key = np.array([0x5A9E5, stream * 16 + purpose], dtype=np.uint64)
        self._philox = np.random.Philox(key=key)

    def uniform(self, low: int, high: int, shape: tuple[int, ...]) -> np.ndarray:
        """Draw integers in [low, high), int32; the modulo bias is negligible."""
        words = self._philox.random_raw(math.prod(shape)).reshape(shape)
        return (low + (words % np.uint64(high - low)).astype(np.int64)).astype(np.int32)

    def bytes(self, shape: tuple[int, ...]) -> np.ndarray:
        """Draw uint8; the number of bytes must be a multiple of eight."""
        words = self._philox.random_raw(math.prod(shape) // 8)
        return words.astype("<u8").view(np.uint8).reshape(shape)


def _draw(labels: np.ndarray, draws: np.ndarray, grain: np.ndarray) -> np.ndarray:
    """Draw images of these labels, each from its row of words and its row of noise.

    One row per image makes every set a prefix of any larger set.
    """
    n = len(labels)
    columns = iter(np.split(draws, 24, axis=1))  # of [n, 5]

    def take(low: int, high: int) -> np.ndarray:
        return low + next(columns) % (high - low)

    def per_copy(low: int, high: int) -> np.ndarray:
        return take(low, high)[:, :_MAX_COPIES]

    canvas = _background(n, take)  # [n, 56, 56, 3]
    copies = take(2, _MAX_COPIES + 1)[:, 0]
    # The four cells of a 2 x 2 grid in random order: copies overlap a little at most.
    cells = np.argsort(per_copy(0, 1 << 24), axis=1, kind="stable")
    place = np.array([64 * _SIDE // 4, 64 * 3 * _SIDE // 4])  # 1/64 pixel
    centre_y = place[cells // 2] + per_copy(-160, 161)
    centre_x = place[cells % 2] + per_copy(-160, 161)
    radius = per_copy(64 * 11 // 2, 64 * 8 + 1)  # 5.5 to 8 pixels
    angle = per_copy(0, len(_COSINE))
    colours = np.stack([per_copy(0, 256) for _ in range(3)], axis=-1)  # [n, 4, 3]
    for slot in range(_MAX_COPIES):
        rows = np.nonzero(copies > slot)[0]
        pick = (rows, np.full(len(rows), slot))
        _paint(
            canvas,
            rows,
            labels[rows],
            *(a[pick] for a in (centre_y, centre_x, radius, angle, colours)),
        )
    images = canvas[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    amplitude = take(2, 17)[:, 0][:, None, None, None]
    # The difference of two uniform bytes: triangular noise with zero mean.
    grain = grain.astype(np.int32)
    images = images + ((grain[:, 0] - grain[:, 1]) * amplitude >> 8)
    return np.clip(images, 0, 255).astype(np.uint8)


def _background(n: int, take) -> np.ndarray:
    """Draw a smooth texture: a 5 x 5 grid of random colours, bilinearly enlarged."""
    base = np.stack([take(40, 216)[:, 0] for _ in range(3)], axis=-1)  # [n, 3]
    swing = take(8, 64)[:, 0]
    knots = np.stack([take(-128, 129) for _ in range(5)], axis=1)  # [n, 5, 5]
    tint = np.stack([take(-64, 129)[:, 0] for _ in range(3)], axis=-1)  # [n, 3]
    side = _SIDE + 2 * _MARGIN
    position = np.arange(side) * 4 * 64 // (side - 1)  # in 1/64 of a knot spacing
    left = np.minimum(position // 64, 3)
    weight = (position - 64 * left).astype(np.int32)[:, None]
    rows = knots[:, left] * (64 - weight) + knots[:, left + 1] * weight
    weight = weight.T
    field = rows[:, :, left] * (64 - weight) + rows[:, :, left + 1] * weight
    field = field * swing[:, None, None] >> 12  # knots weigh 64 * 64
    shade = field[..., None] * tint[:, None, None] >> 13
    return np.clip(base[:, None, None] + shade, 0, 255).astype(np.int32)


def _paint(canvas, rows, labels, centre_y, centre_x, radius, angle, colours) -> None:
    """Draw one copy on each of the images ``rows`` of the canvas, in place."""
    pixel_y, pixel_x = centre_y // 64, centre_x // 64
    cover = _coverage(
        labels, centre_y - 64 * pixel_y, centre_x - 64 * pixel_x, radius, angle
    )  # [m, 24, 24], 0 to 16
    span = np.arange(_PATCH)
    at_y = (pixel_y + _MARGIN - _PATCH // 2)[:, None, None] + span[:, None]
    at_x = (pixel_x + _MARGIN - _PATCH // 2)[:, None, None] + span
    index = (rows[:, None, None], at_y, at_x)
    below = canvas[index]  # [m, 24, 24, 3]
    colours = _contrasting(colours, below[:, _PATCH // 2, _PATCH // 2])
    difference = colours[:, None, None] - below
    canvas[index] = below + (difference * cover[..., None] >> 4)


def _contrasting(colours: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Move colours as bright as the background towards black or white.

    A copy must stay visible in greyscale, because augmentation may remove colour.
    """
    brightness = (77 * below[:, 0] + 150 * below[:, 1] + 29 * below[:, 2]) >> 8
    own = (77 * colours[:, 0] + 150 * colours[:, 1] + 29 * colours[:, 2]) >> 8
    close = np.abs(own - brightness) < 80
    pushed = colours // 5 + np.where(brightness < 128, 204, 0)[:, None]
    return np.where(close[:, None], pushed, colours)


def _coverage(labels, offset_y, offset_x, radius, angle) -> np.ndarray:
    """Count the samples of each pixel inside the shape: int32 ``[m, 24, 24]``, 0 to 16.

    Offsets and radius are in 1/64 pixel. Every sample looks up the class template at
    its rotated and scaled position.
    """
    step = 64 // _SUPER
    samples = np.arange(_PATCH * _SUPER) * step + step // 2 - 64 * _PATCH // 2
    ys = (samples - offset_y[:, None]).astype(np.int32)  # [m, 96]
    xs = (samples - offset_x[:, None]).astype(np.int32)
    # Template units are 1/64 of the radius: sum / 2^22 * 64 = sum >> 16.
    cosine = ((_COSINE[angle] << 10) // radius)[:, None]
    sine = ((_COSINE[(angle - 64) % 256] << 10) // radius)[:, None]
    middle = _TEMPLATE // 2
    u = ((cosine * xs)[:, None, :] + (sine * ys)[:, :, None]) >> 16
    v = ((cosine * ys)[:, :, None] - (sine * xs)[:, None, :]) >> 16
    v <<= 9  # rows of 512
    v += u
    v += (labels * _TEMPLATE * _TEMPLATE + middle * _TEMPLATE + middle)[:, None, None]
    inside = templates().reshape(-1).take(v)  # uint8 [m, 96, 96]
    m = len(labels)
    inside = inside.reshape(m, _PATCH, _SUPER, _PATCH, _SUPER)
    # Summing the four samples of a row as bytes first is much cheaper.
    per_row = inside[..., 0] + inside[..., 1] + inside[..., 2] + inside[..., 3]
    return per_row.sum(axis=2, dtype=np.int32)


def _cosine_table() -> np.ndarray:
    # Rounding to 12 bits removes the last-digit differences of maths libraries.
    return np.array(
        [round(4096 * math.cos(2 * math.pi * k / 256)) for k in range(256)], np.int32
    )


_COSINE = _cosine_table()


@lru_cache(maxsize=1)
def templates() -> np.ndarray:
    """Draw the upright shapes, uint8 0/1 ``[classes, 512, 512]``, radius 64."""
    grid = 16 * (2 * np.arange(_TEMPLATE) - _TEMPLATE + 1)  # radius = 2048
    y, x = grid[:, None], grid[None, :]

    def disc(radius, cx=0, cy=0):
        return (x - cx) ** 2 + (y - cy) ** 2 <= radius**2

    def box(half_x, half_y, cx=0, cy=0):
        return (abs(x - cx) <= half_x) & (abs(y - cy) <= half_y)

    points = []
    for k in range(10):
        r = 2048 if k % 2 == 0 else 850
        turn = 2 * math.pi * k / 10
        points.append((round(r * math.sin(turn)), round(r * math.cos(turn))))
    shapes = {
        "disc": disc(1650),
        "ring": disc(1850) & ~disc(1150),
        "square": box(1350, 1350),
        "frame": box(1500, 1500) & ~box(850, 850),
        "triangle": _polygon(x, y, [(0, 2048), (1774, -1024), (-1774, -1024)]),
        "plus": box(1900, 520) | box(520, 1900),
        "star": _polygon(x, y, points),
        "bar": box(2000, 560),
        "chevron": box(1700, 450, 0, -1250) | box(450, 1700, -1250, 0),
        "crescent": disc(1900) & ~disc(1550, 850),
        "dumbbell": disc(850, -1150) | disc(850, 1150) | box(1150, 300),
        "tee": box(1650, 450, 0, 1200) | box(450, 1650, 0, 0),
    }
    return np.stack([shapes[name] for name in CLASS_NAMES]).astype(np.uint8)


def _polygon(x: np.ndarray, y: np.ndarray, corners: list[tuple[int, int]]):
    """Fill a polygon by the even-odd rule: x ``[1, S]``, y ``[S, 1]`` to ``[S, S]``."""
    inside = np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        crosses = (y0 > y) != (y1 > y)
        side = (x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)
        inside ^= crosses & ((side < 0) == (y1 > y0))
    return inside
