"""A submission: predictions of new images in a file, and beside it what made them.

    submission.csv            a row per image, or the rows of the template
    submission.json           the models, their weights, the rule, the honest estimate, the images
    submission.probs.npz      ids (paths of the images), probs (N, K) in float32, classes
    submission.skipped.csv    the images that cannot be read, if there are any

Everything that can be wrong with source, template and options is found before anything is
predicted.

Shapes: N images, K classes.
"""

import dataclasses
import datetime
import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sweeps.errors import InputError
from sweeps.paths import SweepFiles, make_folder
from sweeps.results.metric import Predicted as Scored
from sweeps.shipping.ids import examples
from sweeps.shipping.sheets import read_sheet
from sweeps.shipping.shipped import Shipped
from sweeps.shipping.template import (
    NO_OPTIONS,
    Layout,
    TemplateOptions,
    fill,
    lay_out,
    write_submission,
)
from sweeps.space.yaml_file import YamlFile
from trainer.data.options import DataOptions
from trainer.fields.evaluation import Tta
from trainer.files import atomic_write, file_digest, write_csv, write_json
from trainer.metrics import Probs
from trainer.prediction.classes import Classes, LabelColumn
from trainer.prediction.groups import average_groups, constant_columns, group_gain, group_numbers
from trainer.prediction.mixture import Mixture
from trainer.prediction.rows import prediction_header, prediction_rows
from trainer.prediction.unseen import TAKEN, Unseen, read_unseen, table_options

if TYPE_CHECKING:
    from trainer.prediction.predicting import Predicted, Predictor

SUFFIXES = (".csv", ".tsv", ".txt")
LIBRARIES = ("torch", "timm", "numpy", "pillow")
Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a user asks of a submission.

    Attributes:
        source: a folder of images, or a table with their paths.
        out: the file to write.
        template: the file whose form the submission has, or None.
        options: how the template is understood.
        image: the column of the source with the paths, or a pattern; None for that of the training
            data.
        folder: the folders of the source's images; None if its paths are relative to it.
        group: the column of the source's groups, or "folder"; None averages no groups.
        tta: test-time augmentation; None for that of each model's training.
        folds: how many fold models of each member predict; None for all.
        refit: whether the models that were trained on all images predict in place of them.
    """

    source: str
    out: Path
    template: Path | None = None
    options: TemplateOptions = NO_OPTIONS
    image: str | None = None
    folder: Sequence[str] | None = None
    group: str | None = None
    tta: Tta | None = None
    folds: int | None = None
    refit: bool = False

    def beside(self, suffix: str) -> Path:
        """Return the path of another file of the submission, e.g. for ".json"."""
        return self.out.with_suffix(suffix)

    @property
    def work(self) -> Path:
        """The folder with what an interrupted prediction has computed."""
        return self.out.with_name(f".{self.out.name}.work")


@dataclasses.dataclass(frozen=True)
class Averaging:
    """What is averaged over the images of a group.

    Attributes:
        groups_N: the group of each image to be predicted, as a number from 0.
        columns: the label columns that are constant within groups of the training data.
        gain: the metric of the out-of-fold predictions without and with it; None without columns.
    """

    groups_N: npt.NDArray[np.int64]
    columns: Sequence[LabelColumn]
    gain: tuple[float, float] | None

    def of(self, probs_NK: Probs, bad: Sequence[int]) -> Probs:
        """Return the averaged probabilities; images that cannot be read stay out of the groups."""
        groups_N = self.groups_N.copy()
        groups_N[list(bad)] = groups_N.max(initial=0) + 1 + np.arange(len(bad))
        return average_groups(probs_NK, groups_N, self.columns)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A submission before the prediction: what is predicted, and in which form it is written.

    Attributes:
        layout: the form of the template; None for the plain form.
        notes: sentences for the user about how source and template were understood.
    """

    wanted: Wanted
    unseen: Unseen
    classes: Classes
    layout: Layout | None
    averaging: Averaging | None
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Submission:
    """A submission that was written.

    Attributes:
        rows: the rows of the file below its header.
        bad: the reason for each image that cannot be read, by its name.
        mix: for each class its share in the training data and its share of the predictions.
    """

    images: int
    rows: int
    bad: Mapping[str, str]
    mix: Mapping[str, tuple[float, float]]


