"""foldsweep in a notebook: what the command `sweeps` does, with the same names of options.

    import foldsweep

    sweep = foldsweep.run("search_spaces/digits.yaml", trials=14)
    sweep.trials                # a data frame with a row for each trial, pruned ones included
    sweep.best().trials[0]      # the best trial: scores, parameters, directory
    sweep.oof(12).probs_NK      # what its fold models predict of the images they did not see
    sweep.config(12)            # a search space that trains this trial again
    foldsweep.open("digits")    # a sweep that is stored, while it runs, too

docs/notebook.md shows it from data to predictions. The names below are imported when they are first
used. Errors are those of the command: SweepsError and TrainerError.
"""

from typing import TYPE_CHECKING

from trainer.lazy import lazy

if TYPE_CHECKING:
    from foldsweep.starting import run
    from foldsweep.stored import Sweep, open, sweeps
    from sweeps.errors import InputError, SweepsError
    from sweeps.results.out_of_fold import OutOfFold
    from trainer.errors import TrainerError

__all__ = [
    "InputError",
    "OutOfFold",
    "Sweep",
    "SweepsError",
    "TrainerError",
    "open",
    "run",
    "sweeps",
]

__getattr__ = lazy(
    "foldsweep",
    {
        "InputError": "sweeps.errors",
        "OutOfFold": "sweeps.results.out_of_fold",
        "Sweep": "foldsweep.stored",
        "SweepsError": "sweeps.errors",
        "TrainerError": "trainer.errors",
        "open": "foldsweep.stored",
        "run": "foldsweep.starting",
        "sweeps": "foldsweep.stored",
    },
)


def __dir__() -> list[str]:
    """The public names, so that a notebook completes those that are not imported yet, too."""
    return __all__
