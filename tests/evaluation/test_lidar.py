"""LiDAR against its definition in loops, on spectra known exactly, and collapsed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import evaluation

lidar = jax.jit(evaluation.lidar, static_argnames="delta")


def by_definition(z, delta):
    """LiDAR in float64, from loops over images and views and a matrix square root."""
    n, q, d = z.shape
    means = [sum(z[i, j] for j in range(q)) / q for i in range(n)]
    mean = sum(means) / n
    between, within = np.zeros((d, d)), delta * np.eye(d)
    for i in range(n):
        between += np.outer(means[i] - mean, means[i] - mean) / (n - 1)
        for j in range(q):
            away = z[i, j] - means[i]
            within += np.outer(away, away) / (n * (q - 1))
    values, vectors = np.linalg.eigh(within)
    root = sum(
        np.outer(v, v) / np.sqrt(x) for x, v in zip(values, vectors.T, strict=True)
    )
    lam = np.linalg.eigvalsh(root @ between @ root)
    p = lam[lam > 1e-12 * lam.max()] / lam.sum()
    return float(np.exp(-sum(x * np.log(x) for x in p)))


def views(n, q, d, *, seed=0, noise=0.3, offset=1.0):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n, 1, d)) * np.arange(1, d + 1) ** -0.7 + offset
    return images + noise * rng.normal(size=(n, q, d))


@pytest.mark.parametrize("n, q, d", [(30, 4, 6), (8, 3, 20), (12, 2, 12)])
@pytest.mark.parametrize("delta", [1e-4, 0.5])
def test_equals_the_definition(n, q, d, delta, float64):
    z = views(n, q, d)
    found = float(lidar(jnp.asarray(z), delta=delta))
    assert found == pytest.approx(by_definition(z, delta), rel=1e-9)


def test_golden_value(float64):
    # By scipy.linalg.eigh(S_b, S_w), which needs no square root.
    i, j, k = np.ogrid[:5, :3, :4]
    z = np.sin(1.0 + i * (k + 1)) + 0.25 * np.cos(2.0 * j + i + 3.0 * k)
    assert float(lidar(jnp.asarray(z))) == pytest.approx(2.03453727105, rel=1e-11)


def test_float32_agrees():
    z = views(60, 5, 16)
    expected = by_definition(z, 1e-4)
    assert float(lidar(jnp.asarray(z, jnp.float32))) == pytest.approx(
        expected, rel=1e-4
    )
    narrow = lidar(jnp.asarray(z, jnp.bfloat16))
    assert narrow.dtype == jnp.float32
    assert float(narrow) == pytest.approx(expected, rel=0.05)


def test_rotation_shift_and_order_change_nothing(float64):
    z = views(20, 4, 8)
    rng = np.random.default_rng(1)
    q, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    before = float(lidar(jnp.asarray(z)))
    for other in (z @ q, z + 7.0, z[rng.permutation(20)], z[:, ::-1]):
        assert float(lidar(jnp.asarray(other))) == pytest.approx(before, rel=1e-9)
    # Any linear map, up to delta.
    mixed = z @ rng.normal(size=(8, 8)) * 100
    assert float(lidar(jnp.asarray(mixed))) == pytest.approx(before, rel=1e-3)


@pytest.mark.parametrize("r", [1, 3, 5])
def test_as_many_equal_directions_as_tell_images_apart(r):
    # Orthogonal, centred means in r of 12 directions; the same noise in all of them.
    rng = np.random.default_rng(r)
    means = rng.normal(size=(40, r))
    means, _ = np.linalg.qr(means - means.mean(axis=0, keepdims=True))
    z = np.zeros((40, 2, 12))
    z[..., :r] = 50 * means[:, None]
    noise = rng.normal(size=(40, 1, 12))
    z = z + np.concatenate([noise, -noise], axis=1) * 1e-3
    assert float(lidar(jnp.asarray(z, jnp.float32))) == pytest.approx(r, rel=0.02)


def test_noise_alone_fills_every_dimension():
    # What tells LiDAR from RankMe: it weighs directions by what augmentation leaves.
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 10, 8)) * 10.0 ** -(np.arange(8)[None, None] ** 0.5)
    assert float(lidar(jnp.asarray(z, jnp.float32), delta=1e-9)) > 7.5
    z[:, :, 0] += 100 * rng.normal(size=(400, 1))
    assert float(lidar(jnp.asarray(z, jnp.float32), delta=1e-9)) < 1.1


@pytest.mark.parametrize("row", [[0.0] * 6, [0.3, -1.7, 2.9, 0.1, 1e4, 7.7]])
def test_a_complete_collapse_is_zero(row):
    z = jnp.broadcast_to(jnp.asarray(row, jnp.float32), (9, 4, 6))
    assert float(lidar(z)) == 0.0


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_dead_and_copied_dimensions_count_nothing(scale):
    z = scale * views(50, 4, 3)
    wide = np.concatenate([z, z, np.zeros((50, 4, 5)), np.full((50, 4, 1), 3.0)], 2)
    narrow = float(lidar(jnp.asarray(z, jnp.float32)))
    assert float(lidar(jnp.asarray(wide, jnp.float32))) == pytest.approx(
        narrow, rel=0.01
    )
    # One direction is one dimension.
    line = z[:, :, :1] * np.arange(1, 7)
    assert float(lidar(jnp.asarray(line, jnp.float32))) == pytest.approx(1, rel=1e-3)


def test_refusals_are_one_clear_line():
    for z, said in (
        (np.ones((1, 2, 3)), "got 1 with 2"),
        (np.ones((2, 1, 3)), "2 with"),
    ):
        with pytest.raises(ValueError, match=said):
            evaluation.lidar(jnp.asarray(z))
    with pytest.raises(ValueError, match="delta must be positive"):
        evaluation.lidar(jnp.ones((2, 2, 3)), delta=0.0)
