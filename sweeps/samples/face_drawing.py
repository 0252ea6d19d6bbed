"""Draw a photo of a person with Pillow: head, clothes, mask, glasses, light and noise.

Face units: the centre of the head is (0, 0), the top of the skull is y = -1 and the chin is y = 1.
x grows to the right.
"""

import dataclasses

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from sweeps.samples.pen import Colour, Floats, Pen, mixed

WORN = ("mask1", "mask2", "mask3", "mask4", "mask5")


PHOTOS = (*WORN, "incorrect_mask", "normal")


FABRICS: tuple[tuple[str, Colour], ...] = (
    ("pleats", (168, 206, 226)),
    ("seam", (236, 236, 234)),
    ("plain", (42, 43, 48)),
    ("plain", (206, 160, 168)),
    ("dots", (72, 96, 128)),
)


WEARINGS = {  # heights of the upper and the lower edge of the mask
    "right": (0.1, 1.08),
    "nose free": (0.43, 1.1),
    "chin": (0.77, 1.24),
    "eyes": (-0.42, 0.22),
}


# Lines on the right side of the face: beside the mouth, under the eye, two beside the eye and two
# on the forehead.
WRINKLES = (
    ((0.17, 0.3), (0.3, 0.46), (0.33, 0.64)),
    ((0.21, 0.06), (0.31, 0.09), (0.43, 0.06)),
    ((0.5, -0.08), (0.6, -0.13)),
    ((0.5, -0.04), (0.61, -0.03)),
    ((0, -0.42), (0.3, -0.4)),
    ((0, -0.52), (0.3, -0.5)),
)


SHADE_PX = 128  # longer side of the light map; the map is blurred, so more pixels would not show


@dataclasses.dataclass(frozen=True)
class Appearance:
    """The appearance of one person in all photos. Lengths are in face units, amounts in 0..1."""

    gender: str
    race: str
    age: int
    skin: Colour
    hair: Colour
    lips: Colour
    clothes: Colour
    trim: Colour
    wall: Colour
    door: tuple[float, float]  # left and right edge of a door behind the person, in image widths
    width: float  # half of the head's width
    jaw: float  # width of the chin divided by the chin width of an oval head
    eye: float  # half of an eye's width
    nose: float  # half of the nose's width
    mouth: float  # half of the mouth's width
    brow: float  # thickness of an eyebrow
    hair_length: float  # 0: the hair ends above the ears; 1: on the chest
    hairline: float  # y of the hair's edge in the middle of the forehead
    parting: float  # x of the hair's parting
    wrinkles: float
    beard: float
    glasses: bool
    collar: str
    sun: float  # grey levels by which a photo's right edge is lighter than its middle

    def half_width(self, y: npt.ArrayLike) -> Floats:
        """Half of the head's width at the heights y."""
        y_N = np.asarray(y, dtype=float)
        oval_N = np.maximum(0, 1 - np.abs(y_N) ** 2.4) ** 0.46
        return np.asarray(self.width * oval_N * (1 - (1 - self.jaw) * np.maximum(y_N, 0) ** 1.5))


