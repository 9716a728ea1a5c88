"""`cnnlab check`: is params.yaml right, as a whole?"""

import typer


def check(path: str = typer.Argument("params.yaml", help="the file to check")) -> None:
    """Check params.yaml as a whole: every key, type and value, and each architecture's options."""
    from cnnlab import params

    settings = params.load(path)
    from cnnlab.models import check_options

    for name in settings.models:
        check_options(name, settings.options(name))
    print(f"{path} is right: budget {settings.budget}, recipe {settings.recipe}, data set {settings.dataset}.")
