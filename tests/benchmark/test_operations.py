"""Kinds of operations, from the text of a program and from events of a trace."""

import jax
import jax.numpy as jnp
import pytest

from ssljax.benchmark.operations import kinds_of, read_trace, summed

# As XLA writes it for a GPU.
GPU = """
HloModule jit_train_step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum.1 = f32[] add(%a, %b)
}

%moved (p: f32[4,2]) -> f32[2,4] {
  %p = f32[4,2]{1,0} parameter(0)
  ROOT %transpose.9 = f32[2,4]{1,0} transpose(%p), dimensions={1,0}
}

%scaled (p.1: f32[4]) -> f32[4] {
  %p.1 = f32[4]{0} parameter(0)
  %two = f32[] constant(2)
  %wide = f32[4]{0} broadcast(%two), dimensions={}
  ROOT %multiply.3 = f32[4]{0} multiply(%p.1, %wide)
}

ENTRY %main.9 (x: f32[4,2], y: f32[4]) -> (f32[2,4], f32[4]) {
  %x = f32[4,2]{1,0} parameter(0)
  %y = f32[4]{0} parameter(1)
  %fusion.1 = f32[2,4]{1,0} fusion(%x), kind=kInput, calls=%moved
  %loop_multiply_fusion = f32[4]{0} fusion(%y), kind=kLoop, calls=%scaled
  %conv.2 = (f32[1,8]{1,0}, /*index=1*/u8[9]{0}) custom-call(%x, %y), custom_call_target="__cudnn$convForward"
  %gemm.2.0 = f32[4,4]{1,0} custom-call(%x, %x), custom_call_target="__cublas$gemm"
  %reduce.4 = f32[] reduce(%y, %x), dimensions={0}, to_apply=%add
  %all-reduce-start.1 = f32[4]{0} all-reduce-start(%y), to_apply=%add
  %all-reduce-done.1 = f32[4]{0} all-reduce-done(%all-reduce-start.1)
  %while.3 = (s32[]) while(%t), condition=%c, body=%d
  ROOT %tuple.1 = (f32[2,4]{1,0}, f32[4]{0}) tuple(%fusion.1, %loop_multiply_fusion)
}
"""  # noqa: E501


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fusion.1", "copy/transpose"),
        ("loop_multiply_fusion", "elementwise"),
        ("conv.2", "convolution"),
        ("gemm.2.0", "matmul"),
        ("reduce.4", "reduction"),
        ("all-reduce-start.1", "collective"),
        ("all-reduce-done.1", "collective"),
        ("while.3", None),
        ("tuple.1", None),
        ("x", None),
    ],
)
def test_kinds_in_the_text_of_a_program(name, kind):
    assert kinds_of(GPU)[name] == kind


def test_the_kinds_of_a_program_that_this_xla_compiles():
    def f(x, w, k):
        y = jnp.tanh(x @ w)
        image = jnp.broadcast_to(y[:, :, None, None], (*y.shape, 8, 8))
        return jax.lax.conv(image, k, (1, 1), "SAME").sum()

    x, w, k = jnp.ones((4, 16)), jnp.ones((16, 3)), jnp.ones((2, 3, 3, 3))
    kinds = kinds_of(jax.jit(f).lower(x, w, k).compile().as_text())
    found = set(kinds.values())
    assert {"convolution", "matmul", "reduction", "elementwise"} <= found


def test_kernels_are_known_by_name_where_a_trace_does_not_connect_them():
    events = [
        ("loop_multiply_fusion", 0, 2),
        ("fusion_1", 2, 3),  # fusion.1, in a CUDA graph
        ("sm90_xmma_fprop_implicit_gemm_bf16", 3, 7),
        ("ncclDevKernel_AllReduce", 5, 8),
        ("MemcpyD2D", 9, 10),
        ("cudnn::nchwToNhwcKernel", 9, 10),
        ("nvjet_hsh_128x256", 9, 10),
        ("loop_convert_fusion_7", 9, 10),
        ("while.3", 0, 10),
    ]
    found = summed(events, kinds_of(GPU), steps=1)
    nano = {kind: round(1e9 * seconds) for kind, seconds in found.seconds.items()}
    assert nano == {
        "elementwise": 3,
        "copy/transpose": 3,
        "convolution": 4,
        "collective": 3,
        "matmul": 1,
    }
    assert found.busy == pytest.approx(0.9)
    assert found.slowest[0][0] == "sm90_xmma_fprop_implicit_gemm_bf16"


def test_a_trace_of_this_jax_is_read(tmp_path):
    product = jax.jit(lambda x: jnp.tanh(x @ x).sum())
    x = jnp.ones((256, 256))
    compiled = product.lower(x).compile()
    jax.block_until_ready(compiled(x))
    jax.profiler.start_trace(tmp_path)
    for _ in range(3):
        jax.block_until_ready(compiled(x))
    jax.profiler.stop_trace()
    found = read_trace(tmp_path, compiled.as_text(), steps=3)
    assert found.seconds["matmul"] > 0 and 0 < found.busy <= 1
    assert found.total == pytest.approx(sum(found.seconds.values()))


def test_a_folder_without_a_trace_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no trace"):
        read_trace(tmp_path, GPU, steps=1)
    with pytest.raises(ValueError, match="no operation of a device"):
        summed([("while.3", 0, 1)], kinds_of(GPU), steps=1)
