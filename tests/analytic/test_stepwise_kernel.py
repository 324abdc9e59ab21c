import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic.stepwise import eigensolver
from ssljax.analytic.stepwise.eigensolver import (
    dense_modes,
    krylov_modes,
    leading_modes,
)
from ssljax.analytic.stepwise.kernel import (
    KernelStart,
    contrastive_kernel,
    kernel_embedding,
    kernel_modes,
    kernel_start,
    kernel_steps,
)

# Of one shape and one number of modes, so that all cases share a program.
krylov = jax.jit(krylov_modes, static_argnums=1)
dense = jax.jit(dense_modes, static_argnums=1)


def views(n, m, seed=0, noise=0.4, decay=0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, m))
    spectrum = np.exp(-decay * np.arange(m))
    return x * spectrum, (x + noise * rng.normal(size=(n, m))) * spectrum


def kernels(x, xp):
    return x @ x.T, x @ xp.T, xp @ xp.T


def up_to_sign(found, expected):
    sign = np.sign(np.sum(np.asarray(found) * expected, axis=0))
    return np.max(np.abs(found * sign[None, :] - expected))


def by_inverse_roots(x, xp, test, dim):
    """The definition, with NumPy: an inverse root of the kernel matrix."""
    z = np.concatenate([x, xp])
    k, n = z @ z.T, len(x)
    values, vectors = np.linalg.eigh(k)
    kept = values > 1e-11 * values[-1]
    root = (vectors[:, kept] * np.sqrt(values[kept])) @ vectors[:, kept].T
    inverse = (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
    p = np.kron([[0, 1], [1, 0]], np.eye(n)) / (2 * n)
    gamma, v = np.linalg.eigh(root @ p @ root)
    gamma, v = gamma[::-1][:dim], v[:, ::-1][:, :dim]
    return gamma, test @ z.T @ inverse @ v / np.sqrt(gamma)[None, :]


@pytest.mark.parametrize("m", [9, 31], ids=["singular kernel", "full rank"])
def test_embedding_equals_the_definition_with_inverse_roots(m):
    x, xp = views(6, m)
    test = np.random.default_rng(5).normal(size=(7, m))
    gamma, expected = by_inverse_roots(x, xp, test, 3)
    found = kernel_embedding(*kernels(x, xp), 3)(test @ x.T, test @ xp.T)
    assert found.shape == (7, 3)
    assert up_to_sign(found, expected) < 1e-9
    np.testing.assert_allclose(kernel_modes(*kernels(x, xp), 3).gamma, gamma, rtol=1e-9)


def test_contrastive_kernel_has_the_eigenvalues_of_the_cross_moment():
    x, xp = views(6, 20)
    moment = (x.T @ xp + xp.T @ x) / 12
    found = np.linalg.eigvalsh(contrastive_kernel(*kernels(x, xp)))
    expected = np.linalg.eigvalsh(moment)
    np.testing.assert_allclose(found[:6], expected[:6], atol=1e-12)
    np.testing.assert_allclose(found[-6:], expected[-6:], atol=1e-12)


@pytest.mark.parametrize(
    "m, decay", [(400, 0.0), (40, 0.0), (40, 0.2)], ids=["flat", "singular", "decaying"]
)
def test_krylov_space_and_full_decomposition_agree(m, decay, float64):
    x, xp = views(120, m, decay=decay)
    z = jnp.asarray(np.concatenate([x, xp]))
    kernel = z @ z.T
    gamma, a, residual = krylov(kernel, 2)
    expected, b = dense(kernel, 2)
    assert residual < 1e-11
    np.testing.assert_allclose(gamma, expected, rtol=1e-11)
    assert up_to_sign(kernel @ a, np.asarray(kernel @ b)) < 1e-9


@pytest.mark.slow
def test_a_spectrum_on_which_the_krylov_space_does_not_settle_is_exact(monkeypatch):
    monkeypatch.setattr(eigensolver, "_CYCLES", 1)
    x, xp = views(121, 500)
    test = np.random.default_rng(5).normal(size=(7, 500))
    with jax.enable_x64(True):
        z = jnp.asarray(np.concatenate([x, xp]))
        assert krylov_modes(z @ z.T, 2)[2] > 1e-6
    _, expected = by_inverse_roots(x, xp, test, 2)
    found = kernel_embedding(*kernels(x, xp), 2)(test @ x.T, test @ xp.T)
    assert up_to_sign(found, expected) < 1e-9


def finite_difference(function, argument, direction, step=1e-6):
    ahead, behind = (function(argument + s * direction) for s in (step, -step))
    return (ahead - behind) / (2 * step)


def test_gradient_of_the_embedding_in_each_kernel_matches_differences(float64):
    x, xp = views(6, 15)
    test = np.random.default_rng(1).normal(size=(5, 15))
    weights = jnp.asarray(np.random.default_rng(2).normal(size=(5, 3)))
    blocks = [jnp.asarray(k) for k in kernels(x, xp)]

    def value(k_xx, k_xxp, k_xpxp):
        embed = kernel_embedding(k_xx, k_xxp, k_xpxp, 3)
        return jnp.sum(weights * embed(test @ x.T, test @ xp.T))

    both = jax.jit(jax.value_and_grad(value, argnums=(0, 1, 2)))
    gradients = both(*blocks)[1]
    for which, gradient in enumerate(gradients):
        direction = jnp.asarray(np.random.default_rng(which).normal(size=(6, 6)))

        def along(block, which=which):
            return both(*blocks[:which], block, *blocks[which + 1 :])[0]

        numeric = finite_difference(along, blocks[which], direction)
        np.testing.assert_allclose(
            jnp.sum(gradient * direction), numeric, rtol=1e-5, atol=1e-7
        )


@jax.jit
@jax.value_and_grad
def weighted_gram(k_xxp, k, weights):
    embedded = kernel_embedding(k, k_xxp, k, 3)(k, k_xxp)
    return jnp.sum(weights * (embedded @ embedded.T))


@pytest.mark.parametrize(
    "values",
    [(4, 3, 2, 1, 1, 1), (3, 3, 2, 1, 0.5, 0.2), (3, 3, 3, 1, 1, 0.5)],
    ids=["below the learned", "among the learned", "both"],
)
def test_gradient_of_the_gram_matrix_is_exact_at_repeated_eigenvalues(values, float64):
    k = jnp.diag(jnp.asarray(values, float))
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(6, 6)))
    direction = jnp.asarray(np.random.default_rng(1).normal(size=(6, 6)))

    gradient = weighted_gram(0.7 * k, k, weights)[1]
    assert bool(jnp.isfinite(gradient).all())
    numeric = finite_difference(
        lambda k_xxp: weighted_gram(k_xxp, k, weights)[0], 0.7 * k, direction
    )
    np.testing.assert_allclose(jnp.sum(gradient * direction), numeric, rtol=1e-5)


