"""The scan of a folder: kept between starts, never stale, little read."""

import builtins
import os
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from ssljax.data import load
from ssljax.data import scan as scans
from ssljax.data.scan import scan

COUNT = 24


def write(path, value, size=(40, 36), quality=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(noise).save(path, quality=quality)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(scans, "FEWEST", 1)
    monkeypatch.setattr(scans, "_UNSETTLED", 0)
    for i in range(COUNT):
        write(tmp_path / "set" / "ab"[i % 2] / f"{i}.jpg", i, (40 + i, 36))
    (tmp_path / "set" / "a" / "none.jpg").write_bytes(b"")
    return tmp_path / "set"


def files_of(root):
    found = [p.relative_to(root).as_posix() for p in root.rglob("*.jpg")]
    return sorted(found)


def facts(found):
    """What a scan says of each file, whatever was kept."""
    return {
        file: (*found.sizes[i], found.marks[i], found.reasons.get(i))
        for i, file in enumerate(found.files)
    }


def anew(root, monkeypatch):
    """Scan without what is kept."""
    with monkeypatch.context() as patch:
        patch.setattr(scans, "_place", lambda _: None)
        return facts(scan(root, files_of(root)))


def test_a_second_scan_opens_nothing(root, monkeypatch):
    first = scan(root, files_of(root))
    assert first.examined == COUNT + 1
    assert facts(first)["a/none.jpg"][-1] == "empty file"
    assert facts(first)["b/1.jpg"][:2] == (41, 36)

    def refuse(*_):
        raise AssertionError("a file was opened")

    monkeypatch.setattr(scans, "examine", refuse)
    again = scan(root, files_of(root))
    assert again.examined == 0 and facts(again) == facts(first)
    few = scan(root, files_of(root)[5:9])
    assert few.examined == 0 and facts(few).items() <= facts(first).items()


def edit_in_place(path):
    """Write other content of the same length, and set the old time again."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-400:-200] = bytes(200)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def swap(path, other):
    kept = path.with_name("kept")
    path.rename(kept)
    other.rename(path)
    kept.rename(other)


CHANGES = {
    "added": (lambda a: write(a / "new.jpg", 300), {"a/new.jpg"}),
    "removed": (lambda a: (a / "2.jpg").unlink(), set()),
    "edited": (lambda a: edit_in_place(a / "2.jpg"), {"a/2.jpg"}),
    "replaced": (
        lambda a: (write(a / "n.png", 9), (a / "n.png").rename(a / "2.jpg")),
        {"a/2.jpg"},
    ),
    "truncated": (lambda a: os.truncate(a / "2.jpg", 600), {"a/2.jpg"}),
    "repaired": (lambda a: write(a / "none.jpg", 5), {"a/none.jpg"}),
    "swapped": (lambda a: swap(a / "2.jpg", a / "4.jpg"), {"a/2.jpg", "a/4.jpg"}),
    "linked": (
        lambda a: ((a / "2.jpg").unlink(), (a / "2.jpg").symlink_to("4.jpg")),
        {"a/2.jpg"},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(root, monkeypatch, change):
    before = facts(scan(root, files_of(root)))
    time.sleep(0.02)  # a file system's clock may tick every hundredth of a second
    make, looked_at = CHANGES[change]
    make(root / "a")
    after = scan(root, files_of(root))
    assert facts(after) == anew(root, monkeypatch) != before
    assert after.examined == len(looked_at) or change in ("swapped", "replaced")
    assert scan(root, files_of(root)).examined == 0


def test_files_that_may_still_change_are_examined_again(root, monkeypatch):
    monkeypatch.setattr(scans, "_UNSETTLED", 10**11)
    for _ in range(2):
        assert scan(root, files_of(root)).examined == COUNT + 1


def test_a_file_that_cannot_be_opened_is_tried_again(root):
    (root / "a" / "gone.jpg").symlink_to(root.parent / "disk" / "x.jpg")
    files = [*files_of(root)]
    assert "a/gone.jpg" in files
    first = facts(scan(root, files))
    assert first["a/gone.jpg"][-1] == "No such file or directory"
    write(root.parent / "disk" / "x.jpg", 3)
    again = scan(root, files)
    assert again.examined == 1 and facts(again)["a/gone.jpg"][-1] is None


@pytest.mark.parametrize("how", ["cut", "nonsense", "version", "forbidden", "homeless"])
def test_a_cache_that_cannot_be_used_is_made_again(root, monkeypatch, how):
    first = facts(scan(root, files_of(root)))
    (place,) = (root.parent / "cache").rglob("*.npz")
    if how == "cut":
        place.write_bytes(place.read_bytes()[:-300])
    if how == "nonsense":
        place.write_bytes(b"nonsense")
    if how == "version":
        monkeypatch.setattr(scans, "FORMAT", 0)
    if how == "forbidden":
        shutil.rmtree(root.parent / "cache")
        (root.parent / "cache").write_text("no folder")
    if how == "homeless":
        monkeypatch.setattr(scans, "_place", lambda _: None)
    again = scan(root, files_of(root))
    assert again.examined == COUNT + 1 and facts(again) == first
    leftover = [p for p in root.parent.rglob(".*.npz")]
    assert leftover == []


def test_train_and_test_share_what_is_kept(root, monkeypatch):
    def both():
        sources = [load("folder", path=str(root), split=s) for s in ("train", "test")]
        return [(s.fingerprint(), s.skipped, s.note) for s in sources]

    first = both()
    monkeypatch.setattr(scans, "examine", None)
    assert both() == first


def test_splits_are_kept_together(root, monkeypatch):
    for name in "ab":
        shutil.move(root / name, root / "train" / name)
        write(root / "test" / name / "0.jpg", 700 + ord(name))
    kwargs = {"path": str(root), "store": "stream"}
    for split in ("test", "train"):
        load("folder", split=split, **kwargs)
    monkeypatch.setattr(scans, "examine", None)
    for split in ("test", "train"):
        load("folder", split=split, **kwargs)


def test_two_blocks_of_a_file_are_read(root, monkeypatch):
    """And not the file, which costs most where the folder is on a network."""
    for i in range(COUNT):
        write(root / "a" / f"large{i}.jpg", i, (400, 300), quality=95)
    smallest = min(p.stat().st_size for p in root.glob("a/large*"))
    assert smallest > 90_000
    opened, read = builtins.open, []

    class Counting:
        def __init__(self, path, *args, **kwargs):
            self.file = opened(path, *args, **kwargs)

        def read(self, *args):
            content = self.file.read(*args)
            read.append(len(content))
            return content

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

    monkeypatch.setattr(builtins, "open", Counting)
    files = [f for f in files_of(root) if "large" in f]
    assert scan(root, files).examined == COUNT
    assert len(read) == 2 * COUNT and sum(read) == 8192 * COUNT
