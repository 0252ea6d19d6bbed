"""`sweeps pack`: write what a sweep ships into a folder that needs the package `trainer` only."""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sweeps.errors import InputError
from sweeps.paths import SweepFiles, make_folder
from sweeps.shipping.members import find_models, loaded, settle
from sweeps.shipping.model_card import card_of, model_card
from sweeps.shipping.shipped import Shipped
from sweeps.space.yaml_file import YamlFile
from trainer.images.manifest import write_label_map
from trainer.prediction.classes import Classes
from trainer.prediction.unseen import TAKEN

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class PackOptions:
    """What a user asks of a packed model.

    Attributes:
        out: the folder to write.
        refit: pack the models that were trained on all images, in place of the fold models.
        onnx: write each model as an ONNX file, too.
        force: replace an earlier packed model.
    """

    out: Path
    refit: bool = False
    onnx: bool = False
    force: bool = False


@dataclasses.dataclass(frozen=True)
class Written:
    """A packed model that was written.

    Attributes:
        models: the number of models in it.
        size_bytes: the size of all its files.
        onnx_difference: the largest difference of a probability between an ONNX file and torch;
            None without ONNX files.
    """

    models: int
    size_bytes: int
    onnx_difference: float | None


def pack(
    shipped: Shipped,
    options: PackOptions,
    *,
    files: SweepFiles,
    kept: Callable[[], Sequence[int]],
    say: Say,
) -> Written:
    """Write a packed model. The folder appears whole or not at all.

    Args:
        files: the files of the sweep.
        kept: see `settle`.
        say: is given sentences that the user should know.

    Raises:
        InputError: the folder exists and is no packed model that may be replaced; a member was
            predicted elsewhere, or its weights are gone.
        TrainerError: weights, out-of-fold predictions or user files are damaged; or a network
            cannot be exported to ONNX.
    """
    from trainer.prediction.packed import CARD, LABELS, Packed, write_packed
    from trainer.prediction.predicting import Predictor

    refuse_taken(options)
    _refuse_foreign(shipped)
    if options.onnx:
        from trainer.prediction.onnx_export import require_onnx

        require_onnx()
    found = loaded(find_models(shipped, refit=options.refit))
    mixture, notices = settle(shipped, found, kept=kept)
    for text in notices:
        say(text)
    models = {member.name: found[member.name].models for member in mixture.members}
    data = YamlFile(files.spec).values["data"]
    manifest = shipped.folds.manifest
    packed = Packed(
        Predictor(mixture, models, shipped.prior_K),
        Classes.of(manifest),
        {name: data[name] for name in TAKEN if data.get(name) is not None},
    )
    card = card_of(
        dataclasses.replace(shipped, mixture=mixture),
        models,
        source=str(data["source"]),
        refit=options.refit,
        onnx=options.onnx,
    )
    with _whole_folder(options.out) as folder:
        write_packed(folder, packed)
        write_label_map(manifest, folder / LABELS)
        difference = _export(folder, say) if options.onnx else None
        (folder / CARD).write_text(model_card(card), encoding="utf-8")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Written(sum(map(len, models.values())), size, difference)


def refuse_taken(options: PackOptions) -> None:
    """Check that the folder can be written.

    Raises:
        InputError: something is there, and it is no packed model that may be replaced.
    """
    from trainer.prediction.packed import MIXTURE

    out = options.out
    if not (out.exists() or out.is_symlink()):
        return
    if not (out / MIXTURE).is_file():
        raise InputError(f"--out {out}: it exists and is no packed model. Name another folder")
    if not options.force:
        raise InputError(
            f"--out {out}: there is a packed model already. Name another folder, or replace it "
            "with --force"
        )


def _refuse_foreign(shipped: Shipped) -> None:
    if shipped.foreign:
        raise InputError(
            f"{', '.join(sorted(shipped.foreign))}: predictions made elsewhere have no networks "
            "that could be packed. Pack without --from, or single trials with --trial or --topk"
        )


@contextlib.contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """Give an empty folder that gets the name `out` if the block ends without an error.

    A folder of that name is removed.
    """
    make_folder(out.parent, option="--out")
    temporary, earlier = (
        out.with_name(f".{out.name}.{os.getpid()}.{what}.tmp") for what in ("new", "old")
    )
    try:
        temporary.mkdir()
        yield temporary
        if out.exists():
            out.replace(earlier)
        temporary.replace(out)
    finally:
        for folder in (temporary, earlier):
            shutil.rmtree(folder, ignore_errors=True)


def _export(folder: Path, say: Say) -> float:
    """Write an ONNX file beside the weights of each model; return the largest difference."""
    from trainer.prediction.onnx_export import SUFFIX, export_onnx
    from trainer.prediction.packed import read_packed

    differences = []
    models = read_packed(folder).models
    for number, model in enumerate(models, start=1):
        say(f"ONNX: model {number} of {len(models)}")
        differences.append(export_onnx(model, model.weights.with_suffix(SUFFIX)))
    return max(differences)
