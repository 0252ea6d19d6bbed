"""The user's own functions: loaded from a file, tried out, and their mistakes told in one line."""

import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import trainer.user_code
from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.user_code import (
    call_backbone,
    call_loss,
    call_metric,
    code_digest,
    load_user_function,
    user_references,
)
from trainer.user_code_checks import try_backbone, try_loss, try_metric

CLASSES = ("a", "b", "c")
PROBS_NK = np.eye(3, dtype=np.float32)[[0, 1, 1]]
LABELS_N = np.array([0, 1, 2])
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the user's file; its folder comes back."""

    def file(text: str, name: str = "my_task.py") -> Path:
        (tmp_path / name).write_text(textwrap.dedent(text))
        return tmp_path

    return file


def exactly(text: str):
    """That a ConfigError says this one line."""
    return pytest.raises(ConfigError, match=f"^{re.escape(text)}$")


# load_user_function


def test_the_examples_of_the_documentation_work(write):
    example = re.search(r"\n\n((?:    .*\n|\n)+)", trainer.user_code.__doc__)
    folder = write(example[1])
    assert (
        -1
        <= try_metric(
            load_user_function("my_task.py:weighted_kappa", folder), CLASSES, reference="r"
        )
        <= 1
    )
    assert (
        0 < try_loss(load_user_function("my_task.py:mean_absolute", folder), 3, reference="r") < 2
    )
    assert (
        try_backbone(load_user_function("my_task.py:two_sizes", folder), (32, 32), reference="r")
        == 512
    )


def test_a_function_is_found_relative_to_the_folder(write):
    folder = write("def f(): return 1")
    (folder / "inner").mkdir()
    (folder / "inner" / "other.py").write_text("def f(): return 2")
    assert load_user_function("my_task.py:f", folder)() == 1
    assert load_user_function("inner/other.py:f", folder)() == 2
    assert load_user_function("../my_task.py:f", folder / "inner")() == 1


def test_a_file_is_run_once_until_its_content_changes(write):
    folder = write("def f(): return 1")
    first = load_user_function("my_task.py:f", folder)
    assert load_user_function("my_task.py:f", folder) is first
    write("def f(): return 2")  # the same size, within the same second
    assert (load_user_function("my_task.py:f", folder)(), first()) == (2, 1)


def test_loading_leaves_nothing_in_the_users_folder(write, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder = write("def f(): return 1")
    load_user_function("my_task.py:f", folder)
    assert [path.name for path in folder.iterdir()] == ["my_task.py"]


def test_data_classes_and_imported_functions_may_be_in_a_file(write):
    folder = write("""
        from __future__ import annotations
        import dataclasses
        from math import hypot

        @dataclasses.dataclass
        class Weighted:
            weight: float = 2.0

            def __call__(self, probs, labels, classes): return self.weight

        metric = Weighted()
    """)
    assert try_metric(load_user_function("my_task.py:metric", folder), CLASSES, reference="r") == 2
    assert load_user_function("my_task.py:hypot", folder)(3, 4) == 5


def test_without_a_folder_there_is_no_file():
    with exactly(
        "my_task.py:f: my_task.py is looked for beside the search space, and here there is none"
    ):
        load_user_function("my_task.py:f", None)


def test_a_missing_file_is_told_with_its_neighbours(write):
    folder = write("def f(): return 1")
    text = (
        f"my_tsk.py:f: there is no file {folder}/my_tsk.py. Did you mean 'my_task.py'? The folder "
        "has: my_task.py"
    )
    with exactly(text):
        load_user_function("my_tsk.py:f", folder)


def test_a_folder_of_that_name_cannot_be_read(tmp_path):
    (tmp_path / "my_task.py").mkdir()
    with exactly(f"my_task.py:f: {tmp_path}/my_task.py cannot be read: Is a directory"):
        load_user_function("my_task.py:f", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n  pass", "my_task.py, line 1: SyntaxError: invalid syntax"),
        ("x = 1\n\ny = x / 0", "my_task.py, line 3: ZeroDivisionError: division by zero"),
        (
            "import json\n\njson.loads('{')",
            "my_task.py, line 3: JSONDecodeError: Expecting property name .*",
        ),
        (
            "import nothing_of_this_name",
            "my_task.py, line 1: ModuleNotFoundError: No module named 'nothing_of_this_name'",
        ),
        ("raise SystemExit('bye')", "my_task.py, line 1: SystemExit: bye"),
        ("raise ValueError('two\\nlines')", "my_task.py, line 1: ValueError: two lines"),
        ("raise ValueError('x' * 1000)", "my_task.py, line 1: ValueError: x{300}\\.\\.\\."),
        (
            "a = 1\0",
            "my_task.py(, line 1)?: SyntaxError: source code string cannot contain null bytes",
        ),
    ],
)
def test_a_file_that_does_not_run_is_told_with_its_line(write, text, message):
    folder = write(text)
    for _ in range(2):  # half a module does not stay behind
        with pytest.raises(ConfigError, match=f"^{message}$"):
            load_user_function("my_task.py:f", folder)


