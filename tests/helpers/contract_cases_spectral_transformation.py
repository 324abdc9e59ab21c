"""Public functions of spectral transformations, as called by the contract."""

import numpy as np
from contract_case import Case
from contract_inputs import COUNTS, NAN, TIMES, bad_start, bad_times, solved

from ssljax.analytic import spectral_transformation as spectral

SPECTRUM, NOISE = np.array([1.5, 0.4]), np.array([0.1, 0.2])
RHO, SHARES = np.array([0.9, 0.5]), np.array([0.7, 0.3])

CASES = [
    Case(
        "spectral_transformation.solve_alignment_flow",
        lambda start, noise, power, t: spectral.solve_alignment_flow(
            start, noise, power=power
        )(t),
        (SPECTRUM, NOISE, np.array(0.2), TIMES),
        bad=bad_start(
            lambda start: spectral.solve_alignment_flow(start, NOISE, power=0.2)
        )
        + bad_times(lambda: spectral.solve_alignment_flow(SPECTRUM, NOISE, power=0.2))
        + (
            (
                lambda: spectral.solve_alignment_flow(SPECTRUM, NAN, power=0.2),
                "noise must be finite and >= 0, got nan",
            ),
            (
                lambda: spectral.solve_alignment_flow(SPECTRUM, NOISE, power=-0.1),
                "power must be >= 0, got -0.1",
            ),
        ),
    ),
    Case(
        "spectral_transformation.collapse_time",
        lambda start, noise, power: spectral.collapse_time(start, noise, power=power),
        (SPECTRUM, NOISE, np.array(0.2)),
        bad=(
            (
                lambda: spectral.collapse_time(0 * SPECTRUM, NOISE, power=0.2),
                "start must be > 0, got 0",
            ),
            (
                lambda: spectral.collapse_time(SPECTRUM, -NOISE, power=0.2),
                "noise must be finite and >= 0, got -0.1",
            ),
        ),
    ),
    Case(
        "spectral_transformation.solve_trace_flow",
        solved(spectral.solve_trace_flow, iterations=1, observations=9),
        (SPECTRUM, TIMES),
        jit=False,
        bad=bad_start(
            lambda start: spectral.solve_trace_flow(start, iterations=1, observations=9)
        )
        + (
            (
                lambda: spectral.solve_trace_flow(
                    SPECTRUM, iterations=1.5, observations=9
                ),
                "iterations must be a whole number >= 0, got 1.5",
            ),
            (
                lambda: spectral.solve_trace_flow(
                    SPECTRUM, iterations=1, observations=1
                ),
                "observations must be a whole number >= 2, got 1",
            ),
        ),
    ),
    Case(
        "spectral_transformation.iter_norm_spectral_gradient",
        lambda spectrum, rho: spectral.iter_norm_spectral_gradient(spectrum, rho, 3),
        (SPECTRUM, RHO),
        bad=(
            (
                lambda: spectral.iter_norm_spectral_gradient(SPECTRUM, 2 * RHO, 3),
                r"correlations must lie in \[-1, 1\], got 1.8",
            ),
            (
                lambda: spectral.iter_norm_spectral_gradient(0 * SPECTRUM, RHO, 3),
                "the sum of the spectrum must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "spectral_transformation.iter_norm_gain",
        lambda x: spectral.iter_norm_gain(x, 3),
        (SHARES,),
        bad=(
            (
                lambda: spectral.iter_norm_gain(SPECTRUM, 3),
                r"eigenvalues over their sum, in \[0, 1\], got 1.5",
            ),
            (lambda: spectral.iter_norm_gain(NAN, 3), "got nan"),
        ),
    ),
    Case(
        "spectral_transformation.iter_norm_spectrum",
        lambda x: spectral.iter_norm_spectrum(x, 3),
        (SHARES,),
        bad=(
            (
                lambda: spectral.iter_norm_spectrum(SHARES, -1),
                "iterations must be a whole number >= 0, got -1",
            ),
        ),
    ),
    Case(
        "spectral_transformation.rounding_growth",
        lambda x: spectral.rounding_growth(x, 4),
        (SHARES,),
        bad=(
            (
                lambda: spectral.rounding_growth(SPECTRUM, 3),
                "eigenvalues over their sum",
            ),
            (
                lambda: spectral.rounding_growth(SHARES, 3, order="first"),
                "order must be one of last, inside",
            ),
        ),
    ),
    Case(
        "spectral_transformation.trace_loss_of_spectrum",
        lambda x, u: spectral.trace_loss_of_spectrum(x, u, 3),
        (SHARES, np.array([[0.8, 0.6], [-0.6, 0.8]])),
        bad=(
            (
                lambda: spectral.trace_loss_of_spectrum(SHARES, np.eye(3), 3),
                r"vectors must be \[2, 2\]",
            ),
            (
                lambda: spectral.trace_loss_of_spectrum(SPECTRUM, np.eye(2), 3),
                "eigenvalues over their sum",
            ),
        ),
    ),
    Case(
        "spectral_transformation.trace_loss_floor",
        reason=COUNTS,
        bad=(
            (
                lambda: spectral.trace_loss_floor(4, 4, rank=5),
                "rank must be 1 to 4, got 5",
            ),
        ),
    ),
    Case(
        "spectral_transformation.intl_floor",
        lambda weight: spectral.intl_floor(8, 2, trace_weight=weight),
        (np.array(0.1),),
        bad=((lambda: spectral.intl_floor(6, 4), "trace_weight must be >= 0"),),
    ),
    Case(
        "spectral_transformation.default_trace_weight",
        reason=COUNTS,
        bad=(
            (
                lambda: spectral.default_trace_weight(0),
                "n must be a whole number >= 1, got 0",
            ),
        ),
    ),
    Case(
        "spectral_transformation.reviving_trace_weight",
        lambda rho, alignment: spectral.reviving_trace_weight(
            16, 3, dead_correlation=rho, alignment=alignment
        ),
        (np.array(0.2), np.array(0.3)),
        bad=(
            (
                lambda: spectral.reviving_trace_weight(16, 3, dead_correlation=1.5),
                r"dead_correlation must lie in \[-1, 1\], got 1.5",
            ),
            (
                lambda: spectral.reviving_trace_weight(16, 0),
                "iterations must be a whole number >= 1, got 0",
            ),
        ),
    ),
    Case(
        "spectral_transformation.equalizing_rate",
        lambda total: spectral.equalizing_rate(
            4, 2, observations=9, total_variance=total
        ),
        (np.array(2.0),),
        bad=(
            (
                lambda: spectral.equalizing_rate(
                    4, 2, observations=9, total_variance=0.0
                ),
                "total_variance must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "spectral_transformation.output_variance",
        lambda spectrum: spectral.output_variance(spectrum, lambda v: v**-0.3),
        (SPECTRUM,),
        bad=(
            (
                lambda: spectral.output_variance(-SPECTRUM, lambda v: v**-0.3),
                "spectrum must be > 0, got -1.5",
            ),
        ),
    ),
    Case(
        "spectral_transformation.implicit_spectral_gradient",
        lambda spectrum, rho: spectral.implicit_spectral_gradient(
            spectrum, rho, lambda v: v**-0.3
        ),
        (SPECTRUM, RHO),
        bad=(
            (
                lambda: spectral.implicit_spectral_gradient(
                    NAN, RHO, lambda v: v**-0.3
                ),
                "spectrum must be > 0, got nan",
            ),
            (
                lambda: spectral.implicit_spectral_gradient(
                    SPECTRUM, 2 * RHO, lambda v: v**-0.3
                ),
                r"correlations must lie in \[-1, 1\]",
            ),
        ),
    ),
]
