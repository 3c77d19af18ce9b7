"""TOML files, and what is wrong with one as its author sees it: the key by its own names, what may stand there, what
was perhaps meant."""

from __future__ import annotations

import re
import tomllib
from copy import deepcopy
from difflib import get_close_matches
from typing import Any, TypeVar, cast

import msgspec
from msgspec.inspect import (
    DictType,
    EnumType,
    Field,
    ListType,
    LiteralType,
    Metadata,
    StructType,
    TupleType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

PLACE = re.compile(r"(?P<what>.*) - at (?P<key>`key` in )?`\$(?P<path>.*)`", re.DOTALL)
STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,9}|\.\.\.)\]")
UNLIKE = re.compile(r"Expected `str` matching regex .*", re.DOTALL)
UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
BARE = re.compile(r"[A-Za-z0-9_-]+")
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
KEY = ("", "key")  # a step to the name of an entry, not to what it says

Kind = TypeVar("Kind")


def from_toml(data: bytes, kind: type[Kind]) -> Kind:
    """Raises ValueError: one sentence for a person, without the file."""
    claims: Any = None
    try:
        claims = tomllib.loads(data.decode())
        return msgspec.convert(claims, kind)
    except msgspec.ValidationError as error:
        raise ValueError(explain(error, claims, kind)) from error
    except (ValueError, RecursionError) as error:  # no TOML, no text; numbers and tables beyond what Python reads
        raise ValueError(f"not TOML, or cut off: {error}") from error


def explain(error: msgspec.ValidationError, data: Any, kind: Any) -> str:
    """One sentence for a person, without the file. data: what could not be converted to `kind`."""
    told = None if _unknown_here(str(error), data, kind) else PLACE.fullmatch(str(error))
    what, path = (told["what"], told["path"]) if told else (str(error), "")
    where, info = "", cast("Type | None", type_info(kind))
    try:
        data = at = deepcopy(data)
    except RecursionError:
        return str(error)
    for name, item in [*STEP.findall(path), *([KEY] if told and told["key"] else [])]:
        info = _plain(info)
        if name:
            info, at, where = _field(info, name), _of(at, name), f"{where}.{name}"
        elif item.isdecimal():
            info, at, where = _item(info, int(item)), _of(at, int(item)), f"{where}[{item}]"
        else:  # msgspec leaves a table's own names out
            key = _wrong_key(str(error), at, data, kind)
            info = (info.key_type if (name, item) == KEY else info.value_type) if isinstance(info, DictType) else None
            at, where = _of(at, key), where + ("" if key is None else f".{key}" if BARE.fullmatch(key) else f'."{key}"')
    sentence = "; ".join([_in_words(what, info), *_advice(what, _plain(info))])
    return f"{where.removeprefix('.')}: {sentence}" if where else sentence


def _wrong_key(told: str, table: Any, data: Any, kind: Any) -> str | None:
    """That of a table somewhere in `data` which alone is enough for the error; it is all that is left in the table."""
    entries = list(table.items()) if isinstance(table, dict) else []
    while len(entries) > 1:
        half = entries[: len(entries) // 2]
        entries = half if _says(told, half, table, data, kind) else entries[len(half) :]
    return str(entries[0][0]) if entries and _says(told, entries, table, data, kind) else None


def _says(told: str, entries: list[tuple[str, Any]], table: dict[str, Any], data: Any, kind: Any) -> bool:
    """Is it the error with these entries alone in the table?"""
    table.clear()
    table.update(entries)
    try:
        msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        return str(error) == told
    return False


def _unknown_here(told: str, data: Any, kind: Any) -> bool:
    """Is it of a key at the top that nobody knows, whatever that key says?"""
    known = {field.encode_name for field in getattr(type_info(kind), "fields", ())}
    unknown = {f"Object contains unknown field `{key}`" for key in data if key not in known}
    return told in unknown


def _of(data: Any, key: str | int | None) -> Any:
    if isinstance(key, int):
        return data[key] if isinstance(data, list) and key < len(data) else None
    return data.get(key) if isinstance(data, dict) else None


def _field(info: Type | None, name: str) -> Type | None:
    fields: tuple[Field, ...] = info.fields if isinstance(info, StructType) else ()
    return next((field.type for field in fields if field.encode_name == name), None)


def _item(info: Type | None, place: int) -> Type | None:
    if isinstance(info, TupleType):
        return info.item_types[place] if place < len(info.item_types) else None
    return info.item_type if isinstance(info, ListType | VarTupleType) else None


def _plain(info: Type | None) -> Type | None:
    """Without what says only that it may be left out."""
    if isinstance(info, Metadata):
        return _plain(info.type)
    if isinstance(info, UnionType):
        structured = [one for one in map(_plain, info.types) if isinstance(one, StructType | DictType | LiteralType)]
        return structured[0] if structured else info
    return info


def _in_words(what: str, info: Type | None) -> str:
    if UNLIKE.fullmatch(what) and (rule := _description(info)):
        return f"write {rule}"
    if unknown := UNKNOWN.fullmatch(what):
        return f"unknown key {unknown[1]}"
    if what.startswith("Expected"):
        what = re.sub(r"`(\w+)( \| null)?`", lambda match: WORDS.get(match[1], match[0]), what)
    return what.replace("Object missing required field", "the key is missing:").replace("`", "")


def _description(info: Type | None) -> str:
    """What the type itself says that it takes, in words."""
    if isinstance(info, Metadata):
        return str((info.extra_json_schema or {}).get("description", ""))
    return next(filter(None, map(_description, info.types)), "") if isinstance(info, UnionType) else ""


def _advice(what: str, info: Type | None) -> list[str]:
    if isinstance(info, LiteralType | EnumType) and what.startswith("Invalid enum value"):
        allowed = info.values if isinstance(info, LiteralType) else [member.value for member in info.cls]
        return [f"write {', '.join(map(str, allowed))}"]
    unknown = UNKNOWN.fullmatch(what)
    if unknown and isinstance(info, StructType):
        known = [field.encode_name for field in info.fields]
        meant = get_close_matches(unknown[1], known, 1)
        return [f"did you mean {meant[0]}?" if meant else f"known are {', '.join(known)}"]
    return []
