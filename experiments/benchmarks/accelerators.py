"""Accelerators to compile for on a machine that has none."""

import importlib.util
import os
from typing import Any, NamedTuple

# Compilers for machines that are not there. Set before JAX starts; a value that the
# user has set stays.
for _name, _value in {
    "JAX_PLATFORMS": "cpu",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",  # no CUDA driver is needed to compile
    # Without these libtpu asks the cloud for the machine that it is on, and lets only
    # one process of the computer use it.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}.items():
    os.environ.setdefault(_name, _value)


class Peak(NamedTuple):
    """What a device does at most, as its vendor states it."""

    flops: float
    """Per second, in bfloat16 without sparsity."""
    bandwidth: float
    """Bytes per second to its memory."""


# TPUs by the family of a slice such as v5e:2x4 (cloud.google.com/tpu/docs), and the
# H100 SXM from NVIDIA's data sheet.
PEAKS = {
    "v5e": Peak(197e12, 819e9),
    "v5p": Peak(459e12, 2765e9),
    "v6e": Peak(918e12, 1640e9),
    "h100": Peak(989e12, 3.35e12),
}
# The module that has the compiler, and the packages that bring it.
_COMPILERS = {
    "h100": (
        "jax_cuda12_plugin",
        "jax-cuda12-plugin jax-cuda12-pjrt, of jaxlib's version",
    ),
    "tpu": ("libtpu", "libtpu"),
}
# What XLA asks a GPU about itself (xla/stream_executor/device_description.proto).
_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84929347584
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
runtime_version { major: 12 minor: 8 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


def peak_of(target: str) -> Peak:
    """Return the limits of a target.

    Raises:
        ValueError: for a target without known limits.

    >>> peak_of("v5e:2x4").flops
    197000000000000.0
    """
    family = target.split(":")[0]
    if family not in PEAKS:
        raise ValueError(
            f"unknown target {target!r}; use h100 or a slice of v5e, v5p or v6e "
            "such as v5e:2x4"
        )
    return PEAKS[family]


def devices_of(target: str, count: int | None = None) -> list[Any]:
    """Return devices to compile for, which cannot run anything.

    Args:
        target: ``h100``, or a slice of TPUs such as ``v5e:2x4``. Slices of v5e start at
            2x2, so for one TPU take the first device of one.
        count: how many; None for one H100 or the whole slice.

    Raises:
        ValueError: for an unknown target, one whose compiler is not installed, or more
            devices than the slice has.
    """
    peak_of(target)
    module, packages = _COMPILERS["h100" if target == "h100" else "tpu"]
    if importlib.util.find_spec(module) is None:
        raise ValueError(f"no compiler for {target}: pip install {packages}")
    from jax.experimental import topologies

    if target == "h100":
        count = count or 1
        found: Any = topologies.get_topology_desc(
            platform="cuda", target_config=_H100, topology=f"1x{count}x1"
        )
    else:
        found = topologies.get_topology_desc(target, platform="tpu")
    devices = list(found.devices)
    if count is not None and count > len(devices):
        raise ValueError(
            f"{target} has {len(devices)} devices, not {count}; name a larger slice"
        )
    return devices[:count]
