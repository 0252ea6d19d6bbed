"""A valid search space as text, to be made wrong."""

BESIDE = "must lie in the folder of the search space or below, as a relative path"
NO_FUNCTION = "names no function of a file: write FILE.py:FUNCTION, e.g. my_task.py:my_function"
RIGHT = """\
name: toy
metric: {name: valid/f1, goal: maximize}
run_cap: 10
data: {source: train.csv}
parameters:
  lr: {value: 0.1}
"""