def take_photo(
    looks: Appearance, photo: str, *, size_HW: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """Draw one photo of a person. Pose, mask, light and noise are drawn from `rng`.

    Args:
        photo: one of `PHOTOS`; "normal" has no mask, and each of `WORN` has a mask worn correctly.
    """
    height, width = size_HW
    # The photo is drawn at several times its size and then averaged, which makes edges smooth.
    finer = 4 if max(size_HW) < 256 else 2 if max(size_HW) < 1536 else 1
    canvas = Image.new("RGB", (width * finer, height * finer), looks.wall)
    smaller = SHADE_PX / max(size_HW)
    shade = Image.new("L", (max(2, round(width * smaller)), max(2, round(height * smaller))), 128)
    pose = rng.uniform(-1, 1, 6)
    pen, shade_pen = (pen_for(image, pose) for image in (canvas, shade))
    _draw_behind(pen, looks, shift=pose[0] * 0.03)
    _draw_head(pen, looks)
    _draw_features(pen, looks, smile=rng.uniform(-0.03, 0.08))
    if photo != "normal":
        wearing = (
            "right"
            if photo in WORN
            else str(rng.choice([name for name in WEARINGS if name != "right"]))
        )
        _draw_mask(pen, looks, wearing=wearing, rng=rng)
    if looks.glasses:
        _draw_glasses(pen, looks)
    _draw_shade(shade_pen, looks)
    return _expose(canvas.reduce(finer), shade, sun=looks.sun + rng.uniform(-6, 6), rng=rng)


def pen_for(image: Image.Image, pose: Floats) -> Pen:
    unit = min(image.height, image.width * 4 / 3) * (0.265 + 0.018 * pose[2])
    centre = (image.width / 2 + 0.2 * unit * pose[0], image.height * 0.46 + 0.15 * unit * pose[1])
    return Pen(
        ImageDraw.Draw(image),
        centre,
        unit,
        roll=0.07 * pose[3],
        turn=(0.1 * pose[4], 0.05 * pose[5]),
    )


def _draw_behind(pen: Pen, looks: Appearance, *, shift: float) -> None:
    """Draw what is behind the head: the door in the wall, clothes, long hair and neck."""
    width, height = pen.draw.im.size
    left, right = (round((edge + shift) * width) for edge in looks.door)
    pen.draw.rectangle(
        (left, round(height * 0.12), right, height), fill=mixed(looks.wall, looks.trim, 0.35)
    )
    sides = np.array([[0.2, 1.05], [0.42, 1.3], [1.05, 1.48], [1.36, 1.75], [1.5, 2.6], [1.6, 30]])
    pen.fill(np.concatenate([sides, sides[::-1] * (-1, 1)]), looks.clothes, depth=-1)
    if looks.hair_length > 0.3:
        end = 0.3 + 1.5 * looks.hair_length
        y_N = (end - 1.12) / 2 - (end + 1.12) / 2 * np.cos(np.linspace(0, np.pi, 40))
        round_N = (1 - np.minimum(y_N / 1.12, 0) ** 2) * np.minimum(1, (end - y_N) / 0.3)
        x_N = looks.width * (1.24 - 0.05 * y_N) * np.maximum(round_N, 0) ** 0.5
        pen.fill(_mirrored(x_N, y_N), mixed(looks.hair, (0, 0, 0), 0.15))
    pen.fill(
        [(-0.36, 0.5), (0.36, 0.5), (0.4, 1.34), (0, 1.62), (-0.4, 1.34)],
        mixed(looks.skin, (60, 20, 10), 0.12),
    )
    if looks.collar != "round":
        pen.fill(
            [(-0.38, 1.3), (0.38, 1.3), (0, 1.95)], mixed(looks.skin, (60, 20, 10), 0.06), depth=-1
        )
    if looks.collar == "shirt":
        for side in (-1, 1):
            pen.fill(
                [(side * 0.36, 1.2), (side * 0.62, 1.5), (side * 0.3, 1.95), (0, 1.7)],
                looks.trim,
                depth=-1,
            )


def _draw_head(pen: Pen, looks: Appearance) -> None:
    """Draw the ears, the head and the hair on the head."""
    for side in (-1, 1):
        pen.oval(
            side * looks.width,
            0.08,
            radii=(0.1, 0.2),
            colour=mixed(looks.skin, (120, 40, 20), 0.15),
            depth=-0.3,
        )
    y_N = -np.cos(np.linspace(0, np.pi, 26))
    pen.fill(_mirrored(looks.half_width(y_N), y_N), looks.skin)
    # the height at which the hair in front of the ears ends
    side_y = -0.1 + 0.3 * min(1, 2 * looks.hair_length)
    outer_N = side_y - (1 + side_y) * np.sin(np.linspace(0, np.pi / 2, 24))
    across_N = np.linspace(-1, 1, 25)
    x_N = looks.half_width(outer_N) * 1.1 + 0.02
    edge_N = looks.hairline + (side_y - looks.hairline) * np.abs(across_N) ** 5
    edge_N -= 0.12 * np.exp(-(((across_N - looks.parting) / 0.22) ** 2))
    inner_N2 = np.stack([across_N * looks.half_width(edge_N) * 1.01, edge_N], axis=1)
    outer_N2 = np.stack([x_N, outer_N - 0.1 * (side_y - outer_N)], axis=1)
    pen.fill(np.concatenate([inner_N2, outer_N2, (outer_N2 * (-1, 1))[::-1]]), looks.hair)
    shine = mixed(looks.hair, (255, 255, 255), 0.1)
    for x in (-0.5, -0.3, 0.3, 0.5):
        strand = [
            (looks.parting * 0.6 + x * 0.2, -1.02),
            (x * 0.8, -0.93),
            (x * 1.15, looks.hairline - 0.06),
        ]
        pen.line(strand, shine, width=0.02, depth=0.2)


def _draw_features(pen: Pen, looks: Appearance, *, smile: float) -> None:
    """Draw the eyes, brows, nose, wrinkles, beard and mouth."""
    dark = mixed(looks.skin, (50, 10, 0), 0.34)
    for side in (-1, 1):
        _draw_eye(pen, looks, x=side * 0.31)
        nose = side * looks.nose
        pen.line([(nose * 0.9, 0.24), (nose, 0.32), (nose * 0.7, 0.36)], dark, width=0.022)
        pen.oval(
            nose * 0.55,
            0.335,
            radii=(nose * 0.26, 0.026),
            colour=mixed(dark, (40, 0, 0), 0.4),
            depth=1,
        )
        brow_N2 = np.array([(0.14, -0.24), (0.31, -0.29), (0.51, -0.24)]) * (side, 1)
        pen.line(brow_N2, mixed(looks.hair, dark, 0.25), width=looks.brow, depth=0.8)
        for wrinkle in WRINKLES if looks.wrinkles else ():
            pen.line(
                np.array(wrinkle) * (side, 1),
                mixed(looks.skin, dark, looks.wrinkles),
                width=0.02,
                depth=0.8,
            )
    if looks.beard:
        _draw_beard(pen, looks)
    across_N = np.linspace(-1, 1, 11)
    x_N = looks.mouth * across_N
    middle_N = 0.58 - smile * across_N**2
    middle_N2 = np.stack([x_N, middle_N], axis=1)
    for bow, colour in ((-0.055, mixed(looks.lips, (60, 0, 0), 0.15)), (0.08, looks.lips)):
        lip_N2 = np.stack([x_N, middle_N + bow * (1 - across_N**2)], axis=1)
        pen.fill(np.concatenate([middle_N2, lip_N2[::-1]]), colour, depth=0.9)
    pen.line(middle_N2, mixed(looks.lips, (40, 0, 0), 0.55), width=0.02, depth=0.9)


def _draw_beard(pen: Pen, looks: Appearance) -> None:
    """Draw a beard from the ears to below the nose, over the wrinkles."""
    across_N = np.linspace(-1, 1, 21)
    jaw_y_N = np.sin(np.linspace(0.1, np.pi / 2, 16))
    edge_N = 0.43 + 0.14 * (np.abs(across_N) - 0.45).clip(0) - 0.47 * np.abs(across_N) ** 6
    edge_N2 = np.stack([across_N * looks.half_width(edge_N) * 0.99, edge_N], axis=1)
    jaw_N2 = _mirrored(looks.half_width(jaw_y_N) * 0.99, jaw_y_N)
    pen.fill(np.concatenate([edge_N2, jaw_N2]), mixed(looks.skin, looks.hair, looks.beard))


def _draw_eye(pen: Pen, looks: Appearance, *, x: float) -> None:
    across_N = np.linspace(-1, 1, 9)
    lid_N2 = np.stack([x + looks.eye * across_N, -0.06 - 0.07 * (1 - across_N**2)], axis=1)
    pen.oval(x, -0.06, radii=(looks.eye, 0.062), colour=(240, 238, 234), depth=0.8)
    pen.oval(x, -0.065, radii=(0.064, 0.064), colour=(62, 40, 28), depth=0.95)
    pen.oval(x + 0.018, -0.085, radii=(0.016, 0.016), colour=(250, 250, 250), depth=0.95)
    pen.line(lid_N2, (46, 32, 30), width=0.034, depth=0.8)


def _draw_mask(pen: Pen, looks: Appearance, *, wearing: str, rng: np.random.Generator) -> None:
    """Draw a mask with its ear loops and the pattern of its fabric.

    Args:
        wearing: a key of `WEARINGS`, which gives the heights of the mask's edges.
    """
    pattern, colour = FABRICS[rng.integers(len(FABRICS))]
    cloth = mixed(colour, any_colour(rng), rng.uniform(0, 0.18))
    fold = mixed(cloth, (70, 76, 90), 0.22)
    white = mixed(cloth, (255, 255, 255), 0.6)
    top, bottom = WEARINGS[wearing] + rng.uniform(-0.025, 0.025, 2)
    across_N = np.linspace(-1, 1, 17)
    tilt = rng.uniform(-0.03, 0.03)

    def level(share: float) -> Floats:
        """Points from left to right; share 0 is the mask's upper edge, share 1 its lower edge."""
        y_N = top + share * (bottom - top) + across_N * tilt + across_N**2 * (0.12 - 0.34 * share)
        x_N = across_N * looks.half_width(np.minimum(y_N, 0.8)) * (0.97 + 0.03 * share)
        return np.stack(
            [x_N, y_N - 0.06 * (1 - share) * np.maximum(0, 1 - 3 * np.abs(across_N))], axis=1
        )

    for corner, ear_y in ((level(0), -0.06), (level(1), 0.22)):
        for end in (0, -1):
            ear_x = np.sign(corner[end, 0]) * (looks.width + 0.03)
            pen.line(
                [corner[end], (ear_x, ear_y)],
                mixed(cloth, (245, 245, 245), 0.7),
                width=0.028,
                depth=0.2,
            )
    pen.fill(
        np.concatenate([level(0), level(0.5)[-1:], level(1)[::-1], level(0.5)[:1]]),
        cloth,
        depth=0.35,
    )
    for share in {"pleats": (0.3, 0.5, 0.7), "seam": (0.3, 0.72)}.get(pattern, ()):
        pen.line(level(share), fold, width=0.022, depth=0.35)
    if pattern == "plain":
        pen.line([level(share)[8] for share in (0, 0.35, 0.7, 1)], fold, width=0.024, depth=0.35)
    for share in (0.2, 0.4, 0.6, 0.8) if pattern == "dots" else ():
        for x, y in level(share)[2:-2:3]:
            pen.oval(x, y, radii=(0.035, 0.035), colour=white, depth=0.35)
    pen.line(level(0.02), mixed(cloth, (255, 255, 255), 0.35), width=0.03, depth=0.35)


def _draw_glasses(pen: Pen, looks: Appearance) -> None:
    angles_N = np.arange(25) * (np.pi / 12)
    frame = mixed((30, 28, 30), looks.trim, 0.2)
    for side in (-1, 1):
        rim_N2 = np.stack(
            [side * 0.31 + 0.24 * np.cos(angles_N), -0.04 + 0.18 * np.sin(angles_N)], axis=1
        )
        pen.line(rim_N2, frame, width=0.028, depth=0.95)
        pen.line(
            [(side * 0.55, -0.06), (side * (looks.width + 0.02), -0.08)],
            frame,
            width=0.028,
            depth=0.5,
        )
    pen.line([(-0.08, -0.06), (0, -0.09), (0.08, -0.06)], frame, width=0.028, depth=0.95)


def _draw_shade(pen: Pen, looks: Appearance) -> None:
    """Draw shadow and light that make the head look round, as grey levels around 128."""
    bright = 1 if looks.sun > 0 else -1
    pen.fill([(-0.5, 0.8), (0.5, 0.8), (0.42, 1.3), (-0.42, 1.3)], 92)
    pen.oval(0, 0, radii=(looks.width, 1), colour=118)
    pen.oval(bright * 0.1, -0.05, radii=(looks.width * 0.8, 0.86), colour=136, depth=0.5)
    pen.oval(bright * 0.34, 0.2, radii=(0.2, 0.22), colour=146, depth=0.7)
    for side in (-1, 1):
        pen.oval(side * 0.31, -0.12, radii=(0.2, 0.1), colour=122, depth=0.8)
    pen.fill([(-0.05, -0.1), (0.05, -0.1), (0.1, 0.28), (-0.1, 0.28)], 150, depth=1)
    pen.fill([(-bright * 0.06, -0.05), (-bright * 0.2, 0.36), (-bright * 0.04, 0.42)], 112, depth=1)


def _expose(
    photo: Image.Image, shade: Image.Image, *, sun: float, rng: np.random.Generator
) -> Image.Image:
    """Add light, shadow and noise; only integers are used, so every machine rounds the same."""
    exposure = 118 + rng.integers(-10, 11)
    slope_HW = np.rint(
        [[exposure + 6 - sun, exposure + 6 + sun], [exposure - 6 - sun, exposure - 6 + sun]]
    )
    corners = Image.fromarray(slope_HW.astype(np.uint8))
    slope = corners.resize(shade.size, Image.Resampling.BILINEAR, box=(0.5, 0.5, 1.5, 1.5))
    light = ImageChops.add(
        shade.filter(ImageFilter.GaussianBlur(SHADE_PX / 50)), slope, offset=-128
    )
    light_HW1 = np.asarray(light.resize(photo.size, Image.Resampling.BILINEAR), dtype=np.uint16)[
        :, :, None
    ]
    pixels_HWC = np.asarray(photo) * light_HW1  # at most 255 * 255, which fits into 16 bits
    pixels_HWC >>= 7
    pixels_HWC += (
        np.frombuffer(rng.bytes(pixels_HWC.size), dtype=np.uint8).reshape(pixels_HWC.shape) >> 4
    )
    return Image.fromarray(np.minimum(pixels_HWC, 255, out=pixels_HWC).astype(np.uint8))


def _mirrored(x_N: Floats, y_N: Floats) -> Floats:
    """A symmetric outline, from the points of its right side."""
    right_N2 = np.stack([x_N, y_N], axis=1)
    return np.concatenate([right_N2, right_N2[::-1] * (-1, 1)])


def any_colour(rng: np.random.Generator) -> Colour:
    """A random colour that is neither near black nor near white."""
    red, green, blue = rng.integers(30, 230, 3).tolist()
    return red, green, blue
