"""SVG as text: elements, scales and the frame of a chart. The functions are pure.

Colours and strokes are classes, which `templates/charts.css` defines from the colours of the page.
Every text is escaped, because names of parameters, classes and trials come from the user.
"""

import dataclasses
import functools
import html
import importlib.resources
import math
from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 40  # margins for labels


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart of the page.

    Attributes:
        title: what it shows; a screen reader reads it.
        svg: the element `<svg>`.
        note: how to read it; may be empty.
        wide: whether it has a row of its own among charts that stand beside each other.
    """

    title: str
    svg: str
    note: str = ""
    wide: bool = False


def tag(name: str, *content: str, **attributes: object) -> str:
    """An element; `content` is markup, values of attributes are escaped and None leaves one out.

    An underscore at the end of a name is left out, the others become hyphens.

    Example:
        >>> tag("text", escape("a < b"), class_="tick", text_anchor="end", x=4.0)
        '<text class="tick" text-anchor="end" x="4">a &lt; b</text>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{''.join(content)}</{name}>" if content else f"<{name}{given}/>"


def escape(text: str) -> str:
    """The text as content or as the value of an attribute."""
    return html.escape(text)


def _text(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


@dataclasses.dataclass(frozen=True)
class Scale:
    """Where values lie between two ends of an axis.

    Attributes:
        low, high: the values at the ends; on a logarithmic axis above 0.
        start, end: the coordinates of the ends.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(
        cls, values: Sequence[float], *, start: float, end: float, log: bool = False
    ) -> "Scale":
        """The axis of finite values, a little longer than they reach."""
        low, high = min(values, default=0.0), max(values, default=1.0)
        log = log and low > 0
        if log:
            low, high = math.log(low), math.log(high)
        spare = 0.04 * (high - low) or 0.1 * abs(high) or 1.0
        low, high = low - spare, high + spare
        if log:
            low, high = math.exp(low), math.exp(high)
        return cls(low, high, start, end, log)

    def at(self, value: float) -> float:
        """The coordinate of a value; a value beyond an end lies at the end."""
        return self.start + self.share(value) * (self.end - self.start)

    def share(self, value: float) -> float:
        """Where a value lies between the ends, from 0 to 1."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def value(self, share: float) -> float:
        """The value that lies there.

        Example:
            >>> Scale(0.001, 0.1, 0, 100, log=True).value(0.5)
            0.01
        """
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)

    def ticks(self, *, most: int = 6) -> list[float]:
        """Round values within the ends, in rising order.

        Example:
            >>> Scale(0.0, 1.0, 0, 100).ticks(), Scale(5e-5, 2e-2, 0, 100, log=True).ticks()
            ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0001, 0.001, 0.01])
        """
        if self.log and self.high / self.low >= 100:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            step = math.ceil((last - first + 1) / most)
            return [10.0**power for power in range(first, last + 1, step)]
        if self.log and self.high / self.low >= 4:
            first = math.floor(math.log10(self.low))
            steps = [
                float(f"{one}e{power}") for power in range(first, first + 4) for one in (1, 2, 5)
            ]
            return [step for step in steps if self.low <= step <= self.high]
        raw = (self.high - self.low) / most
        size = 10 ** math.floor(math.log10(raw))
        factors = (1, 2, 2.5, 5, 10)
        step_size = next(size * factor for factor in factors if size * factor >= raw * 0.999)
        first = math.ceil(self.low / step_size - 1e-9)
        last = math.floor(self.high / step_size + 1e-9)
        return [float(f"{number * step_size:.12g}") for number in range(first, last + 1)]


def drawing(title: str, *content: str, height: float = HEIGHT, width: float = WIDTH) -> str:
    """The element `<svg>` with a title for screen readers."""
    return tag(
        "svg",
        tag("title", escape(title)),
        *content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=title,
    )


def standalone(chart: Chart) -> str:
    """The chart as the content of an SVG file, which has the light colours of the page in it."""
    begin, content = chart.svg.split(">", 1)
    return f"{begin}><style>{_style()}</style>{content}"


@functools.cache
def _style() -> str:
    templates = importlib.resources.files("sweeps") / "templates"
    colours, charts = ((templates / name).read_text() for name in ("light.css", "charts.css"))
    return f"{colours}\nsvg {{ background: var(--card); }}\n{charts}"


def axis_x(scale: Scale, *, y: float, label: str, top: float = TOP, counts: bool = False) -> str:
    """The ticks of a horizontal axis with lines up to `top`, and its label.

    Args:
        counts: whether only whole numbers from 0 have a meaning, e.g. as numbers of trials.
    """
    parts = [
        tag("path", d=f"M{scale.at(tick):.1f} {top:g}V{y:g}", class_="grid")
        + tag("text", escape(short(tick)), x=scale.at(tick), y=y + 15, class_="tick middle")
        for tick in scale.ticks()
        if not counts or (tick >= 0 and tick.is_integer())
    ]
    middle = (scale.start + scale.end) / 2
    return "".join(parts) + tag("text", escape(label), x=middle, y=y + 31, class_="label middle")


def axis_y(scale: Scale, *, left: float = LEFT, right: float = WIDTH - RIGHT) -> str:
    """The ticks of a vertical axis with lines from `left` to `right`."""
    return "".join(
        tag("path", d=f"M{left:g} {scale.at(tick):.1f}H{right:g}", class_="grid")
        + tag("text", escape(short(tick)), x=left - 6, y=scale.at(tick) + 4, class_="tick end")
        for tick in scale.ticks(most=5)
    )


def short(number: float) -> str:
    """A number as the label of a tick.

    Example:
        >>> short(0.0001), short(0.95), short(12_000.0)
        ('1e-4', '0.95', '12,000')
    """
    if number and not 1e-3 <= abs(number) < 1e6:
        mantissa, exponent = f"{number:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{number:,.6g}"


def counted(count: int, noun: str) -> str:
    """A number of things.

    Example:
        >>> counted(1, "trial"), counted(0, "trial")
        ('1 trial', '0 trials')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def cut(text: str, letters: int) -> str:
    """The text with its middle left out if it is longer; names often differ at their ends alone.

    Example:
        >>> cut("efficientnet_b4", 11), cut("sgd", 11)
        ('effic…et_b4', 'sgd')
    """
    if len(text) <= letters:
        return text
    last = max((letters - 1) // 2, 1)
    return f"{text[: max(letters - 1 - last, 1)]}…{text[-last:]}"


def mark(trial: int, x: float, y: float, *, complete: bool, text: str) -> str:
    """The point of a trial: filled if it is complete, hollow if it was pruned."""
    return tag(
        "circle",
        tag("title", escape(text)),
        cx=float(x),
        cy=float(y),
        r=4 if complete else 3,
        class_="done" if complete else "cut",
        data_t=trial,
    )


def line(points: Sequence[tuple[float, float]], *, class_: str, trial: int | None = None) -> str:
    """A line through points."""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return tag("path", d=path, class_=class_, data_t=trial)


def strength(value: float, low: float, high: float) -> float:
    """How strong the colour of a value is: 0 up to `low`, 1 from `high`.

    Example:
        >>> strength(3, 0, 4), strength(-1, 0, 4), strength(2, 2, 2)
        (0.75, 0.0, 0.5)
    """
    if high - low <= 1e-9 * abs(high):  # equal but for rounding
        return 0.5
    return min(max((value - low) / (high - low), 0.0), 1.0)


def quantiles(values: Sequence[float], *shares: float) -> list[float]:
    """Quantiles of values, for the ends of colour scales."""
    return [float(value) for value in np.quantile(np.array(values), shares)]
