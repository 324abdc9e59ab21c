"""Phase maps: regimes against the thresholds that have a closed form."""

import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic.fingerprint import REGIMES, growth_boundary, phase_map
from ssljax.analytic.fingerprint.boundaries import BOUNDARIES
from ssljax.analytic.fingerprint.losses import FINGERPRINTED
from ssljax.analytic.fingerprint.phases import axes_of, axis_range, axis_values
from ssljax.reports.phase_maps import (
    draw_phases,
    measured_boundary,
    phase_caption,
    phase_text,
    save_phases,
)

SMALL = {"modes": 4, "samples": 32}
DIES, EQUALISES = REGIMES.index("small modes die"), REGIMES.index(REGIMES[4])


def pulled(z1, z2, *, pull=1.0, repulsion=1.0):
    """Pull on the scale, and repulsion of the eigenvalues from each other."""
    moment = z1.T @ z1 / len(z1)
    off = jnp.sum(moment**2) - jnp.trace(moment) ** 2 / moment.shape[0]
    return 0.5 * pull * jnp.trace(moment) + repulsion * off + 0.0 * jnp.sum(z2)


def test_vicreg_recruits_above_its_closed_form():
    weights = [1.0, 20.0, 60.0]
    found = phase_map(
        "vicreg",
        x="variance_weight",
        x_values=weights,
        y_values=[0.1, 0.5, 0.9],
        **SMALL,
    )
    thresholds = growth_boundary(
        "vicreg", {"variance_weight": np.array(weights)}, modes=4, samples=32
    )
    assert found.boundary is not None
    np.testing.assert_allclose(found.boundary, thresholds)
    expected = np.where(found.y[:, None] > thresholds[None, :], EQUALISES, DIES)
    np.testing.assert_array_equal(found.regime, expected)
    assert len(np.unique(expected)) == 2  # the grid sees both sides
    # The hinge holds the others at std 1, where it is strong enough.
    assert found.reference[0, 2] == pytest.approx((1 - 1e-4) * 31 / 32, rel=2e-3)
    assert found.reference[0, 0] < 0.02


@pytest.mark.parametrize(
    "name, hyper",
    [
        ("isoloss_euclidean", {"exponent": 0.1}),
        ("barlow_twins", {"off_diagonal_weight": 0.2}),
        ("vicreg", {"covariance_weight": 3.0}),
        ("vicreg", {"variance_weight": 5.0}),
        ("linearized_barlow_twins", {"off_diagonal_weight": 1.0}),
    ],
)
def test_growth_is_zero_at_the_boundary(name, hyper):
    ((x, value),) = hyper.items()
    boundary = float(growth_boundary(name, hyper, modes=4, samples=32))
    found = phase_map(
        name,
        x=x,
        x_values=[value],
        y_values=[boundary - 0.01, boundary, boundary + 0.01],
        **SMALL,
    )
    growth = found.growth[:, 0]
    assert growth[0] < 0 < growth[2]
    # Small beside the change over the grid: the level of 1e-4, and an eps, are left.
    assert abs(growth[1]) < 0.05 * (growth[2] - growth[0])
    assert found.boundary is not None
    np.testing.assert_allclose(found.boundary, boundary)


def test_a_function_of_ones_own_with_every_regime():
    found = phase_map(
        pulled,
        x="pull",
        y="repulsion",
        x_values=[-1.0, 1.0],
        y_values=[-1.0, 0.0, 1.0],
        **SMALL,
    )
    # A small mode moves at -pull + 2 repulsion (M = 4, the others at 1); the even
    # spectrum at -2 pull, and it has no rest.
    np.testing.assert_allclose(found.drift, np.tile([2.0, -2.0], (3, 1)), atol=1e-9)
    names = [[REGIMES[i] for i in row] for row in found.regime]
    assert [row[1] for row in names] == ["collapse"] * 3
    assert names[2][0] == "recruits and equalises"
    assert found.equalisation[0, 0] < 0 < found.equalisation[2, 0]
    assert found.boundary is None


