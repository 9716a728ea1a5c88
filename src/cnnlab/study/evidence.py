"""The records of the study as evidence: samples over seeds, the planned looks at them, and verdicts. No torch.

A verdict has three values. A claim *holds* if its interval lies beyond the threshold; it is *refuted* if the interval
lies on the other side, or exceeds the threshold by less than the margin; else it is *open*. Both are decided by
p-values that are corrected for the number of looks (Pocock 1977) and of claims (Holm 1979).
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cnnlab.study.plan import Planned
from cnnlab.study.records import Record
from cnnlab.study.statistics import FEWEST, Estimate, holm

Verdict = Literal["holds", "refuted", "open", "not run"]
LEVEL = 0.05
POCOCK = 0.0294  # the level of each of two equally spaced looks that together have LEVEL (Pocock 1977, table 1)
MARGIN = 0.005  # of accuracy: half a point is too small to matter


@dataclass(frozen=True)
class Look:
    """The records of one planned look: of each run the seeds 0 to N−1 that were planned, and no others."""

    records: Mapping[str, Mapping[int, Record]]

    def values(self, run: str, figure: str) -> list[float]:
        """A figure of each seed, in the order of the seeds."""
        return [figure_of(record, figure) for _, record in sorted(self.records[run].items())]

    def pairs(self, run: str, other: str, figure: str) -> tuple[list[float], list[float]]:
        """A figure of two runs, of the seeds that both have."""
        seeds = sorted(set(self.records[run]) & set(self.records[other]))
        first, second = ([figure_of(self.records[name][seed], figure) for seed in seeds] for name in (run, other))
        return first, second


def figure_of(record: Record, figure: str) -> float:
    """A figure of a record. The gap compares like with like: both parts in evaluation mode, at the end."""
    if figure == "gap":
        return record["evaluated_train_accuracy"] - record["test_accuracy"]
    return record[figure]


@dataclass(frozen=True)
class Part:
    """One comparison of a claim: an estimate that the claim says to lie above the threshold, or below it."""

    text: str
    estimate: Estimate
    threshold: float = 0.0
    above: bool = True
    margin: float = MARGIN
    unit: Literal["points", "share", "factor"] = "points"

    @property
    def p_holds(self) -> float:
        """Of the claim's opposite: small where the interval lies beyond the threshold."""
        return self.estimate.p_beyond(self.threshold, self.above)

    @property
    def p_refuted(self) -> float:
        """Of a claim that is right by more than the margin: small where the interval ends before that."""
        reach = self.threshold + (self.margin if self.above else -self.margin)
        return self.estimate.p_beyond(reach, not self.above)


@dataclass(frozen=True)
class Claim:
    """A claim: the runs that test it and the comparisons that decide it, all of them or any one."""

    name: str
    text: str
    source: str
    rule: str
    runs: tuple[str, ...]
    parts: Callable[[Look], list[Part]]
    needs: Literal["all", "any"] = "all"


@dataclass(frozen=True)
class Finding:
    """What the records say about a claim: its comparisons at the last planned look, corrected p-values, the verdict."""

    claim: Claim
    verdict: Verdict
    parts: list[Part]
    n: int  # seeds of the run that has fewest, at this look
    p: float  # corrected for looks, of the verdict that is nearer
    p_holm: float
    closes: str  # what would close an open claim

    def shown(self) -> list[str]:
        """Each comparison in words."""
        return [f"{part.text}: {describe(part)}" for part in self.parts]


def find(
    claims: Sequence[Claim], plan: Mapping[str, Planned], records: Mapping[str, Mapping[int, Record]]
) -> list[Finding]:
    """The verdict on each claim. Holm's correction is over all claims of the list, run or not."""
    looks = {claim.name: _last_look(claim, plan, records) for claim in claims}
    parts = {claim.name: claim.parts(look) if (look := looks[claim.name]) else [] for claim in claims}
    raw = {claim.name: _p_values(claim, parts[claim.name], plan) for claim in claims}
    adjusted = holm({name: min(pair) for name, pair in raw.items()})
    found = []
    for claim in claims:
        p_holds, p_refuted = raw[claim.name]
        verdict: Verdict = "open"
        if not looks[claim.name]:
            verdict = "not run"
        elif adjusted[claim.name] < LEVEL:
            verdict = "holds" if p_holds <= p_refuted else "refuted"
        look = looks[claim.name]
        n = min(len(look.records[run]) for run in claim.runs) if look else 0
        closes = "" if verdict in ("holds", "refuted") else _what_closes(claim, parts[claim.name], plan, records)
        p = min(raw[claim.name])
        found.append(Finding(claim, verdict, parts[claim.name], n, p, adjusted[claim.name], closes))
    return found


def is_complete(claim: Claim, plan: Mapping[str, Planned], records: Mapping[str, Mapping[int, Record]]) -> bool:
    """Whether the first look of a claim is there."""
    return all(run in plan and set(range(plan[run].seeds)) <= set(records.get(run, {})) for run in claim.runs)


