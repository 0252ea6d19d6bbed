"""Tables on stdout, for people and for pipes."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 160  # a pipe or a file has no width of its own


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> None:
    """Print rows under their columns; those named in `right` are aligned right, the last one may wrap."""
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
