"""LiveBench's tablereformat: a table in another format, cell for cell the same.

For evaluation only. It is hard to game, but lenient: what pandas makes of both texts is compared,
so `1.0` is `1`, an `index` column does not count, and text around a CSV or JSON table is passed
over.

Tables are read by pandas, as officially, whose guesses of types are part of the rules; without it
the verdict is undecided. HTML is read here, because pandas asks for a parser package for it.
"""

import csv
import html.parser
import importlib
import io
import json
import math
import numbers
import re
import warnings
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from qwq_env.grading.livebench.extract import between, solutions
from qwq_env.grading.score import Score

__all__ = ["table_reformat"]

SECOND_RULES_SINCE = "2025-04-25"
"""From this day on questions name the formats on lines of their own, and JSON is read otherwise."""

_TOLERANCE = 1e-6
_FENCE_LINE = re.compile(r"```.*\n")
_PHRASE = re.compile(r"\s*(?:here|input)\b.*?\b(?:format|table)\s*[:)]\s*", re.IGNORECASE)
_SEPARATORS = {"csv": ",", "tsv": "\t"}
_SPARE_LINES = 1_000
_UNREADABLE = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError,
    RecursionError,
)  # fmt: skip
"""What pandas raises for text that is no table: its parsers' errors are ValueErrors."""

_JSON_ORIENTATIONS: Mapping[bool, tuple[dict[str, Any], ...]] = {
    False: (
        {"orient": "index"},
        {"orient": "records"},
        {"orient": "records", "lines": True},
        {"orient": "table"},
        {"orient": "values"},
    ),
    True: ({"orient": "table"}, {"orient": "index"}, {"orient": "records"}),
}
"""How JSON is tried to be read, by whether the second rules hold; the first that works counts."""


def table_reformat(question: Mapping[str, Any], answer: str) -> Score:
    """Right if rows, columns and every cell are the same; numbers to 1e-6."""
    try:
        pandas = importlib.import_module("pandas")  # optional, and heavy
    except ImportError:
        return Score.undecided("pandas_missing", "tablereformat needs pandas")
    second = question["livebench_release_date"] >= SECOND_RULES_SINCE
    form = _target_format(question["turns"][0], second)
    reference = _read(pandas, form, question["ground_truth"], second)
    text = _PHRASE.sub("", _table_text(answer), count=1).strip()
    reason = "unreadable"
    for table in _readings(pandas, form, text, reference, second):
        if table is None:
            continue
        if _same(pandas, table, reference):
            return Score.right()
        reason = "different"
    return Score.wrong(reason)


def _target_format(prompt: str, second: bool) -> str:
    if second:
        lines = [line for line in prompt.split("\n") if "Target Format" in line]
        return lines[-1].split("Target Format: ")[1].strip().lower()
    command = prompt.split("Please convert the Input Table from ")[1]
    return command.split("format to ")[1].split(" format")[0].lower()


def _table_text(answer: str) -> str:
    while tagged := solutions(answer, across_lines=True):
        answer = tagged[-1].strip()
    for fence in ("```json\n", "```html\n"):
        if blocks := between(answer, fence, "```", across_lines=True):
            return blocks[-1].strip()
    if opening := _FENCE_LINE.match(answer):
        answer = answer[opening.end() :]
    return answer.replace("&amp;", "&").replace("```", "").strip()


def _readings(
    pandas: ModuleType, form: str, text: str, reference: Any, second: bool
) -> Iterable[Any]:
    """The table as the whole text is read, then as it is found among other text; None: not."""
    try:
        whole = _read(pandas, form, text, second)
    except _UNREADABLE:
        whole = None
    yield whole
    if form == "csv" or (form == "tsv" and whole is None):
        yield _separated_within(pandas, text, reference, _SEPARATORS[form])
    elif form == "jsonl":
        yield _objects_within(pandas, text, reference)


def _read(pandas: ModuleType, form: str, text: str, second: bool) -> Any:
    """The table; raises one of `_UNREADABLE` for text that is none in that format."""
    if form == "json":
        return _read_json(pandas, text, _JSON_ORIENTATIONS[second])
    if form == "jsonl":
        return pandas.read_json(io.StringIO(text), orient="records", lines=True)
    if form == "html":
        return _read_html(pandas, text)
    if form == "markdown":
        return _read_markdown(pandas, text, second)
    return pandas.read_csv(io.StringIO(text), sep=_SEPARATORS[form])


def _read_json(pandas: ModuleType, text: str, ways: Iterable[dict[str, Any]]) -> Any:
    for way in ways:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a way that does not fit the text
                return pandas.read_json(io.StringIO(text), **way)
        except _UNREADABLE:
            continue
    raise ValueError("no JSON of a table")


