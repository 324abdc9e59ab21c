"""What every public loss promises, whatever it computes."""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import loss_contract as contract
import numpy as np
import pytest
from loss_cases import CASES, public_name
from loss_inputs import degenerate, normal, pair, positive_definite

from ssljax import losses

# Whose calls without vmap are compiled as well: every loss, two of those that whiten.
PLAIN = [
    name
    for name, case in CASES.items()
    if name in losses.__all__ and not case.whitens or name in ("intl", "cw_rgp")
]

# Called without jit as well, which compiles every operation by itself: one per file,
# the others in the slow tests. The doctests call all of them without jit.
EAGER = ("nt_xent", "barlow_twins", "vicreg", "negative_cosine", "sample_contrastive")
QUICK_PLAIN = (*EAGER, "intl", "cw_rgp")


def test_every_public_loss_is_in_the_table():
    assert {public_name(name) for name in CASES} == set(losses.__all__)


@pytest.mark.parametrize("name", CASES)
def test_a_loss_keeps_its_contract(name):
    """One test per loss, since its claims share two compiled programs."""
    case = CASES[name]
    with jax.enable_x64(True):
        wide = contract.measure(case, plain=name in QUICK_PLAIN)
        check_types_and_invariances(case, wide)
        check_gradients(case, wide)
        if name in QUICK_PLAIN:
            check_plain_calls(case, wide)
    program = contract.narrow_program(case)
    check_finite(case, degenerate(*case.shape), program)
    check_float32_follows(case, wide, program)


def check_types_and_invariances(case, wide):
    assert wide.values.dtype == np.float64
    assert all(g.dtype == np.float64 for g in wide.gradients)
    base = wide.value("base")
    for transformation in case.unchanged.split():
        gap = abs(wide.value(transformation) - base)
        assert gap <= 1e-11 * max(abs(base), 1e-3), f"{transformation}: moved by {gap}"
    if case.partners:
        assert wide.value("partner") > base + 1e-3, "the partner does not matter"


def check_gradients(case, wide):
    reached = [i for i, gradient in enumerate(wide.gradients) if np.any(gradient)]
    assert tuple(reached) == case.live, "the arguments that a gradient reaches"
    if case.order > 0:
        slope = contract.difference(wide.value)
        np.testing.assert_allclose(wide.along("base"), slope, rtol=1e-6)
    if case.order > 1:
        check_curvature(wide)


def check_curvature(wide):
    numeric = [
        contract.difference(lambda point, k=k: wide.gradient(point)[k])
        for k in range(len(wide.direction))
    ]
    scale = max(np.abs(n).max() for n in numeric)
    for value, expected in zip(wide.curvature, numeric, strict=True):
        np.testing.assert_allclose(value[0], expected, rtol=0, atol=1e-6 * scale)


def check_plain_calls(case, wide):
    """Without vmap, and without jit either."""
    value, gradients = wide.plain
    np.testing.assert_allclose(value, wide.value("base"), rtol=1e-11)
    for plain, mapped in zip(gradients, wide.gradients, strict=True):
        scale = np.abs(plain).max()
        np.testing.assert_allclose(mapped[0], plain, rtol=0, atol=1e-11 * scale)
    if case in map(CASES.get, EAGER):
        check_eager_call(case, wide)


def check_eager_call(case, wide):
    eager = case.call(*(jnp.asarray(x) for x in wide.arguments))
    assert eager.shape == ()
    np.testing.assert_allclose(eager, wide.value("base"), rtol=1e-11)


def check_finite(case, embeddings, program):
    names, batch = contract.degenerate_points(case, embeddings)
    values, gradients = program(*batch)
    assert values.dtype == jnp.float32
    for point, finite in zip(names, np.isfinite(values), strict=True):
        assert finite, f"value of {point}"
    for i, gradient in enumerate(gradients):
        assert gradient.dtype == jnp.float32
        assert i in case.live or not np.any(gradient), "held fixed"
        # Also once it is rounded to bfloat16, for inputs of that type.
        rounded = np.asarray(gradient).astype(jnp.bfloat16).astype(np.float32)
        finite = np.isfinite(rounded).all(axis=(1, 2))
        for point, each in zip(names, finite, strict=True):
            assert each, f"gradient of {point}"


