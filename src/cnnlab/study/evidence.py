"""The records of the study as evidence: samples over seeds, the planned looks at them, and verdicts. No torch.

A verdict has three values. A claim *holds* if its interval lies beyond the threshold; it is *refuted* if the interval
lies on the other side, or exceeds the threshold by less than the margin; else it is *open*. Both are decided by
p-values that are corrected for the number of planned looks (Bonferroni) and of claims (Holm 1979). Where both would
apply, the smaller p decides. Pocock's correction of two looks (1977) is milder, 1.7 instead of 2, but only exact at a
level of .05: at those that Holm asks for, t-tests of 5 and 10 seeds err up to 1.15 times as often as they may.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cnnlab.ablation.statistics import FEWEST, Estimate, holm
from cnnlab.study.plan import Planned
from cnnlab.study.records import Record

Verdict = Literal["holds", "refuted", "open", "not run"]
Side = Literal["for", "against"]
LEVEL = 0.05
MARGIN = 0.005  # of accuracy: half a point is too small to matter
NO_REFUTATION = -math.inf  # the margin of an estimate that is only known to be at least so large
FAILED = 0.2  # training accuracy at the end, twice that of guessing among ten classes: under it nothing was learned


@dataclass(frozen=True)
class Look:
    """The records of one planned look: of each run the seeds that were planned for it, and no others."""

    records: Mapping[str, Mapping[int, Record]]

    def values(self, run: str, figure: str) -> list[float]:
        """A figure of each seed, in the order of the seeds."""
        return [figure_of(record, figure) for _, record in sorted(self.records[run].items())]

    def pairs(self, run: str, other: str, figure: str) -> tuple[list[float], list[float]]:
        """A figure of two runs, of the seeds that both have."""
        seeds = sorted(set(self.records[run]) & set(self.records[other]))
        first, second = ([figure_of(self.records[name][seed], figure) for seed in seeds] for name in (run, other))
        return first, second

    def failed(self, run: str) -> int:
        """How many seeds of a run learned nothing."""
        return sum(record["evaluated_train_accuracy"] < FAILED for record in self.records[run].values())


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
    """A claim: the runs that test it and the comparisons that decide it, all of them or any one.

    source: the report and the number in docs/reports.md. fails: whether a run that learned nothing is an answer too;
    else no verdict rests on one. early: whether each run is a part of its own, so that those that are in can refute a
    claim of all; `parts` then gives those of the runs that the look has.
    """

    name: str
    text: str
    source: str
    rule: str
    runs: tuple[str, ...]
    parts: Callable[[Look], list[Part]]
    needs: Literal["all", "any"] = "all"
    fails: bool = False
    early: bool = False


@dataclass(frozen=True)
class Finding:
    """What the records say about a claim: its comparisons at the last complete look, corrected p-values, verdict."""

    claim: Claim
    verdict: Verdict
    parts: list[Part]
    later: list[Part]  # the same from the seeds of the second look alone; empty before it
    n: int  # seeds of the run that has fewest, at this look
    p: float  # corrected for looks, of the verdict that is nearer
    p_holm: float
    side: Side  # the claim: what that p speaks for
    closes: str  # what would close an open claim, or what a verdict did not wait for

    def shown(self) -> list[str]:
        """Each comparison in words; the two sides of a band are one."""
        lines = [f"{part.text}: {describe(part)}" for part in self.parts]
        alone = [f"; the seeds of the second look alone {describe(part)}" for part in self.later]
        return list(dict.fromkeys(map("".join, zip(lines, alone or [""] * len(lines), strict=True))))


def find(
    claims: Sequence[Claim], plan: Mapping[str, Planned], records: Mapping[str, Mapping[int, Record]]
) -> list[Finding]:
    """The verdict on each claim. Holm's correction is over all claims of the list, run or not."""
    looks = {claim.name: _looks(claim, plan, records) for claim in claims}
    parts = {claim.name: [claim.parts(look) for look in looks[claim.name]] for claim in claims}
    raw = {claim.name: _p_values(claim, parts[claim.name], len(_sizes(claim, plan))) for claim in claims}
    adjusted = holm({name: min(pair) for name, pair in raw.items()})
    found = []
    for claim in claims:
        look = looks[claim.name][-1] if looks[claim.name] else None
        complete = look is not None and len(look.records) == len(claim.runs)
        p_holds, p_refuted = raw[claim.name]
        failed = _failed(look) if look and not claim.fails else ""
        verdict: Verdict = "open" if complete else "not run"
        side: Side = "for" if p_holds <= p_refuted else "against"
        if adjusted[claim.name] < LEVEL and not failed:
            verdict = "holds" if side == "for" else "refuted"
        shown = parts[claim.name][-1] if look else []
        later = claim.parts(_only_later(*looks[claim.name])) if len(looks[claim.name]) > 1 else []
        n = min(map(len, look.records.values())) if look else 0
        found.append(
            Finding(
                claim, verdict, shown, later, n, min(raw[claim.name]), adjusted[claim.name], side,
                _closes(verdict, failed or _nominal(claim, shown), _missing(claim, plan, records), complete),
            )
        )  # fmt: skip
    return found


