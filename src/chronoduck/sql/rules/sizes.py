"""How large a value a statement's literals make: some functions build gigabytes and ignore interrupts.

A size is counted in characters and elements, from the leaves up. What a column holds is not known and
counts as nothing; that bound is the disk's. Where DuckDB is
slow, a size that a column gives must be bounded.
"""

from __future__ import annotations

from typing import Any

from chronoduck.sql.rules.bounds import (
    LIST_FUNCTIONS,
    MAX_BIGNUM_DIGITS,
    MAX_JSON_TEXT,
    MAX_LIST,
    MAX_PATTERN_STEPS,
    MAX_TEXT,
    MAX_UNITS,
    MAX_WILDCARDS,
    arguments_of,
    has_named_arguments,
    literal_text,
    literals_in,
    numbers_in,
    readings_of,
)
from chronoduck.sql.rules.column_sizes import has_column, has_nested_cast, largest
from chronoduck.sql.rules.functions import DEEP_READERS
from chronoduck.sql.rules.lookup import Names
from chronoduck.sql.rules.refusals import refuse, refuse_deep_reader
from chronoduck.sql.rules.series import times_in_series
from chronoduck.sql.rules.shapes import judge_json, judge_structure
from chronoduck.sql.rules.text_lengths import judge_bignum_text, judge_text_lengths
from chronoduck.sql.rules.value_types import judge_cast

__all__ = ["Sizes"]

# Function to the position of the argument that says how large one value gets.
_TEXT_SIZES = {"lpad": 1, "rpad": 1, "to_base": 2, "bitstring": 1, "bar": 3, "overlay": 2}
_LIST_SIZES = {"list_resize": 1, "array_resize": 1, "equi_width_bins": 2}
_DEAF = frozenset({"lpad", "rpad", "bitstring"})
"""They fill what a column asks for a character at a time: 2 GB take 25 s, deaf to interrupts."""
_SAMPLES = {"reservoir_quantile": 2, "approx_top_k": 1, "min": 1, "max": 1, "arg_min": 2, "arg_max": 2,
    "argmin": 2, "argmax": 2, "min_by": 2, "max_by": 2, "lttb": 2}  # fmt: skip
"""Aggregates that make room for as many values as an argument says, before they see one."""
_SERIES = frozenset({"range", "generate_series"})
_FORMATS = frozenset({"printf", "format"})
_LIKES = frozenset({"~~", "!~~", "~~*", "!~~*", "like_escape", "not_like_escape", "ilike_escape",
    "not_ilike_escape"})  # fmt: skip
_GLOBS = frozenset({"~~~", "glob"})
_QUADRATIC = frozenset({"levenshtein", "editdist3", "damerau_levenshtein", "jaro_similarity",
    "jaro_winkler_similarity"})  # fmt: skip
_JOINS = frozenset({"array_to_string", "array_to_string_comma_default", "list_string_agg"})
_STRUCTURED = frozenset(
    {"from_json", "from_json_strict", "json_transform", "json_transform_strict"}
)
_WIDE_DIGITS = 5
_STRETCHES = 100
"""A factor from which on it counts that a column may hold what another such call made."""
_MAX_SAMPLE = 10_000
"""Each group has room for so many."""
_FRAMES = frozenset({"reservoir_quantile", "histogram"})
"""As window functions they have a state for each frame: one takes all memory, the other no interrupt."""
_CLAMP = 1e18
_NO_PARAMETER = (
    "Write the number into the statement: `SELECT lpad(b, 20, ' ') FROM t`. In FROM range() takes "
    "parameters."
)
_OTHER_PATTERNS = (
    "Regular expressions have no such bound: `SELECT regexp_matches(b, 'a.*c') FROM t`."
)
_PLAIN_FORMATS = (
    "Write the format as one literal: `SELECT format('{:>20}', b) FROM t`, "
    "`SELECT printf('%20s', b) FROM t`."
)


