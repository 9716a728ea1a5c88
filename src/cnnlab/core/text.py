"""Text from outside, such as the names of files and classes, as a terminal may show it."""

import unicodedata

# Control characters, surrogates (bytes of a file's name that are not UTF-8), line and paragraph separators.
REFUSED = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Turn the direction of the text after them, so that it reads as something else (Unicode's explicit formatting, UAX 9).
DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_plain(text: str) -> bool:
    """Whether a text can be shown as it is: no control characters, surrogates or changes of direction."""
    return not any(_refused(char) for char in text)


def printable(text: str) -> str:
    """The text with every character that a terminal would obey, or cannot show, written as an escape."""
    return "".join(ascii(char)[1:-1] if _refused(char) else char for char in text)


def _refused(char: str) -> bool:
    return char in DIRECTIONS or unicodedata.category(char) in REFUSED
