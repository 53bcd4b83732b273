"""A command line again, from what typer read of it."""

from __future__ import annotations

from collections.abc import Collection

import typer

__all__ = ["options_given"]

_GIVEN = ("COMMANDLINE", "ENVIRONMENT")


def options_given(context: typer.Context, without: Collection[str] = ()) -> list[str]:
    """The options of a command that were given, on the command line or by an environment variable, as words.

    Args:
        without: parameters of the command, by name, that are left out.
    """
    words: list[str] = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in without or source is None or source.name not in _GIVEN:
            continue
        option, value = max(parameter.opts, key=len), context.params[parameter.name or ""]
        if isinstance(value, bool):
            words += [option] if value else list(parameter.secondary_opts[:1])
        else:
            words += [f"{option}={each}" for each in (value if isinstance(value, list | tuple) else [value])]
    return words