def test_a_file_stands_alone(write):
    write("VALUE = 1", name="my_helper.py")
    folder = write("import my_helper")
    with exactly(
        "my_task.py, line 1: ModuleNotFoundError: No module named 'my_helper'. "
        "A file stands alone: put what it needs of my_helper.py into it"
    ):
        load_user_function("my_task.py:f", folder)


def test_an_unknown_function_is_told_with_the_nearest_and_the_files_own(write):
    folder = write(
        "from math import sqrt\ndef weighted_kappa(): ...\ndef other(): ...\ndef _hidden(): ..."
    )
    with exactly(
        "my_task.py has no function 'weighted_kapa'. Did you mean 'weighted_kappa'? It has: "
        "weighted_kappa, other"
    ):
        load_user_function("my_task.py:weighted_kapa", folder)


def test_a_file_without_functions_has_none_to_offer(write):
    with exactly("my_task.py has no function 'f'."):
        load_user_function("my_task.py:f", write("x = 1.0"))


def test_what_cannot_be_called_is_refused(write):
    with exactly("my_task.py:x is a float, not a function"):
        load_user_function("my_task.py:x", write("x = 1.0"))


# references and their digest


def test_the_references_in_use_are_found_by_field():
    assert user_references(TrainConfig(backbone="resnet18", loss="focal")) == {}
    config = TrainConfig(backbone="net.py:f", loss="my_task.py:g", metric="my_task.py:h")
    assert user_references(config) == {
        "backbone": "net.py:f",
        "loss": "my_task.py:g",
        "metric": "my_task.py:h",
    }


def test_the_digest_follows_the_content_of_the_files_in_use_only(write):
    config = TrainConfig(loss="my_task.py:g")
    folder = write("def g(): ...")
    first = code_digest(config, folder)
    write("x = 1", name="other.py")
    assert code_digest(config, folder) == first
    assert re.fullmatch("[0-9a-f]{16}", first)
    write("def g(): ... # changed")
    assert code_digest(config, folder) != first


def test_without_own_functions_there_is_no_digest_and_no_folder_needed():
    assert code_digest(TrainConfig(), None) == ""


def test_the_digest_of_a_missing_file_is_an_error(tmp_path):
    with exactly(f"my_task.py:g: there is no file {tmp_path}/my_task.py."):
        code_digest(TrainConfig(loss="my_task.py:g"), tmp_path)


# metrics


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5)])
def test_any_single_number_is_a_metric(value):
    result = call_metric(lambda probs, labels, classes: value, PROBS_NK, LABELS_N, CLASSES, "r")
    assert result == 0.5
    assert type(result) is float


def test_a_metric_gets_probabilities_labels_and_class_names():
    def metric(probs_NK, labels_N, classes):
        assert (probs_NK.dtype, labels_N.dtype, classes) == (np.float32, np.int64, CLASSES)
        return (probs_NK.argmax(axis=1) == labels_N).mean()

    assert call_metric(metric, PROBS_NK, LABELS_N, CLASSES, "r") == pytest.approx(2 / 3)
    assert 0 < try_metric(metric, CLASSES, reference="r") < 1


