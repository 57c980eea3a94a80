"""`python -m tlfw.predict`, on image files."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.odd_files import png, tiff
from tests.tiny import SIZE, Tiny
from tlfw.predict import find_images, main

SAID = ("file", "label", "probability")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run's test images as files, and a current folder that is empty but for them."""
    part = Tiny(image_size=SIZE).divide().test
    assert part is not None
    for i in part.indices:
        file = tmp_path / "photos" / f"part{i // 10}" / f"{i:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        part.images.open(i).shown().save(file)
    monkeypatch.chdir(tmp_path)
    return Path("photos")


def told(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """-> (exit code, standard output, the message)."""
    code: object = None
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return (0 if code is None else 1), out, err + (code if isinstance(code, str) else "")


def rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_it_says_what_the_run_said(made: Path, photos: Path, capsys, batch_size: int) -> None:
    code, out, _ = told(made, photos, "--batch-size", batch_size, "--device", "cpu", capsys=capsys)
    assert code == 0
    assert "30 images, 3 classes: predictions.csv" in out
    found, said = rows("predictions.csv"), np.load(made / "predictions.npz")
    assert [row["file"] for row in found] == [f"photos/part{i // 10}/{i:02}.png" for i in range(30)]
    assert [row["label"] for row in found] == [f"c{k}" for k in said["prediction"]]
    hits = said["prediction"] == said["label"]
    assert hits.sum() > 0
    probabilities = np.array([float(row["probability"]) for row in found])
    np.testing.assert_allclose(np.log(probabilities)[hits], said["log_prob"][hits], rtol=0, atol=1e-5)
    assert sorted(p.name for p in Path.cwd().iterdir()) == ["photos", "predictions.csv"]


def test_top_classes_come_best_first(made: Path, photos: Path, capsys) -> None:
    told(made, photos, "--top", 2, "--out", "a.csv", capsys=capsys)
    told(made, photos, "--out", "a.json", capsys=capsys)
    table, listed = rows("a.csv"), json.loads(Path("a.json").read_text())
    assert set(table[0]) == {*SAID, "label_2", "probability_2"}
    for row, entry in zip(table, listed, strict=True):
        shares = [likely["probability"] for likely in entry["top"]]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert {likely["label"] for likely in entry["top"]} == {"c0", "c1", "c2"}
        assert entry["top"][0] == {name: entry[name] for name in SAID[1:]}
        assert [row[name] for name in SAID] == [entry["file"], entry["label"], str(entry["probability"])]
        assert row["label_2"] == entry["top"][1]["label"]


def test_folders_are_searched_and_what_begins_with_a_dot_is_not(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.JPG", "a.png", ".hidden/x.png", "b/.y.png", "b/notes.txt", "c/deep/er/1.webp", "b/noending"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    os.symlink(tmp_path, tmp_path / "c" / "round")
    found, left_out = find_images([Path(".")])
    assert [str(path) for path in found] == ["a.png", "b/2.JPG", "c/deep/er/1.webp"]
    assert {each.path: each.reason for each in left_out} == {
        ".hidden/": "hidden",
        "b/.y.png": "hidden",
        "b/notes.txt": "no images (.txt)",
        "b/noending": "no images by ending or content (no ending)",
        "c/round/": "linked to what is there already",
    }
    found, left_out = find_images([Path("b/noending"), Path("b"), Path("b/2.JPG")])
    assert found == [Path("b/noending"), Path("b/2.JPG")]
    assert [each.path for each in left_out] == ["b/.y.png", "b/notes.txt"]


def test_what_cannot_be_read_is_listed_and_the_rest_is_written(made: Path, photos: Path, capsys) -> None:
    whole = (photos / "part0" / "00.png").read_bytes()
    (photos / "part0" / "00.png").write_bytes(whole[:200])
    (photos / "part1" / "empty.jpg").touch()
    Image.new("CMYK", (50, 40)).save(photos / "cmyk.jpg")
    code, _, err = told(made, photos, "--batch-size", 1, capsys=capsys)
    assert code == 1
    assert err.startswith("2 of 32 files cannot be read:\n")
    assert "photos/part0/00.png: " in err
    assert "photos/part1/empty.jpg: " in err
    assert len(rows("predictions.csv")) == 30
    (photos / "alone").mkdir()
    code, _, err = told(made, photos / "part1" / "empty.jpg", capsys=capsys)
    assert code == 1
    assert Path("predictions.csv").read_text() == "file,label,probability,label_2,probability_2,label_3,probability_3\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("RUN", "nowhere"), "images: there is no file or folder nowhere."),
        (("RUN", "empty"), "images: no image is in empty. These endings are read: .jpg"),
        (("gone", "photos"), "run: there is no folder"),
        (("photos", "photos"), "so it is no finished run"),
        (("RUN", "photos", "--out", "a.txt"), "--out: a.txt ends in '.txt'. Use .csv or .json."),
        (("RUN", "photos", "--out", "no/a.csv"), "--out: no/a.csv cannot be written."),
        (("RUN", "photos", "--batch-size", "0"), "--batch-size: it is 0."),
        (("RUN", "photos", "--top", "0"), "--top: it is 0."),
    ],
)
def test_what_cannot_work_is_one_message(made: Path, photos: Path, capsys, arguments, said: str) -> None:
    Path("empty").mkdir()
    code, out, err = told(*(made if a == "RUN" else a for a in arguments), capsys=capsys)
    assert (code, out) == (1, "")
    assert said in err
    assert sorted(p.name for p in Path.cwd().iterdir()) == ["empty", "photos"]


