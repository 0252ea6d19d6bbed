"""`sweeps best`: the leaderboard."""

import json
from typing import Annotated, Any

import typer

from sweeps.cli.options import Json, Runs, Storage, SweepName, runs_folder, stored
from sweeps.errors import NothingCompletedError


def best(
    sweep: SweepName = None,
    topk: Annotated[int, typer.Option("--topk", min=1, help="How many trials.")] = 5,
    as_json: Json = False,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Show a sweep's best trials with their fold scores."""
    from sweeps.results import SweepView
    from sweeps.results import best as best_of

    result = best_of(SweepView.read(stored(sweep, storage, runs)), runs=runs_folder(runs), topk=topk)
    if as_json:
        print(json.dumps(result, indent=2))
        return
    if not result["trials"]:
        raise NothingCompletedError(
            f"sweep {result['sweep']!r} has no completed trial yet "
            f"({result['pruned']} pruned, {result['failed']} failed). `sweeps status` shows how it goes"
        )
    print_leaderboard(result)


def print_leaderboard(result: dict[str, Any]) -> None:
    """The leaderboard as a table on stdout."""
    from sweeps.cli.tables import print_table

    score = f"{result['metric']} ± std"
    columns = ["trial", score, "OOF", "worst fold", "parameters"]
    rows = [
        [
            str(row["number"]),
            f"{row['score']:.4f}" + (f" ± {row['std']:.4f}" if row["std"] is not None else ""),
            "-" if row["oof_score"] is None else f"{row['oof_score']:.4f}",
            f"{result['goal'].worst(row['fold_scores']):.4f}",
            "  ".join(f"{name}={format_value(value)}" for name, value in row["params"].items()),
        ]
        for row in result["trials"]
    ]
    if any(row["taken_from"] for row in result["trials"]):  # warm_start
        columns.insert(1, "of sweep")
        for cells, row in zip(rows, result["trials"], strict=True):
            source = row["taken_from"]
            cells.insert(1, f"{source['sweep']}, trial {source['trial']}" if source else result["sweep"])
    print(f"{result['sweep']}: {_counts(result)}")
    print_table(columns, rows, right=("trial", score, "OOF", "worst fold"))


def _counts(result: dict[str, Any]) -> str:
    counts = [f"{result[state]} {state}" for state in ("completed", "pruned", "failed")]
    if result["taken_over"]:
        counts.append(f"{result['taken_over']} of them equal to earlier ones and not trained again")
    if result["history"]:
        counts.append(f"{result['history']} from other sweeps")
    return ", ".join(counts)


def format_value(value: Any) -> str:
    """A parameter's value, floats with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
