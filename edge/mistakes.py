"""What is wrong with a TOML file, as its author sees it: the key by its own names, what may stand there, what was
perhaps meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

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

PLACE = re.compile(r"(?P<what>.*) - at `\$(?P<path>.*)`", re.DOTALL)
STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
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
    told = PLACE.fullmatch(str(error))
    what, path = (told["what"], told["path"]) if told else (str(error), "")
    where, info = _place(path, data, type_info(kind))
    sentence = "; ".join([_in_words(what), *_advice(what, info)])
    return f"{where}: {sentence}" if where else sentence


def _place(path: str, data: Any, info: Type | None) -> tuple[str, Type | None]:
    """The key in full, and what may stand there. msgspec leaves a table's own names out."""
    where = ""
    for name, item in STEP.findall(path):
        if name:
            info, data = _field(info, name), _of(data, name)
            where += f".{name}"
        elif item == "...":
            info = info.value_type if isinstance(info, DictType) else None
            key = next(_wrong_keys(data, info), "...")
            data = _of(data, key)
            where += f".{key}"
        else:
            info, data = _item(info, int(item)), data[int(item)] if isinstance(data, list) else None
            where += f"[{item}]"
        info = _plain(info)
    return where.removeprefix("."), info


def _of(data: Any, key: str) -> Any:
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


def _wrong_keys(data: Any, info: Type | None) -> Iterator[str]:
    """Of a table of structs: those that are not as they should be."""
    plain = _plain(info)
    if isinstance(data, dict) and isinstance(plain, StructType):
        for key, entry in data.items():
            try:
                msgspec.convert(entry, plain.cls)
            except msgspec.ValidationError:
                yield key


def _in_words(what: str) -> str:
    if unknown := UNKNOWN.fullmatch(what):
        return f"unknown key {unknown[1]}"
    if what.startswith("Expected"):
        what = re.sub(r"`(\w+)( \| null)?`", lambda match: WORDS.get(match[1], match[0]), what)
    return what.replace("Object missing required field", "the key is missing:").replace("`", "")


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
