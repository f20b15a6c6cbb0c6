"""Reports as a person sees them: tables and charts that fit in 60 columns; and their rows of JSON.

Everything is made from the frozen dataclasses of `measure/`, on stdout.
"""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from charlstm.show.characters import BLANK, columns, fitted, in_brief, left, marked, right, wrapped
from charlstm.show.terminal import Output, say, table

if TYPE_CHECKING:
    from charlstm.measure.baselines import Baseline
    from charlstm.measure.by_character import Failures, Place
    from charlstm.measure.by_label import Voice
    from charlstm.measure.evaluation import Evaluation
    from charlstm.measure.novelty import Novelty
    from charlstm.measure.probe import ProbeStep, Recall
    from charlstm.measure.reach import Reach
    from charlstm.measure.scoring import Measured
    from charlstm.measure.structure import Band

_WIDTH = 60  # columns that every report fits in
_BEFORE, _HERE, _AFTER = 24, 4, 8  # columns of a surprising place
_CHART = 20  # columns
_EXAMPLE = 200  # characters


def evaluation(found: "Evaluation", head: Sequence[tuple[str, str]], device: str) -> None:
    """Print a text's score and all reports.

    Args:
        found: what was measured.
        head: what it was measured on, in names and values.
        device: where, in words.
    """
    score, seconds, cold = found.plain.score, found.plain.seconds, found.cold
    bits = score.bits_per_character
    rows = [
        *head,
        ("protocol", "carried: given all before it" if cold is None else f"cold: in windows of {cold:,} characters"),
        ("nats", f"{score.loss:.4f} per character"),
        ("bits", f"{bits:.4f} per character, {score.bits_per_byte:.4f} per byte"),
        ("interval", _interval(found.plain)),
        ("perplexity", f"{score.perplexity:.3f}"),
        ("characters", f"{score.characters:,}, {score.unknown:,} of them unknown"),
        ("speed", f"{score.characters / seconds:,.0f} characters per second, {device}"),
    ]
    own = [("this model", bits)]
    learnt: Measured | None = found.found.get("dynamic")
    if learnt is not None:
        less = learnt.score.bits_per_character
        rows += [
            ("dynamic", f"{less:.4f} bits per character, learning on: {less / bits - 1:+.1%}"),
            ("", f"interval {_interval(learnt)}; {learnt.seconds / seconds:.1f} times as long"),
        ]
        own.append(("this model, dynamic", less))
    table(rows, result=True)
    if found.found.get("baselines") is not None:
        baselines(own, found.found["baselines"])
    for name, draw in _DRAWN.items():
        if found.found.get(name) is not None:
            draw(found.found[name])


def evaluation_row(found: "Evaluation") -> dict[str, Any]:
    """Return everything as JSON has it."""
    score, cold = found.plain.score, found.cold
    row: dict[str, Any] = {"characters": score.characters, "bytes": score.bytes, **_ratios(found.plain)}
    row |= {"unknown": score.unknown, "protocol": "carried" if cold is None else f"cold {cold}"}
    row["seconds"] = round(found.plain.seconds, 6)
    return row | {name: None if it is None else _ROWS[name](it) for name, it in found.found.items()}


def _ratios(measured: "Measured") -> dict[str, Any]:
    score = measured.score
    return {
        "nats": score.nats,
        "bits_per_character": score.bits_per_character,
        "interval": None if measured.interval is None else [round(bound, 6) for bound in measured.interval],
        "bits_per_byte": score.bits_per_byte,
        "perplexity": score.perplexity if math.isfinite(score.perplexity) else None,
    }


def _interval(measured: "Measured") -> str:
    if measured.interval is None:
        return "none, the text is too short"
    return "{:.4f} to {:.4f} bits (95 %)".format(*measured.interval)


def reach_row(found: "Reach", bands: "Sequence[Band]") -> dict[str, Any]:
    """Return the reach of a model, and that on structure, as JSON has it."""
    return dataclasses.asdict(found) | {
        "enough": found.enough,
        "structure": [dataclasses.asdict(band) for band in bands],
    }


