"""The reproductions: their claims hold in the records, and their commands run."""

import doctest
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import reproduction
from duality import run as duality
from implicit_variance import recruitment
from paths import DOCS, ROOT
from reproduction import judged
from stepwise import steps

from ssljax.evaluation.rank_correlation import rank_correlation

RESULTS = ROOT / "experiments" / "results"
PAPERS = (
    "implicit_variance",
    "prediction_head",
    "spectral_transformation",
    "stepwise",
)


def record_of(paper):
    return json.loads((RESULTS / f"{paper}_cpu.json").read_text("utf-8"))


def mean_of(record, arm, key):
    """The mean over the runs themselves, not the one that the record states."""
    return np.mean([run[key] for run in record["runs"] if run["arm"] == arm])


def test_an_off_diagonal_head_has_more_rank_than_a_frozen_one():
    record = record_of("prediction_head")
    trained, frozen = (
        mean_of(record, arm, "rank_z") for arm in ("off_diagonal", "frozen")
    )
    assert trained >= 1.5 * frozen


def test_the_diagonal_of_an_off_diagonal_head_stays_one():
    runs = record_of("prediction_head")["runs"]
    gaps = {run["arm"]: run["diagonal_gap"] for run in runs if "diagonal_gap" in run}
    assert gaps["off_diagonal"] == gaps["no_stop_gradient"] == gaps["frozen"] == 0
    assert gaps["diagonal"] > 0 and gaps["full"] > 0


def test_a_frozen_head_has_no_off_diagonal_part_and_a_trained_one_has():
    curves = record_of("prediction_head")["curves"]
    for arm in ("frozen", "diagonal"):
        assert set(curves[arm]["off_diagonal"]) == {0.0}
    for arm in ("off_diagonal", "symmetric", "full", "no_stop_gradient"):
        assert min(curves[arm]["off_diagonal"]) > 0.1


def test_intl_collapses_without_its_trace_loss_and_not_with_it():
    record = record_of("spectral_transformation")
    with_it, without = (
        mean_of(record, arm, "rank_z") for arm in ("intl", "intl_no_trace")
    )
    assert with_it >= 2 * without


def test_whitening_leaves_a_flat_spectrum_and_the_identity_does_not():
    curves = record_of("spectral_transformation")["curves"]
    white = np.array(curves["power_0.5"]["z_hat"])
    np.testing.assert_allclose(white, 1.0, rtol=1e-2)
    assert curves["power_0"]["z_hat"][-1] < 0.1 * curves["power_0"]["z_hat"][0]


@pytest.mark.parametrize("arm", ["pairs", "pairs_of_shapes"])
def test_eigenvalues_of_a_resnet_cross_half_plateau_one_at_a_time_in_order(arm):
    curve = record_of("stepwise")["curves"][arm]
    steps, values = np.array(curve["steps"]), np.array(curve["eigenvalues"])
    # The plateau of every mode is one.
    halves = [int(np.argmax(column >= 0.5)) for column in values[:, :5].T]
    assert halves[0] > 0 and (np.diff(steps[halves]) > 0).all()
    for mode, record in enumerate(halves):
        assert (values[record, mode + 1 :] < 0.25).all()


@pytest.mark.parametrize("arm", ["pairs", "pairs_of_shapes"])
def test_the_initial_ntk_predicts_the_order_of_the_modes(arm):
    curve = record_of("stepwise")["curves"][arm]
    steps, shares = np.array(curve["steps"]), np.array(curve["shares"])
    crossed = [
        steps[np.argmax(column >= 0.5)] if (column >= 0.5).any() else np.inf
        for column in shares.T
    ]
    assert np.isfinite(crossed).sum() >= 5
    assert rank_correlation(curve["predicted"], crossed).spearman >= 0.9


@pytest.mark.parametrize(("loss", "least"), [("Euclidean", 1.3), ("cosine", 3.0)])
def test_isoloss_recruits_the_eighth_mode_earlier(loss, least):
    record = record_of("implicit_variance")
    (claim,) = [
        one
        for one in record["claims"]
        if one["claim"] == f"IsoLoss recruits small modes earlier, {loss} loss"
    ]
    assert "mode 8" in claim["measured"]
    curves = [
        record["curves"][f"{name}_{loss.lower()}"] for name in ("isoloss", "directpred")
    ]
    iso, direct = (
        moments[:, 7] / moments[:, 0]
        for moments in (np.array(curve["moments_z"]) for curve in curves)
    )
    steps, half = np.array(curves[0]["steps"]), iso[-1] / 2
    # Below its half at the start, so that there is something to recruit.
    assert iso[0] < half and direct[0] < half
    last_below = [np.flatnonzero(x < half)[-1] for x in (iso, direct)]
    # DirectPred's may be the end of training.
    assert steps[last_below[1]] >= least * steps[last_below[0] + 1]


