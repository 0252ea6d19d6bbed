"""`python -m trainer`: exit codes, what goes to stdout and what to stderr."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from trainer.__main__ import ConsoleReporter, main
from trainer.config import TrainConfig
from trainer.seeds import derive
from trainer.training import epochs
from trainer.training.reporter import EpochReport

LINE = (
    r"fold {fold}  epoch {epoch}/2  train loss \d\.\d{{4}}  "
    r"loss \d+\.\d{{4}}  accuracy \d\.\d{{4}}  f1 \d\.\d{{4}}  \d+\.\d s\n"
)


@pytest.fixture
def settings(photos, tmp_path):
    """Write a YAML file that trains in a second; changes replace its top keys, None removes one."""

    def write(**changes: object) -> Path:
        source = tmp_path / "photos" / "train.csv"
        if not source.is_file():
            photos()
        values = {
            "data": {"source": str(source)},
            "folds": {"k": 2, "seed": 1},
            "backbone": "test_resnet",
            "weights": "none",
            "resize": 16,
            "batch_size": 4,
            "epochs": 2,
        }
        values = {key: value for key, value in {**values, **changes}.items() if value is not None}
        YAML().dump(values, tmp_path / "mask.yaml")
        return tmp_path / "mask.yaml"

    return write


def run(config: Path, *options: str) -> int:
    """The exit code, whether returned or raised by the argument parser."""
    try:
        return main(["--config", str(config), "--device", "cpu", "--threads", "1", *options])
    except SystemExit as error:
        return error.code


def test_the_result_goes_to_stdout_and_progress_to_stderr(settings, tmp_path, capsys):
    assert run(settings(), "--out", str(tmp_path / "out"), "--fold", "1") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((tmp_path / "out" / "result.json").read_text())
    assert json.loads(out)["fold"] == 1
    assert re.fullmatch("".join(LINE.format(fold=1, epoch=epoch) for epoch in (1, 2)), err)


def test_what_was_read_otherwise_than_written_is_noted(settings, tmp_path, capsys):
    config = settings()
    table = tmp_path / "photos" / "train.csv"
    table.write_text(
        table.read_text().replace("0.png,a", "0.png,7").replace("3.png,a", "3.png,7.0")
    )
    run(config, "--out", str(tmp_path / "out"))
    assert capsys.readouterr().err.splitlines()[0] == (
        "note: labels (column 'label'): 7 and 7.0 are read as one value each"
    )


def test_without_out_the_directory_is_named_by_the_file_and_the_fold(
    settings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run(settings()) == 0
    assert (tmp_path / "runs" / "mask" / "fold-0" / "result.json").is_file()


def test_the_same_command_again_prints_the_same_result_without_training(settings, tmp_path, capsys):
    run(settings(), "--out", str(tmp_path / "out"))
    first = capsys.readouterr().out
    assert run(settings(), "--out", str(tmp_path / "out")) == 0
    assert capsys.readouterr() == (first, "")


def test_columns_and_folders_are_named_in_data(settings, tmp_path, capsys):
    source = tmp_path / "photos" / "train.csv"
    settings()
    source.write_text(source.read_text().replace("path,label", "file,kind"))
    config = settings(data={"source": str(source), "image": "file", "label": "kind"})
    assert run(config, "--out", str(tmp_path / "out")) == 0


def test_ctrl_c_saves_and_the_same_command_continues(settings, tmp_path, monkeypatch, capsys):
    epoch = ConsoleReporter.epoch
    handler = signal.getsignal(signal.SIGINT)

    def press(reporter: ConsoleReporter, report: EpochReport) -> bool:
        signal.raise_signal(signal.SIGINT)
        return epoch(reporter, report)

    with monkeypatch.context() as patch:
        patch.setattr(ConsoleReporter, "epoch", press)
        assert run(settings(), "--out", str(tmp_path / "out")) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(
        LINE.format(fold=0, epoch=1) + "interrupted; run the same command again to continue\n", err
    )
    assert signal.getsignal(signal.SIGINT) is handler
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["last.ckpt"]
    assert run(settings(), "--out", str(tmp_path / "out")) == 0
    assert re.fullmatch(LINE.format(fold=0, epoch=2), capsys.readouterr().err)


def test_as_a_command_it_prints_the_same(settings, tmp_path, capsys):
    command = [
        sys.executable,
        "-m",
        "trainer",
        "--config",
        str(settings()),
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "command")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (0, 2)
    run(settings(), "--out", str(tmp_path / "here"))
    here = json.loads(capsys.readouterr().out)
    there = json.loads(done.stdout)
    assert {**here, "seconds": 0} == {**there, "seconds": 0}
    assert (tmp_path / "here/model.safetensors").read_bytes() == (
        tmp_path / "command/model.safetensors"
    ).read_bytes()


# where the time goes


def profile(err: str) -> tuple[float, dict[str, float]]:
    """Seconds of an epoch, and of each phase."""
    total = re.search(r"^an epoch took (\d+\.\d{3}) s on average:$", err, flags=re.MULTILINE)
    phases = re.findall(r"^  (\w+) +(-?\d+\.\d{3}) s +-?\d+\.\d%$", err, flags=re.MULTILINE)
    return float(total[1]), {name: float(seconds) for name, seconds in phases}


@pytest.mark.parametrize("freeze", [None, "backbone"])
def test_a_profile_says_what_an_epoch_is_spent_on(settings, tmp_path, capsys, freeze):
    config = settings(freeze=freeze, epochs=3, resize=64)
    assert run(config, "--out", str(tmp_path / "out"), "--profile") == 0
    total, phases = profile(capsys.readouterr().err)
    first = ["features"] if freeze else []
    assert list(phases) == [*first, "data", "forward", "backward", "optimizer", "metrics", "other"]
    assert sum(phases.values()) == pytest.approx(total, abs=0.01)
    assert (
        0 <= phases["other"] < (0.7 if freeze else 0.3) * total
    )  # heads alone train in milliseconds
    assert total == pytest.approx(
        json.loads((tmp_path / "out" / "result.json").read_text())["seconds"] / 3, abs=2e-3
    )


def test_a_profile_is_of_the_epochs_trained_now(settings, tmp_path, monkeypatch, capsys):
    """Two epochs were trained before, each of a hundred seconds."""
    epoch = ConsoleReporter.epoch

    def press(reporter: ConsoleReporter, report: EpochReport) -> bool:
        signal.raise_signal(signal.SIGINT)
        return epoch(reporter, report)

    config = settings(epochs=3)
    with monkeypatch.context() as patch:
        patch.setattr(ConsoleReporter, "epoch", press)
        assert run(config, "--out", str(tmp_path / "out"), "--profile") == 130
    assert "an epoch took" not in capsys.readouterr().err
    with monkeypatch.context() as patch:
        load = epochs.load_checkpoint

        def slow(*args: object, **settings: object) -> dict[str, object]:
            state = load(*args, **settings)
            return {**state, "curve": [{**row, "seconds": 100.0} for row in state["curve"]]}

        patch.setattr(epochs, "load_checkpoint", slow)
        assert run(config, "--out", str(tmp_path / "out"), "--profile") == 0
    assert profile(capsys.readouterr().err)[0] < 50


def test_a_finished_fold_has_no_profile(settings, tmp_path, capsys):
    run(settings(), "--out", str(tmp_path / "out"))
    capsys.readouterr()
    assert run(settings(), "--out", str(tmp_path / "out"), "--profile") == 0
    assert (
        capsys.readouterr().err
        == "nothing was trained, so there is no profile: the fold was done before\n"
    )


# choices of the trainer


def test_the_result_has_every_metric(settings, tmp_path, capsys):
    assert run(settings(), "--out", str(tmp_path / "out")) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["metrics"]) == [
        "f1",
        "accuracy",
        "balanced_accuracy",
        "loss",
        "log_loss",
        "ece",
    ]
    assert sum(count for _, _, count in result["confusion"]) == 6
    assert len(result["f1_per_class"]) == 3


def test_own_functions_stand_beside_the_configuration(settings, tmp_path, capsys):
    (tmp_path / "my_task.py").write_text(
        "def top(probs_NK, labels_N, classes):\n    return probs_NK.max()\n"
        "def squared(logits_BK, targets_BK):\n"
        "    return (logits_BK.softmax(1) - targets_BK).square().sum(1).mean()\n"
    )
    config = settings(
        metric="my_task.py:top", loss="my_task.py:squared", monitor="metric", checkpoint="fold_best"
    )
    assert run(config, "--out", str(tmp_path / "out")) == 0
    result = json.loads(capsys.readouterr().out)
    with np.load(tmp_path / "out" / "oof.npz") as file:
        assert result["metrics"]["metric"] == pytest.approx(file["probs"].max())
    assert result["biased"]


def test_an_own_file_that_is_not_there_is_told_with_its_place(settings, tmp_path, capsys):
    (tmp_path / "my_tusk.py").write_text("")
    assert run(settings(metric="my_task.py:top")) == 2
    assert problem(capsys) == (
        f"error: my_task.py:top: there is no file {tmp_path}/my_task.py. "
        "Did you mean 'my_tusk.py'? The folder has: my_tusk.py\n"
    )


def test_heads_of_several_columns_are_trained_from_the_file(settings, tmp_path, capsys):
    settings()
    source = tmp_path / "photos" / "train.csv"
    parts = {"a": "warm,day", "b": "cold,day", "c": "cold,night"}
    rows = [line.split(",") for line in source.read_text().split()[1:]]
    source.write_text(
        "path,tone,time\n" + "".join(f"{path},{parts[label]}\n" for path, label in rows)
    )
    config = settings(
        data={"source": str(source), "label": ["tone", "time"]},
        heads="separate",
        head_weights={"time": 2.0},
    )
    assert run(config, "--out", str(tmp_path / "out")) == 0
    with np.load(tmp_path / "out" / "oof.npz") as file:
        assert file["probs"].shape == (6, 3)


def test_an_entry_of_a_mapping_may_be_written_with_a_dot(settings, tmp_path, capsys):
    config = settings(loss="mixture", **{"loss_mix.focal": 0.6, "loss_mix.soft_f1": 0.4})
    assert run(config, "--out", str(tmp_path / "out")) == 0
    expected = TrainConfig(
        backbone="test_resnet",
        weights="none",
        resize=16,
        batch_size=4,
        epochs=2,
        loss="mixture",
        loss_mix={"soft_f1": 0.4, "focal": 0.6},
    )
    assert json.loads(capsys.readouterr().out)["config_hash"] == expected.fingerprint()


def test_a_mistake_in_an_own_function_is_told_before_training(settings, tmp_path, capsys):
    (tmp_path / "my_task.py").write_text(
        "def top(probs_NK, labels_N, classes):\n    return probs_NK.maks()\n"
    )
    assert run(settings(metric="my_task.py:top"), "--out", str(tmp_path / "out")) == 2
    assert problem(capsys).startswith("error: my_task.py:top, line 2: AttributeError: ")


def test_separate_heads_of_one_column_are_refused(settings, capsys):
    assert run(settings(heads="separate")) == 2
    assert problem(capsys).startswith(
        "error: heads: separate needs several label columns, got 1 (label). "
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"freeze": "up_to:layer9"}, "freeze: backbone test_resnet has no stage 'layer9'"),
        ({"optimizer": "adamm"}, "timm has no optimizer 'adamm'. Nearest: 'adam'"),
        ({"backbone": "test_resnt"}, "timm has no model 'test_resnt'"),
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors"),
        ({"batch_size": 1}, "has batch norm, which needs more than one image at a time"),
        ({"checkpoint": "best"}, "checkpoint: best chooses among all folds, and this trains one"),
    ],
)
def test_what_the_network_lacks_is_told_in_one_line(settings, capsys, changes, said):
    assert run(settings(**changes)) == 2
    err = problem(capsys)
    assert said in err
    assert err.count("\n") == 1


def problem(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr, where stdout is empty."""
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_all_wrong_fields_are_named_at_once(settings, capsys):
    config = settings(lr=-1, epochs="many", colour="red")
    assert run(config) == 2
    assert problem(capsys) == (
        f"error: {config}: 3 problems\n"
        "  lr: Input should be greater than 0\n"
        "  epochs: Input should be a valid integer, unable to parse string as an integer\n"
        "  colour: unknown key\n"
    )