def check(wanted: Wanted, *, files: SweepFiles) -> None:
    """Refuse mistakes in the user's options, before anything that takes time.

    `prepare` finds those that need the models.

    Args:
        files: the files of the sweep, whose columns the source has.

    Raises:
        InputError, DataError: the output cannot be written, or source or template cannot be read.
    """
    _refuse_bad_out(wanted)
    read_unseen(_options(files, wanted))
    if wanted.template is not None:
        read_sheet(wanted.template)


def prepare(shipped: Shipped, wanted: Wanted, *, files: SweepFiles, boxes: bool) -> Prepared:
    """Read source and template, and check that the submission can be written.

    Args:
        files: the files of the sweep, whose columns the source has.
        boxes: whether a model crops boxes.

    Raises:
        InputError, DataError: the source has no images, columns or boxes; the template does not fit
            it; or groups are unknown.
    """
    unseen = read_unseen(_options(files, wanted), boxes=boxes)
    classes = Classes.of(shipped.folds.manifest)
    layout = None
    notes: list[str] = []
    if wanted.template is None:
        prediction_header(classes, probabilities=wanted.options.probabilities)
    else:
        ids = {"path": unseen.paths, **unseen.columns}
        layout = lay_out(read_sheet(wanted.template), ids, classes, wanted.options)
        notes += layout.notes
    if unseen.missing:
        names = [unseen.paths[row] for row in sorted(unseen.missing)]
        notes.append(
            f"{unseen.source}: {len(names):,} of {len(unseen):,} images do not exist "
            f"({examples(names)})"
        )
    averaging = None if unseen.groups is None else _averaging(shipped, unseen.groups, classes)
    return Prepared(wanted, unseen, classes, layout, averaging, tuple(notes))


def _refuse_bad_out(wanted: Wanted) -> None:
    out = wanted.out
    if out.is_dir():
        raise InputError(
            f"--out {out}: this is a folder. Name a file, e.g. {out / 'submission.csv'}"
        )
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out {out}: a submission is a table; name it e.g. {out.stem}.csv")
    for option, path in (("--source", Path(wanted.source)), ("--template", wanted.template)):
        if path is not None and path.exists() and out.exists() and path.samefile(out):
            raise InputError(f"--out {out}: this is the file of {option}. Name another file")
    make_folder(out.parent, option="--out")


def _options(files: SweepFiles, wanted: Wanted) -> DataOptions:
    """The options of the source: it has the sweep's names of columns."""
    given = YamlFile(files.spec).values.get("data", {})
    taken = {name: given[name] for name in TAKEN if given.get(name) is not None}
    return table_options(
        taken, wanted.source, image=wanted.image, folder=wanted.folder, group=wanted.group
    )


def _averaging(shipped: Shipped, groups: Sequence[str], classes: Classes) -> Averaging:
    """What is averaged over the groups, with its gain on the out-of-fold predictions."""
    folds = shipped.folds
    trained = folds.manifest.groups
    if trained is None:
        raise InputError(
            "--group: the training data have no groups (data.group), so it is not known what the "
            "images of a group share. Leave out --group"
        )
    labels_N = folds.manifest.labels_N
    columns = constant_columns(classes, labels_N, group_numbers(trained))
    gain = None
    if columns:
        rows = folds.scored_rows()
        found = group_gain(
            shipped.oof(),
            labels_N[rows],
            group_numbers([trained[row] for row in rows.tolist()]),
            columns,
            score=lambda probs_NK, labels_M: shipped.metric.score(
                Scored(probs_NK, shipped.mixture.decision.of(probs_NK)), labels_M
            ),
        )
        gain = (found.without, found.averaged)
    return Averaging(group_numbers(groups), columns, gain)


