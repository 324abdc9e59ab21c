"""Find fonts for class names in any script; a name without one is never drawn as boxes.

Matplotlib brings DejaVu Sans, which has no Chinese, Japanese or Korean. Where the
system has a font for the missing characters, matplotlib falls back to it. Where it has
none, the figures show a number or an escape instead, and the captions say so.
"""

import functools
from collections.abc import Iterable
from typing import Any

BASE = "DejaVu Sans"
# Fonts that have a box for every character, coloured bitmaps, which matplotlib cannot
# draw, and TeX's fonts, which have symbols where others have control characters.
_USELESS = ("lastresort", "adobeblank", "coloremoji", "stixnon", "stixsize")
_USELESS += (
    "cmb10",
    "cmex10",
    "cmmi10",
    "cmr10",
    "cmss10",
    "cmsy10",
    "cmti10",
    "cmtt10",
)


def families(texts: Iterable[str]) -> list[str]:
    """Return font families, in order of preference, that together draw the texts.

    Args:
        texts: what is going to be drawn.

    Returns:
        DejaVu Sans, then as few system fonts as cover the missing characters.

    >>> families(["cat", "naïve", "α"])
    ['DejaVu Sans']
    """
    wanted = frozenset("".join(texts)) - {"\n"}
    missing = wanted - _covered(BASE, wanted)
    return [BASE, *_fallbacks(missing)] if missing else [BASE]


def drawable(text: str) -> bool:
    """Return whether the fonts of this system have every character of a text.

    >>> drawable("disc"), drawable("bad\\udcff")
    (True, False)
    """
    return legible(text) == text


def legible(text: str) -> str:
    """Replace characters that no font has by their escapes.

    >>> legible("loss α"), legible("bad\\udcff")
    ('loss α', 'bad\\\\udcff')
    """
    wanted = frozenset(text) - {"\n"}
    found = frozenset[str]().union(*(_covered(f, wanted) for f in families([text])))
    lost = wanted - found
    return "".join(
        c.encode("ascii", "backslashreplace").decode() if c in lost else c for c in text
    )


@functools.lru_cache(maxsize=64)
def _fallbacks(missing: frozenset[str]) -> tuple[str, ...]:
    """Pick the font that has most of the missing characters, then for the rest."""
    has = {family: _covered(family, missing) for family in _system_families()}
    chosen: list[str] = []
    while missing and has:
        # By name where several have equally many, so that a figure can be repeated.
        best = min(has, key=lambda family: (-len(has[family] & missing), family))
        if not has[best] & missing:
            break
        chosen.append(best)
        missing -= has.pop(best)
    return tuple(chosen)


def _system_families() -> list[str]:
    from matplotlib import font_manager

    # Only upright fonts of normal weight, for which matplotlib needs no substitute.
    names = {
        entry.name
        for entry in font_manager.fontManager.ttflist
        if entry.weight in (400, "normal", "regular") and entry.style == "normal"
    }
    return sorted(
        name
        for name in names
        if not any(word in name.lower().replace(" ", "") for word in _USELESS)
    )


@functools.lru_cache(maxsize=4096)
def _covered(family: str, characters: frozenset[str]) -> frozenset[str]:
    font = _font(family)
    if font is None:
        return frozenset()
    return frozenset(c for c in characters if font.get_char_index(ord(c)))


@functools.lru_cache(maxsize=1024)
def _font(family: str) -> Any:
    from matplotlib import font_manager

    wanted = font_manager.FontProperties(family=[family])
    try:
        # The same look-up as when a figure is drawn.
        path = font_manager.findfont(wanted, fallback_to_default=False)
        return font_manager.get_font(path)
    except (OSError, RuntimeError, ValueError):
        return None
