"""`cnnlab sweep`: a grid of settings on all cores, all GPUs or a Dask cluster, as DVC experiments."""

from pathlib import Path
from typing import Annotated

import typer


def sweep(
    settings: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", metavar="KEY=V,V…", help="a setting and its values, as for dvc exp run -S"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=0, max=10_000, help="run each setting with the seeds 0 to N−1")] = 0,
    targets: Annotated[
        list[str] | None,
        typer.Option(help="the stages to run (default: the measurements that the settings change)", metavar="STAGE"),
    ] = None,
    name: Annotated[str, typer.Option(help="what the experiments' names begin with")] = "sweep",
    workers: Annotated[
        int | None, typer.Option(min=1, help="processes here (default: one for each GPU, else for each core)")
    ] = None,
    scheduler: Annotated[str, typer.Option(help="a running Dask scheduler, tcp://HOST:PORT, instead")] = "",
    remote: Annotated[str, typer.Option(help="the DVC remote, by name or URL (default: the project's own)")] = "",
    git: Annotated[
        str, typer.Option(help="a Git URL that every worker reaches and may push to (default: this folder)")
    ] = "",
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="take uncommitted changes along")] = False,
    metric: Annotated[str, typer.Option(help="the figure that is compared")] = "accuracy",
    lower_is_better: Annotated[bool, typer.Option("--lower-is-better", help="the best is the lowest")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="the results as CSV (default: .dvc/tmp/sweep/NAME/results.csv)"),
    ] = None,
) -> None:
    """Run a grid of settings and seeds, each point a DVC experiment of its own; what is finished is not run again."""
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError:
        from cnnlab.core.errors import UserError

        raise UserError("The sweep runs on Dask, which is not installed: pip install 'cnnlab[sweep]'.") from None
    from cnnlab.core import params
    from cnnlab.data.catalogue import check_settings
    from cnnlab.sweep.run import Options, run_sweep

    options = Options(
        settings=settings or [], seeds=seeds, targets=targets or [], name=name, workers=workers, scheduler=scheduler,
        remote=remote, git=git, allow_dirty=allow_dirty, metric=metric, lower_is_better=lower_is_better, output=output,
    )  # fmt: skip
    if run_sweep(Path.cwd(), options, check=lambda path: check_settings(params.load(path))):
        raise typer.Exit(1)