class Sizes:
    """Measures the calls of one statement."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._known: dict[int, float] = {}
        self._expressions: list[dict[str, Any]] = []
        self._largest = 1.0
        """The largest value that literals alone make."""
        self._stretch = 1.0
        """How often calls repeat what columns hold, multiplied."""

    def note(self, node: dict[str, Any]) -> None:
        """Take notice of an expression; those inside it are noted after it."""
        self._expressions.append(node)

    def note_streamed(self, call: dict[str, Any]) -> None:
        """Take notice of a call in FROM: what it makes is no value."""
        self._known[id(call)] = 1.0

    def note_view(self, growth: float) -> None:
        """Take notice of a view whose columns hold values of that size."""
        self._largest = max(self._largest, growth)

    def check(self) -> None:
        """Judge what was noted.

        Raises:
            StatementRefusedError: rule ``literal-size``, ``nesting`` or ``variant``.
        """
        for node in reversed(self._expressions):  # so that nothing here is as deep as a tree
            if node.get("class") == "CAST":
                self._judge_cast(node, judge_cast(node))
            name = node.get("function_name")
            if isinstance(name, str) and id(node) not in self._known:
                for reading in readings_of(node):
                    self._judge_call(name.lower(), reading)
            self.of(node)
        if self._stretch > 1 and self._largest * self._stretch > MAX_UNITS:
            refuse("literal-size", "repeated texts would be repeated again, and become too large")

    @property
    def growth(self) -> float:
        """How much larger than what it is given the largest value is: of a macro's body."""
        return min(_CLAMP, self._largest * self._stretch)

    def _judge_call(self, name: str, node: dict[str, Any]) -> None:
        """Refuse a call that makes too large a value, or takes too long over it."""
        arguments = arguments_of(node)
        if name in DEEP_READERS and not all(map(_is_short_literal, arguments)):
            refuse_deep_reader(name)
        if name in _FORMATS:
            _judge_format(name, arguments if has_named_arguments(node) else arguments[:1])
        elif name in _FRAMES and node.get("class") == "WINDOW":
            refuse(
                "literal-size",
                f"{name}() over a window takes room for every frame",
                hint="Group by what the window is over, and join the result.",
            )
        elif name in _SAMPLES:
            self._judge_sample(name, arguments, is_named=has_named_arguments(node))
        elif name in _LIKES or name in _GLOBS:
            self._judge_pattern(name, arguments)
        elif name in _QUADRATIC:
            steps = 1.0
            for argument in arguments[:2]:
                steps *= max(1.0, self.of(argument))
            if steps > MAX_PATTERN_STEPS:
                refuse(
                    "literal-size",
                    f"{name}() would compare texts that are too long",
                    "Compare columns as they are, or shorter literals: "
                    "`SELECT levenshtein(b, 'literal') FROM t`.",
                )
        elif name in _STRUCTURED and len(arguments) > 1:
            for argument in arguments if has_named_arguments(node) else arguments[1:2]:
                judge_structure(node, literal_text(argument))
        judge_text_lengths(name, arguments, trusts_parameters=self._names.trusts_parameters)
        if name.startswith("json_") or name in _STRUCTURED:
            self._judge_json(name, arguments)

    def _judge_json(self, name: str, arguments: list[Any]) -> None:
        for argument in arguments:
            text = literal_text(argument)
            judge_json(text)
            if text is None and self.of(argument) > MAX_JSON_TEXT:
                refuse(
                    "literal-size", f"the text given to {name}() is made longer than JSON may be"
                )

    def _judge_cast(self, node: dict[str, Any], types: frozenset[str]) -> None:
        """Refuse to read a text as JSON or BIGNUM that was made too long; ``types``: of the cast."""
        child = node.get("child")
        if "json" in types:
            judge_json(literal_text(child))
        if "json" in types and literal_text(child) is None and self.of(child) > MAX_JSON_TEXT:
            refuse("literal-size", "the text is made longer than JSON may be")
        if types & {"bignum", "varint"}:
            text = literal_text(child)
            digits = self.of(child) if text is None else len(text)
            if digits > MAX_BIGNUM_DIGITS:
                refuse("literal-size", f"a BIGNUM has at most {MAX_BIGNUM_DIGITS:,} digits")
            judge_bignum_text(child, types, trusts_parameters=self._names.trusts_parameters)

    def of(self, node: Any) -> float:
        """Return the size of an expression's value, each one measured once."""
        if isinstance(node, list):
            return min(_CLAMP, sum(self.of(item) for item in node)) if node else 0.0
        if not isinstance(node, dict):
            return 0.0
        known = self._known.get(id(node))
        if known is None:
            known = min(_CLAMP, self._measured(node))
            self._known[id(node)] = known
        return known

    def _measured(self, node: dict[str, Any]) -> float:
        kind = node.get("class")
        if kind == "CONSTANT":
            text = literal_text(node)
            return 0.0 if text is None or _is_number(text) else float(len(text))
        if kind in ("COLUMN_REF", "PARAMETER", "TYPE"):
            return 0.0
        if kind == "CAST":
            return self.of(node.get("child"))
        name = node.get("function_name")
        if isinstance(name, str) and (kind == "FUNCTION" or kind is None):
            return max(self._called(name.lower(), reading) for reading in readings_of(node))
        elements = len(arguments_of(node)) if node.get("type") == "ARRAY_CONSTRUCTOR" else 0
        return elements + sum(
            self.of(part) for part in node.values() if isinstance(part, dict | list)
        )

    def _called(self, name: str, node: dict[str, Any]) -> float:
        arguments = arguments_of(node)
        total = sum(self.of(argument) for argument in arguments)
        if name == "list_value":
            total += len(arguments)
        if name in _SERIES:
            return self._series(name, arguments)
        if name in _TEXT_SIZES or name in _LIST_SIZES:
            position = _TEXT_SIZES.get(name) or _LIST_SIZES.get(name) or 0
            limit = MAX_TEXT if name in _TEXT_SIZES else MAX_LIST
            sizes = arguments if has_named_arguments(node) else arguments[position : position + 1]
            made = self._asked(name, sizes, limit)
            if name in _DEAF:
                _judge_column_sizes(name, sizes, limit)
            return self._made(name, max(total, made), 1.0, [])
        content: Any = arguments[0] if arguments else None
        if name == "repeat":
            is_named = has_named_arguments(node)
            times = self._asked(name, arguments if is_named else arguments[1:2], MAX_TEXT)
            return self._made(name, self.of(content), times, arguments if is_named else [content])
        if name in LIST_FUNCTIONS:
            return self._made(name, self.of(content), self.of(arguments[1:]), [content])
        if name in _JOINS:
            return self._made(name, self.of(content), 1.0 + self.of(arguments[1:]), [content])
        if name == "replace" and len(arguments) > 2:
            growth = self.of(arguments[2]) / max(1.0, _least(arguments[1]))
            return self._made(name, self.of(content), max(1.0, growth), [content])
        if name == "regexp_replace" and len(arguments) > 2:
            # A reference (\1) stands for as much as the pattern matched; at most all of the text, once.
            growth = self.of(arguments[2]) if len(arguments) > 3 else 1.0
            return self._made(name, self.of(content) + self.of(arguments[2]), growth, [content])
        expansion = None if self._names.is_trusted else self._names.macro(name)
        if expansion is not None and expansion.growth > 1:
            return self._made(name, max(1.0, total), expansion.growth, arguments)
        return total

    def _made(self, name: str, content: float, times: float, held: list[Any]) -> float:
        """Return the size of what a call makes; ``held``: the arguments that it repeats."""
        made = max(1.0, content) * max(1.0, times)
        if made > MAX_UNITS:
            refuse(
                "literal-size", f"{name}() would make a value of {made:,.0f} characters or elements"
            )
        if times >= _STRETCHES and any(has_column(argument) for argument in held):
            self._stretch = min(_CLAMP, self._stretch * times)
        else:
            self._largest = max(self._largest, made)
        return made

    def _series(self, name: str, arguments: list[Any]) -> float:
        times = times_in_series({"arguments": arguments})
        if times is None:
            return self._made(name, self._asked(name, arguments, MAX_LIST), 1.0, [])
        if times > MAX_LIST:
            refuse("literal-size", f"{name}() would make a list of {times:,.0f} elements")
        if not self._names.trusts_parameters and any(
            numbers_in(argument)[2] for argument in arguments[2:]
        ):
            refuse("literal-size", f"the step given to {name}() is a parameter", _NO_PARAMETER)
        return self._made(name, times, 1.0, [])

    def _asked(self, name: str, arguments: list[Any], limit: int) -> float:
        """Return the size that the literals of some arguments ask for."""
        size = 1.0
        for argument in arguments:
            numbers, is_computed, has_parameter = numbers_in(argument)
            # '9999'::BLOB::BIT::INT is a thousand million.
            is_computed |= not has_column(argument) and has_nested_cast(argument)
            if has_parameter and not self._names.trusts_parameters:
                refuse("literal-size", f"the size given to {name}() is a parameter", _NO_PARAMETER)
            size = max([size, *numbers])
            if is_computed:
                refuse(
                    "literal-size",
                    f"the size given to {name}() is computed from constants",
                    "Write the number itself.",
                )
        if size > limit:
            refuse("literal-size", f"{name}() would make a value of {size:,.0f} elements")
        return size

    def _judge_sample(self, name: str, arguments: list[Any], *, is_named: bool) -> None:
        position = _SAMPLES[name]
        sizes = arguments if is_named else arguments[position : position + 1]
        for argument in sizes:
            numbers, is_computed, has_parameter = numbers_in(argument)
            if has_parameter and not self._names.trusts_parameters:
                refuse("literal-size", f"the size given to {name}() is a parameter", _NO_PARAMETER)
            if is_computed or max([0.0, *numbers]) > _MAX_SAMPLE:
                refuse("literal-size", f"{name}() would make room for too many values")

    def _judge_pattern(self, name: str, arguments: list[Any]) -> None:
        """Refuse patterns matched by trying: DuckDB 1.5.5 takes ``length ** wildcards`` steps."""
        if len(arguments) < 2:
            return
        pattern = literal_text(arguments[1])
        if pattern is None:
            pattern = "".join(literals_in(arguments[1]))
            if self.of(arguments[1]) > 2 * len(pattern) + _STRETCHES:
                refuse(
                    "literal-size",
                    f"the pattern given to {name} is made by other functions",
                    _OTHER_PATTERNS,
                )
        wildcard = "%" if name in _LIKES else "*"
        # Without _ a LIKE looks for its parts one after the other.
        is_tried = name in _GLOBS or "_" in pattern
        parts = [part for part in pattern.split(wildcard) if part]
        wildcards = min(pattern.count(wildcard), len(parts) + 1)
        if is_tried and wildcards > MAX_WILDCARDS:
            refuse(
                "literal-size", f"a pattern has at most {MAX_WILDCARDS} wildcards", _OTHER_PATTERNS
            )
        length = self.of(arguments[0])
        if is_tried and length > 1 and length ** max(0, wildcards - 1) > MAX_PATTERN_STEPS:
            refuse("literal-size", "the text is too long for a pattern with that many wildcards")


