"""The metric of a stored sweep as a function of predictions and labels."""

from sweeps.paths import SweepFiles
from sweeps.results.metric import Metric
from sweeps.results.view import SweepView
from sweeps.space.spec import result_field, user_metric
from trainer.data.folds import Folds


def metric_of(view: SweepView, files: SweepFiles, folds: Folds) -> Metric:
    """Return the sweep's metric.

    For `valid/loss` this is the log loss, because each trial has its own loss function. A user's
    function is loaded from the sweep's frozen copy of its file.

    Args:
        files: the sweep's directory.
    """
    reference = user_metric(view.metric)
    if reference is None:
        return Metric.named(result_field(view.metric), view.goal)
    return Metric.of_user(reference, view.goal, code=files.code, classes=folds.manifest.classes)
