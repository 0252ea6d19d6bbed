"""What `--fix` does to the keys of the top level; tests of the metric are in `test_fixing`."""

import pytest

from sweeps.space.fixing_top import key_changes
from sweeps.space.yaml_marks import edited


def test_keys_that_nobody_knows_become_comments():
    text = """\
# the sweep
run_mode: train  # or test
method: grid
group:
  name: a   # of us

  kind: b
# the end
"""
    edits, told = key_changes(text)
    assert edited(text, edits) == (
        """\
# the sweep
# run_mode: unknown key
# run_mode: train  # or test
method: grid
# group: unknown key
# group:
#   name: a   # of us
#
#   kind: b
# the end
"""
    )
    assert told == [
        "run_mode: is now a comment: unknown key",
        "group: is now a comment: unknown key",
    ]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("count: 4\n", "run_cap: 4\n"),
        ("n_trials: 4  # few\n", "run_cap: 4  # few\n"),
        ("count: many\n", "count: many\n"),
        ("count: 4\nrun_cap: 5\n", "count: 4\nrun_cap: 5\n"),
        # what may be meant for a key of ours stays, with its problem
        ("metod: grid\n", "metod: grid\n"),
        ("epochs: 4\n", "epochs: 4\n"),
        # keys of W&B without a meaning here
        ("program: a.py\nproject: b\ncontroller: {type: local}\n", None),
        ("name: a\nmethod: grid\n", None),
    ],
)
def test_a_key_that_means_one_of_ours_is_renamed_or_stays(text: str, result: str | None):
    edits, told = key_changes(text)
    assert edited(text, edits) == (result or text)
    assert bool(told) == (edited(text, edits) != text)
