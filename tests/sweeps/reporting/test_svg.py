"""SVG as text."""

import pytest

from sweeps.reporting.svg import Scale, cut, drawing, mark, short, tag


def test_texts_are_escaped_wherever_they_stand():
    nasty = "\"</text><script>'&"
    for markup in (drawing(nasty), mark(3, 1.0, 2.0, complete=True, text=nasty)):
        assert "<script" not in markup
        assert "&lt;script&gt;" in markup
    assert tag("rect", aria_label=nasty) == (
        '<rect aria-label="&quot;&lt;/text&gt;&lt;script&gt;&#x27;&amp;"/>'
    )


def test_an_attribute_of_none_is_left_out():
    assert tag("path", d="M0 0", data_t=None, class_="run") == '<path d="M0 0" class="run"/>'


@pytest.mark.parametrize("log", [False, True])
def test_a_larger_value_lies_nearer_the_end(log: bool):
    scale = Scale.over([0.001, 0.1], start=100, end=0, log=log)
    places = [scale.at(value) for value in (0.001, 0.01, 0.1)]
    assert places == sorted(places, reverse=True)
    assert all(0 < place < 100 for place in places)
    assert (abs(places[1] - 50) < 1e-6) == log


def test_what_is_beyond_an_axis_lies_at_its_end():
    scale = Scale(0.0, 1.0, 10, 110)
    assert (scale.at(-5), scale.at(7)) == (10, 110)


@pytest.mark.parametrize("log", [False, True])
def test_a_share_of_an_axis_has_a_value(log: bool):
    scale = Scale(0.001, 0.1, 30, 10, log)
    assert [scale.share(scale.value(share)) for share in (0, 0.3, 1)] == pytest.approx([0, 0.3, 1])
    assert scale.value(1) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("letters", "shown"),
    [(15, "efficientnet_b4"), (14, "efficie…net_b4"), (5, "ef…b4"), (3, "e…4"), (1, "e…4")],
)
def test_a_long_name_keeps_its_ends(letters: int, shown: str):
    assert cut("efficientnet_b4", letters) == shown


@pytest.mark.parametrize("values", [[], [0.5], [0.0], [0.3, 0.3]])
def test_an_axis_of_equal_values_has_a_length(values: list[float]):
    scale = Scale.over(values, start=0, end=100)
    assert scale.low < scale.high
    assert scale.ticks()


def test_ticks_are_round_and_within_the_axis():
    assert Scale(0.913, 0.997, 0, 1).ticks(most=5) == [0.92, 0.94, 0.96, 0.98]
    assert Scale(0.896, 0.998, 0, 1).ticks(most=5) == [0.9, 0.925, 0.95, 0.975]
    assert Scale(1e-6, 2.0, 0, 1, log=True).ticks(most=4) == [1e-6, 1e-4, 1e-2, 1]
    assert Scale(0.02, 0.9, 0, 1, log=True).ticks() == [0.02, 0.05, 0.1, 0.2, 0.5]
    assert Scale(0.3, 0.9, 0, 1, log=True).ticks(most=5) == [0.4, 0.6, 0.8]


def test_labels_are_short():
    assert [short(n) for n in (0.0, 1e-5, 2.5e-4, 0.25, 1e6)] == [
        "0",
        "1e-5",
        "2.5e-4",
        "0.25",
        "1e6",
    ]
