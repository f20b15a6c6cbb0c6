"""Colours that everyone can tell apart, under letters that everyone can read."""

import itertools
import math

import numpy as np
import pytest
from rich.color import Color, ColorSystem
from rich.style import Style

from charlstm.show import colours
from charlstm.show.colours import SIGNED, UNSIGNED, Scale

# Machado, Oliveira & Fernandes 2009, severity 1.0; for linear RGB.
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3).tolist(),
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = XYZ @ np.ones(3)
APART = 25.0  # CIE 1976; 2.3 is just noticeable


def linear(colour: colours.Colour) -> np.ndarray:
    part = np.array(colour) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    ratio = XYZ @ np.clip(rgb, 0, 1) / WHITE
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: colours.Colour, other: colours.Colour) -> float:
    low, high = sorted(float(np.array([0.2126, 0.7152, 0.0722]) @ linear(each)) for each in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scale", [SIGNED, UNSIGNED])
def test_letters_are_legible_on_every_colour(scale: Scale) -> None:
    assert len(set(scale.colours())) > 30
    for colour in scale.colours():
        assert contrast(colour, colours.ink(colour)) >= 4.5
        assert colours.contrast(colour, colours.ink(colour)) == pytest.approx(contrast(colour, colours.ink(colour)))


@pytest.mark.parametrize("scale", [SIGNED, UNSIGNED])
def test_letters_are_legible_with_256_colours(scale: Scale) -> None:
    for colour in scale.colours():
        style = Style.parse(colours.style(colour, few=True))
        shown = [each.downgrade(ColorSystem.EIGHT_BIT) for each in (style.color, style.bgcolor) if each is not None]
        ink, paper = (tuple(each.get_truecolor()) for each in shown)
        assert contrast(ink, paper) >= 4.5, colour


def test_the_ends_are_also_apart_with_16_colours() -> None:
    shown = {Color.from_rgb(*SIGNED.colour(value)).downgrade(ColorSystem.STANDARD).number for value in (-1, 0, 1)}
    assert len(shown) == 3


@pytest.mark.parametrize("kind", BLIND)
def test_the_colour_blind_tell_the_ends_and_the_middle_apart(kind: str) -> None:
    seen = {value: lab(np.array(BLIND[kind]) @ linear(SIGNED.colour(value))) for value in (-1, -0.5, 0, 0.5, 1)}
    for one, other in ((-1, 0), (0, 1), (-1, 1), (-0.5, 0.5)):
        assert np.linalg.norm(seen[one] - seen[other]) > APART


@pytest.mark.parametrize("kind", BLIND)
def test_gates_are_darker_the_more_they_are_open(kind: str) -> None:
    light = [lab(np.array(BLIND[kind]) @ linear(UNSIGNED.colour(value)))[0] for value in np.linspace(0, 1, 11)]
    assert all(before > after for before, after in itertools.pairwise(light))


def test_digits() -> None:
    assert [SIGNED.digit(value) for value in (-9, -1, -0.81, -0.79, 0, 0.79, 0.81, 1, 9)] == list("000158999")
    assert [UNSIGNED.digit(value) for value in (0, 0.09, 0.11, 0.89, 0.91, 1)] == list("001899")
    assert SIGNED.digit(math.nan) == "?"
    assert SIGNED.colour(math.nan) == SIGNED.colour(0)
    assert SIGNED.colour(math.inf) == SIGNED.colour(1)


def test_scales_of_signals() -> None:
    assert all(colours.scale_of(name) is SIGNED for name in "cghn")
    assert all(colours.scale_of(name) is UNSIGNED for name in "iforz")
