"""Make the page that shows everything: `python stages/report.py` writes report/index.html."""

from cnnlab import artifacts, params
from cnnlab.errors import run_command
from cnnlab.report.assemble import assemble
from cnnlab.report.page import render
from cnnlab.report.sources import read


def main() -> None:
    """Read metrics, plots and benchmarks; write the page."""
    settings = params.load()
    data = assemble(read(settings), settings)
    page = render(data)
    artifacts.write_text(artifacts.report_path(), page)
    missing = sum(len(sentences) for sentences in data["notes"].values())
    print(
        f"{artifacts.report_path()}: {len(page) / 1e6:.1f} MB, {len(data['networks'])} networks, "
        f"{missing or 'no'} notes on what is missing; `make report` opens it."
    )


if __name__ == "__main__":
    run_command(main)
