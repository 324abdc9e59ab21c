"""One grammar: evaluated at any times, a pytree, plotted, tabulated, printed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic import Solution, gradient_descent
from ssljax.analytic.solution import as_numbers


def decay(params, t):
    return params["start"][None, :] * jnp.exp(-params["rate"] * t)[:, None]


def made(start=(1.0, 2.0), rate=0.5):
    with jax.enable_x64(True):
        params = {"start": jnp.asarray(start), **as_numbers({"rate": rate})}
    # As a solver hands it to a caller in float32: NumPy keeps float64.
    params = jax.tree.map(np.asarray, params)
    return Solution(params, decay, title="decay", quantity="size")


def test_times_of_any_shape_and_order():
    solution, times = made(), np.array([[2.0, 0.0], [1.0, 3.0]])
    found = solution(times)
    assert found.shape == (2, 2, 2) and found.dtype == np.float64
    np.testing.assert_allclose(
        found, np.array([1.0, 2.0]) * np.exp(-0.5 * times)[..., None], rtol=1e-12
    )
    np.testing.assert_array_equal(solution(1), found[1, 0])
    assert solution(np.zeros(0)).shape == (0, 2)


@pytest.mark.parametrize("times", [-1.0, [0.0, -0.1], [0.0, np.nan]])
def test_times_before_the_start_are_refused(times):
    with pytest.raises(ValueError, match="t must be >= 0"):
        made()(times)


def test_a_solution_is_a_pytree_of_its_parameters():
    solution = made()
    assert jax.tree.structure(solution) == jax.tree.structure(made((3.0, 4.0), 1.0))
    doubled = jax.tree.map(lambda x: 2.0 * x, solution)
    np.testing.assert_allclose(doubled(1.0), [2.0 * np.exp(-1), 4.0 * np.exp(-1)])
    with jax.enable_x64(True):
        slope = jax.grad(lambda s: jnp.sum(s(jnp.array([1.0, 2.0]))))(solution)
        ends = [
            float(jnp.sum(solution.replace(rate=0.5 + h)(np.array([1.0, 2.0]))))
            for h in (1e-5, -1e-5)
        ]
        np.testing.assert_allclose(slope.params["rate"], (ends[0] - ends[1]) / 2e-5)
        compiled = jax.jit(lambda s, t: s(t))
        np.testing.assert_allclose(compiled(solution, 1.0), solution(1.0))
        stacked = jax.tree.map(lambda *x: jnp.stack(x), solution, doubled)
        many = jax.vmap(lambda s: s(1.0))(stacked)
        np.testing.assert_allclose(many[1], doubled(1.0))


def test_parameters_can_be_replaced_by_name_only():
    assert made().replace(rate=2.0).params["rate"] == 2.0
    with pytest.raises(ValueError, match="decay has no parameter speed; it has start,"):
        made().replace(speed=1.0)


def test_the_text_form_is_one_line():
    assert repr(made()) == "Solution(decay: start [2], rate 0.5)"
    assert str(jax.make_jaxpr(lambda s: repr(s) and s.params)(made()))


def test_a_plot_has_labelled_modes_and_its_own_axes():
    from matplotlib import pyplot

    solution = made()
    path = gradient_descent(
        lambda w: 0.25 * jnp.sum(w**2), np.array([1.0, 2.0]), 20, 0.05
    )
    axes = solution.plot(path, points=5)
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["mode 1", "mode 2", "simulation"]
    assert axes.get_ylabel() == "size" and axes.get_title() == "decay"
    line, points = axes.lines[0], axes.lines[2]
    assert line.get_xdata()[-1] == path.times[-1] and len(points.get_xdata()) == 5
    np.testing.assert_allclose(np.asarray(points.get_ydata())[0], 1.0)
    pyplot.close(axes.figure)
    given = pyplot.figure().add_subplot()
    assert solution.plot(times=[0.0, 1.0], axes=given) is given
    # Two of many modes are named, so that the legend leaves room.
    crowd = made(np.arange(1.0, 21.0)).plot(times=[0.0, 1.0], axes=given)
    named = [text.get_text() for text in crowd.get_legend().get_texts()]
    assert named[-2:] == ["mode 1", "mode 20"]
    pyplot.close("all")
    with pytest.raises(ValueError, match="plot needs times"):
        solution.plot()


def test_a_data_frame_or_the_package_that_it_needs(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pandas"):
        made().frame([0.0, 1.0])
    monkeypatch.delitem(sys.modules, "pandas")
    pytest.importorskip("pandas")
    table = made().frame([0.0, 1.0])
    assert list(table.columns) == ["mode 1", "mode 2"]
    np.testing.assert_allclose(table.to_numpy(), made()(np.array([0.0, 1.0])))
    assert "learning rate" in table.index.name
