"""Everything a user can get wrong: exit code 2, one block that says what to do, nothing half-written."""

import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sweeps.results.view import names
from sweeps.study.lease import Lease
from sweeps.study.storage import open_storage
from tests.sweeps.cli.conftest import Ended

Change = tuple[str, str]
LR = "lr: {min: 0.001, max: 0.02}"

SPACE_PROBLEMS: dict[str, tuple[list[Change], str]] = {
    "unknown parameter": (
        [("  lr:", "  backbon: {value: resnet18}\n  lr:")],
        "  line 18  parameters.backbon: unknown parameter. Did you mean 'backbone'?",
    ),
    "misspelt key": (
        [("{gpu: 0}", "{gpus: 0}")],
        "  line 8  resources.gpus: unknown key. Did you mean 'gpu'? Allowed here: cpu, gpu",
    ),
    "min above max": (
        [(LR, "lr: {min: 0.02, max: 0.001}")],
        "  line 18  parameters.lr: min must not be above max, got min=0.02, max=0.001",
    ),
    "log scale from 0": (
        [(LR, "lr: {distribution: log_uniform_values, min: 0.0, max: 0.1}")],
        "  line 18  parameters.lr: a log scale needs 0 < min < max, got min=0.0, max=0.1",
    ),
    "wrong type of a parameter": (
        [("batch_size: {value: 10}", "batch_size: {value: ten}")],
        "  line 13  parameters.batch_size.value: input should be a valid integer, got 'ten'",
    ),
    "wrong type of a key": (
        [("run_cap: 2", "run_cap: two")],
        "  line 4  run_cap: input should be a valid integer, got 'two'",
    ),
    "unknown backbone": (
        [("value: test_efficientnet", "values: [test_efficientnet, test_efficientnett]")],
        "  line 10  parameters.backbone.values.1: timm has no model 'test_efficientnett'. "
        "Nearest: 'test_efficientnet', 'test_efficientnet_ln', 'test_efficientnet_gn'. "
        "`python -c 'import timm; print(timm.list_models())'` lists them",
    ),
    "unknown optimizer": (
        [("[sgd, adamw]", "[sgd, adamx]")],
        "  line 15  parameters.optimizer.values.1: timm has no optimizer 'adamx'. Nearest: 'adamax', 'adam', 'radam'. "
        "`python -c 'import timm.optim; print(timm.optim.list_optimizers())'` lists them",
    ),
    "unknown scheduler": (
        [("value: cosine", "value: cosin")],
        "  line 16  parameters.scheduler.value: unknown value 'cosin'. Did you mean 'cosine'? "
        "Known: none, step, multistep, exponential, cosine, one_cycle, cyclic, plateau, two_stage",
    ),
    "unknown loss": (
        [("value: cross_entropy", "value: crossentropy")],
        "  line 17  parameters.loss.value: unknown value 'crossentropy'. Did you mean 'cross_entropy'? "
        "Known: cross_entropy, label_smoothing, focal, soft_f1, mixture, "
        "or a function of your own, my_task.py:my_loss",
    ),
    "unknown entry of a mapping": (
        [
            ("value: cross_entropy", "value: mixture"),
            (LR, f"{LR}\n  loss_mix.focl: {{value: 0.6}}"),
        ],
        "  line 19  parameters.loss_mix.focl.value: unknown entry 'focl'. Did you mean 'focal'? "
        "Known: cross_entropy, label_smoothing, focal, soft_f1",
    ),
    "a probability above 1": (
        [(LR, f"{LR}\n  cutmix: {{value: 1.2}}")],
        "  line 19  parameters.cutmix.value: input should be less than or equal to 1, got 1.2",
    ),
    "more mixing than images": (
        [(LR, f"{LR}\n  cutmix: {{value: 0.8}}\n  mixup: {{value: 0.5}}")],
        "  line 9  parameters: no sampled point is a valid configuration: an image is mixed in one way only: "
        "the probabilities must sum to at most 1, got cutmix=0.8, mixup=0.5",
    ),
    "a warm-up as long as all epochs": (
        [(LR, f"{LR}\n  warmup_epochs: {{value: 1.0}}")],
        "  line 9  parameters: no sampled point is a valid configuration: "
        "warmup_epochs must be below epochs, got warmup_epochs=1.0 and epochs=1",
    ),
    "a size that a transformer does not take": (
        [("test_efficientnet", "test_vit"), ("resize: {value: 16}", "resize: {value: 280x210}")],
        "  line 9  parameters: backbone test_vit does not take resize 280x210: "
        "sides must be multiples of its patches of 16x16 pixels, e.g. 288x208",
    ),
    "batch norm of single images": (
        [("batch_size: {value: 10}", "batch_size: {value: 1}")],
        "  line 9  parameters: backbone test_efficientnet has batch norm, which needs more than one image at a time, "
        "got batch_size=1 in accumulation=1 parts. Raise batch_size or lower accumulation",
    ),
    "a stage that the backbone lacks": (
        [(LR, f"{LR}\n  freeze.up_to: {{value: layer3}}")],
        "  line 9  parameters: freeze: backbone test_efficientnet has no stage 'layer3'. "
        "Its stages are conv_stem, bn1, blocks, blocks.0, blocks.1, blocks.2, blocks.3, blocks.4, conv_head, bn2",
    ),
    "separate heads of one column": (
        [(LR, f"{LR}\n  heads: {{value: separate}}")],
        "  line 19  parameters.heads: separate needs several label columns (data.label), got label",
    ),
    "a metric of another file": (
        [("valid/f1", "my_task.py:kappa")],
        "  line 3  metric.name: my_task.py:kappa: there is no file {here}/my_task.py.",
    ),
    "scores that cannot be compared": (
        [
            ("{name: valid/f1, goal: maximize}", "{name: valid/loss, goal: minimize}"),
            ("loss: {value: cross_entropy}", "loss: {values: [cross_entropy, focal]}"),
        ],
        "  line 17  parameters.loss: valid/loss is each trial's own loss, which loss changes: "
        "use metric valid/log_loss",
    ),
    "missing goal": (
        [(", goal: maximize", "")],
        "  line 3  metric.goal: missing. Write goal: maximize or goal: minimize (W&B's silent default would minimise)",
    ),
    "missing budget": (
        [("run_cap: 2\n", "")],
        "  no end: give run_cap (a number of trials) or budget: {hours: ...} or {gpu_hours: ...}; "
        "only a grid needs neither",
    ),
}


