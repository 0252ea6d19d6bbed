"""Search spaces read from text."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.errors import SpecError
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from tests.sweeps.space.space_texts import RIGHT


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., SweepSpec]:
    """Read a search space from its text."""

    def read(text: str = RIGHT, *settings: str) -> SweepSpec:
        path = tmp_path / "space.yaml"
        path.write_text(text)
        return read_spec(path, settings=settings)

    return read


@pytest.fixture
def problems(read: Callable[..., SweepSpec], tmp_path: Path) -> Callable[..., list[str]]:
    """The problems of a search space, one line each."""

    def problems(text: str = RIGHT, *settings: str) -> list[str]:
        with pytest.raises(SpecError, match=r"space\.yaml: \d+ problem") as caught:
            read(text, *settings)
        return [line.strip() for line in str(caught.value).splitlines()[1:]]

    return problems
