"""Values with parts, and whole rows, as SQL that converts exactly or not at all.

A value with parts is read with texts in place of its parts, so that each of them can be checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chronoduck.transfer.exact_text import TextCheck, TextForms, check_text
from chronoduck.transfer.sql import quote_name, quote_text
from chronoduck.transfer.type_text import TypeTree, read_type

__all__ = [
    "Conversion",
    "bad_part",
    "checked_select",
    "nested_conversion",
    "text_conversion",
    "text_type",
    "tree_of",
    "typed_conversion",
]

_PLAIN_FORMS = TextForms()
_AS_THEY_ARE = frozenset({"UNION", "TUPLE", "VARIANT"})
"""Types with parts that the engine converts as a whole."""
_EMPTY_IS_A_VALUE = frozenset({"JSON", "BLOB", "BIT", "GEOMETRY"})
_COMPARABLE = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT"}
    | {"UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "DATE", "TIME", "TIME_NS"}
    | {"TIME WITH TIME ZONE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
    | {"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS", "VARCHAR", "UUID"}
)
"""Types that are converted to each other and back: what comes back otherwise was not kept."""


@dataclass(frozen=True)
class Conversion:
    """How a column of a file becomes one of the table; SQL over the file's rows."""

    given: str
    """The column of the file."""
    tried: str
    """Its value in the table's type, NULL when there is none."""
    quick: Callable[[str, str], str]
    """SQL for whether a value is exact, made of the given and the value; false or NULL: look again."""
    slow: Callable[[str, str], str]
    """SQL for whether it is."""
    has_empty: bool = False
    """Whether an empty text means NULL."""
    has_arrays: bool = False
    """Whether arrays are in it: DuckDB 1.5 has no CASE of them, but one of lists that hold them."""

    def value(self) -> str:
        """Return the value where it is exact, else NULL, as one expression."""
        quick, slow = self.quick(self.given, self.tried), self.slow(self.given, self.tried)
        if quick == "true":
            return self.tried
        good = quick if slow == "false" else f"({quick}) OR ({slow})"
        return self._unpacked(f"CASE WHEN {good} THEN {self._packed(self.tried)} END")

    def item(self, given: str, value: str, label: str) -> str:
        """Return the value out of columns that hold both; an error where it is not exact."""
        quick, slow = self.quick(given, value), self.slow(given, value)
        if quick == "true":
            return value
        packed = self._packed(value)
        more = "" if slow == "false" else f"WHEN {slow} THEN {packed} "
        shown = f"left(CAST({given} AS VARCHAR), 60)"
        return self._unpacked(
            f"CASE WHEN {quick} THEN {packed} WHEN {self._is_null(given)} THEN NULL {more}"
            f"ELSE error({quote_text(label)} || {shown}) END"
        )

    def has_value(self) -> str:
        """Return SQL for whether a value was given."""
        return f"NOT ({self._is_null(self.given)})"

    def _packed(self, value: str) -> str:
        return f"[{value}]" if self.has_arrays else value

    def _unpacked(self, case: str) -> str:
        return f"({case})[1]" if self.has_arrays else case

    def _is_null(self, given: str) -> str:
        empty = f" OR trim({given}) = ''" if self.has_empty else ""
        return f"{given} IS NULL{empty}"


def _is_there(given: str, value: str) -> str:
    return f"{value} IS NOT NULL"


def _always(given: str, value: str) -> str:
    return "true"


def _never(given: str, value: str) -> str:
    return "false"


def tree_of(type_: str) -> TypeTree:
    """Return the parts of a type; what cannot be read has none."""
    try:
        return read_type(type_)
    except ValueError:
        return TypeTree(type_)


def text_type(type_: str) -> str:
    """Return the type by which values of a type are read as texts."""
    return _text_type(tree_of(type_), type_)


def _text_type(tree: TypeTree, written: str) -> str:
    if tree.name in _AS_THEY_ARE:
        return written
    if not tree.parts:
        return "JSON" if tree.name == "JSON" else "VARCHAR"
    parts = [(name, _text_type(part, part.written)) for name, part in tree.parts]
    if tree.name == "STRUCT":
        return f"STRUCT({', '.join(f'{quote_name(name)} {part}' for name, part in parts)})"
    if tree.name == "MAP":
        return f"MAP(VARCHAR, {parts[1][1]})"
    return f"{parts[0][1]}[]"  # an array too: its length is checked when it is converted


def text_conversion(
    type_: str,
    given: str,
    forms: TextForms = _PLAIN_FORMS,
    *,
    is_guess: bool = False,
    empty_is_null: bool = False,
) -> Conversion:
    """Return how a column that was read as ``text_type`` becomes one of ``type_``."""
    tree = tree_of(type_)
    if tree.name in _AS_THEY_ARE:
        return Conversion(given, f"TRY_CAST({given} AS {type_})", _is_there, _never)
    if tree.parts:

        def is_exact(given: str, value: str) -> str:
            bad = bad_part(tree, given, forms, is_guess=is_guess)
            return f"{value} IS NOT NULL" + ("" if bad is None else f" AND NOT {bad}")

        return Conversion(
            given,
            f"TRY(CAST({given} AS {type_}))",
            is_exact,
            _never,
            has_arrays=_has_arrays(tree),
        )
    if type_ == "VARCHAR":
        return Conversion(given, given, _always, _always)

    def check(text: str, value: str) -> TextCheck:
        return check_text(type_, text, value, forms, is_guess=is_guess)

    return Conversion(
        given,
        check(given, "NULL").value,
        lambda text, value: check(text, value).quick,
        lambda text, value: check(text, value).slow,
        has_empty=empty_is_null and tree.name not in _EMPTY_IS_A_VALUE,
    )


