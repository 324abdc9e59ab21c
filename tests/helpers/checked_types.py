"""Check function annotations at call time, in tests only."""

import functools
import inspect
import typing

from jaxtyping import jaxtyped
from typeguard import CollectionCheckStrategy, TypeCheckError, check_type


def checked(function):
    """Wrap a function so that arguments and result must match its annotations.

    A size that is named twice (``n d``) must be one size within a call. Arguments that
    do not match are first given to the function. If it refuses them, its own error is
    raised, as users see it. If it does not, annotation and function disagree.
    """
    hints = typing.get_type_hints(function)
    signature = inspect.signature(function)

    def check(name, value):
        try:
            check_type(
                value,
                hints[name],
                collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS,
            )
        except TypeCheckError as error:
            raise TypeCheckError(
                f"{name} of {function.__name__} is not {hints[name]}: {error}"
            ) from None

    @functools.wraps(function)
    def call(*args, **kwargs):
        with jaxtyped("context"):
            try:
                for name, value in signature.bind(*args, **kwargs).arguments.items():
                    check(name, value)
            except TypeCheckError:
                function(*args, **kwargs)  # its own refusal
                raise
            result = function(*args, **kwargs)
            check("return", result)
            return result

    return call
