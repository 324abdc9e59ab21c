"""The convolution for CPUs against JAX's own, under every transformation."""

import functools
import importlib
import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.models import cpu_convolution, resnet
from ssljax.models.convolution import convolution
from ssljax.models.cpu_convolution import Geometry, Surroundings

LAYOUT = ("NHWC", "HWIO", "NHWC")
# Shapes of images and kernels, strides, padding. The first is odd in every respect.
CASES = {
    "odd": ((8, 7, 6, 3), (3, 2, 3, 4), (2, 1), ((1, 0), (2, 1))),
    "3x3": ((8, 5, 5, 2), (3, 3, 2, 3), (1, 1), ((1, 1), (1, 1))),
    "3x3/2": ((8, 6, 6, 2), (3, 3, 2, 3), (2, 2), ((1, 1), (1, 1))),
    "3x3/2, odd": ((8, 7, 5, 2), (3, 3, 2, 3), (2, 2), ((1, 1), (1, 1))),
    "3x3, no padding": ((8, 5, 6, 2), (3, 3, 2, 3), (1, 1), "VALID"),
    "1x1": ((8, 4, 4, 3), (1, 1, 3, 2), (1, 1), ((0, 0), (0, 0))),
    "1x1/2": ((8, 5, 4, 3), (1, 1, 3, 2), (2, 2), ((0, 0), (0, 0))),
    "1x1, padded": ((8, 4, 4, 3), (1, 1, 3, 2), (1, 1), ((1, 0), (0, 2))),
    "7x7/2": ((2, 13, 12, 3), (7, 7, 3, 2), (2, 2), ((3, 3), (3, 3))),
    "same": ((2, 7, 8, 3), (4, 3, 3, 2), (3, 2), "SAME"),
    "a last column unseen": ((2, 8, 8, 3), (3, 3, 3, 2), (2, 2), "VALID"),
}


def inputs(name: str, dtype: Any = np.float64) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.normal(size=s), dtype) for s in CASES[name][:2])
    return x, w


def both(name: str) -> list[Any]:
    """Our convolution and JAX's, as functions of images and kernel."""
    _, _, strides, padding = CASES[name]
    options = dict(window_strides=strides, padding=padding, dimension_numbers=LAYOUT)
    return [
        functools.partial(f, **options)
        for f in (convolution, jax.lax.conv_general_dilated)
    ]


def scalar(conv: Any) -> Any:
    """A function of images and kernel without a vanishing derivative of any order."""
    return lambda x, w: jnp.sum(jnp.sin(conv(x, w)))


def assert_equal(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            a, b, rtol=tolerance, atol=tolerance * float(np.abs(b).max())
        ),
        found,
        expected,
    )


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_in_float64(float64, name):
    x, w = inputs(name)

    def run(conv):
        return conv(x, w), jax.grad(scalar(conv), (0, 1))(x, w)

    assert_equal(*(jax.jit(run, static_argnums=0)(conv) for conv in both(name)))


# --- Every form that a rule can choose ----------------------------------------------


def geometry_of(name: str) -> Geometry:
    image, kernel, strides, padding = CASES[name]
    if isinstance(padding, str):
        pads = jax.lax.padtype_to_pads(image[1:3], kernel[:2], strides, padding)
        padding = ((pads[0][0], pads[0][1]), (pads[1][0], pads[1][1]))
    return Geometry(image[1:3], kernel[:2], strides, padding)


@pytest.mark.parametrize("name", CASES)
def test_every_form_in_float64(float64, name):
    x, w = inputs(name)
    geometry = geometry_of(name)
    y = cpu_convolution.native(x, w, geometry)
    g = jnp.asarray(np.random.default_rng(1).normal(size=y.shape))
    pull = jax.vjp(both(name)[1], x, w)[1]
    d_x, d_w = jax.jit(pull)(g)
    forms = cpu_convolution

    @jax.jit
    def run(x, w, g):
        found = [forms.dots_forward(x, w, geometry)]
        found += [
            f(g, w, geometry)
            for f in (forms.native_input_gradient, forms.dots_input_gradient)
        ]
        found += [forms.native_kernel_gradient(x, g, geometry)]
        for sums in (1, 2):
            found += [
                forms.summed_kernel_gradient(x, g, geometry, sums),
                forms.dots_kernel_gradient(x, g, geometry, sums),
            ]
        return found

    assert_equal(run(x, w, g), [y, d_x, d_x, *[d_w] * 5])