def check_float32_follows(case, wide, program):
    """Finite is not enough: an overflow that is masked later would show here."""
    names, _ = contract.degenerate_points(case, degenerate(*case.shape))
    # As many points as before, so that the program is not compiled again.
    points = [np.broadcast_to(x, (len(names), *x.shape)) for x in wide.arguments]
    values, gradients = program(*(x.astype(np.float32) for x in points))
    # The cubes in the whitening cases cancel to a small part of their size, and so do
    # logits of up to ten: their last digits depend on the processor.
    np.testing.assert_allclose(values[0], wide.value("base"), rtol=1e-5, atol=1e-6)
    for narrow, exact in zip(gradients, wide.gradients, strict=True):
        scale = np.abs(exact[0]).max()
        gap = np.abs(narrow[0] - exact[0]).max()
        assert gap <= case.float32_gap * scale, gap / scale


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PLAIN if name not in EAGER])
def test_calls_without_vmap_and_without_jit_agree(name, float64):
    wide = contract.measure(CASES[name], plain=True)
    check_plain_calls(CASES[name], wide)
    check_eager_call(CASES[name], wide)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].whitens])
def test_second_derivatives_of_whitening_match_differences(name, float64):
    check_curvature(contract.measure(CASES[name], order=2))


def public_first(names):
    """Mark the variants of the public losses, which are other programs, as slow."""
    return [
        pytest.param(name, marks=() if name in losses.__all__ else pytest.mark.slow)
        for name in names
    ]


@pytest.mark.parametrize("name", public_first(CASES))
def test_two_rows_give_finite_values_and_gradients(name):
    two = {"two rows": normal(2, 4), "two equal rows": np.ones((2, 4))}
    check_finite(CASES[name], two, contract.narrow_program(CASES[name]))


@pytest.mark.parametrize(
    "name", public_first(name for name in CASES if not CASES[name].whitens)
)
def test_one_dimension_is_enough_or_refused(name):
    case, one = CASES[name], normal(6, 1)
    if case.dimensions > 1:
        with pytest.raises(ValueError, match=r"D >= 2, got shape \[6, 1\]"):
            case.call(one, one)
    else:
        check_finite(case, {"one dimension": one}, contract.narrow_program(case))


@pytest.mark.parametrize("name", CASES)
def test_low_precision_is_widened_before_anything_is_computed(name):
    """So that a bfloat16 input gives what its float32 copy gives, to the bit."""
    case = CASES[name]
    shapes = [(6, 4), (6, 4), (4, 4)][: 3 if case.predictor else 2]
    every = tuple(range(len(shapes)))
    computed, dtype = contract.low_precision_operations(case.call, *shapes)
    assert not computed and dtype == jnp.float32
    low = [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes]
    value, gradients = jax.eval_shape(
        jax.value_and_grad(case.call, argnums=every), *low
    )
    assert value.shape == () and value.dtype == jnp.float32
    assert all(g.dtype == jnp.bfloat16 for g in gradients)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_bfloat16_inputs_give_what_their_float32_copies_give(name):
    case = CASES[name]
    _, wide = contract.degenerate_points(case, degenerate())
    low = [x.astype(jnp.bfloat16) for x in wide]
    wide = [x.astype(np.float32) for x in low]
    program = contract.narrow_program(case)
    (value, gradients), (expected, _) = program(*low), program(*wide)
    assert value.dtype == jnp.float32 and np.isfinite(value).all()
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for i, gradient in enumerate(gradients):
        assert gradient.dtype == jnp.bfloat16
        gradient = np.asarray(gradient, np.float32)
        assert np.isfinite(gradient).all()
        assert i in case.live or not np.any(gradient), "held fixed"