def refused(ended: Ended, error: str) -> None:
    """One block on stderr, and nothing left in the working folder that could be taken for a sweep.

    An empty database may stay: what it was opened for is found wrong only when images have been read.
    """
    progress = re.compile(
        r"^\d\d:\d\d:\d\d  (reading|comparing) images: [\d,]+ of [\d,]+\n", flags=re.MULTILINE
    )
    assert dataclasses.replace(ended, err=progress.sub("", ended.err)) == Ended(
        2, "", f"error: {error}\n"
    )
    assert not list(Path("runs").glob("*/sweep.json"))
    assert not Path("runs/tiny").exists()
    assert not list(Path().rglob("*.tmp"))
    if Path("runs/sweeps.db").exists():
        assert names(open_storage("sqlite:///runs/sweeps.db")) == []


@pytest.mark.parametrize("case", SPACE_PROBLEMS)
def test_a_problem_of_the_search_space_is_named_with_its_line(
    sweeps: Callable[..., Ended], space: Callable[..., Path], case: str
):
    changes, problem = SPACE_PROBLEMS[case]
    refused(
        sweeps("run", space(*changes), "--local"),
        f"tiny.yaml: 1 problem\n{problem}".replace("{here}", str(Path.cwd())),
    )
    assert not Path("runs").exists()


