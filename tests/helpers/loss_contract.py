"""Every public loss as a function of two views, with the properties it must have.

`CASES` is the table. Each case is compiled once in float64 and once in float32, both
under vmap, so that further inputs cost no further compilation: all claims about a loss
read their values from the same two programs.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.models.predictors import direct_predictor, update_covariance

KEY = jax.random.key(0)
SHAPE = (6, 4)  # of `golden_pair`, so that recorded values come from the same program


def golden_pair(dtype=np.float64):
    """Return the two views ``[6, 4]`` that recorded values belong to."""
    i, j = np.arange(6)[:, None], np.arange(4)[None, :]
    z1 = np.sin(1 + 0.7 * j + 1.3 * i + 0.1 * i * j)
    z2 = z1 + 0.1 * np.cos(0.5 + 1.1 * j - 0.9 * i)
    return z1.astype(dtype), z2.astype(dtype)


def normal(n, d, seed=0):
    """Return Gaussian numbers ``[n, d]`` in float64."""
    return np.random.default_rng(seed).normal(size=(n, d))


def pair(n, d, seed=0, noise=0.3):
    """Return a Gaussian view ``[n, d]`` and a noisy copy of it, in float64."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    return z, z + noise * rng.normal(size=(n, d))


def rotation(n, seed=0):
    """Return a random orthogonal matrix ``[n, n]``."""
    return np.linalg.qr(normal(n, n, seed))[0]


def positive_definite(d, seed=1):
    """Return a predictor ``[d, d]``: symmetric, all eigenvalues positive."""
    root = normal(d, 2 * d, seed)
    return root @ root.T / (2 * d)


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss of two views (and a predictor), and its own properties."""

    call: Callable
    unchanged: str = "swap rows columns"
    """Transformations of `TRANSFORMATIONS` that leave the value alone."""
    shape: tuple[int, int] = SHAPE
    """Shape of the float64 inputs; not SHAPE where a covariance must be regular."""
    predictor: bool = False
    """Takes a matrix ``[D, D]`` as its third argument."""
    live: tuple[int, ...] = (0, 1)
    """Arguments that a gradient reaches; it is exactly zero on the others."""
    order: int = 2
    """Number of derivatives that equal differences of the value; 0 if a stop-gradient
    inside changes the gradient on purpose."""
    scale: float = 1.0
    """Factor on the float64 inputs, to stay off a kink."""
    partners: bool = True
    """Reversing the order of one view's rows raises the loss."""
    whitens: bool = False
    """Decomposes or inverts a covariance: float32 is looser, eager calls are slow."""
    dimensions: int = 1
    """Smallest D."""
    samples: int = 2
    """Smallest N."""


CONTRASTIVE = "swap rows columns lengths rotation"
COLD = {"temperature": 0.05}


def _whitening(call, unchanged="", shape=(8, 4), **promises):
    promises = dict(order=1, partners=False, whitens=True) | promises
    return Case(call, unchanged, shape, **promises)


def _cubed_difference(transform):
    # A cube, so that no gradient vanishes for a symmetric reason.
    return lambda a, b: jnp.mean((transform(a) - transform(b)) ** 3)


def _transformations():
    for axis, shape in (("batch", (8, 4)), ("channel", (4, 8))):
        make = functools.partial(_whitening, unchanged="rows columns", shape=shape)
        for method in ("zca", "pca", "cholesky"):
            # Centring takes one rank from a covariance over channels, so that its
            # Cholesky factor needs a part of the identity. It also has an order.
            kept = {"batch": "rows", "channel": "columns"}[axis]
            call = functools.partial(
                losses.whiten,
                method=method,
                axis=axis,
                eps=0.1 if (method, axis) == ("cholesky", "channel") else 0.0,
            )
            yield (
                f"whiten_{method}_{axis}",
                make(
                    _cubed_difference(call),
                    unchanged="rows columns" if method == "zca" else kept,
                ),
            )
        for name, call in (
            ("iterative_normalization", losses.iterative_normalization),
            (
                "spectral_transform",
                functools.partial(losses.spectral_transform, g=jnp.log1p),
            ),
        ):
            call = functools.partial(call, axis=axis)
            yield f"{name}_{axis}", make(_cubed_difference(call))