def reach(found: "Reach") -> None:
    """Print the loss by context as a table and a chart, and below it that of the n-grams, if there are any."""
    longest = found.rows[-1]
    most = max(mean.bits for mean in [*(row.loss for row in found.rows), *(found.ngrams or [])])
    lines = [
        "Bits per character, with 95 % intervals, of",
        f"{found.characters:,} characters of the text, each predicted from as many",
        "before it as the context says, and what is lost by stopping",
        "there.",
        "",
        "context     bits              lost",
    ]
    for row in found.rows:
        lost = "" if row is longest else f"{row.lost.bits:.4f} ±{row.lost.margin:.4f}"
        lines.append(
            f"{row.context:>7}   {row.loss.bits:.4f} ±{row.loss.margin:.4f}   {lost:<14}   {_bar(row.loss.bits / most)}"
        )
    gained = (
        f"Reading more than {found.enough} shows no measurable gain."
        if found.enough < longest.context
        else f"There is still something to gain at {longest.context}."
    )
    lines.append(gained)
    if found.ngrams is not None and found.best_order is not None:
        lines += ["", "Kneser-Ney n-grams of the training text, same characters:", "", "  order     bits"]
        for order, mean in enumerate(found.ngrams, 1):
            lines.append(f"{order:>7}   {mean.bits:.4f} ±{mean.margin:.4f}   {'':<14}   {_bar(mean.bits / most)}")
        less = found.ngrams[found.best_order - 1].bits - longest.loss.bits
        lines.append(f"The model needs {abs(less):.4f} bits {'less' if less >= 0 else 'more'} than the best of them.")
    _lines(lines)


def structure(bands: "Sequence[Band]", order: int | None) -> None:
    """Print how likely the right closing was, by kind and distance, beside the n-gram of this order, if any."""
    if not bands:
        return
    beside = "what it closes." if order is None else f"what it closes; beside it that of the {order}-gram."
    rows = [
        "",
        "Probability of the right closing, by the distance from",
        beside,
        "",
        f"closing   distance   count   model{'' if order is None else '   n-gram'}",
    ]
    for number, band in enumerate(bands):
        kind = band.kind if number == 0 or bands[number - 1].kind != band.kind else ""
        to = f"-{band.limit - 1}" if band.limit is not None else " on"
        ngram = "" if band.ngram is None else f"{band.ngram:>6.3f}   "
        rows.append(
            f"{kind:<7} {f'{band.least}{to}':>10}   {band.count:>5}   {band.model:>5.3f}   {ngram}{_bar(band.model)}"
        )
    _lines(rows)


def baselines(own: Sequence[tuple[str, float]], found: "Sequence[Baseline]") -> None:
    """Print what the model and others need for the same text, the worst first."""
    rows = [(name, "training", bits) for name, bits in own]
    rows += [
        (each.name, "training" if each.primed else "nothing", each.bits_per_character)
        for each in found
        if each.bits_per_character is not None
    ]
    most = max(bits for _, _, bits in rows)
    lines = [
        "",
        "Bits per character of this text, by what was known before:",
        "",
        f"{'':<24}{'known':<11}bits",
    ]
    for name, known, bits in sorted(rows, key=lambda row: -row[2]):
        lines.append(f"{name:<24}{known:<9}{bits:>6.3f}  {_bar(bits / most)}")
    # Those that know the training text may lack that; the others can only lack a package.
    absent = {each.name for each in found if each.bits_per_character is None and not each.primed}
    if absent:
        lines += ["", f"Not measured: {', '.join(sorted(absent))}; pip install 'charlstm[baselines]'"]
    _lines(lines)


def failures(found: "Failures") -> None:
    """Print the surprise by kind of character, the most surprising places, and the calibration."""
    total = sum(kind.bits for kind in found.kinds)
    dearest = max(kind.bits_per_character for kind in found.kinds)
    lines = ["", "By kind of character:", "", f"{'':<14}{'characters':>10}  bits each  of all"]
    for kind in found.kinds:
        each = kind.bits_per_character
        lines.append(
            f"{kind.name:<14}{kind.characters:>10,}{each:>11.3f}{kind.bits / total:>7.1%}  {_bar(each / dearest)}"
        )
    head = f"{'':<{_BEFORE}}  here  {'':<{_AFTER}}   bits  expected"
    lines += ["", "The most surprising places, and what was expected there:", "", head]
    lines += map(_place, found.places)
    lines += [
        "",
        f"The likeliest character comes {found.accuracy:.1%} of the time. By the",
        "probability it was given (|), how often it came (bar):",
        "",
        "given       count   given    came",
    ]
    for one in found.bins:
        mark = round(one.confidence * _CHART)
        drawn = "".join(
            "|" if number == mark else "█" if number < round(one.accuracy * _CHART) else " "
            for number in range(_CHART + 1)
        )
        lines.append(
            f"from {one.least:<4.0%}{one.count:>8,}{one.confidence:>8.1%}{one.accuracy:>8.1%}  {drawn.rstrip()}"
        )
    lines.append(f"Expected calibration error: {found.calibration_error:.2%}.")
    _lines(lines)


def _place(place: "Place") -> str:
    """Return a line for a surprising place; what does not fit is cut from the text before it."""
    here, before, after = marked(place.character), in_brief(place.before), in_brief(place.after)
    # Blanks beside the place would be taken for the gaps between the columns.
    inner = before.rstrip(" ")
    before = inner + BLANK * (len(before) - len(inner))
    inner = after.lstrip(" ")
    after = BLANK * (len(after) - len(inner)) + inner
    times = f"  x {place.times}" if place.times > 1 else ""
    expected = f"{place.bits:>6.1f}  {marked(place.expected)} {place.probability:.0%}{times}"
    rest = f"  {left(here, _HERE)}  {left(fitted(after, _AFTER), _AFTER)} {expected}"
    width = min(_BEFORE - max(0, columns(here) - _HERE), _WIDTH - columns(rest))
    return right(fitted(before, width, end=True), width) + rest


