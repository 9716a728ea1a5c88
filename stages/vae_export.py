"""Export the VAE's encoder and decoder as ONNX, checked against torch: `python stages/vae_export.py`."""

from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import run_command
from cnnlab.core.split import stratified_split
from cnnlab.models import weights
from cnnlab.vae.export import check_parity, to_onnx
from cnnlab.vae.model import build


def main() -> None:
    """Write models/vae_encoder.onnx and models/vae_decoder.onnx, fitted and checked on training pictures."""
    settings = params.load()
    vae, meta = weights.load(artifacts.model_path("vae"), build)
    split = datasets.load_split("vae", "train")
    train, validation = stratified_split(split.labels, meta["validation_share"], meta["seed"])
    encoder, decoder = to_onnx(vae, meta, split.images[train], split.labels[train], settings.vae.mixture)
    figures = check_parity(vae, encoder, decoder, split.images[validation], settings.seed)
    for name, data in (("vae_encoder", encoder), ("vae_decoder", decoder)):
        artifacts.write_bytes(artifacts.onnx_path(name), data)
        figures[f"{name}_bytes"] = len(data)
    artifacts.write_json(artifacts.metrics_path("vae", "export"), figures)
    print(
        f"vae: codes within {figures['parity_codes_within']:g} and logits within "
        f"{figures['parity_logits_within']:g} of torch's (n={figures['parity_pictures']}) → "
        f"{artifacts.onnx_path('vae_encoder')}, {artifacts.onnx_path('vae_decoder')}; try `cnnlab sample`."
    )


if __name__ == "__main__":
    run_command(main)
