"""From what ships to a submission: find the fold models, predict the images, write the files."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.paths import SweepFiles
from sweeps.shipping.members import Found, all_models, find_models, loaded, settle
from sweeps.shipping.shipped import Shipped
from sweeps.shipping.submission import Averaging, Submission, Wanted, about, prepare, write
from trainer.metrics import Probs
from trainer.prediction.mixture import Mixture
from trainer.prediction.store import Store
from trainer.prediction.unseen import Unseen

if TYPE_CHECKING:
    from trainer.prediction.predicting import Answer, Plan, Predictor, Progress

Compute = Callable[["Plan", Store], Iterator["Answer"]]
Say = Callable[[str], None]


def make_submission(
    shipped: Shipped,
    wanted: Wanted,
    *,
    files: SweepFiles,
    kept: Callable[[], Sequence[int]],
    say: Say,
    compute: Compute,
) -> Submission:
    """Predict the images of the source and write the submission.

    What a killed call has computed is used by the next one, and removed at the end.

    Args:
        files: the files of the sweep.
        kept: see `settle`.
        say: is given sentences that the user should know before the prediction begins.
        compute: predicts the chunks, here or on other machines.

    Raises:
        InputError, TrainerError: see `settle`, `prepare` and `plan_of`.
    """
    from trainer.prediction.predicting import mix, needs_boxes, plan_of

    found = find_models(shipped, refit=wanted.refit)
    settle(shipped, found, kept=kept)
    prepared = prepare(shipped, wanted, files=files, boxes=needs_boxes(all_models(found.values())))
    given = given_by(shipped, prepared.unseen)
    found = loaded(found, most=wanted.folds)
    mixture, notices = settle(shipped, found, kept=kept)
    said = [*prepared.notes, *notices]
    said += _other_models(wanted, shipped)
    if prepared.averaging is not None:
        said.append(_gain(prepared.averaging, shipped.metric.name))
    for text in said:
        say(text)
    predictor = predictor_of(shipped, mixture, found, given)
    plan = plan_of(predictor, prepared.unseen, tta=wanted.tta)
    store = Store(wanted.work)
    predicted = mix(predictor, prepared.unseen, compute(plan, store))
    facts = about(shipped, mixture, predictor, notices)
    done = write(prepared, predictor, predicted, about=facts)
    store.remove()
    return done


@contextlib.contextmanager
def computing(
    *, address: str | None, device: str, files: SweepFiles, source: str
) -> Iterator[Callable[["Progress"], Compute]]:
    """Choose where the chunks are predicted: in this process, or on a Ray cluster.

    Args:
        address: the address of the cluster; None for this process.
        device: "auto", "cpu" or "cuda".
        files: the files of the sweep, which every node of the cluster must see.
        source: the folder or table of the images, which every node must see, too.

    Yields:
        a function that takes the progress and returns what predicts the chunks.

    Raises:
        InputError: the cluster cannot be joined, or a node sees other files.
        ConfigError: there is no such device.
    """
    if address is None:
        from trainer.prediction.predicting import answers
        from trainer.training.fit import pick_device

        chosen = pick_device(device)
        yield (
            lambda progress: (
                lambda plan, store: answers(plan, device=chosen, store=store, progress=progress)
            )
        )
        return
    from sweeps.ray_tune.addresses import chosen_address
    from sweeps.ray_tune.cluster import ray_cluster
    from sweeps.ray_tune.predicting import answers_on_ray
    from sweeps.ray_tune.probe import probe_nodes

    with ray_cluster(chosen_address(address)) as cluster:
        probe_nodes(cluster, directory=files.directory, paths=[Path(source).resolve()])
        yield (
            lambda progress: (
                lambda plan, store: answers_on_ray(
                    plan, store, cluster=cluster, device=device, progress=progress
                )
            )
        )


def given_by(shipped: Shipped, unseen: Unseen) -> Mapping[str, Probs]:
    """Return the probabilities of the images that files of foreign predictions have, by member.

    Raises:
        InputError: a file has no predictions of an image.
    """
    classes = shipped.folds.manifest.classes
    return {
        name: file.test_probs_for(unseen.paths, classes) for name, file in shipped.foreign.items()
    }


def predictor_of(
    shipped: Shipped, mixture: Mixture, found: Found, given: Mapping[str, Probs]
) -> "Predictor":
    """Return the mixture with the fold models of its members."""
    from trainer.prediction.predicting import Predictor

    names = [member.name for member in mixture.members]
    models = {name: found[name].models for name in names if name in found}
    return Predictor(mixture, models, shipped.prior_K, given)


def _other_models(wanted: Wanted, shipped: Shipped) -> list[str]:
    """What it means that not all fold models predict."""
    if wanted.refit:
        return [
            "models trained on all images predict, which have no score of their own: the honest "
            "estimate is that of the fold models with the same configurations"
        ]
    k = shipped.folds.k
    if wanted.folds is None or wanted.folds >= k:
        return []
    return [
        f"{wanted.folds} of {k} fold models of each trial: to a single trial the average of {k} "
        "fold models is worth 1 to 3 points, to an ensemble less (simulated, and on digits)"
    ]


def _gain(averaging: Averaging, metric: str) -> str:
    if averaging.gain is None:
        return (
            "--group: no label column is constant within the groups of the training data, so "
            "nothing is averaged"
        )
    names = ", ".join(column.name for column in averaging.columns)
    before, after = averaging.gain
    return (
        f"--group: {names} averaged over each group; on the out-of-fold predictions {metric} goes "
        f"from {before:.4f} to {after:.4f} ({after - before:+.4f})"
    )
