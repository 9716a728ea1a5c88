"""`cnnlab export`: a network's file in another form, for programs that cannot use the one in models/."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.inference import Model


def export(
    arch: Annotated[str, typer.Argument(metavar="ARCH", help="A network whose files are in models/, such as mynet.")],
    input_type: Annotated[
        str, typer.Option("--input", metavar="uint8|float", help="float: float32 pixels in [0, 1].")
    ] = "uint8",
    batch: Annotated[
        int | None, typer.Option(min=1, max=4096, help="A fixed number of pictures. Default: any number.")
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="float32|float16|int8", help="float16: the weights take half the bytes.")
    ] = "float32",
    softmax: Annotated[bool, typer.Option("--softmax", help="Calibrated probabilities instead of logits.")] = False,
    opset: Annotated[
        int | None, typer.Option(help="ONNX's operator set. Default: 13; float files can have 11 or 12 too.")
    ] = None,
    webgpu: Annotated[
        bool, typer.Option("--webgpu", help="Pad channels to fours: onnxruntime-web's WebGPU miscomputes others.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write. Default: named after its form.")
    ] = None,
) -> None:
    """Write a trained network in another form: float input, a fixed batch, float16 weights, probabilities.

    The new file is written only if it gives the same answers as the one in models/.
    """
    from typing import get_args

    from cnnlab.core import artifacts
    from cnnlab.core.errors import UserError
    from cnnlab.export import variants
    from cnnlab.inference import Model
    from cnnlab.models import check_name

    check_name(arch)
    for option, value, allowed in (
        ("--input", input_type, get_args(variants.Input)),
        ("--precision", precision, get_args(variants.Precision)),
    ):
        if value not in allowed:
            raise UserError(f"{option} is {value!r}: it must be one of {', '.join(allowed)}.")
    wanted = variants.Variant(input_type, batch, precision, softmax, opset, webgpu)  # pyright: ignore[reportArgumentType]
    path = output or Path(f"{arch}{wanted.suffix}.onnx")
    if path.suffix != ".onnx":
        raise UserError(f"--output is {path}: the file must end in .onnx.")
    base = artifacts.onnx_path(arch, "int8" if precision == "int8" else "")
    network = Model.load(base)
    data = variants.make_variant(base.read_bytes(), str(base), wanted, _pictures(network))
    artifacts.write_bytes(path, data)
    print(f"{path}: {len(data) / 1e6:.2f} MB, gives the same answers as {base}; docs/deploy.md says how to use it.")


def _pictures(network: "Model") -> "np.ndarray":
    """Training pictures of the network's data set, or noise where they are not here, uint8 [n, c, h, w]."""
    import numpy as np

    from cnnlab.core import datasets
    from cnnlab.core.errors import UserError
    from cnnlab.export.variants import PICTURES

    try:
        images = datasets.load_split(network.meta["dataset"], "train").images[:PICTURES]
        if images.shape[1:] == network.shape:
            return np.ascontiguousarray(images)
    except UserError:
        pass
    return np.random.default_rng(0).integers(0, 256, (PICTURES, *network.shape), dtype=np.uint8)
