"""`ssljax bench`: its options, what it refuses, and one benchmark from end to end."""

import importlib.util
import json
import math

import pytest

from ssljax.commands.main import main

RECIPE = "shapes/quickstart"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--steps", "3"], "the recipe comes first: ssljax bench RECIPE"),
        (["shapes/quickstrat"], "no recipe 'shapes/quickstrat'; did you mean"),
        ([RECIPE, "--steps", "0"], "--steps is 0; allowed: at least 1"),
        ([RECIPE, "--steps", "x"], "--steps must be a whole number, got 'x'"),
        ([RECIPE, "--threads", "0"], "--threads is 0; allowed: 1 to "),
        ([RECIPE, "--against", "tf"], "--against must be one of "),
        ([RECIPE, "--profil", "d"], "unknown option '--profil'; did you mean"),
        ([RECIPE, "--json", "/dev/null/x.json"], "--json /dev/null/x.json cannot be "),
        ([RECIPE, "--profile", "/dev/null/x"], "--profile /dev/null/x cannot be "),
        ([RECIPE, "--batch-size", "1"], "batch_size is 1; allowed: >= 2"),
    ],
)
def test_refusals(refused, words, line):
    assert refused("bench", *words).startswith(line)


def test_without_pytorch_one_line_names_the_extra(refused, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "torch" else find(name, *rest),
    )
    assert refused("bench", RECIPE, "--against", "torch") == (
        "--against torch needs PyTorch, which is not installed; run pip install "
        "'ssljax[bench]'"
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--method.name", "simsiam"], "method.name is 'simsiam'; allowed: simclr, "),
        (["--devices.microbatch", "16"], "compares whole steps"),
        (["--devices.engine", "pmap"], "compares whole steps"),
        (["--devices.count", "2"], "compares one device; add --devices.count 1"),
        (["--augment.sizes", "32", "16", "16"], "compares two views"),
    ],
)
def test_what_pytorch_is_not_made_to_do(refused, monkeypatch, words, line):
    from ssljax.benchmark.pytorch import twin

    monkeypatch.setattr(twin, "check_installed", lambda: None)
    assert line in refused("bench", RECIPE, "--against", "torch", *words)


def test_the_help_without_and_with_a_recipe(capsys):
    assert main(["bench", "--help"]) == 0
    out = capsys.readouterr().out
    for flag in ("--steps", "--json", "--against torch", "--profile", "--threads"):
        assert flag in out
    with pytest.raises(SystemExit):
        main(["bench", RECIPE, "--help"])
    assert "--optimizer.learning-rate" in capsys.readouterr().out


@pytest.mark.slow
def test_a_benchmark_from_end_to_end(answered, elsewhere):
    file, folder = elsewhere / "bench.json", elsewhere / "trace"
    words = "--smoke --steps 3 --devices.count 1 --batch-size 32 --model.width 0.25"
    words += " --monitor.examples 64 --monitor.knn-examples 64"
    words += " --monitor.knn-test-examples 64 --data.examples 512"
    out = answered("bench", RECIPE, *words.split(), "--json", file, "--profile", folder)
    record = json.loads(file.read_text())
    rows = {row["key"]: row for row in record["rows"]}
    value = {key: row["value"] for key, row in rows.items()}
    for row in record["rows"]:
        assert f"\n{row['title']} " in out
        assert row["value"] is not None and math.isfinite(row["value"]), row
    assert value["load_average"] >= 0
    assert value["recompiles"] == 0
    step = rows["step_time"]
    assert 0 < step["low"] <= step["value"] <= step["high"]
    assert value["images_per_second"] * value["step_time"] == pytest.approx(32)
    assert value["images_per_second_end_to_end"] > 0
    for share in ("matmul_share", "copy_share", "panel_share", "input_wait"):
        assert 0 < value[share] < 1.5, share
    expected = value["matrix_flops"] / value["step_time"]
    assert value["flops_per_second"] == pytest.approx(expected)
    assert 0.5 < value["xla_flops"] / value["matrix_flops"] < 2
    parts = {"trace_time", "compile_time", "panel_time", "evaluation_time"}
    assert parts | {"peak_memory", "time_to_first_step"} <= value.keys()
    assert all(value[part] > 0 for part in parts)
    assert value["time_to_first_step"] > value["trace_time"] + value["compile_time"]
    # Where the time goes, from the trace.
    operations = {row["key"]: row["value"] for row in record["operations"]}
    assert {"convolution", "matmul", "elementwise", "reduction"} <= operations.keys()
    assert 0 < operations["busy"] <= 1 and record["slowest_operations"]
    assert list(folder.rglob("*.xplane.pb"))
    assert record["config"]["batch_size"] == 32 and record["recipe"] == RECIPE
    assert record["environment"]["versions"]["jax"]


@pytest.mark.slow
def test_a_step_in_parts_has_rows_without_a_value_that_say_why(answered):
    words = "--smoke --steps 2 --devices.count 1 --batch-size 16 --devices.microbatch 8"
    words += " --monitor.every-epochs 0 --data.examples 64"
    out = answered("bench", RECIPE, *words.split())
    assert out.count("only for devices.engine jit, without devices.microbatch") == 3
    assert "the monitor is off" in out and "compile and first step" in out
