"""W-MSE, CW-RGP and Shuffled-DBN: random, so against all that can be drawn."""

import functools
import itertools
import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from loss_cases import KEY
from loss_inputs import normal, rotation
from spectral_reference import (
    centred,
    covariance,
    covariance_of,
    distance,
    squared_difference,
)

from ssljax import losses
from ssljax.losses import whitening
from ssljax.losses.matrix_functions import over_blocks


def halves(n):
    """Every way to cut n indices into two equal parts."""
    for part in itertools.combinations(range(1, n), n // 2 - 1):
        first = (0, *part)
        yield [first, tuple(i for i in range(n) if i not in first)]


COMPARE = {True: distance, False: squared_difference}  # with and without normalising


def seen_and_possible(loss, possible, keys=24):
    """The values of a random loss all lie among the possible ones, and vary.

    Args:
        loss: of a key and ``normalize``.
        possible: function of a comparison that lists the values.
    """

    @jax.jit
    @jax.vmap
    def draw(key):
        return [loss(key=key, normalize=normalize) for normalize in COMPARE]

    for values, compare in zip(
        draw(jax.random.split(KEY, keys)), COMPARE.values(), strict=True
    ):
        expected = possible(compare)
        for value in np.asarray(values):
            assert min(abs(value - p) for p in expected) < 1e-9
        assert len(set(np.round(np.asarray(values), 9))) > 3


def slow(*shape):
    return pytest.param(*shape, marks=pytest.mark.slow)


# Shapes that leave a regular covariance, a square one and a singular one.
@pytest.mark.parametrize("d", [2, 9, slow(6)])
def test_w_mse_is_one_of_the_partitions_of_the_batch(d, float64):
    views = [normal(6, d, seed) for seed in range(3)]

    def white(part):
        for z in views:
            x = centred(z[list(part)], "batch")
            shrunk = 0.8 * covariance_of(x) + 0.2 * np.eye(d)
            yield x @ np.linalg.inv(np.linalg.cholesky(shrunk)).T

    def possible(compare):
        for partition in halves(6):
            pairs = [itertools.combinations(white(part), 2) for part in partition]
            yield sum(compare(a, b) for part in pairs for a, b in part) / 3 / 2

    loss = functools.partial(losses.w_mse, views, sub_batch=3, eps=0.2)
    seen_and_possible(loss, lambda compare: list(possible(compare)))


def test_repetitions_of_w_mse_are_averaged(float64):
    views = [normal(6, 2, seed) for seed in range(2)]

    @functools.partial(jax.jit, static_argnums=1)
    def draws(keys, repetitions):
        return jax.vmap(
            lambda key: losses.w_mse(
                views, key=key, sub_batch=3, repetitions=repetitions
            )
        )(keys)

    values = np.asarray(draws(jax.random.split(KEY, 3), 40))
    single = np.asarray(draws(jax.random.split(KEY, 400), 1))
    spread = np.std(single)
    assert np.std(values) < spread / 2
    assert abs(values.mean() - single.mean()) < spread / 3


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


@pytest.mark.parametrize("n, d", [(3, 6), (7, 4), slow(6, 6)])
def test_cw_rgp_is_one_of_the_groupings_of_the_channels(n, d, float64):
    views = [normal(n, d, seed) for seed in range(2)]
    centre = [centred(z, "channel").T for z in views]
    white = [[in_halves(z, cut, "channel") for cut in halves(d)] for z in centre]

    def possible(compare):
        return [compare(a, b) for a, b in itertools.product(*white)]

    seen_and_possible(functools.partial(losses.cw_rgp, views, groups=2), possible)


@pytest.mark.parametrize("n, d", [(7, 4), (3, 6), slow(6, 6)])
def test_shuffled_dbn_is_one_of_the_groupings_of_the_channels(n, d, float64):
    views = [normal(n, d, seed) for seed in range(2)]
    centre = [centred(z, "batch") for z in views]
    white = [[in_halves(z, cut, "batch") for cut in halves(d)] for z in centre]

    def possible(compare):
        return [compare(a, b) for a, b in itertools.product(*white)]

    seen_and_possible(functools.partial(losses.shuffled_dbn, views, groups=2), possible)


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

    @jax.jit
    @jax.vmap
    def draw(key):
        return losses.cw_rgp(views, key=key, sub_batch=2, groups=1)

    values = np.asarray(draw(jax.random.split(KEY, 12)))
    for value in values:
        assert min(abs(value - p) for p in possible) < 1e-9
    assert len(set(np.round(values, 9))) == 3


def grouped(transform, groups):
    """Compile `in_random_groups` on one block; the transform is static."""

    @jax.jit
    def call(key, z):
        return whitening.in_random_groups(transform, groups, key[None], z[None])[0]

    return call


@pytest.mark.slow
def test_groups_of_channels_are_white(float64):
    n, d, groups = 4, 24, 3
    z = normal(n, d)
    z -= z.mean(axis=1, keepdims=True)
    size = d // groups
    key = jax.random.key(3)
    white = np.asarray(grouped(whitening.channel_group_whiten, groups)(key, z))
    order = np.asarray(jax.random.permutation(key, d))
    assert not np.array_equal(order, np.arange(d))
    for k in range(groups):
        # The channels that were whitened together, found where they stood before.
        x = white[:, order[k * size : (k + 1) * size]]
        np.testing.assert_allclose(x @ x.T / (size - 1), np.eye(n), atol=1e-10)
    factor = groups * (size - 1) / (d - 1)
    np.testing.assert_allclose(white @ white.T / (d - 1), factor * np.eye(n), 0, 1e-10)


@pytest.mark.slow
def test_the_permutation_is_undone(float64):
    z = normal(4, 12)
    keep = grouped(lambda g: g, 3)
    together = grouped(whitening.channel_group_whiten, 1)
    plain = jax.jit(whitening.channel_group_whiten)(z)
    for seed in range(3):
        key = jax.random.key(seed)
        np.testing.assert_array_equal(keep(key, z), z)
        # One group holds all channels, whose order whitening does not see.
        np.testing.assert_allclose(together(key, z), plain, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_sub_batches_of_w_mse_are_white(float64):
    whiten = jax.jit(whitening.cholesky_whiten, static_argnums=1)
    for seed in range(3):
        block = normal(16, 5, seed) @ rotation(5) + 3.0
        out = whiten(block, 0.0)
        np.testing.assert_allclose(covariance(out), np.eye(5), atol=1e-9)
        shrunk = whiten(block, 0.3)
        c = covariance(block)
        inverse = np.linalg.inv(np.linalg.cholesky(0.7 * c + 0.3 * np.eye(5)))
        np.testing.assert_allclose(covariance(shrunk), inverse @ c @ inverse.T)


@pytest.mark.parametrize(
    "call, message",
    [
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
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(normal(6, 4).astype(np.float32))


@pytest.mark.parametrize(
    "name, options",
    [
        ("w_mse", dict(sub_batch=4, eps=0.1, repetitions=2)),
        ("cw_rgp", dict(sub_batch=4, groups=2)),
        ("shuffled_dbn", dict(groups=2)),
    ],
)
def test_a_cpu_decomposes_one_block_at_a_time(name, options):
    """LAPACK calls on a batch, two at a time, can wait for each other forever."""

    def loss(z):
        return getattr(losses, name)([z, 2 * z], key=KEY, **options)

    z = jax.ShapeDtypeStruct((8, 16), jnp.float32)
    program = jax.jit(jax.value_and_grad(loss)).lower(z).as_text()
    calls = re.findall(r"@lapack_\w+\(.*: \(tensor<([\dx]+)xf32>", program)
    assert calls and all(shape.count("x") == 1 for shape in calls)


def test_blocks_are_mapped_on_every_platform():
    blocks = np.arange(12.0, dtype=np.float32).reshape(3, 2, 2)
    square = jax.jit(lambda b: over_blocks(lambda b: b @ b, b))
    np.testing.assert_array_equal(square(blocks), blocks @ blocks)
    exported = jax.export.export(square, platforms=["tpu", "cuda"])(blocks)
    assert "while" not in exported.mlir_module()