CASES = {
    "nt_xent": Case(losses.nt_xent, CONTRASTIVE),
    "nt_xent_cold": Case(functools.partial(losses.nt_xent, **COLD), CONTRASTIVE),
    "nt_xent_squared": Case(
        functools.partial(losses.nt_xent, negatives="squared", **COLD), CONTRASTIVE
    ),
    "nt_xent_absolute": Case(
        functools.partial(losses.nt_xent, negatives="absolute", **COLD), CONTRASTIVE
    ),
    "info_nce": Case(losses.info_nce, CONTRASTIVE),
    "info_nce_one_way": Case(
        functools.partial(losses.info_nce, symmetric=False, **COLD),
        "rows columns lengths rotation",
    ),
    "dcl": Case(losses.dcl, CONTRASTIVE),
    "dcl_squared": Case(
        functools.partial(losses.dcl, negatives="squared", **COLD), CONTRASTIVE
    ),
    "dcl_absolute": Case(
        functools.partial(
            losses.dcl, negatives="absolute", pairs="within_view", **COLD
        ),
        CONTRASTIVE,
    ),
    "dclw": Case(losses.dclw, CONTRASTIVE),
    "dclw_cold": Case(functools.partial(losses.dclw, sigma=0.05, **COLD), CONTRASTIVE),
    # All rows outside the ball, then none.
    "spectral_contrastive": Case(
        functools.partial(losses.spectral_contrastive, mu=0.2), CONTRASTIVE
    ),
    "spectral_contrastive_inside": Case(
        functools.partial(losses.spectral_contrastive, mu=100.0),
        "swap rows columns rotation",
    ),
    "barlow_twins": Case(losses.barlow_twins, scale=0.3),
    "linearized_barlow_twins": Case(
        losses.linearized_barlow_twins, "swap rows columns rotation", samples=1
    ),
    "tcr": Case(losses.tcr, CONTRASTIVE, samples=1),
    # At scale 0.3 no standard deviation reaches 1, the kink of the hinge.
    "vicreg": Case(losses.vicreg, scale=0.3),
    "vicreg_exp": Case(losses.vicreg_exp, scale=0.3, dimensions=2),
    "vicreg_exp_cold": Case(
        functools.partial(losses.vicreg_exp, **COLD), scale=0.3, dimensions=2
    ),
    "vicreg_ctr": Case(losses.vicreg_ctr, scale=0.3, dimensions=2),
    "vicreg_ctr_sample": Case(
        functools.partial(losses.vicreg_ctr, centering="sample"),
        scale=0.3,
        dimensions=2,
    ),
    "vicreg_ctr_none": Case(
        functools.partial(losses.vicreg_ctr, centering="none", **COLD),
        scale=0.3,
        dimensions=2,
    ),
    "negative_cosine": Case(losses.negative_cosine, CONTRASTIVE, samples=1),
    "normalized_mse": Case(losses.normalized_mse, CONTRASTIVE, samples=1),
    "asymmetric_euclidean": Case(
        losses.asymmetric_euclidean,
        "rows columns rotation",
        predictor=True,
        live=(0,),
        samples=1,
    ),
    "asymmetric_cosine": Case(
        losses.asymmetric_cosine,
        "rows columns rotation lengths",
        predictor=True,
        live=(0,),
        samples=1,
    ),
    "isoloss_euclidean": Case(
        losses.isoloss_euclidean,
        "rows columns rotation",
        predictor=True,
        live=(0,),
        order=0,
        samples=1,
    ),
    "isoloss_cosine": Case(
        losses.isoloss_cosine,
        "rows columns rotation",
        predictor=True,
        live=(0,),
        order=0,
        samples=1,
    ),
    # Of the first view alone.
    "sample_contrastive": Case(
        lambda z1, z2: losses.sample_contrastive(z1),
        "rows columns rotation",
        live=(0,),
        partners=False,
        samples=1,
    ),
    "dimension_contrastive": Case(
        lambda z1, z2: losses.dimension_contrastive(z1),
        "rows columns",
        live=(0,),
        partners=False,
        samples=1,
    ),
    "intl": _whitening(
        lambda a, b: losses.intl([a, b], trace_weight=0.1), "swap rows columns"
    ),
    "intl_batch": _whitening(
        lambda a, b: losses.intl([a, b], axis="batch", iterations=7),
        "swap rows columns",
    ),
    # Well conditioned, where the iteration has not yet converged.
    "intl_coupled": _whitening(
        lambda a, b: losses.intl([a, b], iterations=9), "swap rows columns", SHAPE
    ),
    "intl_ema": _whitening(
        lambda a, b: losses.intl_ema(a, [b], trace_weight=0.1),
        "rows columns",
        live=(1,),
    ),
    "trace_loss": _whitening(
        lambda a, b: losses.trace_loss(a) + losses.trace_loss(b),
        "swap rows columns",
        (4, 8),
    ),
    "trace_loss_batch": _whitening(
        lambda a, b: sum(losses.trace_loss(z, axis="batch") for z in (a, b)),
        "swap rows columns",
    ),
    "w_mse": _whitening(lambda a, b: losses.w_mse([a, b], key=KEY), "swap rows"),
    "cw_rgp": _whitening(
        lambda a, b: losses.cw_rgp([a, b], key=KEY, groups=2), "rows", (4, 8)
    ),
    "shuffled_dbn": _whitening(
        lambda a, b: losses.shuffled_dbn([a, b], key=KEY, groups=2), "rows"
    ),
    **dict(_transformations()),
}