PAIRS = [name for name in losses.__all__ if name in CASES and not CASES[name].whitens]
# One of each way in which a loss looks at the whole batch.
QUICK_SHARDED = (
    "nt_xent",
    "dclw",
    "spectral_contrastive",
    "barlow_twins",
    "vicreg_exp",
    "vicreg_ctr",
    "tcr",
    "isoloss_cosine",
)
SLOW_SHARDED = tuple(name for name in PAIRS if name not in QUICK_SHARDED)


def of_weights(weight, x1, x2, calls):
    """Values and gradients through a dense layer and BatchNorm."""

    def embed(weight, x):
        h = x @ weight
        h = h - h.mean(axis=0, keepdims=True)
        return h * jax.lax.rsqrt((h**2).mean(axis=0, keepdims=True) + 1e-5)

    def loss(weight, x1, call, predictor):
        return call(embed(weight, x1), embed(weight, x2), *predictor)

    out = {}
    for name, call in calls:
        matrix = positive_definite(weight.shape[1]).astype(np.float32)
        predictor = (matrix,) if CASES[name].predictor else ()
        both = jax.value_and_grad(loss, argnums=(0, 1))
        out[name] = both(weight, x1, call, predictor)
    return out


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(QUICK_SHARDED, id="one of each"),
        pytest.param(SLOW_SHARDED, id="others", marks=pytest.mark.slow),
        pytest.param(("intl", "intl_ema"), id="intl", marks=pytest.mark.slow),
    ],
)
def test_eight_devices_give_the_loss_and_gradient_of_one(names):
    calls = tuple((name, CASES[name].call) for name in names)
    compiled = jax.jit(of_weights, static_argnames="calls")
    x1, x2 = (x.astype(np.float32) for x in pair(32, 6))
    weight = normal(6, 5, seed=2).astype(np.float32)
    one = compiled(weight, x1, x2, calls)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    placed = [jax.device_put(x, rows) for x in (x1, x2)]
    assert len(placed[0].sharding.device_set) == 8
    eight = compiled(weight, *placed, calls)
    for name, (value, gradients) in one.items():
        np.testing.assert_allclose(eight[name][0], value, rtol=1e-5, err_msg=name)
        for sharded, gradient in zip(eight[name][1], gradients, strict=True):
            gap = np.linalg.norm(sharded - gradient)
            assert gap <= 1e-5 * np.linalg.norm(gradient), name
    # Local statistics and negatives would give something else.
    calls = tuple((n, CASES[n].call) for n in ("dclw", "vicreg_exp") if n in names)
    parts = [x.reshape(8, 4, 6) for x in (x1, x2)]
    local = [compiled(weight, *part, calls) for part in zip(*parts, strict=True)]
    for name, _ in calls:
        mean = np.mean([part[name][1][0] for part in local], axis=0)
        exact = one[name][1][0]
        assert np.linalg.norm(mean - exact) > 1e-2 * np.linalg.norm(exact), name


CRITERIA = ("sample_contrastive", "dimension_contrastive")  # of one view


@pytest.mark.parametrize("name", [n for n in PAIRS if n not in CRITERIA])
def test_shapes_that_do_not_fit_are_named(name):
    case = CASES[name]
    predictor = [np.eye(3)] if case.predictor else []
    for shapes in [
        ((4, 3), (4, 2)),
        ((4, 3), (5, 3)),
        ((4,), (4,)),
        ((2, 2, 2), (2, 2, 2)),
    ]:
        with pytest.raises(ValueError, match=r"two \[N, D\] arrays of the same shape"):
            case.call(*(np.ones(shape) for shape in shapes), *predictor)
    few = np.ones((case.samples - 1, 3))
    message = f"at least {case.samples} pair.*batch size"
    with pytest.raises(ValueError, match=message):
        case.call(few, few, *predictor)


def test_losses_import_neither_networks_nor_optimizers():
    program = textwrap.dedent(
        """
        import sys

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("flax", "optax", "orbax", "scipy.stats"):
                    raise ImportError(f"{name} is not needed for losses")

        sys.meta_path.insert(0, Refuse())
        from ssljax import losses
        assert sorted(losses.__all__) == losses.__all__
        """
    )
    subprocess.run([sys.executable, "-c", program], check=True)
