from pathlib import Path
from typing import Any

import pytest

from sweeps.errors import InputError, SpecError
from sweeps.space.yaml_file import YamlFile, read_scalar

TEXT = """\
# a comment
name: mask
parameters:
  lr:
    min: 1e-5
    max: 0.1
  optimizer:
    values: [adam,
      sgd]
  loss: {value: focal}
"""


@pytest.fixture
def file(tmp_path: Path) -> YamlFile:
    return written(tmp_path, TEXT)


def written(folder: Path, text: str) -> YamlFile:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return YamlFile(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E+3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("3", 3),
        ("010", 10),
        ("0o10", 8),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("none", "none"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30:45", "12:30:45"),
        ("{value: [a, 1]}", {"value": ["a", 1]}),
    ],
)
def test_values_are_read_as_yaml_1_2_reads_them(tmp_path: Path, text: str, value: Any) -> None:
    for read in (read_scalar(text), written(tmp_path, f"x: {text}\n").values["x"]):
        assert read == value
        assert type(read) is type(value)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("parameters",), 3),
        (("parameters", "lr", "max"), 6),
        (("parameters", "optimizer", "values", 0), 8),
        (("parameters", "optimizer", "values", 1), 9),
        (("parameters", "loss", "value"), 10),
    ],
)
def test_every_key_and_item_has_its_line(
    file: YamlFile, path: tuple[str | int, ...], line: int
) -> None:
    assert file.line(path) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("parameters", "lr", "q"), 4),
        (("parameters", "optimizer", "values", 7), 8),
        (("parameters", "lr", "min", "deeper"), 5),
        (("name", 0), 2),
    ],
)
def test_what_is_not_there_has_the_line_of_the_nearest_key_above(
    file: YamlFile, path: tuple[str | int, ...], line: int
) -> None:
    assert file.line(path) == line


@pytest.mark.parametrize("path", [(), ("metric",), ("metric", "goal")])
def test_what_is_not_there_at_all_has_no_line(file: YamlFile, path: tuple[str | int, ...]) -> None:
    assert file.line(path) == 0


def test_an_absent_file_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"mask\.yaml: no such file\. Give a search space \(YAML\)$"
    ):
        YamlFile(tmp_path / "mask.yaml")


def test_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(.*Is a directory"):
        YamlFile(tmp_path)


def test_a_file_in_another_encoding_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_bytes("name: Größe".encode("latin-1"))
    with pytest.raises(InputError, match=r"space\.yaml: cannot be read \('utf-8' codec"):
        YamlFile(tmp_path / "space.yaml")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 'line 3  found duplicate key "a"'),
        ("a:\n  b: 1\n  b: 1\n", 'line 3  found duplicate key "b"'),
        ("a: 1\n\tb: 2\n", "line 2  not YAML 1.2: "),
        ("a: [1, 2\n", "line 2  not YAML 1.2: expected ',' or ']'"),
        ("a: !python/tuple [1]\n", "line 1  not YAML 1.2: could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", "line 2  not YAML 1.2: "),
        ("a: \x01\n", "not YAML 1.2: unacceptable character #x0001"),
        ("", "line 1  expected a mapping with metric, data, parameters, ..."),
        ("- a\n- b\n", "line 1  expected a mapping with metric, data, parameters, ..."),
        ("just text\n", "line 1  expected a mapping with metric, data, parameters, ..."),
    ],
)
def test_what_is_not_a_yaml_mapping_is_one_problem_with_its_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(SpecError) as caught:
        written(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'space.yaml'}: 1 problem\n  {problem}")


@pytest.mark.parametrize("text", ["[1, 2", "a: b: c", "\x01"])
def test_a_setting_that_is_not_yaml_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a YAML value: "):
        read_scalar(text)
