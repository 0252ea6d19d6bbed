"""What a notebook shows of a leaderboard."""

import dataclasses
import re

from foldsweep.shown import best_table
from tests.foldsweep.conftest import Trained


def cells(table: str) -> list[list[str]]:
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", line) for line in table.split("<tr>")[1:]]


def test_the_table_has_a_row_for_each_trial_and_a_column_for_each_parameter_that_varies(
    trained: Trained,
):
    best = trained.open().best(fast=True)
    assert cells(best_table(best)) == [
        ["trial", "valid/f1 ± std", "OOF", "lr"],
        *(
            [
                str(row.number),
                f"{row.score:.4f} ± {row.std:.4f}",
                f"{row.oof_score:.4f}",
                "0.01" if row.number == 0 else "0.0003",
            ]
            for row in best.trials
        ),
    ]
    assert best._repr_html_() == best_table(best)


def test_a_choice_adds_what_to_expect_and_the_sentences_of_the_command(trained: Trained):
    best = trained.open().best()
    first, *rows = cells(best_table(best))
    assert first == ["trial", "valid/f1 ± std", "OOF", "on new data (95 %)", "lr"]
    assert all(re.fullmatch(r"\d\.\d{4} \(\d\.\d{4} to \d\.\d{4}\)", row[3]) for row in rows)
    shown = best._repr_html_()
    assert re.search(r"<p>one trial<br>trial 0: OOF ", shown)
    assert re.search(r"<p>ensemble<br>\d\.\d\d trial \d.*<br>OOF ", shown)
    assert re.search(r"<p>evidence<br>as much as ", shown)
    assert repr(best).startswith("<foldsweep.Best of 'people', valid/f1: trial 0: ")


def test_a_single_trial_shows_all_of_its_parameters(trained: Trained):
    (head, row) = cells(best_table(trained.open().best(1, fast=True)))
    assert (head[-1], row[-1]) == ("lr", "0.01")


def test_a_value_of_a_parameter_is_text_and_no_html(trained: Trained):
    best = trained.open().best(1, fast=True)
    (row,) = best.trials
    odd = dataclasses.replace(best, trials=(dataclasses.replace(row, params={"loss": "<b>&"}),))
    assert cells(best_table(odd))[1][-1] == "&lt;b&gt;&amp;"
