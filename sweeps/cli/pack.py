"""`sweeps pack`: what a sweep ships, as a folder that needs no sweep."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.choice_options import From, MaxMembers, Refit, TopK, Trial, wish_of
from sweeps.cli.gc import size_text
from sweeps.cli.options import Runs, Storage, SweepName, runs_folder, stored


def pack(
    sweep: SweepName = None,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.")],
    trial: Trial = None,
    topk: TopK = None,
    others: From = None,
    max_members: MaxMembers = 5,
    refit: Refit = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Each model as an ONNX file, too.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier packed model.")
    ] = False,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Write the model into a folder of its own.

    The folder has the sweep's ensemble and a model card, and needs the package `trainer` only:
    `python -m trainer.predict DIR IMAGES` prints the same predictions as `sweeps predict`.
    """
    from sweeps.cli.progress import telling
    from sweeps.results.view import SweepView, sweep_files
    from sweeps.shipping.members import with_weights
    from sweeps.shipping.pack import PackOptions, refuse_taken
    from sweeps.shipping.pack import pack as write_pack
    from sweeps.shipping.shipped import what_ships

    options = PackOptions(out, refit=refit, onnx=onnx, force=force)
    refuse_taken(options)
    folder = runs_folder(runs)
    found = stored(sweep, storage, runs)
    files = sweep_files(found, runs=folder)
    view = SweepView.read(found)
    wish = wish_of(others, storage, runs, max_members=max_members)
    with telling() as tell:
        shipped = what_ships(view, runs=folder, wish=wish, trial=trial, topk=topk, tell=tell)
    done = write_pack(
        shipped,
        options,
        files=files,
        kept=lambda: with_weights(view, runs=folder),
        say=lambda text: print(f"note: {text}", file=sys.stderr, flush=True),
    )
    kind = "trained on all images" if refit else "trained on folds"
    models = f"{done.models} model{'s' if done.models > 1 else ''}"
    print(f"{out}: {shipped.title}, {models} {kind}, {size_text(done.size_bytes)}")
    if done.onnx_difference is not None:
        print(f"ONNX files differ from torch by at most {done.onnx_difference:.1g}")
    print(f"python -m trainer.predict {out} IMAGES > predictions.csv")
