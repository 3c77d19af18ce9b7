"""What is wrong with a TOML file, as its author sees it: the key by its own names, what may stand there, what was
perhaps meant."""

from __future__ import annotations

import re
from copy import deepcopy
from difflib import get_close_matches
from typing import Any, cast

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
UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
BARE = re.compile(r"[A-Za-z0-9_-]+")
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


def explain(error: msgspec.ValidationError, data: Any, kind: Any) -> str:
    """One sentence for a person, without the file. data: what could not be converted to `kind`."""
    told = None if _unknown_here(str(error), data, kind) else PLACE.fullmatch(str(error))
    what, path = (told["what"], told["path"]) if told else (str(error), "")
    where, info = "", cast("Type | None", type_info(kind))
    data = at = deepcopy(data)
    for name, item in [*STEP.findall(path), *([("", "key")] if told and told["key"] else [])]:
        info = _plain(info)
        if name:
            info, at, where = _field(info, name), _of(at, name), f"{where}.{name}"
        elif item.isdecimal():
            info, at, where = _item(info, int(item)), _of(at, int(item)), f"{where}[{item}]"
        else:  # msgspec leaves a table's own names out
            key = _wrong_key(str(error), at, data, kind)
            info = (info.key_type if item == "key" else info.value_type) if isinstance(info, DictType) else None
            at, where = _of(at, key), where + ("" if key is None else f".{key}" if BARE.fullmatch(key) else f'."{key}"')
    sentence = "; ".join([_in_words(what, info), *_advice(what, _plain(info))])
    return f"{where.removeprefix('.')}: {sentence}" if where else sentence


def _wrong_key(told: str, table: Any, data: Any, kind: Any) -> str | None:
    """That of a table somewhere in `data` which alone is enough for the error. The others are taken out."""
    entries: dict[str, Any] = dict(table) if isinstance(table, dict) else {}
    for key, entry in entries.items():
        table.clear()
        table[key] = entry
        try:
            msgspec.convert(data, kind)
        except msgspec.ValidationError as error:
            if str(error) == told:
                return key
    return None


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