def write(
    prepared: Prepared, predictor: "Predictor", predicted: "Predicted", *, about: dict[str, Any]
) -> Submission:
    """Decide, and write the submission and the files beside it.

    Args:
        about: what made the predictions; it becomes a part of the `.json`.

    Raises:
        DataError: a probability is not a number.
    """
    wanted = prepared.wanted
    unseen = prepared.unseen
    bad = sorted(predicted.bad)
    probs_NK = predicted.probs_NK
    if prepared.averaging is not None:
        probs_NK = prepared.averaging.of(probs_NK, bad)
    prior_K = np.array(predictor.prior_K, dtype=np.float32)
    class_N = predictor.decide(probs_NK, bad)
    for suffix in (".json", ".skipped.csv"):  # those of an earlier submission must not stay
        wanted.beside(suffix).unlink(missing_ok=True)
    if bad:
        lines = [(unseen.lines[row], unseen.paths[row], predicted.bad[row]) for row in bad]
        write_csv(wanted.beside(".skipped.csv"), ("line", "path", "reason"), lines)
    with atomic_write(wanted.beside(".probs.npz")) as file:
        np.savez(
            file,
            ids=np.array(unseen.paths),
            probs=probs_NK,
            classes=np.array(prepared.classes.names),
        )
    _write_table(prepared, class_N, probs_NK, prior_K)
    shares_K = np.bincount(class_N, minlength=len(prior_K)) / len(class_N)
    mix = {
        name: (round(float(trained), 6), round(float(share), 6))
        for name, trained, share in zip(prepared.classes.names, prior_K, shares_K, strict=True)
    }
    layout = prepared.layout
    done = Submission(
        images=len(unseen),
        rows=len(unseen) if layout is None else len(layout.ids),
        bad={unseen.paths[row]: predicted.bad[row] for row in bad},
        mix=mix,
    )
    write_json(wanted.beside(".json"), {**about, **_of_images(prepared, done)})
    return done


def _write_table(
    prepared: Prepared, class_N: npt.NDArray[np.int64], probs_NK: Probs, prior_K: Probs
) -> None:
    out = prepared.wanted.out
    if prepared.layout is not None:
        rows = fill(prepared.layout, class_N, probs_NK, prior_K=prior_K)
        write_submission(out, prepared.layout, rows)
        return
    probabilities = prepared.wanted.options.probabilities
    plain: Iterator[tuple[str, ...]] = prediction_rows(
        prepared.unseen.paths,
        class_N,
        probs_NK,
        classes=prepared.classes,
        probabilities=probabilities,
    )
    header = prediction_header(prepared.classes, probabilities=probabilities)
    write_csv(out, header, plain, separator="\t" if out.suffix.lower() == ".tsv" else ",")


def about(
    shipped: Shipped, mixture: Mixture, predictor: "Predictor", notices: Sequence[str]
) -> dict[str, Any]:
    """Return what makes the predictions, for the `.json`.

    Args:
        mixture: of the members whose weights can be used.
    """
    expected = shipped.expected
    return {
        "foldsweep": importlib.metadata.version("foldsweep"),
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "sweep": shipped.sweep,
        "what": shipped.title,
        "folds_hash": shipped.folds.hash,
        "metric": shipped.metric.name,
        "estimate": None if expected is None else dataclasses.asdict(expected),
        "mixture": mixture.as_json(),
        "models": [
            {
                "member": name,
                "fold": model.header.fold,
                "weights": str(model.weights),
                "digest": model.digest,
                "code": model.code_digest,
                "tta": model.header.config.tta,
            }
            for name, models in predictor.models.items()
            for model in models
        ],
        "given": {name: file_digest(file.path) for name, file in shipped.foreign.items()},
        "notices": list(notices),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in LIBRARIES},
        },
    }


def _of_images(prepared: Prepared, done: Submission) -> dict[str, Any]:
    wanted = prepared.wanted
    averaging = prepared.averaging
    return {
        "source": str(Path(wanted.source).resolve()),
        "images": done.images,
        "template": None if wanted.template is None else str(wanted.template.resolve()),
        "rows": done.rows,
        "ids": wanted.options.ids,
        "codes": wanted.options.codes,
        "tta": wanted.tta or "as trained",
        "folds": wanted.folds,
        "refit": wanted.refit,
        "group": None
        if averaging is None
        else {
            "by": wanted.group,
            "columns": [column.name for column in averaging.columns],
            "gain": averaging.gain,
        },
        "skipped": dict(done.bad),
        "classes": {
            name: {"training": trained, "predicted": share}
            for name, (trained, share) in done.mix.items()
        },
        "digest": file_digest(wanted.out),
        "notes": list(prepared.notes),
    }
