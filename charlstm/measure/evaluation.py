"""All that `charlstm eval` measures: the text's score, and the reports that were asked for.

A new report is a file beside this one, its drawing in `show/reports.py`, and a line in REPORTS.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from charlstm.measure import read
from charlstm.measure.baselines import BaselinesReport
from charlstm.measure.by_character import FailuresReport
from charlstm.measure.by_label import ByLabelReport
from charlstm.measure.dynamic import DynamicReport
from charlstm.measure.novelty import NoveltyReport
from charlstm.measure.read import Reader
from charlstm.measure.report import Progress, Report, Subject, unwatched
from charlstm.measure.scoring import Measured, measured
from charlstm.network.device import in_fastest_threads

Bar = Callable[[str], AbstractContextManager[Progress]]
"""Shows how far something is, given what that is, in a word."""
REPORTS: dict[str, type[Report]] = {
    report.name: report for report in (ByLabelReport, DynamicReport, BaselinesReport, FailuresReport, NoveltyReport)
}
"""By name, in the order in which they are measured and shown."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured."""

    plain: Measured
    cold: int | None
    """The length of the windows that were read, each from a zero state, in ids; None if the state was carried."""
    found: Mapping[str, Any]
    """What each report found, by its name; None if it needs the training text, and that is missing."""


def begin(subject: Subject, names: Collection[str]) -> dict[str, Report | None]:
    """Return the reports of these names; None is one that needs the training text, if that is missing.

    Raises:
        UsageError: if a package is missing.
    """
    asked = {name: kind for name, kind in REPORTS.items() if name in names}
    return {
        name: None if kind.from_training and not kind.partial and subject.train is None else kind(subject)
        for name, kind in asked.items()
    }


def evaluate(
    subject: Subject,
    reports: Mapping[str, Report | None],
    cold: int | None = None,
    bar: Bar = lambda _: nullcontext(unwatched),
) -> Evaluation:
    """Score a text, and measure what else was asked for.

    Args:
        subject: the model and the text.
        reports: as `begin` returned them.
        cold: read windows of this many ids, each from a zero state.
        bar: shows how far each measurement is.
    """
    reader, text = Reader.of(subject.loaded), subject.text
    windows = in_fastest_threads(read.windows(reader, text, cold=cold), subject.threads, reader.device.name)
    ready = [report for report in reports.values() if report is not None]
    with bar("scoring") as progress:
        plain = measured(windows, text, reader.tokenizer, progress, ready)
    found: dict[str, Any] = {}
    for name, report in reports.items():
        if report is None:
            found[name] = None
        elif report.doing:
            with bar(report.doing) as progress:
                found[name] = report.measure(progress)
        else:
            found[name] = report.measure(unwatched)
    return Evaluation(plain, cold, found)
