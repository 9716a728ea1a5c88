"""`cnnlab sweep`: a grid of settings on all cores, all GPUs or a Dask cluster, as DVC experiments."""

from pathlib import Path
from typing import Annotated

import typer


def sweep(
    settings: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", metavar="KEY=V,V…", help="A setting and its values, as for dvc exp run -S."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=0, max=10_000, help="Run each setting with the seeds 0 to N−1.")] = 0,
    targets: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE", help="A stage to run. Default: the measurements that the settings change."),
    ] = None,
    name: Annotated[str, typer.Option(help="Prefix of the experiments' names.")] = "sweep",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes on this machine. Default: two per GPU, else one per core if memory allows."
        ),
    ] = None,
    scheduler: Annotated[str, typer.Option(help="Use this running Dask scheduler, tcp://HOST:PORT.")] = "",
    remote: Annotated[str, typer.Option(help="The DVC remote, by name or URL. Default: the project's.")] = "",
    git: Annotated[
        str, typer.Option(help="A Git URL that every worker can read and push to. Default: this folder.")
    ] = "",
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Include uncommitted changes.")] = False,
    metric: Annotated[str, typer.Option(help="The metric to compare the settings by.")] = "accuracy",
    lower_is_better: Annotated[bool, typer.Option("--lower-is-better", help="The lowest figure is the best.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the results here as CSV. Default: in the sweep's own folder."),
    ] = None,
) -> None:
    """Run a grid of settings and seeds. Each point is a DVC experiment; finished points are not run again.

    The sweep keeps its logs and results in .dvc/tmp/sweep/NAME/.
    """
    from cnnlab.core.errors import UserError

    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(
            "The sweep runs on Dask, which is not installed: in a clone, `pip install -e '.[sweep]'`."
        ) from None
    from cnnlab.cli.check import load_checked
    from cnnlab.sweep.run import Options, run_sweep

    options = Options(
        settings=settings or [], seeds=seeds, targets=targets or [], name=name, workers=workers, scheduler=scheduler,
        remote=remote, git=git, allow_dirty=allow_dirty, metric=metric, lower_is_better=lower_is_better, output=output,
    )  # fmt: skip
    try:
        failed = run_sweep(Path.cwd(), options, check=load_checked)
    except KeyboardInterrupt:
        typer.echo("\nFinished points are kept; run the same command again to continue.", err=True)
        raise
    if failed:
        raise typer.Exit(1)
