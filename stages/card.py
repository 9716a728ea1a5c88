"""Write the model card of one exported architecture: `python stages/card.py lenet`.

A stage of its own, and a cheap one: a file that is in Git must not be cached by DVC, and an uncached output takes the
run-cache from the whole stage, which for the export would be dear.
"""

import typer

from cnnlab import artifacts
from cnnlab.errors import run_command
from cnnlab.export.card import model_card
from cnnlab.inference import Model


def main(architecture: str = typer.Argument(help="as in params.yaml under models")) -> None:
    """Write docs/models/ARCH.md from the files' metadata and metrics/export/ARCH.json."""
    model = Model.load(artifacts.onnx_path(architecture), threads=1)
    features = Model.load(artifacts.onnx_path(architecture, "features"), threads=1)
    figures = artifacts.read_json(artifacts.metrics_path("export", architecture))
    taps = [name for name in features.output_names if name != "logits"]
    card = artifacts.card_path(architecture)
    artifacts.write_text(card, model_card(model, figures, taps))
    print(f"{architecture}: {card}")


if __name__ == "__main__":
    run_command(main)
