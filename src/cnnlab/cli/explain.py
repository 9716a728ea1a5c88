"""`cnnlab explain`: which parts of a picture the answer rests on, drawn as a heat map."""

from pathlib import Path
from typing import Annotated

import typer

from cnnlab.cli.arguments import ModelFile, NoInvert

LEAST_EFFECT = 0.005  # nats: less is written as 0.00


def explain(
    picture: Annotated[str, typer.Argument(help="A file, or - for a picture on standard input.", metavar="PICTURE")],
    model: ModelFile = None,
    class_name: Annotated[
        str, typer.Option("--class", metavar="NAME", help="Explain this class. Default: the likeliest.")
    ] = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write, .png.")] = Path("explain.png"),
    no_invert: NoInvert = False,
) -> None:
    """Draw what the answer for a picture rests on: red where covering it makes the class less likely."""
    from cnnlab.cli.inputs import read_inputs
    from cnnlab.cli.output import check_png
    from cnnlab.cli.predict import open_model
    from cnnlab.core.artifacts import write_figure
    from cnnlab.core.errors import UserError
    from cnnlab.core.text import printable
    from cnnlab.figures.explanation import heat_map
    from cnnlab.inference.explain import explain as explained
    from cnnlab.inference.session import class_index

    check_png(output)
    network = open_model(model)
    label = class_index(network.class_names, class_name) if class_name else None
    found = read_inputs(network.meta, [picture], output, invert=not no_invert)
    if len(found.images) > 1:
        raise UserError(f"{picture} names {len(found.images)} pictures: explain one at a time.")
    answer = explained(network, found.images[0], label)
    name = network.class_names[answer.label]
    write_figure(output, heat_map(found.images[0], answer.heat, f"{name} {answer.probability:.3f}"))
    most = answer.heat.max()
    effect = f"covering the reddest spot lowers its log-probability by {most:.2f} nats"
    if most < LEAST_EFFECT:
        effect = "no part that is covered makes it less likely"
    print(f"{printable(str(output))}: what {name} ({answer.probability:.3f}) rests on; {effect}.")
