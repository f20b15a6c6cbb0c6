"""How a run starts: from nothing, or with a trained model; `again.py` says how one is repeated or resumed."""

import dataclasses
import math
from collections.abc import Collection

from charlstm.config import RunConfig, flag
from charlstm.errors import DataError, InputOutputError, UsageError
from charlstm.network import device as devices
from charlstm.storage import loaded as opened
from charlstm.text.corpus import Corpus
from charlstm.training import calibration
from charlstm.training import origin as origins
from charlstm.training.calibration import Prepared
from charlstm.training.order import Order, Ready, about
from charlstm.training.origin import Base, Brought, trial
from charlstm.training.state import Training

_TRIAL_SECONDS, _TRIAL_SHARE = 8.0, 0.04  # of each of two ways to begin
_BARELY = 1.3  # times the n-grams' loss: a model that needs more may not be worth beginning with
_OFTEN = 2.0  # passes over a text from which on it is: the text is too short to teach all of that by itself
_HANDICAP = 0.4  # bits that the model must be ahead by after a trial: a run from nothing has more left to gain
_ENGLISH = "english"
_LEAST_ADVISED = 30.0  # seconds of a run for which a look at another way to begin is worth its time


def new(order: Order, config: RunConfig, given: Collection[str]) -> Ready:
    """Prepare a new run, with the recipe's choices for this text, time and machine.

    Args:
        order: what the user asked for.
        config: the settings, given or default.
        given: the names of the settings that the user set; these are not changed.

    Raises:
        DataError: if the text cannot be used, or is too short.
        InputOutputError: if a file is missing or cannot be read.
        UsageError: if the settings make no sense together, or this machine has no such processor.
    """
    if order.base is not None:
        return _from(order, Base(order.base, opened.load(order.base, order.run.folder.parent)), config, given)
    for name in ("keep", "drop_old_characters"):
        if getattr(config.train, name):
            raise UsageError(f"{flag(name)}: it is about the model given with --from; give both, or leave it out")
    corpus = order.load(config)
    ready = _planned(order, _prepared(order, config, given, corpus))
    return dataclasses.replace(ready, notes=(*ready.notes, *_advice(order, config, given, corpus)))


def _prepared(
    order: Order, config: RunConfig, given: Collection[str], corpus: Corpus, known: float | None = None
) -> Prepared:
    """Return a new run with the recipe's choices, not yet planned.

    Args:
        order: what the user asked for.
        config: the settings, given or default.
        given: the names of the settings that are not changed.
        corpus: the text.
        known: what a trained model knows of the text that it begins with (`recipe.most_epochs`); None: nothing.
    """
    order.tell("measuring this machine")
    return calibration.prepare(config, given, corpus, order.device, order.group, known)


def _planned(order: Order, prepared: Prepared) -> Ready:
    """Return a new run with as many steps as its time allows from now on."""
    training, corpus = prepared.training, prepared.corpus
    timed = calibration.make(
        training,
        corpus,
        training.config.train,
        order.device,
        order.began,
        most_epochs=prepared.most_epochs,
    )
    why = ""
    if order.device.precision == "auto" and devices.has_bf16(training.device.name):
        why = f"measured faster than {'fp32' if training.device.precision == 'bf16' else 'bf16'}"
    notes = (*prepared.notes, *about(corpus))
    return Ready(order.run, training, corpus, timed, why, tuple(prepared.choices), notes)


