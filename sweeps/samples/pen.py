"""Draws on a picture in units of a face, smoothly."""

import dataclasses

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw

Floats = npt.NDArray[np.float64]


Colour = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Pen:
    """A tool that draws shapes, which are given in face units.

    The `depth` of a shape is the share of the head's turn by which the shape moves. It is 1 for the
    nose.
    """

    draw: ImageDraw.ImageDraw
    centre: tuple[float, float]  # x, y in pixels
    unit: float  # pixels
    roll: float  # rotation of the head in the image; a small angle in radians
    turn: tuple[float, float]  # movement of the nose to the right and down, in face units

    def pixels(self, points: npt.ArrayLike, depth: float) -> list[tuple[int, int]]:
        """The points, given in face units, as whole pixels (x, y)."""
        x_N, y_N = (np.asarray(points, dtype=float) + np.multiply(self.turn, depth)).T * self.unit
        turned = (x_N - self.roll * y_N + self.centre[0], y_N + self.roll * x_N + self.centre[1])
        return list(zip(*(np.rint(axis_N).astype(int).tolist() for axis_N in turned), strict=True))

    def fill(self, points: npt.ArrayLike, colour: Colour | int, *, depth: float = 0) -> None:
        """Draw a filled polygon."""
        self.draw.polygon(self.pixels(points, depth), fill=colour)

    def oval(
        self,
        x: float,
        y: float,
        *,
        radii: tuple[float, float],
        colour: Colour | int,
        depth: float = 0,
    ) -> None:
        """Draw a filled ellipse around (x, y) with a horizontal and a vertical radius."""
        angles_N = np.arange(28) * (np.pi / 14)
        points_N2 = np.stack(
            [x + radii[0] * np.cos(angles_N), y + radii[1] * np.sin(angles_N)], axis=1
        )
        self.fill(points_N2, colour, depth=depth)

    def line(
        self, points: npt.ArrayLike, colour: Colour, *, width: float, depth: float = 1
    ) -> None:
        """Draw a line through the points; `width` is in face units, and at least a pixel."""
        pixels = max(1, round(width * self.unit))
        self.draw.line(self.pixels(points, depth), fill=colour, width=pixels, joint="curve")


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """A mixture of two colours.

    Args:
        share: the weight of the second colour, 0..1; the first colour has the weight 1 - share.

    Example:
        >>> mixed((0, 100, 200), (100, 100, 0), 0.25)
        (25, 100, 150)
    """
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