def test_no_force_is_a_regime():
    def nothing(z1, z2, *, weight):
        return 0.0 * weight * jnp.sum(z1 * z2)

    found = phase_map(nothing, x="weight", x_values=[1.0], y_values=[0.5], **SMALL)
    assert found.regime.tolist() == [[0]]


@pytest.mark.slow
def test_the_tables_losses_take_the_settings_that_they_list():
    z1, z2 = np.random.default_rng(0).normal(size=(2, 64, 16)).astype(np.float32)
    for name, entry in FINGERPRINTED.items():
        if entry.hyper:
            given, plain = entry.loss(z1, z2, **entry.hyper), entry.loss(z1, z2)
            np.testing.assert_allclose(given, plain, rtol=1e-6, err_msg=name)
            changed = {key: 1.5 * value for key, value in entry.hyper.items()}
            assert not np.allclose(entry.loss(z1, z2, **changed), plain), name
    assert set(BOUNDARIES) <= set(FINGERPRINTED)


def test_axes_and_ranges():
    assert axes_of("vicreg")[-1] == "correlation"
    low, high = axis_range("vicreg", "variance_weight")
    assert low < 25.0 < high
    np.testing.assert_allclose(axis_values("temperature", 0.1, 10.0, 3), [0.1, 1, 10])
    np.testing.assert_allclose(axis_values("correlation", -0.5, 0.5, 3), [-0.5, 0, 0.5])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: phase_map("nt_xnt", x="temperature"), "loss must be one of"),
        (lambda: phase_map("nt_xent", x="weight"), "x must be one of temperature, cor"),
        (
            lambda: phase_map("nt_xent", x="temperature", y="temperature"),
            "two different settings",
        ),
        (lambda: phase_map(pulled, x="pull"), "pull has no default range"),
        (
            lambda: phase_map("nt_xent", x="temperature", others=0.0),
            r"others must lie in \(0, 1\]",
        ),
        (lambda: phase_map("nt_xent", x="temperature", points=0), "points must be a"),
        (
            lambda: axis_values("temperature", 2.0, 1.0, 3),
            "must ascend to a finite number, got 2 to 1",
        ),
        (lambda: axis_values("temperature", 0.1, np.inf, 3), "got 0.1 to inf"),
        (lambda: axis_values("temperature", np.nan, 1.0, 3), "got nan to 1"),
        (lambda: axis_values("temperature", 0.1, 1.0, 1001), "must be 1 to 1000"),
        (lambda: axis_values("temperature", 0.0, 1.0, 3), "temperature must be > 0"),
        (lambda: growth_boundary("nt_xent"), "loss must be one of"),
        (lambda: growth_boundary("vicreg", {"mu": 1.0}), "hyper-parameter must be one"),
        (lambda: growth_boundary("vicreg", others=1.0), r"others must lie in \(0, 1\)"),
    ],
)
def test_bad_settings_are_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_diagram_is_drawn_and_written(tmp_path):
    found = phase_map(
        "linearized_barlow_twins",
        x="off_diagonal_weight",
        x_values=[0.5, 1.0, 2.0],
        y_values=[-0.5, 0.25, 0.5],
        **SMALL,
    )
    measured = measured_boundary(found)
    assert measured is not None
    np.testing.assert_allclose(measured, 0.0, atol=0.01)
    text = phase_text(found)
    assert text.splitlines()[1].endswith("| e e e")
    assert "small modes die, 3 of 9" in text and "closed form at 3 of 3" in text
    caption = phase_caption(found, 0.8)
    figure = draw_phases(found, caption)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and axes.get_yscale() == "linear"
    assert {line.get_label() for line in axes.lines} == {
        "closed form",
        "measured, growth 0",
    }
    path = save_phases(found, tmp_path / "new", "png", caption)
    assert path.read_bytes()[1:4] == b"PNG"
    first, second = (
        save_phases(found, tmp_path, "svg", caption).read_bytes() for _ in range(2)
    )
    assert first == second
