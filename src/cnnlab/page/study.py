"""The study for the page: claims with verdicts, runs with figures, and the curves of the long runs."""

from typing import Any

from cnnlab.core.params import Params
from cnnlab.page.sources import Study
from cnnlab.study import findings
from cnnlab.study.claims import CLAIMS
from cnnlab.study.evidence import as_values, find
from cnnlab.study.plan import plan


def study(found: Study, settings: Params) -> dict[str, Any]:
    """What the page shows of the study; `refused` has a sentence for each run whose records are of other settings."""
    runs = plan(settings)
    verdicts = find(CLAIMS, runs, found.records)
    return {
        "claims": [as_values(finding) for finding in verdicts] + findings.speed_findings(found.speeds),
        "runs": findings.table(verdicts, runs, found.records, found.speeds),
        "curves": findings.curves(found.records),
        "refused": found.refused,
    }