def nested_conversion(type_: str, given: str) -> Conversion:
    """Return how texts that write values with parts, as JSON or as DuckDB does, become values."""
    tree, texts = tree_of(type_), text_type(type_)

    def parsed(text: str) -> str:
        return f"coalesce(TRY(CAST(TRY_CAST({text} AS JSON) AS {texts})), TRY(CAST({text} AS {texts})))"

    def is_exact(text: str, value: str) -> str:
        bad = bad_part(tree, parsed(text), _PLAIN_FORMS, is_guess=False)
        return f"{value} IS NOT NULL" + ("" if bad is None else f" AND NOT {bad}")

    tried = f"TRY(CAST({parsed(given)} AS {type_}))"
    return Conversion(given, tried, is_exact, _never, has_empty=True, has_arrays=_has_arrays(tree))


def bad_part(
    tree: TypeTree, value: str, forms: TextForms, *, is_guess: bool, level: int = 0
) -> str | None:
    """Return SQL for whether a part of a value is not exact; None if none can be."""
    if tree.name in _AS_THEY_ARE or tree.name in ("JSON", "VARCHAR"):
        return None
    if not tree.parts:
        tried = check_text(tree.written, value, "NULL", forms, is_guess=is_guess).value
        check = check_text(tree.written, value, tried, forms, is_guess=is_guess)
        good = f"({check.quick}) OR ({check.slow})"
        return f"({value} IS NOT NULL AND NOT coalesce({good}, false))"
    if tree.name == "STRUCT":
        found = [
            bad_part(
                part,
                f"struct_extract({value}, {quote_text(name)})",
                forms,
                is_guess=is_guess,
                level=level,
            )
            for name, part in tree.parts
        ]
    elif tree.name == "MAP":
        found = [
            _bad_list(part, f"{function}({value})", level, forms, is_guess=is_guess)
            for function, (_, part) in zip(("map_keys", "map_values"), tree.parts, strict=True)
        ]
    else:
        found = [_bad_list(tree.parts[0][1], value, level, forms, is_guess=is_guess)]
    bad = [each for each in found if each is not None]
    return f"coalesce({' OR '.join(bad)}, false)" if bad else None


def _bad_list(
    part: TypeTree, value: str, level: int, forms: TextForms, *, is_guess: bool
) -> str | None:
    element = f"e{level}"
    inner = bad_part(part, element, forms, is_guess=is_guess, level=level + 1)
    return None if inner is None else f"len(list_filter({value}, lambda {element}: {inner})) > 0"


def typed_conversion(type_: str, given_type: str, given: str) -> Conversion:
    """Return how a column that has a type of its own becomes one of ``type_``."""
    if type_ == given_type:
        return Conversion(given, given, _always, _always)
    if given_type == "VARCHAR" and type_ != "BLOB" and not tree_of(type_).parts:
        return text_conversion(type_, given)
    if _is_comparable(type_, given_type):
        back = _judging_type(tree_of(given_type))
        return Conversion(
            given,
            f"TRY_CAST({given} AS {type_})",
            lambda text, value: f"TRY_CAST({value} AS {back}) = CAST({text} AS {back})",
            _never,
            has_arrays=_has_arrays(tree_of(type_)),
        )
    return Conversion(
        given,
        f"TRY(CAST({given} AS {type_}))",
        _is_there,
        _never,
        has_arrays=_has_arrays(tree_of(type_)),
    )


def _is_comparable(type_: str, given_type: str) -> bool:
    """Whether what was converted can be converted back, to see what became of it."""
    there, here = tree_of(type_), tree_of(given_type)
    if "FLOAT" in there.leaves or type_ == "VARCHAR":
        return False  # a float takes the nearest one; a text takes everything
    return there.leaves <= _COMPARABLE and here.leaves <= _COMPARABLE


def _judging_type(given: TypeTree) -> str:
    """Return the type in which a value is compared with what was given.

    A HUGEINT in Arrow is a DECIMAL(38,0) that may have 39 digits: read well, but no cast makes one.
    """
    if given.written == "DECIMAL(38,0)":
        return "HUGEINT"
    if not given.parts:
        return given.written
    parts = [(name, _judging_type(part)) for name, part in given.parts]
    if given.name in ("STRUCT", "UNION"):
        return f"{given.name}({', '.join(f'{quote_name(name)} {part}' for name, part in parts)})"
    if given.name == "MAP":
        return f"MAP({parts[0][1]}, {parts[1][1]})"
    if given.name in ("LIST", "ARRAY"):
        return parts[0][1] + given.written[given.written.rindex("[") :]
    return given.written


def _has_arrays(tree: TypeTree) -> bool:
    return tree.name == "ARRAY" or any(_has_arrays(part) for _, part in tree.parts)


def checked_select(relation: str, conversions: Sequence[Conversion], names: Sequence[str]) -> str:
    """Return the rows of a relation with converted columns, and an error for what is not exact."""
    inner, outer = [], []
    for number, (conversion, name) in enumerate(zip(conversions, names, strict=True)):
        given, value = f"_given_{number}", f"_value_{number}"
        if conversion.tried == conversion.given:
            inner.append(f"{conversion.given} AS {value}")
            outer.append(f"{value} AS {quote_name(name)}")
            continue
        inner += [f"{conversion.given} AS {given}", f"{conversion.tried} AS {value}"]
        outer.append(f"{conversion.item(given, value, f'column {name}: ')} AS {quote_name(name)}")
    return f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM {relation})"