def kernel_gradient_text(shape, kernel, devices=1):
    """The program of a kernel's gradient, as the rules choose it."""
    high, wide = shape[1:3]
    pads = ((kernel // 2,) * 2,) * 2
    geometry = Geometry((high, wide), (kernel, kernel), (1, 1), pads)
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    run = functools.partial(
        cpu_convolution.kernel_gradient,
        geometry=geometry,
        around=Surroundings(devices=devices),
    )
    return jax.jit(run).lower(x, x).as_text()


@pytest.mark.parametrize(
    ("shape", "kernel", "devices", "convolutions"),
    [
        ((64, 32, 32, 64), 3, 1, 16),  # 4096 pixels in a sum
        ((64, 4, 4, 512), 3, 1, 1),  # 1024 pixels in all
        ((8, 4, 4, 512), 3, 1, 1),
        ((60, 32, 32, 64), 3, 1, 15),  # equal parts
        ((61, 32, 32, 64), 3, 1, 1),  # a prime number of images
        ((512, 32, 32, 64), 3, 1, 32),  # no more than these: each takes time to compile
        ((64, 32, 32, 64), 3, 8, 2),  # every device has two sums of four images each
        ((60, 32, 32, 64), 3, 8, 1),  # a batch that does not divide is left to XLA
        ((64, 32, 32, 64), 1, 1, 0),  # a matrix product
    ],
)
def test_the_rule_of_the_kernel_gradient(shape, kernel, devices, convolutions):
    text = kernel_gradient_text(shape, kernel, devices)
    assert text.count("stablehlo.convolution") == convolutions
    assert text.count("stablehlo.dot_general") == (kernel == 1)


# --- Transformations ----------------------------------------------------------------


def stacked(a: jax.Array, axis: int) -> jax.Array:
    return jnp.stack([a, 2 * a, a - 1], axis)


TRANSFORMATIONS = {
    "jvp": lambda f: lambda x, w: jax.jvp(f, (x, w), (x + 1, w - 1)),
    "linearize": lambda f: lambda x, w: jax.linearize(f, x, w)[1](w[0, 0, 0, 0] + x, w),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f), (0, 1)),
    "hessian of the kernel": lambda f: jax.hessian(f, 1),
    "mixed, reverse over reverse": lambda f: jax.jacrev(jax.grad(f, 1), 0),
    "mixed, forward over forward": lambda f: (
        lambda x, w: jax.jvp(
            lambda x: jax.jvp(lambda w: f(x, w), (w,), (w + 1,))[1], (x,), (x - 1,)
        )
    ),
    "Hessian-vector product": lambda f: (
        lambda x, w: jax.jvp(jax.grad(f, (0, 1)), (x, w), (x + 1, w - 1))
    ),
    "third derivative": lambda f: (
        lambda x, w: jax.grad(
            lambda w: jnp.sum(jax.jvp(jax.grad(f), (x, w), (x, w))[1])
        )(w)
    ),
    "per-example gradients": lambda f: (
        lambda x, w: jax.vmap(lambda x: jax.grad(f, 1)(x[None], w))(x)
    ),
    "gradient of an ensemble's sum": lambda f: (
        lambda x, w: jax.grad(lambda w: jax.vmap(f)(stacked(x, 0), w).sum())(
            stacked(w, 0)
        )
    ),
    "two levels, apart": lambda f: (
        lambda x, w: jax.vmap(jax.vmap(jax.grad(f, (0, 1)), (0, None)), (None, 0))(
            stacked(x, 0), stacked(w, 0)
        )
    ),
    "two levels, together": lambda f: (
        lambda x, w: jax.vmap(jax.vmap(jax.grad(f, (0, 1))))(
            stacked(stacked(x, 0), 1), stacked(stacked(w, 0), 1)
        )
    ),
    "scan": lambda f: (
        lambda x, w: jax.lax.scan(
            lambda w, _: (w - 0.1 * jax.grad(f, 1)(x, w), None), w, None, length=2
        )[0]
    ),
    "cond": lambda f: jax.grad(
        lambda x, w: jax.lax.cond(jnp.sum(x) > 1e9, lambda x, w: 0.0, f, x, w), (0, 1)
    ),
}


