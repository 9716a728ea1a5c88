"""Store a network's inner features of test pictures and draw its feature maps: `python stages/features.py mynet`."""

import typer

from cnnlab import artifacts, features, params
from cnnlab.errors import run_command
from cnnlab.figures.feature_maps import DPI, feature_maps, first_filters
from cnnlab.inference import Model

CHANNELS, ROWS = 16, 10  # of a convolution, and pictures, that are shown


def main(architecture: str = typer.Argument(help="as in params.yaml under models")) -> None:
    """Run the features file in onnxruntime: three layers to features/, the convolutions' maps and filters to plots/."""
    settings = params.load()
    test = artifacts.load_split(settings.dataset, "test")
    path = artifacts.onnx_path(architecture, "features")
    model = Model.load(path)
    layers, name = model.meta["embed_layers"], model.meta["title"]
    folder, plots = artifacts.features_dir(architecture), artifacts.feature_plots_dir(architecture)

    chosen = features.choose(test.labels, settings.embed.at(settings.budget).pictures, settings.seed)
    features.store(folder, model.outputs(test.images[chosen], layers), layers, len(chosen))
    artifacts.write_array(folder / "index.npy", chosen)
    artifacts.write_array(folder / "labels.npy", test.labels[chosen])
    about = {"title": name, "layers": layers, "class_names": model.class_names, "dataset": settings.dataset}
    artifacts.write_json(folder / "features.json", about)

    shown = features.one_of_each_class(test.labels)[:ROWS]
    names = [model.class_names[label] for label in test.labels[shown]]
    for layer, maps in next(model.outputs(test.images[shown], model.meta["map_layers"])).items():
        channels = features.most_varied(maps, CHANNELS)
        heading = f"{name}: {layer}, before its activation"
        figure = feature_maps(test.images[shown], maps[:, channels], channels, maps.shape[1], names, heading)
        artifacts.write_figure(plots / f"{layer}.png", figure, dpi=DPI)
    filters = first_filters(features.first_filters(path), f"{name}: the filters of the first convolution")
    artifacts.write_figure(plots / "filters.png", filters, dpi=DPI)
    print(f"{architecture}: {', '.join(layers)} of {len(chosen)} test pictures → {folder}; feature maps → {plots}.")


if __name__ == "__main__":
    run_command(main)
