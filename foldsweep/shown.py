"""How a notebook shows a sweep: HTML, and the sentences of `sweeps best`."""

import html
from collections.abc import Iterable, Sequence

from sweeps.results.chosen import names_of
from sweeps.results.explained import explain_ensemble, explain_evidence, explain_trial
from sweeps.results.leaderboard import Leaderboard, Row
from sweeps.running.described import format_value


class Best(Leaderboard):
    """The leaderboard of a sweep, which a notebook shows as a table with what it means.

    `trials` are the best complete trials, best first; `choice` is what the sweep ships.
    """

    def __repr__(self) -> str:
        scores = ", ".join(f"trial {row.number}: {row.score:.4f}" for row in self.trials)
        return f"<foldsweep.Best of {self.sweep!r}, {self.metric}: {scores}>"

    def _repr_html_(self) -> str:
        """The table, and what the choice means in the sentences of `sweeps best`."""
        table = best_table(self)
        if self.choice is None:
            return table
        named = names_of(self.choice)
        members = "  ".join(
            f"{member.weight:.2f} {named[member.name]}" for member in self.choice.ensemble.members
        )
        return (
            table
            + paragraph(["one trial", *explain_trial(self.choice)])
            + paragraph(["ensemble", members, *explain_ensemble(self.choice)])
            + paragraph(["evidence", *explain_evidence(self.choice)])
        )


def best_table(found: Leaderboard) -> str:
    """The trials of a leaderboard as HTML, without the parameters that all of them share.

    Returns:
        A table; empty if no trial is complete.
    """
    if not found.trials:
        return ""
    params = [row.params for row in found.trials]
    varying = [
        name
        for name in dict.fromkeys(name for values in params for name in values)
        if len(params) < 2 or len({repr(values.get(name)) for values in params}) > 1
    ]
    expected = any(row.expected for row in found.trials)
    columns = ["trial", f"{found.metric} ± std", "OOF", *["on new data (95 %)"] * expected]
    rows = [
        [
            str(row.number),
            f"{row.score:.4f}" + ("" if row.std is None else f" ± {row.std:.4f}"),
            "-" if row.oof_score is None else f"{row.oof_score:.4f}",
            *[_expected(row)] * expected,
            *(format_value(row.params[name]) if name in row.params else "" for name in varying),
        ]
        for row in found.trials
    ]
    head = _line([*columns, *varying], "th")
    body = "".join(_line(cells, "td") for cells in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def paragraph(lines: Sequence[str]) -> str:
    """Lines of text as a paragraph of HTML.

    Example:
        >>> paragraph(["mask: 3 completed", "score < 0.5"])
        '<p>mask: 3 completed<br>score &lt; 0.5</p>'
    """
    return f"<p>{'<br>'.join(map(html.escape, lines))}</p>"


def _expected(row: Row) -> str:
    interval = row.expected
    if interval is None:
        return "-"
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})"


def _line(cells: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