def mapped(axes: tuple[int | None, int | None]) -> Any:
    def transform(f: Any) -> Any:
        def run(x: jax.Array, w: jax.Array) -> Any:
            x, w = (
                a if axis is None else stacked(a, axis)
                for a, axis in zip((x, w), axes, strict=True)
            )
            return jax.vmap(jax.grad(f, (0, 1)), axes)(x, w)

        return run

    return transform


for _axes in itertools.product((None, 0, 2), (None, 0, 3)):
    if _axes != (None, None):
        TRANSFORMATIONS[f"vmap over {_axes}"] = mapped(_axes)


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_transformations_in_float64(float64, transformation):
    x, w = inputs("odd")
    x = x[:3]
    transform = TRANSFORMATIONS[transformation]
    assert_equal(*(jax.jit(transform(scalar(conv)))(x, w) for conv in both("odd")))


def test_without_jit(float64):
    x, w = inputs("3x3")
    assert_equal(*(conv(x, w) for conv in both("3x3")))


def test_the_operation_as_a_linear_function_of_the_kernel(float64):
    x, w = inputs("3x3")

    def back(conv):
        return jax.linear_transpose(lambda w: conv(x, w), w)(conv(x, w))

    assert_equal(*(back(conv) for conv in both("3x3")))


# --- Several devices ----------------------------------------------------------------


def mesh() -> jax.sharding.Mesh:
    kinds = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((8,), ("data",), axis_types=kinds)


def test_images_split_by_the_compiler(float64):
    x, w = inputs("3x3")
    spread = jax.NamedSharding(mesh(), jax.P("data"))
    x = jax.device_put(x, spread)
    assert_equal(*(jax.jit(jax.grad(scalar(f), (0, 1)))(x, w) for f in both("3x3")))


@pytest.mark.parametrize("check", [True, False])
def test_shard_map(float64, check):
    x, w = inputs("3x3")

    def run(conv):
        def local(x, w):
            def loss(w):
                return jax.lax.pmean(scalar(conv)(x, w), "data")

            value, gradient = jax.value_and_grad(loss)(w)
            return value, jax.lax.pmean(gradient, "data")

        split = (jax.P("data"), jax.P())
        return jax.jit(
            jax.shard_map(
                local,
                mesh=mesh(),
                in_specs=split,
                out_specs=jax.P(),
                check_vma=check,
            )
        )(x, w)

    assert_equal(*(run(conv) for conv in both("3x3")))


def test_pmap(float64):
    x, w = inputs("3x3")

    def run(conv):
        return jax.pmap(jax.grad(scalar(conv), (0, 1)), in_axes=(0, None))(
            x[:, None], w
        )

    assert_equal(*(run(conv) for conv in both("3x3")))


def test_sums_in_parts_need_no_more_communication():
    spread = jax.NamedSharding(mesh(), jax.P("data"))
    x = jax.device_put(jnp.ones((32, 4, 4, 2)), spread)
    geometry = Geometry((4, 4), (3, 3), (1, 1), ((1, 1), (1, 1)))
    run = functools.partial(
        cpu_convolution.summed_kernel_gradient, geometry=geometry, sums=4
    )
    text = jax.jit(run, out_shardings=jax.NamedSharding(mesh(), jax.P()))
    text = text.lower(x, x).compile().as_text()
    kinds = ("all-reduce", "all-gather", "collective-permute", "all-to-all")
    assert sum(text.count(f" {kind}(") for kind in kinds) == 1


