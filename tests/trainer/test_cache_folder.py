"""Where the cache lies, and what is said where it cannot."""

import os
import re

import pytest

from trainer.cache_folder import default_cache_folder, remembered, writable_cache_folder
from trainer.errors import DataError


def test_the_folder_is_made_where_it_is_absent(tmp_path):
    assert writable_cache_folder() == tmp_path / "cache"
    assert writable_cache_folder(tmp_path / "deep" / "own").is_dir()
    assert (tmp_path / "cache").is_dir()


def test_the_folder_comes_from_the_environment_and_else_lies_at_home(monkeypatch, tmp_path):
    assert default_cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("SWEEPS_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / ".cache" / "foldsweep"


def test_a_relative_folder_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPS_CACHE", "here")
    assert default_cache_folder() == tmp_path / "here"


def test_a_folder_that_cannot_be_made_is_refused_with_what_to_set(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "file" / "cache"))
    message = (
        f"{tmp_path}/file/cache: the cache folder cannot be written. Set $SWEEPS_CACHE to one that "
        "can"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        writable_cache_folder()


def test_a_folder_without_write_permission_is_refused(monkeypatch):
    monkeypatch.setattr(
        os, "access", lambda path, mode: False
    )  # the tests may run as root, who may write anywhere
    with pytest.raises(
        DataError, match=r"cache: the cache folder cannot be written\. Set \$SWEEPS_CACHE"
    ):
        writable_cache_folder()


def test_an_answer_is_asked_for_once():
    asked = []

    def ask() -> list[int]:
        asked.append(len(asked))
        return [*asked]

    for question in ({"a": 1, "b": 2}, {"b": 2, "a": 1}):
        assert remembered("kind", question, ask) == [0]
    assert remembered("kind", {"a": 2}, ask) == [0, 1]
    assert remembered("another", {"a": 1, "b": 2}, ask) == [0, 1, 2]
    assert remembered("none", {}, lambda: None) is None
    assert remembered("none", {}, lambda: pytest.fail("None is an answer")) is None
