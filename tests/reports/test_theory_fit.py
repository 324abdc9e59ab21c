"""`ssljax theory fit` on runs whose spectrum is known, and what the report shows."""

import json
import re
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fitted_run import STEPS, config_of, times_of, write_fitted_run
from paths import DOCS, ROOT
from written_run import write_run

from ssljax.analytic.mode_fit import FEWEST
from ssljax.commands.main import main
from ssljax.config import OptimizerConfig
from ssljax.config.checks import ConfigError
from ssljax.methods import METHODS
from ssljax.methods.mode_laws import LAWS, law_of
from ssljax.reports.build import build_report
from ssljax.reports.theory_fit import fit_run
from ssljax.runs.build import build_optimizers
from ssljax.runs.folder import RunFolder

GAMMA = np.array([0.9, 0.6, 0.45])


def logistic(x0, rate, times):
    odds = x0 / (1 - x0) * np.exp(rate * times[:, None])
    return odds / (1 + odds)


def spectrum(config, steps=STEPS):
    """Eigenvalues of a linear network under the theory's Barlow Twins."""
    return logistic(0.01, 8.0 * GAMMA, times_of(config, steps)) / GAMMA


@pytest.fixture
def answered(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capfd.readouterr()
        code = main(["theory", "fit", *map(str, words)])
        return code, *capfd.readouterr()

    return run


def test_the_clock_sums_the_schedule_with_momentum():
    config = config_of()
    # 2 epochs of warm-up, then half a cosine, mean 1/2, over the other 8. A momentum of
    # 1/2 doubles all steps but the first few, whose rates here are nearly 0.
    warm, whole = times_of(config, np.array([80, 400]))
    np.testing.assert_allclose(warm, 0.01 * sum(range(80)) / 80 / 0.5, rtol=1e-3)
    np.testing.assert_allclose(whole - warm, 0.5 * 0.01 * 321 / 0.5, rtol=1e-4)


def test_the_clock_is_the_way_of_descent_in_a_constant_slope():
    settings = OptimizerConfig(
        learning_rate=0.1, scale_by_batch=False, momentum=0.9, weight_decay=0.0,
        warmup_epochs=0,
    )  # fmt: skip
    config = replace(config_of(), optimizer=settings)
    optimizer, _, _ = build_optimizers(config, total_steps=400, steps_per_epoch=40)
    place, state, path = jnp.zeros(1), optimizer.init(jnp.zeros(1)), [0.0]
    for _ in range(20):
        update, state = optimizer.update(-jnp.ones(1), state, place)
        place = optax.apply_updates(place, update)
        path.append(float(place[0]))
    np.testing.assert_allclose(times_of(config, np.arange(21)), path, rtol=1e-5)


def test_a_linear_network_s_rates_and_crossings_are_found(answered):
    config = config_of(rate=0.008)
    write_fitted_run(Path("run"), config, spectrum(config))
    code, out, err = answered("run", "--modes", 3)
    assert (code, err) == (0, "")
    assert "3 of 3 fitted modes follow" in out and out.count("follows\n") == 3
    record = json.loads(Path("run/theory_fit.json").read_text())
    modes = record["modes"]
    np.testing.assert_allclose([m["theory_rate"] for m in modes], GAMMA, rtol=1e-3)
    half = np.log(99.0) / (8.0 * GAMMA)
    np.testing.assert_allclose(
        [m["crossing_time_predicted"] for m in modes], half, rtol=1e-3
    )
    # In steps: where the learning rate is low, the same time takes more of them.
    steps = np.interp(half, times_of(config, np.arange(401)), np.arange(401))
    for name in ("predicted", "measured"):
        found = [m[f"crossing_step_{name}"] for m in modes]
        np.testing.assert_allclose(found, steps, atol=2.0)
    assert Path("run/figures/theory_fit.svg").read_text().startswith("<?xml")
    assert record["method"] == "barlow_twins" and record["metric"] in out + str(record)


def test_modes_that_do_not_follow_are_named(answered):
    config = config_of(rate=0.008)
    values = spectrum(config)
    values[:, 2] *= 1.0 + 0.4 * np.sin(STEPS / 20.0)
    write_fitted_run(Path("run"), config, np.c_[values, np.zeros(len(STEPS))])
    code, out, _ = answered("run", "--out", "there")
    assert code == 0
    assert "2 of 3 fitted modes follow; do not follow: 3; not fitted: 4" in out
    assert {p.name for p in Path("there").iterdir()} == {
        "theory_fit_run.svg",
        "theory_fit_run.json",
    }
    third = json.loads(Path("there/theory_fit_run.json").read_text())["modes"][2]
    assert third["follows"] is False and "off the curve" in third["verdict"]


@pytest.mark.parametrize("metric", ["moment_eigenvalues", "eigenvalues"])
def test_shares_of_the_largest_follow_isoloss(metric, tmp_path):
    config = config_of("isoloss_euclidean", rate=0.04)
    x = logistic(np.array([0.1, 0.03]), 4.0 * 0.5 * 1.5, times_of(config))
    # The unit drifts, and 0.9 is where noise in the views stops them.
    unit = 5.0 + np.cos(STEPS / 50.0)[:, None]
    values = unit * np.c_[np.ones(len(STEPS)), (0.9 * x) ** 2]
    folder = write_fitted_run(tmp_path / "run", config, values, metric=metric)
    found = fit_run(RunFolder(folder))
    assert [f.mode for f in found.fits] == [2, 3]
    assert [f.verdict for f in found.fits] == ["follows"] * 2
    np.testing.assert_allclose(
        [f.rate / found.factor for f in found.fits], 1.5, rtol=1e-3
    )
    np.testing.assert_allclose([f.plateau for f in found.fits], 0.81, rtol=1e-3)
    assert ("centred covariance are used" in " ".join(found.notes)) == (
        metric == "eigenvalues"
    )


def test_a_method_without_a_theory_is_one_line(answered):
    write_run(Path("run"), config_of("simclr"))
    code, out, err = answered("run")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert err.startswith("ssljax: no theory of single modes for simclr here; methods")
    assert "barlow_twins, isoloss_euclidean, directpred_euclidean" in err


@pytest.mark.parametrize(
    "values, steps, message",
    [
        (np.full((41, 3), 1e-9), STEPS, "the spectrum of .* does not change"),
        (np.zeros((41, 3)), STEPS, "the spectrum of .* does not change"),
        (np.ones((3, 3)), STEPS[:3], f"has 3 spectrum panels.*at least {FEWEST}"),
    ],
)
def test_a_run_without_a_rise_is_one_line(values, steps, message, tmp_path):
    folder = write_fitted_run(tmp_path / "run", config_of(), values, steps=steps)
    with pytest.raises(ConfigError, match=message):
        fit_run(RunFolder(folder))


def test_other_refusals(answered, tmp_path):
    code, _, err = answered("nowhere")
    assert code == 2 and "holds no run" in err and not Path("nowhere").exists()
    folder = write_fitted_run(Path("run"), config_of(), spectrum(config_of()))
    assert "--modes is 0" in answered("run", "--modes", 0)[2]
    Path("file").touch()
    assert "choose another --out" in answered("run", "--out", "file")[2]
    (folder / "data.json").unlink()
    assert "data.json does not say how many" in answered("run")[2]


def test_every_row_is_a_method_with_a_theory_that_exists():
    from ssljax.commands.theory import names

    assert set(LAWS) <= set(METHODS)
    assert {law.theory for law in LAWS.values()} <= set(names())
    for method in LAWS:
        law_of(config_of(method))


@pytest.mark.parametrize("options", [{"epsilon": 0.1}, {"convention": "luckmatters"}])
def test_predictors_of_another_form_have_no_law(options):
    with pytest.raises(ConfigError, match="it needs epsilon 0 and convention 'fmi'"):
        law_of(config_of("directpred_euclidean", **options))


def test_the_report_shows_figure_and_table(tmp_path):
    config = config_of(rate=0.008)
    folder = write_fitted_run(tmp_path / "run", config, spectrum(config))
    page = build_report(folder).read_text()
    assert "Modes beside theory" in page and "<td>follows</td>" in page
    assert "3 of 3 fitted modes follow" in page
    assert (folder / "report/theory_fit.png").read_bytes()[1:4] == b"PNG"
    # Three panels are too few, and the old picture would contradict the page.
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:3]))
    page = build_report(folder).read_text()
    assert "has 3 spectrum panels" in page
    assert not (folder / "report/theory_fit.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, conclusion",
    [
        (
            "barlow_twins",
            "3 of 11 fitted modes follow; do not follow: 4-6, 8-12; not fitted: 1-3, "
            "13-14",
        ),
        (
            "isoloss_euclidean",
            "0 of 8 fitted modes follow; do not follow: 2-9; not fitted: 10-17",
        ),
    ],
)
def test_the_stored_runs_give_the_numbers_of_the_page(name, conclusion):
    found = fit_run(RunFolder(ROOT / "experiments/results/theory_fit" / name))
    assert found.conclusion == conclusion
    page = (DOCS / "theory.md").read_text()
    for mode, rate, predicted, measured, off, verdict in found.rows():
        if rate == "-":
            continue
        words = verdict.removeprefix("does not follow: ").removesuffix(" for its start")
        if "curve" in words:
            words = "does not follow"
        row = f"| {mode} | {predicted} | {measured} | {off} | {words} |"
        assert row in page, row


def test_the_stored_runs_name_no_path_of_a_machine():
    for path in (ROOT / "experiments/results/theory_fit").rglob("*"):
        if path.is_file():
            assert not re.search(r"/(tmp|home|work|root)/", path.read_text()), path
    size = sum(
        path.stat().st_size
        for path in (ROOT / "experiments/results/theory_fit").rglob("*")
    )
    assert size < 200_000
