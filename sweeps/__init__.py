"""foldsweep: find out which backbone, optimizer, schedule, loss and resize to trust.

    from pathlib import Path
    from sweeps import RunOptions, SweepView, leaderboard, read_spec, run_sweep
    from sweeps import find_sweep, open_storage

    options = RunOptions(runs=Path("runs"))
    run_sweep(read_spec(Path("search_spaces/digits.yaml")), options)
    view = SweepView.read(find_sweep(open_storage(options.url), "digits"))
    print(leaderboard(view, runs=options.runs, topk=5).trials[0].params)

`foldsweep` is shorter, and made for notebooks (docs/notebook.md). The names below are imported when
they are first used.
"""

from typing import TYPE_CHECKING

from trainer.lazy import lazy

if TYPE_CHECKING:
    from sweeps.errors import InfrastructureError, InputError, SpecError, SweepsError
    from sweeps.results.leaderboard import Leaderboard, leaderboard
    from sweeps.results.summary import Summary, summarise
    from sweeps.results.view import SweepView, find_sweep
    from sweeps.space.spec import SweepSpec
    from sweeps.space.spec_reader import read_spec
    from sweeps.study.storage import open_storage
    from sweeps.sweep import RunOptions, RunResult, RunState, run_sweep

__all__ = [
    "InfrastructureError",
    "InputError",
    "Leaderboard",
    "RunOptions",
    "RunResult",
    "RunState",
    "SpecError",
    "Summary",
    "SweepSpec",
    "SweepView",
    "SweepsError",
    "find_sweep",
    "leaderboard",
    "open_storage",
    "read_spec",
    "run_sweep",
    "summarise",
]

__getattr__ = lazy(
    "sweeps",
    {
        "InfrastructureError": "sweeps.errors",
        "InputError": "sweeps.errors",
        "Leaderboard": "sweeps.results.leaderboard",
        "RunOptions": "sweeps.sweep",
        "RunResult": "sweeps.sweep",
        "RunState": "sweeps.sweep",
        "SpecError": "sweeps.errors",
        "Summary": "sweeps.results.summary",
        "SweepSpec": "sweeps.space.spec",
        "SweepView": "sweeps.results.view",
        "SweepsError": "sweeps.errors",
        "find_sweep": "sweeps.results.view",
        "leaderboard": "sweeps.results.leaderboard",
        "open_storage": "sweeps.study.storage",
        "read_spec": "sweeps.space.spec_reader",
        "run_sweep": "sweeps.sweep",
        "summarise": "sweeps.results.summary",
    },
)
