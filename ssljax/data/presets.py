"""The distribution of a view, and the published distributions by method.

Presets resize bilinearly (torchvision's default), always antialiased. The sources of
BYOL, Barlow Twins, VICReg and solo-learn resize bicubically, and so do the recipes that
follow them (`augment.interpolation`). The TensorFlow code of SimCLR and BYOL does not
antialias, which no setting here reproduces.
"""

import dataclasses
import math
from typing import Literal, get_args

from ssljax.config.checks import nearest

Interpolation = Literal["bilinear", "bicubic"]
"""Filters that resize a crop, both antialiased."""

_SMALL = 96  # largest image, in pixels, that takes the small-image variant
_TINY = 32  # up to this size no recipe blurs: three taps already erase the object


@dataclasses.dataclass(frozen=True)
class View:
    """Describe how a view of an image is drawn, in the order of the operations.

    A probability or strength of exactly zero removes the operation from the compiled
    program. The semantics are torchvision's.

    Args:
        crop_scale: smallest and largest share of the image's area, in (0, 1].
        crop_ratio: smallest and largest width / height of the box, log-uniform.
        interpolation: filter that resizes the box, ``bilinear`` or ``bicubic``.
        flip: probability of a left-right flip.
        jitter: probability of the next four operations, in random order.
        brightness: b; the factor is uniform on ``[max(0, 1 - b), 1 + b]``.
        contrast: the same, about the image's mean grey.
        saturation: the same, about each pixel's grey. RGB only.
        hue: h; the shift is uniform on ``[-h, h]`` turns, h <= 0.5. RGB only.
        grayscale: probability of dropping the colour. RGB only.
        blur: probability of a Gaussian blur.
        blur_sigma: smallest and largest standard deviation, in output pixels.
        solarize: probability of inverting the pixels at or above the threshold.
        solarize_threshold: threshold of solarize, in [0, 1].

    Raises:
        ValueError: if a value is outside its range; the message names field and value.

    >>> View(blur=1.5)
    Traceback (most recent call last):
    ValueError: blur must be a number in [0, 1], got 1.5
    """

    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bilinear"
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    grayscale: float = 0.2
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0
    solarize_threshold: float = 0.5

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
            self._require_number(name, 0.0, 1.0)
        for name in ("brightness", "contrast", "saturation"):
            self._require_number(name, 0.0, math.inf)
        self._require_number("hue", 0.0, 0.5)
        self._require_number("solarize_threshold", 0.0, 1.0)
        self._require_range("crop_scale", 1.0)
        self._require_range("crop_ratio", math.inf)
        self._require_range("blur_sigma", math.inf)
        if self.interpolation not in get_args(Interpolation):
            allowed = " or ".join(map(repr, get_args(Interpolation)))
            raise ValueError(
                f"interpolation must be {allowed}, got {self.interpolation!r}"
            )

    def with_jitter(self, strength: float) -> "View":
        """Return the view with its four colour strengths multiplied; hue at most 0.5.

        >>> View().with_jitter(0.5).brightness, View(hue=0.2).with_jitter(4).hue
        (0.2, 0.5)
        """
        shifts = {
            name: strength * getattr(self, name)
            for name in ("brightness", "contrast", "saturation", "hue")
        }
        shifts["hue"] = min(shifts["hue"], 0.5)
        return dataclasses.replace(self, **shifts)

    def _require_number(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not (_is_finite(value) and low <= value <= high):
            allowed = (
                f"at least {low:g}" if math.isinf(high) else f"in [{low:g}, {high:g}]"
            )
            raise ValueError(f"{name} must be a number {allowed}, got {value!r}")

    def _require_range(self, name: str, high: float) -> None:
        value = getattr(self, name)
        pair = tuple(value) if isinstance(value, (tuple, list)) else ()
        if not (
            len(pair) == 2
            and all(_is_finite(v) for v in pair)
            and 0.0 < pair[0] <= pair[1] <= high
        ):
            bound = "" if math.isinf(high) else f" <= {high:g}"
            raise ValueError(
                f"{name} must be a pair 0 < low <= high{bound}, got {value!r}"
            )
        # Parsed files contain lists, which would make the view unhashable.
        object.__setattr__(self, name, pair)


def preset(name: str, *, image_size: int) -> tuple[View, View]:
    """Return the two views of a published method, by name and view size.

    Up to 96 pixels these are the small-image recipes, above that the 224-pixel ones:

    ============ ============================== ==================================
    name         up to 96 pixels                above
    ============ ============================== ==================================
    simclr       jitter .8/.8/.8/.2, blur .5    the same; blur .5
                 above 32 pixels, none below
    simsiam      crop from .2, jitter           the same; blur .5
                 .4/.4/.4/.1, blur as simclr
    byol         jitter .4/.4/.2/.1, no blur,   blur 1 / .1, solarize 0 / .2
                 solarize 0 / .2
    barlow_twins as byol                        as byol
    vicreg       crop from .2, jitter as byol,  as byol
                 no blur, solarize .1 in both
    multi_crop   as byol, but blur .5,          the same
                 solarize .1 in all views
    supervised   crop and flip only             the same
    ============ ============================== ==================================

    Args:
        name: one of the names above.
        image_size: side of the views in pixels.

    Returns:
        The first and the second view.

    Raises:
        ValueError: for an unknown name (suggesting the nearest) or a size below one.

    Sources: Chen et al. 2020 and google-research/simclr ``data_util.py`` (solo-learn
    keeps strength 1 at 32 pixels; the paper's appendix B.9 and lightly's benchmark
    halve it for CIFAR-10, as ``View.with_jitter(0.5)`` does, and in a config
    ``augment.jitter_strength``); Grill et al. 2020 appendix B; Chen and He 2021
    sections 4 and D; Zbontar et al. 2021 and Bardes et al. 2022 official code;
    solo-learn ``scripts/pretrain/cifar`` for BYOL, Barlow Twins and VICReg on small
    images; Weng et al. 2024, official code, for multi-crop.

    >>> first, second = preset("byol", image_size=224)
    >>> first.blur, second.blur
    (1.0, 0.1)
    """
    if type(image_size) is not int or image_size < 1:
        raise ValueError(f"image_size must be an integer >= 1, got {image_size!r}")
    if name not in _PRESETS:
        raise ValueError(
            f"unknown augmentation preset {name!r}; allowed: {', '.join(_PRESETS)}"
            f"{nearest(str(name), _PRESETS)}"
        )
    return _PRESETS[name](image_size)


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value)


