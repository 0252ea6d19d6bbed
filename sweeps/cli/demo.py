"""`sweeps demo`: write a sample data set and its search spaces."""

import enum
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


class Sample(enum.StrEnum):
    """The sample data sets that `sweeps demo` can write."""

    digits = "digits"
    faces = "faces"


# the second one needs neither a GPU nor pretrained weights
SPACES = {Sample.digits: ("digits.yaml",), Sample.faces: ("mask.yaml", "mask_small.yaml")}
PERSONS = 200  # drawn persons; each person has seven photos
SIZE = "512x384"  # height x width of a photo in pixels
SMALLEST = 16  # shortest side of a photo in pixels


def demo(
    sample: Annotated[Sample, typer.Argument(help="Which data set.", show_default=False)],
    folder: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Where to write it.")
    ] = Path("data"),
    persons: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"faces: how many persons, seven photos each (default {PERSONS})."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help=f"faces: height x width of a photo (default {SIZE})."),
    ] = None,
) -> None:
    """Write sample data and their search spaces.

    The data go to data/, the search spaces to search_spaces/. It ends with the commands to run
    next; for the faces, with those that this machine can run.
    """
    from sweeps.errors import InputError
    from sweeps.paths import make_folder

    if sample is Sample.digits and (persons, size) != (None, None):
        raise InputError("--persons and --size are for faces; the digits are what they are")
    persons = persons or PERSONS
    size = size or SIZE
    size_HW = _size_of_faces(size)
    make_folder(folder / sample, option="--data")
    if sample is Sample.digits:
        from sweeps.samples.digits import write_digits

        source = write_digits(folder / sample)
        what = "1,438 handwritten digits (32x32 PNG, 10 classes), and 359 more to predict"
    else:
        source = _write_faces(folder / sample, persons=persons, size_HW=size_HW)
        what = (
            f"{7 * persons:,} drawn photos of {persons:,} persons ({size} JPEG, up to 18 classes)"
        )
    print(f"{what}: {source}", file=sys.stderr)
    written = [str(_target(name)) for name in SPACES[sample] if _write_space(name)]
    if written:
        plural = "s" if len(written) > 1 else ""
        print(f"their search space{plural}: {', '.join(written)}", file=sys.stderr)
    elsewhere = "" if folder == Path("data") else f" --set {shlex.quote(f'data.source={source}')}"
    _print_next(sample, elsewhere)


def _size_of_faces(size: str) -> tuple[int, int]:
    """The height and width of a photo in pixels.

    Raises:
        InputError: `size` is not a valid size, or it is too small for a face.
    """
    from sweeps.errors import InputError
    from trainer.fields.images import parse_size

    try:
        size_HW = parse_size(size)
    except ValueError as error:
        raise InputError(f"--size: {error}") from None
    if min(size_HW) < SMALLEST:
        raise InputError(f"--size: a face needs {SMALLEST} pixels a side, got {size!r}")
    return size_HW


def _write_faces(folder: Path, *, persons: int, size_HW: tuple[int, int]) -> Path:
    from sweeps.cli.progress import reading_images
    from sweeps.samples.faces import write_faces

    with reading_images() as progress:
        return write_faces(
            folder,
            persons=persons,
            size_HW=size_HW,
            progress=lambda done, total: progress("drawing persons", done, total),
        )


def _target(name: str) -> Path:
    return Path("search_spaces") / name


def _write_space(name: str) -> bool:
    """Write a search space, and return True, unless the user has a file of this name."""
    from sweeps.paths import make_folder
    from sweeps.space.schema import FILE_NAME, write_schema
    from trainer.files import atomic_write

    target = _target(name)
    if target.is_file():
        return False
    make_folder(target.parent, option="a writable working folder")
    write_schema(target.with_name(FILE_NAME))
    with atomic_write(target) as file:
        file.write(_packaged(name).read_bytes())
    return True


def _packaged(name: str) -> Path:
    """The search space file from the wheel; in a checkout the file is beside the package."""
    from importlib import resources

    path = Path(str(resources.files("sweeps") / "search_spaces" / name))
    return path if path.is_file() else Path(__file__).parents[2] / "search_spaces" / name


def _print_next(sample: Sample, elsewhere: str) -> None:
    """Print the commands that follow, with the search space that this machine can run.

    Args:
        elsewhere: the option for data that are not where the search space looks for them.
    """
    first, *small = SPACES[sample]
    if not small:
        print(f"next: sweeps run {_target(first)}{elsewhere}", file=sys.stderr)
        return
    from sweeps.preparing.means import obstacle

    why = obstacle(_packaged(first))
    space = _target(small[0] if why else first)
    why = why or "a GPU, and pretrained weights can be had"
    print(f"recommended here: {space} ({why})", file=sys.stderr)
    print(f"next: sweeps check {space}{elsewhere} --train", file=sys.stderr)
    print(f"      sweeps run {space}{elsewhere}", file=sys.stderr)
