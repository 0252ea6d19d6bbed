"""Sources that are written and read, and a count of what is decoded."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.trainer.data.data_sets import N, Work
from tests.trainer.data.tables import Reader, read, touched
from trainer.data import scan
from trainer.data.table import Table
from trainer.images import images
from trainer.images.decode import decode, decode_all, fingerprint


@pytest.fixture
def work(monkeypatch) -> Work:
    done = Work()

    def all_decoded(data, wanted, **options):
        if wanted:
            done.decodes[data] += len(wanted)
        return decode_all(data, wanted, **options)

    def one_decoded(data, how, **options):
        done.decodes[data] += 1
        return decode(data, how, **options)

    def hashed(data, **options):
        done.fingerprints[data] += 1
        return fingerprint(data, **options)

    monkeypatch.setattr(scan, "decode_all", all_decoded)
    monkeypatch.setattr(scan, "fingerprint", hashed)
    monkeypatch.setattr(images, "decode", one_decoded)
    return done


@pytest.fixture
def source(photos, work) -> Path:
    """The CSV of 12 images of 16 x 16, none of them decoded."""
    return photos(N)


@pytest.fixture
def csv(tmp_path: Path) -> Reader:
    """Write a CSV beside the images a.png to d.png and read it."""
    touched(tmp_path, *(f"{name}.png" for name in "abcd"))

    def written(text: str | bytes, *, name: str = "train.csv", **options: Any) -> Table:
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return read(tmp_path / name, **options)

    return written


@pytest.fixture
def parquet(tmp_path: Path) -> Reader:
    """Write columns as Parquet beside the images a.png to d.png and read them."""
    touched(tmp_path, *(f"{name}.png" for name in "abcd"))

    def written(
        columns: dict[str, Any], *, index: list[int] | None = None, **options: Any
    ) -> Table:
        pd.DataFrame(columns, index=index).to_parquet(tmp_path / "train.parquet")
        return read(tmp_path / "train.parquet", **options)

    return written
