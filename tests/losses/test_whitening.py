import inspect
import itertools
import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.test_util import check_grads

from ssljax import losses
from ssljax.losses.matrix_functions import over_blocks

STATIC = ("iterations", "axis", "method", "eps", "sub_batch", "repetitions", "groups")
WHITENING = (
    "cw_rgp",
    "intl",
    "intl_ema",
    "iterative_normalization",
    "shuffled_dbn",
    "trace_loss",
    "w_mse",
    "whiten",
)
JITTED = {
    name: jax.jit(
        getattr(losses, name),
        static_argnames=[
            n
            for n in STATIC
            if n in inspect.signature(getattr(losses, name)).parameters
        ],
    )
    for name in WHITENING
}
whiten, intl, intl_ema = JITTED["whiten"], JITTED["intl"], JITTED["intl_ema"]
iterative_normalization = JITTED["iterative_normalization"]
SHAPES = [(4, 7), (6, 6), (9, 3)]
AXES = ["batch", "channel"]
KEY = jax.random.key(0)


def normal(n, d, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, d)))


def centred(z, axis):
    """Observations as rows, one scalar mean at a time."""
    x = np.array(z if axis == "batch" else np.asarray(z).T)
    for j in range(x.shape[1]):
        x[:, j] -= sum(x[:, j]) / len(x)
    return x


def covariance_of(x):
    """Sum of outer products, one observation at a time."""
    return sum(np.outer(row, row) for row in x) / (len(x) - 1)


def transformed(z, axis, g):
    """``g(lambda, trace)`` on each eigenvalue above rounding, sample by sample."""
    x = centred(z, axis)
    values, vectors = np.linalg.eigh(covariance_of(x))
    out = np.zeros_like(x)
    for value, u in zip(values, vectors.T, strict=True):
        if value > 1e-12 * values.max():
            out += np.array([g(value, values.sum()) * (row @ u) * u for row in x])
    return out if axis == "batch" else out.T


def newton_gain(value, trace, iterations):
    f = 1.0
    for _ in range(iterations):
        f = 1.5 * f - 0.5 * value / trace * f**3
    return f / np.sqrt(trace)


def normalized(z, axis, iterations):
    return transformed(z, axis, lambda v, t: newton_gain(v, t, iterations))


def trace_loss_by_loops(t, axis):
    t = np.asarray(t) if axis == "batch" else np.asarray(t).T
    return sum((np.var(t[:, j], ddof=1) - 1) ** 2 for j in range(t.shape[1]))


def distance(a, b):
    """``2 - 2 cos``, mean over the samples."""
    total = 0.0
    for x, y in zip(np.asarray(a), np.asarray(b), strict=True):
        total += 2 - 2 * (x @ y) / np.sqrt((x @ x) * (y @ y))
    return total / len(a)


def squared_difference(a, b):
    return np.mean((np.asarray(a) - np.asarray(b)) ** 2)


@pytest.mark.parametrize("n, d", SHAPES)
@pytest.mark.parametrize("axis", AXES)
def test_spectral_transform_equals_the_definition(n, d, axis, float64):
    # Two of the shapes leave a singular covariance for either axis.
    z = normal(n, d)
    for g in (lambda v: v**-0.5, lambda v: 1 / (1 + v), lambda v: v**0.3):
        np.testing.assert_allclose(
            losses.spectral_transform(z, g, axis=axis),
            transformed(z, axis, lambda v, _, g=g: g(v)),
            rtol=0,
            atol=1e-12,
        )


