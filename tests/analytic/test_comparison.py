"""`compare` and its parts: distances, crossings, subspaces and both verdicts."""

import matplotlib
import numpy as np
import pytest

from ssljax.analytic import (
    Simulation,
    compare,
    convergence_slope,
    crossing_times,
    subspace_overlap,
)

matplotlib.use("Agg")

TIMES = np.linspace(0.0, 4.0, 41)
RATES = np.array([1.0, 0.5])


def decay(t):
    return np.exp(-np.asarray(t)[:, None] * RATES)


def logistic(t, start=0.01):
    return 1 / (1 + (1 / start - 1) * np.exp(-2 * t[:, None] * np.array([1.0, 2.0])))


def test_errors_are_those_of_the_definition():
    found = decay(TIMES)
    found[7, 1] += 0.02
    found[9, 0] -= 0.01
    gap = compare(decay, found, times=TIMES, tolerance=0.05, what="two decays")
    assert gap.max_error == pytest.approx(0.02)
    assert gap.rms_error == pytest.approx(np.sqrt((0.02**2 + 0.01**2) / 82))
    np.testing.assert_allclose(gap.mode_errors, [0.01, 0.02])


def test_the_verdict_goes_both_ways():
    found = decay(TIMES) + 0.01
    agrees = compare(decay, found, times=TIMES, tolerance=0.0101)
    differs = compare(decay, found, times=TIMES, tolerance=0.0099)
    assert agrees.agrees and str(agrees).endswith("agrees")
    assert not differs.agrees and str(differs).endswith("DISAGREES")


@pytest.mark.parametrize("tolerance", [1.0, np.inf, np.nan])
@pytest.mark.parametrize("where", ["theory", "simulation", "both"])
def test_a_value_that_is_not_finite_never_agrees(tolerance, where):
    theory, found = decay(TIMES), decay(TIMES)
    if where != "simulation":
        theory[3, 0] = np.nan
    if where != "theory":
        found[3, 0] = np.nan
    gap = compare(theory, found, times=TIMES, tolerance=tolerance)
    assert not gap.agrees and "DISAGREES" in str(gap)


def test_a_simulation_brings_its_times_and_its_values():
    flow = Simulation(TIMES, decay(TIMES), params=None, error=0.0)
    assert compare(decay, flow, tolerance=1e-6).agrees
    assert not compare(lambda t: decay(0.9 * t), flow, tolerance=1e-6).agrees


def test_matrices_are_compared_entry_by_entry():
    start = np.random.default_rng(0).normal(size=(2, 3))

    def solution(t):
        return np.exp(-np.asarray(t))[:, None, None] * start

    weights = solution(TIMES)
    assert weights.shape == (41, 2, 3)
    assert compare(solution, weights, times=TIMES, tolerance=1e-12).agrees
    weights[5, 1, 2] += 0.5
    gap = compare(solution, weights, times=TIMES, tolerance=1e-12)
    np.testing.assert_allclose(gap.mode_errors, [0, 0, 0, 0, 0, 0.5], atol=1e-12)


def test_one_time_is_enough():
    gap = compare(decay, decay([1.0]), times=[1.0], tolerance=1e-12)
    assert gap.agrees and np.isnan(gap.crossing_errors).all()


