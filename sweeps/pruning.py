"""Which trials to stop before their last fold: pure functions of the stored reports.

A report's value is the mean over the finished folds and the current one, so values at one step compare
the same folds.
"""

import math

import optuna
from optuna.pruners import MedianPruner
from optuna.trial import FrozenTrial

from sweeps.spec import SweepSpec


def stop_reason(study: optuna.Study, trial: FrozenTrial, spec: SweepSpec) -> str | None:
    """Why `trial` should be stopped after its last report, or None to go on.

    Args:
        study: all trials with their reports, the direction included.
    """
    rule = spec.early_terminate
    if rule.type == "none" or trial.last_step is None:
        return None
    if all(map(math.isnan, trial.intermediate_values.values())):
        return "its values are not numbers"
    # Optuna's rule, stateless: the best value so far against the median of completed trials at this step
    pruner = MedianPruner(n_startup_trials=rule.startup_trials, n_warmup_steps=rule.warmup_epochs + 1)
    if not pruner.prune(study, trial):
        return None
    fold, epoch = divmod(trial.last_step - 1, spec.max_epochs)
    return f"median rule: at fold {fold + 1}, epoch {epoch + 1} worse than half of the completed trials"
