"""Tell DVC which pictures to watch, if the settings name the user's own: `python stages/source.py`."""

from cnnlab.core import artifacts, params
from cnnlab.core.errors import run_command
from cnnlab.data.catalogue import check_settings
from cnnlab.data.own import check_folder, lay, own_folder


def main() -> None:
    """Write data/sources/DATASET and data/sources/vae."""
    settings = params.load()
    check_settings(settings)
    folders = {name: own_folder(settings, name) for name in (settings.dataset, settings.vae.dataset)}
    for folder in folders.values():
        if folder:
            check_folder(folder)
    lay(artifacts.source_path(settings.dataset), folders[settings.dataset])
    lay(artifacts.source_path("vae"), folders[settings.vae.dataset])
    watched = sorted({str(folder) for folder in folders.values() if folder})
    print(f"DVC watches {' and '.join(watched)}." if watched else "The data sets are published ones: nothing to watch.")


if __name__ == "__main__":
    run_command(main)
