"""The contact sheet of label suspects, by group, to be judged by eye."""

import collections
import dataclasses
import os.path
from collections.abc import Mapping, Sequence

from sweeps.preparing.check_page import CheckPage, Picture, Sheet
from sweeps.preparing.inspection import MAX_SHEETS, thumbnails
from sweeps.results.suspects import Suspect
from trainer.images.manifest import Manifest

MAX_PER_SHEET = 24  # pictures; an image with a doubt is never left out for one without
ORIGIN = "Written by sweeps suspects from predictions of models that did not train on the image."


def suspect_page(
    name: str, suspects: Mapping[int, Sequence[Suspect]], manifest: Manifest
) -> CheckPage:
    """Return the page: one contact sheet per group that has suspects, with the rest of the group.

    Without groups there is one contact sheet per kind of mistake. This function reads the images
    that the page shows.

    Args:
        name: the name of the sweep.
        suspects: the suspects of each suspected manifest row, the surest first.
    """
    chosen = _by_group(suspects, manifest) if manifest.groups else _by_mistake(suspects)
    sheets = dict(list(chosen.items())[:MAX_SHEETS])
    pictures = dict(thumbnails(manifest, sorted({row for rows in sheets.values() for row in rows})))
    count = f"{len(suspects):,} {'suspect' if len(suspects) == 1 else 'suspects'}"
    more = f", {MAX_SHEETS} of {len(chosen):,} sheets shown" if len(chosen) > MAX_SHEETS else ""
    return CheckPage(
        title=name,
        summary=(("images", f"{len(manifest):,}"), ("suspects", f"{len(suspects):,}")),
        warnings=(),
        suspicions=(),
        tables=(),
        sheets=tuple(
            Sheet(
                title,
                f"{sum(row in suspects for row in rows)} of {len(rows)} in doubt",
                tuple(
                    _captioned(pictures[row], suspects.get(row, ()))
                    for row in rows
                    if row in pictures
                ),
            )
            for title, rows in sheets.items()
        ),
        what="Label suspects",
        fine=count + more,
        origin=ORIGIN,
    )


def _by_group(
    suspects: Mapping[int, Sequence[Suspect]], manifest: Manifest
) -> dict[str, list[int]]:
    """For each group with suspects its rows, those in doubt first."""
    assert manifest.groups is not None
    rows_of: dict[str, list[int]] = collections.defaultdict(list)
    for row, group in enumerate(manifest.groups):
        rows_of[group].append(row)
    doubted = dict.fromkeys(manifest.groups[row] for row in suspects)
    return {
        group: sorted(rows_of[group], key=lambda row: (row not in suspects, row))[
            : max(MAX_PER_SHEET, sum(row in suspects for row in rows_of[group]))
        ]
        for group in doubted
    }


def _by_mistake(suspects: Mapping[int, Sequence[Suspect]]) -> dict[str, list[int]]:
    """For each pair of given and proposed value the rows with it."""
    rows_of: dict[str, list[int]] = collections.defaultdict(list)
    for row, found in suspects.items():
        rows_of[f"{found[0].given} → {found[0].proposed}"].append(row)
    return dict(rows_of)


def _captioned(picture: Picture, found: Sequence[Suspect]) -> Picture:
    """The picture with its file's name and what is in doubt as the caption."""
    name = os.path.basename(picture.caption)
    doubts = ", ".join(f"{suspect.given} → {suspect.proposed}?" for suspect in found)
    return dataclasses.replace(picture, caption=f"{name}: {doubts}" if doubts else name)