def public_name(name):
    """Return the public function that a case belongs to."""
    return max((n for n in losses.__all__ if name.startswith(n)), key=len)


def arguments(case, n, d, seed=0):
    """Return Gaussian float64 arguments of a case."""
    views = tuple(case.scale * z for z in pair(n, d, seed))
    return (*views, positive_definite(d)) if case.predictor else views


def _permuted_columns(z1, z2, *predictor):
    order = np.random.default_rng(2).permutation(z1.shape[1])
    views = z1[:, order], z2[:, order]
    return *views, *(w[np.ix_(order, order)] for w in predictor)


def _rotated(z1, z2, *predictor):
    q = rotation(z1.shape[1], seed=1)
    return z1 @ q, z2 @ q, *(q.T @ w @ q for w in predictor)


def _permuted_rows(z1, z2, *predictor):
    order = np.random.default_rng(2).permutation(len(z1))
    return z1[order], z2[order], *predictor


def _other_lengths(z1, z2, *predictor):
    # From 1 up: rows that are outside the ball of the spectral loss stay there.
    scales = np.random.default_rng(1).uniform(1, 10, size=(2, len(z1), 1))
    return scales[0] * z1, scales[1] * z2, *predictor


TRANSFORMATIONS = {
    "swap": lambda z1, z2, *predictor: (z2, z1, *predictor),
    "rows": _permuted_rows,
    "columns": _permuted_columns,
    "rotation": _rotated,
    "lengths": _other_lengths,
}


@dataclasses.dataclass(frozen=True)
class Measured:
    """Values, gradients and second derivatives at named float64 points."""

    points: dict[str, int]
    values: np.ndarray
    gradients: tuple[np.ndarray, ...]
    """Per argument, ``[points, ...]``."""
    curvature: tuple[np.ndarray, ...]
    """Per live argument: the Hessian along the direction, ``[points, ...]``."""
    direction: tuple[np.ndarray, ...]
    plain: tuple | None
    """Value and gradients at "base", compiled without vmap, if requested."""
    arguments: tuple[np.ndarray, ...]
    """Of "base"."""
    live: tuple[int, ...]

    def value(self, point):
        return float(self.values[self.points[point]])

    def along(self, point):
        """Return the directional derivative at a point."""
        return sum(
            np.vdot(g[self.points[point]], d)
            for g, d in zip(self._live(self.gradients), self.direction, strict=True)
        )

    def gradient(self, point):
        """Return the gradients of the live arguments at a point."""
        return [g[self.points[point]] for g in self._live(self.gradients)]

    def _live(self, arrays):
        return [arrays[i] for i in self.live]


STEP = 5e-4


def measure(case, *, order=None, plain=False):
    """Evaluate a case in float64, with one program for all points (needs x64)."""
    order = case.order if order is None else order
    start = arguments(case, *case.shape)
    rng = np.random.default_rng(7)
    direction = tuple(rng.normal(size=start[i].shape) for i in case.live)

    def moved(steps):
        out = list(start)
        for i, d in zip(case.live, direction, strict=True):
            out[i] = start[i] + steps * STEP * d
        return tuple(out)

    points = {"base": start}
    for name in case.unchanged.split():
        points[name] = TRANSFORMATIONS[name](*start)
    points["partner"] = (start[0], start[1][::-1], *start[2:])
    points |= {f"{steps:+d}": moved(steps) for steps in (-2, -1, 1, 2)}

    every = tuple(range(len(start)))
    value_and_grad = jax.value_and_grad(case.call, argnums=every)

    def of_point(*z):
        value, gradients = value_and_grad(*z)
        if order < 2:
            return value, gradients, ()

        def along(*z):
            slopes = jax.grad(case.call, argnums=case.live)(*z)
            return sum(jnp.vdot(s, d) for s, d in zip(slopes, direction, strict=True))

        return value, gradients, jax.grad(along, argnums=case.live)(*z)

    @jax.jit
    def program(batch, start):
        alone = value_and_grad(*start) if plain else None
        return jax.vmap(of_point)(*batch), alone

    batch = tuple(np.stack(arrays) for arrays in zip(*points.values(), strict=True))
    (values, gradients, curvature), alone = jax.tree.map(
        np.asarray, program(batch, start)
    )
    return Measured(
        dict(zip(points, range(len(points)), strict=True)),
        values,
        gradients,
        curvature,
        direction,
        alone,
        start,
        case.live,
    )