@pytest.mark.parametrize("n, d", SHAPES)
@pytest.mark.parametrize("axis", AXES)
def test_zca_equals_the_definition(n, d, axis, float64):
    z = normal(n, d)
    np.testing.assert_allclose(
        whiten(z, axis=axis),
        transformed(z, axis, lambda v, _: v**-0.5),
        rtol=0,
        atol=1e-12,
    )
    x = centred(z, axis)
    regular = covariance_of(x) + 0.3 * np.eye(x.shape[1])
    expected = x @ np.linalg.inv(scipy.linalg.sqrtm(regular))
    np.testing.assert_allclose(
        whiten(z, axis=axis, eps=0.3),
        expected if axis == "batch" else expected.T,
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize("n, d, axis", [(3, 1024, "batch"), (1024, 3, "channel")])
@pytest.mark.parametrize("decay", [1.0, pytest.param(1e-7, marks=pytest.mark.slow)])
def test_few_rows_of_many_numbers_are_whitened_on_their_range(n, d, axis, decay):
    """Centring leaves their Gram matrix a null direction: rounding of either sign."""
    for seed in range(40):
        z = normal(n, d, seed).astype(jnp.float32)
        if axis == "batch":
            z = z * jnp.geomspace(1.0, decay, n, dtype=jnp.float32)[:, None] + 1.0
        white = whiten(z, axis=axis)
        x = np.asarray(white, np.float64)
        x = x if axis == "batch" else x.T  # [3, 1024], centred
        values = np.linalg.eigvalsh(x @ x.T / 2)
        assert np.isfinite(values).all()
        # Ones on the range, zeros elsewhere; the rank is at most 2.
        assert values[-1] < 1.01 and np.sum(values > 0.5) <= 2


@pytest.mark.parametrize("n, d", [(5, 64), (64, 5)])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(
    "backward", [False, pytest.param(True, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "transform",
    [
        lambda z, axis: losses.spectral_transform(z, jnp.cos, axis=axis),
        lambda z, axis: losses.whiten(z, axis=axis, eps=0.1),
        lambda z, axis: losses.iterative_normalization(z, axis=axis),
    ],
    ids=["spectral_transform", "whiten", "iterative_normalization"],
)
def test_only_the_smaller_gram_matrix_is_made(transform, axis, backward, n, d):
    def run(z):
        return transform(z, axis).sum() if backward else transform(z, axis)

    z = jax.ShapeDtypeStruct((n, d), jnp.float32)
    program = str(jax.make_jaxpr(jax.grad(run) if backward else run)(z))
    assert "[64,64]" not in program
    assert "[5,5]" in program


@pytest.mark.parametrize("n, d", SHAPES)
@pytest.mark.parametrize("axis", AXES)
def test_pca_and_cholesky_equal_the_definitions(n, d, axis, float64):
    z = normal(n, d)
    x = centred(z, axis)
    values, vectors = np.linalg.eigh(covariance_of(x))
    principal = np.zeros_like(x)
    for j, (value, u) in enumerate(list(zip(values, vectors.T, strict=True))[::-1]):
        if value > 1e-12 * values.max():
            u = u * np.sign(u[np.argmax(abs(u))])
            principal[:, j] = [row @ u / np.sqrt(value) for row in x]
    # A singular covariance has no Cholesky factor without a part of the identity.
    eps = 0.0 if values[0] > 1e-9 else 0.3
    lower = np.linalg.cholesky(covariance_of(x) + eps * np.eye(x.shape[1]))
    solved = np.array([np.linalg.solve(lower, row) for row in x])
    for method, expected, part in [("pca", principal, 0), ("cholesky", solved, eps)]:
        value = whiten(z, method=method, axis=axis, eps=part)
        np.testing.assert_allclose(
            value, expected if axis == "batch" else expected.T, rtol=0, atol=1e-12
        )


def test_a_singular_batch_is_whitened_on_its_range(float64):
    z = normal(4, 7)
    for method in ("zca", "pca"):
        out = whiten(z, method=method)
        values = np.linalg.eigvalsh(np.cov(np.asarray(out), rowvar=False))
        np.testing.assert_allclose(values, [0] * 4 + [1] * 3, atol=1e-12)
    # All of them keep the distances that whitening gives to four samples: a simplex.
    out = np.asarray(whiten(z))
    gram = out @ out.T
    np.testing.assert_allclose(gram, 3 * (np.eye(4) - 0.25), atol=1e-12)


def test_the_gradient_of_a_singular_batch_matches_differences(float64):
    # The rank of four samples in seven dimensions stays as they move.
    weight = normal(4, 7, 1)
    for axis in AXES:

        @jax.jit
        def f(z, axis=axis):
            return jnp.vdot(weight, whiten(z, axis=axis))

        check_grads(f, (normal(4, 7),), order=1, modes=["rev"], rtol=1e-6)


@pytest.mark.parametrize(
    "n, d, iterations", [(4, 7, 4), (6, 6, 4), (6, 6, 0), (9, 3, 9)]
)
@pytest.mark.parametrize("axis", AXES)
def test_iterative_normalization_and_intl_equal_the_definitions(
    n, d, iterations, axis, float64
):
    views = [normal(n, d, seed) for seed in range(3)]
    t = [normalized(z, axis, iterations) for z in views]
    how = {"iterations": iterations, "axis": axis}
    value = iterative_normalization(views[0], **how)
    np.testing.assert_allclose(value, t[0], rtol=0, atol=1e-10)
    trace = [trace_loss_by_loops(x, axis) for x in t]
    np.testing.assert_allclose(
        losses.trace_loss(value, axis=axis), trace[0], rtol=1e-8, atol=1e-10
    )
    default = 0.01 * (np.log2(n if axis == "channel" else d) - 3)
    for weight in (None, 0.7) if iterations == 4 else (0.7,):
        beta = default if weight is None else weight
        expected = sum(distance(t[v], t[0]) for v in (1, 2)) / 2
        expected += beta * ((trace[1] + trace[2]) / 2 + trace[0])
        np.testing.assert_allclose(
            intl(views, **how, trace_weight=weight), expected, rtol=1e-8
        )
        expected = sum(distance(t[v], t[0]) + beta * trace[v] for v in (1, 2)) / 2
        value = intl_ema(views[0], views[1:], **how, trace_weight=weight)
        np.testing.assert_allclose(value, expected, rtol=1e-8)


def halves(n):
    """Every way to cut n indices into two equal parts."""
    for part in itertools.combinations(range(1, n), n // 2 - 1):
        first = (0, *part)
        yield [first, tuple(i for i in range(n) if i not in first)]


def seen_and_possible(loss, possible, keys=24):
    """The values of a random loss all lie among the possible ones, and vary."""
    values = jax.jit(jax.vmap(loss))(jax.random.split(KEY, keys))
    for value in np.asarray(values):
        assert min(abs(value - p) for p in possible) < 1e-9
    assert len(set(np.round(np.asarray(values), 9))) > 3


@pytest.mark.parametrize("d, normalize", [(2, True), (2, False), (6, True), (9, True)])
def test_w_mse_is_one_of_the_partitions_of_the_batch(d, normalize, float64):
    views = [normal(6, d, seed) for seed in range(3)]
    compare = distance if normalize else squared_difference
    possible = []
    for partition in halves(6):
        total = 0.0
        for part in partition:
            white = []
            for z in views:
                x = centred(np.asarray(z)[list(part)], "batch")
                shrunk = 0.8 * covariance_of(x) + 0.2 * np.eye(d)
                white.append(x @ np.linalg.inv(np.linalg.cholesky(shrunk)).T)
            pairs = itertools.combinations(white, 2)
            total += sum(compare(a, b) for a, b in pairs) / 3 / 2
        possible.append(total)
    how = {"sub_batch": 3, "normalize": normalize, "eps": 0.2}
    seen_and_possible(lambda key: losses.w_mse(views, key=key, **how), possible)


def test_repetitions_of_w_mse_are_averaged(float64):
    views = [normal(6, 2, seed) for seed in range(2)]
    values = np.array(
        [
            JITTED["w_mse"](views, key=key, sub_batch=3, repetitions=40)
            for key in jax.random.split(KEY, 3)
        ]
    )
    single = jax.jit(jax.vmap(lambda key: losses.w_mse(views, key=key, sub_batch=3)))(
        jax.random.split(KEY, 400)
    )
    spread = float(jnp.std(single))
    assert np.std(values) < spread / 2
    assert abs(values.mean() - float(single.mean())) < spread / 3


def in_halves(z, partition, axis):
    """ZCA of two groups of channels, loop by loop, without centring over channels."""
    z, out = np.asarray(z), np.zeros(z.shape)
    for part in map(list, partition):
        x = z[:, part] if axis == "batch" else z[:, part].T
        c = covariance_of(x)
        values, vectors = np.linalg.eigh(c)
        kept = values > 1e-12 * values.max()
        root = (vectors[:, kept] * values[kept] ** -0.5) @ vectors[:, kept].T
        out[:, part] = x @ root if axis == "batch" else (x @ root).T
    return out


@pytest.mark.parametrize(
    "n, d, normalize", [(3, 6, True), (3, 6, False), (6, 6, True), (7, 4, True)]
)
def test_cw_rgp_is_one_of_the_groupings_of_the_channels(n, d, normalize, float64):
    views = [normal(n, d, seed) for seed in range(2)]
    compare = distance if normalize else squared_difference
    centre = [centred(z, "channel").T for z in views]
    white = [[in_halves(z, cut, "channel") for cut in halves(d)] for z in centre]
    possible = [compare(a, b) for a, b in itertools.product(*white)]
    how = {"groups": 2, "normalize": normalize}
    seen_and_possible(lambda key: losses.cw_rgp(views, key=key, **how), possible)


@pytest.mark.parametrize(
    "n, d, normalize", [(7, 4, True), (7, 4, False), (6, 6, True), (3, 6, True)]
)
def test_shuffled_dbn_is_one_of_the_groupings_of_the_channels(n, d, normalize, float64):
    views = [normal(n, d, seed) for seed in range(2)]
    compare = distance if normalize else squared_difference
    centre = [centred(z, "batch") for z in views]
    white = [[in_halves(z, cut, "batch") for cut in halves(d)] for z in centre]
    possible = [compare(a, b) for a, b in itertools.product(*white)]
    how = {"groups": 2, "normalize": normalize}
    seen_and_possible(lambda key: losses.shuffled_dbn(views, key=key, **how), possible)


def test_sub_batches_of_cw_rgp_are_whitened_apart(float64):
    views = [normal(4, 6, seed) for seed in range(2)]
    centre = [centred(z, "channel").T for z in views]
    possible = []
    for partition in halves(4):
        white = [np.zeros((4, 6)), np.zeros((4, 6))]
        for part in map(list, partition):
            for w, z in zip(white, centre, strict=True):
                w[part] = in_halves(z[part], [range(6)], "channel")
        possible.append(distance(*white))
    values = [
        float(JITTED["cw_rgp"](views, key=key, sub_batch=2, groups=1))
        for key in jax.random.split(KEY, 12)
    ]
    for value in values:
        assert min(abs(value - p) for p in possible) < 1e-9
    assert len(set(np.round(values, 9))) == 3


def test_collapse_over_the_channels_is_no_agreement(float64):
    # A sample without variance over its channels has no direction: cosine 0.
    z = jnp.ones((4, 6))
    value = intl([z, z], trace_weight=0.5)
    assert float(value) == pytest.approx(2.0 + 0.5 * 2 * 4, abs=1e-12)
    # Equal samples agree perfectly, and pay n - 2 + 1/n per view for it.
    z = jnp.tile(normal(1, 12), (6, 1))
    value = intl([z, z], iterations=15, trace_weight=1.0)
    assert float(value) == pytest.approx(2 * (6 - 2 + 1 / 6), rel=1e-9)


@pytest.mark.parametrize("axis", AXES)
def test_white_output_ignores_invertible_maps_of_the_whitened_side(axis, float64):
    # Whitening forgets any linear map up to a rotation: the Gram matrix is unchanged.
    z = normal(9, 4) if axis == "batch" else normal(4, 9)
    mix = normal(4, 4, 1)
    mixed = z @ mix if axis == "batch" else mix @ z
    for method in ("zca", "pca", "cholesky"):
        out = [whiten(v, method=method, axis=axis) for v in (z, mixed)]
        gram = [v @ v.T if axis == "batch" else v.T @ v for v in out]
        np.testing.assert_allclose(gram[0], gram[1], atol=1e-10)


@pytest.mark.parametrize("axis", AXES)
def test_samples_and_channels_can_be_permuted(axis, float64):
    views = [normal(6, 5, seed) for seed in range(2)]
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(6), rng.permutation(5)
    value = intl(views, axis=axis, trace_weight=0.3)
    permuted = [z[rows][:, columns] for z in views]
    again = intl(permuted, axis=axis, trace_weight=0.3)
    np.testing.assert_allclose(again, value, rtol=1e-12)
    for g in (lambda v: v**0.3, jnp.log1p):
        np.testing.assert_allclose(
            losses.spectral_transform(permuted[0], g, axis=axis),
            losses.spectral_transform(views[0], g, axis=axis)[rows][:, columns],
            atol=1e-12,
        )


def test_one_anchor_and_its_order(float64):
    a, b, c = (normal(6, 5, seed) for seed in range(3))
    value = float(intl([a, b, c]))
    assert float(intl([a, c, b])) == pytest.approx(value, rel=1e-12)
    assert abs(float(intl([b, a, c])) - value) > 1e-3
    assert float(intl([a, b])) == pytest.approx(float(intl([b, a])), rel=1e-12)


BAD = [
    (lambda z: losses.whiten(z, method="svd"), "zca, pca, cholesky, got 'svd'"),
    (lambda z: losses.whiten(z, axis="rows"), "batch or channel, got 'rows'"),
    (lambda z: losses.whiten(z, eps=-1.0), "eps must not be negative"),
    (lambda z: losses.whiten(z[0]), r"\[N, D\] array"),
    (lambda z: losses.whiten(z[:1]), "at least two samples"),
    (lambda z: losses.intl([z[:, :1]] * 2), "at least two channels"),
    (lambda z: losses.iterative_normalization(z, iterations=-1), "iterations"),
    (lambda z: losses.intl([z]), "two or more views, got 1"),
    (lambda z: losses.intl([z, z[:2]]), "of the same shape"),
    (lambda z: losses.intl_ema(z, []), "two or more views, got 1"),
    (
        lambda z: losses.w_mse([z, z], key=KEY, sub_batch=4),
        "divide the batch of 6",
    ),
    (lambda z: losses.w_mse([z, z], key=KEY, repetitions=0), "repetitions"),
    (
        lambda z: losses.w_mse([z, z], key=KEY, eps=1.5),
        r"eps must lie in \[0, 1\]",
    ),
    (lambda z: losses.cw_rgp([z, z], key=KEY, groups=3), "divide the 4 channels"),
    (lambda z: losses.cw_rgp([z, z], key=KEY, groups=4), "into 2 or more each"),
    (
        lambda z: losses.shuffled_dbn([z, z], key=KEY, groups=0),
        "groups must divide",
    ),
]


@pytest.mark.parametrize("call, message", BAD)
def test_what_cannot_be_computed_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(normal(6, 4).astype(jnp.float32))


@pytest.mark.parametrize(
    "name, options",
    [
        ("w_mse", dict(sub_batch=4, eps=0.1, repetitions=2)),
        ("cw_rgp", dict(sub_batch=4, groups=2)),
        ("shuffled_dbn", dict(groups=2)),
    ],
)
def test_a_cpu_decomposes_one_block_at_a_time(name, options):
    """LAPACK calls on a batch, two at a time, can wait for each other for ever."""

    def loss(z):
        return getattr(losses, name)([z, 2 * z], key=KEY, **options)

    z = jax.ShapeDtypeStruct((8, 16), jnp.float32)
    program = jax.jit(jax.value_and_grad(loss)).lower(z).as_text()
    calls = re.findall(r"@lapack_\w+\(.*: \(tensor<([\dx]+)xf32>", program)
    assert calls and all(shape.count("x") == 1 for shape in calls)


def test_blocks_are_mapped_on_every_platform():
    blocks = jnp.arange(12.0).reshape(3, 2, 2)
    on_cpu = over_blocks(lambda b: b @ b, blocks)
    np.testing.assert_array_equal(on_cpu, blocks @ blocks)
    exported = jax.export.export(
        jax.jit(lambda b: over_blocks(lambda b: b @ b, b)), platforms=["tpu", "cuda"]
    )(blocks)
    assert "while" not in exported.mlir_module()
