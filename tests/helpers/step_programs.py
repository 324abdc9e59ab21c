"""Measure the compiled step of every family of recipes, without running it.

    python tests/helpers/step_programs.py > tests/training/step_programs.json

in a process of its own, on two CPU devices, compiled as users compile except for LLVM.
A change that adds work, communication or a transfer to the host shows here before it
costs time.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

# The last level, of machine code, changes nothing that is counted, and halves the time.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
_ROOT = Path(__file__).parents[2]
sys.path += [str(Path(__file__).parent), str(_ROOT / "experiments" / "benchmarks")]

import jax  # noqa: E402
from hlo import collectives, totals  # noqa: E402
from small_runs import BATCH, setup_of  # noqa: E402

from ssljax.training import devices, engines  # noqa: E402
from ssljax.training.state import init_state  # noqa: E402
from ssljax.training.step import batch_shapes  # noqa: E402

# One method for each file of recipes.
FAMILIES = (
    "barlow_twins",
    "byol",
    "cw_rgp",
    "dcl",
    "directpred_cosine",
    "intl",
    "isoloss_euclidean",
    "offdiagonal_head",
    "shuffled_dbn",
    "simclr",
    "simsiam",
    "spectral",
    "spectral_contrastive",
    "supervised",
    "tcr",
    "vicreg",
    "w_mse",
)
_HOST = re.compile(
    r"\b(infeed|outfeed|send|recv)\(|custom_call_target=\"[^\"]*callback"
)
_FUSION = re.compile(r" fusion\(")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = ", re.M)


def measure(name: str) -> dict[str, Any]:
    """Return the size of a method's step: what it does, moves and keeps.

    Returns:
        FLOPs, bytes read and written, bytes of temporary memory, number of
        instructions, of fusions and of transfers to the host, and per kind of
        collective its number and bytes.
    """
    setup = setup_of(name)
    mesh = devices.make_mesh(count=2, batch_size=BATCH)
    state = jax.eval_shape(lambda: init_state(setup))
    step = engines.compiled_step(setup, mesh, resident=False)
    compiled = step.lower(
        devices.abstract(state, devices.replicated(mesh)),
        devices.abstract(batch_shapes(setup), devices.over_batch(mesh)),
    ).compile()
    text, cost = compiled.as_text(), compiled.cost_analysis()
    sent = totals(collectives(text))
    return {
        "flops": int(cost["flops"]),
        "bytes": int(cost["bytes accessed"]),
        "temporary bytes": compiled.memory_analysis().temp_size_in_bytes,
        "instructions": len(_INSTRUCTION.findall(text)),
        "fusions": len(_FUSION.findall(text)),
        "host transfers": len(_HOST.findall(text)),
        "collectives": {kind: list(total) for kind, total in sent.items()},
    }


def main() -> None:
    """Print the record of all families."""
    record = {"jax": jax.__version__, "families": {n: measure(n) for n in FAMILIES}}
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
