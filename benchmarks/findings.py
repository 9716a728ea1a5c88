"""Write docs/findings.md, the reports' claims tested by the full-scale runs: `python benchmarks/findings.py`.

Every figure of that page comes from benchmarks/results/ (full_scale.json, and training.json for speeds). Every verdict
follows from a rule on the figures, which the page states. tests/test_findings.py checks both.
"""

import base64
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.core import artifacts
from cnnlab.core.errors import run_command
from cnnlab.study.statistics import holm, mcnemar, paired_difference

RECORDS, PAGE = Path("benchmarks/results/full_scale.json"), Path("docs/findings.md")
SPEEDS = Path("benchmarks/results/training.json")
NOT_RUN, OPEN, HOLDS, REFUTED = "not run", "open", "holds", "refuted"
MARGIN = 0.005  # of accuracy: a difference that is too small to matter
FEW = "too few common seeds"  # for an interval
Record = dict[str, Any]


class Runs:
    """The recorded runs, by name and seed."""

    def __init__(self, records: list[Record]) -> None:
        self._runs: dict[str, dict[int, Record]] = {}
        for record in records:
            self._runs.setdefault(record["run"], {})[record["seed"]] = record

    def __contains__(self, name: str) -> bool:
        return len(self._runs.get(name, {})) > 0

    def records(self, name: str) -> list[Record]:
        """The runs of one name, ordered by seed."""
        return [record for _, record in sorted(self._runs[name].items())]

    def values(self, name: str, figure: str) -> list[float]:
        """A figure of each seed."""
        return [_figure(record, figure) for record in self.records(name)]

    def mean(self, name: str, figure: str) -> float:
        """The mean of a figure over the seeds."""
        return statistics.mean(self.values(name, figure))

    def shown(self, name: str, figure: str = "test_accuracy") -> str:
        """Mean ± standard deviation (n)."""
        values = self.values(name, figure)
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.3f}{spread} (n = {len(values)})"

    def paired(self, name: str, baseline: str, figure: str = "test_accuracy") -> dict[str, float] | None:
        """The difference paired by seed; None with fewer than two common seeds."""
        common = sorted(set(self._runs[name]) & set(self._runs[baseline]))
        if len(common) < 2:
            return None
        pairs = [[_figure(self._runs[run][seed], figure) for seed in common] for run in (name, baseline)]
        return paired_difference(*pairs) | {"n": len(common)}

    def mcnemar_p(self, name: str, baseline: str) -> float | None:
        """McNemar's p of the first common seed; None where no hits were kept."""
        for seed in sorted(set(self._runs[name]) & set(self._runs[baseline])):
            hits = [_hits(self._runs[run][seed]) for run in (name, baseline)]
            if hits[0] is not None and hits[1] is not None:
                return mcnemar(hits[0], hits[1])["p"]
        return None

    def epochs(self, name: str) -> str:
        """How many epochs the runs had."""
        return " or ".join(sorted({f"{record['epochs']:g}" for record in self.records(name)}))

    def curve(self, name: str, figure: str) -> list[float]:
        """A curve, averaged over the seeds, epoch by epoch."""
        return np.mean([record[f"curve_{figure}"] for record in self._runs[name].values()], axis=0).tolist()


def _figure(record: Record, figure: str) -> float:
    if figure == "gap":
        return record["train_accuracy"] - record["test_accuracy"]
    return record[figure]


def _hits(record: Record) -> np.ndarray | None:
    if "hits" not in record:
        return None
    return np.unpackbits(np.frombuffer(base64.b64decode(record["hits"]), np.uint8))[: record["n_test"]].astype(bool)


@dataclass(frozen=True)
class Claim:
    """A report's claim, the runs that test it, the rule of the verdict, and the function that applies it."""

    text: str
    needs: tuple[str, ...]
    rule: str
    answer: Callable[[Runs], tuple[str, str]]  # the figures as text, and the verdict


