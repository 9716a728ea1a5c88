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


def cost(run: Planned, runs: Mapping[str, Planned], recorded: Runs, measured: Mapping[str, Any]) -> float:
    """Seconds that one seed takes, as far as is known.

    The mean of the run's records, else by the pictures a second of other runs of its network, else by those of
    benchmarks/training.py.
    """
    if recorded.get(run.name):
        return statistics.mean(record["seconds"] for record in recorded[run.name].values())
    others = [
        record for name, made in recorded.items() if runs[name].network == run.network for record in made.values()
    ]
    seen = run.in_steps(PICTURES).steps * run.run.batch_size
    if others:
        return seen * statistics.median(each["seconds"] / (each["epochs"] * each["n_train"]) for each in others)
    return seen / measured[run.network]["examples_per_second"] if run.network in measured else 0.0


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
                "missing_seconds": cost(run, runs, recorded, measured) * missing,
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
    letters = {
        line: chr(ord("A") + i) for i, line in enumerate(machines(r for s in recorded.values() for r in s.values()))
    }
    parts = {
        "claims": claim_lines(found) + speed_lines(measured),
        "runs": run_lines(table(found, runs, recorded, measured), letters),
        "machines": [f"- {letter}: {line}" for line, letter in letters.items()],
    }
    return PAGE.format(**{name: "\n".join(lines) or "- none yet" for name, lines in parts.items()}, count=len(found))


def claim_lines(found: Sequence[Finding]) -> list[str]:
    """Each claim with its figures, rule and verdict."""
    lines = [_cells("", "claim", "our figures", "rule", "p, corrected", "verdict"), _cells(*["---"] * 6)]
    for each in found:
        p = f"{each.p_holm:.2g} {each.side}" if each.parts else ""
        verdict = f"**{each.verdict}**" + (f"; {each.closes}" if each.closes else "")
        figures = "<br>".join(each.shown())
        lines.append(_cells(each.claim.source, each.claim.text, figures, each.claim.rule, p, verdict))
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


def run_lines(rows: Sequence[dict[str, Any]], letters: Mapping[str, str]) -> list[str]:
    """Each run with its figures and the letters of its machines, or with what it would cost."""
    lines = [
        _cells("run", "epochs", "rate", "seeds", "machine", "training loss", "training accuracy", "the same, evaluated",
               "test accuracy", "mean of the last five epochs"),
        _cells(*["---"] * 10),
    ]  # fmt: skip
    for row in rows:
        figures = row["figures"]
        cells = [spread(figures[name]).split(" (n")[0] if name in figures else "" for name in FIGURES]
        if not row["n"]:
            cells[0] = f"not run: about {row['missing_seconds'] / 60:,.0f} minutes"
        rate, epochs = (f"{row[key]:g}" if row[key] else "" for key in ("rate", "epochs"))
        where = ", ".join(letters[line] for line in row["machines"])
        lines.append(_cells(f"`{row['run']}`", epochs, rate, f"{row['n']} of {row['planned']}", where, *cells))
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

## How to read the figures

**Figures** are mean ± standard deviation over n seeds; below three seeds, the values themselves.

- Accuracy is the mean of the test accuracy over the last five epochs, because a constant rate makes single epochs jump.
  The table of runs shows the last epoch too, as the reports do. "Points" are percentage points of accuracy.
- The gap is training accuracy minus test accuracy, both in evaluation mode at the end.
- All runs share one test set; the maps are of 1,000 pictures of it, the outlines of 500. Where a validation part is
  held out, each seed draws its own.
- Brackets hold 95 % intervals over seeds: of a difference, a mean, a share or a ratio.
- Variants of LeNet have the same order of the pictures and, where their layers have the same shapes, the same first
  weights. They are paired by seed. All others are compared by Welch's test, MyNet with and without normalisation too.
- P(A > B) is how often a run of the first kind beats one of the second, ties counted half: of the same seed where they
  are paired, else over all pairs.
- A ratio of epochs is of the first epochs whose test accuracy reaches the level, by their logarithms. What an accuracy
  gains after epoch 20 is the running training accuracy of epoch 50 minus that of epoch 20.
- The outline is of `lenet-report-50`: the share of its maps' variance (R²) that the picture and its edges explain. A
  map by t-SNE has perplexity 30 and 500 iterations unless the claim says otherwise.

**Verdicts.** A claim *holds* if the interval lies beyond the threshold. It is *refuted* if the interval lies on the
other side of the threshold, or of the threshold moved half a point further: then the claim is wrong, or right by too
little to matter. Shares, ratios, silhouettes, convergence and "within two points" have no such margin. Otherwise the
claim is *open*, and *not run* while planned seeds are missing. A small effect that is surely there can meet both rules;
the smaller p decides.

