"""Published equations of spectral transformations, each against numbers or loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses
from ssljax.losses import whitening as methods
from ssljax.losses.matrix_functions import (
    coupled_iteration,
    matrix_function,
    plain_iteration,
)

pytestmark = pytest.mark.slow  # many small compilations

STATIC = ("iterations", "axis")
intl = jax.jit(losses.intl, static_argnames=STATIC)
intl_ema = jax.jit(losses.intl_ema, static_argnames=STATIC)
iterative_normalization = jax.jit(
    losses.iterative_normalization, static_argnames=STATIC
)
intl_gradients = jax.jit(jax.grad(losses.intl), static_argnames=STATIC)

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
GOLDEN = {
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
    for case, row in GOLDEN.items()
}
# The recorded figures have 12 decimals; "exact to 1e-9" cannot ask for more.
DECIMALS = 1e-12


def golden_views(dtype):
    i, j = np.arange(6.0)[:, None], np.arange(5.0)[None, :]
    z1 = np.sin(0.7 * i + 1.3 * j + 0.1 * i * j) + 0.5 * np.cos(1.1 * i - 0.4 * j**2)
    z2 = z1 + 0.3 * np.cos(2.1 * i + 0.9 * j)
    z3 = z1 - 0.2 * np.sin(1.7 * i - 0.6 * j)
    return [jnp.asarray(z, dtype) for z in (z1, z2, z3)]


def normal(n, d, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, d)))


def rotation(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def with_spectrum(values, seed=0):
    q = rotation(len(values), seed)
    return (q * np.asarray(values)) @ q.T


def batch_with_covariance(matrix, n, seed=0):
    """A batch ``[n, d]`` whose covariance over the samples is the matrix."""
    x = np.random.default_rng(seed).normal(size=(n, len(matrix)))
    x -= x.mean(axis=0, keepdims=True)
    white = np.linalg.qr(x)[0] * np.sqrt(n - 1)
    values, vectors = np.linalg.eigh(matrix)
    return jnp.asarray(white @ (vectors * np.sqrt(values)) @ vectors.T)


def covariance(z, axis="batch"):
    return np.cov(np.asarray(z), rowvar=axis == "channel")


def gain(x, iterations):
    """``f_T`` by its scalar recursion."""
    f = np.ones_like(x)
    for _ in range(iterations):
        f = 1.5 * f - 0.5 * x * f**3
    return f


def output_variance(x, iterations):
    return x * gain(x, iterations) ** 2


@functools.partial(jax.jit, static_argnums=(0, 1))
def measure(axis, iterations, z1, z2):
    how = {"iterations": iterations, "axis": axis}
    t1, t2 = (losses.iterative_normalization(z, **how) for z in (z1, z2))
    loss, gradients = jax.value_and_grad(losses.intl)([z1, z2], **how)
    plain = losses.intl([z1, z2], **how, trace_weight=0.0)
    traces = [losses.trace_loss(t, axis=axis) for t in (t1, t2)]
    return {
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


@pytest.mark.parametrize("axis, iterations", GOLDEN)
def test_spectral_01_golden_values(axis, iterations, float64):
    measured = measure(axis, iterations, *golden_views(jnp.float64)[:2])
    for name, expected in GOLDEN[axis, iterations].items():
        assert float(measured[name]) == pytest.approx(
            expected, rel=1e-9, abs=DECIMALS
        ), name


@pytest.mark.parametrize("axis, iterations", GOLDEN)
def test_spectral_01_golden_values_in_float32(axis, iterations):
    measured = measure(axis, iterations, *golden_views(jnp.float32)[:2])
    for name, expected in GOLDEN[axis, iterations].items():
        assert measured[name].dtype == jnp.float32
        # The smallest recorded entry is a difference of larger ones.
        assert float(measured[name]) == pytest.approx(expected, rel=1e-4, abs=1e-6), (
            name
        )


@pytest.mark.parametrize("dtype, rel", [(jnp.float64, 1e-9), (jnp.float32, 1e-4)])
def test_spectral_01_three_views_and_a_teacher(dtype, rel, float64):
    z1, z2, z3 = golden_views(dtype)
    for axis, three, teacher in [
        ("channel", 0.067795707974, 0.074462896324),
        ("batch", 0.253176748260, 0.264463486081),
    ]:
        value = intl([z1, z2, z3], axis=axis)
        assert value.dtype == dtype
        assert float(value) == pytest.approx(three, rel=rel, abs=DECIMALS)
        value = intl_ema(z1, [z2, z3], axis=axis)
        assert value.dtype == dtype
        assert float(value) == pytest.approx(teacher, rel=rel, abs=DECIMALS)


@pytest.mark.parametrize("n", [5, 64])
def test_spectral_02_the_iteration_is_a_spectral_transformation(n, float64):
    rng = np.random.default_rng(n)
    values = rng.uniform(0.05, 1.0, size=n)
    matrix = with_spectrum(values, seed=n)
    values, vectors = np.linalg.eigh(matrix)
    trace = values.sum()
    z = batch_with_covariance(matrix, 2 * n)
    for steps in (1, 4, 7):
        g = gain(values / trace, steps)
        expected = (vectors * g) @ vectors.T
        root = plain_iteration(jnp.asarray(matrix / trace), steps)
        np.testing.assert_allclose(
            root, expected, rtol=0, atol=1e-12 * np.abs(expected).max()
        )
        transformed = np.asarray(z) @ expected / np.sqrt(trace)
        np.testing.assert_allclose(
            iterative_normalization(z, iterations=steps, axis="batch"),
            transformed,
            rtol=0,
            atol=1e-11 * np.abs(transformed).max(),
        )


SIDES = (8192, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2)
EQUAL_OUTPUT = {  # published h_T(1/n), n as in SIDES
    1: ".000275 .001098 .002196 .004389 .008766 .017487 .034791 .068855 .134827"
    " .258301 .472656 .781250",
    3: ".001390 .005547 .011064 .022008 .043545 .085244 .163407 .300762 .513035"
    " .767328 .951209 .998874",
    4: ".003124 .012434 .024710 .048795 .095153 .181053 .328704 .547829 .793280"
    " .956249 .998186 .999999",
    5: ".007013 .027746 .054685 .106246 .200728 .359683 .586394 .823544 .965742"
    " .998543 .999998 1",
    7: ".034970 .132301 .246163 .428990 .668014 .882588 .983237 .999538 .999999 1 1 1",
    9: ".164185 .506055 .748776 .930287 .993485 .999913 1 1 1 1 1 1",
}


@functools.partial(jax.jit, static_argnums=(1, 2))
def iterated_variance(x, iterations, iterate):
    """``h_T`` out of the matrix iteration: a matrix with one row is a number."""
    return x * iterate(x[None, None], iterations)[0, 0] ** 2


@pytest.mark.parametrize("iterations", EQUAL_OUTPUT)
def test_spectral_03_the_output_of_equal_eigenvalues(iterations, float64):
    table = map(float, EQUAL_OUTPUT[iterations].split())
    for n, expected in zip(SIDES, table, strict=True):
        for iterate in (plain_iteration, coupled_iteration):
            value = iterated_variance(jnp.asarray(1 / n), iterations, iterate)
            assert float(value) == pytest.approx(expected, abs=1e-6)
        if n == 8:  # and from a batch whose n eigenvalues are equal
            z = batch_with_covariance(np.eye(n), 2 * n)
            t = iterative_normalization(z, iterations=iterations, axis="batch")
            np.testing.assert_allclose(np.linalg.eigvalsh(covariance(t)), value)


def test_spectral_03_the_output_variance_is_increasing_and_concave(float64):
    x = jnp.linspace(0.0, 1.0, 20001)
    previous = np.asarray(x)
    for iterations in (1, 4, 7, 12):
        h = np.asarray(
            jax.vmap(
                lambda v, t=iterations: iterated_variance(v, t, coupled_iteration)
            )(x)
        )
        assert h[0] == 0.0 and h[-1] == pytest.approx(1.0, abs=1e-12)
        assert h.max() <= 1 + 1e-8 and h.min() >= 0
        assert np.diff(h).min() >= -1e-8
        assert np.diff(h, 2).max() <= 1e-8
        assert (h - previous).min() >= -1e-12
        slope = jax.grad(iterated_variance)(0.0 * x[0], iterations, plain_iteration)
        assert float(slope) == pytest.approx(2.25**iterations, rel=1e-10)
        previous = h


@pytest.mark.parametrize("axis", ["batch", "channel"])
@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_spectral_04_the_output_covariance(p, axis, float64):
    z = normal(24, 6) * jnp.linspace(0.4, 2.0, 6)[None, :]
    z = z if axis == "batch" else z.T
    out = losses.spectral_transform(z, lambda v: v**-p, axis=axis)
    values = np.linalg.eigvalsh(covariance(z, axis))
    expected = np.sort(values * (values**-p) ** 2)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(covariance(out, axis)), expected, rtol=1e-9
    )


@pytest.mark.parametrize("axis", ["batch", "channel"])
def test_spectral_04_three_whitenings_of_which_one_is_spectral(axis, float64):
    z = normal(24, 6) * jnp.linspace(0.4, 2.0, 6)[None, :] @ rotation(6)
    z = z if axis == "batch" else z.T
    spectral = losses.spectral_transform(z, lambda v: v**-0.5, axis=axis)
    for method in ("zca", "pca", "cholesky"):
        out = losses.whiten(z, method=method, axis=axis)
        assert np.abs(covariance(out, axis) - np.eye(6)).max() < 1e-9
        difference = float(jnp.abs(out - spectral).max())
        assert difference < 1e-12 if method == "zca" else difference > 0.1


def test_spectral_05_the_coupled_iteration_reaches_whitening(float64):
    matrix = with_spectrum(np.geomspace(1, 100, 8))
    z = batch_with_covariance(matrix, 32)
    out = iterative_normalization(z, iterations=12, axis="batch")
    assert np.abs(np.linalg.eigvalsh(covariance(out)) - 1).max() < 1e-12
    zca = losses.whiten(z, method="zca", axis="batch")
    np.testing.assert_allclose(out, zca, rtol=0, atol=1e-11)
    z = batch_with_covariance(np.eye(8), 32)
    out = iterative_normalization(z, iterations=4, axis="batch")
    error = np.abs(np.linalg.eigvalsh(covariance(out)) - 1).max()
    assert error == pytest.approx(4.38e-2, abs=1e-4)
    assert error == pytest.approx(1 - output_variance(1 / 8, 4), rel=1e-10)


@pytest.mark.parametrize(
    "n, expected, tolerance",
    [(128, 0.04, 1e-12), (256, 0.05, 1e-12), (512, 0.06, 1e-12), (1024, 0.07, 1e-12)]
    + [(8, 0.0, 1e-12), (6, -0.00415037, 5e-9)],
)
def test_spectral_06_the_default_weight(n, expected, tolerance, float64):
    # Read off the loss: zero iterations only divide by the trace, which is cheap.
    views = [normal(n, 3), normal(n, 3, 1)]
    for axis in ("channel", "batch") if n == 128 else ("channel",):
        pair = views if axis == "channel" else [z.T for z in views]
        none, zero, one = (
            intl(pair, iterations=0, axis=axis, trace_weight=w)
            for w in (None, 0.0, 1.0)
        )
        weight = float((none - zero) / (one - zero))
        assert weight == pytest.approx(expected, abs=tolerance)


def test_spectral_07_groups_of_channels_are_white(float64):
    n, d, groups = 4, 24, 3
    z = normal(n, d)
    z -= z.mean(axis=1, keepdims=True)
    size = d // groups
    key = jax.random.key(3)
    whitened = methods.in_random_groups(
        methods.channel_group_whiten, groups, key[None], z[None]
    )[0]
    order = np.asarray(jax.random.permutation(key, d))
    assert not np.array_equal(order, np.arange(d))
    for k in range(groups):
        # The channels that were whitened together, found where they stood before.
        x = np.asarray(whitened)[:, order[k * size : (k + 1) * size]]
        np.testing.assert_allclose(x @ x.T / (size - 1), np.eye(n), atol=1e-10)
    everything = np.asarray(whitened) @ np.asarray(whitened).T / (d - 1)
    factor = groups * (size - 1) / (d - 1)
    np.testing.assert_allclose(everything, factor * np.eye(n), atol=1e-10)


def test_spectral_07_the_permutation_is_undone(float64):
    z = normal(4, 12)
    for seed in range(3):
        key = jax.random.key(seed)
        kept = methods.in_random_groups(lambda g: g, 3, key[None], z[None])[0]
        np.testing.assert_array_equal(kept, z)
        # One group holds all channels, whose order whitening does not see.
        shuffled = methods.in_random_groups(
            methods.channel_group_whiten, 1, key[None], z[None]
        )[0]
        np.testing.assert_allclose(
            shuffled, methods.channel_group_whiten(z), rtol=0, atol=1e-12
        )


def test_spectral_07_sub_batches_are_white(float64):
    for seed in range(3):
        block = normal(16, 5, seed) @ jnp.asarray(rotation(5)) + 3.0
        out = methods.cholesky_whiten(block, 0.0)
        np.testing.assert_allclose(covariance(out), np.eye(5), atol=1e-9)
        shrunk = methods.cholesky_whiten(block, 0.3)
        c = covariance(block)
        inverse = np.linalg.inv(np.linalg.cholesky(0.7 * c + 0.3 * np.eye(5)))
        np.testing.assert_allclose(covariance(shrunk), inverse @ c @ inverse.T)


@pytest.mark.parametrize("axis", ["batch", "channel"])
@pytest.mark.parametrize("iterations", [7])
def test_spectral_08_gradients_match_central_differences(axis, iterations, float64):
    z1, z2, z3 = golden_views(jnp.float64)
    how = {"iterations": iterations, "axis": axis, "trace_weight": 0.3}
    gradients = intl_gradients([z1, z2, z3], **how)
    step = 1e-5
    for seed in range(3):
        directions = [normal(6, 5, 10 * seed + v) for v in range(3)]

        def moved(t, directions=directions):
            views = zip((z1, z2, z3), directions, strict=True)
            return intl([z + t * d for z, d in views], **how)

        # Fourth order, so that its own error stays below the tolerance.
        numeric = 8 * (moved(step) - moved(-step)) - (
            moved(2 * step) - moved(-2 * step)
        )
        numeric /= 12 * step
        value = sum(jnp.vdot(g, d) for g, d in zip(gradients, directions, strict=True))
        assert float(value) == pytest.approx(float(numeric), rel=1e-7)


@pytest.mark.parametrize("axis", ["batch", "channel"])
def test_spectral_08_gradients_in_float32(axis, float64):
    # Seven steps, the most that the plain recursion is used for.
    wide = golden_views(jnp.float64)[:2]
    narrow = [z.astype(jnp.float32) for z in wide]
    how = {"iterations": 7, "axis": axis}
    for value, expected in zip(
        intl_gradients(narrow, **how), intl_gradients(wide, **how), strict=True
    ):
        assert value.dtype == jnp.float32
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(value, expected, rtol=0, atol=2e-5 * scale)


@pytest.mark.parametrize("axis", ["batch", "channel"])
@pytest.mark.parametrize("iterations", [7])
def test_spectral_09_scale_and_shift(axis, iterations, float64):
    views = golden_views(jnp.float64)[:2]
    how = {"iterations": iterations, "axis": axis}
    gradients = intl_gradients(views, **how, trace_weight=0.3)
    for z, gradient in zip(views, gradients, strict=True):
        size = float(jnp.linalg.norm(z) * jnp.linalg.norm(gradient))
        assert size > 0.1
        assert abs(float(jnp.vdot(z, gradient))) < 1e-12 * size
        sums = gradient.sum(axis=0 if axis == "batch" else 1)
        np.testing.assert_allclose(sums, 0.0, atol=1e-12)
        t = iterative_normalization(z, **how)
        for c in (1e-30, 1e-3, 7.0, 1e30):
            np.testing.assert_allclose(
                iterative_normalization(c * z, **how), t, rtol=0, atol=1e-12
            )
        shift = normal(1, 5) if axis == "batch" else normal(6, 1)
        np.testing.assert_allclose(
            iterative_normalization(z + shift, **how), t, rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("iterations", [4, 7])
def test_spectral_09_rotations_pass_through(iterations, float64):
    z, q = normal(12, 5), jnp.asarray(rotation(5))
    how = {"iterations": iterations, "axis": "batch"}
    np.testing.assert_allclose(
        iterative_normalization(z @ q, **how),
        iterative_normalization(z, **how) @ q,
        rtol=0,
        atol=1e-12,
    )


def test_spectral_10_the_derivative_at_repeated_eigenvalues(float64):
    def g(x):
        return x**-0.5

    e = normal(5, 5)
    e = e + e.T
    derivative = jax.jit(jax.grad(lambda s: jnp.vdot(e, matrix_function(s, g))))
    np.testing.assert_allclose(derivative(2 * jnp.eye(5)), -0.5 * 2**-1.5 * e, 1e-14)


@pytest.mark.parametrize("axis", ["batch", "channel"])
@pytest.mark.parametrize("power", [0.25, 0.5])
def test_spectral_10_the_transformation_can_be_differentiated(power, axis, float64):
    weight, direction = normal(9, 4, 1), normal(9, 4, 2)
    if axis == "channel":
        weight, direction = weight.T, direction.T

    @jax.jit
    def f(z):
        out = losses.spectral_transform(z, lambda v: v**-power, axis=axis)
        return jnp.vdot(weight, out)

    gradient, step = jax.jit(jax.grad(f)), 1e-4
    for spectrum in ([1.0] * 4, [0.5, 0.5, 2.0, 2.0], [0.3, 1.0, 2.0, 5.0]):
        z = batch_with_covariance(with_spectrum(spectrum), 9)
        z = z if axis == "batch" else z.T
        numeric = 8 * (f(z + step * direction) - f(z - step * direction))
        numeric -= f(z + 2 * step * direction) - f(z - 2 * step * direction)
        assert float(jnp.vdot(gradient(z), direction)) == pytest.approx(
            float(numeric / (12 * step)), rel=1e-7
        )


@pytest.mark.parametrize("axis", ["batch", "channel"])
def test_spectral_11_the_teacher_receives_no_gradient(axis, float64):
    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def gradients(teacher_weight, student_weight):
        teacher, *students = golden_views(jnp.float64)
        students = [student_weight * z for z in students]
        return losses.intl_ema(teacher_weight * teacher, students, axis=axis)

    to_teacher, to_student = gradients(jnp.ones((6, 5)), jnp.ones((6, 5)))
    np.testing.assert_array_equal(to_teacher, jnp.zeros((6, 5)))
    assert float(jnp.abs(to_student).max()) > 1e-3


def test_spectral_11_the_moving_average_of_the_teacher():
    from ssljax.training.optimizers import ema_update
    from ssljax.training.schedules import ema_momentum

    old, new = {"w": jnp.array([1.0, -2.0])}, {"w": jnp.array([3.0, 5.0])}
    moved = ema_update(old, new, 0.996)["w"]
    np.testing.assert_allclose(moved, 0.996 * old["w"] + 0.004 * new["w"], rtol=1e-7)
    for base in (0.996, 0.999):
        at = [float(ema_momentum(k, total_steps=50, base=base)) for k in (0, 20, 50)]
        middle = 1 - (1 - base) * (1 + np.cos(np.pi * 20 / 50)) / 2
        np.testing.assert_allclose(at, [base, middle, 1.0], rtol=0, atol=1e-7)


@pytest.mark.parametrize("loss, axis", [("intl", "channel"), ("intl_ema", "batch")])
def test_spectral_12_a_sharded_batch_gives_the_same_loss(loss, axis):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    views = [normal(16, 12, seed).astype(jnp.float32) for seed in range(3)]
    f = {
        "intl": lambda views: losses.intl(views, axis=axis),
        "intl_ema": lambda views: losses.intl_ema(views[0], views[1:], axis=axis),
    }[loss]
    both = jax.jit(jax.value_and_grad(f))
    value, gradients = both(views)
    placed = [jax.device_put(z, rows) for z in views]
    assert len(placed[0].sharding.device_set) == 8
    sharded, sharded_gradients = both(placed)
    np.testing.assert_allclose(sharded, value, rtol=1e-5)
    for a, b in zip(sharded_gradients, gradients, strict=True):
        scale = max(float(jnp.abs(g).max()) for g in gradients)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * scale)


def test_spectral_18_many_steps_are_routed_to_the_stable_form():
    n = 256
    # Condition 8.3e3. A dominant eigenvalue is what the plain recursion cannot bear.
    values = np.arange(1.0, n + 1) ** -1.627
    values /= values.sum()
    matrix = with_spectrum(values)
    exact, vectors = np.linalg.eigh(matrix)

    def error(f, steps):
        root = np.asarray(
            jax.jit(f, static_argnums=1)(jnp.asarray(matrix, jnp.float32), steps)
        )
        reference = (vectors * gain(exact, steps)) @ vectors.T
        return np.linalg.norm(root - reference) / np.linalg.norm(reference)

    def literal(s, steps):
        p = jnp.eye(n, dtype=s.dtype)
        for _ in range(steps):
            p = 1.5 * p - 0.5 * jnp.matmul(p @ p @ p, s, precision="highest")
        return p

    for steps in (4, 5, 7):
        assert error(plain_iteration, steps) < 1e-5
    # As printed, with the matrix last, the recursion has lost every digit by now.
    assert not error(literal, 11) < 1.0
    for steps in (8, 11, 15):
        assert error(coupled_iteration, steps) < 1e-3
    # The public function takes the stable one on its own.
    z = batch_with_covariance(matrix, 2 * n).astype(jnp.float32)
    for steps in (7, 11, 15):
        out = np.asarray(iterative_normalization(z, iterations=steps, axis="batch"))
        reference = np.asarray(z, np.float64) @ (vectors * gain(exact, steps))
        reference = reference @ vectors.T
        scale = np.linalg.norm(reference)
        assert np.linalg.norm(out - reference) < 1e-3 * scale
