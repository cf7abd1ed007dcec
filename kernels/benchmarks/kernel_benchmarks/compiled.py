"""What torch.compile makes of a function, when it is first called: importing the compiler takes seconds."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled for the shapes of each call."""

    @cache
    def make() -> Callable[..., Any]:
        made: Callable[..., Any] = torch.compile(function, dynamic=False)
        return made

    def call(*arguments: Any) -> Any:
        return make()(*arguments)

    return call
