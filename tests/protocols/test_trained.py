"""linear_sgd and finetune: runs inside of the run, which they never change."""

import json
import shutil

import coloured
import numpy as np
import pytest
from contents import contents

import ssljax
from ssljax.config.checks import ConfigError
from ssljax.data import from_arrays
from ssljax.protocols import children, trained
from ssljax.protocols.settings import Settings
from ssljax.runs.encoder import restore
from ssljax.runs.loop import TrainingFailed

ALL = ("linear_sgd", "finetune", "semi_supervised")


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    return coloured.trained_run(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture
def run(before, tmp_path):
    """A copy of the run, which a test may write into."""
    return shutil.copytree(before, tmp_path / "run")


def evaluate(run, *protocols, test=None, **settings):
    table = ssljax.evaluate(
        run,
        protocols=protocols,
        train=coloured.train_images(),
        test=coloured.test_images() if test is None else test,
        **({"epochs": 1.0, "learning_rates": [1.0], "batch_size": 25} | settings),
    )
    # An evaluation keeps the rows of the protocols before it.
    kinds = {name: [] for name in protocols}
    for row in table.records:
        kinds.get(row["protocol"].split()[0], []).append(row)
    return sum(kinds.values(), [])


def no_training(*_, **__):
    raise AssertionError("this was trained before")


@pytest.mark.slow
def test_the_run_is_not_changed_and_the_same_command_gives_the_same_number(
    run, monkeypatch
):
    encoder = contents(run / "checkpoints")
    options = {"fractions": [0.5]}
    first = evaluate(run, *ALL, **options)
    assert contents(run / "checkpoints") == encoder
    kinds = [row["protocol"].split(" (")[0] for row in first]
    assert kinds == ["linear_sgd", "finetune", "semi_supervised 50 %"]
    assert [row["train_examples"] for row in first] == [120, 120, 60]
    # A second time the trained networks are read, and the third time they train again.
    with monkeypatch.context() as patch:
        patch.setattr(children, "pretrain", no_training)
        assert evaluate(run, *ALL, **options) == first
    shutil.rmtree(run / "protocols" / "linear_sgd")
    assert evaluate(run, "linear_sgd") == first[:1]
    # What is frozen is that encoder, and what is fine-tuned is another by now.
    theirs = restore(run).state.params["encoder"]["conv1"]["kernel"]
    for protocol, same in (("linear_sgd", True), ("finetune", False)):
        (child,) = (run / "protocols" / protocol).iterdir()
        found = restore(child)
        kernel = found.state.params["encoder"]["conv1"]["kernel"]
        assert np.array_equal(kernel, theirs) == same, protocol
        assert found.data.mean == restore(run).data.mean


@pytest.mark.slow
def test_settings_are_chosen_on_training_images_alone(run, monkeypatch):
    rates = [1.0, 1e-3]
    (found,) = evaluate(run, "linear_sgd", learning_rates=rates)
    assert "learning rate 1 (best of 1, 0.001 on a held-out tenth" in found["detail"]
    right = coloured.test_images()
    wrong = from_arrays(right.images, (np.asarray(right.labels) + 1) % 3, split="test")
    (swapped,) = evaluate(run, "linear_sgd", test=wrong, learning_rates=rates)
    assert swapped["detail"] == found["detail"]
    assert swapped["accuracy"] <= 100 - found["accuracy"]
    names = sorted(each.name for each in (run / "protocols" / "linear_sgd").iterdir())
    parts = [name for name in names if "nine_tenths" in name]
    assert len(names) == 3 and len(parts) == 2, names
    for name in parts:
        data = json.loads(
            (run / "protocols" / "linear_sgd" / name / "data.json").read_text()
        )
        assert data["examples"] == 108


@pytest.mark.slow
def test_another_step_is_another_training_and_a_moved_run_keeps_its_own(
    run, monkeypatch, tmp_path
):
    def names(folder):
        return {each.name for each in (folder / "protocols" / "linear_sgd").iterdir()}

    evaluate(run, "linear_sgd")
    newest = names(run)
    (earlier,) = evaluate(run, "linear_sgd", checkpoint=10)
    assert {name[:7] for name in names(run) - newest} == {"step_10"}
    assert (run / "evaluation-step_10.json").exists()
    moved = run.rename(tmp_path / "elsewhere")
    monkeypatch.setattr(children, "pretrain", no_training)
    assert evaluate(moved, "linear_sgd", checkpoint=10) == [earlier]


@pytest.mark.slow
def test_a_training_that_was_interrupted_before_its_first_checkpoint_moves_too(
    run, monkeypatch, tmp_path
):
    def killed(config, folder, **_):
        children.RunFolder(folder).claim(config)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(children, "pretrain", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate(run, "finetune")
    moved = run.rename(tmp_path / "elsewhere")
    assert evaluate(moved, "finetune")[0]["accuracy"] is not None
    (child,) = (moved / "protocols" / "finetune").iterdir()
    assert json.loads((child / "config.json").read_text())["model"]["init_from"] == str(
        moved
    )


@pytest.mark.slow
def test_the_untrained_network_is_trained_in_the_same_way(run):
    rows = evaluate(run, "linear_sgd", "finetune", baseline=True)
    assert [row["representation"] for row in rows] == [
        "encoder",
        "untrained network",
    ] * 2
    assert rows[0]["detail"] == rows[1]["detail"]
    drawn = restore(run, untrained=True).state.params["encoder"]["conv1"]["kernel"]
    (child,) = (run / "protocols" / "linear_sgd").glob("untrained-*")
    found = restore(child).state.params["encoder"]["conv1"]["kernel"]
    assert np.array_equal(found, drawn)


def test_a_rate_that_diverges_is_left_out(monkeypatch, capsys):
    asked, task = fake(rates=(9.0, 0.1))

    def diverges(asked, task, rows, rate, part):
        if rate > 1:
            raise TrainingFailed("step 3: the loss or its gradient is not finite")
        return None

    monkeypatch.setattr(trained, "train", diverges)
    monkeypatch.setattr(trained, "accuracy", lambda run, source: (0.5, source.size))
    assert trained._choose(asked, task, None)[0] == 0.1
    assert "learning rate 9 left out: step 3" in capsys.readouterr().err
    asked, task = fake(rates=(9.0, 8.0))
    with pytest.raises(ConfigError, match="linear_sgd failed at every learning rate"):
        trained._choose(asked, task, None)


def fake(rates):
    class Config:
        seed = 0

    class Run:
        config = Config()

    asked = trained.Asked(
        None, Run(), coloured.train_images(), coloured.test_images(), Settings()
    )
    return asked, children.Task("linear_sgd", "", True, 1.0, rates, 24)


@pytest.mark.slow
def test_without_labels_there_is_one_line(run):
    plain = from_arrays(coloured.test_images().images, name="plain", split="test")
    for protocol in ALL:
        with pytest.raises(
            ConfigError, match=rf"protocol {protocol} needs labels, but plain \(test\)"
        ):
            evaluate(run, protocol, test=plain)
    assert not (run / "protocols").exists()


@pytest.mark.parametrize(
    "settings, line",
    [
        ({"epochs": 0.0}, "epochs is 0.0; allowed: > 0"),
        ({"learning_rates": []}, "learning_rates is .*; allowed: one or more numbers"),
        ({"learning_rates": [0.1, -1.0]}, "learning_rates is .* > 0"),
        ({"learning_rates": 0.1}, "learning_rates is 0.1; allowed: several"),
        ({"fractions": [1.5]}, "fractions is .*; allowed: one or more numbers above 0"),
        ({"batch_size": 1}, "batch_size is 1; allowed: >= 2"),
        ({"optimizer": "adam"}, "optimizer is 'adam'; allowed: 'sgd', 'lars'"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0; allowed: >= 0"),
        ({"learning_rate": [0.1]}, "evaluate has no setting 'learning_rate'"),
    ],
)
def test_impossible_settings_are_one_line(settings, line):
    with pytest.raises(ConfigError, match=line):
        Settings.of({"protocol": ["finetune"], **settings})