def _judge_column_sizes(name: str, sizes: list[Any], limit: int) -> None:
    """Refuse a size that nothing bounds: of a column, a count, a clock."""
    for size in sizes:
        if largest(size) > limit:
            refuse(
                "literal-size",
                f"nothing bounds the size given to {name}()",
                hint=f"Write a number, or least(n::INTEGER, 1000); at most {limit:,}.",
            )


def _is_short_literal(node: Any) -> bool:
    while isinstance(node, dict) and node.get("class") == "CAST":
        node = node.get("child")
    text = literal_text(node)
    return text is not None and len(text) <= MAX_JSON_TEXT


def _judge_format(name: str, formats: list[Any]) -> None:
    """Refuse widths of more than four digits, and those that other arguments give."""
    for each in formats:
        text = literal_text(each)
        if text is None:
            texts = literals_in(each)
            digits = sum(character.isdigit() for found in texts for character in found)
            is_open = any(mark in found for found in texts for mark in "%{*")
            is_wide = digits >= _WIDE_DIGITS or any("*" in found for found in texts)
            if not _joins_literals(each) or (is_open and is_wide):
                refuse("literal-size", f"the format given to {name}() is computed", _PLAIN_FORMATS)
            continue
        if _has_wide_number(text):
            refuse(
                "literal-size",
                f"{name}() may not pad to more than 9,999 characters",
                "Pad by a function: `SELECT lpad(b, 10000, ' ') FROM t`.",
            )
        if name == "printf" and any("*" in part[:20] for part in text.split("%")[1:]):
            refuse(
                "literal-size", "printf() takes its widths from its format alone", _PLAIN_FORMATS
            )
        if name == "format" and _has_nested_braces(text):
            refuse(
                "literal-size", "format() takes its widths from its format alone", _PLAIN_FORMATS
            )


