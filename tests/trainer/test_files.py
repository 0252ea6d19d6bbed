"""Files are whole or absent."""

import json
import os

import pytest

from trainer.files import atomic_write, write_json


def test_a_file_appears_with_its_folders_when_the_block_ends(tmp_path):
    path = tmp_path / "a" / "b" / "file.bin"
    with atomic_write(path) as file:
        file.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"


def test_the_old_content_stands_until_the_new_is_whole(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_content_and_no_temporary_file(tmp_path, error):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def write_halfway() -> None:
        with atomic_write(path) as file:
            file.write(b"ne")
            raise error("halfway")

    with pytest.raises(error, match="halfway"):
        write_halfway()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_the_bytes_are_on_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    fsync = os.fsync
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(
        os, "replace", lambda source, target: (order.append("replace"), replace(source, target))
    )
    with atomic_write(tmp_path / "file.bin") as file:
        file.write(b"content")
    assert order == ["fsync", "replace"]


def test_the_temporary_name_is_hidden_and_holds_the_process_id(tmp_path):
    with atomic_write(tmp_path / "file.bin"):
        assert os.listdir(tmp_path) == [f".file.bin.{os.getpid()}.tmp"]


def test_json_round_trips_and_ends_with_a_newline(tmp_path):
    value = {"metrics": {"f1": 0.1 + 0.2}, "names": ["é"]}
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text()
    assert json.loads(text) == value
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_json_does_not_have_and_leaves_no_file(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "value.json", {"loss": value})
    assert os.listdir(tmp_path) == []