def voices(found: "Sequence[Voice]") -> None:
    """Print what a character of each label costs."""
    dearest = max(voice.bits_per_character for voice in found)
    lines = ["", "By label:", "", f"{'':<16}{'documents':>9}{'characters':>12}  bits each"]
    for voice in found:
        each, name = voice.bits_per_character, "(none)" if voice.label is None else in_brief(voice.label)
        lines.append(
            f"{left(fitted(name, 16), 16)}{voice.documents:>9,}{voice.characters:>12,}{each:>11.3f}  "
            f"{_bar(each / max(dearest, 1e-9))[:8]}"
        )
    _lines(lines)


def novelty(found: "Novelty") -> None:
    """Print what a sample has in common with the training text, and what held-out text has."""
    lines = [
        "",
        f"The longest span copied from the training text, in {found.passages:,}",
        f"passages of at most {found.length:,} characters:",
        "",
        f"{'':<16}median  9 of 10  longest  in spans of {found.least}+",
    ]
    for name, spans in (("this model", found.sampled), ("the text scored", found.held_out)):
        lines.append(
            f"{name:<16}{spans.median:>6.0f}{spans.percentile_90:>9.0f}{spans.longest:>9,}{spans.copied:>9.1%}"
        )
    lines += ["", "The model's longest:"]
    lines += [f"  {line}" for line in wrapped(marked(found.sampled.example[:_EXAMPLE]), _WIDTH - 2, cut=True)]
    _lines(lines)


def _failures_row(found: "Failures") -> dict[str, Any]:
    return dataclasses.asdict(found) | {"accuracy": found.accuracy, "calibration_error": found.calibration_error}


_DRAWN: dict[str, Callable[[Any], None]] = {"by_label": voices, "by_character": failures, "novelty": novelty}
"""How each report is drawn below the score; dynamic evaluation stands in its table, and the baselines beside both."""
_ROWS: dict[str, Callable[[Any], Any]] = {
    "by_label": lambda found: [
        dataclasses.asdict(each) | {"bits_per_character": each.bits_per_character} for each in found
    ],
    "dynamic": lambda found: _ratios(found) | {"seconds": round(found.seconds, 6)},
    "baselines": lambda found: [dataclasses.asdict(each) for each in found],
    "by_character": _failures_row,
    "novelty": dataclasses.asdict,
}
"""What each report is in JSON."""


def _lines(lines: Iterable[str]) -> None:
    output = Output()
    output.write("".join(line + "\n" for line in lines), drawn=True)
    output.flush()


def _bar(share: float) -> str:
    """Return a bar of at most 16 columns, drawn to an eighth of a column."""
    eighths = round(share * 16 * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


class ProbeView:
    """The table of recalls as it grows, on stdout; what is being trained, on stderr if that is a terminal."""

    def __init__(self, *, as_json: bool) -> None:
        """Nothing is drawn before the first record."""
        self._output = Output()
        self._as_json = as_json
        self._headed = self._marked = False
        self._status: Any = None

    def __enter__(self) -> "ProbeView":
        """Begin."""
        from tqdm import tqdm

        if sys.stderr is not None and sys.stderr.isatty():
            self._status = tqdm(file=sys.stderr, bar_format="{desc}", leave=False, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what is not the result, and say what the marks mean."""
        if self._status is not None:
            self._status.close()
        if self._marked:
            say("* chrono initialisation; gradient: before any training")

    def show(self, record: "ProbeStep | Recall") -> None:
        """Draw what happened."""
        from charlstm.measure.probe import Recall

        if isinstance(record, Recall):
            self._row(record)
        elif self._status is not None:
            self._status.set_description_str(
                f"{record.cell}, lag {record.lag}: step {record.step:,}, loss {record.loss:.3f}, {record.seconds:.0f} s"
            )

    def _row(self, row: "Recall") -> None:
        if self._status is not None:
            self._status.clear()
        if self._as_json:
            self._output.json(dataclasses.asdict(row))
            return
        if not self._headed:
            self._headed = True
            self._output.write("   lag  cell       recall  chance    steps  seconds gradient\n")
        self._marked |= row.chrono
        cell = row.cell + ("*" if row.chrono else "")
        self._output.write(
            f"{row.lag:>6}  {cell:<9} {row.recall:>7.1%} {row.chance:>7.1%} {row.steps:>8,} {row.seconds:>8.1f} "
            f"{row.gradient_norm:>8.0e}\n"
        )
        self._output.flush()
