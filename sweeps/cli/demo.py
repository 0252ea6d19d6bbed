"""`sweeps demo`: write a sample data set and its search space."""

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer


class Sample(enum.StrEnum):
    """The sample data sets."""

    digits = "digits"


def demo(
    sample: Annotated[Sample, typer.Argument(help="Which data set.", show_default=False)],
    folder: Annotated[Path, typer.Option("--data", metavar="DIR", help="Where to write it.")] = Path("data"),
) -> None:
    """Write a sample data set to data/ and its search space to search_spaces/."""
    from importlib import resources

    from sweeps.study import make_folder
    from trainer.data.samples import write_digits
    from trainer.files import atomic_write

    make_folder(folder / sample, option="--data")
    source = write_digits(folder / sample)
    space = Path("search_spaces") / f"{sample}.yaml"
    print(f"1,797 handwritten digits (32x32 PNG, 10 classes): {source}", file=sys.stderr)
    if not space.is_file():
        make_folder(space.parent, option="a writable working folder")
        with atomic_write(space) as file:
            file.write(_packaged(resources.files("sweeps") / "search_spaces" / space.name, space.name))
        print(f"their search space: {space}", file=sys.stderr)
    elsewhere = "" if folder == Path("data") else f" --set data.source={source}"
    print(f"next: sweeps run {space}{elsewhere}", file=sys.stderr)


def _packaged(resource: object, name: str) -> bytes:
    """The search space that travels in the wheel; in a checkout it lies beside the package."""
    path = Path(str(resource))
    if not path.is_file():
        path = Path(__file__).parents[2] / "search_spaces" / name
    return path.read_bytes()