def _joins_literals(node: Any) -> bool:
    """Whether a text is made of literals alone, one after the other or one of several."""
    stack = [node]
    while stack:
        part = stack.pop()
        if not isinstance(part, dict):
            return False
        kind = part.get("class")
        if kind == "CONSTANT":
            continue
        if kind == "CASE":
            checks = part.get("case_checks") or ()
            stack += [check.get("then_expr") for check in checks]
            stack.append(part.get("else_expr"))
        elif kind == "CAST":
            stack.append(part.get("child"))
        elif part.get("function_name") in ("||", "concat"):
            stack += arguments_of(part)
        elif part.get("function_name") == "if":
            stack += arguments_of(part)[1:]
        else:
            return False
    return True


def _has_wide_number(text: str) -> bool:
    run = 0
    for character in text:
        run = run + 1 if character.isdigit() else 0
        if run >= _WIDE_DIGITS:
            return True
    return False


def _has_nested_braces(text: str) -> bool:
    """Whether a replacement field holds another one: ``{:{}}``; ``{{`` is a brace."""
    depth = 0
    for character in text.replace("{{", ""):
        if character == "{":
            depth += 1
            if depth > 1:
                return True
        elif character == "}":
            depth = max(0, depth - 1)
    return False


def _least(node: Any) -> float:
    """Return the length of what is replaced; 1 if it is no literal."""
    text = literal_text(node)
    return float(len(text)) if text else 1.0


def _is_number(text: str) -> bool:
    try:
        float(text.replace("_", ""))
    except ValueError:
        return False
    return len(text) < 40
