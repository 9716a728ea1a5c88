"""The registry of architectures: each file in cnnlab.architectures is one, named after the file.

Listing them does not import torch; building one imports only its file.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from cnnlab.core.errors import UserError, shown

if TYPE_CHECKING:
    from cnnlab.models.blocks import Network

ARCHITECTURES = "cnnlab.architectures"  # by name, since they import this package
# How torch says that a layer would have no output.
NO_OUTPUT = ("Kernel size can't be greater than actual input size", "Output size is too small")
SMALLEST_SIDE, LARGEST_SIDE = 8, 256  # pixels: the sides of the pictures that an architecture is offered


def names() -> list[str]:
    """All architectures, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(ARCHITECTURES).__path__))


def build(name: str, shape: tuple[int, int, int], classes: int, options: Mapping[str, Any] | None = None) -> Network:
    """Build architecture `name` for pictures of `shape` (channels, height, width) and `classes` classes.

    Initial weights are drawn from torch's default generator, on its default device. Raises UserError for an
    unknown architecture or option, an impossible value, fewer than two classes, or pictures of a wrong size.
    """
    architecture = load(name)
    shape = _checked_shape(shape)
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise UserError(f"{name} classifies, so it needs at least 2 classes, not {classes!r}.")
    checked = check_options(name, options or {})
    try:
        return _tried(architecture, shape, classes, checked)
    except RuntimeError as error:
        if not any(sign in str(error) for sign in NO_OUTPUT):
            raise
    raise UserError(
        f"{name} with these options does not take pictures of {shape[1]}×{shape[2]} pixels: "
        "they are too small, and one of its layers would have no output."
    )


def check_name(name: str) -> None:
    """UserError, naming the architectures there are, for a name that is none. Imports no torch."""
    if name not in names():
        raise UserError(f"there is no architecture {name!r}{_hint(name, names())}; known are {', '.join(names())}.")


def load(name: str) -> type[Network]:
    """The class of architecture `name`, the one Network of its file; UserError for an unknown name."""
    check_name(name)
    from cnnlab.models.blocks import Network

    module = importlib.import_module(f"{ARCHITECTURES}.{name}")
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Network) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__file__} must define exactly one Network, and it defines {len(found)}")
    return found[0]


def check_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of architecture `name`, checked against its constructor's annotations.

    Raises UserError naming the option, the value and what is allowed.
    """
    constructor = load(name).__init__
    _self, _shape, _classes, *allowed = inspect.signature(constructor).parameters
    types = get_type_hints(constructor, include_extras=True)
    checked = {}
    for option, value in options.items():
        if option not in allowed:
            known = f"it takes {', '.join(allowed)}" if allowed else "it takes none"
            raise UserError(f"{name} has no option {option!r}{_hint(option, allowed)}; {known}.")
        try:
            checked[option] = TypeAdapter(types[option]).validate_python(value, strict=True)
        except ValidationError as error:
            raise UserError(_refusal(name, option, value, error)) from None
    return checked


def _refusal(name: str, option: str, value: object, error: ValidationError) -> str:
    """One sentence on the first fault that pydantic found in an option's value."""
    fault = error.errors(include_url=False)[0]
    allowed = fault["msg"][:1].lower() + fault["msg"][1:]
    choices = fault.get("ctx", {}).get("expected", "")
    near = _hint(value, [choice.strip("' ") for choice in choices.replace(" or ", ",").split(",")])
    return f"{name}: option {option!r} is {shown(value)}, which is not allowed{near}: {allowed}."


def _hint(wrong: object, right: list[str]) -> str:
    near = get_close_matches(wrong, right, n=1) if isinstance(wrong, str) else []
    return f" (did you mean {near[0]!r}?)" if near else ""


def _checked_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The shape as a tuple of plain ints; UserError unless it is a picture's."""
    channels, *sides = (int(size) for size in shape)
    if len(sides) != 2 or channels < 1 or min(sides) < SMALLEST_SIDE or max(sides) > LARGEST_SIDE:
        raise UserError(
            f"pictures must have at least one channel and {SMALLEST_SIDE} to {LARGEST_SIDE} pixels a side, "
            f"and these are (channels, height, width) = {tuple(shape)}."
        )
    return channels, sides[0], sides[1]


def _tried(architecture: type[Network], shape: tuple[int, int, int], classes: int, options: dict[str, Any]) -> Network:
    """A new network that has given logits for one blank picture; RuntimeError if a layer has no output."""
    import torch

    network = architecture(shape, classes, **options).eval()
    with torch.no_grad():
        network(torch.zeros(1, *shape))
    return network.train()
