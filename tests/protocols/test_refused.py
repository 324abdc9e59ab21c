"""What an evaluation that trains refuses: one line of docs/faults.md, exit code 2."""

import coloured
import pytest
from faulty import on_the_page
from PIL import Image

from ssljax.commands.main import main
from ssljax.runs.checkpoint import Checkpoints
from ssljax.runs.encoder import restore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run, images of its classes, and images without classes."""
    root = tmp_path_factory.mktemp("refused")
    coloured.trained_run(root / "run")
    coloured.write_images(root / "photos")
    for split in ("train", "test"):
        (root / "plain" / split).mkdir(parents=True)
        for i in range(4):
            shade = 20 * i + 100 * (split == "test")
            Image.new("RGB", (12, 12), (shade, 0, 0)).save(
                root / "plain" / split / f"{i}.png"
            )
    lists = {
        "unknown.txt": "train/blue/0.png\nn03_1.JPEG\n",
        "green.txt": "train/green/1.png\n",
    }
    for name, text in lists.items():
        (root / name).write_text(text)
    return root


def refused(capsys, place, run, *words):
    code = main(["evaluate", str(run), *map(str, words)])
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2, line
    names = {run: "RUN", place / "photos": "DATA", place: "DIR"}
    assert on_the_page(line, 2, names), line


@pytest.mark.parametrize(
    "data, words",
    [
        ("plain", ["linear_sgd"]),
        ("photos", ["semi_supervised", "--fractions", 0.01]),
        ("photos", ["semi_supervised", "--label-list", "unknown.txt"]),
        ("photos", ["semi_supervised", "--label-list", "green.txt"]),
        ("photos", ["semi_supervised", "--label-list", "nowhere.txt"]),
        ("photos", ["finetune", "--batch-size", 5000]),
    ],
    ids=["no labels", "few", "unknown", "class", "no list", "batch"],
)
def test_what_the_images_do_not_allow(place, capsys, data, words):
    words = [place / word if str(word).endswith(".txt") else word for word in words]
    run = place / "run"
    refused(capsys, place, run, "--data", place / data, "--protocol", *words)
    assert not list(run.glob("evaluation*"))
    assert not list(run.glob("protocols/*/step*"))


def test_a_checkpoint_without_an_encoder(place, capsys):
    run = coloured.trained_run(place / "headless")
    state = restore(run).state
    heads = {name: tree for name, tree in state.params.items() if name != "encoder"}
    checkpoints = Checkpoints(run / "checkpoints", keep=2)
    headless = state.replace(params=heads)  # pyright: ignore[reportAttributeAccessIssue]
    checkpoints.save(30, headless, {"step": 30})
    checkpoints.close()
    words = ["--data", place / "photos", "--protocol", "linear_sgd"]
    refused(capsys, place, run, *words)
    (run / "checkpoints").rename(place / "away")
    refused(capsys, place, run, *words)
