"""Public functions of the duality, as called by the contract."""

import jax.numpy as jnp
import numpy as np
from contract_case import Case
from contract_inputs import COUNTS, START, TIMES, bad_start, bad_times, flat

from ssljax.analytic import duality

Z = np.array([[0.8, -0.3], [0.5, 1.2], [-0.9, 0.4]])
BAD_SIZES = "n must be a whole number >= 1, got"
BAD_EMBEDDINGS = r"z must be \[N, D\]"

CASES = [
    Case(
        "duality.criterion_gap",
        duality.criterion_gap,
        (Z,),
        bad=(
            (lambda: duality.criterion_gap(Z[0]), BAD_EMBEDDINGS),
            (lambda: duality.criterion_gap(np.nan * Z), "z must be finite, got nan"),
        ),
    ),
    Case(
        "duality.fourth_powers",
        lambda z: flat(duality.fourth_powers(z)),
        (Z,),
        bad=((lambda: duality.fourth_powers(Z[:0]), BAD_EMBEDDINGS),),
    ),
    Case(
        "duality.criterion_gradients",
        lambda z: flat(duality.criterion_gradients(z)),
        (Z,),
        bad=((lambda: duality.criterion_gradients(Z[0]), BAD_EMBEDDINGS),),
    ),
    Case(
        "duality.double_normalize",
        lambda z: duality.double_normalize(z, iterations=20),
        (Z,),
        bad=(
            (
                lambda: duality.double_normalize(np.array([[0.0, 0.0], [1.0, 1.0]])),
                "the norm of a row must be > 0, got 0",
            ),
            (
                lambda: duality.double_normalize(Z, iterations=-1),
                "iterations must be a whole number >= 0, got -1",
            ),
        ),
    ),
    Case(
        "duality.normalized_gap",
        lambda norm: duality.normalized_gap(5, 3, row_norm=norm),
        (np.array(1.3),),
        bad=(
            (lambda: duality.normalized_gap(0, 3), f"{BAD_SIZES} 0"),
            (
                lambda: duality.normalized_gap(5, 3, row_norm=-1.0),
                "row_norm must be >= 0, got -1",
            ),
        ),
    ),
    Case(
        "duality.soft_gap",
        lambda square: duality.soft_gap(5, 3, square=square),
        (np.array(0.7),),
        bad=((lambda: duality.soft_gap(2.5, 3), f"{BAD_SIZES} 2.5"),),
    ),
    Case(
        "duality.solve_soft_norm_flow",
        lambda start, square, t: duality.solve_soft_norm_flow(start, square=square)(t),
        (START, np.array(0.8), TIMES),
        bad=bad_start(duality.solve_soft_norm_flow)
        + bad_times(lambda: duality.solve_soft_norm_flow(START))
        + (
            (
                lambda: duality.solve_soft_norm_flow(START, square=-1.0),
                "square must be >= 0, got -1",
            ),
        ),
    ),
    Case(
        "duality.fourth_power_bounds",
        lambda norm: flat(duality.fourth_power_bounds(5, 3, norm=norm)),
        (np.array(1.3),),
        bad=(
            (
                lambda: duality.fourth_power_bounds(5, 3, norm=np.nan),
                "norm must be >= 0, got nan",
            ),
        ),
    ),
    Case(
        "duality.criterion_gap_bounds",
        reason=COUNTS,
        bad=((lambda: duality.criterion_gap_bounds(0, 3), f"{BAD_SIZES} 0"),),
    ),
    Case(
        "duality.welch_bound",
        reason=COUNTS,
        bad=((lambda: duality.welch_bound(0, 3), f"{BAD_SIZES} 0"),),
    ),
    Case(
        "duality.repulsion_optimum",
        reason=COUNTS,
        bad=(
            (
                lambda: duality.repulsion_optimum(1, 3),
                "n must be a whole number >= 2, got 1",
            ),
        ),
    ),
    Case(
        "duality.largest_coding_rate",
        lambda eps: duality.largest_coding_rate(5, 3, eps_squared=eps),
        (np.array(0.4),),
        bad=(
            (
                lambda: duality.largest_coding_rate(5, 3, eps_squared=0.0),
                "eps_squared must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "duality.ctr_weights",
        lambda temperature: jnp.stack(
            [
                jnp.asarray(value)
                for value in duality.ctr_weights(5, temperature=temperature).values()
            ]
        ),
        (np.array(0.5),),
        bad=(
            (
                lambda: duality.ctr_weights(5, temperature=0.0),
                "temperature must be > 0, got 0",
            ),
        ),
    ),
]