**p** decides, not the interval shown, so an interval can lie beyond the threshold while the claim is still open.

- It is two-sided, and 1 where the mean lies on the wrong side of the threshold or values have no spread. The column
  shows the smaller of the p-values for and against the claim.
- Of a claim with k parts that needs all of them, the p for it is the largest part's, and the p against it is k times
  the smallest. Of a claim that needs any one, it is the other way round.
- Most claims have two looks: after 5 seeds and, if the claim is still open, after 10. MyNet's have them after 3 and 5.
  Claims with a run of hours have one, after 3 seeds of it, and so have those about rates, after 5. Where two runs are
  compared, each has the seeds planned for that look.
- p is the smallest of the looks made, times the number of looks planned (Bonferroni). So a verdict of the first look
  stays when another claim needs the seeds of the second; the figures are then those of the second look. Seeds beyond a
  look do not count before the next one.
- It is corrected for the number of claims by Holm's method, over these {count}. One that is not run counts as p = 1. A
  verdict near 0.05 can change as others get theirs.
- That all networks converge is refuted as soon as one does not; a network that is not in counts as p = 1.
- No verdict rests on runs that learned nothing, whose training accuracy is under 0.2 at the end: they say that our rate
  or the first weights were wrong. The claims about rates and dead ReLUs are the exception, and name such runs.

**What is tested is not always what the reports say.**

- A1: "six points" is tested as "more than five". A2: the report has its own network in mind; ours is LeNet with
  sigmoids. A4: that Shirt has a silhouette below 0, not that it is the only class or the worst.
- B: the report says it beside its pictures and has no number. The threshold of one half is ours, and a network that
  learned nothing can reach it too.
- B5, unequal rates: that one of the two gains by another rate, not that the order of the two would change. Dead ReLUs:
  at any of the rates; the report's is 0.1.
- B6: where both networks reach a training accuracy of 1, as MyNet does, the gap says the same as the accuracy.
- B7 is about small data; ours has all 60,000 pictures. B8 says "about in proportion"; ours asks only for growth. B10 is
  about all networks; the part about LeNet alone is ours.
- B11, speed: pictures a second. The report's VGG makes fewer of them than its LeNet too, yet needs fewer seconds in
  all. The reports' GPUs were not tried; the speeds are of a CPU, measured once over the pictures that
  docs/performance.md names.
- B12: that NiN is worse by any amount, both after 20 epochs; the report has 50. B14: the gap, not its two figures.
- Networks of report B are judged by its own recipe: plain SGD at a constant rate, Xavier weights, batches of 256, all
  60,000 training pictures (54,000 where rates are compared). Its rates for VGG, NiN, GoogLeNet and ResNet are not
  known; ours is 0.1, and 0.01 for GoogLeNet, whose loss was not finite at 0.1, 0.05 and 0.02 (seed 0, epochs 8, 9 and
  37).

**What was known before.** An earlier edition of this project had run some of these seeds, with the same results, and
had judged them by simpler rules: `lenet` 0 to 4; `relu`, `batch-norm`, `max-pool`, `kernel-7` and `tanh` 0 to 2;
`kernel-3`, `channels-half`, `channels-double` and `best-together` 0 and 1; `channels-quadruple`, `lenet-report-50` and
`lenet-modern` 0; and with seed 0 some rates of sigmoid from 0.03 to 0.9 and of ReLU from 0.03 to 0.9, where training
failed. Of MyNet it had run 10 epochs, three seeds with and without normalisation: +1.9 points (-0.4 to +4.1). The
claims and the seeds planned were fixed after that, and before any of the seeds from 5 on. So where a claim has a second
look, its figures are given for those seeds alone too.

The rules were changed twice since, and the changes are in Git. When the first five seeds of nine of LeNet's runs and
some rates were in, and none of MyNet's: Bonferroni instead of Pocock for the looks; a verdict of the first look stays;
no verdict from runs that learned nothing; 5 seeds instead of 3 for the rates, and a second look for MyNet. When every
claim but those about NiN and GoogLeNet had had its first look: that all networks converge can be refuted early, and the
ratios of MyNet's epochs are compared by Welch's test, as this page said before, and not by pairs.

Machines of the records:

{machines}

## Claims

{claims}

## Runs

Runs called `-modern` have the settings of `params.yaml` under recipe `modern` at budget `full`; their figures are those
of the best epoch on validation. All others keep the last epoch. The training loss and accuracy are running means over
that epoch, as in the reports; "evaluated" is the accuracy in evaluation mode. The minutes
of a run that has no record follow from other runs of its network or, for NiN, from `benchmarks/results/training.json`
(two threads).

{runs}
"""
