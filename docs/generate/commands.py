"""The command line, from the program's own parser."""

from __future__ import annotations

import click

from docs.generate.text import paragraphs, prose, table, target
from forkhouse.cli.main import cli


def commands() -> str:
    """Return a section for the program, and one for each of its commands."""
    return "\n\n".join(_section(context) for context in every())


def every() -> list[click.Context]:
    """Return the program and each command, by name, as contexts that know their full names."""
    found = [click.Context(cli, info_name="forkhouse")]
    for context in found:  # it grows
        command = context.command
        if isinstance(command, click.Group):
            below = (
                (name, command.get_command(context, name))
                for name in command.list_commands(context)
            )
            found += [
                click.Context(each, info_name=name, parent=context) for name, each in below if each
            ]
    return sorted(found, key=lambda context: context.command_path)


def _section(context: click.Context) -> str:
    command, path = context.command, context.command_path
    usage = f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```"
    parts = [
        f"{target('cmd-' + path.replace(' ', '-'))}## {path}",
        paragraphs(command.help or ""),
        usage,
    ]
    if isinstance(command, click.Group):
        names = [
            f"[{name}](#cmd-{path.replace(' ', '-')}-{name})"
            for name in command.list_commands(context)
        ]
        parts.append(f"Commands: {', '.join(names)}.")
    rows = [
        _row(context, each)
        for each in command.get_params(context)
        if isinstance(each, click.Option)
    ]
    return "\n\n".join([*parts, table(("option", "value", "default", "meaning"), rows)])


def _row(context: click.Context, option: click.Option) -> list[str]:
    names = ", ".join(f"`{name}`" for name in option.opts)
    value = "" if option.is_flag else f"`{option.make_metavar(context)}`".replace("|", r"\|")
    default = option.get_help_extra(context).get("default", "")
    return [names, value, f"`{default}`" if default else "", prose(option.help or "Required.")]