def test_gradient_of_the_raw_embedding_is_finite_at_repeated_eigenvalues(float64):
    k = jnp.diag(jnp.array([3.0, 3.0, 3.0, 1.0, 1.0, 1.0]))
    gradient = jax.jit(jax.grad(lambda c: kernel_embedding(k, c, k, 3)(k, c).sum()))(
        0.7 * k
    )
    assert bool(jnp.isfinite(gradient).all())


@pytest.mark.slow
def test_gradient_through_a_krylov_space_matches_differences(float64):
    x, xp = views(120, 40, decay=0.1)
    z = jnp.asarray(np.concatenate([x, xp]))
    rng = np.random.default_rng(3)
    direction = jnp.asarray(rng.normal(size=(240, 40)))
    weights = jnp.asarray(rng.normal(size=(240, 2)))

    def value(z):
        kernel = z @ z.T
        gamma, c = leading_modes(kernel, 2)
        return gamma.sum() + jnp.sum(weights * (kernel @ c))

    numeric = finite_difference(value, z, direction)
    np.testing.assert_allclose(
        jnp.sum(jax.grad(value)(z) * direction), numeric, rtol=1e-5
    )


@pytest.mark.slow
def test_second_derivative_matches_differences_of_the_first(float64):
    x, xp = views(6, 15)
    k_xx, k_xxp, k_xpxp = (jnp.asarray(k) for k in kernels(x, xp))
    direction = jnp.asarray(np.random.default_rng(1).normal(size=(6, 6)))

    @jax.jit
    @jax.grad
    def slope(step):
        embed = kernel_embedding(k_xx, k_xxp + step * direction, k_xpxp, 3)
        return embed(k_xx, k_xxp)[0, 0]

    numeric = finite_difference(slope, 0.0, 1.0)
    np.testing.assert_allclose(jax.grad(slope)(0.0), numeric, rtol=1e-5)


