"""`sweeps compare`: by how much the values of one parameter differ."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import Json, Runs, Storage, SweepName, stored
from sweeps.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from sweeps.results.statistics import Statistics


def compare(
    parameter: Annotated[
        str,
        typer.Argument(
            metavar="PARAMETER", help="A parameter of the search space.", show_default=False
        ),
    ],
    sweep: SweepName = None,
    as_json: Json = False,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Show by how much a parameter's values differ.

    All other parameters are held equal; with intervals.
    """
    from sweeps.results.statistics import Statistics
    from sweeps.results.view import SweepView

    view = SweepView.read(stored(sweep, storage, runs))
    found = Statistics.of(view)
    _refuse(parameter, view.name, found)
    pairs = found.differences.of(parameter)
    unsaid = found.differences.unsaid.get(parameter, ())
    if as_json:
        values = {
            "sweep": view.name,
            "metric": view.metric,
            "goal": view.goal,
            "parameter": parameter,
            "trials": len(found.trials),
            "completed": found.completed,
            "differences": [pair.as_json() for pair in pairs],
            "pairs_of_all_parameters": len(found.differences.pairs),
            "unsaid": list(unsaid),
            "too_few": found.differences.too_few,
        }
        print(json.dumps(values, indent=2))
        return
    print(
        f"{view.name}: {parameter} in {len(found.trials)} trials with a finished fold, "
        f"{found.completed} of them completed"
    )
    if pairs:
        _print(found, parameter, metric=view.metric)
    for line in (found.differences.too_few, *unsaid):
        if line is not None:
            print(line)
    if not pairs and not unsaid and found.differences.too_few is None:
        print(f"all trials have the same {parameter}")


def _refuse(parameter: str, sweep: str, found: "Statistics") -> None:
    """Check that the parameter varies, and that a fold is finished.

    Raises:
        InputError: it does not, or none is.
    """
    from sweeps.space.domains import Constant

    varying = [each.name for each in found.space.varying()]
    varies = f"It varies {', '.join(varying)}" if varying else "It varies nothing"
    if parameter not in found.space:
        near = did_you_mean(parameter, varying)
        raise InputError(f"{parameter!r} is not a parameter of sweep {sweep!r}.{near} {varies}")
    domain = found.space[parameter].domain
    if isinstance(domain, Constant):
        raise InputError(
            f"{parameter} is always {domain} in sweep {sweep!r}, so there is nothing to compare. "
            f"{varies}"
        )
    if not found.trials:
        raise InputError(
            f"sweep {sweep!r} has no trial with a finished fold yet. `sweeps status` shows how it "
            "goes"
        )


def _print(found: "Statistics", parameter: str, *, metric: str) -> None:
    from sweeps.cli.tables import print_table
    from sweeps.running.described import format_value

    rows = [
        [
            format_value(pair.better),
            format_value(pair.worse),
            f"{pair.trials[0]}, {pair.trials[1]}",
            f"{pair.gain:.4f}",
            f"{pair.low:+.4f} to {pair.high:+.4f}",
            pair.verdict,
        ]
        for pair in found.differences.of(parameter)
    ]
    print_table(
        ["better", "worse", "trials", f"by, {metric}", "95 %", ""],
        rows,
        right=("trials", f"by, {metric}", "95 %"),
    )
    count = len(found.differences.pairs)
    print(
        "averages over what was sampled of the other parameters; clear: no chance among "
        + ("1 pair" if count == 1 else f"all {count} pairs of the sweep")
    )