def test_all_problems_are_named_at_once(sweeps: Callable[..., Ended], space: Callable[..., Path]):
    changes = [
        change
        for case in ("misspelt key", "unknown loss", "missing goal")
        for change in SPACE_PROBLEMS[case][0]
    ]
    expected = [
        SPACE_PROBLEMS[case][1] for case in ("missing goal", "misspelt key", "unknown loss")
    ]
    refused(
        sweeps("run", space(*changes), "--local"), "\n".join(["tiny.yaml: 3 problems", *expected])
    )


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_search_space_that_is_not_there(sweeps: Callable[..., Ended], command: str):
    refused(sweeps(command, "tniy.yaml"), "tniy.yaml: no such file. Give a search space (YAML)")


class TestOfAProcessOfItsOwn:
    """The same through the installed command."""

    def test_a_misspelt_key(self, process: Callable[..., Ended], space: Callable[..., Path]):
        changes, problem = SPACE_PROBLEMS["misspelt key"]
        refused(process("run", space(*changes)), f"tiny.yaml: 1 problem\n{problem}")

    def test_an_unreadable_image(
        self, process: Callable[..., Ended], space: Callable[..., Path], rows: list[str]
    ):
        broken(rows)
        ended = process(
            "run",
            space(("photos/train.csv", "all.csv, allow_outside: true")),
            "--local",
            "--set",
            "data.max_rejected=0",
        )
        assert (ended.code, ended.out) == (2, "")
        assert "line 62: broken.png" in ended.err
        assert "Traceback" not in ended.err

    def test_a_sweep_that_is_already_running(
        self, process: Callable[..., Ended], space: Callable[..., Path]
    ):
        engine = open_storage("sqlite:///sweeps.db").engine
        lease = Lease.acquire(engine, "tiny", on_lost=lambda error: pytest.fail(str(error)))
        try:
            ended = process("run", space(), "--local", "--storage", "sqlite:///sweeps.db")
        finally:
            lease.release()
        when = r"process \d+ on \S+ since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        assert (ended.code, ended.out) == (2, "")
        assert re.fullmatch(
            rf"error: sweep 'tiny' is already running: {when}\. Wait for it, or stop it with `sweeps stop tiny`; "
            r"`sweeps status` shows how far it is\n",
            ended.err,
        )
        assert not Path("runs/tiny").exists()


@pytest.fixture
def rows(photos: Path) -> list[str]:
    """Lines of a CSV beside the folder of photos."""
    head, *lines = (photos / "train.csv").read_text().splitlines()
    return [head, *(f"photos/{line}" for line in lines)]


def broken(rows: list[str]) -> None:
    """all.csv, whose last image is none."""
    Path("broken.png").write_bytes(b"not an image")
    Path("all.csv").write_text("\n".join([*rows, "broken.png,red"]))


class TestData:
    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (
                None,
                "all.csv: no such file or folder. Set data.source to one (`sweeps demo digits` writes one)",
            ),
            ("", "all.csv: the file is empty. It needs a header line and one row per image"),
            (
                "path,label\n",
                "all.csv: no images found. A CSV needs at least one row, a folder one sub-folder per class",
            ),
            (
                "path,class\n1.png,a\n",
                "all.csv: no column 'label' (data.label). Columns there: 'path', 'class'",
            ),
            (
                "file,label\n1.png,a\n",
                "all.csv: no column 'path' (data.image). Columns there: 'file', 'label'",
            ),
        ],
        ids=["missing", "empty", "only a header", "no label column", "no image column"],
    )
    @pytest.mark.parametrize("command", [["run", "--local"], ["check"]], ids=["run", "check"])
    def test_a_csv_that_cannot_be_used(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        command: list[str],
        content: str | None,
        problem: str,
    ):
        if content is not None:
            Path("all.csv").write_text(content)
        refused(sweeps(*command, space(("photos/train.csv", "all.csv"))), problem)

    def test_an_image_that_is_missing_is_named_with_its_row(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], rows: list[str]
    ):
        Path("all.csv").write_text("\n".join([*rows[:5], "photos/gone.png,red", *rows[5:]]))
        refused(
            sweeps("run", space(("photos/train.csv", "all.csv")), "--local"),
            f"all.csv: 1 of 61 images do not exist (paths are relative to {Path.cwd()})\n  line 6: photos/gone.png",
        )

    def test_an_image_that_is_unreadable_is_named_with_its_row(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], rows: list[str]
    ):
        broken(rows)
        refused(
            sweeps(
                "run",
                space(("photos/train.csv", "all.csv, allow_outside: true")),
                "--local",
                "--set",
                "data.max_rejected=0",
            ),
            "all.csv: 1 of 61 rows cannot be used (1 unreadable), more than data.max_rejected (0%) allows. "
            "Repair them, or raise it; the rejected.csv of `sweeps check` lists them\n"
            "  line 62: broken.png (unreadable: not an image "
            "(JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM, JPEG2000, AVIF can be read))",
        )

    def test_a_class_with_fewer_images_than_folds(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], photos: Path
    ):
        refused(
            sweeps("run", space(("k: 2", "k: 21")), "--local"),
            f"{photos.resolve()}: 3 of 3 classes have fewer images than the 21 folds: 'blue' (20), 'green' (20), "
            "'red' (20). Add images, drop these classes, or lower folds.k",
        )


