"""From what was typed to a command and its exit code: options, configuration files, mistakes, signals."""

import contextlib
import dataclasses
import functools
import inspect
import io
import itertools
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Union, get_args

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from jaxmem.cli.commands import COMMANDS, Flat
from jaxmem.cli.testing import Options, words_of
from jaxmem.inputs import one_of
from jaxmem.settings import read_toml, with_values
from jaxmem.studies import STUDIES
from jaxmem.studies.records import versions

__all__ = ["main", "program"]

_DESCRIPTION = """Learning told apart from memorization, by label permutation.

Completion of commands and options by the shell: jaxmem --tyro-write-completion bash FILE (or zsh, fish, tcsh) writes a
script to be sourced. Exit codes: 0 done, 1 a mistake in what was asked, 2 options that cannot be read, 130 interrupted,
143 terminated."""

# The commands that one configuration belongs to, by the words that its file begins with.
_DEFAULTS: dict[str, Any] = {f"study {name}": each.config() for name, each in STUDIES.items()} | {"test": Options()}
_SHORT = {"run": "study epochs", "dissect": "study dissect"}
_CONFIG_HELP = "begin with the choices in a file, the config.toml of another run say; options given beside it count."


class _InFile(ValueError):
    """What a configuration file says cannot be: told by the names that stand there."""


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which clusters send a moment before they kill: an end like Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0 when done, 1 for a mistake in what was asked, 130 when interrupted, 141 when whoever read what
        is printed has ended (`head`, say), 143 when terminated.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    setting = None
    try:
        command = _parsed(arguments)
        setting = command.keywords.get("setting")
        command()
    except BrokenPipeError:
        return _UNREAD
    except (ValueError, OSError) as error:
        message = str(error) if isinstance(error, _InFile) else _in_options(str(error), arguments, setting)
        print(f"jaxmem: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, _Terminated)
        how = "terminated" if terminated else "interrupted"
        print(f"\njaxmem: {how}; the same command goes on where it was.", file=sys.stderr)
        return _TERMINATED if terminated else _INTERRUPTED
    return 0


# By the custom of shells: 128 and the number of the signal.
_INTERRUPTED, _TERMINATED, _UNREAD = 128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + 13


def program() -> None:
    """`main` as a program of its own, which takes SIGTERM as it takes Ctrl-C; a library must leave signals alone.

    An interrupt may find XLA in the middle of a computation, in threads that nothing can stop, and an interpreter that
    shuts down beneath them crashes now and then. All files are closed by then, so the process just ends.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        try:
            code = main()
        except SystemExit as ended:
            code = ended.code
        print(end="", flush=True)
    except BrokenPipeError:
        code = _UNREAD
    if code == _UNREAD:  # Or Python would try once more, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if code in (_INTERRUPTED, _TERMINATED):
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _terminate(*_: Any) -> None:
    raise _Terminated


def _parsed(arguments: list[str]) -> functools.partial[None]:
    """The command that was asked for, with its options, to be called.

    Raises:
        ValueError: there is no such command or study, or options that do not go together.
        SystemExit: options that cannot be read, or a wish for help; what there is to say has been said.
    """
    words = [*arguments, "", ""]
    if words[0] and not words[0].startswith("-"):
        one_of(words[0], COMMANDS, "the command")
    if words[0] == "study" and words[1] and not words[1].startswith("-"):
        one_of(words[1], STUDIES, "the study")
    defaults = _DEFAULTS | _from_file(arguments)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(command, name, defaults) for name, command in COMMANDS.items()},
                prog="jaxmem",
                description=_DESCRIPTION,
                args=arguments,
                config=_STYLE,
                registry=_REGISTRY,
            )
    except SystemExit as ended:
        if (mistake := _our_own(ended)) is not None:
            raise mistake from None
        sys.stderr.write(said.getvalue())
        raise


_STYLE = (
    tyro.conf.OmitArgPrefixes,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.CascadeSubcommandArgs,
    tyro.conf.PositionalMetavarFromFieldName,
)
_REGISTRY = ConstructorRegistry()


@_REGISTRY.primitive_rule
def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Help that shows PATH where the parser would show {None}|PATH; "None" may be typed as before."""
    others = [one for one in get_args(info.type) if one is not NoneType]
    if len(others) != 1 or NoneType not in get_args(info.type):
        return None
    inner: Any = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(others[0], info.markers))
    return dataclasses.replace(
        inner,
        instance_from_str=lambda words: None if words == ["None"] else inner.instance_from_str(words),
        is_instance=lambda value: value is None or inner.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else inner.str_from_instance(value),
    )