def points(difference: dict[str, float] | None) -> str:
    """A paired difference in points, with its interval."""
    if difference is None:
        return f"{FEW} to pair"
    if "low" not in difference:
        return f"{100 * difference['mean']:+.1f} points ({FEW})"
    low, mean, high = (100 * difference[key] for key in ("low", "mean", "high"))
    return f"{mean:+.1f} points ({low:+.1f} to {high:+.1f})"


def above(difference: dict[str, float] | None, threshold: float = 0.0, margin: float = MARGIN) -> bool | None:
    """Whether a difference lies above a threshold: by its interval yes, or no, or not yet known (None).

    Yes: the interval lies above the threshold. No: it lies below it, or exceeds it by less than the margin. An interval
    that holds both the threshold and more than the margin settles nothing, nor do fewer than three pairs.
    """
    if difference is None or "low" not in difference:
        return None
    if difference["low"] > threshold:
        return True
    return False if difference["high"] < threshold + margin else None


def variant_above(runs: Runs, name: str) -> bool | None:
    """Whether a variant of LeNet is better than LeNet: by its interval, and by its p-value after Holm's correction."""
    found = above(runs.paired(name, "lenet"))
    return None if found and adjusted_p(runs)[name] >= 0.05 else found


def adjusted_p(runs: Runs) -> dict[str, float]:
    """The p-values of all of LeNet's variants that have one, after Holm's correction."""
    paired = {name: runs.paired(name, "lenet") for name in VARIANTS if name in runs and "lenet" in runs}
    return holm({name: found["p"] for name, found in paired.items() if found and "p" in found})


def both(*parts: bool | None) -> str:
    """The verdict on a claim of several parts: refuted by one, else open by one, else it holds."""
    return REFUTED if False in parts else OPEN if None in parts else HOLDS


def _relu(runs: Runs) -> tuple[str, str]:
    difference = runs.paired("relu", "lenet")
    text = f"ReLU {runs.shown('relu')}, sigmoid {runs.shown('lenet')}: {points(difference)}"
    return text, both(variant_above(runs, "relu"))


def _relu_20_near_sigmoid_50(runs: Runs) -> tuple[str, str]:
    difference = runs.paired("lenet-report-50", "relu")
    text = f"ReLU, 20 epochs {runs.shown('relu')}; sigmoid, 50 epochs {runs.shown('lenet-report-50')}"
    text += f": {points(difference)}"
    if difference is None or "low" not in difference:
        return text, OPEN
    inside = difference["low"] > -0.02 and difference["high"] < 0.02
    outside = difference["low"] > 0.02 or difference["high"] < -0.02
    return text, HOLDS if inside else REFUTED if outside else OPEN


def _dead(runs: Runs) -> tuple[str, str]:
    shares = {rate: runs.mean(f"relu@{rate:g}", "dead_relus") for rate in RATES}
    text = "share of ReLUs that stay at 0 for 5,000 training pictures, seed 0: "
    text += ", ".join(f"{100 * share:.1f} % at rate {rate:g}" for rate, share in shares.items())
    text += f"; at rate 0.1 {runs.shown('relu', 'dead_relus')}"
    return text, both(max(shares.values()) > 0.01)


def _gap(variant: str, baseline: str = "lenet") -> Callable[[Runs], tuple[str, str]]:
    def answer(runs: Runs) -> tuple[str, str]:
        gap, test = runs.paired(variant, baseline, "gap"), runs.paired(variant, baseline)
        text = (
            f"gap {runs.shown(variant, 'gap')} against {runs.shown(baseline, 'gap')}: {points(gap)}; "
            f"test accuracy {points(test)}"
        )
        return text, both(above(gap))

    return answer


def _channels(runs: Runs) -> tuple[str, str]:
    names = ("channels-half", "lenet", "channels-double", "channels-quadruple")
    text = "half, original, double, quadruple: " + ", ".join(runs.shown(name) for name in names)
    steps = [runs.paired(after, before) for before, after in pairwise(names)]
    grown = [above(step) for step in steps]
    wider = runs.paired("channels-quadruple", "lenet", "gap")
    overfits = above(wider)
    return f"{text}; gap of quadruple minus original: {points(wider)}", both(
        *grown, None if overfits is None else not overfits
    )