@pytest.mark.parametrize("paper", PAPERS)
def test_verdicts_follow_from_the_numbers(paper):
    record = record_of(paper)
    assert len(record["claims"]) >= 5
    for claim in record["claims"]:
        least = float(claim["reproduced_if"].removeprefix("at least "))
        assert (claim["verdict"] == "reproduced") == (claim["value"] >= least)
    page = (DOCS / "reproductions.md").read_text("utf-8")
    assert all(claim["claim"] in page for claim in record["claims"])
    assert {"tuned", "epochs", "batch_size"} <= record["settings"].keys()
    for run in record["runs"]:
        assert len(run["config_digest"]) == 12 and run["seed"] >= 0


def test_a_verdict_has_three_values():
    values = {1.0: "not", 1.2: "partly", 1.5: "reproduced", float("nan"): "not"}
    for value, verdict in values.items():
        assert judged("", "", value, full=1.5, part=1.1).verdict == verdict


@pytest.mark.parametrize("module", [reproduction, recruitment, duality, steps])
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0


def run(paper, arms, tmp_path):
    script = f"experiments/{paper}/run.py"
    words = [script, "--size", "toy", "--seeds", "1", "--arms", *arms]
    words += ["--out", str(tmp_path / "runs"), "--json", str(tmp_path / "record.json")]
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, *words],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((tmp_path / "record.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the prediction head's command ran, and its record."""
    folder = tmp_path_factory.mktemp("prediction_head")
    return folder, run("prediction_head", ["no_stop_gradient"], folder)


@pytest.mark.slow
def test_the_prediction_head_command_trains(trained):
    folder, record = trained
    (row,) = record["runs"]
    assert row["off_diagonal"] > 0 and row["diagonal_gap"] == 0
    assert record["curves"]["no_stop_gradient"]["steps"] == [2, 4]
    assert (folder / "runs" / "prediction_head_toy.png").is_file()


@pytest.mark.slow
def test_a_repeated_command_reads_the_runs(trained):
    folder, record = trained
    # The seconds are those of the first call.
    assert (
        run("prediction_head", ["no_stop_gradient"], folder)["runs"] == record["runs"]
    )


@pytest.mark.slow
def test_the_implicit_variance_command_trains(tmp_path):
    record = run("implicit_variance", ["learned_euclidean"], tmp_path)
    (row,) = record["runs"]
    curve = record["curves"]["learned_euclidean"]
    assert 0 < row["alignment"] <= 1 and record["claims"] == []
    moments = np.array(curve["moments_z"])
    assert moments.shape == np.shape(curve["cosines"]) == (2, 8)
    assert (np.diff(moments) <= 0).all()


@pytest.mark.slow
def test_the_duality_command_trains(tmp_path):
    record = run("duality", ["vicreg_ctr_0.1_dim_4"], tmp_path)
    (row,) = record["runs"]
    assert row["identity_error"] < 1e-5 and row["l_c"] >= 1 and row["l_nc"] >= 0
    assert record["curves"]["vicreg_ctr_0.1_dim_4"]["steps"] == [2, 4]


@pytest.mark.slow
def test_the_spectral_transformation_command_trains(tmp_path):
    record = run("spectral_transformation", ["power_0.5"], tmp_path)
    (row,) = record["runs"]
    assert row["rank_z"] > 1 and record["claims"] == []
    np.testing.assert_allclose(
        record["curves"]["power_0.5"]["z_hat"][:16], 1, rtol=0.01
    )


@pytest.mark.slow
def test_the_stepwise_command_trains(tmp_path):
    record = run("stepwise", ["pairs"], tmp_path)
    (row,) = record["runs"]
    assert row["steps_found"] >= 1 and 0 <= row["overlap_after"] <= 1
    curve = record["curves"]["pairs"]
    # Fixed views and a small start: one eigenvalue at a time, not all at once.
    first = np.array(curve["eigenvalues"])
    assert (first[0] < 1e-3).all() and first[-1, 0] > 0.5
    assert len(curve["predicted"]) == len(curve["mode_times"]) == 4
    assert (tmp_path / "runs" / "stepwise_toy.png").is_file()
