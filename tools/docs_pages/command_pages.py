"""A page for each command, from what typer knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from bpfree.cli.app import app
from tools.docs_pages.markdown import escaped, fenced, table

__all__ = ["commands", "write_commands"]


def commands() -> Iterator[tuple[str, Any]]:
    """``compare``, ``measure flops`` and so on, with the command."""
    root: Any = typer.main.get_command(app)
    for name, command in sorted(root.commands.items()):
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {each}", inner[each]) for each in sorted(inner))


def write_commands(folder: Path) -> list[Path]:
    """``NAME.md`` for each command, and ``index.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for name, command in commands():
        page = folder / f"{name.replace(' ', '-')}.md"
        page.write_text(_page(name, command), encoding="utf-8")
        pages.append(page)
    rows = [
        [f"[bpfree {name}]({page.name})", escaped(" ".join((command.help or "").split("\n\n")[0].split()))]
        for (name, command), page in zip(commands(), pages, strict=True)
    ]
    listed = "\n".join(page.stem for page in pages)
    index = folder / "index.md"
    index.write_text(
        "# The commands\n\nThe same words as `bpfree COMMAND --help`.\n\n"
        f"{table(('command', 'what it does'), rows)}\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n",
        encoding="utf-8",
    )
    return [*pages, index]


def _page(name: str, command: Any) -> str:
    parts = [f"# bpfree {name}", f"```{{program}} bpfree {name}\n```"]
    for paragraph in (command.help or "").split("\n\n"):
        words = " ".join(paragraph.split())
        example = words.removeprefix("Example: ")
        parts.append(escaped(words) if example == words else fenced(example, "console"))
    arguments = [each for each in command.params if not each.opts[0].startswith("-")]
    if arguments:
        rows = [
            [f"`{each.name.upper()}`", "" if each.required else "may be left out", escaped(each.help or "")] for each in arguments
        ]
        parts.append(f"## Arguments\n\n{table(('argument', '', 'what it is'), rows)}")
    options = [each for each in command.params if each.opts[0].startswith("-") and not each.hidden]
    if options:
        parts.append("## Options")
        parts += [_option(each) for each in options]
    return "\n\n".join(parts) + "\n"


def _option(option: Any) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    kind = "" if option.is_flag else f" {(option.metavar or option.name).upper()}"
    words = [escaped(option.help or "")]
    if option.default not in (None, False, [], ()) and not callable(option.default) and option.show_default:
        words.append(f"Default: `{option.default}`.")
    if option.envvar:
        words.append(f"Also by the variable `{option.envvar}`.")
    return f"````{{option}} {names}{kind}\n\n{' '.join(words)}\n````"