def test_fields_that_do_not_fit_together_are_named(settings, capsys):
    assert run(settings(scheduler="cyclic", base_lr=0.5, lr=0.1)) == 2
    assert "  config: cyclic needs base_lr <= lr, got base_lr=0.5 and lr=0.1\n" in problem(capsys)


@pytest.mark.parametrize("fold", ["2", "-1"])
def test_a_fold_that_does_not_exist_is_refused(settings, capsys, fold):
    assert run(settings(), "--fold", fold) == 2
    assert problem(capsys) == f"error: --fold {fold}: the folds are numbered 0 to 1\n"


def test_a_missing_file_is_refused(tmp_path, capsys):
    assert run(tmp_path / "no.yaml") == 2
    assert problem(capsys).startswith(
        f"error: {tmp_path}/no.yaml: cannot be read ([Errno 2] No such file or directory"
    )


@pytest.mark.parametrize(
    "content", [b"a: [1\n", b"\xff\xfe\x00", b"a: 1\na: 2\n"], ids=["yaml", "binary", "key twice"]
)
def test_a_file_that_is_not_yaml_is_refused(tmp_path, capsys, content):
    (tmp_path / "mask.yaml").write_bytes(content)
    assert run(tmp_path / "mask.yaml") == 2
    assert problem(capsys).startswith(f"error: {tmp_path}/mask.yaml: cannot be read (")