def _simclr(image_size: int) -> tuple[View, View]:
    view = View(
        brightness=0.8,
        contrast=0.8,
        saturation=0.8,
        hue=0.2,
        blur=0.5 if image_size > _TINY else 0.0,
    )
    return view, view


def _simsiam(image_size: int) -> tuple[View, View]:
    # On CIFAR-10 the paper keeps its ImageNet augmentation, except for the blur.
    view = View(crop_scale=(0.2, 1.0), blur=0.5 if image_size > _TINY else 0.0)
    return view, view


def _byol(image_size: int) -> tuple[View, View]:
    blurs = (0.0, 0.0) if image_size <= _SMALL else (1.0, 0.1)
    first = View(saturation=0.2, blur=blurs[0])
    return first, dataclasses.replace(first, blur=blurs[1], solarize=0.2)


def _vicreg(image_size: int) -> tuple[View, View]:
    if image_size > _SMALL:
        return _byol(image_size)
    view = View(crop_scale=(0.2, 1.0), saturation=0.2, solarize=0.1)
    return view, view


def _multi_crop(image_size: int) -> tuple[View, View]:
    view = View(saturation=0.2, blur=0.5, solarize=0.1)
    return view, view


def _supervised(image_size: int) -> tuple[View, View]:
    view = View(jitter=0.0, grayscale=0.0)
    return view, view


_PRESETS = {
    "simclr": _simclr,
    "byol": _byol,
    "simsiam": _simsiam,
    "barlow_twins": _byol,
    "vicreg": _vicreg,
    "multi_crop": _multi_crop,
    "supervised": _supervised,
}
