"""Text made from the schema: ``schema.fbs`` for people and flatc, ``schema.h`` for the runtime."""

from __future__ import annotations

import inspect

from penlight.program import schema
from penlight.program.fields import Field, Kind, fields_of
from penlight.program.schema import (
    ENUMS,
    UNIONS,
    tables,
)

_NOTICE = "Made from schema.py by `python -m penlight.program.schema`; edit that instead."


def _first_line(table: type) -> str:
    return inspect.getdoc(table).splitlines()[0].replace("`", "")  # type: ignore[union-attr]


def _fbs_type(field: Field) -> str:
    if field.kind is Kind.STRING:
        return "string"
    if field.kind is Kind.UNION:
        return next(name for name, members in UNIONS.items() if members == field.members)
    if field.enum is not None:
        return field.enum.__name__
    if field.scalar is not None:
        name = field.scalar.name
    else:
        assert field.table is not None
        name = field.table.__name__
    return f"[{name}]" if field.kind in (Kind.SCALARS, Kind.TABLES) else name


def fbs_text() -> str:
    """The flatbuffer schema text."""
    lines = [
        "// The tables of a .pte program; format.md explains them.",
        f"// {_NOTICE}",
        "",
        "namespace executorch_flatbuffer;",
        f'file_identifier "{schema.FILE_IDENTIFIER.decode()}";',
        'file_extension "pte";',
    ]
    for kind in ENUMS:
        lines += ["", f"// {_first_line(kind)}", f"enum {kind.__name__} : byte {{"]
        lines += [f"  {item.name} = {item.value}," for item in kind]
        lines += ["}"]
    for name, members in UNIONS.items():
        lines += ["", f"union {name} {{", *(f"  {member.__name__}," for member in members), "}"]
    for table in tables():
        lines += ["", f"// {_first_line(table)}", f"table {table.__name__} {{"]
        lines += [f"  {field.name}: {_fbs_type(field)};" for field in fields_of(table)]
        lines += ["}"]
    return "\n".join([*lines, "", "root_type Program;", ""])


def cpp_text() -> str:
    """The C++ header: where each field's entry lies in its vtable, union tags, enum values."""
    lines = [
        "// The layout of a .pte program.",
        f"// {_NOTICE}",
        "//",
        "// In a table's struct, each constant is the byte offset of that field's entry in the",
        "// vtable; the comment gives the stored type. A union has two entries: its tag, then its",
        "// table.",
        "// clang-format off",
        "#pragma once",
        "",
        "#include <cstddef>",
        "#include <cstdint>",
        "",
        "namespace penlight::schema {",
        "",
        f'inline constexpr char file_identifier[] = "{schema.FILE_IDENTIFIER.decode()}";',
        f"inline constexpr uint32_t version = {schema.SCHEMA_VERSION};",
        f'inline constexpr char header_magic[] = "{schema.HEADER_MAGIC.decode()}";',
        f"inline constexpr size_t header_offset = {schema.HEADER_OFFSET};",
        f"inline constexpr size_t header_length = {schema.HEADER_LENGTH};",
        f"inline constexpr size_t header_minimum_length = {schema.HEADER_MINIMUM_LENGTH};",
    ]
    for kind in ENUMS:
        lines += ["", f"enum class {kind.__name__} : int8_t {{"]
        lines += [f"    {item.name} = {item.value}," for item in kind]
        lines += ["};"]
    for name, members in UNIONS.items():
        lines += ["", f"enum class {name} : uint8_t {{", "    NONE = 0,"]
        lines += [f"    {member.__name__} = {tag}," for tag, member in enumerate(members, 1)]
        lines += ["};"]
    for table in tables():
        if not fields_of(table):
            continue
        lines += ["", f"struct {table.__name__} {{"]
        for field in fields_of(table):
            offset, stored = field.vtable_offset, _fbs_type(field)
            if field.kind is Kind.UNION:
                lines += [_constant(f"{field.name}_type", offset, f"ubyte: {stored}")]
                offset += 2
            lines += [_constant(field.name, offset, stored)]
        lines += ["};"]
    return "\n".join([*lines, "", "}  // namespace penlight::schema", ""])


def _constant(name: str, offset: int, comment: str) -> str:
    return f"    static constexpr uint16_t {name} = {offset};  // {comment}"
