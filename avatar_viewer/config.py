"""Frozen dataclasses <-> YAML, and where the embedded avatar lies.

A dataclass is a mapping by field name; fields may be str, int, float, bool, Path, Literal,
tuples, other dataclasses, or any of these `| None`. A field with a default may be left out.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml

from avatar_viewer.errors import AvatarError, AvatarErrors, one_line, problems_of, raise_all
from avatar_viewer.files import written_aside

T = TypeVar("T")

RuntimeName = Literal["auto", "eager", "compiled", "openvino"]
"""What runs an avatar's networks: see `diffusion.runtime`."""
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)


def _carried(folder: str, name: str) -> Path:
    """The wheel carries `folder` of a source checkout as avatar_viewer/`name`."""
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / folder


DEMO_FOLDER: Path = _carried("checkpoints/demo", "demo")
"""The embedded avatar."""
FONT_FOLDER: Path = _carried("assets/fonts", "fonts")


EMBEDDED = "embedded avatar"
"""The source of the avatar that every installation carries, each in another folder."""


def lasting_source(source: str) -> str:
    """The source of a loaded avatar such that it holds from any working folder."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return source
    return EMBEDDED if folder.resolve() == DEMO_FOLDER.resolve() else str(folder.resolve())


def loadable_source(avatar_source: str) -> str:
    """The source to load on this machine for a screenshot's."""
    return str(DEMO_FOLDER) if avatar_source == EMBEDDED else avatar_source


def read_config(path: Path, cls: type[T]) -> T:
    """Read a dataclass from a YAML file.

    Raises AvatarError: one line with the file, the field, what was expected and what was found;
    where more is wrong, AvatarErrors with all of it.
    """
    return _from_plain(read_yaml(path), cls, str(path))


def write_config(config: Any, path: Path) -> None:
    """Write a dataclass as YAML, such that `read_config` gives an equal one."""
    write_yaml(to_plain(config), path)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping, by yaml.safe_load only."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        found = error.strerror or one_line(error)
        raise AvatarError(f"{path}: expected a YAML file, found: {found}") from error
    except UnicodeDecodeError as error:
        raise AvatarError(f"{path}: expected YAML in UTF-8, found other bytes") from error
    try:
        content = yaml.safe_load(text)
    # Besides its own errors PyYAML lets those of int(), of dates and of deep nesting through.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AvatarError(f"{path}: expected YAML, found: {one_line(error)}") from error
    if content is None:
        raise AvatarError(f"{path}: expected fields, found an empty file")
    if not isinstance(content, dict):
        raise AvatarError(f"{path}: expected fields, found {_described(content)}")
    return content


def write_yaml(content: dict[str, Any], path: Path) -> None:
    """Write a mapping as YAML, aside and then renamed."""
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def take_format_version(content: dict[str, Any], newest: int, where: str) -> None:
    """Remove `format_version` from what was read; AvatarError unless it is 1 to `newest`."""
    version = content.pop("format_version", None)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise AvatarError(f"{where}: expected format_version <= {newest}, found {version}")
    if version > newest:
        raise AvatarError(
            f"{where}: made by a newer avatar-viewer; "
            f"expected format_version <= {newest}, found {version}"
        )


def to_plain(value: Any) -> Any:
    """Dataclasses, tuples and paths as mappings, lists and strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(value: Any, cls: Any, where: str) -> Any:
    """What was read from YAML as an instance of the type `cls`; `where` names it in errors.

    Raises AvatarError with the first problem in one line.
    """
    try:
        return _from_plain(value, cls, where)
    except AvatarErrors as error:
        raise AvatarError(error.problems[0]) from error


def expect_at_least(config: object, least: float, names: Iterable[str]) -> None:
    """Raise AvatarError for a dataclass's first field that is less; None is no number, and passes.

    Of a tuple every number counts, and there must be one.
    """
    for name in names:
        value = getattr(config, name)
        if isinstance(value, tuple):
            if not value or min(value) < least:
                expected = f"one or more numbers, each {least} or more"
                raise AvatarError(f"{name}: expected {expected}, found {list(value)}")
        elif value is not None and not value >= least:
            raise AvatarError(f"{name}: expected {least} or more, found {value}")


def expect_between(config: object, least: float, most: float, names: Iterable[str]) -> None:
    """Raise AvatarError for a dataclass's first field that is not in this range."""
    for name in names:
        if not least <= getattr(config, name) <= most:
            found = getattr(config, name)
            raise AvatarError(f"{name}: expected {least} to {most}, found {found}")


def _from_plain(value: Any, cls: Any, where: str) -> Any:
    if dataclasses.is_dataclass(cls):
        return _dataclass_from_plain(value, cls, where)
    origin, args = typing.get_origin(cls), typing.get_args(cls)
    if origin is tuple:
        return _tuple_from_plain(value, args, where)
    if origin is typing.Literal:
        if value not in args:
            raise _unexpected(where, " | ".join(map(str, args)), value)
        return value
    if origin in (typing.Union, types.UnionType):  # X | None
        (some,) = [arg for arg in args if arg is not type(None)]
        return None if value is None else _from_plain(value, some, where)
    return _scalar_from_plain(value, cls, where)


def _dataclass_from_plain(value: Any, cls: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _unexpected(where, "fields", value)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    problems, found = [], {}
    if unknown := [repr(name) for name in value if name not in fields]:
        expected = f"expected the fields {', '.join(fields)}"
        problems.append(f"{where}: {expected}, found {', '.join(unknown)}")
    hints = typing.get_type_hints(cls)
    for name, field in fields.items():
        if name in value:
            try:
                found[name] = _from_plain(value[name], hints[name], f"{where}: {name}")
            except AvatarError as error:
                problems += problems_of(error)
        elif field.default is field.default_factory is dataclasses.MISSING:
            problems.append(f"{where}: expected a field {name!r}, found none")
    raise_all(f"{where}: expected fields without faults", problems)
    try:
        return cls(**found)
    except AvatarError as error:
        raise AvatarError(f"{where}: {error}") from error


def _tuple_from_plain(value: Any, args: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _unexpected(where, "a list", value)
    if len(args) == 2 and args[1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(value) != len(args):
        raise AvatarError(f"{where}: expected {len(args)} entries, found {len(value)}")
    return tuple(
        _from_plain(item, arg, f"{where}[{i}]")
        for i, (item, arg) in enumerate(zip(value, args, strict=True))
    )


def _scalar_from_plain(value: Any, cls: Any, where: str) -> Any:
    if cls is float:
        return _float_from_plain(value, where)
    names = {str: "text", Path: "a path", int: "a whole number", bool: "true or false"}
    read_as = str if cls is Path else cls
    if not isinstance(value, read_as) or (cls is int and isinstance(value, bool)):
        raise _unexpected(where, names[cls], value)
    return Path(value) if cls is Path else value


def _float_from_plain(value: Any, where: str) -> float:
    # YAML 1.1 reads 1e-4, which has no dot, as text; people mean the number.
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise _unexpected(where, "a finite number", value)


def _unexpected(where: str, expected: str, found: Any) -> AvatarError:
    return AvatarError(f"{where}: expected {expected}, found {_described(found)}")


def _described(value: Any) -> str:
    """Short, for the end of an error's line."""
    if isinstance(value, dict):
        return "fields"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = one_line(Exception(value)) if isinstance(value, str) else repr(value)
    return "nothing" if value is None else text if len(text) <= 40 else f"{text[:40]}..."
