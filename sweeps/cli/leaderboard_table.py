"""The leaderboard, the ensemble and what to expect of them, as text for a terminal or a file."""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeps.cli.tables import fits, format_time, print_table
from sweeps.running.described import format_value

if TYPE_CHECKING:
    from sweeps.results.chosen import Choice
    from sweeps.results.leaderboard import Leaderboard, Row

LEFT = ("of sweep", "reason", "parameters")


def print_leaderboard(found: "Leaderboard") -> None:
    """Print a leaderboard as a table on stdout, and below it the trials without a score.

    There is one column for each parameter that differs. The parameters that all trials share are on
    one line. Where the columns are too wide for the terminal, one last column has all parameters.
    """
    print(f"{found.sweep}: {_counts(found)}")
    shared = _shared([row.params for row in found.trials])
    if shared:
        print(f"all  {_pairs(shared)}")
    table = [_cells(found, row) for row in found.trials]
    names = _parameters([row.params for row in found.trials], besides=shared)
    rows = [
        [*cells.values(), *_values(row.params, names)]
        for cells, row in zip(table, found.trials, strict=True)
    ]
    columns = [*table[0], *names]
    if names and not fits(columns, rows):
        columns = [*table[0], "parameters"]
        rows = [
            [*cells.values(), _pairs({n: row.params[n] for n in names if n in row.params})]
            for cells, row in zip(table, found.trials, strict=True)
        ]
    print_table(columns, rows, right=[name for name in table[0] if name not in LEFT])
    if found.others:
        print()
        print_table(
            ["trial", "state", "folds", "reason", "parameters"],
            [
                [
                    str(other.number),
                    other.state,
                    str(len(other.fold_scores)),
                    other.reason,
                    _pairs({n: v for n, v in other.params.items() if n not in shared}),
                ]
                for other in found.others
            ],
            right=["trial", "folds"],
        )


def leaderboard_csv(found: "Leaderboard") -> str:
    """The leaderboard as CSV: all numbers in full, one column for each parameter."""
    names = _parameters([row.params for row in found.trials])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    plain = ["number", "score", "std", "oof_score", "estimate", "low", "high", "chance", "seconds"]
    writer.writerow([*plain, "worst_fold", *names])
    for row in found.trials:
        interval = row.expected
        numbers = [
            row.number,
            row.score,
            row.std,
            row.oof_score,
            *((None,) * 3 if interval is None else (interval.value, interval.low, interval.high)),
            row.chance,
            row.seconds,
            found.goal.worst(row.fold_scores),
        ]
        writer.writerow([*numbers, *(row.params.get(name) for name in names)])
    return text.getvalue()


def print_alone(found: "Leaderboard", where: str) -> None:
    """Print the command that writes the best trial as a search space of its own.

    Args:
        where: see `hints.place`.
    """
    command = f"sweeps export {found.sweep} --trial {found.trials[0].number}{where} > trial.yaml"
    print(f"alone      {command}", file=sys.stderr)


def print_choice(choice: "Choice") -> None:
    """Print the members of the ensemble, and what to expect of it and of the chosen trial."""
    from sweeps.results.chosen import names_of
    from sweeps.results.explained import explain_ensemble, explain_evidence, explain_trial

    names = names_of(choice)
    print()
    print_lines("one trial", explain_trial(choice))
    members = "  ".join(
        f"{member.weight:.2f} {names[member.name]}" for member in choice.ensemble.members
    )
    print_lines("ensemble", [members, *explain_ensemble(choice)])
    print_lines("evidence", explain_evidence(choice))


def print_lines(title: str, lines: Sequence[str]) -> None:
    """Print lines with a title before the first one."""
    for number, line in enumerate(lines):
        print(f"{'' if number else title:<10} {line}")


def _cells(found: "Leaderboard", row: "Row") -> dict[str, str]:
    """The cells of a row by column, without the parameters."""
    cells = {"trial": str(row.number)}
    if any(other.taken_from for other in found.trials):  # only after warm_start
        source = row.taken_from
        cells["of sweep"] = f"{source.sweep}, trial {source.number}" if source else found.sweep
    cells[f"{found.metric} ± std"] = f"{row.score:.4f}" + (
        f" ± {row.std:.4f}" if row.std is not None else ""
    )
    cells["OOF"] = "-" if row.oof_score is None else f"{row.oof_score:.4f}"
    if any(other.expected for other in found.trials):
        interval = row.expected
        cells["on new data (95 %)"] = (
            "-"
            if interval is None
            else f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})"
        )
    cells["worst fold"] = f"{found.goal.worst(row.fold_scores):.4f}"
    if any(other.seconds is not None for other in found.trials):
        cells["time"] = "-" if row.seconds is None else format_time(row.seconds)
    if any(other.chance is not None for other in found.trials):
        cells["is best"] = "-" if row.chance is None else f"{row.chance:.0%}"
    return cells


def _parameters(
    rows: Sequence[Mapping[str, Any]], *, besides: Mapping[str, Any] | None = None
) -> list[str]:
    """The names of the parameters in the order in which they first occur."""
    names = dict.fromkeys(name for params in rows for name in params)
    return [name for name in names if name not in (besides or {})]


def _shared(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters that all trials have with the same value; none if there is one trial only."""
    if len(rows) < 2:
        return {}
    first = rows[0]
    return {
        name: value
        for name, value in first.items()
        if all(name in params and repr(params[name]) == repr(value) for params in rows)
    }


def _values(params: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [format_value(params[name]) if name in params else "" for name in names]


def _pairs(params: Mapping[str, Any]) -> str:
    return "  ".join(f"{name}={format_value(value)}" for name, value in params.items())


def _counts(found: "Leaderboard") -> str:
    counts = [f"{found.completed} completed", f"{found.pruned} pruned", f"{found.failed} failed"]
    if found.taken_over:
        counts.append(f"{found.taken_over} of them equal to earlier ones and not trained again")
    if found.history:
        counts.append(f"{found.history} from other sweeps")
    return ", ".join(counts)
