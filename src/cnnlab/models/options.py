"""The options of every network, ablation and run of the study in params.yaml, checked by the architectures."""

from cnnlab.core.params import Params
from cnnlab.models import check_options


def check_all(settings: Params) -> None:
    """UserError naming the first option that its architecture does not take, and what is allowed. Imports torch."""
    for name in settings.models:
        check_options(name, settings.options(name))
    for name, baseline in settings.baselines.items():
        check_options(name, baseline.options)
    for ablation in settings.ablations.values():
        check_options(ablation.baseline, ablation.change)
    for run in settings.study.runs.values():
        check_options(run.network, settings.study.options[run.network] | run.change)
