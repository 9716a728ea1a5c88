"""`cnnlab predict`: which class a picture shows. Imports at the top stay light, for the sake of the first answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cnnlab.inference.predict import Answer


def predict(
    pictures: Annotated[
        list[str],
        typer.Argument(help="files, folders, globs, or - for one picture on standard input", metavar="PICTURE…"),
    ],
    model: Annotated[
        Path | None,
        typer.Option(help="an exported .onnx file [default: models/mynet.onnx, or the network that ships with cnnlab]"),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="how many classes to show")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="pictures held in memory at a time")] = 64,
    no_invert: Annotated[
        bool, typer.Option("--no-invert", help="leave pictures on a light background as they are")
    ] = False,
) -> None:
    """Say which class each picture shows, and how sure that is.

    A file that cannot be read is named with the reason, the others are done, and the exit code is 1.
    """
    from cnnlab.data.pictures import PictureError
    from cnnlab.inference.predict import find
    from cnnlab.inference.predict import predict as answers
    from cnnlab.inference.session import Model

    network = Model.load(model or default_model())
    table = _Table(min(top, len(network.class_names)), max(map(len, network.class_names)))
    failed = False
    for result in answers(
        network,
        find(pictures, tell=lambda note: typer.echo(note, err=True)),
        top=top,
        batch=batch,
        invert=not no_invert,
    ):
        if isinstance(result, PictureError):
            typer.echo(f"Error: {result}", err=True)
            failed = True
        else:
            typer.echo(to_json(result) if as_json else table.line(result))
    if failed:
        raise typer.Exit(1)


def default_model() -> Path:
    """The trained mynet, or the network that ships with cnnlab, which a line on standard error then says."""
    from cnnlab.core import artifacts
    from cnnlab.inference.session import default_model_path

    trained = artifacts.onnx_path("mynet")
    if trained.is_file():
        return trained
    typer.echo(f"{trained} is not here: the network that ships with cnnlab answers.", err=True)
    return default_model_path()


def to_json(answer: "Answer") -> str:
    import json

    ranked = [
        {"class": name, "probability": round(chance, 6)}
        for name, chance in zip(answer.classes, answer.probabilities, strict=True)
    ]
    values = {
        "picture": answer.picture,
        **ranked[0],
        "top": ranked,
        "inverted": answer.inverted,
        "transparent": answer.transparent,
        "unlike_data": answer.unlike_data,
    }
    return json.dumps(values, ensure_ascii=False)


class _Table:
    """Aligned lines, the header before the first; a longer name than any before pushes its own line only."""

    def __init__(self, top: int, longest_class: int) -> None:
        self.head = ["picture", *(f"{rank}." for rank in range(1, top + 1)), ""]
        self.widths = [24, *[longest_class + 6] * top, 0]
        self.begun = False

    def line(self, answer: "Answer") -> str:
        ranked = zip(answer.classes, answer.probabilities, strict=True)
        cells = [answer.picture, *(f"{name} {chance:.3f}" for name, chance in ranked), "; ".join(_notes(answer))]
        lines = [self._aligned(cells)]
        if not self.begun:
            self.begun = True
            lines.insert(0, self._aligned(self.head))
        return "\n".join(lines)

    def _aligned(self, cells: list[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, self.widths, strict=True)).rstrip()


def _notes(answer: "Answer") -> list[str]:
    notes = {
        "light background, inverted": answer.inverted,
        "transparent, laid on white": answer.transparent,
        "unlike the data": answer.unlike_data,
    }
    return [note for note, holds in notes.items() if holds]