# --- Accelerators -------------------------------------------------------------------


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_accelerators_compile_the_same_program(platform, dtype, monkeypatch):
    encoder = resnet("resnet_tiny", stem="small", dtype=dtype)
    x = jax.ShapeDtypeStruct((8, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(
        functools.partial(encoder.init, train=False), jax.random.key(0), x
    )

    def loss(variables, x):
        y, _ = encoder.apply(variables, x, train=True, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(y))

    def text():
        # A new function: JAX keeps the traces of one that it has seen.
        step = jax.jit(lambda *a: jax.value_and_grad(loss)(*a))
        return step.trace(variables, x).lower(lowering_platforms=(platform,)).as_text()

    ours = text()
    # The function of the same name hides the module from an import statement.
    module = importlib.import_module("ssljax.models.resnet")
    monkeypatch.setattr(module, "convolution", None)
    assert ours == text()
    # Nine layers: forward, and all gradients but the images'.
    assert ours.count("stablehlo.convolution") == 3 * 9 - 1


@pytest.mark.parametrize("products", [False, True])
def test_one_program_for_several_platforms(float64, products):
    x, w = inputs("1x1" if products else "3x3")
    gradient = jax.jit(jax.grad(scalar(both("1x1" if products else "3x3")[0]), 1))
    exported = jax.export.export(gradient, platforms=("cpu", "tpu"))(x, w)
    assert_equal(exported.call(x, w), gradient(x, w))


# --- What is left to JAX ------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        dict(feature_group_count=2),
        dict(kernel_dilation=2),
        dict(input_dilation=2, padding=1),
        dict(padding="CIRCULAR"),
        dict(padding="SAME"),
        dict(padding=((-1, 0), (0, 0))),
    ],
    ids=str,
)
def test_linen_layers_of_every_kind(float64, options):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 6, 4)))
    layers = [
        nn.Conv(4, (3, 3), param_dtype=jnp.float64, conv_general_dilated=f, **options)
        for f in (convolution, None)
    ]
    variables = layers[0].init(jax.random.key(0), x)

    def run(layer):
        return jax.grad(lambda v: jnp.sum(jnp.sin(layer.apply(v, x))))(variables)

    assert_equal(*(run(layer) for layer in layers))


def test_other_shapes_and_types():
    one_dimensional = jax.lax.conv_dimension_numbers((1, 5, 2), (3, 2, 1), None)
    x = jnp.ones((1, 2, 5), jnp.float16)
    y = convolution(
        x, jnp.ones((1, 2, 3), jnp.float16), (1,), "VALID", dimension_numbers=None
    )
    assert one_dimensional is not None and y.dtype == jnp.float16
    assert y.tolist() == [[[6.0, 6.0, 6.0]]]
    empty = convolution(
        jnp.ones((0, 4, 4, 2)),
        jnp.ones((3, 3, 2, 1)),
        (1, 1),
        "VALID",
        dimension_numbers=LAYOUT,
    )
    assert empty.shape == (0, 2, 2, 1)
    with pytest.raises(TypeError, match="dtypes"):
        convolution(
            jnp.ones((1, 4, 4, 2)),
            jnp.ones((3, 3, 2, 1), jnp.bfloat16),
            (1, 1),
            "VALID",
            dimension_numbers=LAYOUT,
        )


def test_bfloat16_is_as_close_to_float32_as_in_jax():
    x, w = inputs("3x3", np.float32)
    x, w = (a.astype(jnp.bfloat16).astype(jnp.float32) for a in (x, w))
    ours, jaxs = both("3x3")
    exact = jax.grad(lambda x, w: jnp.sum(jaxs(x, w) ** 2), (0, 1))(x, w)

    def errors(conv):
        half = [a.astype(jnp.bfloat16) for a in (x, w)]

        def loss(x, w):
            return jnp.sum(conv(x, w).astype(jnp.float32) ** 2)

        found = jax.grad(loss, (0, 1))(*half)
        assert all(f.dtype == jnp.bfloat16 for f in found)
        return [
            float(jnp.abs(f.astype(jnp.float32) - e).max() / jnp.abs(e).max())
            for f, e in zip(found, exact, strict=True)
        ]

    for own, theirs in zip(errors(ours), errors(jaxs), strict=True):
        assert own <= 1.5 * theirs < 0.02