def test_a_device_that_is_not_there(made: Path, photos: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, err = told(made, photos, "--device", "cuda", capsys=capsys)
    assert (code, err) == (1, "--device: torch finds no CUDA device here. Use cpu or auto.")
    monkeypatch.setattr("tlfw.predict.predict", lambda *_, **__: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
    assert "--batch-size: 64 images" in told(made, photos, capsys=capsys)[2]


def test_progress_is_told_in_plain_lines_where_there_is_no_terminal(
    made: Path,
    photos: Path,
    capsys,
    monkeypatch,
) -> None:
    monkeypatch.setattr("tlfw.training.progress.PLAIN_SECONDS", 0.0)
    _, out, _ = told(made, photos, "--batch-size", 20, capsys=capsys)
    assert [line.split(",")[0] for line in out.splitlines()[:2]] == ["  predict: image 20/30", "  predict: image 30/30"]


def test_names_of_any_bytes_are_written_back(made: Path, photos: Path, capsys) -> None:
    odd = os.fsdecode(b'photos/\xff, "caf\xc3\xa9".png')
    os.rename("photos/part0/00.png", odd)
    assert told(made, odd, capsys=capsys)[0] == 0
    with open("predictions.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert next(csv.DictReader(file))["file"] == odd


def test_a_folder_is_read_as_training_reads_it_and_what_is_left_out_is_said(made: Path, photos: Path, capsys) -> None:
    Image.open(photos / "part0" / "00.png").save(photos / "a.gif")
    Image.open(photos / "part0" / "00.png").save(photos / "b", "JPEG")
    (photos / "notes.txt").touch()
    (photos / ".hidden.png").touch()
    code, out, err = told(made, photos, capsys=capsys)
    assert (code, err) == (0, "")
    assert "note: 2 files are left out: 1 hidden (photos/.hidden.png); 1 no images (.txt) (photos/notes.txt)\n" in out
    assert {"photos/a.gif", "photos/b"} <= {row["file"] for row in rows("predictions.csv")}


def test_a_name_is_no_formula_and_no_command(made: Path, photos: Path, capsys, monkeypatch) -> None:
    for i, name in enumerate(("=1+1.png", "\x1b[2J.png")):
        (photos / "part0" / f"0{i}.png").rename(photos / name)
    (photos / "\x1b[31m.png").touch()
    monkeypatch.chdir(photos)
    code, out, err = told(made, ".", "--out", "../a.csv", capsys=capsys)
    assert code == 1
    assert "\x1b" not in out + err
    assert "\\x1b[31m.png: " in err
    assert {"'=1+1.png", "\x1b[2J.png"} <= {row["file"] for row in rows("../a.csv")}


def test_a_batch_has_a_bound(made: Path, photos: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("tlfw.predict.most_images", lambda size: 7)
    code, _, err = told(made, photos, "--batch-size", 8, capsys=capsys)
    assert (code, err.strip()) == (1, "--batch-size: 8 images take more than half of the memory. Use 7.")
    assert told(made, photos, "--batch-size", 7, capsys=capsys)[0] == 0


# Images that are odd


def test_what_is_odd_about_images_is_said(made: Path, photos: Path, capsys) -> None:
    frames = [Image.new("RGB", (40, 40), (200 * k, 0, 0)) for k in range(2)]
    frames[0].save(photos / "moves.webp", save_all=True, append_images=frames[1:], lossless=True)
    png(photos / "dark.png", np.arange(1600).reshape(40, 40) % 4096, 16)
    code, out, _ = told(made, photos, "--batch-size", 1, "--out", "a.csv", capsys=capsys)
    assert code == 0
    assert "note: 1 image has several frames, pages or layers, of which the first is used: photos/moves.webp" in out
    narrow = next(line for line in out.splitlines() if "less than a tenth" in line)
    assert narrow.startswith(
        "  note: 2 images use less than a tenth of what is between black and white: photos/dark.png (0 to 1599, where"
    )
    assert "photos/moves.webp" in narrow


def test_a_bound_on_pixels_can_be_raised_and_lowered(made: Path, photos: Path, capsys) -> None:
    Image.new("RGB", (50, 50)).save(photos / "large.png")
    code, _, err = told(made, photos, "--largest-image", 2499, capsys=capsys)
    assert code == 1
    assert "large.png: it has 2,500 pixels, more than largest_image=2499: set a larger one" in err
    assert len(rows("predictions.csv")) == 30
    assert told(made, photos, "--largest-image", 2500, capsys=capsys)[0] == 0
    assert told(made, photos, "--largest-image", 0, capsys=capsys)[2] == "--largest-image: it is 0. Use 1 or more."


def test_numbers_without_a_white_are_refused_by_name(made: Path, photos: Path, capsys) -> None:
    tiff(photos / "measured.tif", np.ones((20, 20), np.float32))
    code, _, err = told(made, photos, capsys=capsys)
    assert code == 1
    assert "photos/measured.tif: its pixels are floating-point numbers (float32, 1 to 1)" in err


def test_a_run_of_before_is_used_and_that_is_said(made: Path, photos: Path, capsys) -> None:
    copied = Path(shutil.copytree(made, "copied"))
    facts = json.loads((copied / "model.json").read_text())
    own = facts.pop("preprocessing")
    old = {name: own[name] for name in ("size", "resize", "interpolation", "mean", "std")}
    (copied / "model.json").write_text(json.dumps({**facts, "schema": 1, "view": old}))
    code, out, _ = told(copied, photos, capsys=capsys)
    assert code == 0
    assert "note: the run is of an earlier version, which resized images by Pillow" in out
    assert len(rows("predictions.csv")) == 30