@pytest.mark.parametrize("content", ["", "- 1\n", "text\n"])
def test_a_file_without_a_mapping_is_refused(tmp_path, capsys, content):
    (tmp_path / "mask.yaml").write_text(content)
    assert run(tmp_path / "mask.yaml") == 2
    assert problem(capsys) == (
        f"error: {tmp_path}/mask.yaml: expected a mapping with data, folds and fields of "
        "TrainConfig\n"
    )


@pytest.mark.parametrize("data", [{}, {"image": "path"}])
def test_a_missing_source_is_refused(settings, capsys, data):
    config = settings(data=data)
    assert run(config) == 2
    assert problem(capsys) == f"error: {config}: 1 problem\n  data.source: missing\n"


@pytest.mark.parametrize("name", ["data", "folds"])
def test_a_section_that_is_no_mapping_is_refused(settings, capsys, name):
    config = settings(**{name: 5})
    assert run(config) == 2
    assert problem(capsys) == f"error: {config}: 1 problem\n  {name}: must be a mapping\n"


@pytest.mark.parametrize(
    ("section", "values", "named"),
    [
        ("folds", {"k": "two"}, "folds.k"),
        ("folds", {"k": 1}, "folds.k"),
        ("folds", {"k": 2.5}, "folds.k"),
        ("folds", {"k": 2, "seed": "x"}, "folds.seed"),
        ("folds", {"K": 2}, "K"),
        ("data", {"source": 5}, "data.source"),
        ("data", {"source": "train.csv", "label": ["a", "b"]}, "no column 'a' (data.label)"),
        ("data", {"source": "train.csv", "label": ["a", 5]}, "data.label"),
        ("data", {"source": "train.csv", "box": ["a"]}, "data.box"),
        ("data", {"source": "train.csv", "fill": "red"}, "data.fill"),
        ("folds", {"k": 2, "holdout": 1}, "folds.holdout"),
        ("folds", {"file": "nowhere.npz"}, "nowhere.npz: no such folds file"),
        ("data", {"source": "train.csv", "lable": "a"}, "lable"),
    ],
)
def test_a_wrong_value_in_a_section_is_refused_by_name(
    settings, capsys, tmp_path, monkeypatch, section, values, named
):
    settings()
    monkeypatch.chdir(tmp_path / "photos")
    assert run(settings(**{section: values})) == 2
    err = problem(capsys)
    assert err.startswith("error: ")
    assert named in err


