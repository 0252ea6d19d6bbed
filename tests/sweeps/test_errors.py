import re

import pytest

from sweeps import errors
from sweeps.errors import InputError, Problem, SpecError, SweepsError, did_you_mean


def subclasses(cls: type) -> set[type]:
    return {cls}.union(*map(subclasses, cls.__subclasses__()))


def test_the_tree_in_the_docstring_names_every_error_with_its_exit_code() -> None:
    drawn = dict(re.findall(r"(\w+Error) +(\d)  ", errors.__doc__ or ""))
    assert drawn == {
        cls.__name__: str(cls.exit_code) for cls in subclasses(SweepsError) - {SweepsError}
    }


def test_all_problems_stand_in_the_order_of_the_file_with_lines_and_paths() -> None:
    problems = [
        Problem(("parameters", "lr", "values", 1), "too high", 14),
        Problem(("name",), "missing"),
        Problem((), "no end", 3),
    ]
    error = SpecError("mask.yaml", problems)
    assert str(error) == (
        "mask.yaml: 3 problems\n  name: missing\n  line 3  no end\n"
        "  line 14  parameters.lr.values.1: too high"
    )
    assert [problem.line for problem in error.problems] == [0, 3, 14]


def test_one_problem_is_not_called_problems() -> None:
    assert str(SpecError("mask.yaml", [Problem(("name",), "missing", 1)])) == (
        "mask.yaml: 1 problem\n  line 1  name: missing"
    )


def test_a_bad_search_space_is_wrong_input() -> None:
    with pytest.raises(InputError, match=r"^mask\.yaml: 0 problems$"):
        raise SpecError("mask.yaml", [])


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("backbon", " Did you mean 'backbone'?"),
        ("optimzer", " Did you mean 'optimizer'?"),
        ("colour", ""),
        ("", ""),
    ],
)
def test_the_nearest_known_word_is_named_if_one_is_near(word: str, hint: str) -> None:
    assert did_you_mean(word, ["backbone", "optimizer"]) == hint


def test_nothing_is_near_when_nothing_is_known() -> None:
    assert did_you_mean("backbone", []) == ""
