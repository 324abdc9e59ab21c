"""The annotations of the public losses, which tests check at every call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checked_types import checked
from typeguard import TypeCheckError

from ssljax import losses
from ssljax.losses.numerics import Embeddings, Predictor, Scalar, Transformed


@pytest.mark.parametrize("name", losses.__all__)
def test_every_embedding_and_result_is_annotated(name):
    hints = getattr(losses, name).__annotations__
    embeddings = [h for k, h in hints.items() if k in ("z1", "z2", "z", "t", "p")]
    views = [h for k, h in hints.items() if "view" in k]
    assert embeddings or views
    assert all(hint == Embeddings for hint in embeddings)
    assert all(hint == Embeddings or hint.__args__ == (Embeddings,) for hint in views)
    assert hints["return"] in (Scalar, Transformed)
    assert hints.get("predictor", Predictor) == Predictor


def test_arrays_of_every_float_type_and_tracers_are_accepted(float64):
    z = np.eye(3)
    for dtype in (np.float64, np.float32, np.float16, jnp.bfloat16):
        for array in (z.astype(dtype), jnp.asarray(z, dtype)):
            assert losses.negative_cosine(array, array).shape == ()
    traced = jax.jit(losses.negative_cosine)(z, z)
    mapped = jax.vmap(losses.negative_cosine)(z[None], z[None])
    np.testing.assert_allclose(traced, mapped[0])


def test_a_refusal_has_the_message_that_users_see():
    with pytest.raises(ValueError, match="arrays of the same shape"):
        losses.negative_cosine(np.eye(3), np.eye(4))


def scale(z: Embeddings, other: Embeddings) -> Scalar:
    return jnp.sum(z) * jnp.sum(other)


def not_a_scalar(z: Embeddings) -> Scalar:
    return jnp.sum(z, axis=0)


def test_the_check_finds_wrong_shapes_types_and_results():
    z = np.ones((2, 3), np.float32)
    assert checked(scale)(z, z) == 36.0
    for wrong in (z[:1], z[0], z.astype(int)):
        with pytest.raises(TypeCheckError, match="other of scale"):
            checked(scale)(z, wrong)
    with pytest.raises(TypeCheckError, match="return of not_a_scalar"):
        checked(not_a_scalar)(z)
