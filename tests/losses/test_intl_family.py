"""INTL, its form with a teacher, and the trace loss."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_inputs import normal
from spectral_reference import distance, normalized
from spectral_reference import trace_loss as trace_loss_by_loops

from ssljax import losses

AXES = ["batch", "channel"]
STATIC = ("iterations", "axis")
intl = jax.jit(losses.intl, static_argnames=STATIC)
iterative_normalization = jax.jit(
    losses.iterative_normalization, static_argnames=STATIC
)
WEIGHTS = (None, 0.7)

COLUMNS = (
    "weight",
    "entry",
    "norm",
    "alignment",
    "trace1",
    "trace2",
    "loss",
    "gradient",
    "gradient1",
    "gradient2",
)
# Recorded from the authors' implementation in float64, on `golden_views`.
_ROWS = {
    ("channel", 1): "-.004150374992788 .214044390614 2.374044888330 .056860916875"
    " 3.552034979159 3.524985529388 .027488627933 -.026243197048 .147291909660"
    " .140659196707",
    ("channel", 4): "-.004150374992788 .500121469828 3.406821377232 .119322466828"
    " 1.606406255138 1.709204877184 .105561437299 -.086521853301 .314244989107"
    " .299722062031",
    ("channel", 7): "-.004150374992788 .497024596129 3.948511571416 .151773997629"
    " .849025082118 1.111214129458 .143638269826 -.128981993913 .543237760281"
    " .542349251631",
    ("batch", 1): "-.006780719051126 -.000804362996 2.545800429713 .116354763866"
    " 2.889737799255 2.756225534591 .078071072726 -.037250791444 .254019024241"
    " .266068724754",
    ("batch", 4): "-.006780719051126 -.158256972733 3.335231109569 .348005182689"
    " 1.664534061357 1.120888835080 .329118012590 -.214774300593 .899421899741"
    " .525418377793",
    ("batch", 7): "-.006780719051126 -.351141033040 4.043544475171 .726930309515"
    " .765821794065 .286556107737 .719794430627 -.664674585187 2.705016412501"
    " .909774717668",
}
GOLDEN = {
    case: dict(zip(COLUMNS, map(float, row.split()), strict=True))
    for case, row in _ROWS.items()
}
THREE = {  # of three views, and of a teacher and two students, after four steps
    "channel": (0.067795707974, 0.074462896324),
    "batch": (0.253176748260, 0.264463486081),
}
# The recorded figures have 12 decimals; "exact to 1e-9" cannot ask for more.
DECIMALS = 1e-12


def golden_views(dtype=np.float64):
    i, j = np.arange(6.0)[:, None], np.arange(5.0)[None, :]
    z1 = np.sin(0.7 * i + 1.3 * j + 0.1 * i * j) + 0.5 * np.cos(1.1 * i - 0.4 * j**2)
    z2 = z1 + 0.3 * np.cos(2.1 * i + 0.9 * j)
    z3 = z1 - 0.2 * np.sin(1.7 * i - 0.6 * j)
    return [z.astype(dtype) for z in (z1, z2, z3)]


@functools.partial(jax.jit, static_argnums=(0, 1))
def measure(axis, iterations, z1, z2, z3):
    how = {"iterations": iterations, "axis": axis}
    t1, t2 = (losses.iterative_normalization(z, **how) for z in (z1, z2))
    loss, gradients = jax.value_and_grad(losses.intl)([z1, z2], **how)
    plain = losses.intl([z1, z2], **how, trace_weight=0.0)
    traces = [losses.trace_loss(t, axis=axis) for t in (t1, t2)]
    recorded = {
        "weight": (loss - plain) / (traces[0] + traces[1]),
        "entry": t1[0, 0],
        "norm": jnp.linalg.norm(t1),
        "alignment": plain,
        "trace1": traces[0],
        "trace2": traces[1],
        "loss": loss,
        "gradient": gradients[0][0, 0],
        "gradient1": jnp.linalg.norm(gradients[0]),
        "gradient2": jnp.linalg.norm(gradients[1]),
    }
    if iterations != 4:
        return recorded, gradients, ()
    students = [z2, z3]
    three = losses.intl([z1, *students], **how), losses.intl_ema(z1, students, **how)
    return recorded, gradients, three


CASES = [
    case if case == ("channel", 4) else pytest.param(*case, marks=pytest.mark.slow)
    for case in GOLDEN
]


@pytest.mark.parametrize("axis, iterations", CASES)
def test_golden_values(axis, iterations, float64):
    recorded, gradients, three = measure(axis, iterations, *golden_views())
    for name, expected in GOLDEN[axis, iterations].items():
        assert recorded[name].dtype == jnp.float64
        found = float(recorded[name])
        assert found == pytest.approx(expected, rel=1e-9, abs=DECIMALS), name
    for value, expected in zip(three, THREE[axis], strict=False):
        assert float(value) == pytest.approx(expected, rel=1e-9, abs=DECIMALS)

    # The same in float32, which the gradients follow.
    low, low_gradients, three = measure(axis, iterations, *golden_views(np.float32))
    for name, expected in GOLDEN[axis, iterations].items():
        assert low[name].dtype == jnp.float32
        # The smallest recorded entry is a difference of larger ones.
        assert float(low[name]) == pytest.approx(expected, rel=1e-4, abs=1e-6), name
    for value, expected in zip(three, THREE[axis], strict=False):
        assert value.dtype == jnp.float32
        assert float(value) == pytest.approx(expected, rel=1e-4)
    for value, expected in zip(low_gradients, gradients, strict=True):
        assert value.dtype == jnp.float32
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(value, expected, rtol=0, atol=2e-5 * scale)


@functools.partial(jax.jit, static_argnums=1)
def everything(views, iterations):
    def over(axis):
        how = {"iterations": iterations, "axis": axis}
        t = losses.iterative_normalization(views[0], **how)
        found = {"trace": losses.trace_loss(t, axis=axis)}
        for weight in WEIGHTS:
            extra = {"trace_weight": weight, **how}
            found["intl", weight] = losses.intl(views, **extra)
            found["intl_ema", weight] = losses.intl_ema(views[0], views[1:], **extra)
        return {str(name): value for name, value in found.items()}

    return {axis: over(axis) for axis in AXES}


@pytest.mark.parametrize("n, d, steps", [(4, 7, 4), (6, 6, 4), (6, 6, 0), (9, 3, 9)])
def test_values_equal_the_definitions(n, d, steps, float64):
    views = [normal(n, d, seed) for seed in range(3)]
    found = everything(views, steps)
    for axis in AXES:
        t = [normalized(z, axis, steps) for z in views]
        trace = [trace_loss_by_loops(x, axis) for x in t]
        np.testing.assert_allclose(
            found[axis]["trace"], trace[0], rtol=1e-8, atol=1e-10
        )
        default = 0.01 * (np.log2(n if axis == "channel" else d) - 3)
        for weight in WEIGHTS:
            beta = default if weight is None else weight
            expected = sum(distance(t[v], t[0]) for v in (1, 2)) / 2
            expected += beta * ((trace[1] + trace[2]) / 2 + trace[0])
            value = found[axis][str(("intl", weight))]
            np.testing.assert_allclose(value, expected, rtol=1e-8)
            expected = sum(distance(t[v], t[0]) + beta * trace[v] for v in (1, 2)) / 2
            value = found[axis][str(("intl_ema", weight))]
            np.testing.assert_allclose(value, expected, rtol=1e-8)


def test_collapse_over_the_channels_is_not_agreement(float64):
    # A sample without variance over its channels has no direction: cosine 0.
    z = np.ones((6, 12))
    value = intl([z, z], iterations=15, trace_weight=0.5)
    assert float(value) == pytest.approx(2.0 + 0.5 * 2 * 6, abs=1e-12)
    # Equal samples agree perfectly, and pay n - 2 + 1/n per view for it.
    z = np.tile(normal(1, 12), (6, 1))
    value = intl([z, z], iterations=15, trace_weight=1.0)
    assert float(value) == pytest.approx(2 * (6 - 2 + 1 / 6), rel=1e-9)


def test_only_the_first_of_the_views_is_the_anchor(float64):
    a, b, c = (normal(6, 5, seed) for seed in range(3))
    value = float(intl([a, b, c]))
    assert float(intl([a, c, b])) == pytest.approx(value, rel=1e-12)
    assert abs(float(intl([b, a, c])) - value) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "n, expected, tolerance",
    [(128, 0.04, 1e-12), (256, 0.05, 1e-12), (512, 0.06, 1e-12), (1024, 0.07, 1e-12)]
    + [(8, 0.0, 1e-12), (6, -0.00415037, 5e-9)],
)
def test_the_default_weight(n, expected, tolerance, float64):
    # Read off the loss: zero iterations only divide by the trace, which is cheap.
    views = [normal(n, 3), normal(n, 3, 1)]
    for axis in ("channel", "batch") if n == 128 else ("channel",):
        two = views if axis == "channel" else [z.T for z in views]

        @jax.jit
        def found(two, axis=axis):
            return [
                losses.intl(two, iterations=0, axis=axis, trace_weight=w)
                for w in (None, 0.0, 1.0)
            ]

        none, zero, one = found(two)
        weight = float((none - zero) / (one - zero))
        assert weight == pytest.approx(expected, abs=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("axis", AXES)
def test_gradients_of_seven_steps(axis, float64):
    """Against differences; blind to the scale of a view and to its mean."""
    start, step = golden_views(), 1e-5

    @jax.jit
    @jax.vmap
    def both(*views):
        how = {"iterations": 7, "axis": axis, "trace_weight": 0.3}
        return jax.value_and_grad(losses.intl)(list(views), **how)

    for seed in range(3):
        directions = [normal(6, 5, 10 * seed + v) for v in range(3)]
        # Fourth order, so that its own error stays below the tolerance.
        points = [
            np.stack([z + k * step * d for k in (0, -2, -1, 1, 2)])
            for z, d in zip(start, directions, strict=True)
        ]
        v, gradients = both(*points)
        numeric = (8 * (v[3] - v[2]) - (v[4] - v[1])) / (12 * step)
        slope = sum(
            np.vdot(g[0], d) for g, d in zip(gradients, directions, strict=True)
        )
        assert float(slope) == pytest.approx(float(numeric), rel=1e-7)
    for z, gradient in zip(start, (g[0] for g in gradients), strict=True):
        size = float(np.linalg.norm(z) * np.linalg.norm(gradient))
        assert size > 0.1
        assert abs(float(np.vdot(z, gradient))) < 1e-12 * size
        sums = gradient.sum(axis=0 if axis == "batch" else 1)
        np.testing.assert_allclose(sums, 0.0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("axis", AXES)
def test_the_normalisation_ignores_scale_and_shift(axis, float64):
    how = {"iterations": 7, "axis": axis}
    for z in golden_views()[:2]:
        t = iterative_normalization(z, **how)
        shift = normal(1, 5) if axis == "batch" else normal(6, 1)
        for other in (z + shift, *(c * z for c in (1e-30, 1e-3, 7.0, 1e30))):
            np.testing.assert_allclose(
                iterative_normalization(other, **how), t, rtol=0, atol=1e-12
            )


@pytest.mark.slow
@pytest.mark.parametrize("axis", AXES)
def test_the_teacher_receives_no_gradient(axis, float64):
    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def gradients(teacher_weight, student_weight):
        teacher, *students = golden_views()
        students = [student_weight * z for z in students]
        return losses.intl_ema(teacher_weight * teacher, students, axis=axis)

    to_teacher, to_student = gradients(np.ones((6, 5)), np.ones((6, 5)))
    np.testing.assert_array_equal(to_teacher, np.zeros((6, 5)))
    assert float(jnp.abs(to_student).max()) > 1e-3


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda z: losses.intl([z[:, :1]] * 2), "at least two channels"),
        (lambda z: losses.intl([z]), "two or more views, got 1"),
        (lambda z: losses.intl([z, z[:2]]), "of the same shape"),
        (lambda z: losses.intl_ema(z, []), "two or more views, got 1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(normal(6, 4).astype(np.float32))
