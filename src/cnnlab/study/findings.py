"""docs/findings.md and the page's study, from the records: claims with verdicts, runs, and speeds. No torch."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab.core import artifacts
from cnnlab.core.params import Params
from cnnlab.study import records
from cnnlab.study.claims import CLAIMS
from cnnlab.study.evidence import Finding, find, planned_seeds, spread
from cnnlab.study.plan import Planned, plan
from cnnlab.study.records import Record

Runs = Mapping[str, Mapping[int, Record]]
PICTURES = 60_000  # that train Fashion-MNIST's networks
SAME = 1.1  # a ratio of speeds nearer to 1 than this is no difference
FIGURES = ("train_loss", "train_accuracy", "evaluated_train_accuracy", "test_accuracy", "tail_test_accuracy")
SPEED_CLAIMS = (
    ("vgg", "lenet", "VGG trains faster than LeNet although it is larger", "B11"),
    ("lenet", "googlenet", "GoogLeNet is slower than LeNet", "B13"),
)


def speeds() -> dict[str, Any]:
    """The record of benchmarks/training.py: pictures a second of each network on one machine; {} without it."""
    path = artifacts.benchmark_path("training")
    return artifacts.read_json(path) if path.is_file() else {}


def speed_findings(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The claims about speed. They rest on one measurement of one machine: a ratio, without interval and p."""
    found = []
    for fast, slow, text, source in SPEED_CLAIMS:
        verdict, figures = "not run", []
        if fast in measured and slow in measured:
            values = [measured[name]["float32_examples_per_second"] for name in (fast, slow)]
            ratio = values[0] / values[1]
            verdict = "holds" if ratio > SAME else "refuted" if ratio < 1 / SAME else "open"
            figures = [
                f"{fast} {values[0]:,.0f} pictures a second, {slow} {values[1]:,.0f}: {ratio:.2f} times; "
                f"{measured[fast]['device']}, float32"
            ]
        rule = f"on our machine, measured once, the first trains on more than {SAME:g} times as many pictures a second"
        found.append({"text": text, "source": source, "rule": rule, "verdict": verdict, "figures": figures})
    return found


def cost(run: Planned, recorded: Mapping[int, Record], measured: Mapping[str, Any]) -> float:
    """Seconds that one seed takes: the mean of its records, else an estimate from benchmarks/training.py's speeds."""
    if recorded:
        return statistics.mean(record["seconds"] for record in recorded.values())
    if run.network not in measured:
        return 0.0
    seen = run.in_steps(PICTURES).steps * run.run.batch_size
    return seen / measured[run.network]["examples_per_second"]


