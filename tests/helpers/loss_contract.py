"""Measurements of the losses in `loss_cases`.

Each case is compiled once in float64 and once in float32, both under vmap, so that
further inputs cost no further compilation: all claims about a loss read their values
from the same two programs.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from loss_inputs import pair, positive_definite, rotation

from ssljax.models.predictors import direct_predictor, update_covariance


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