@pytest.mark.parametrize(
    "theory, simulation, times, message",
    [
        (decay, decay(TIMES), None, "times are needed"),
        (decay, decay(TIMES), 1.0, r"times must be \[times\]"),
        (decay(TIMES), np.zeros((0, 2)), [], r"times must be \[times\]"),
        (decay, {"w": decay(TIMES)}, TIMES, "simulation must be one array.* got dict"),
        (
            lambda t: {"w": t},
            decay(TIMES),
            TIMES,
            "theory must be one array.* got dict",
        ),
        (decay, [[1.0], [1.0, 2.0]], TIMES, "simulation must be one array"),
        (decay, 1.0, TIMES, "simulation must be"),
        (decay, np.zeros((41, 0)), TIMES, "simulation must be"),
        (decay, decay(TIMES)[1:], TIMES, "do not fit"),
        (decay, decay(TIMES)[:, :1], TIMES, "do not fit"),
        (np.ones((41, 2, 3)), np.ones((41, 3, 2)), TIMES, "do not fit"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_error(theory, simulation, times, message):
    with pytest.raises(ValueError, match=message) as caught:
        compare(theory, simulation, times=times, tolerance=1.0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("curve", [decay, logistic, lambda t: 1 - decay(t)])
def test_the_time_of_crossing_is_compared_up_and_down(curve):
    gap = compare(curve, curve(TIMES / 1.05), times=TIMES, tolerance=1.0)
    # The simulation is 5 % late; straight lines between the records cost the rest.
    np.testing.assert_allclose(gap.crossing_errors, 0.05, atol=2e-3)


def test_a_mode_that_rests_has_no_crossing():
    gap = compare(np.ones((41, 1)), decay(TIMES)[:, :1], times=TIMES, tolerance=1.0)
    assert np.isnan(gap.crossing_errors).all()


def test_crossings_are_the_first_in_either_direction():
    values = np.array(
        [[0.0, 3.0, 0.0, 0.0], [2.0, 1.0, 0.1, 4.0], [0.0, 0.0, 0.2, 0.0]]
    )
    found = crossing_times([0.0, 1.0, 3.0], values, [1.0, 0.5, 0.5, 2.0])
    np.testing.assert_allclose(found, [0.5, 2.0, np.nan, 0.5])
    assert np.isnan(crossing_times([0.0], [[1.0]], 0.5)).all()
    np.testing.assert_allclose(crossing_times([0.0, 1.0], [0.0, 1.0], 0.25), [0.25])
    with pytest.raises(ValueError, match="do not fit"):
        crossing_times([0.0, 1.0], [[0.0]], 0.5)


def test_overlap_is_that_of_the_spans():
    rng = np.random.default_rng(0)
    a, mix = rng.normal(size=(6, 2)), rng.normal(size=(2, 2))
    assert subspace_overlap(a, a @ mix) == (pytest.approx(1.0), pytest.approx(2 / 6))
    half = np.eye(6)[:, [0, 3]] + 0.0
    assert subspace_overlap(half, np.eye(6)[:, :2])[0] == pytest.approx(0.5)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_a_collapsed_subspace_is_no_overlap(kind):
    plane = np.eye(6, dtype=kind)[:, :2]
    line = np.outer(np.arange(6) + 0.1, [1.0, 3.0]).astype(kind)
    assert subspace_overlap(np.zeros((6, 2), kind), plane)[0] == 0.0
    assert subspace_overlap(plane[:, [0, 0]], plane)[0] == pytest.approx(0.5)
    assert subspace_overlap(line, line)[0] == pytest.approx(0.5)


def test_overlap_and_chance_are_at_most_one():
    wide = np.random.default_rng(0).normal(size=(2, 5))
    assert subspace_overlap(wide, wide[:, ::-1]) == (pytest.approx(1.0), 1.0)
    overlap, chance = subspace_overlap(np.eye(4) * np.nan, np.eye(4))
    assert np.isnan(overlap) and chance == 1.0
    with pytest.raises(ValueError, match=r"two \[N, d\] are needed"):
        subspace_overlap(np.eye(3), np.eye(4))


def test_chance_is_what_random_subspaces_give():
    rng = np.random.default_rng(1)
    draws = [subspace_overlap(*rng.normal(size=(2, 12, 3))) for _ in range(200)]
    overlaps = [overlap for overlap, _ in draws]
    assert np.mean(overlaps) == pytest.approx(draws[0][1], abs=0.03)


def test_the_table_has_the_overlap_where_one_is_asked_for():
    spans = (np.eye(4)[:, :2], np.eye(4)[:, 1:3])
    gap = compare(decay, decay(TIMES), times=TIMES, tolerance=1.0, subspaces=spans)
    assert (gap.overlap, gap.chance) == (0.5, 0.5)
    assert "subspace overlap     0.5" in str(gap) and "by chance" in str(gap)
    without = compare(decay, decay(TIMES), times=TIMES, tolerance=1.0)
    assert "overlap" not in str(without)


def test_the_plot_is_lines_of_theory_under_points_of_simulation():
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    found = decay(TIMES) + 0.01
    gap = compare(decay, found, times=TIMES, tolerance=0.1, what="two decays")
    gap.plot(axes, points=9)
    lines, points = axes.lines[:2], axes.lines[2:]
    assert len(lines) == len(points) == 2
    for mode, (line, dots) in enumerate(zip(lines, points, strict=True)):
        np.testing.assert_array_equal(line.get_ydata(), decay(TIMES)[:, mode])
        assert line.get_linestyle() != "None" and line.get_marker() == "None"
        assert dots.get_linestyle() == "None" and dots.get_marker() != "None"
        assert len(dots.get_xdata()) == 9
        np.testing.assert_allclose(
            np.asarray(dots.get_ydata()),
            np.interp(np.asarray(dots.get_xdata()), TIMES, found[:, mode]),
        )
    # Told apart without colour.
    assert lines[0].get_linestyle() != lines[1].get_linestyle()
    assert points[0].get_marker() != points[1].get_marker()
    assert "learning rate" in axes.get_xlabel() and axes.get_title() == "two decays"
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["theory, mode 1", "theory, mode 2", "simulation"]


def test_the_slope_is_the_order_of_convergence():
    steps = np.array([0.4, 0.2, 0.1])
    assert convergence_slope(steps, 3 * steps**2) == pytest.approx(2.0)
