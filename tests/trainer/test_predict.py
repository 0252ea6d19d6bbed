"""`python -m trainer.predict`."""

import ast
import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.prediction.fold_runs import Trained, write_photos
from tests.trainer.prediction.packs import packed_of, probs_of, trained, written
from trainer import predict
from trainer.prediction.packed import read_packed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(tmp_path_factory.mktemp("trained"), heads="separate")


@pytest.fixture(scope="module")
def model(trial: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(packed_of(trial), tmp_path_factory.mktemp("packed") / "model")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = write_photos(tmp_path / "images").parent
    (folder / "train.csv").rename(tmp_path / "rows.csv")
    return folder


def run(capfdbinary, *arguments: object) -> tuple[int, str, str]:
    code = predict.main([*map(str, arguments), "--device", "cpu"])
    printed = capfdbinary.readouterr()
    return code, printed.out.decode(), printed.err.decode()


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_per_image_with_class_and_label_columns(model, trial, images, capfdbinary):
    code, out, err = run(capfdbinary, model, images)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "path,class,tone,time"
    packed = read_packed(model)
    probs_NK = probs_of(packed, trial)
    names = [packed.classes.names[k] for k in packed.predictor.decide(probs_NK, [])]
    assert [row["class"] for row in rows_of(out)] == names
    assert all(row["class"] == f"{row['tone']} / {row['time']}" for row in rows_of(out))
    assert len(set(names)) > 1
    assert names != [packed.classes.names[k] for k in probs_NK.argmax(axis=1)]  # the rule counts


def test_probabilities_and_a_file(model, trial, images, tmp_path, capfdbinary):
    out = tmp_path / "out.csv"
    assert run(capfdbinary, model, images, "--probabilities", "--out", out) == (0, "", "")
    packed = read_packed(model)
    found = [
        [float(row[name]) for name in packed.classes.names] for row in rows_of(out.read_text())
    ]
    np.testing.assert_allclose(found, probs_of(packed, trial), rtol=1e-5)
    assert run(capfdbinary, model, images, "--probabilities")[1] == out.read_text()


def test_test_time_augmentation_can_be_chosen(model, images, capfdbinary):
    plain, flipped, none = (
        run(capfdbinary, model, images, "--probabilities", *tta)[1]
        for tta in ((), ("--tta", "flip"), ("--tta", "none"))
    )
    assert plain == none != flipped


def test_a_table_of_images_with_another_column(model, images, tmp_path, capfdbinary):
    table = tmp_path / "test.csv"
    table.write_text("id,file\n1,images/03.png\n2,images/01.png\n")
    code, _, err = run(capfdbinary, model, table)
    assert (code, "no column 'path'" in err) == (2, True)
    code, out, _ = run(capfdbinary, model, table, "--image", "file")
    assert (code, [row["path"] for row in rows_of(out)]) == (
        0,
        ["images/03.png", "images/01.png"],
    )


def test_images_that_cannot_be_read_get_the_commonest_class_and_are_named(
    model, trial, images, capfdbinary
):
    for number in range(11):
        (images / f"bad-{number:02d}.png").write_bytes(b"no image")
    code, out, err = run(capfdbinary, model, images)
    assert code == 1
    commonest = trial.folds.manifest.classes[int(np.argmax(trial.prior_K))]
    assert {row["class"] for row in rows_of(out) if row["path"].startswith("bad")} == {commonest}
    head, *lines = err.splitlines()
    assert head == (
        "warning: 11 of 35 images cannot be read; they get the shares of the classes in the "
        f"training data, and the class {commonest!r}"
    )
    assert lines[0].startswith("  bad-00.png: not an image")
    assert (len(lines), lines[-1]) == (11, "  and 1 more")
    assert run(capfdbinary, model, images, "--skip-bad")[:2] == (0, out)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("{images}", "{images}"), "{images}: not a packed model (no mixture.json). "),
        (("{model}", "{images}/nowhere"), "{images}/nowhere: no such file or folder."),
        (("{model}", "{images}/empty"), "{images}/empty: no images found in the folder or below"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(model, images, capfdbinary, arguments, error):
    (images / "empty").mkdir()
    places = {"model": model, "images": images}
    code, out, err = run(capfdbinary, *(text.format(**places) for text in arguments))
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {error.format(**places)}")
    assert len(err.splitlines()) == 1


def test_ctrl_c(model, images, capfdbinary, monkeypatch):
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "mix", press)
    assert run(capfdbinary, model, images) == (130, "", "interrupted\n")


def test_progress_is_printed_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(predict.time, "monotonic", lambda: now[0])
    progress = predict._Progress()
    for seconds, done in ((5, 10), (11, 20), (12, 30), (30, 40)):
        now[0] = seconds
        progress("predicting", done, 80)
    assert capsys.readouterr().err == "predicting: 25%\npredicting: 50%\n"


def test_a_process_of_its_own_loads_nothing_that_sweeps_need(model, images):
    program = (
        "import sys; from trainer.predict import main; code = main(sys.argv[1:]); "
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr); "
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(model), str(images)],
        capture_output=True,
        text=True,
        check=True,
        cwd=images,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert len(done.stdout.splitlines()) == 25
    loaded = set(ast.literal_eval(done.stderr.splitlines()[-1]))
    assert loaded & {"torch", "timm", "trainer"} == {"torch", "timm", "trainer"}
    assert not loaded & {"sweeps", "optuna", "ray", "sqlalchemy", "typer", "onnx"}
