"""The losses of Garrido et al., "On the duality between contrastive and
non-contrastive self-supervised learning" (ICLR 2023): values, reductions, safety.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.losses import (
    barlow_twins,
    linearized_barlow_twins,
    tcr,
    vicreg,
    vicreg_ctr,
    vicreg_exp,
)
from ssljax.losses.contrastive import dcl, dclw, info_nce, nt_xent, spectral_contrastive
from ssljax.losses.criteria import dimension_contrastive, sample_contrastive
from ssljax.training import optimizers, schedules


def weigh(*weights):
    names = ("invariance_weight", "variance_weight", "covariance_weight")
    return dict(zip(names, weights, strict=True))


INV, VAR, COV = weigh(1.0, 0.0, 0.0), weigh(0.0, 1.0, 0.0), weigh(0.0, 0.0, 1.0)
USUAL = weigh(25.0, 25.0, 1.0)


def of_first(f):
    return lambda z1, z2: f(z1)


def softmax_losses(temperature, *values):
    """NT-Xent and DCL with the three kinds of negatives, and DCL within the views."""
    kinds = [{"negatives": k} for k in ("cosine", "squared", "absolute")]
    calls = [(nt_xent, k) for k in kinds] + [(dcl, k) for k in kinds]
    calls.append((dcl, {"pairs": "within_view"}))
    return {
        f"{f.__name__} {' '.join(k.values())} {temperature}": (
            partial(f, temperature=temperature, **k),
            value,
        )
        for (f, k), value in zip(calls, values, strict=True)
    }


# On `golden_pair`, computed independently one scalar at a time.
GOLDEN = {
    "L_c": (of_first(sample_contrastive), 49.7981664970),
    "L_nc": (of_first(dimension_contrastive), 37.7320358190),
    "rows^4": (of_first(lambda z: jnp.sum(jnp.sum(z**2, 1) ** 2)), 26.2325837954),
    "columns^4": (of_first(lambda z: jnp.sum(jnp.sum(z**2, 0) ** 2)), 38.2987144734),
    **softmax_losses(
        *(0.1, 0.2585811438, 0.8098147014, 1.0862157785),
        *(-3.0988450034, 0.0956104431, 0.6355699857, -3.8161087213),
    ),
    **softmax_losses(
        *(0.15, 0.3709875023, 0.9899715807, 1.2356834241),
        *(-1.7214506656, 0.4682229573, 0.8752335553, -2.4235594394),
    ),
    **softmax_losses(
        *(0.5, 1.0451088607, 1.5866650598, 1.7435034793),
        *(0.5722902113, 1.3554964843, 1.5505842998, -0.1211051388),
    ),
    "two nt_xent": (lambda *z: 2 * nt_xent(*z, temperature=0.5), 2.0902177215),
    "info_nce": (partial(info_nce, temperature=0.1, symmetric=False), 0.1463047216),
    "spectral 1": (partial(spectral_contrastive, mu=1.0), -1.6184895036),
    "spectral 10": (partial(spectral_contrastive, mu=10.0), -0.2422295488),
    "vicreg inv": (partial(vicreg, **INV), 0.0052150775),
    "vicreg var": (partial(vicreg, **VAR), 0.2319583398),
    "vicreg cov": (partial(vicreg, **COV), 0.6963090204),
    "vicreg": (vicreg, 6.6256444528),
    "exp cov .1": (partial(vicreg_exp, temperature=0.1, **COV), 7.9312709416),
    "exp .1": (partial(vicreg_exp, temperature=0.1, **USUAL), 13.8606063740),
    "exp cov .5": (partial(vicreg_exp, temperature=0.5, **COV), 2.6925589894),
    "exp .5": (partial(vicreg_exp, temperature=0.5, **USUAL), 8.6218944218),
    "ctr var": (partial(vicreg_ctr, **VAR), 0.3744532264),
    "ctr cov .1": (partial(vicreg_ctr, temperature=0.1, **COV), 7.8757922072),
    "ctr cov .5": (partial(vicreg_ctr, temperature=0.5, **COV), 3.2196902487),
    "ctr cov .1 literal": (
        partial(vicreg_ctr, temperature=0.1, centering="sample", **COV),
        7.9157007040,
    ),
    "bt on": (partial(barlow_twins, off_diagonal_weight=0.0), 0.0000741397),
    "bt off": (
        lambda *z: (
            barlow_twins(*z, off_diagonal_weight=1.0)
            - barlow_twins(*z, off_diagonal_weight=0.0)
        ),
        3.8685953657,
    ),
    "bt": (barlow_twins, 0.0198039761),
    "tcr term": (partial(tcr, invariance_weight=0.0), -2.5919392934),
    "tcr": (partial(tcr, eps_squared=0.2, invariance_weight=30.0), -32.4998440454),
}


def golden_pair(dtype):
    i, j = np.arange(6)[:, None], np.arange(4)[None, :]
    z1 = np.sin(1 + 0.7 * j + 1.3 * i + 0.1 * i * j)
    z2 = z1 + 0.1 * np.cos(0.5 + 1.1 * j - 0.9 * i)
    return jnp.asarray(z1, dtype), jnp.asarray(z2, dtype)


def evaluate_golden(dtype):
    # One program for all of them: compiling is what takes the time.
    def evaluate(*z):
        return [loss(*z) for loss, _ in GOLDEN.values()]

    return dict(zip(GOLDEN, jax.jit(evaluate)(*golden_pair(dtype)), strict=True))


def test_duality_08_golden_values(float64):
    for name, value in evaluate_golden(jnp.float64).items():
        # Recorded to ten decimals, so 5e-11 is their last digit.
        expected = pytest.approx(GOLDEN[name][1], rel=1e-9, abs=5.1e-11)
        assert float(value) == expected, name


def test_duality_08_golden_values_in_float32():
    for name, value in evaluate_golden(jnp.float32).items():
        # On the diagonal 1 - C is 4e-3: float32 cannot hold its square closer.
        rel = 1e-4 if name == "bt on" else 1e-5
        assert float(value) == pytest.approx(GOLDEN[name][1], rel=rel), name


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


SHAPES = [(9, 4), (4, 9), (6, 6)]


@pytest.mark.parametrize("n, d", SHAPES)
def test_duality_11_what_the_losses_reduce_to_on_equal_views(n, d, float64):
    z = normal(n, d)
    mu = 1e3  # larger than every squared norm: nothing is projected

    @jax.jit
    def terms(z):
        covariance = vicreg(z, z, **COV) / 2  # of one view
        on, both = (barlow_twins(z, z, off_diagonal_weight=w) for w in (0.0, 1.0))
        spectral = mu * spectral_contrastive(z, z, mu=mu)
        return covariance, both - on, spectral + 2 * jnp.mean(jnp.sum(z**2, axis=1))

    both_criteria = jax.jit(lambda z: [sample_contrastive(z), dimension_contrastive(z)])
    covariance, redundancy, repulsion = terms(z)
    equal = partial(np.testing.assert_allclose, rtol=1e-12)

    centered, scale = z - z.mean(axis=0), d * (n - 1) ** 2
    of_samples, of_dimensions = both_criteria(centered)
    equal(covariance, of_dimensions / scale)
    # The same, written as a sample-contrastive loss with a penalty on norms.
    rows, columns = (((centered**2).sum(axis=k) ** 2).sum() for k in (1, 0))
    equal(covariance, (of_samples + rows - columns) / scale)

    standard = centered / np.sqrt((centered**2).mean(axis=0) + 1e-5)
    equal(redundancy, both_criteria(standard)[1] / n**2)
    equal(repulsion, both_criteria(z)[0] / (n * (n - 1)))


@pytest.mark.parametrize("n, d", SHAPES)
def test_duality_11_the_coding_rate_is_one_on_either_side(n, d, float64):
    z1, z2 = normal(n, d), normal(n, d, seed=1)
    rate = -float(tcr(z1, z2, eps_squared=0.3, invariance_weight=0.0))
    for of_samples in (True, False):
        expected = 0.0
        for z in (z1, z2):
            unit = z / np.linalg.norm(z, axis=1, keepdims=True)
            gram = unit @ unit.T if of_samples else unit.T @ unit
            matrix = np.eye(len(gram)) + d / (n * 0.3) * gram
            expected += np.linalg.slogdet(matrix)[1] / 4
        assert rate == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n, d", SHAPES)
def test_duality_12_ctr_is_dcl_within_the_views(n, d, float64):
    z1, z2 = normal(n, d), normal(n, d, seed=1)
    # Rows of norm sqrt(D - 1), for the products are divided by D - 1; the mean squared
    # difference by D.
    rows = [
        np.sqrt(d - 1) * z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2)
    ]

    @jax.jit
    def difference(temperature, ratio):
        weights = weigh(ratio * d / (d - 1), 0.0, 1.0)
        ctr = vicreg_ctr(*rows, temperature=temperature, centering="none", **weights)
        return ctr - 2 * dcl(z1, z2, temperature=temperature, pairs="within_view")

    for temperature in (0.1, 0.15, 0.5):
        constant = 2 / temperature
        value = float(difference(temperature, 1 / temperature))
        assert value == pytest.approx(constant, abs=1e-12 * constant)
        # Any other ratio of the weights leaves the attraction in.
        assert abs(float(difference(temperature, 25.0)) - constant) > 1.0


COLD = {"temperature": 0.05}
LOSSES = {
    "dcl": partial(dcl, **COLD),
    "dcl_squared": partial(dcl, negatives="squared", **COLD),
    "dcl_absolute": partial(dcl, negatives="absolute", pairs="within_view", **COLD),
    "dclw": partial(dclw, sigma=0.05, **COLD),
    "spectral": spectral_contrastive,
    "linearized_barlow_twins": linearized_barlow_twins,
    "exp": partial(vicreg_exp, **COLD),
    "ctr": partial(vicreg_ctr, **COLD),
    "ctr_none": partial(vicreg_ctr, centering="none", **COLD),
    "tcr": tcr,
}
Z = normal(5, 4)
DEGENERATE = {
    "zeros": 0 * Z,
    "zero_row": np.where(np.arange(5)[:, None] == 1, 0.0, Z),
    "identical_rows": np.full((5, 4), 0.7),
    "constant_column": np.where(np.arange(4)[None] == 2, 3.0, Z),
    "rank_one": np.outer(Z[:, 0], Z[0]),
    "opposite_rows": np.outer([1, -1, 1, -1, 1], np.ones(4)),
    "orthogonal_rows": np.eye(5, 4),
    "tiny": 1e-4 * Z,
    "large": 1e4 * Z,
    "large_constant": np.full((5, 4), 1e4),
    "two_samples": Z[:2],
    "two_identical_samples": np.ones((2, 4)),
}


def values_and_gradients(z1, z2):
    """All of `LOSSES` in one program: compiling is what takes the time."""
    return {
        name: jax.value_and_grad(loss, argnums=(0, 1))(z1, z2)
        for name, loss in LOSSES.items()
    }


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_duality_13_values_and_gradients_stay_finite(dtype):
    f = jax.jit(values_and_gradients)
    for case, z in DEGENERATE.items():
        if len(z) == 2 and dtype == jnp.bfloat16:
            continue  # another shape to compile, and nothing new
        z = np.asarray(z, dtype)
        for other in (z, z[::-1], 0 * z):
            for name, (value, gradients) in f(z, other).items():
                assert value.dtype == jnp.float32, name
                assert np.isfinite(value), (name, case)
                for gradient in gradients:
                    assert gradient.dtype == dtype, name
                    assert np.isfinite(np.asarray(gradient, float)).all(), (name, case)


def test_duality_13_float32_follows_float64(float64):
    # Finite is not enough: a maximum not taken out of exp(s / 0.05) would show here.
    z1, z2 = normal(6, 4), normal(6, 4) + 0.3 * normal(6, 4, seed=1)
    f = jax.jit(lambda *z: {name: loss(*z) for name, loss in LOSSES.items()})
    wide, narrow = f(z1, z2), f(z1.astype(np.float32), z2.astype(np.float32))
    for name, value in wide.items():
        assert value.dtype == jnp.float64 and narrow[name].dtype == jnp.float32
        np.testing.assert_allclose(narrow[name], value, rtol=1e-5, err_msg=name)


def test_duality_14_eight_devices_give_the_loss_and_gradient_of_one():
    # A dense layer and BatchNorm before the loss: the statistics are global as well.
    def embed(weight, x):
        h = x @ weight
        h = h - h.mean(axis=0, keepdims=True)
        return h * jax.lax.rsqrt((h**2).mean(axis=0, keepdims=True) + 1e-5)

    def of_weight(weight, x1, x2, names):
        return {
            name: jax.value_and_grad(
                lambda w, loss=LOSSES[name]: loss(embed(w, x1), embed(w, x2))
            )(weight)
            for name in names
        }

    compiled = jax.jit(of_weight, static_argnames="names")
    x1 = normal(32, 6).astype(np.float32)
    x2 = x1 + 0.3 * normal(32, 6, seed=1).astype(np.float32)
    weight = normal(6, 5, seed=2).astype(np.float32)
    names = ("dclw", "spectral", "exp", "ctr", "tcr")
    one = compiled(weight, x1, x2, names)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    eight = compiled(weight, *(jax.device_put(x, rows) for x in (x1, x2)), names)
    for name, (value, gradient) in one.items():
        np.testing.assert_allclose(eight[name][0], value, rtol=1e-5, err_msg=name)
        gap = np.linalg.norm(eight[name][1] - gradient)
        assert gap <= 1e-5 * np.linalg.norm(gradient), name
    # What local statistics and negatives would give instead is far off.
    parts = [x.reshape(8, 4, 6) for x in (x1, x2)]
    local = [
        compiled(weight, *part, ("dclw", "exp")) for part in zip(*parts, strict=True)
    ]
    for name in ("dclw", "exp"):
        mean = np.mean([part[name][1] for part in local], axis=0)
        gap = np.linalg.norm(mean - one[name][1])
        assert gap > 1e-2 * np.linalg.norm(one[name][1]), name


def test_duality_15_one_lars_step_by_hand():
    p = {"kernel": normal(3, 2), "bias": normal(1, 2)[0]}
    g = {"kernel": normal(3, 2, seed=1), "bias": normal(1, 2, seed=1)[0]}
    rate, decay, eta = 0.3, 0.1, 0.02
    direction = g["kernel"] + decay * p["kernel"]
    trust = eta * np.linalg.norm(p["kernel"]) / np.linalg.norm(direction)
    expected = {"kernel": -rate * trust * direction, "bias": -rate * g["bias"]}
    p, g = (jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), t) for t in (p, g))
    for name in ("lars", "lars_byol"):
        optimizer = optimizers.make(
            name, learning_rate=rate, momentum=0.9, weight_decay=decay, eta=eta
        )
        updates, _ = optimizer.update(g, optimizer.init(p), p)
        for key in expected:
            np.testing.assert_allclose(updates[key], expected[key], rtol=0, atol=1e-7)


@pytest.mark.parametrize("final", [0.001, 0.0])
def test_duality_15_the_ends_of_the_schedule(final):
    rate = schedules.schedule(
        peak=1.6, total_steps=100, warmup_steps=10, final_fraction=final
    )
    assert float(rate(0)) == 0.0
    assert float(rate(10)) == pytest.approx(1.6, rel=1e-6)
    assert float(rate(100)) == pytest.approx(1.6 * final, abs=1e-8)
    assert float(rate(5)) == pytest.approx(0.8, rel=1e-6)