def _max_pool(runs: Runs) -> tuple[str, str]:
    difference = runs.paired("max-pool", "lenet")
    text = f"max {runs.shown('max-pool')}, average {runs.shown('lenet')}: {points(difference)}"
    return text, both(variant_above(runs, "max-pool"))


def _kernels(runs: Runs) -> tuple[str, str]:
    large, small = runs.paired("kernel-7", "lenet", "gap"), runs.paired("kernel-7", "kernel-3", "gap")
    text = f"gap of 3×3, 5×5, 7×7: {', '.join(runs.shown(name, 'gap') for name in ('kernel-3', 'lenet', 'kernel-7'))}; "
    tests = ", ".join(runs.shown(name) for name in ("kernel-3", "lenet", "kernel-7"))
    text += f"7×7 against 5×5 {points(large)}, against 3×3 {points(small)}; test accuracy {tests}"
    return text, both(above(large), above(small))


def _mynet_points(runs: Runs) -> tuple[str, str]:
    difference = runs.paired("mynet", "mynet-plain")
    text = f"with {runs.shown('mynet')}, without {runs.shown('mynet-plain')}: {points(difference)}"
    return text, both(above(difference, 0.05))


def _mynet_speed(runs: Runs) -> tuple[str, str]:
    with_norm, without = (runs.curve(name, "validation_accuracy") for name in ("mynet", "mynet-plain"))
    reached = next((epoch + 1 for epoch, value in enumerate(with_norm) if value >= without[-1]), None)
    text = f"the network without ends at a validation accuracy of {without[-1]:.3f} after {len(without)} epochs, "
    if reached is None:
        return text + f"which the other does not reach in {len(with_norm)}", REFUTED
    text += f"which the other reaches in epoch {reached}"
    # The network without still rises at the end, so a longer run could only raise the ratio.
    return text, HOLDS if len(without) >= 10 * reached else OPEN


def _converged(runs: Runs) -> tuple[str, str]:
    curve = runs.curve("lenet-report-50", "train_accuracy")
    text = f"LeNet, sigmoid: training accuracy {curve[19]:.3f} in epoch 20, {curve[-1]:.3f} in epoch {len(curve)}"
    few = len(runs.records("lenet-report-50")) < 3
    return text + "; the other networks: not run", OPEN if few else both(curve[-1] - curve[19] < 0.01)


def _vgg_better(runs: Runs) -> tuple[str, str]:
    difference = runs.paired("vgg-report", "lenet-report-50")
    text = f"VGG {runs.shown('vgg-report')}, LeNet {runs.shown('lenet-report-50')}: {points(difference)}"
    return text, both(above(difference))


def _vgg_fits(runs: Runs) -> tuple[str, str]:
    difference = runs.paired("vgg-report", "lenet-report-50", "gap")
    text = f"gap {runs.shown('vgg-report', 'gap')} against LeNet's {runs.shown('lenet-report-50', 'gap')}: "
    grows = above(difference)
    return text + points(difference), both(None if grows is None else not grows)


def _vgg_fast(_: Runs) -> tuple[str, str]:
    vgg, lenet = (artifacts.read_json(SPEEDS)[name] for name in ("vgg", "lenet"))
    speeds = [record["float32_examples_per_second"] for record in (vgg, lenet)]
    text = f"{vgg['device']}, float32: VGG {speeds[0]:,.0f} pictures a second, LeNet {speeds[1]:,.0f}"
    return text, both(speeds[0] > speeds[1])


def _fair(runs: Runs) -> tuple[str, str]:
    best = {
        name: max(RATES, key=lambda rate, name=name: runs.mean(f"{name}@{rate:g}", "validation_accuracy"))
        for name in ("lenet", "relu")
    }
    text = ", ".join(
        f"{title} {runs.mean(f'{name}@{best[name]:g}', 'test_accuracy'):.3f} at its best rate {best[name]:g}"
        for name, title in (("lenet", "sigmoid"), ("relu", "ReLU"))
    )
    text = f"of the rates {', '.join(f'{rate:g}' for rate in RATES)}, chosen on validation: {text}"
    seeds = min(len(runs.records(f"{name}@{rate:g}")) for name in best for rate in RATES)
    bracketed = all(min(RATES) < rate < max(RATES) for rate in best.values())
    if seeds < 3 or not bracketed:
        return f"{text}; n = {seeds}{'' if bracketed else ', and the best rate is the largest or smallest tried'}", OPEN
    return text, both(best["relu"] != 0.1 or best["lenet"] != 0.9)


