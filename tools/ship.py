"""Refresh the network that `cnnlab predict` uses before any is trained: `make ship`, after a run at full scale."""

from cnnlab.core import artifacts, params
from cnnlab.core.errors import UserError, run_command
from cnnlab.inference.session import Model, default_model_path


def main() -> None:
    """Copy the int8 file of a run at full scale; UserError after any other (budget, recipe or data set)."""
    settings = params.load()
    target = default_model_path()
    if (settings.dataset, settings.recipe, settings.budget) != ("fashion_mnist", "modern", "full"):
        raise UserError(
            f"{target} ships from budget full, recipe modern and dataset fashion_mnist; params.yaml has "
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
