"""`cnnlab study`: the long runs that test the reports' claims."""

from typing import Annotated

import typer


def study(
    runs: Annotated[
        str, typer.Option(help="Runs of params.yaml, separated by commas.", show_default="all of them, in their order")
    ] = "",
    minutes: Annotated[float, typer.Option(min=0, help="Stop after so many; 0: when all is done.")] = 0.0,
    device: Annotated[str, typer.Option(help="As in params.yaml: auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Make the long runs that params.yaml declares under study, and keep a record of each seed in study/.

    What has a record is not made again, and unfinished training continues from its checkpoint. So you can stop it at
    any time (Ctrl-C) and go on with the same command, on another machine too: commit study/ and take it along.
    """
    from cnnlab.core import params
    from cnnlab.study.plan import choose, plan
    from cnnlab.study.session import run_study, summary

    settings = params.load()
    names = [name.strip() for name in runs.split(",") if name.strip()]
    try:
        left = run_study(settings, names, device, minutes)
    except KeyboardInterrupt:
        typer.echo("\nFinished seeds are kept in study/; run the same command again to continue.", err=True)
        raise
    declared = plan(settings)
    for run in choose(declared, names) if names else declared.values():
        typer.echo(summary(run))
    typer.echo(f"{left} seeds are left: the same command goes on." if left else "Every seed planned is in study/.")