RATES = (0.03, 0.1, 0.3, 0.9)
FAIR_RUNS = tuple(f"{name}@{rate:g}" for name in ("lenet", "relu") for rate in RATES)
INTERVAL = "the 95 % interval of the difference, paired by seed, lies above 0"
CORRECTED = f"{INTERVAL}, and p < 0.05 after Holm's correction"
CLAIMS = (
    Claim("ReLU does better than sigmoid (LeNet, 20 epochs)", ("relu", "lenet"), CORRECTED, _relu),
    Claim(
        "ReLU at 20 epochs comes close to sigmoid at 50", ("relu", "lenet-report-50"),
        "the 95 % interval of the paired difference lies within two points of 0", _relu_20_near_sigmoid_50,
    ),
    Claim(
        "Unequal rates (0.9 and 0.1) make that comparison unfair", FAIR_RUNS,
        "one of the two has a better rate than the report gave it, over three seeds and inside the rates tried", _fair,
    ),
    Claim(
        "Some ReLUs die", ("relu", *FAIR_RUNS[4:]), "more than 1 % do at one of the rates tried", _dead,
    ),
    Claim(
        "Batch normalisation over-fits (LeNet)", ("batch-norm", "lenet"), f"for the gap: {INTERVAL}",
        _gap("batch-norm"),
    ),
    Claim(
        "Batch normalisation over-fits (mynet)", ("mynet", "mynet-plain"), f"for the gap: {INTERVAL}",
        _gap("mynet", "mynet-plain"),
    ),
    Claim(
        "Accuracy grows with the channels, without over-fitting",
        ("channels-half", "lenet", "channels-double", "channels-quadruple"),
        f"at every step {INTERVAL}, and the interval of the gap does not", _channels,
    ),
    Claim("Max pooling does better than average pooling", ("max-pool", "lenet"), CORRECTED, _max_pool),
    Claim("Larger kernels over-fit", ("kernel-3", "lenet", "kernel-7"), f"for both gaps: {INTERVAL}", _kernels),
    Claim(
        "Batch normalisation is worth six points in mynet", ("mynet", "mynet-plain"),
        "the 95 % interval of the difference paired by seed lies above 5 points", _mynet_points,
    ),
    Claim(
        "It makes mynet converge ten times faster", ("mynet", "mynet-plain"),
        "it reaches the other's final accuracy in a tenth of the epochs", _mynet_speed,
    ),
    Claim(
        "A third convolution and small kernels alone, without batch normalisation, do not help",
        ("lenet-third-convolution", "lenet"),
        "LeNet with one more 3×3 convolution and nothing else: " + INTERVAL.replace("above", "not above"),
        lambda runs: _no_better(runs, "lenet-third-convolution", "lenet"),
    ),
    Claim("All networks are near convergence by 20 epochs", ("lenet-report-50",),
        "training accuracy gains less than 1 point after epoch 20", _converged,
    ),
    Claim("VGG is better than LeNet", ("vgg-report", "lenet-report-50"), INTERVAL, _vgg_better),
    Claim(
        "VGG does not over-fit", ("vgg-report", "lenet-report-50"),
        "for the gap: the 95 % interval of the difference from LeNet's, paired by seed, does not lie above 0",
        _vgg_fits,
    ),
    Claim(
        "VGG trains faster than LeNet although it is larger", (),
        "VGG trains on more pictures a second", _vgg_fast,
    ),
    Claim(
        "ResNet over-fits: 1.000 in training, .905 outside", ("resnet-report", "lenet-report-50"),
        f"for the gap: {INTERVAL}", _gap("resnet-report", "lenet-report-50"),
    ),
    Claim(
        "NiN does badly", ("nin-report", "lenet-report-50"), "LeNet minus NiN: " + INTERVAL,
        lambda runs: _worse(runs, "nin-report"),
    ),
    Claim(
        "GoogLeNet is no better than LeNet", ("googlenet-report", "lenet-report-50"),
        INTERVAL.replace("above", "not above"), lambda runs: _no_better(runs, "googlenet-report", "lenet-report-50"),
    ),
)  # fmt: skip