def test_a_key_that_is_no_text_is_refused(settings, capsys):
    config = settings()
    config.write_text(config.read_text() + "1: 2\n")
    assert run(config) == 2
    assert problem(capsys).startswith(f"error: {config}: ")


def test_missing_images_are_refused_with_their_lines(settings, tmp_path, capsys):
    config = settings()
    for row in (3, 7):
        (tmp_path / "photos" / f"{row}.png").unlink()
    assert run(config) == 2
    assert problem(capsys).endswith(
        f"2 of 12 images do not exist (paths are relative to {tmp_path}/photos), more than "
        "data.max_rejected (10%) allows\n  line 5: 3.png\n  line 9: 7.png\n"
    )


def test_many_unreadable_images_are_refused_with_their_lines(settings, tmp_path, capsys):
    config = settings()
    for row in (3, 7):
        (tmp_path / "photos" / f"{row}.png").write_text("no image")
    assert run(config) == 2
    err = problem(capsys)
    assert (
        "2 of 12 rows cannot be used (2 unreadable), more than data.max_rejected (10%) allows"
        in err
    )
    assert "\n  line 5: 3.png (unreadable: " in err
    assert "\n  line 9: 7.png (unreadable: " in err


def test_one_unreadable_image_of_many_is_left_out(settings, tmp_path, capsys):
    config = settings()
    (tmp_path / "photos" / "3.png").write_text("no image")
    assert run(config, "--out", str(tmp_path / "out")) == 0


