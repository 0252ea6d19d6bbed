"""Tables in memory, as if they had been read from files."""

from collections.abc import Sequence

from sweeps.shipping.sheets import Sheet


def sheet(name: str = "t.csv", **columns: Sequence[str]) -> Sheet:
    """A table with these columns; its first row is line 2 of its file."""
    rows = len(next(iter(columns.values())))
    cells = {key: tuple(values) for key, values in columns.items()}
    return Sheet(name, cells, tuple(columns), tuple(range(2, rows + 2)))


def images(count: int) -> list[str]:
    """The names of some images."""
    return [f"{number:02d}.png" for number in range(count)]