def _worse(runs: Runs, name: str) -> tuple[str, str]:
    difference = runs.paired("lenet-report-50", name)
    text = f"{runs.shown(name)} against LeNet's {runs.shown('lenet-report-50')}: LeNet is {points(difference)} better"
    return text, both(above(difference))


def _no_better(runs: Runs, name: str, baseline: str) -> tuple[str, str]:
    difference = runs.paired(name, baseline)
    better = above(difference)
    text = f"{runs.shown(name)} against LeNet's {runs.shown(baseline)}: {points(difference)}"
    return text, both(None if better is None else not better)


VARIANTS = (
    "relu", "tanh", "batch-norm", "kernel-3", "kernel-7", "channels-half", "channels-double", "channels-quadruple",
    "max-pool", "best-together",
)  # fmt: skip


def ablation_lines(runs: Runs) -> list[str]:
    """The table of LeNet's variants, with Holm's correction over those that were run."""
    paired = {name: runs.paired(name, "lenet") for name in VARIANTS if name in runs and "lenet" in runs}
    adjusted = adjusted_p(runs)
    lines = [
        "| variant | test accuracy | gap | difference, paired | p, Holm | McNemar, first seed |",
        "|---|---|---|---|---|---|",
    ]
    if "lenet" in runs:
        lines.append(f"| `lenet`, the baseline | {runs.shown('lenet')} | {runs.shown('lenet', 'gap')} | | | |")
    for name in VARIANTS:
        if name not in paired:
            lines.append(f"| `{name}` | {NOT_RUN} | | | | |")
            continue
        p = f"{adjusted[name]:.2g}" if name in adjusted else ""
        single = runs.mcnemar_p(name, "lenet")
        single_text = "" if single is None else f"{single:.2g}"
        figures = f"{runs.shown(name)} | {runs.shown(name, 'gap')} | {points(paired[name])} | {p} | {single_text}"
        lines.append(f"| `{name}` | {figures} |")
    return lines


SCALE = (
    ("lenet", "sigmoid, rate 0.9, 20 epochs; report B: 0.362, 0.865, 0.840"),
    ("relu", "ReLU, rate 0.1, 20 epochs; report B: 0.270, 0.900, 0.870"),
    ("lenet-report-50", "sigmoid, 50 epochs; report B: 0.254, 0.905, 0.882"),
    ("lenet-modern", "ReLU, batch normalisation, max pooling"),
    ("mynet-modern-20", "20 epochs"),
    ("mynet-modern", "50 epochs"),
    ("vgg-modern-50", "50 epochs, shifts of up to two pixels"),
    ("vgg-modern", "100 epochs, shifts of one pixel"),
    ("nin-modern", ""),
    ("googlenet-modern", ""),
    ("resnet-modern", ""),
    ("vgg-report", "report B: 0.120, 0.955, 0.915"),
    ("nin-report", "report B: 0.491, 0.819, 0.801"),
    ("googlenet-report", "report B: not legible"),
    ("resnet-report", "report B: 0.000, 1.000, 0.905"),
)


def scale_lines(runs: Runs) -> list[str]:
    """The table of whole runs at full scale."""
    lines = [
        "| run | what | training loss | training accuracy | validation accuracy | test accuracy |",
        "|---|---|---|---|---|---|",
    ]
    for name, what in SCALE:
        if name not in runs:
            lines.append(f"| `{name}` | {what} | {NOT_RUN} | | | |")
            continue
        held_out = all("validation_accuracy" in record for record in runs.records(name))
        figures = ["train_loss", "train_accuracy", "validation_accuracy", "test_accuracy"]
        cells = [
            runs.shown(name, key) if key != "validation_accuracy" or held_out else "none held out" for key in figures
        ]
        lines.append(f"| `{name}` | {what} | {' | '.join(cells)} |")
    return lines


