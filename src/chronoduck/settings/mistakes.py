"""What is wrong with a value, in words for who wrote it, and without the value: it may be a secret."""

from __future__ import annotations

from typing import Any

__all__ = ["describe_mistake"]

_SENTENCES = {
    "missing": "is not set",
    "string_pattern_mismatch": "is not written in the form that is asked for",
    "string_type": "must be a text",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "path_type": "must be a path",
    "extra_forbidden": "is no setting",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be {le:g} or less",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}


def describe_mistake(item: Any) -> str:
    """Return a clause of an error that pydantic reports; one of an unknown kind keeps its words."""
    sentence = _SENTENCES.get(item["type"])
    try:
        return str(item["msg"]) if sentence is None else sentence.format(**item.get("ctx", {}))
    except (KeyError, ValueError):
        return str(item["msg"]).removeprefix("Value error, ")
