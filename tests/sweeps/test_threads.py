"""Threads on which a sweep depends do not end unheard."""

import pytest

from sweeps.errors import InfrastructureError
from sweeps.threads import vital


def test_an_error_is_told_once_and_keeps_its_traceback():
    told: list[InfrastructureError] = []
    with pytest.raises(KeyError, match="a bug"), vital("the recorder", on_end=told.append):
        raise KeyError("a bug")
    assert [str(error) for error in told] == [
        "the recorder stopped by a bug; its traceback is above. Finished folds are on disk; run "
        "the same command again to continue"
    ]
    assert told[0].exit_code == 3


def test_an_end_that_is_meant_is_not_told():
    told: list[InfrastructureError] = []
    with vital("the recorder", on_end=told.append):
        pass
    assert told == []