def claim_lines(runs: Runs) -> list[str]:
    """Each claim with its figures, rule and verdict."""
    lines = ["| claim | our figures | rule | verdict |", "|---|---|---|---|"]
    for claim in CLAIMS:
        figures, found = claim.answer(runs) if all(name in runs for name in claim.needs) else ("", NOT_RUN)
        lines.append(f"| {claim.text} | {figures} | {claim.rule} | **{found}** |")
    return lines


PAGE_TEXT = """# The reports' claims, tested

[reports.md](reports.md) describes the two reports and numbers their claims. This page tests them with our own runs.

How to read the figures:

- Figures are mean ± standard deviation over n seeds. Where n = 1 there is no spread, and a difference may be chance.
- "Points" are percentage points of accuracy. A difference is paired by seed, with its 95 % interval in brackets.
- The "gap" is training accuracy (the running mean of the last epoch) minus test accuracy.
- A verdict follows from its rule alone. A claim *holds* if its interval lies beyond the threshold. It is *refuted* if
  the interval lies on the other side, or exceeds the threshold by less than half a point. Otherwise it is *open*: the
  runs so far do not settle it. Fewer than three seeds settle nothing; five are planned for each run.
- A variant of LeNet is better only if its p-value is also below 0.05 after Holm's correction over all variants.
- Claims about VGG, NiN, GoogLeNet and ResNet are judged only by runs of the report's own recipe. A claim whose runs are
  missing is *not run*.

LeNet and its variants are trained as in report B: plain SGD at a constant rate, 60,000 pictures, 20 epochs, the last
one kept. MyNet, with and without batch normalisation, has 10 epochs at rate 0.1 with a validation part held out.

`python benchmarks/findings.py` writes this page from `benchmarks/results/full_scale.json`, the record of
`python benchmarks/full_scale.py --runs NAME,… --seeds N`. The speeds are from `training.json`, the record of
`python benchmarks/training.py`. Machines:

{devices}

## Claims

{claims}

## LeNet's ablation

The baseline has sigmoids and rate 0.9; each variant has the rate of its activation (0.9 for sigmoid, 0.1 for the rest).
"Holm" is the p-value of the paired difference after Holm's correction over the variants. McNemar's test compares one
pair of networks on the 10,000 test pictures, and says nothing about other seeds.

{ablation}

## Whole runs at full scale

Runs called `-modern` and `-report` have the settings of `params.yaml` at budget `full` under the recipes `modern` and
`plain`. Each run is measured once on the test set. The three figures of report B are training loss, training accuracy
and test accuracy. The test figures of MyNet and VGG may be slightly optimistic:
[log.md](log.md#the-goals-of-the-first-edition) says how their recipes came about.

{scale}
"""


def render(records: list[Record]) -> str:
    """The whole page."""
    runs = Runs(records)
    parts = {
        "devices": device_lines(records),
        "claims": claim_lines(runs),
        "ablation": ablation_lines(runs),
        "scale": scale_lines(runs),
    }
    return PAGE_TEXT.format(**{name: "\n".join(lines) for name, lines in parts.items()})


def device_lines(records: list[Record]) -> list[str]:
    """The machines of the runs; runs that multiplied in another precision than float32 are named."""
    found: dict[str, set[str]] = {}
    for record in records:
        precision = record.get("settings", {}).get("precision", "float32")  # older records do not say
        line = f"- {record['device']}, torch {record['torch']}, {precision}"
        found.setdefault(line, set()).update(() if precision == "float32" else {record["run"]})
    return [f"{line}: {', '.join(sorted(runs))}" if runs else line for line, runs in sorted(found.items())]


def main() -> None:
    """Read the records and write the page."""
    artifacts.write_text(PAGE, render(json.loads(RECORDS.read_text())))
    print(f"→ {PAGE}")


if __name__ == "__main__":
    run_command(main)
