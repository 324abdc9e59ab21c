"""Smaller copies of a data set: what is in them, and that they are whole."""

import json
from dataclasses import replace

import micro  # noqa: F401
import numpy as np
import pytest
from PIL import Image

from ssljax.commands.main import main
from ssljax.config import Config, DataConfig, ModelConfig
from ssljax.data import load, subset
from ssljax.data import smaller as module
from ssljax.data.decode import decode
from ssljax.data.host_crop import HostCrops
from ssljax.data.presets import View
from ssljax.data.smaller import RECORD, plan_smaller, smaller_jpeg, write_smaller
from ssljax.data.source import DataError
from ssljax.methods import resolve
from ssljax.runs.describe import describe
from ssljax.runs.setup import prepare


def picture(seed, *, width=60, height=40, mode="RGB"):
    """Return a smooth picture that differs from all others."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return (
        Image.fromarray(small)
        .resize((width, height), Image.Resampling.BICUBIC)
        .convert(mode)
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes below train and test, in several formats, one file damaged."""
    root = tmp_path_factory.mktemp("photos") / "photos"
    for split, count in (("train", 6), ("test", 3)):
        for name, first in (("cats", 0), ("dogs", 50)):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                image = picture(first + i + 100 * (split == "test"))
                image.save(root / split / name / f"{i}.jpg", quality=95)
    cats = root / "train" / "cats"
    picture(30).save(cats / "same.png")
    picture(31).save(cats / "same.jpg")
    picture(32, mode="L").save(cats / "grey.png")
    picture(33, width=20, height=10).save(cats / "tiny.jpg", quality=95)
    turned = Image.Exif()
    turned[274] = 6
    picture(34).save(cats / "turned.jpg", exif=turned)
    (cats / "damaged.jpg").write_bytes((cats / "0.jpg").read_bytes()[:500])
    (cats / "notes.txt").write_text("not an image")
    return root


def pixels(path, size=None):
    return decode(path, size=size).astype(int)


def test_a_copy_has_every_image_where_it_was(photos, tmp_path, capsys):
    out = tmp_path / "copy"
    assert (
        main(["data", "prepare", str(photos), "--out", str(out), "--image-size=16"])
        == 0
    )
    said = capsys.readouterr().out
    assert "left out: train/cats/damaged.jpg" in said and f"23 images in {out}" in said
    files = sorted(
        p.relative_to(out).as_posix() for p in out.rglob("*.*") if p.is_file()
    )
    names = [*(f"{i}.jpg" for i in range(6)), "grey.jpg", "same.jpg", "same.png.jpg"]
    expected = [RECORD]
    expected += [f"test/{c}/{i}.jpg" for c in ("cats", "dogs") for i in range(3)]
    expected += [f"train/cats/{n}" for n in (*names, "tiny.jpg", "turned.jpg")]
    expected += [f"train/dogs/{i}.jpg" for i in range(6)]
    assert files == sorted(expected)
    for name, shape in [("0.jpg", (16, 24, 3)), ("turned.jpg", (24, 16, 3))]:
        assert pixels(out / "train" / "cats" / name).shape == shape
    # Copied to the byte: encoding it again would only lose.
    tiny = photos / "train" / "cats" / "tiny.jpg"
    assert (out / "train" / "cats" / "tiny.jpg").read_bytes() == tiny.read_bytes()
    with Image.open(out / "train" / "cats" / "grey.jpg") as grey:
        assert grey.mode == "L"
    for name in ("0.jpg", "turned.jpg"):
        old, new = (
            pixels(root / "train" / "cats" / name, 16) for root in (photos, out)
        )
        # Colours of JPEGs have half the resolution; another picture is 60 away.
        assert abs(old - new).mean() < 8
    for split in ("train", "test"):
        old, new = (
            load("folder", path=str(root), split=split, image_size=16)
            for root in (photos, out)
        )
        assert old.size == new.size and old.class_names == new.class_names
        np.testing.assert_array_equal(old.labels, new.labels)