def test_a_metric_cannot_change_the_predictions():
    def metric(probs_NK, labels_N, classes):
        probs_NK[:], labels_N[:] = 0, 0
        return 1

    call_metric(metric, probs_NK := PROBS_NK.copy(), labels_N := LABELS_N.copy(), CLASSES, "r")
    assert np.array_equal(probs_NK, PROBS_NK)
    assert np.array_equal(labels_N, LABELS_N)


@pytest.mark.parametrize("k", [2, 64, 100, 3_000])
def test_a_metric_is_tried_with_all_classes_up_to_a_thousand(k):
    seen = []

    def metric(probs_NK, labels_N, classes):
        seen.append(
            (
                probs_NK.shape,
                len(set(labels_N.tolist())),
                float(abs(probs_NK.sum(axis=1) - 1).max()),
            )
        )
        return 0

    try_metric(metric, tuple(map(str, range(k))), reference="r")
    ((shape, labels, error),) = seen
    assert shape == (max(64, min(k, 1_024)), k)
    assert labels == min(k, 1_024)
    assert error < 1e-5


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "return float('nan')",
            "my_task.py:f returned nan; a metric returns a finite number, whatever is predicted",
        ),
        (
            "return -float('inf')",
            "my_task.py:f returned -inf; a metric returns a finite number, whatever is predicted",
        ),
        ("return None", "my_task.py:f returned NoneType; a metric returns one number"),
        ("return '0.5'", "my_task.py:f returned str; a metric returns one number"),
        ("return True", "my_task.py:f returned True; a metric returns one number"),
        ("return 1j", "my_task.py:f returned 1j; a metric returns one number"),
        (
            "return p.max(axis=1)",
            "my_task.py:f returned ndarray of shape (64,); a metric returns one number",
        ),
        (
            "return p[9999]",
            "my_task.py:f, line 2: IndexError: index 9999 is out of bounds for axis 0 with size 64",
        ),
        (
            "return c['a']",
            "my_task.py:f, line 2: TypeError: tuple indices must be integers or slices, not str",
        ),
    ],
)
def test_a_mistake_in_a_metric_is_one_line(write, body, message):
    function = load_user_function("my_task.py:f", write(f"def f(p, labels, c):\n    {body}"))
    with exactly(message):
        try_metric(function, CLASSES, reference="my_task.py:f")


def test_the_line_is_the_users_though_a_library_raised(write):
    folder = write("""\
        import numpy as np

        def inner(x):
            return np.linalg.inv(x)

        def f(p, labels, classes):
            return inner(np.zeros((2, 2)))
    """)
    with exactly("my_task.py:f, line 4: LinAlgError: Singular matrix"):
        try_metric(load_user_function("my_task.py:f", folder), CLASSES, reference="my_task.py:f")


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (lambda f: try_metric(f, CLASSES, reference="r"), "metric(probs_NK, labels_N, classes)"),
        (lambda f: try_loss(f, 3, reference="r"), "loss(logits_BK, targets_BK)"),
        (lambda f: try_backbone(f, (16, 16), reference="r"), "backbone(size_HW, pretrained)"),
    ],
)
def test_a_wrong_signature_is_told_with_the_right_one(write, call, arguments):
    function = load_user_function("my_task.py:f", write("def f(): ..."))
    text = r"r: TypeError: f\(\) takes 0 positional arguments but \d were given\. It is called as "
    with pytest.raises(ConfigError, match=f"^{text}{re.escape(arguments)}$"):
        call(function)


def test_running_out_of_memory_is_not_the_users_mistake():
    def out_of_memory(*_):
        raise MemoryError

    def out_of_device_memory(*_):
        raise torch.OutOfMemoryError

    with pytest.raises(MemoryError):
        call_metric(out_of_memory, PROBS_NK, LABELS_N, CLASSES, "r")
    with pytest.raises(torch.OutOfMemoryError):
        call_loss(out_of_device_memory, torch.zeros(1, 2), torch.zeros(1, 2), "r")