def has_second_look(claim: Claim, plan: Mapping[str, Planned]) -> bool:
    """Whether more seeds are planned for a claim that is open after the first look."""
    return all(run in plan and plan[run].seeds_if_open > plan[run].seeds for run in claim.runs)


def _last_look(claim: Claim, plan: Mapping[str, Planned], records: Mapping[str, Mapping[int, Record]]) -> Look | None:
    """The last look whose seeds are all there; None before the first."""
    if not is_complete(claim, plan, records):
        return None
    sizes = [{run: plan[run].seeds for run in claim.runs}]
    if has_second_look(claim, plan):
        sizes.insert(0, {run: plan[run].seeds_if_open for run in claim.runs})
    for size in sizes:
        if all(set(range(seeds)) <= set(records.get(run, {})) for run, seeds in size.items()):
            return Look({run: {seed: records[run][seed] for seed in range(seeds)} for run, seeds in size.items()})
    return None


def _p_values(claim: Claim, parts: Sequence[Part], plan: Mapping[str, Planned]) -> tuple[float, float]:
    """p of "holds" and of "refuted", corrected for looks; 1 where there is no look yet.

    What needs all parts to hold has the largest of their p-values (Berger 1982), what needs any one of k has k times
    the smallest (Bonferroni).
    """
    if not parts:
        return 1.0, 1.0
    holds, refuted = [part.p_holds for part in parts], [part.p_refuted for part in parts]
    if claim.needs == "all":
        pair = max(holds), len(parts) * min(refuted)
    else:
        pair = len(parts) * min(holds), max(refuted)
    factor = LEVEL / POCOCK if has_second_look(claim, plan) else 1.0
    return min(1.0, factor * pair[0]), min(1.0, factor * pair[1])


def _what_closes(
    claim: Claim, parts: Sequence[Part], plan: Mapping[str, Planned], records: Mapping[str, Mapping[int, Record]]
) -> str:
    """What is still to be run, or how many seeds a difference of this size and spread would take."""
    unknown = [run for run in claim.runs if run not in plan]
    if unknown:
        return f"params.yaml declares no run {unknown[0]}"
    second = is_complete(claim, plan, records) and has_second_look(claim, plan)
    planned = {run: plan[run].seeds_if_open if second else plan[run].seeds for run in claim.runs}
    missing = {run: seeds - len(set(range(seeds)) & set(records.get(run, {}))) for run, seeds in planned.items()}
    if any(missing.values()):
        families: dict[str, int] = {}  # the rates of a run together
        for run, count in missing.items():
            families[run.split("@")[0]] = families.get(run.split("@")[0], 0) + count
        return "to be run: " + ", ".join(f"{name} (seeds: {count})" for name, count in families.items() if count)
    hardest = max(parts, key=lambda part: min(part.p_holds, part.p_refuted))
    needed = _seeds_needed(hardest)
    return f"every planned seed is in; about {needed:,} seeds would decide it" if needed else "every planned seed is in"


def _seeds_needed(part: Part) -> int:
    """Seeds with which an interval of this mean and spread would end at the threshold or the margin; 0: unknown."""
    reach = part.threshold + (part.margin if part.above else -part.margin)
    distance = max(abs(part.estimate.mean - part.threshold), abs(part.estimate.mean - reach))
    if not distance:
        return 0
    return math.ceil(part.estimate.n * (2 * part.estimate.error / distance) ** 2)


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean ± sample standard deviation (n); below three seeds the values themselves."""
    if len(values) < FEWEST:
        return f"{', '.join(f'{value:.{digits}f}' for value in values)} (n = {len(values)})"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f} (n = {len(values)})"


def describe(part: Part) -> str:
    """A part's estimate with its 95 % interval, in its unit, and how often one run beats the other."""
    estimate = part.estimate
    write: dict[str, Callable[[float], str]] = {
        "points": lambda value: f"{100 * value:+.2f}",
        "share": lambda value: f"{value:.3f}",
        "factor": lambda value: f"{math.exp(value):.1f}",
    }
    word = {"points": " points", "share": "", "factor": " times"}[part.unit]
    text = write[part.unit](estimate.mean) + word
    if estimate.n >= FEWEST:
        low, high = estimate.interval()
        text += f" ({write[part.unit](low)} to {write[part.unit](high)})"
    return text if estimate.wins is None else f"{text}, P(A > B) = {estimate.wins:.2f}"


def as_values(finding: Finding) -> dict[str, Any]:
    """A finding for the page, as plain values."""
    return {
        "name": finding.claim.name,
        "text": finding.claim.text,
        "source": finding.claim.source,
        "rule": finding.claim.rule,
        "runs": list(finding.claim.runs),
        "verdict": finding.verdict,
        "figures": finding.shown(),
        "n": finding.n,
        "p": finding.p_holm,
        "closes": finding.closes,
    }