def test_start_of_a_linear_model_equals_its_qr_decomposition():
    x, xp = views(6, 30)
    w = 1e-4 * np.random.default_rng(1).normal(size=(3, 30))
    start = kernel_start(*kernels(x, xp), x @ w.T, xp @ w.T)
    moment = (x.T @ xp + xp.T @ x) / 12
    gamma, v = np.linalg.eigh(moment)
    gamma, v = gamma[::-1][:3], v[:, ::-1][:, :3]
    q, r = np.linalg.qr(w @ v)
    scale = np.abs(np.diagonal(r))
    np.testing.assert_allclose(start.scale, scale, rtol=1e-10)
    np.testing.assert_allclose(np.abs(start.rotation), np.abs(q), atol=1e-10)
    expected = -np.log(scale**2 * gamma) / (8 * gamma)
    np.testing.assert_allclose(start.critical_times, expected, rtol=1e-10)


def test_eigenvalues_pass_one_half_at_the_critical_times():
    start = KernelStart(
        jnp.array([2.0, 0.5]), jnp.array([1e-4, 2e-4]), jnp.eye(2), jnp.zeros(2)
    )
    times = -np.log(np.array([2e-8, 2e-8])) / (8 * np.array([2.0, 0.5]))
    found = kernel_steps(start)(times)
    assert found.shape == (2, 2)  # [times, modes]
    np.testing.assert_allclose(np.diagonal(found), 1 / (2 - 2e-8), rtol=1e-6)
    assert found[1, 0] > found[0, 0] > found[0, 1]


def test_results_are_double_whatever_the_default():
    # In the sizes of the other tests, whose operations are compiled already.
    k = jnp.diag(jnp.array([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]))
    embed = kernel_embedding(k, k, k, 3)
    start = kernel_start(k, k, k, 0.01 * k[:, :3], 0.01 * k[:, :3])
    for found in (
        embed(k, k),
        contrastive_kernel(k, k, k),
        start.gamma,
        kernel_steps(start)(np.array([0.0, 1.0])),
    ):
        assert found.dtype == np.float64


def test_it_can_be_mapped_and_compiled():
    k = jnp.stack([jnp.diag(jnp.array([2.0, 1.0])), jnp.diag(jnp.array([3.0, 1.0]))])
    found = jax.jit(jax.vmap(lambda k: kernel_modes(k, k, k, 1).gamma))(k)
    np.testing.assert_allclose(found, [[1.0], [1.5]], rtol=1e-6)


def test_what_does_not_fit_is_named():
    k, other = np.eye(3), np.eye(2)
    with pytest.raises(
        ValueError, match=r"k_xpxp must be \[3, 3\], got shape \[2, 2\]"
    ):
        kernel_embedding(k, k, other, 1)
    with pytest.raises(ValueError, match="dim must be 1 to 3, got 4"):
        kernel_embedding(k, k, k, 4)
    with pytest.raises(ValueError, match="k_xxp must be finite"):
        kernel_embedding(k, np.nan * k, k, 1)
    with pytest.raises(ValueError, match="definite, got the eigenvalue -1"):
        kernel_embedding(k, 2 * k, k, 1)
    with pytest.raises(ValueError, match="f_xp must be finite"):
        kernel_start(k, k, k, np.ones((3, 1)), np.full((3, 1), np.inf))
    with pytest.raises(ValueError, match="at least 2 positive eigenvalues, got 0"):
        kernel_embedding(k, -k, k, 2)
    with pytest.raises(ValueError, match=r"k_test_x must be \[tests, 3\]"):
        kernel_embedding(k, k, k, 1)(other, other)
    with pytest.raises(ValueError, match=r"f_x must be \[3, D\]"):
        kernel_start(k, k, k, np.ones((2, 1)), np.ones((2, 1)))


def test_gradient_holds_where_a_difference_leaves_a_singular_kernel_indefinite(float64):
    x, xp = views(6, 7)
    direction = jnp.asarray(np.random.default_rng(1).normal(size=(6, 6)))
    k_xx, k_xxp, k_xpxp = (jnp.asarray(k) for k in kernels(x, xp))

    @jax.jit
    @jax.value_and_grad
    def both(k):
        return kernel_embedding(k_xx, k, k_xpxp, 3)(k_xx, k_xxp)[3, 1]

    numeric = finite_difference(lambda k: both(k)[0], k_xxp, direction)
    found = jnp.sum(both(k_xxp)[1] * direction)
    np.testing.assert_allclose(found, numeric, rtol=1e-5)
