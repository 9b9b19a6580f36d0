"""The options of a run as flags, made from `hope.contract.options`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from hope.contract.options import Option, RunOptions, options

Function = TypeVar("Function", bound=Callable[..., Any])


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags of all options; it gets them as one `RunOptions`, called ``options``."""
    known = list(options())

    @wraps(function)
    def with_options(*args: Any, **values: Any) -> Any:
        chosen = {option.name: values.pop(option.name) for option in known}
        return function(*args, options=RunOptions(**chosen), **values)

    decorated: Callable[..., Any] = with_options
    for option in reversed(known):
        decorated = _flag(option)(decorated)
    return decorated


def _flag(option: Option) -> Callable[[Function], Function]:
    """One flag; an option that is left out keeps its default."""
    flag, _, metavar = option.ask.flag.partition(" ")
    names = [flag, *([option.ask.also] if option.ask.also else []), option.name]
    if metavar:
        return click.option(*names, metavar=metavar, help=option.ask.help)
    if "/" in flag:
        return click.option(*names, default=option.default, help=option.ask.help)
    return click.option(*names, is_flag=True, flag_value=True, default=option.default, help=option.ask.help)
