"""What a sweep ships, in a folder."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.results.choice import NO_WISH
from sweeps.results.view import SweepView
from sweeps.shipping import pack as packing
from sweeps.shipping.members import with_weights
from sweeps.shipping.pack import PackOptions, Written, pack
from sweeps.shipping.refit import Watch, refittable, run_refits
from sweeps.shipping.shipped import Shipped, what_ships
from trainer.prediction.packed import read_packed

FILES = [
    "README.md",
    "labels.json",
    "members/people/trial-0001/config.json",
    "members/people/trial-0001/fold-0.safetensors",
    "members/people/trial-0001/fold-1.safetensors",
    "mixture.json",
]
Pack = Callable[..., Written]


@pytest.fixture
def shipped(view: SweepView, people: Path) -> Shipped:
    return what_ships(view, runs=people, wish=NO_WISH, trial=1)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def do(view: SweepView, people: Path, shipped: Shipped, said: list[str]) -> Pack:
    """Pack trial 1, or something else that ships."""

    def call(out: Path, *, of: Shipped = shipped, **options: bool) -> Written:
        return pack(
            of,
            PackOptions(out, **options),
            files=SweepFiles.of(people, "people"),
            kept=lambda: with_weights(view, runs=people),
            say=said.append,
        )

    return call


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_files_of_a_packed_model(
    do: Pack, people: Path, trained_sweep: Path, tmp_path: Path, said: list[str]
):
    out = tmp_path / "deep/er/model"
    written = do(out)
    assert files(out) == FILES
    assert (written.models, written.onnx_difference, said) == (2, None, [])
    assert written.size_bytes == sum((out / name).stat().st_size for name in FILES)
    assert (out / "labels.json").read_text() == (people / "people/labels.json").read_text()
    card = (out / "README.md").read_text()
    assert card.startswith("# people: trial 1\n")
    assert f"64 images of 16 groups from {trained_sweep}/photos/train.csv, in 2 folds.\n" in card
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_names_of_columns_travel_with_it(do: Pack, tmp_path: Path):
    do(tmp_path / "model")
    assert read_packed(tmp_path / "model").source == {"image": "file"}


def test_models_of_all_images_in_place_of_the_fold_models(
    do: Pack, shipped: Shipped, people: Path, tmp_path: Path
):
    with pytest.raises(InputError) as caught:
        do(tmp_path / "model", refit=True)
    assert str(caught.value) == (
        "--refit: trial 1 has no model that was trained on all images. "
        "`sweeps refit people --trial 1` trains them"
    )
    trial = refittable(people / "people/trial-0001")
    device = torch.device("cpu")
    list(run_refits(trial, numbers=[0, 1, 2], with_holdout=False, device=device, watch=Watch()))
    assert do(tmp_path / "model", refit=True).models == 3
    names = files(tmp_path / "model")
    assert [name for name in names if name.endswith("safetensors")] == [
        f"members/people/trial-0001/refit-{number}.safetensors" for number in range(3)
    ]
    assert "trained on all images" in (tmp_path / "model/README.md").read_text()


def test_fold_models_that_are_gone_are_told(
    do: Pack, people: Path, tmp_path: Path, said: list[str]
):
    (people / "people/trial-0001/fold-0/model.safetensors").unlink()
    assert do(tmp_path / "model").models == 1
    assert said == ["trial 1 is averaged without fold 0, whose weights are gone"]


class TestWhatIsThereAlready:
    def test_it_is_replaced_only_if_it_is_a_packed_model_and_asked(self, do: Pack, tmp_path: Path):
        out = tmp_path / "model"
        do(out)
        (out / "notes.txt").write_text("mine")
        with pytest.raises(InputError) as caught:
            do(out)
        assert str(caught.value) == (
            f"--out {out}: there is a packed model already. Name another folder, or replace it "
            "with --force"
        )
        assert (out / "notes.txt").exists()
        do(out, force=True)
        assert files(out) == FILES

    @pytest.mark.parametrize("force", [False, True])
    def test_anything_else_stays(self, do: Pack, tmp_path: Path, force: bool):
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").write_text("mine")
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        for name in ("folder", "file", "link"):
            out = tmp_path / name
            with pytest.raises(InputError) as caught:
                do(out, force=force)
            assert str(caught.value) == (
                f"--out {out}: it exists and is no packed model. Name another folder"
            )

    def test_a_failure_leaves_the_earlier_model_and_nothing_half_written(
        self, do: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        out = tmp_path / "packs/model"
        do(out)
        before = (out / "mixture.json").read_bytes()

        def full(*_: object) -> str:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(packing, "model_card", full)
        with pytest.raises(OSError, match="No space left"):
            do(out, force=True)
        assert (out / "mixture.json").read_bytes() == before
        assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_predictions_made_elsewhere_cannot_be_packed(do: Pack, shipped: Shipped, tmp_path: Path):
    foreign = dataclasses.replace(shipped, foreign={"other.npz": None})  # type: ignore[dict-item]
    with pytest.raises(InputError, match=r"^other\.npz: predictions made elsewhere have no netwo"):
        do(tmp_path / "model", of=foreign)
    assert not (tmp_path / "model").exists()


def test_the_code_of_the_sweep_is_not_needed_where_no_backbone_is_the_users(
    do: Pack, people: Path, tmp_path: Path
):
    shutil.rmtree(people / "people/code", ignore_errors=True)
    do(tmp_path / "model")
    values = json.loads((tmp_path / "model/mixture.json").read_text())
    assert [entry["code"] for entry in values["models"]["people/trial-0001"]] == [None, None]
