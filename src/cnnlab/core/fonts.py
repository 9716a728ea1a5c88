"""Letters in figures: names are drawn as they are written, in fonts that have their letters."""

import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAMILY = "DejaVu Sans"  # ships with matplotlib, so figures are the same on every machine
MISSING_GLYPH = "Glyph .* missing from"  # how matplotlib's warning begins

_noted: set[str] = set()


def settle(figure: "Figure") -> None:
    """Make every text of a figure literal (`$a_b$` is no formula), in FAMILY and fonts that have the letters it lacks.

    What the user's matplotlibrc says does not count. Letters that no installed font has are drawn as boxes; a note on
    stderr names them, once in a process.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        families, left = fallbacks(_missing(text.get_text()))
        text.set_fontfamily([FAMILY, *families])
        _note(left)


def width(text: str, points: float) -> float:
    """How wide a text is in inches, in letters of so many points; a letter that FAMILY lacks counts as a square."""
    font = _font()
    known = font.get_charmap()
    font.set_size(points, 72)
    squares = sum(ord(letter) not in known for letter in text)
    drawn = sum(font.load_char(ord(letter)).linearHoriAdvance for letter in text if ord(letter) in known) / 65536
    return (drawn + squares * points) / 72


@cache
def fallbacks(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Installed families that have letters which FAMILY lacks, as few as cover them, and the letters that none has."""
    if not letters:
        return (), letters
    from matplotlib import font_manager

    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    families, left = [], set(letters)
    for path in sorted(known | set(font_manager.findSystemFonts())):
        family = _family(path)
        if not left or family is None or not left - _lacking(path, left):
            continue
        if path not in known:
            manager.addfont(path)
        families.append(family)
        left = _lacking(path, left)
    return tuple(families), frozenset(left)


def _family(path: str) -> str | None:
    """The family of a font that matplotlib can draw with; None of others, and of one that has boxes for everything."""
    from matplotlib.font_manager import get_font

    try:
        font = get_font(path)
    except (OSError, RuntimeError):
        return None
    plain = font.style_name in ("Regular", "Book", "Medium", "Roman", "Normal")
    return font.family_name if font.scalable and plain and "Last Resort" not in font.family_name else None


def _lacking(path: str, letters: Iterable[str]) -> set[str]:
    from matplotlib.font_manager import get_font

    known = get_font(path).get_charmap()
    return {letter for letter in letters if ord(letter) not in known}


def _missing(text: str) -> frozenset[str]:
    known = _font().get_charmap()
    return frozenset(letter for letter in text if letter != "\n" and ord(letter) not in known)


@cache
def _font():
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return get_font(findfont(FontProperties(family=FAMILY)))


def _note(letters: frozenset[str]) -> None:
    new = "".join(sorted(letters - _noted))
    if new:
        _noted.update(new)
        print(
            f"Note: no installed font has the letters {new}, so figures show boxes in their place; "
            "install a font that has them (on Debian: fonts-noto-cjk for Chinese, Japanese and Korean).",
            file=sys.stderr,
        )
