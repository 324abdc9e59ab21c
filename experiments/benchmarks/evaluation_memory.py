"""Memory of the linear probe and of kNN on 8 virtual devices, compiled and not run.

Command:  python experiments/benchmarks/evaluation_memory.py [--examples N]
              [--features F] [--classes C] [--devices D]
Time:     5 s
Result:   GiB on each device at ImageNet's size, arguments, temporaries and results
          together, by ``memory_analysis`` of the programs, and what devices exchange
"""

import argparse

import jax
import jax.numpy as jnp
from hlo import collectives
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax.evaluation.logistic import fit_on
from ssljax.evaluation.neighbours import BLOCK, merge_on
from ssljax.evaluation.rows import mesh_of

QUERIES, NEIGHBOURS = 512, 200


def compiled(examples: int, features: int, classes: int, devices: int):
    """Return the programs of both protocols, by name."""
    mesh = mesh_of(jax.devices()[:devices])
    rows, whole = NamedSharding(mesh, P("rows")), NamedSharding(mesh, P())

    def array(*shape, place=whole, kind=jnp.float32):
        return jax.ShapeDtypeStruct(shape, kind, sharding=place)

    filled = examples + -examples % devices
    number = array(kind=jnp.int32)
    probe = fit_on(mesh).lower(
        array(filled, features, place=rows),
        array(filled, place=rows, kind=jnp.int32),
        array(filled, place=rows),
        array(),
        array(features, classes),
        array(classes),
        array(),
        number,
    )
    search = merge_on(mesh).lower(
        array(QUERIES, features, place=rows),
        array(QUERIES, NEIGHBOURS, place=rows),
        array(QUERIES, NEIGHBOURS, place=rows, kind=jnp.int32),
        array(min(BLOCK, 2**26 // features), features),
        number,
        number,
    )
    return {"linear probe": probe.compile(), "kNN": search.compile()}


def gibibytes(program) -> float:
    """Return the memory of a program on one device."""
    found = program.memory_analysis()
    return (
        found.argument_size_in_bytes
        + found.temp_size_in_bytes
        + found.output_size_in_bytes
    ) / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=1_281_167)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--devices", type=int, default=8)
    asked = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", asked.devices)
    programs = compiled(asked.examples, asked.features, asked.classes, asked.devices)
    for name, program in programs.items():
        sent = [f"{c.kind} {c.bytes:,} B" for c in collectives(program.as_text())]
        exchanged = "; ".join(sent) or "nothing"
        print(f"{name:14s} {gibibytes(program):6.2f} GiB a device; sent: {exchanged}")


if __name__ == "__main__":
    main()