def _from(order: Order, base: Base, config: RunConfig, given: Collection[str]) -> Ready:
    """Return a new run that begins with a trained model."""
    if base.loaded.path.resolve().parent == order.run.folder.resolve():
        raise UsageError(
            f"--from {base.name}: the run would overwrite the model that it begins with; give another --name"
        )
    asked, config = config, base.settle(config, given)
    origin = base.origin  # now: a run that still trains may replace the file while the text is read
    corpus = order.load(config, inherited=base.inherited(characters=not config.train.drop_old_characters))
    corpus = order.beside(config, origin, corpus)
    order.tell(f"measuring what {base.name} knows of this text")
    moved = base.move(corpus.tokenizer)
    config = dataclasses.replace(config, model=moved.config)
    weights = base.weights(moved, corpus)
    found = order.group.agree(origins.brought(base, weights, moved, corpus))
    if found.useless and not asked.train.keep:
        if not order.rereadable:
            raise DataError(
                f"{_told(found)}: such a run begins from nothing, but a pipe cannot be read again; leave --from out, "
                "or give the text as a file"
            )
        ready = _planned(order, _prepared(order, asked, given, order.load(asked)))
        return dataclasses.replace(ready, notes=(f"{_told(found)}: this run begins from nothing", *ready.notes))
    prepared = _prepared(order, config, {*given, *origins.SHAPE}, corpus, found.known)
    prepared.training.begin_with(weights, origin)
    note = None
    if found.known >= _BARELY and prepared.epochs <= _OFTEN and not asked.train.keep and order.rereadable:
        # The machine has been measured already.
        measured = dataclasses.replace(order.device, precision=prepared.training.device.precision)
        quicker = dataclasses.replace(order, device=measured)
        from_nothing = _prepared(quicker, asked, given, order.load(asked))
        taken, note = _better(order, base, prepared, from_nothing)
        if taken is from_nothing:
            ready = _planned(order, _anew(order, taken))
            return dataclasses.replace(ready, notes=(note, *ready.notes))
        prepared = _anew(order, taken)
        prepared.training.begin_with(weights, origin)
    ready = _planned(order, prepared)
    return dataclasses.replace(
        ready,
        brought=found,
        choices=origins.explained(ready.choices, base),
        notes=ready.notes if note is None else (note, *ready.notes),
    )


def _anew(order: Order, prepared: Prepared) -> Prepared:
    """Return a run as it was before the first step."""
    training = prepared.training
    return dataclasses.replace(
        prepared, training=Training(training.config, prepared.corpus, training.device, order.group)
    )


def _told(found: Brought) -> str:
    """Return what a model knows of a text, in words."""
    loss, unigrams = found.loss / math.log(2), found.unigrams / math.log(2)
    new = f", and {found.share:.0%} of it are characters that are new to it" if found.new else ""
    return f"{found.name} needs {loss:.2f} bits per character of this text, its bare characters {unigrams:.2f}{new}"


def _better(order: Order, base: Base, with_base: Prepared, from_nothing: Prepared) -> tuple[Prepared, str]:
    """Return the run that promises more after a moment, with a trained model or from nothing; and what was found."""
    order.tell(f"comparing a start with {base.name} with one from nothing")
    limit = with_base.training.config.train.time
    seconds = _TRIAL_SECONDS if limit is None else min(_TRIAL_SECONDS, _TRIAL_SHARE * limit)
    bits = [trial(each.training, each.corpus, seconds) / math.log(2) for each in (with_base, from_nothing)]
    with_it, without = order.group.agree(bits)
    close = without - _HANDICAP < with_it <= without
    taken, way = (from_nothing, "from nothing") if close or with_it > without else (with_base, f"with {base.name}")
    return taken, (
        f"{base.name} knows little of this text; after {seconds:.0f} seconds of training, {with_it:.2f} bits per "
        f"character with it and {without:.2f} without: this run begins {way}"
        f"{', which gains more later' if close else ''}"
    )


def _advice(order: Order, config: RunConfig, given: Collection[str], corpus: Corpus) -> tuple[str, ...]:
    """Return a note if the pretrained model of English would help a run from nothing."""
    limit = config.train.time
    if limit is None or limit < _LEAST_ADVISED or {*given} & {"tokenizer", *origins.SHAPE}:
        return ()
    try:
        base = Base(_ENGLISH, opened.load(_ENGLISH, order.run.folder.parent))
    except (DataError, InputOutputError):
        return ()
    advice = origins.advice(base, corpus)
    return () if advice is None else (advice,)
