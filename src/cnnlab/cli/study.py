"""`cnnlab study`: the long runs that test the reports' claims."""

from typing import Annotated

import typer


def study(
    runs: Annotated[
        str,
        typer.Option(
            help="Runs to make, as named in params.yaml, separated by commas.",
            show_default="all of them, in their order",
        ),
    ] = "",
    minutes: Annotated[float, typer.Option(min=0, help="Stop after this many minutes; 0 means no limit.")] = 0.0,
    findings: Annotated[
        bool, typer.Option("--findings", help="Only write docs/findings.md from the records; start no runs.")
    ] = False,
    device: Annotated[str, typer.Option(help="As in params.yaml: auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Make the long runs that params.yaml declares under study, keep a record of each seed in study/, and write
    docs/findings.md from all of them.

    A seed that has a record is not run again, and unfinished training continues from its checkpoint. So you can stop at
    any time (Ctrl-C) and continue with the same command, on another machine too: commit study/ and pull it there.
    """
    from cnnlab.core import artifacts, params
    from cnnlab.study import findings as page
    from cnnlab.study.plan import choose, plan

    settings = params.load()
    declared = plan(settings)
    chosen = choose(declared, [name.strip() for name in runs.split(",") if name.strip()] or list(declared))
    left = 0
    if not findings:
        from cnnlab.study.session import run_study, summary

        try:
            left = run_study(settings, [run.name for run in chosen], device, minutes)
        except KeyboardInterrupt:
            typer.echo("\nFinished seeds are kept in study/; run the same command again to continue.", err=True)
            raise
        for run in chosen:
            typer.echo(summary(run))
    verdicts = [each.verdict for each in page.write(settings)]
    words = {"holds": "hold", "refuted": "are refuted", "open": "are open", "not run": "are not run"}
    counts = ", ".join(f"{verdicts.count(kind)} {word}" for kind, word in words.items())
    typer.echo(f"{artifacts.findings_path()}: {len(verdicts)} claims, of which {counts}.")
    if not findings:
        typer.echo(f"{left} seeds are left: run the command again." if left else "Every planned seed is in study/.")
