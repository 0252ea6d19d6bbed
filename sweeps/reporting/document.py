"""A report as sections of sentences, tables and charts; as HTML, Markdown and JSON.

The HTML file needs no other file. Its Content-Security-Policy forbids every request and every
script but its own, whose hash it names.
"""

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeps.preparing.check_page import PageTable, Picture, numeric_columns, page_environment
from sweeps.reporting.svg import Chart
from trainer.files import atomic_write


@dataclasses.dataclass(frozen=True)
class Section:
    """One part of the report.

    Attributes:
        key: the name in JSON and in links.
        sentences: what it says in words; the most important sentence is first.
        charts, tables, pictures: what it shows, in this order.
        text: preformatted text at its end, e.g. a YAML file; may be empty.
        data: what JSON has of it: values that JSON knows.
    """

    key: str
    title: str
    sentences: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[PageTable, ...] = ()
    pictures: tuple[Picture, ...] = ()
    text: str = ""
    data: Any = None


@dataclasses.dataclass(frozen=True)
class Report:
    """The whole report.

    Attributes:
        question: the description of the search space; may be empty.
        facts: lines of name and value, at the top.
    """

    title: str
    question: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]

    def as_json(self) -> dict[str, Any]:
        """The report as `sweeps report --json` prints it: facts, and each section by its key."""
        return {
            "sweep": self.title,
            "question": self.question,
            "facts": dict(self.facts),
            **{
                section.key: {"sentences": list(section.sentences), "data": section.data}
                for section in self.sections
            },
        }


def write_html(report: Report, path: Path) -> None:
    """Write the report as one HTML file, which is never half written.

    Raises:
        OSError: the file cannot be written.
    """
    environment = page_environment()
    loader = environment.loader
    assert loader is not None
    script = loader.get_source(environment, "report.js")[0].strip()
    stream = environment.get_template("report.html").stream(
        report=report, script=script, script_hash=script_hash(script)
    )
    stream.enable_buffering(64)
    with atomic_write(path) as file:
        stream.dump(file, encoding="utf-8", errors="backslashreplace")


def script_hash(script: str) -> str:
    """The hash by which a Content-Security-Policy allows exactly this script.

    Example:
        >>> script_hash("alert(1)")
        'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='
    """
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def markdown(report: Report) -> str:
    """The sentences and tables of the report as Markdown; charts and pictures are left out."""
    lines = [f"# {_plain(report.title)}", ""]
    if report.question:
        lines += [_plain(report.question), ""]
    lines += [f"- {_plain(name)}: {_plain(value)}" for name, value in report.facts]
    for section in report.sections:
        if not (section.sentences or section.tables or section.text):
            continue
        lines += ["", f"## {_plain(section.title)}", ""]
        lines += [f"- {_plain(sentence)}" for sentence in section.sentences]
        for table in section.tables:
            lines += ["", *_table(table)]
        if section.text:
            fence = "`" * max(3, 1 + _longest_run(section.text))
            lines += ["", fence, section.text.rstrip(), fence]
    return "\n".join(lines) + "\n"


def _table(table: PageTable) -> list[str]:
    right = numeric_columns(table)
    lines = [f"**{_plain(table.title)}**", ""] if table.title else []
    lines.append(f"| {' | '.join(map(_cell, table.columns))} |")
    lines.append(f"|{'|'.join('---:' if numeric else '---' for numeric in right)}|")
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in table.rows]
    return [*lines, *(["", _plain(table.note)] if table.note else [])]


def _plain(text: str) -> str:
    """The text on one line, without a meaning in Markdown or HTML."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*[]<>" else letter for letter in text)
    return " ".join(escaped.split())


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _longest_run(text: str) -> int:
    """The length of the longest run of backquotes."""
    longest = run = 0
    for letter in text:
        run = run + 1 if letter == "`" else 0
        longest = max(longest, run)
    return longest


def json_text(report: Report) -> str:
    """The report as JSON; numbers that are not finite become null, unknown values text."""
    return json.dumps(_finite(report.as_json()), indent=2, default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
