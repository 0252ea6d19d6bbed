"""`sweeps prepare`: data and pretrained weights before a sweep starts."""

import functools
import sys

from sweeps.cli.options import Name, Runs, Settings, Space, runs_folder, settings_of


def prepare(space: Space, name: Name = None, settings: Settings = None, runs: Runs = None) -> None:
    """Clean, cut and decode the data ahead of time.

    This is all that a sweep does before its first trial; nothing starts. Pretrained weights are
    fetched, too. A machine without a GPU can do it; `sweeps run` then starts at once.
    """
    from sweeps.cli.progress import reading_images
    from sweeps.paths import SweepFiles, make_folder
    from sweeps.preparing.data import changes, cut_sweep, write_data
    from sweeps.preparing.feasible import check_spec, check_trainable, further_problems
    from sweeps.preparing.opening import refuse_other_data
    from sweeps.preparing.weights import begin_fetch, pretrained_backbones
    from sweeps.space.spec_reader import read_spec
    from trainer.cache_folder import default_cache_folder
    from trainer.data.data_set import ReadOptions
    from trainer.model.hub import hub_cache

    spec = read_spec(space, settings=settings_of(settings, name=name), also=further_problems)
    spec = check_spec(spec)
    fetch = begin_fetch(spec)
    check_trainable(spec, lost=fetch.lost)
    fetch.start()
    files = SweepFiles.of(runs_folder(runs), spec.name)
    with reading_images() as progress:
        cut = cut_sweep(spec, files, read=ReadOptions(choices=spec.choices(), progress=progress))
        fetch.result(functools.partial(progress, "pretrained weights"))
    found = cut.data
    folds = cut.folds
    if files.identity() is not None:
        refuse_other_data(files, cut, spec)
    else:
        make_folder(files.directory)
        write_data(files, cut, spec)
    print(
        f"images     {len(folds.manifest):,} of {found.rows:,} rows, "
        f"{len(folds.manifest.classes):,} classes"
    )
    print(f"folds      {folds.k}, hash {folds.hash}")
    levels = cut.levels()
    if levels is not None:
        print(f"levels     {levels} (data.levels)")
    for key, size_bytes in found.plan.sizes_bytes.items():
        print(f"decoded    {key}: {size_bytes / 1e6:,.1f} MB in {default_cache_folder()}")
    backbones = pretrained_backbones(spec)
    if backbones:
        many = "1 backbone" if len(backbones) == 1 else f"{len(backbones)} backbones"
        print(f"weights    of {many} in {hub_cache()}")
    for how in found.plan.streamed:
        print(f"decoded    {how.key}: per batch, since it does not fit into data.cache_gb")
    for line in [*spec.notices, *found.notes, *filter(None, [changes(cut)]), *cut.warnings()]:
        print(f"note: {line}", file=sys.stderr)
    print(f"files      {runs_folder(runs) / spec.name}", file=sys.stderr)