def test_an_interrupted_copy_is_refused_and_continued(photos, tmp_path, monkeypatch):
    out = tmp_path / "copy"
    whole = module._write
    left = iter(range(9))

    def fail_later(path, data):
        if next(left, None) is None:
            raise KeyboardInterrupt
        whole(path, data)

    monkeypatch.setattr(module, "_write", fail_later)
    with pytest.raises(KeyboardInterrupt):
        write_smaller(str(photos), out, size=16, quality=90, quiet=True)
    monkeypatch.setattr(module, "_write", whole)
    some = {p: p.stat().st_mtime_ns for p in out.rglob("*.jpg")}
    assert 0 < len(some) < 23
    with pytest.raises(DataError, match="was interrupted; run ssljax data prepare"):
        load("folder", path=str(out))
    with pytest.raises(DataError, match="another image_size .16, asked for 8"):
        write_smaller(str(photos), out, size=8, quality=90, quiet=True)
    count, skipped = write_smaller(str(photos), out, size=16, quality=90, quiet=True)
    assert count == 23 and [name for name, _ in skipped] == ["train/cats/damaged.jpg"]
    # What was there was not written again.
    assert some == {p: p.stat().st_mtime_ns for p in some}
    assert not [p for p in out.rglob(".*") if p.name != RECORD]
    assert json.loads((out / RECORD).read_text())["complete"] is True
    assert load("folder", path=str(out)).size


def test_a_dry_run_says_what_a_copy_costs(photos, tmp_path, capsys):
    words = ["data", "prepare", str(photos), "--out", str(tmp_path / "copy")]
    assert main([*words, "--image-size", "16", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "60 x 40" in said and "shorter side 16" in said and "100%" in said
    assert not (tmp_path / "copy").exists()
    plan = plan_smaller(str(photos), size=16, quality=90)
    files = [p for p in photos.rglob("*.*g") if p.name != "damaged.jpg"]
    before = sum(p.stat().st_size for p in files)
    assert plan.images == 24 and plan.bytes_after < before
    # The share of the damaged file is guessed: 23 of 24 are known.
    assert plan.bytes_before == pytest.approx(before, rel=0.01)


def test_the_share_of_enlarged_crops_is_that_of_the_boxes():
    crops = HostCrops((View(), View()), (224, 224))
    sizes = [(500, 375)] * 3
    assert crops.enlarged(sizes) == pytest.approx(0.22, abs=0.02)
    assert crops.enlarged([(341, 256)]) > 0.6
    assert crops.enlarged([(500, 375), (100, 100)]) == pytest.approx(0.61, abs=0.02)
    assert HostCrops((View(),), (10,)).enlarged(sizes) == 0


def test_the_plan_of_a_run_says_how_many_crops_are_enlarged(tmp_path):
    for i in range(40):
        (tmp_path / f"{i % 2}").mkdir(exist_ok=True)
        picture(i, width=200, height=150).save(tmp_path / f"{i % 2}" / f"{i}.jpg")
    data = DataConfig("folder", path=str(tmp_path), image_size=128, store="stream")
    config = resolve(Config(data=data, model=ModelConfig("micro"), batch_size=8))
    source = load("folder", path=str(tmp_path), image_size=128, store="stream")
    setup = prepare(config, source)
    for seen in (source, subset(source, 20, seed=0)):
        rows = dict(describe(setup, seen))
        share = float(rows["crop"].split(";")[1].split("%")[0])
        assert 40 < share < 80 and "median image 200 x 150" in rows["crop"]
    # A reader of a user's own has no file sizes.
    own = replace(source, read=lambda i: source.read(i))
    kept = dict(describe(setup, own))
    assert kept["crop"].endswith("original image, antialiased")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{photos}", "--out", "{photos}/copy"], "inside the folder that is copied"),
        (["{photos}", "--out", "{photos}"], "inside the folder that is copied"),
        (["{photos}", "--out", "{tmp}"], "is not empty; choose a new folder"),
        (["{photos}", "--dry-run"], "name it: --out DIR"),
        (["{tmp}/file", "--out", "{tmp}/x"], "is not a folder"),
        (["./missing", "--out", "{tmp}/x"], "is not a folder"),
        (["{tmp}/none", "--out", "{tmp}/x"], "no image in"),
        (["{photos}", "--out", "{tmp}/x", "--quality", "99"], "--quality 99; allowed"),
        (["{photos}", "--out", "{tmp}/x", "--image-size", "0"], "--image-size is 0"),
        (
            ["{photos}", "--out", "{tmp}/x", "--imagesize", "9"],
            "did you mean '--image-size'",
        ),
        (["cifar11", "--out", "{tmp}/x"], "no data set is called 'cifar11'"),
    ],
)
def test_a_copy_that_cannot_be_made_is_one_line(
    words, message, photos, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    (tmp_path / "none").mkdir()
    words = [word.format(photos=photos, tmp=tmp_path) for word in words]
    assert main(["data", "prepare", *words]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said
    assert not (tmp_path / "x").exists()


def test_damage_is_found_while_a_small_jpeg_is_copied(photos):
    tiny = (photos / "train" / "cats" / "tiny.jpg").read_bytes()
    assert smaller_jpeg(tiny, size=16, quality=90) == tiny
    with pytest.raises(ValueError):
        smaller_jpeg(tiny[: len(tiny) // 2], size=16, quality=90)
