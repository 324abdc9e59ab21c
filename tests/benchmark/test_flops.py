"""FLOPs of a step: by hand, by the count over the program, and by XLA."""

import jax
import jax.numpy as jnp
import pytest

from ssljax.benchmark.flops import matrix_flops
from ssljax.models import resnet

BATCH, SIDE = 4, 32
# resnet_tiny on 32 pixels: input side, kernel, stride, channels in and out of each
# convolution, in order.
LAYERS = [
    (32, 3, 2, 3, 16),
    (16, 3, 1, 16, 16),
    (16, 3, 1, 16, 16),
    (16, 3, 2, 16, 32),
    (8, 3, 1, 32, 32),
    (16, 1, 2, 16, 32),
    (8, 3, 2, 32, 128),
    (4, 3, 1, 128, 128),
    (8, 1, 2, 32, 128),
]


def by_hand(*, padding_counts=True):
    """FLOPs of every convolution, the taps on padding counted or not."""
    found = []
    for side, kernel, stride, inside, outside in LAYERS:
        out, pad = side // stride, kernel // 2
        taps = out * kernel
        if not padding_counts:
            taps = sum(
                0 <= stride * i + k - pad < side
                for i in range(out)
                for k in range(kernel)
            )
        found.append(2 * BATCH * taps**2 * inside * outside)
    return found


@pytest.fixture(scope="module")
def tiny():
    network = resnet("resnet_tiny", stem="small")
    x = jnp.zeros((BATCH, SIDE, SIDE, 3))
    variables = jax.eval_shape(
        lambda x: network.init(jax.random.key(0), x, train=True), x
    )

    def encode(params, stats, x):
        variables = {"params": params, "batch_stats": stats}
        return network.apply(variables, x, train=True, mutable=["batch_stats"])[0]

    return encode, variables["params"], variables["batch_stats"], x


def test_convolutions_forward(tiny):
    encode, *arguments = tiny
    assert matrix_flops(jax.jit(encode).trace(*arguments).jaxpr) == sum(by_hand())


def test_xla_counts_the_same_convolutions_without_padding(tiny):
    encode, *arguments = tiny
    cost = jax.jit(encode).trace(*arguments).lower().cost_analysis()
    convolutions = sum(by_hand(padding_counts=False))
    # The rest is BatchNorm, rectifiers and sums.
    assert convolutions < cost["flops"] < 1.1 * convolutions


def test_a_gradient_takes_two_more_products_per_convolution(tiny):
    encode, *arguments = tiny
    gradient = jax.jit(jax.grad(lambda *a: encode(*a).sum()))
    # The images have no gradient.
    expected = 3 * sum(by_hand()) - by_hand()[0]
    assert matrix_flops(gradient.trace(*arguments).jaxpr) == expected


def test_loops_branches_and_batched_products():
    x = jnp.ones((8, 3, 5))

    def product(x):
        return jnp.einsum("bij,bkj->bik", x, x)

    once = 2 * 8 * 3 * 3 * 5

    def looped(x):
        body = lambda c, _: (c + product(x).sum(), None)  # noqa: E731
        return jax.lax.scan(body, 0.0, length=7)[0]

    def branched(x):
        return jax.lax.cond(x[0, 0, 0] > 0, lambda: product(x), lambda: x[..., :3])

    for function, times in ((product, 1), (looped, 7), (branched, 1)):
        assert matrix_flops(jax.jit(function).trace(x).jaxpr) == times * once


def test_groups_and_dilation():
    x, w = jnp.ones((1, 8, 8, 4)), jnp.ones((3, 3, 2, 6))

    def convolve(x, w, **options):
        return jax.lax.conv_general_dilated(
            x,
            w,
            (1, 1),
            ((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=2,
            **options,
        )

    assert matrix_flops(jax.jit(convolve).trace(x, w).jaxpr) == 2 * 64 * 6 * 9 * 2
    dilated = jax.jit(lambda x, w: convolve(x, w, lhs_dilation=(2, 2)))
    # 15 x 15 outputs, of whose taps a quarter meets an input.
    assert matrix_flops(dilated.trace(x, w).jaxpr) == 2 * 225 * 6 * 9 * 2 / 4