def test_groups_and_a_holdout_are_taken_from_the_file(settings, tmp_path, capsys):
    config = settings()
    source = tmp_path / "photos" / "train.csv"
    header, *rows = source.read_text().splitlines()
    # twelve images of four persons; nobody can be on both sides
    lines = [f"{header},person", *(f"{line},p{at // 3}" for at, line in enumerate(rows))]
    source.write_text("\n".join(lines) + "\n")
    config = settings(
        data={"source": str(source), "group": "person"}, folds={"k": 2, "holdout": 0.25}
    )
    assert run(config, "--out", str(tmp_path / "out")) == 0
    with np.load(tmp_path / "out" / "oof.npz") as file:
        rows_held_out = set(file["rows"].tolist())
    assert len(rows_held_out) in (3, 6)
    assert all({3 * (row // 3) + at for at in range(3)} <= rows_held_out for row in rows_held_out)


def test_a_validation_csv_is_the_only_fold(settings, tmp_path, capsys):
    settings()
    source = tmp_path / "photos" / "train.csv"
    valid = tmp_path / "photos" / "valid.csv"
    header, *rows = source.read_text().splitlines()
    source.write_text("\n".join([header, *rows[:9]]) + "\n")
    valid.write_text("\n".join([header, *rows[9:]]) + "\n")
    config = settings(data={"source": str(source), "valid": str(valid)}, folds={"column": "fold"})
    assert run(config, "--out", str(tmp_path / "out")) == 0
    with np.load(tmp_path / "out" / "oof.npz") as file:
        assert file["rows"].tolist() == [9, 10, 11]
    assert run(config, "--fold", "1") == 2
    assert capsys.readouterr().err.endswith("error: --fold 1: the folds are numbered 0 to 0\n")


def test_every_problem_of_data_and_folds_is_listed(settings, capsys):
    config = settings(data={"label": 5, "colour": "red"}, folds={"column": "fold", "k": 3}, lr=-1)
    assert run(config) == 2
    assert problem(capsys) == (
        f"error: {config}: 5 problems\n"
        "  data.source: missing\n"
        "  data.label: a column's name, or a list of them, got 5\n"
        "  data.colour: unknown key\n"
        "  folds: the column decides the folds: leave out k\n"
        "  lr: Input should be greater than 0\n"
    )


def test_boxes_that_are_not_there_are_missed_before_training(settings, capsys):
    assert run(settings(crop="box")) == 2
    assert (
        "crop: box needs the columns of the box: data.box: [left, top, right, bottom]"
        in problem(capsys)
    )


@pytest.mark.parametrize(
    "options", [["--threads", "0"], ["--threads", "-1"], ["--threads", "x"], ["--device", "tpu"]]
)
def test_a_wrong_option_is_refused(settings, tmp_path, capsys, options):
    assert run(settings(), "--out", str(tmp_path / "out"), *options) == 2
    assert options[0] in problem(capsys)


def test_without_a_config_the_usage_is_printed(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "the following arguments are required: --config" in problem(capsys)


def test_help_goes_to_stdout(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert capsys.readouterr().out.startswith("usage: python -m trainer [-h] --config CONFIG")


def test_a_search_space_of_single_values_is_read_with_its_seed(settings, tmp_path, capsys):
    plain = settings(seed=derive(3))
    assert run(plain, "--out", str(tmp_path / "plain")) == 0
    values = YAML(typ="safe").load(plain.read_text())
    space = {key: values.pop(key) for key in ("data", "folds")}
    del values["seed"]
    space |= {"name": "x", "method": "grid", "metric": {"name": "valid/f1", "goal": "maximize"}}
    space |= {"seed": 3, "parameters": {name: {"value": value} for name, value in values.items()}}
    YAML().dump(space, tmp_path / "space.yaml")
    assert run(tmp_path / "space.yaml", "--out", str(tmp_path / "space")) == 0
    for name in ("oof.npz", "model.safetensors"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "space" / name).read_bytes()


def test_a_search_space_with_choices_is_refused(settings, tmp_path, capsys):
    values = YAML(typ="safe").load(settings().read_text())
    space = {key: values.pop(key) for key in ("data", "folds")}
    parameters = {name: {"value": value} for name, value in values.items()}
    parameters["lr"] = {"min": 0.1, "max": 0.2}
    YAML().dump({**space, "seed": "x", "parameters": parameters}, tmp_path / "space.yaml")
    assert run(tmp_path / "space.yaml") == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/space.yaml: 2 problems\n"
        "  parameters.lr: one fold run needs one value: {value: ...}\n"
        "  seed: expected a whole number, got 'x'\n"
    )