COLUMNS = "Columns there: 'path', 'label'"
INSTALL = (
    r"needs OpenCV, which cannot be imported \(.*\)\. Install it: pip install 'foldsweep\[crops\]'"
)


class TestOptionsOfTheData:
    """What a new user gets wrong in the sections data and folds."""

    @pytest.mark.parametrize(
        "command", [["run", "--local"], ["check"], ["prepare"]], ids=["run", "check", "prepare"]
    )
    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            (["data.label=class"], f"photos/train.csv: no column 'class' (data.label). {COLUMNS}"),
            (
                ["data.label=[label, age]"],
                f"photos/train.csv: no column 'age' (data.label). {COLUMNS}",
            ),
            (
                ["data.group=person"],
                f"photos/train.csv: no column 'person' (data.group). {COLUMNS}",
            ),
            (["data.box=[l, t, r, b]"], f"photos/train.csv: no column 'l' (data.box). {COLUMNS}"),
            (
                ["parameters.crop.value=box"],
                "photos/train.csv: crop: box needs the columns of the box: data.box: [left, top, right, bottom]",
            ),
            (
                ["folds={column: fold}"],
                f"photos/train.csv: no column 'fold' (folds.column). {COLUMNS}",
            ),
            (["folds.file=gone.npz"], "gone.npz: no such file (folds.file)"),
            (["data.corrections=gone.csv"], "gone.csv: no such file (data.corrections)"),
            (["data.valid=gone.csv"], "gone.csv: no such file or folder"),
            (
                ["data.layout=profile_folders"],
                "photos/train.csv: data.layout profile_folders needs a folder, and this is",
            ),
            (
                ["data.fill=pink"],
                "tiny.yaml: 1 problem\n"
                "  data.fill: a colour is white, black, grey or '#rrggbb', got 'pink' (from --set)",
            ),
        ],
        ids=[
            "label",
            "labels",
            "group",
            "box",
            "no box",
            "fold",
            "folds file",
            "corrections",
            "valid",
            "layout",
            "fill",
        ],
    )
    def test_each_is_named(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        command: list[str],
        settings: list[str],
        problem: str,
    ):
        ended = sweeps(
            *command, space(), *(word for setting in settings for word in ("--set", setting))
        )
        assert ended.err.startswith(f"error: {problem}")  # at once: no image has been read
        refused(ended, ended.err.removeprefix("error: ").removesuffix("\n"))
        assert not Path("runs").exists()

    def test_a_space_without_data(self, sweeps: Callable[..., Ended], space: Callable[..., Path]):
        for command in (["run", "--local"], ["check"], ["prepare"]):
            refused(
                sweeps(*command, space(("data: {source: photos/train.csv}\n", ""))),
                "tiny.yaml: 1 problem\n"
                "  data: missing. "
                "Write data: {source: images.csv} or data: {source: folder-with-one-sub-folder-per-class}",
            )
            refused(
                sweeps(*command, space(("{source: photos/train.csv}", "{image: path}"))),
                "tiny.yaml: 1 problem\n"
                "  line 6  data.source: missing. A CSV or Parquet file, or a folder with one sub-folder per class",
            )
        assert not Path("runs").exists()

    @pytest.mark.parametrize(
        "command", [["run", "--local"], ["check"], ["prepare"]], ids=["run", "check", "prepare"]
    )
    def test_what_has_to_be_installed_is_said(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
        command: list[str],
    ):
        monkeypatch.setitem(sys.modules, "cv2", None)
        for setting, purpose in (
            ("parameters.crop.value=face", "crop: face"),
            ("parameters.background.value=remove", "background: remove"),
        ):
            ended = sweeps(*command, space(), "--set", setting)
            assert re.fullmatch(rf"error: {purpose} {INSTALL}\n", ended.err)
            refused(ended, ended.err.removeprefix("error: ").removesuffix("\n"))
        assert not Path("runs").exists()

    def test_weights_that_are_not_there(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        pytest.importorskip("cv2", reason="needs the extra 'crops', which CI installs")
        for command in (["run", "--local"], ["check"], ["prepare"]):
            settings = [
                "--set",
                "parameters.crop.value=face",
                "--set",
                "data.face_weights=gone.onnx",
            ]
            refused(
                sweeps(*command, space(), *settings),
                f"data.face_weights: {Path.cwd()}/gone.onnx is not a file. "
                "Give the path of a model (.onnx); none is downloaded",
            )
        assert not Path("runs").exists()

    def test_a_folds_file_that_is_none(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        Path("mine.npz").write_text("fold 0")
        for command in (["run", "--local"], ["check"], ["prepare"]):
            ended = sweeps(*command, space(), "--set", "folds.file=mine.npz")
            assert ended.err.startswith("error: mine.npz: not a readable folds file (")
            refused(ended, ended.err.removeprefix("error: ").removesuffix("\n"))

    def test_corrections_of_unknown_images_and_classes(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        Path("fixes.csv").write_text("path,label\ngone.png,red\n00.png,pink\n")
        for command in (["run", "--local"], ["check"], ["prepare"]):
            refused(
                sweeps(*command, space(), "--set", "data.corrections=fixes.csv"),
                "fixes.csv: 2 corrections cannot be used\n"
                "  line 2: gone.png is not in photos/train.csv (there: 00.png, ...)\n"
                "  line 3: unknown class 'pink'. Known: blue, green, red, or drop",
            )

    def test_no_row_that_can_be_used(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        """Nothing can be shown of a data set without a usable row, however tolerant one is."""
        path = space(("photos/train.csv", "all.csv, allow_outside: true"))
        Path("all.csv").write_text("path,label\nphotos/00.png,\nphotos/01.png,nan\n")
        ended = sweeps("check", path)
        assert (ended.code, ended.out) == (2, "")
        kept = Path("runs/tiny/check/rejected.csv").read_text()
        assert kept.splitlines() == [
            "line,path,reason,detail",
            "2,photos/00.png,no label,label is empty",
            "3,photos/01.png,no label,label is empty",
        ]
        for line in (2, 3):
            assert (
                f"  line {line}: photos/{line - 2:02d}.png (no label: label is empty)\n"
                in ended.err
            )


ALL = pytest.mark.parametrize(
    "command", [["run", "--local"], ["check"], ["prepare"]], ids=["run", "check", "prepare"]
)
OWN = """\
import numpy as np


def kappa(probs_NK, labels_N, classes):
    return np.mean(probs_NK)[classes]


def square(logits_BK, targets_BK):
    return (logits_BK.softmax(dim=1) - targets_BK) ** 2


broken = square(
"""


class TestWhatTheyTrain:
    """Networks, weights and functions of their own that cannot work: said before anything is trained."""

    @ALL
    def test_weights_whose_shapes_do_not_fit(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], command: list[str]
    ):
        safetensors.torch.save_file({"conv1.0.weight": torch.zeros(3, 3)}, "resnet.safetensors")
        ended = sweeps(
            *command, space(("weights: {value: none}", "weights: {value: resnet.safetensors}"))
        )
        assert ended.err.startswith(
            "error: tiny.yaml: 1 problem\n"
            "  line 9  parameters: weights: resnet.safetensors does not fit backbone test_efficientnet: "
        )
        assert ended.err.endswith(". Name a file with weights of this backbone\n")
        refused(ended, ended.err.removeprefix("error: ").removesuffix("\n"))
        assert not Path("runs").exists()

    @ALL
    def test_a_file_of_their_own_that_does_not_run(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], command: list[str]
    ):
        Path("my_task.py").write_text(OWN)
        refused(
            sweeps(*command, space(("valid/f1", "my_task.py:kappa"))),
            "tiny.yaml: 1 problem\n  line 3  metric.name: my_task.py, line 12: SyntaxError: '(' was never closed",
        )
        assert not Path("runs").exists()

    @ALL
    def test_a_bug_in_a_function_of_their_own_is_told_with_its_line(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], command: list[str]
    ):
        Path("my_task.py").write_text(OWN.partition("broken")[0])
        ended = sweeps(*command, space(("valid/f1", "my_task.py:kappa")))
        assert ended.err.splitlines()[-1].startswith("error: my_task.py:kappa, line 5: ")
        refused(ended, ended.err.splitlines()[-1].removeprefix("error: "))
        refused(
            sweeps(*command, space(("value: cross_entropy", "value: 'my_task.py:square'"))),
            "my_task.py:square returned Tensor of shape (64, 3); a loss returns a scalar tensor, e.g. its .mean()",
        )

    def test_a_file_that_changed_after_its_sweep_began(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        code = "def kappa(probs_NK, labels_N, classes):\n    return float(probs_NK.max())\n"
        Path("my_task.py").write_text(code)
        path = space(("valid/f1", "my_task.py:kappa"), ("run_cap: 2", "run_cap: 1"))
        assert sweeps("run", path, "--local").code == 0
        Path("my_task.py").write_text(code.replace("max", "min"))
        ended = sweeps("run", path, "--local", "--trials", 2)
        assert (ended.code, ended.out) == (2, "")
        kept = Path.cwd() / "runs/tiny/code/my_task.py"
        assert ended.err.splitlines()[-1] == (
            f"error: my_task.py changed since sweep 'tiny' began ({kept} is what it began with), so "
            "new trials could not be compared with its old ones. Change it back, or give the search space another name"
        )
        assert [path.name for path in sorted(Path("runs/tiny").glob("trial-*"))] == ["trial-0000"]
        Path("my_task.py").write_text(code)
        assert sweeps("run", path, "--local", "--trials", 2).code == 0


class TestPlaces:
    @pytest.mark.parametrize(
        "command", [["run", "--local"], ["check"], ["prepare"]], ids=["run", "check", "prepare"]
    )
    def test_a_cache_folder_that_cannot_be_written(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
        command: list[str],
    ):
        Path("file").touch()  # nobody, not even root, can make a folder below a file
        monkeypatch.setenv("SWEEPS_CACHE", "file/cache")
        refused(
            sweeps(*command, space()),
            f"{Path.cwd()}/file/cache: the cache folder cannot be written. Set $SWEEPS_CACHE to one that can",
        )

    def test_a_runs_folder_that_cannot_be_written(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        Path("file").touch()  # nobody, not even root, can make a folder below a file
        refused(
            sweeps("run", space(), "--local", "--runs", "file/runs"),
            "file/runs: cannot be written (Not a directory). Choose another folder with --runs or $SWEEPS_RUNS",
        )

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            (
                "nonsense",
                "--storage: not a database URL. "
                "Examples: sqlite:///runs/sweeps.db, postgresql://user:password@host/database",
            ),
            (
                "mysql://me:secret@host/x",
                "--storage mysql://me:***@host/x: mysql is not supported; use sqlite or postgresql",
            ),
            ("sqlite://", "--storage: a sweep needs a file or a server, not an in-memory database"),
            (
                "sqlite:///text.db",
                "--storage sqlite:///text.db: cannot be opened (file is not a database). Name another file, or move "
                "this one away",
            ),
        ],
    )
    def test_a_storage_that_cannot_be_opened(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], url: str, problem: str
    ):
        Path("text.db").write_text(
            "no database, but some sentences that are long enough for a header"
        )
        refused(sweeps("run", space(), "--local", "--storage", url), problem)

    def test_a_server_that_does_not_answer_is_named_without_its_password(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        ended = sweeps(
            "run", space(), "--local", "--storage", "postgresql://me:secret@localhost:1/x"
        )
        assert ended.err.startswith(
            "error: --storage postgresql://me:***@localhost:1/x: cannot be opened ("
        )
        assert "secret" not in ended.err
        refused(ended, ended.err.removeprefix("error: ").removesuffix("\n"))

    def test_a_storage_below_a_file_is_blamed_on_the_storage(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        Path("file").touch()
        ended = sweeps("run", space(), "--local", "--storage", "sqlite:///file/x/sweeps.db")
        assert (ended.code, ended.out) == (2, "")
        assert "file/x: cannot be written (Not a directory)" in ended.err
        assert "--storage" in ended.err
        assert "--runs" not in ended.err  # that would not help

    def test_more_gpu_than_there_is(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
    ):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        # a size nobody has decoded: the answer must not wait for that
        size = "parameters.resize.value=17"
        refused(
            sweeps("run", space(), "--local", "--set", "resources.gpu=1", "--set", size),
            "a trial asks for 1 GPU (resources), but this machine has none: --set resources.gpu=0",
        )

    def test_options_are_blamed_by_their_name(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        for value in ("0", "-1"):
            ended = sweeps("run", space(), "--local", "--hours", value)
            assert (ended.code, ended.out) == (2, "")
            assert "should be greater than 0" in ended.err
        for setting in ("run_cap", "=3", "run_cap=[", ".x=1"):
            ended = sweeps("run", space(), "--local", "--set", setting)
            assert (ended.code, ended.out) == (2, "")
            assert f"--set.{setting}: " in ended.err
        assert not Path("runs").exists()


class TestReading:
    """The commands that only read make nothing."""

    @pytest.mark.parametrize("command", ["best", "status", "list"])
    def test_a_storage_that_is_not_there(self, sweeps: Callable[..., Ended], command: str):
        ended = sweeps(command)
        expected = "no sweeps stored here yet. `sweeps run SPACE` starts one; --storage names another place"
        assert ended == Ended(2, "", f"error: runs/sweeps.db: {expected}\n")
        assert not Path("runs").exists()

    @pytest.mark.parametrize("command", ["best", "status"])
    def test_a_sweep_that_is_not_there(
        self, sweeps: Callable[..., Ended], recorded: Callable[..., object], command: str
    ):
        recorded()
        expected = "no sweep 'curv' in this storage. Did you mean 'curve'? `sweeps list` shows them"
        assert sweeps(command, "curv") == Ended(2, "", f"error: {expected}\n")
        expected = (
            "curv.yaml: no such file. Give a sweep's name (`sweeps list` shows them) or its YAML"
        )
        assert sweeps(command, "curv.yaml") == Ended(2, "", f"error: {expected}\n")

    @pytest.mark.parametrize("command", ["best", "status"])
    def test_a_storage_without_sweeps(self, sweeps: Callable[..., Ended], command: str):
        open_storage("sqlite:///empty.db")
        expected = "no sweeps in this storage yet. `sweeps run SPACE` starts one; --storage names another place"
        assert sweeps(command, "--storage", "sqlite:///empty.db") == Ended(
            2, "", f"error: {expected}\n"
        )


def test_a_usage_error_is_no_traceback(sweeps: Callable[..., Ended], space: Callable[..., Path]):
    for arguments in (
        ["run"],
        ["prepare"],
        ["check", "--plain"],
        ["rnu"],
        ["run", space(), "--trials", "0"],
        ["best", "--topk", "0"],
        ["demo", "cats"],
    ):
        ended = sweeps(*arguments)
        assert (ended.code, ended.out) == (2, "")
        assert "Traceback" not in ended.err
