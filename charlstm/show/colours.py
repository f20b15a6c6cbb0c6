"""Values -> colours and digits: blue to red for what lies between -1 and 1, one hue for what lies between 0 and 1.

The colours are those of ColorBrewer (Brewer & Harrower 2013): RdBu, which red-green blindness leaves apart, and Greens.
"""

import functools
import math
from dataclasses import dataclass

Colour = tuple[int, int, int]
"""Red, green and blue, each 0 to 255 (sRGB)."""

_STEPS = 40
"""Between the two ends of a scale; finer ones cannot be told apart."""
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class Scale:
    """What the values between two bounds look like; values beyond them look like the bounds."""

    low: float
    high: float
    anchors: tuple[Colour, ...]
    """Colours at equal distances from `low` to `high`; between them, they are mixed."""

    def place(self, value: float) -> float:
        """Return where a value lies: 0 at the lower bound, 1 at the upper; in the middle if it is not a number."""
        if math.isnan(value):
            return 0.5
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def colour(self, value: float) -> Colour:
        """Return the colour of a value, one of _STEPS + 1."""
        return self._step(round(self.place(value) * _STEPS))

    def digit(self, value: float) -> str:
        """Return a digit, 0 to 9: of ten parts of equal size, the one in which the value lies."""
        return "?" if math.isnan(value) else str(min(9, int(self.place(value) * 10)))

    def colours(self) -> list[Colour]:
        """Return all colours, from the lower bound to the upper."""
        return [self._step(step) for step in range(_STEPS + 1)]

    @functools.lru_cache(maxsize=256)  # noqa: B019 (a scale is a constant)
    def _step(self, step: int) -> Colour:
        place = step / _STEPS * (len(self.anchors) - 1)
        at = min(int(place), len(self.anchors) - 2)
        share = place - at
        red, green, blue = (
            round(one + share * (other - one))
            for one, other in zip(self.anchors[at], self.anchors[at + 1], strict=True)
        )
        return red, green, blue


def _anchors(codes: str) -> tuple[Colour, ...]:
    """Return colours that are written as hexadecimal numbers."""
    found = [bytes.fromhex(code) for code in codes.split()]
    return tuple((red, green, blue) for red, green, blue in found)


SIGNED = Scale(-1, 1, _anchors("2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b"))
"""Blue at -1, white at 0, red at +1."""
UNSIGNED = Scale(0, 1, _anchors("f7fcf5 e5f5e0 c7e9c0 a1d99b 74c476 41ab5d 238b45 006d2c 00441b"))
"""White at 0, dark green at 1."""
_SIGNED = frozenset("cghn")


def scale_of(name: str) -> Scale:
    """Return the scale of a signal: tanh(c), h, g and n lie between -1 and 1, the other gates between 0 and 1."""
    return SIGNED if name in _SIGNED else UNSIGNED


def luminance(colour: Colour) -> float:
    """Return the relative luminance of a colour, 0 to 1 (WCAG 2.1)."""
    red, green, blue = (_linear(part / 255) for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    """Undo the gamma of sRGB."""
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.1)."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@functools.cache
def ink(paper: Colour) -> Colour:
    """Return black or white, whichever is easier to read on a colour; the contrast is never below 4.5."""
    return _BLACK if contrast(_BLACK, paper) >= contrast(_WHITE, paper) else _WHITE


@functools.cache
def style(paper: Colour, *, underlined: bool = False, few: bool = False) -> str:
    """Return the style for letters on a colour, as rich writes styles.

    Args:
        paper: the colour.
        underlined: whether the letters are.
        few: whether the terminal has 256 colours; the nearest of them is taken, and letters that are legible on it.
    """
    if few:
        from rich.color import Color, ColorSystem

        red, green, blue = Color.from_rgb(*paper).downgrade(ColorSystem.EIGHT_BIT).get_truecolor()
        paper = red, green, blue
    red, green, blue = ink(paper)
    letters = f"rgb({red},{green},{blue}) on rgb({paper[0]},{paper[1]},{paper[2]})"
    return f"{letters} underline" if underlined else letters
