"""Refresh the network that `cnnlab predict` uses before any is trained: `make ship`, after a default `dvc repro`."""

from cnnlab.core import artifacts, params
from cnnlab.core.errors import UserError, run_command
from cnnlab.inference.session import Model, default_model_path


def main() -> None:
    """Copy the int8 file of a default run; UserError after any other (smoke, another recipe or data set)."""
    settings = params.load()
    target = default_model_path()
    is_default = (settings.dataset, settings.recipe) == ("fashion_mnist", "modern") and settings.budget != "smoke"
    if not is_default:
        raise UserError(
            f"{target} ships from budget quick or full, recipe modern and dataset fashion_mnist; params.yaml has "
            f"budget {settings.budget}, recipe {settings.recipe}, dataset {settings.dataset}."
        )
    made = artifacts.onnx_path(artifacts.DEFAULT_NETWORK, "int8")
    model = Model.load(made)
    data = made.read_bytes()
    artifacts.write_bytes(target, data)
    accuracy = model.meta["validation_accuracy"]
    print(f"{target}: {len(data) / 1e6:.2f} MB, validation accuracy {accuracy:.4f}; commit it to ship it.")


if __name__ == "__main__":
    run_command(main)
