"""A sweep that starts over, by a driver that loses it meanwhile."""

from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from sweeps.errors import LeaseLostError
from sweeps.upkeep.start_over import start_over
from tests.sweeps.fabricated import Fabricated
from tests.sweeps.upkeep.test_retry import Make


@pytest.mark.parametrize(("confirmed", "has_files"), [(0, True), (1, True), (2, False)])
def test_nothing_is_removed_after_another_driver_took_the_sweep(
    sqlite_storage: RDBStorage, make_spec: Make, tmp_path: Path, confirmed: int, has_files: bool
) -> None:
    toy = Fabricated(sqlite_storage, make_spec(), tmp_path / "runs")
    toy.add_with_files(TrialState.FAIL)
    left = [None] * confirmed

    def confirm() -> None:
        if not left:
            raise LeaseLostError("another driver took over")
        left.pop()

    with pytest.raises(LeaseLostError, match="another driver took over"):
        start_over(toy.sweep, files=toy.files, runs=toy.runs, confirm=confirm)
    assert toy.sweep.record().replaced == (confirmed > 0)  # so its successor starts over anew
    assert toy.files.directory.exists() == has_files
    assert len(toy.sweep.trials()) == 1