def table(
    found: Sequence[Finding], runs: Mapping[str, Planned], recorded: Runs, measured: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row for each run: its settings, its recorded and planned seeds, and its figures."""
    rows, planned = [], planned_seeds(found, runs, recorded)
    for name, run in runs.items():
        made = recorded.get(name, {})
        figures = {
            figure: [record[figure] for record in made.values()]
            for figure in (*FIGURES, "examples_per_second", "seconds")
            if made and all(figure in record for record in made.values())
        }
        missing = sum(seed not in made for seed in range(planned[name]))
        rows.append(
            {
                "run": name,
                "network": run.network,
                "recipe": run.recipe,
                "epochs": run.epochs or next((record["epochs"] for record in made.values()), None),
                "rate": run.run.learning_rate,
                "n": len(made),
                "planned": planned[name],
                "figures": figures,
                "machines": machines(made.values()),
                "missing_seconds": cost(run, made, measured) * missing,
            }
        )
    return rows


def machines(found: Any) -> list[str]:
    """Where records were made: device, precision and version of torch."""
    return sorted({f"{each['device']}, {each['precision']}, torch {each['torch']}" for each in found})


def write(settings: Params) -> list[Finding]:
    """Write docs/findings.md from the records; returns the findings."""
    runs = plan(settings)
    recorded = records.read(runs)
    found = find(CLAIMS, runs, recorded)
    artifacts.write_text(artifacts.findings_path(), render(found, runs, recorded, speeds()))
    return found


def render(found: Sequence[Finding], runs: Mapping[str, Planned], recorded: Runs, measured: Mapping[str, Any]) -> str:
    """The whole page, in Markdown."""
    parts = {
        "claims": claim_lines(found) + speed_lines(measured),
        "runs": run_lines(table(found, runs, recorded, measured)),
        "machines": [f"- {line}" for line in machines(r for seeds in recorded.values() for r in seeds.values())],
    }
    return PAGE.format(**{name: "\n".join(lines) or "- none yet" for name, lines in parts.items()}, count=len(found))


def claim_lines(found: Sequence[Finding]) -> list[str]:
    """Each claim with its figures, rule and verdict."""
    lines = [_cells("", "claim", "our figures", "rule", "p, corrected", "verdict"), _cells(*["---"] * 6)]
    for each in found:
        p = f"{each.p_holm:.2g}" if each.parts else ""
        verdict = f"**{each.verdict}**" + (f"; {each.closes}" if each.closes else "")
        lines.append(_cells(each.claim.source, each.claim.text, "; ".join(each.shown()), each.claim.rule, p, verdict))
    return lines


def speed_lines(measured: Mapping[str, Any]) -> list[str]:
    """The claims about speed, as rows of the same table."""
    return [
        _cells(each["source"], each["text"], "; ".join(each["figures"]), each["rule"], "", f"**{each['verdict']}**")
        for each in speed_findings(measured)
    ]


def _cells(*cells: str) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def run_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Each run with its figures, or with what it would cost."""
    lines = [
        "| run | epochs | rate | seeds | training loss | training accuracy | the same, evaluated | test accuracy | "
        "mean of the last five epochs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = row["figures"]
        cells = [spread(figures[name]).split(" (n")[0] if name in figures else "" for name in FIGURES]
        if not row["n"]:
            cells[0] = f"not run: about {row['missing_seconds'] / 60:,.0f} minutes"
        rate, epochs = (f"{row[key]:g}" if row[key] else "" for key in ("rate", "epochs"))
        lines.append(f"| `{row['run']}` | {epochs} | {rate} | {row['n']} of {row['planned']} | {' | '.join(cells)} |")
    return lines


def curves(recorded: Runs) -> list[dict[str, Any]]:
    """The curves of every run, averaged over the seeds, epoch by epoch."""
    found = []
    for name, seeds in recorded.items():
        columns = [record["curve"] for record in seeds.values()]
        means = {
            figure: [round(statistics.mean(point), 4) for point in zip(*(c[figure] for c in columns), strict=True)]
            for figure in columns[0]
        }
        found.append({"run": name, "n": len(seeds), "curve": means})
    return found


PAGE = """# The reports' claims, tested

[reports.md](reports.md) describes the two reports and numbers their 14 claims, which the first column names. This page
splits them into {count} that the study's long runs test, and two about speed. `params.yaml` declares the runs under
`study:`, the folder `study/` has one record for each run and seed, and `cnnlab study` makes what is missing and writes
this page. The small ablation of `dvc repro` is separate: a first look at your own settings, which proves nothing.

How to read the figures:

- Figures are mean ± standard deviation over n seeds; below three seeds, the values themselves. "Points" are percentage
  points of accuracy. Where a validation part is held out, each seed draws its own. Every spread and interval is over
  seeds. All runs share one test set; the maps are of 1,000 pictures of it, the outlines of 500.
- Accuracy is the mean of the test accuracy over the last five epochs, because a constant rate makes single epochs jump.
  The table of runs shows the last epoch too, as the reports do.
- Brackets hold the 95 % interval of a difference. Variants of LeNet share the first weights and the order of the
  pictures and are paired by seed; all others are compared by Welch's test, MyNet with and without normalisation too.
  P(A > B) is how often a run of the first kind beats one of the second: of the same seed where they are paired, else
  over all pairs.
- Three claims are not tested quite as the reports have them. Claim 7 is about small data; ours has all 60,000 pictures.
  Claim 8 says "about in proportion"; ours asks only for growth. That the first convolution keeps the outline is said in
  report B beside its pictures and has no number. The two about speed are of a CPU; the reports' GPUs were not tried.
- The gap is training accuracy minus test accuracy, both in evaluation mode at the end.
- A claim *holds* if the interval lies beyond the threshold. It is *refuted* if the interval lies on the other side, or
  passes the threshold by less than a margin: half a point of accuracy, none for shares, for ratios, for convergence and
  for claims that name a band. Otherwise it is *open*. Where both would apply, the smaller p decides. Until its planned
  seeds are complete it counts as *not run*.
- The p-value decides, not the interval shown: it is corrected for the number of claims (Holm, over the whole list,
  whether run or not) and for the number of looks (Bonferroni). So an interval can lie beyond the threshold while the
  claim is still open. Most claims have two looks: after 5 seeds and, if the claim is still open, after 10. MyNet's have
  them after 3 and 5; runs of hours have one, after 3. A verdict that one look gave stays. Seeds beyond a look do not
  count before the next one.
- Values without any spread have no p-value. Runs that end at chance decide nothing, except about rates and dead
  ReLUs: they say that our rate or the first weights were wrong.
- Networks of report B are judged by its own recipe: plain SGD at a constant rate, Xavier weights, batches of 256, all
  60,000 training pictures. Its rates for VGG, NiN, GoogLeNet and ResNet are not known; ours is 0.1, and 0.01 for
  GoogLeNet, whose loss was not finite at 0.1, 0.05 and 0.02 (seed 0, epochs 8, 9 and 37).

What was known before: an earlier edition of this project had run some of these seeds, with the same results, and had
judged them by simpler rules: `lenet` 0 to 4; `relu`, `batch-norm`, `max-pool` and `kernel-7` 0 to 2; `kernel-3` and
`channels-half` 0 and 1; `lenet-report-50` 0. The rules above and the seeds planned were fixed after that. Nobody had
seen any of the seeds from 5 on, so where a claim has a second look, its figures are given for those seeds alone too.
The runs at several rates got 5 seeds instead of 3, and MyNet a second look, when some of the rates had been run and
before any of MyNet's, because 3 seeds can decide little.

Machines of the records:

{machines}

## Claims

{claims}

## Runs

Runs called `-modern` have the settings of `params.yaml` under recipe `modern` at budget `full`; their weights are those
of the best epoch on validation. All others keep the last epoch. The training loss and accuracy are running means over
the last epoch, as in the reports; "evaluated" is the accuracy in evaluation mode at the end.

{runs}
"""
