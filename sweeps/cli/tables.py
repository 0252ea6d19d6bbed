"""Tables on stdout, for terminals and for pipes."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from sweeps.results.leaderboard import Leaderboard

PIPE_WIDTH = 160  # characters per line in a pipe or a file, which have no width of their own


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()
) -> None:
    """Print rows under their column names; only the last column may wrap.

    Args:
        right: the columns whose cells are aligned right.
    """
    table = Table(box=None, pad_edge=False)
    for name in columns:
        last = name == columns[-1]
        table.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
        )
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    with console.capture() as capture:
        console.print(table, highlight=False)
    for line in capture.get().splitlines():
        print(line.rstrip(), flush=True)


def print_leaderboard(found: "Leaderboard") -> None:
    """Print a leaderboard as a table on stdout."""
    score = f"{found.metric} ± std"
    columns = ["trial", score, "OOF", "worst fold", "parameters"]
    rows = [
        [
            str(row.number),
            f"{row.score:.4f}" + (f" ± {row.std:.4f}" if row.std is not None else ""),
            "-" if row.oof_score is None else f"{row.oof_score:.4f}",
            f"{found.goal.worst(row.fold_scores):.4f}",
            "  ".join(f"{name}={format_value(value)}" for name, value in row.params.items()),
        ]
        for row in found.trials
    ]
    if any(row.taken_from for row in found.trials):  # only after warm_start
        columns.insert(1, "of sweep")
        for cells, row in zip(rows, found.trials, strict=True):
            source = row.taken_from
            cells.insert(1, f"{source.sweep}, trial {source.number}" if source else found.sweep)
    print(f"{found.sweep}: {_counts(found)}")
    print_table(columns, rows, right=("trial", score, "OOF", "worst fold"))


def format_value(value: Any) -> str:
    """The value of a parameter as text; a float has three significant digits.

    Example:
        >>> format_value(0.000123456), format_value("adamw")
        ('0.000123', 'adamw')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _counts(found: "Leaderboard") -> str:
    counts = [f"{found.completed} completed", f"{found.pruned} pruned", f"{found.failed} failed"]
    if found.taken_over:
        counts.append(f"{found.taken_over} of them equal to earlier ones and not trained again")
    if found.history:
        counts.append(f"{found.history} from other sweeps")
    return ", ".join(counts)
