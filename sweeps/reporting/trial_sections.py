"""The sections of a report that show trials along their parameters, and images that went wrong."""

import dataclasses
import itertools

import numpy as np

from sweeps.preparing.check_page import PageTable, Picture
from sweeps.reporting.binned import Binned, binned, binned_map
from sweeps.reporting.charts import choice_strips, numeric_scatter
from sweeps.reporting.document import Section
from sweeps.reporting.gathered import Gathered
from sweeps.reporting.matrix import confusion_matrix
from sweeps.reporting.one_trial import confident_errors, confusion_counts
from sweeps.reporting.parallel import parallel_coordinates
from sweeps.reporting.svg import Chart
from sweeps.reporting.thumbnails import small_pictures
from sweeps.results.class_scores import ClassScore, class_scores
from sweeps.results.design import has_log_scale
from sweeps.results.metric import Predicted
from sweeps.space.domains import Categorical, Numeric
from sweeps.space.parameters import Parameter
from trainer.seeds import derive

MOST_PICTURES = 48
MOST_CONFUSIONS = 20
MOST_SCATTERS = 12


def parallel(found: Gathered) -> Section | None:
    """Parallel coordinates of all trials, if there are two."""
    shown = _by_importance(found)
    if not shown or len(found.points) < 2:
        return None
    chart = parallel_coordinates(
        found.points, shown, metric=found.view.metric, goal=found.view.goal
    )
    return Section("parallel", "Parallel coordinates", charts=(chart,))


def parameters(found: Gathered) -> Section | None:
    """Each parameter against the score."""
    shown = _by_importance(found)[:MOST_SCATTERS]
    if not shown or len(found.points) < 2:
        return None
    plane = _plane(found)
    charts = [_against_score(parameter, found) for parameter in shown]
    if plane is not None:
        charts.insert(0, binned_map(plane, metric=found.view.metric, goal=found.view.goal))
    return Section(
        "parameters",
        "Each parameter against the score",
        charts=tuple(charts),
        data=None if plane is None else plane.as_json(),
    )


def _plane(found: Gathered) -> Binned | None:
    """The two most important numbers that enough trials have together, if any explain scores."""
    if not found.statistics.importance.shares:
        return None
    numbers = [each for each in _by_importance(found) if isinstance(each.domain, Numeric)]
    planes = (binned(found.points, *pair) for pair in itertools.combinations(numbers, 2))
    return next((plane for plane in planes if plane is not None), None)


def _against_score(parameter: Parameter, found: Gathered) -> Chart:
    domain, metric = parameter.domain, found.view.metric
    if isinstance(domain, Categorical):
        return choice_strips(parameter.name, domain.values, found.points, metric=metric)
    assert isinstance(domain, Numeric)
    return numeric_scatter(parameter.name, found.points, metric=metric, log=has_log_scale(domain))


def _by_importance(found: Gathered) -> list[Parameter]:
    """The parameters with two values or more that some trial has, the most important first."""
    order = [share.parameter for share in found.statistics.importance.shares]
    varying = [
        parameter
        for parameter in found.statistics.space.varying()
        if any(parameter.name in point.values for point in found.points)
        and not (isinstance(parameter.domain, Categorical) and len(parameter.domain.values) == 1)
    ]
    return sorted(varying, key=lambda p: order.index(p.name) if p.name in order else len(order))


def classes(found: Gathered) -> Section | None:
    """The confusion matrix of the best trial, and the F1 of each class."""
    if found.best is None:
        return None
    number, predicted = found.best
    labels_N = found.folds.manifest.labels_N[found.rows]
    names = found.folds.manifest.classes
    of_best = _class_scores(predicted, found)
    of_ensemble = None if found.ensemble is None else _class_scores(found.ensemble, found)
    table = PageTable(
        "F1 of each class, with 95 % intervals over groups"
        if found.groups_N is not None
        else "F1 of each class, with 95 % intervals over images",
        ("class", "images", f"trial {number}", *(["ensemble"] if of_ensemble else [])),
        tuple(
            (
                name,
                f"{best.images:,}",
                _interval(best),
                *([_interval(of_ensemble[index])] if of_ensemble else []),
            )
            for index, (name, best) in enumerate(zip(names, of_best, strict=True))
        ),
    )
    counts_KK = confusion_counts(predicted, labels_N, n_classes=len(names))
    return Section(
        "classes",
        "Classes",
        charts=tuple(filter(None, [confusion_matrix(counts_KK, names, trial=number)])),
        tables=(table, *_confusions(counts_KK, names, trial=number)),
        data={
            "trial": number,
            "classes": [
                {
                    "class": name,
                    **dataclasses.asdict(best),
                    "ensemble_f1": None if of_ensemble is None else of_ensemble[index].f1,
                }
                for index, (name, best) in enumerate(zip(names, of_best, strict=True))
            ],
        },
    )


def _class_scores(predicted: Predicted, found: Gathered) -> list[ClassScore]:
    manifest = found.folds.manifest
    return class_scores(
        predicted,
        manifest.labels_N[found.rows],
        found.groups_N,
        n_classes=len(manifest.classes),
        seed=derive(0, "report", "classes"),
    )


def _interval(score: ClassScore) -> str:
    return f"{score.f1:.4f} ({score.low:.4f} to {score.high:.4f})"


def _confusions(
    counts_KK: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    names: tuple[str, ...],
    *,
    trial: int,
) -> list[PageTable]:
    """The most frequent mistakes."""
    wrong_KK = counts_KK.copy()
    np.fill_diagonal(wrong_KK, 0)
    order = np.argsort(-wrong_KK, axis=None, kind="stable")[:MOST_CONFUSIONS].tolist()
    cells = [divmod(cell, len(names)) for cell in order]
    rows = tuple(
        (f"{names[actual]} → {names[said]}", f"{wrong_KK[actual, said]:,}")
        for actual, said in cells
        if wrong_KK[actual, said]
    )
    title = f"The most frequent mistakes of trial {trial}"
    return [PageTable(title, ("actual → predicted", "images"), rows)] if rows else []


def errors(found: Gathered) -> Section | None:
    """The images that the best trial predicts wrongly and surely."""
    if found.best is None:
        return None
    number, predicted = found.best
    manifest = found.folds.manifest
    labels_N = manifest.labels_N[found.rows]
    wrong = confident_errors(predicted, labels_N, most=MOST_PICTURES)
    if not wrong:
        return None
    rows = [int(found.rows[index]) for index in wrong]
    seen = small_pictures(manifest, rows, views=found.views)
    pictures, data = [], []
    for index, row in zip(wrong, rows, strict=True):
        actual = manifest.classes[int(labels_N[index])]
        said = manifest.classes[int(predicted.class_N[index])]
        sure = float(predicted.probs_NK[index, predicted.class_N[index]])
        data.append({"path": manifest.paths[row], "actual": actual, "said": said, "sure": sure})
        note = f"{actual}, said {said} {sure:.0%}"
        pictures.append(Picture(seen.get(row), manifest.paths[row], note))
    sentences = (
        f"trial {number} is surest of these wrong answers; it did not train on the images. "
        "`sweeps suspects` looks for wrong labels among them",
    )
    return Section("errors", "Confident errors", sentences, pictures=tuple(pictures), data=data)
