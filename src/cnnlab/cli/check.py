"""`cnnlab check`: is params.yaml right, as a whole?"""

import typer


def check(path: str = typer.Argument("params.yaml", help="the file to check")) -> None:
    """Check params.yaml as a whole: every key, type and value, and the options of each architecture and ablation."""
    from cnnlab.core import params
    from cnnlab.data.catalogue import check_settings
    from cnnlab.data.own import check_folder, own_folder

    settings = params.load(path)
    check_settings(settings)
    for dataset in (settings.dataset, settings.vae.dataset):
        if folder := own_folder(settings, dataset):
            check_folder(folder)
    from cnnlab.models import check_options

    for name in settings.models:
        check_options(name, settings.options(name))
    for name, baseline in settings.baselines.items():
        check_options(name, baseline.options)
    for ablation in settings.ablations.values():
        check_options(ablation.baseline, ablation.change)
    print(f"{path} is right: budget {settings.budget}, recipe {settings.recipe}, data set {settings.dataset}.")
