"""Reading the steps that the compilers for accelerators make.

The two stored programs are one small step, of a loop, a convolution with its gradient,
a loss and an update, as XLA compiled it for an H100 and for a TPU v5e; what no parser
reads is cut out.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hlo_work import by_kind, kind_of, operations
from paths import ROOT

from ssljax.models.predictors import direct_predictor, direct_predictors

PROGRAMS = Path(__file__).parent / "programs"
SCRIPT = ROOT / "experiments" / "benchmarks" / "accelerator_step.py"
CONVOLUTION = 2 * (64 * 32 * 32 * 128) * (3 * 3 * 8)  # FLOPs


@pytest.fixture(scope="module", params=["h100", "v5e"])
def found(request):
    return request.param, operations((PROGRAMS / f"{request.param}.txt").read_text())


def test_convolutions_are_counted_as_by_hand(found):
    kinds = by_kind(found[1])
    # The images have no gradient, so the backward pass has the kernel's only.
    assert kinds["convolution, forward"].flops == CONVOLUTION
    assert kinds["convolution, backward"].flops == CONVOLUTION
    assert kinds["loss"].flops == 3 * 2 * 64 * 64 * 128


def test_a_loop_counts_as_often_as_it_runs(found):
    # The TPU's compiler takes the first mean out of the loop.
    assert max(one.times for one in found[1] if one.kind == "views: jitter") == 4
    assert all(
        one.times == 1 for one in found[1] if "views" not in one.kind and one.source
    )


def test_traffic_of_a_kernel_is_what_it_reads_and_writes(found):
    target, all_ = found
    (one,) = (o for o in all_ if o.kind == "convolution, forward")
    in_bfloat16 = 2 * (64 * 32 * 32 * 8 + 64 * 32 * 32 * 128 + 3 * 3 * 8 * 128)
    # The TPU keeps the few numbers of this program on the chip.
    assert one.bytes == (in_bfloat16 if target == "h100" else 0)


def test_only_a_tpu_has_the_compilers_estimates(found):
    target, all_ = found
    cycles = by_kind(all_)["convolution, forward"].cycles
    assert cycles == (0 if target == "h100" else 84234)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("jit(global_step)/views/bsh,bhwc->bswc/dot_general", "views: the rest"),
        ("jit(global_step)/update/mul", "update"),
        ("jit(global_step)/transpose(jvp(loss))/mul", "loss"),
        ("jit(global_step)/jit(_where)/select_n", "other"),
    ],
)
def test_kinds_follow_the_names_of_the_step(source, kind):
    assert kind_of(source) == kind


def test_accelerators_decompose_both_views_covariances_in_one_call():
    made = jax.jit(lambda a, b: direct_predictors([a, b]))
    shape = jax.ShapeDtypeStruct((16, 16), jnp.float32)
    text = {
        platform: made.trace(shape, shape)
        .lower(lowering_platforms=(platform,))
        .as_text()
        for platform in ("cpu", "tpu")
    }
    assert text["tpu"].count("custom_call @Eigh") == 1
    assert "tensor<2x16x16xf32>" in text["tpu"]
    assert "@lapack_ssyevd" in text["cpu"]
    assert "tensor<2x16x16xf32>" not in text["cpu"]


@pytest.mark.parametrize("options", [{}, {"exponent": 1, "epsilon": 0.25}])
def test_several_predictors_are_those_of_one_at_a_time(options):
    rows = np.random.default_rng(0).normal(size=(3, 20, 8)).astype(np.float32)
    covariances = [jnp.asarray(r.T @ r / 20) for r in rows]
    one_at_a_time = [direct_predictor(c, **options) for c in covariances]
    for ours, single in zip(
        direct_predictors(covariances, **options), one_at_a_time, strict=True
    ):
        np.testing.assert_allclose(ours, single, rtol=1e-6, atol=1e-7)
    batched = jax.vmap(lambda c: direct_predictor(c, **options))(jnp.stack(covariances))
    np.testing.assert_allclose(batched, jnp.stack(one_at_a_time), atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs pip install libtpu"
)
def test_the_script_reads_the_views_for_a_tpu(tmp_path):
    out = tmp_path / "step.json"
    words = ["cifar10/simclr", "--target", "v5e:2x4", "--devices", "1", "--batch", "8"]
    # A network takes a minute.
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, SCRIPT, *words, "--views-only", "--json", out],
        check=True,
        env=os.environ | {"PYTHONPATH": paths, "XLA_FLAGS": ""},
    )
    (row,) = json.loads(out.read_text())["rows"]
    assert row["total"]["cycles"] > row["kinds"]["views: jitter"]["cycles"] > 0
    assert row["collectives"] == {}