def _read_markdown(pandas: ModuleType, text: str, second: bool) -> Any:
    if not second:
        return pandas.read_table(io.StringIO(text), sep="|", index_col=1, skipinitialspace=True)
    lines = text.strip().split("\n")
    rows = io.StringIO("\n".join([lines[0], *lines[2:]]))
    table = pandas.read_table(rows, sep="|", skipinitialspace=True).iloc[:, 1:-1]
    for column in table.columns:
        if not pandas.api.types.is_numeric_dtype(table[column]):
            table[column] = table[column].astype(str).str.strip()
    return table


def _read_html(pandas: ModuleType, text: str) -> Any:
    """Every table of the text, one below the other; types are guessed as in CSV."""
    reader = _TableReader()
    reader.feed(text)
    reader.close()
    frames = [_frame(pandas, head, body) for head, body in reader.tables if head or body]
    return pandas.concat(frames, axis=0)


def _frame(pandas: ModuleType, head: list[list[str]], body: list[list[str]]) -> Any:
    lines = io.StringIO()
    csv.writer(lines).writerows([*head, *body])
    lines.seek(0)
    return pandas.read_csv(
        lines, header=list(range(len(head))) if len(head) > 1 else (0 if head else None)
    )


class _TableReader(html.parser.HTMLParser):
    """Collects the cells of each table: the rows of its head, and of its body.

    Without a `<thead>`, the first rows are the head as long as they hold nothing but `<th>`.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[tuple[list[list[str]], list[list[str]]]] = []
        self._in_head = self._in_cell = self._only_heads = False
        self._row: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append(([], []))
        elif tag == "thead":
            self._in_head = True
        elif tag == "tr":
            self._end_row()
            self._only_heads = True
        elif tag in ("td", "th"):
            self._in_cell = True
            self._only_heads &= tag == "th"
            self._row.append("")
        elif tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False
        elif tag in ("tr", "table"):
            self._end_row()
        elif tag == "thead":
            self._end_row()
            self._in_head = False

    def handle_data(self, data: str) -> None:
        if self._in_cell and self._row:
            self._row[-1] += data

    def _end_row(self) -> None:
        if self._row and self.tables:
            head, body = self.tables[-1]
            is_head = self._in_head or (self._only_heads and not body)
            cells = [" ".join(cell.split()) for cell in self._row]
            (head if is_head else body).append(cells)
        self._row, self._in_cell = [], False


def _separated_within(pandas: ModuleType, text: str, reference: Any, separator: str) -> Any:
    """The table that begins at a line with the reference's header, as far as it can be read."""
    header = separator.join(map(str, reference.columns)).strip()
    lines = text.strip().split("\n")
    begin = next((place for place, line in enumerate(lines) if line.strip() == header), None)
    if begin is None:
        return None
    # Beyond as many rows there are too many anyway.
    lines = lines[begin : begin + len(reference) + _SPARE_LINES]
    while lines:
        try:
            return pandas.read_csv(io.StringIO("\n".join(lines)), sep=separator)
        except _UNREADABLE:
            lines.pop()
    return None


def _objects_within(pandas: ModuleType, text: str, reference: Any) -> Any:
    """The lines that are objects and name every column of the reference."""
    rows = []
    for line in text.strip().split("\n"):
        if line[:1] == "{" and line[-1] == "}" and all(c in line for c in reference.columns):
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
    return pandas.DataFrame(rows) if rows else None


def _same(pandas: ModuleType, table: Any, reference: Any) -> bool:
    try:
        table, reference = _without_index(table), _without_index(reference)
        if len(table) != len(reference) or sorted(table.columns) != sorted(reference.columns):
            return False
        return all(
            _same_cell(given, wanted)
            for column in table.columns
            for given, wanted in zip(table[column], reference[column], strict=True)
        )
    except _UNREADABLE:
        return False


def _without_index(table: Any) -> Any:
    table = table.set_axis([name.strip() for name in table.columns], axis=1)
    return table.drop(columns=["index"]) if "index" in table.columns else table


def _same_cell(given: Any, wanted: Any) -> bool:
    if isinstance(given, str):
        given = given.strip()
    if isinstance(wanted, str):
        wanted = wanted.strip()
    if not (isinstance(given, numbers.Real) and isinstance(wanted, numbers.Real)):
        return bool(given == wanted)
    first, second = float(given), float(wanted)
    return (math.isnan(first) and math.isnan(second)) or abs(first - second) < _TOLERANCE
