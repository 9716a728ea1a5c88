"""Write the page with all results, and the model cards: `python stages/page.py`."""

from cnnlab.core import artifacts, params
from cnnlab.core.errors import run_command
from cnnlab.page.assemble import assemble
from cnnlab.page.card import model_card
from cnnlab.page.live import live
from cnnlab.page.render import render
from cnnlab.page.sources import read


def main() -> None:
    """Read metrics, plots, the exported files and benchmarks; write report/index.html and docs/models/."""
    settings = params.load()
    sources = read(settings)
    for network in sources.networks:
        if network.meta:
            artifacts.write_text(
                artifacts.card_path(network.name),
                model_card(network.meta, network.taps, network.export, network.test, sources.inference),
            )
    data = assemble(sources, settings)
    data["live"], blobs = live(sources.test, data["maps"].get("index", []))
    page = render(data, blobs)
    artifacts.write_text(artifacts.report_path(), page)
    print(
        f"{artifacts.report_path()}: {len(page) / 1e6:.1f} MB, {len(data['networks'])} networks; `make page` opens it."
        + ("" if blobs else " Without its live part: `make page-assets` fetches what it needs.")
    )


if __name__ == "__main__":
    run_command(main)
