"""What the commands write: JSON lines, tables that stay aligned, and pictures to files that end in .png."""

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnlab.core.errors import UserError
from cnnlab.core.text import printable


def json_line(values: Mapping[str, Any]) -> str:
    """Values as one line of JSON that any terminal may show; what a name holds comes back exactly.

    Characters that a terminal would obey or that standard output cannot encode are written as JSON's own escapes.
    A name's bytes that are not UTF-8 are lone surrogates, as Python's os.fsencode takes them.
    """
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    is_plain = str.isprintable if encoding.startswith("utf") else str.isascii
    text = json.dumps(values, ensure_ascii=False)
    return "".join(char if is_plain(char) else json.dumps(char)[1:-1] for char in text)


def check_png(path: Path) -> None:
    """UserError where a picture is to be drawn into a file with another ending."""
    if path.suffix.lower() != ".png":
        raise UserError(f"{printable(str(path))}: the file to draw into must end in .png.")


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: two for wide letters, none for marks on the letter before."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def shortened(text: str, width: int) -> str:
    """The end of a text that is too wide, after "…"; the end of a path tells more than its beginning."""
    if columns(text) <= width:
        return text
    while text and columns(text) > width - 1:
        text = text[1:]
    return f"…{text}"


def aligned(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Rows of cells as lines, each cell padded to its column's width."""
    return [
        "  ".join(cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