def _deferred(command: Callable[..., None], name: str, defaults: Mapping[str, Any]) -> Callable[..., Any]:
    """A command that, called with its options, waits to be called again; `setting` begins as the defaults say."""

    @functools.wraps(command)
    def bound(config: Path | None = None, **options: Any) -> Callable[[], None]:  # `defaults` are from the file.
        return functools.partial(command, **options)

    parameters = dict(inspect.signature(command).parameters)
    if name == "study":
        parameters["setting"] = parameters["setting"].replace(annotation=Flat[_any_study(defaults)])
    elif "setting" in parameters:
        parameters["setting"] = parameters["setting"].replace(default=defaults[_SHORT.get(name, name)])
    if "setting" in parameters:
        config: Any = Annotated[Path | None, tyro.conf.arg(help=_CONFIG_HELP)]
        parameters["config"] = inspect.Parameter(
            "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=config
        )
    del bound.__wrapped__  # The signature below is the one that counts.
    bound.__signature__ = inspect.Signature(list(parameters.values()))  # pyright: ignore[reportAttributeAccessIssue]
    bound.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters.values()}
    return bound


def _any_study(defaults: Mapping[str, Any]) -> Any:
    """One subcommand a study; its options are those of its configuration."""
    return Union[  # noqa: UP007
        tuple(
            Annotated[
                each.config,
                tyro.conf.subcommand(name, default=defaults[f"study {name}"], description=each.question),
            ]
            for name, each in STUDIES.items()
        )
    ]


def _command(arguments: Sequence[str]) -> str:
    """What is to be done, as configuration files call it: "study epochs" say."""
    studies = [word for word in arguments if word in STUDIES] if arguments[:1] == ["study"] else []
    words = " ".join([*arguments[:1], *studies[:1]])
    return _SHORT.get(words, words)


def _file_in(arguments: Sequence[str]) -> str | None:
    """The file that --config names."""
    for word, following in itertools.pairwise([*arguments, ""]):
        if word == "--config":
            return following or None
        if word.startswith("--config="):
            return word.removeprefix("--config=")
    return None


def _from_file(arguments: Sequence[str]) -> dict[str, Any]:
    """The configuration in the file that --config names, by the command that it belongs to.

    Raises:
        ValueError: the command takes no configuration.
        _InFile: it cannot be read, or holds what the command does not take.
    """
    path = _file_in(arguments)
    if path is None:
        return {}
    wanted = one_of(_command(arguments), _DEFAULTS, "the command with --config")
    try:
        values = read_toml(path)
        command, made_with = values.pop("command", wanted), values.pop("versions", {})
        if command != wanted:
            raise ValueError(f"{path} is a configuration of `jaxmem {command}`, not of `jaxmem {wanted}`.")
        if not isinstance(made_with, Mapping):
            raise ValueError(f"{path}: versions cannot be {made_with!r}: leave them out, or write a table, [versions].")
        _tell_versions(path, made_with)
        return {wanted: with_values(_DEFAULTS[wanted], values, path)}
    except ValueError as error:
        raise _InFile(str(error)) from error


def _tell_versions(path: str, made_with: Mapping[str, str]) -> None:
    here = versions()
    others = [f"{name} {number} (here {here[name]})" for name, number in made_with.items() if here.get(name) != number]
    if others:
        print(f"jaxmem: {path} was written with {', '.join(others)}: numbers may differ.", file=sys.stderr)


def _our_own(error: BaseException | None) -> ValueError | None:
    """What jaxmem's own checks said beneath an error of the parser's, which knows options only by inner names."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None and isinstance(error, ValueError):
            name = trace.tb_frame.f_globals["__name__"]
            if name.startswith("jaxmem.") and not name.startswith("jaxmem.cli.program"):
                return error
            trace = trace.tb_next
        error = error.__context__
    return None


def _in_options(message: str, arguments: Sequence[str], setting: Any = None) -> str:
    """The message with options as they are typed, `--n-train`, where Python says `n_train`.

    A name that is a plain word is an option where it is written as code, `source` or scheme='within', and arguments of
    the library's functions are the files that were typed for them. With a configuration file the choice may stand
    there, by its name in Python, unless its option was typed.
    """
    names = set(_fields(_DEFAULTS.get(_command(arguments))))
    if _file_in(arguments) is not None:
        names &= {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in arguments}
    options = {name: "--" + name.replace("_", "-") for name in names}
    files = words_of(setting) if isinstance(setting, Options) else {}

    def typed(found: re.Match[str]) -> str:
        word, before, after = found[0], message[: found.start()], message[found.end() :]
        if (name := found["code"] or found["argument"]) in options:
            return " ".join([options[name], *filter(None, [found["word"] or found["number"]])])
        if "_" in word and word in options:
            return options[word]
        # And not a word out of somebody's file.
        alone = not before.endswith((":", "'")) and not re.match(r"\.\w|[/:'-]", after)
        return files.get(word, word) if alone else word

    code = r"`(?P<code>\w+)`|(?<![\w./(-])(?P<argument>\w+)=(?:'(?P<word>[^']*)'|(?P<number>\d+))?"
    return re.sub(rf"{code}|(?<![\w./-])\w+", typed, message)


def _fields(config: Any) -> Iterator[str]:
    for name, value in vars(config).items() if dataclasses.is_dataclass(config) else ():
        yield name
        yield from _fields(value)