def _closes(verdict: Verdict, reason: str, missing: str, complete: bool) -> str:
    """What is said beside a verdict: why a claim is open, and what is still to be run."""
    if verdict in ("open", "not run"):
        return "; ".join(each for each in (reason, missing) if each)
    return "" if complete else f"decided without what is still {missing}"


def planned_seeds(
    found: Sequence[Finding], plan: Mapping[str, Planned], records: Mapping[str, Mapping[int, Record]]
) -> dict[str, int]:
    """The seeds of each run that are planned by now: those of the second look once a claim is open after the first."""
    again = {
        run for each in found if each.verdict == "open" and len(_sizes(each.claim, plan)) > 1 for run in each.claim.runs
    }
    return {
        name: run.seeds_if_open if name in again or len(records.get(name, {})) > run.seeds else run.seeds
        for name, run in plan.items()
    }


def _sizes(claim: Claim, plan: Mapping[str, Planned]) -> list[dict[str, int]]:
    """The seeds of each run at each planned look; no look where a run is not declared."""
    if any(run not in plan for run in claim.runs):
        return []
    first = {run: plan[run].seeds for run in claim.runs}
    second = {run: plan[run].seeds_if_open for run in claim.runs}
    return [first, second] if all(second[run] > first[run] for run in claim.runs) else [first]


def _looks(claim: Claim, plan: Mapping[str, Planned], records: Mapping[str, Mapping[int, Record]]) -> list[Look]:
    """The planned looks whose seeds are all there; where a claim can be refuted early, those of any run are enough."""
    looks = []
    for size in _sizes(claim, plan):
        complete = {
            run: {seed: records[run][seed] for seed in range(seeds)}
            for run, seeds in size.items()
            if set(range(seeds)) <= set(records.get(run, {}))
        }
        if len(complete) == len(size) or (claim.early and complete):
            looks.append(Look(complete))
    return looks


def _only_later(first: Look, second: Look) -> Look:
    """The seeds that the second look added."""
    seeds = {run: set(found) - set(first.records[run]) for run, found in second.records.items()}
    return Look({run: {seed: second.records[run][seed] for seed in seeds[run]} for run in seeds})


def _failed(look: Look) -> str:
    """Which runs have seeds that learned nothing, in words: a mean over them says nothing of the claim."""
    failed = []
    for run, seeds in look.records.items():
        count = look.failed(run)
        failed += [f"{count} of {len(seeds)} seeds of {run}"] if count else []
    return f"training stayed at chance in {' and '.join(failed)}, so no verdict rests on them" if failed else ""


def _p_values(claim: Claim, looks: Sequence[Sequence[Part]], planned: int) -> tuple[float, float]:
    """p of "holds" and of "refuted", corrected for looks; 1 where there is no look yet.

    A verdict stands once one look has given it. What needs all parts to hold has the largest of their p-values
    (Berger 1982), what needs any one of k has k times the smallest (Bonferroni).
    """
    if not looks:
        return 1.0, 1.0
    holds, refuted = zip(*(_of_parts(claim, parts) for parts in looks), strict=True)
    return min(1.0, planned * min(holds)), min(1.0, planned * min(refuted))


def _of_parts(claim: Claim, parts: Sequence[Part]) -> tuple[float, float]:
    missing = [1.0] * (len(claim.runs) - len(parts) if claim.early else 0)
    holds, refuted = [part.p_holds for part in parts] + missing, [part.p_refuted for part in parts] + missing
    if claim.needs == "all":
        return max(holds), len(refuted) * min(refuted)
    return len(holds) * min(holds), max(refuted)


def _nominal(claim: Claim, parts: Sequence[Part]) -> str:
    """Whether the 95 % intervals shown, each by itself, would decide what the corrected p-value leaves open."""
    if not parts:
        return ""
    of_holds, of_refuted = (max, min) if claim.needs == "all" else (min, max)
    holds, refuted = of_holds(part.p_holds for part in parts), of_refuted(part.p_refuted for part in parts)
    if min(holds, refuted) >= LEVEL:
        return ""
    words = "interval speaks" if len(parts) == 1 else "intervals speak"
    return f"the 95 % {words} {'for' if holds <= refuted else 'against'} the claim, the corrected p does not"


def _missing(claim: Claim, plan: Mapping[str, Planned], records: Mapping[str, Mapping[int, Record]]) -> str:
    """The seeds of the next look that are still to be run."""
    unknown = [run for run in claim.runs if run not in plan]
    if unknown:
        return f"params.yaml declares no run {unknown[0]}"
    for size in _sizes(claim, plan):
        families: dict[tuple[str, str], int] = {}  # the rates of a run together
        for run, seeds in size.items():
            missing = sorted(set(range(seeds)) - set(records.get(run, {})))
            if missing:
                key = run.split("@")[0], _seeds_in_words(missing)
                families[key] = families.get(key, 0) + 1
        words = [
            f"{seeds} of {name}{f' at {count} rates' if count > 1 else ''}" for (name, seeds), count in families.items()
        ]
        if words:
            return f"to be run: {', '.join(words)}"
    return "every planned seed is in"


def _seeds_in_words(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


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
        "verdict": finding.verdict,
        "figures": finding.shown(),
        "p": finding.p_holm,
        "side": finding.side,
        "closes": finding.closes,
    }
