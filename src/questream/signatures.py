"""Functions that are called by the parameters of another one, and by more: what commands and tools are made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Called = TypeVar("Called", bound=Callable[..., Any])


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function, with the types that its annotations name."""
    return list(inspect.signature(function, eval_str=True).parameters.values())


def as_called(function: Called, like: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> Called:
    """A function of keyword arguments for introspection: named, described and typed as `like`, with these
    parameters.
    """
    result = inspect.signature(like, eval_str=True).return_annotation
    named = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in parameters]
    function.__signature__ = inspect.Signature(named, return_annotation=result)  # type: ignore[attr-defined]
    function.__annotations__ = {**{one.name: one.annotation for one in named}, "return": result}
    function.__name__, function.__doc__ = like.__name__, like.__doc__
    return function
