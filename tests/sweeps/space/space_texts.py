"""A valid search space as text, to be made wrong, and values of all kinds."""

from typing import Any

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
# values of all kinds, to be tried as the value of anything
POOL: list[Any] = [
    *(-1, 0, 1, 2, 3, 7, 8, 32, 224, 5000, -0.5, 0.0, 0.05, 0.3, 0.9, 1.0, 2.5, 32.0, 1e-7, 1e9),
    *(True, False, None, "", "x", "none", "None", "true", "auto", "train", "224", "280x210"),
    *("[96, 128]", "64 X 64", "96*96", "white", "#a0b1c2", "cp949", "latin-1", "valid/accuracy"),
    *("my_task.py:f", "valid/my_task.py:f", "../my_task.py:f", "near_duplicates", "xywh", "clip"),
    *("one_per_cluster", "class_folders", "online", "http://host:5000", "minimize", "~/x.pt"),
    *("weights.safetensors", "up_to:layer3", "$WEIGHTS", "timm/ResNet50", "AdamW"),
    *([], ["a"], ["a", "b"], ["a", "b", "c", "d"], [1, 2], [30, 60], [0, 4095], [128], [96.0, 64]),
    *({}, {"error_rate": 0.1}, {"project": "x"}, {"uri": None}, {"up_to": "layer3"}),
    *({"focal": 0.5}, {"focal": -1}, {"mask": "face"}, {"age": 2}),
]
