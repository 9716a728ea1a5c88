"""Stage download: get the data set that params.yaml names, check it, and write it as arrays."""

import typer

from cnnlab import artifacts, params
from cnnlab.data.fetch import fetch
from cnnlab.errors import UserError


def main() -> None:
    """Write data/DATASET/ from the first source that has it."""
    try:
        settings = params.load()
        fetched = fetch(settings.dataset, settings.folder, budget=settings.budget, seed=settings.seed)
        artifacts.save_dataset(fetched.info, fetched.train, fetched.test)
    except UserError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    for note in fetched.notes:
        typer.echo(f"note: {note}", err=True)
    channels, height, width = fetched.info.shape
    typer.echo(
        f"{artifacts.dataset_dir(fetched.info.name)}: {len(fetched.train.labels):,} training and "
        f"{len(fetched.test.labels):,} test pictures of {channels}x{height}x{width} in "
        f"{len(fetched.info.class_names)} classes, from {fetched.origin}; next: `dvc repro` trains on them."
    )


if __name__ == "__main__":
    typer.run(main)
