"""Tables on stdout, for terminals and for pipes."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

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
    console = Console(width=None if Console().is_terminal else PIPE_WIDTH)
    with console.capture() as capture:
        console.print(table, highlight=False)
    for line in capture.get().splitlines():
        print(line.rstrip(), flush=True)


def fits(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a table fits into the width of the terminal, or into PIPE_WIDTH in a pipe."""
    console = Console()
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    between = 2 * (len(columns) - 1)
    return sum(widths) + between <= (console.width if console.is_terminal else PIPE_WIDTH)


def format_time(seconds: float) -> str:
    """A time as text with two or three significant digits.

    Example:
        >>> format_time(74), format_time(900), format_time(12_000)
        ('74 s', '15 min', '3.3 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