def difference(at):
    """Return the fourth-order central difference of ``at(point)`` along the step."""
    near = np.asarray(at("+1")) - np.asarray(at("-1"))
    far = np.asarray(at("+2")) - np.asarray(at("-2"))
    return (8 * near - far) / (12 * STEP)


def degenerate(n=6, d=4):
    """Return degenerate embeddings by name, in float64."""
    z = normal(n, d)
    ones = np.ones((n, d))
    row, column = np.arange(n)[:, None], np.arange(d)[None, :]
    return {
        "zeros": 0 * z,
        "zero_row": np.where(row == 1, 0.0, z),
        "growing_rows": row * z,
        "one_value": 0.7 * ones,
        "identical_rows": ones * z[:1],
        "constant_column": np.where(column == 2, 3.0, z),
        "rank_one": np.outer(z[:, 0], [1.0, -2.0, 0.5, 1.0][:d]),
        "opposite_rows": np.where(row % 2 == 0, ones, -ones),
        "orthogonal_rows": np.eye(n, d),
        "tiny": 1e-4 * z,
        "large": 1e4 * z,
        "tiny_constant": 1e-4 * ones,
        "large_constant": 1e4 * ones,
        "large_identical_rows": 1e4 * ones * z[:1],
    }


PREDICTORS = {
    "zero": lambda c: jnp.zeros_like(c),
    "identity": lambda c: jnp.eye(len(c), dtype=c.dtype),
    "direct": direct_predictor,
    "copy": functools.partial(direct_predictor, exponent=1.0, epsilon=0.25),
    "luckmatters": functools.partial(
        direct_predictor, exponent=1.0, convention="luckmatters"
    ),
}


@functools.cache
def _predictors_of(n, d):
    """Compile the predictors that a batch of embeddings ``[B, n, d]`` leads to."""

    def of_one(z):
        moment = update_covariance(jnp.zeros((d, d)), z, momentum=0.0)
        return jnp.stack([make(moment) for make in PREDICTORS.values()])

    return jax.jit(jax.vmap(of_one))


def degenerate_points(case, embeddings):
    """Return names and stacked float32 arguments: embeddings in pairs, by predictor."""
    names, first, second = [], [], []
    for name, z in embeddings.items():
        others = {"itself": z, "reversed": z[::-1], "zeros": 0 * z}
        for other, z2 in others.items():
            names.append(f"{name} with {other}")
            first.append(z)
            second.append(z2)
        names.append(f"zeros with {name}")
        first.append(0 * z)
        second.append(z)
    z1, z2 = (np.stack(z).astype(np.float32) for z in (first, second))
    # What bfloat16 views are once widened: the same program serves them.
    z1, z2 = (np.concatenate([z, z.astype(jnp.bfloat16).astype("f")]) for z in (z1, z2))
    names += [f"{name}, rounded to bfloat16" for name in names]
    if not case.predictor:
        return names, (z1, z2)
    made = np.asarray(_predictors_of(*z1.shape[1:])(z1))
    kinds = made.shape[1]
    names = [f"{name}, predictor {kind}" for name in names for kind in PREDICTORS]
    z1, z2 = (np.repeat(z, kinds, axis=0) for z in (z1, z2))
    return names, (z1, z2, made.reshape(-1, *made.shape[2:]))


def narrow_program(case):
    """Compile values and gradients of a batch of arguments."""
    every = (0, 1, 2) if case.predictor else (0, 1)
    return jax.jit(jax.vmap(jax.value_and_grad(case.call, argnums=every)))


def low_precision_operations(call, *shapes):
    """Return the primitives that compute in bfloat16, and the result's type.

    Only moving numbers about and widening them is allowed before float32.
    """
    low = [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes]
    closed = jax.make_jaxpr(call)(*low)
    allowed = {"convert_element_type", "transpose", "stop_gradient", "copy"}
    found = set()

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            inner = [j for p in equation.params.values() for j in _jaxprs(p)]
            narrow = any(
                getattr(v.aval, "dtype", None) == jnp.bfloat16 for v in equation.invars
            )
            # A call of a function is judged by what is inside.
            if narrow and not inner and equation.primitive.name not in allowed:
                found.add(equation.primitive.name)
            for each in inner:
                walk(each)

    walk(closed.jaxpr)
    return found, closed.out_avals[0].dtype


def _jaxprs(parameter):
    for each in parameter if isinstance(parameter, tuple | list) else [parameter]:
        each = getattr(each, "jaxpr", each)
        if hasattr(each, "eqns"):
            yield each
