"""Compare all ablations with their baselines in one table and one picture: `python stages/compare.py`."""

from cnnlab.ablation.statistics import FEWEST
from cnnlab.ablation.table import table
from cnnlab.core import artifacts, params
from cnnlab.core.errors import run_command
from cnnlab.figures.ablation import differences


def main() -> None:
    """Read metrics/ablation and models/ablation; write plots/ablation.csv and plots/ablation.png."""
    settings = params.load()
    results = {name: artifacts.read_json(artifacts.metrics_path("ablation", name)) for name in settings.ablations}
    hits = {name: artifacts.read_array(artifacts.ablation_hits_path(name)) for name in settings.ablations}
    rows = table(results, hits, settings.budget)
    artifacts.write_csv(artifacts.ablation_table_path("csv"), rows)
    variants = [row for row in rows if row["change"] and row["rate"] == "usual"]
    seeds = sorted({row["n"] for row in variants})
    kind = "at full scale" if settings.budget == "full" else f"a first look at budget {settings.budget}, not a finding"
    shown = "difference and 95 % interval" if min(seeds, default=0) >= FEWEST else "difference"
    title = f"Ablations, {kind}: {shown}, n = {'/'.join(map(str, seeds)) or 0} seeds, paired"
    artifacts.write_figure(artifacts.ablation_table_path("png"), differences(variants, title))
    print(f"{len(variants)} variants compared with their baselines → {artifacts.ablation_table_path('png')}.")


if __name__ == "__main__":
    run_command(main)
