"""Put all ablations into one table and one picture: `python stages/ablation_table.py`."""

from cnnlab import artifacts, params
from cnnlab.ablation.table import table
from cnnlab.errors import run_command
from cnnlab.figures.ablation import differences


def main() -> None:
    """Read metrics/ablation; write plots/ablations.csv and plots/ablations.png."""
    settings = params.load()
    names = [*settings.baselines, *settings.ablations]
    results = {name: artifacts.read_json(artifacts.metrics_path("ablation", name)) for name in names}
    rows = table(results, settings.budget)
    artifacts.write_csv(artifacts.ablation_table_path("csv"), rows)
    variants = [row for row in rows if row["change"] and row["rate"] == "usual"]
    seeds = sorted({row["n"] for row in variants})
    kind = "at full scale" if settings.budget == "full" else f"a first look at budget {settings.budget}, not a finding"
    title = f"Ablations, {kind}: difference and 95 % interval, n = {'/'.join(map(str, seeds))} seeds, paired"
    artifacts.write_figure(artifacts.ablation_table_path("png"), differences(variants, title))
    print(f"{len(variants)} variants against their baselines → {artifacts.ablation_table_path('png')}.")


if __name__ == "__main__":
    run_command(main)
