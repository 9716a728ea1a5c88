"""`cnnlab predict`: which class a picture shows. Imports at the top stay light, so that the answer comes soon."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnlab.cli.arguments import AsJson, ModelFile, NoInvert, Pictures

if TYPE_CHECKING:
    from cnnlab.inference.predict import Answer
    from cnnlab.inference.session import Model

# The marks of the table's last column, and what they mean.
LEGEND = {
    "i": "darker than its background, inverted",
    "t": "transparent, laid on white or black",
    "?": "unlike the data",
    "b": "blank: no object was found, so the answer means nothing",
}
LEAST_NAME = 16  # columns that a picture's name gets on the narrowest terminal


def predict(
    pictures: Pictures,
    model: ModelFile = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 3,
    as_json: AsJson = False,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Pictures held in memory at a time.")] = 64,
    no_invert: NoInvert = False,
) -> None:
    """Show the likeliest classes of each picture, with calibrated probabilities.

    Unreadable files are listed with the reason and the rest are processed; the exit code is then 1.
    """
    from itertools import islice

    from cnnlab.data.pictures import PictureError
    from cnnlab.inference.predict import predict as answers
    from cnnlab.inference.sources import find

    network = open_model(model)
    sources = find(pictures, tell=lambda note: typer.echo(note, err=True))
    results = answers(network, sources, top=top, batch=batch, invert=not no_invert)
    table, failed = Table(_terminal_width()), False
    while part := list(islice(results, batch)):
        for error in (result for result in part if isinstance(result, PictureError)):
            typer.echo(f"Error: {error}", err=True)
            failed = True
        good = [result for result in part if not isinstance(result, PictureError)]
        for line in map(to_json, good) if as_json else table.lines(good):
            typer.echo(line)
    if not as_json and table.marks:
        typer.echo("\n" + " · ".join(f"{mark}: {meaning}" for mark, meaning in LEGEND.items() if mark in table.marks))
    if failed:
        raise typer.Exit(1)


def open_model(named: Path | None, threads: int | None = None) -> "Model":
    """The network in a file, else the trained swift, else the one that ships; a line on stderr says which answers."""
    from cnnlab.core import artifacts
    from cnnlab.inference.session import Model, default_model_path

    trained = artifacts.onnx_path(artifacts.DEFAULT_NETWORK)
    path = named or (trained if trained.is_file() else default_model_path())
    network = Model.load(path, threads)
    typer.echo(_introduction(network, str(path)), err=True)
    return network


def _introduction(model: "Model", path: str) -> str:
    """Which network answers and how good it was on pictures that it was not trained on."""
    from cnnlab.core.text import printable
    from cnnlab.inference.session import default_model_path

    meta = model.meta
    who = "the network that ships with cnnlab" if path == str(default_model_path()) else printable(path)
    text = f"Answers from {meta.get('title') or meta['architecture']} for {meta['dataset']} ({who})"
    settings, accuracy = meta.get("settings"), meta.get("validation_accuracy")
    if isinstance(settings, dict) and isinstance(steps := settings.get("steps"), int):
        text += f", trained for at most {steps:,} steps"
    if isinstance(accuracy, float):
        of = "validation" if meta.get("held_out", True) else "training"
        text += f", {of} accuracy {accuracy:.3f}"
    return f"{text}."


def to_json(answer: "Answer") -> str:
    """One answer as a line of JSON."""
    from cnnlab.cli.output import json_line

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
        "blank": answer.blank,
    }
    return json_line(values)


def _terminal_width() -> int | None:
    """Columns of the terminal that standard output goes to; None where it goes elsewhere."""
    import shutil
    import sys

    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None


class Table:
    """Aligned lines, as wide as a batch of answers needs; on a terminal of `width` columns long names are cut."""

    def __init__(self, width: int | None) -> None:
        self.width = width
        self.widths: list[int] = []
        self.marks: set[str] = set()

    def lines(self, answers: "list[Answer]") -> list[str]:
        """The lines of a batch, after the header if they are the first."""
        from cnnlab.cli.output import aligned, columns, shortened

        if not answers:
            return []
        rows = [self._cells(answer) for answer in answers]
        if not self.widths:
            rows.insert(0, ["picture", *(f"{rank + 1}." for rank in range(len(answers[0].classes))), ""])
            self.widths = [0] * len(rows[0])
        needed = [max(map(columns, column)) for column in zip(*rows, strict=True)]
        self.widths = list(map(max, self.widths, needed))
        if self.width is not None:
            others = sum(self.widths[1:]) + 2 * (len(self.widths) - 1)
            self.widths[0] = min(self.widths[0], max(LEAST_NAME, self.width - others))
            rows = [[shortened(name, self.widths[0]), *rest] for name, *rest in rows]
        return aligned(rows, self.widths)

    def _cells(self, answer: "Answer") -> list[str]:
        from cnnlab.core.text import printable

        holds = zip(LEGEND, (answer.inverted, answer.transparent, answer.unlike_data, answer.blank), strict=True)
        marks = [mark for mark, is_so in holds if is_so]
        self.marks.update(marks)
        ranked = zip(answer.classes, answer.probabilities, strict=True)
        return [printable(answer.picture), *(f"{name} {chance:.3f}" for name, chance in ranked), " ".join(marks)]
