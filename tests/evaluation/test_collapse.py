"""The collapse alarm: which embeddings raise it, which do not, and its limits."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.evaluation import Thresholds, diagnose, panel
from ssljax.evaluation.collapse import REQUIRED

compiled_panel = jax.jit(panel)


def measured(z):
    """The panel of embeddings as the plain numbers that a training loop keeps."""
    z = jnp.asarray(z, jnp.float32)
    measures = compiled_panel(z, z)
    return {name: float(value) for name, value in measures.items() if value.ndim == 0}


def alarm(panels, **options):
    """The collapse that must be found."""
    found = diagnose(panels, **options)
    assert found is not None
    return found


def spectrum_embeddings(variances, n=512, mean=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return mean + rng.normal(size=(n, len(variances))) * np.sqrt(variances)[None]


def standardised(z):
    """BatchNorm without scale and offset."""
    return (z - z.mean(axis=0, keepdims=True)) / z.std(axis=0, keepdims=True)


def line(noise, d=128):
    rng = np.random.default_rng(0)
    sign = rng.choice([-1.0, 1.0], size=d)[None]
    return standardised(
        rng.normal(size=(512, 1)) * sign + noise * rng.normal(size=(512, d))
    )


def test_one_vector_with_noise_is_complete_though_its_centred_rank_is_high():
    found = measured(spectrum_embeddings(np.full(128, 1e-4), mean=1.0))
    assert found["effective_rank"] > 100
    diagnosis = alarm([found, found])
    assert (diagnosis.kind, diagnosis.measure) == ("complete", "mean_cosine")
    assert any("stop-gradient" in advice for advice in diagnosis.advice)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2])
def test_copies_of_one_dimension_behind_batchnorm_are_dimensional(noise):
    found = measured(line(noise))
    # The usual check detects nothing.
    assert found["std_per_dimension"] == pytest.approx(1, abs=0.05)
    assert abs(found["mean_cosine"]) < 0.1
    diagnosis = alarm([found, found])
    assert diagnosis.kind == "dimensional"
    assert any("predictor" in advice for advice in diagnosis.advice)


@pytest.mark.parametrize("mean", [0.0, 0.3])
@pytest.mark.parametrize("directions", [4, 6])
def test_a_healthy_run_in_its_first_epochs_is_left_alone(directions, mean):
    # Effective rank 4 to 6 of 128 by the entropy of eigenvalues, with a faint tail.
    variances = np.full(128, 1e-3)
    variances[:directions] = 1.0
    found = measured(spectrum_embeddings(variances, mean=mean))
    assert diagnose([found] * 5) is None


@pytest.mark.parametrize("d", [2, 3, 128])
def test_isotropic_embeddings_are_healthy_in_any_dimension(d):
    found = measured(spectrum_embeddings(np.ones(d)))
    assert diagnose([found] * 3) is None


def test_a_strong_common_direction_short_of_collapse_is_left_alone():
    found = measured(spectrum_embeddings(np.ones(128), mean=4.0))
    assert 0.8 < found["mean_cosine"] < 0.95
    assert found["participation_ratio_uncentred"] < Thresholds().participation
    assert found["participation_ratio"] > 10
    assert diagnose([found] * 3) is None


def test_the_newest_panels_must_agree():
    healthy = measured(spectrum_embeddings(np.ones(128)))
    flat = measured(line(0.0))
    assert diagnose([]) is None
    assert diagnose([flat]) is None
    assert diagnose([flat, flat, healthy]) is None
    assert diagnose([flat, healthy, flat]) is None
    assert alarm([healthy, flat, flat]).kind == "dimensional"
    eager = dataclasses.replace(Thresholds(), patience=1)
    assert alarm([healthy, flat], thresholds=eager).kind == "dimensional"


def plain(**changes):
    healthy = dict(
        effective_rank=60.0,
        rankme=70.0,
        std_per_dimension=0.98,
        mean_cosine=0.1,
        dimensions=128.0,
        examples=512.0,
    )
    return [healthy | changes] * 2


@pytest.mark.parametrize(
    "name, limit, beyond, kind",
    [
        ("mean_cosine", 0.97, 0.01, "complete"),
        ("std_per_dimension", 0.05, -0.01, "complete"),
        ("rankme", 2.5, -0.1, "dimensional"),
        ("participation_ratio", 1.15, -0.1, "dimensional"),
    ],
)
def test_each_limit_fires_on_its_far_side_only(name, limit, beyond, kind):
    found = alarm(plain(**{name: limit + beyond}))
    assert (found.kind, found.measure, found.threshold) == (kind, name, limit)
    assert found.value == pytest.approx(limit + beyond)
    assert diagnose(plain(**{name: limit - beyond})) is None


def test_a_participation_ratio_must_have_been_low_before():
    (healthy, _) = plain()
    low, lower, line = (healthy | {"participation_ratio": p} for p in (1.9, 1.75, 1.1))
    assert diagnose([low, line]) is None
    assert alarm([lower, line]).measure == "participation_ratio"
    assert diagnose([line, lower]) is None


def test_a_rank_is_judged_by_what_is_possible():
    assert diagnose(plain(rankme=4.0)) is None
    wide = alarm(plain(rankme=4.0, dimensions=2048.0, examples=4096.0))
    assert wide.threshold == pytest.approx(0.002 * 2048)
    assert diagnose(plain(rankme=1.9, dimensions=2.0)) is None
    assert alarm(plain(rankme=1.1, dimensions=2.0)).kind == "dimensional"


def test_the_line_names_figure_limit_and_advice():
    text = str(diagnose(plain(rankme=1.25)))
    assert text.startswith("dimensional collapse: rankme 1.25 <= 2.5")
    assert "std_per_dimension 0.98" in text and "add a predictor" in text
    assert "\n" not in text
    assert "mean_cosine 0.99 >= 0.97" in str(diagnose(plain(mean_cosine=0.99)))


def test_nan_crosses_no_limit():
    assert diagnose(plain(**{name: float("nan") for name in REQUIRED[:4]})) is None


def test_refusals_are_one_clear_line():
    with pytest.raises(ValueError, match="a panel lacks rankme, dimensions"):
        diagnose(
            [dict(effective_rank=1, std_per_dimension=1, mean_cosine=0, examples=2)] * 2
        )
    with pytest.raises(ValueError, match="patience must be at least 1"):
        diagnose([], thresholds=Thresholds(patience=0))