# losses

NOT_SCALAR = "a loss returns a scalar tensor, e.g. its .mean()"
NO_GRADIENT = "returned a value without gradient; compute it from the logits with torch"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 1.0", f" returned 1.0; {NOT_SCALAR}"),
        ("return x.sum(dim=1)", f" returned Tensor of shape (64,); {NOT_SCALAR}"),
        ("return x.detach().mean()", f" {NO_GRADIENT}"),
        ("return x.argmax(dim=1).float().mean()", f" {NO_GRADIENT}"),
        ("return torch.ones((), requires_grad=True) * 2", f" {NO_GRADIENT}"),
        ("return x.log().mean()", " gave the loss nan, and it or its gradient is not finite"),
        ("return (x - x).pow(0.5).sum()", " gave the loss 0, and it or its gradient is not finite"),
        ("return x.shap", ", line 3: AttributeError: 'Tensor' object has no attribute 'shap'"),
    ],
)
def test_a_mistake_in_a_loss_is_one_line(write, body, message):
    function = load_user_function("my_task.py:f", write(f"import torch\ndef f(x, t):\n    {body}"))
    with exactly(f"my_task.py:f{message}"):
        try_loss(function, 3, reference="my_task.py:f")


def test_a_loss_is_tried_with_mixed_targets_of_every_class():
    seen = []

    def loss(logits_BK, targets_BK):
        seen.append(targets_BK)
        return torch.nn.functional.cross_entropy(logits_BK, targets_BK)

    assert try_loss(loss, 5, reference="r") == try_loss(loss, 5, reference="r")
    targets_BK = seen[0]
    assert targets_BK.shape == (64, 5)
    assert (targets_BK.sum(dim=0) > 0).all()
    torch.testing.assert_close(targets_BK.sum(dim=1), torch.ones(64))
    assert ((targets_BK > 0).sum(dim=1) == torch.tensor([2, 1]).repeat(32)).all()


def test_a_loss_that_is_not_finite_in_training_is_left_to_the_training():
    assert call_loss(lambda x, t: x.sum() / 0, torch.ones(1, 2), torch.ones(1, 2), "r").isinf()


# backbones

MAPS = "a backbone gives features (2, F): pool its maps, e.g. with .mean(dim=(2, 3))"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", " returned 3; a backbone function returns a torch.nn.Module"),
        ("return nn.Flatten", " returned type; a backbone function returns a torch.nn.Module"),
        (
            "return nn.Conv2d(3, 4, 1)",
            f" made of 2 images (2, 3, 16, 24) Tensor of shape (2, 4, 16, 24); {MAPS}",
        ),
        (
            "net = nn.Identity(); net.forward = lambda x: x.shap; return net",
            ", line 3: AttributeError: 'Tensor' object has no attribute 'shap'",
        ),
        ("return 1 / 0", ", line 3: ZeroDivisionError: division by zero"),
    ],
)
def test_a_mistake_in_a_backbone_is_one_line(write, body, message):
    function = load_user_function(
        "my_task.py:f", write(f"from torch import nn\ndef f(size, pretrained):\n    {body}")
    )
    with exactly(f"my_task.py:f{message}"):
        try_backbone(function, (16, 24), reference="my_task.py:f")


def test_a_backbone_is_built_for_its_size_and_counts_its_features():
    seen = []

    def backbone(size_HW, pretrained):
        seen.append((size_HW, pretrained))
        return torch.nn.Sequential(
            torch.nn.AvgPool2d(size_HW), torch.nn.Flatten(), torch.nn.Linear(3, 7)
        )

    before = torch.random.get_rng_state()
    assert try_backbone(backbone, (16, 24), reference="r") == 7
    assert torch.equal(torch.random.get_rng_state(), before)
    assert isinstance(call_backbone(backbone, (8, 8), True, "r"), torch.nn.Module)
    assert seen == [((16, 24), False), ((8, 8), True)]
