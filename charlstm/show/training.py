"""Shows a run to a person: what is trained on which text, how it is going, how it ended and what to do next."""

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlstm.shell import command, quoted
from charlstm.show import terminal
from charlstm.show.characters import fitted, printable

if TYPE_CHECKING:
    from charlstm.training.order import Ready
    from charlstm.training.origin import Brought
    from charlstm.training.plan import Decision, Plan
    from charlstm.training.records import Evaluation, Finished, Progress, Record

_LINE_SECONDS = 10.0  # seconds between lines, if there is no terminal to draw a bar on


def duration(seconds: float) -> str:
    """Return a time as `1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def spoken(seconds: float) -> str:
    """Return a time as `10 s` if it is less than a minute, otherwise as `2:03` or `1:02:03`."""
    return f"{seconds:.0f} s" if seconds < 59.5 else duration(seconds)


class TrainingView:
    """Shows a bar on a terminal, or a plain line from time to time elsewhere; and the evaluations."""

    def __init__(self, plan: "Plan", step: int) -> None:
        """Begin at a step of a plan."""
        from tqdm import tqdm

        self.plan = plan
        """The length of the run, as decided so far."""
        self.finished: Finished | None = None
        """How the run ended; None until it has."""
        self._threads = plan.at(step).threads
        self._console = terminal.stderr()
        self._began = self._lined = time.monotonic()
        self._first = step
        self._bar: Any = None
        self._headed = False
        if self._console.is_terminal:
            self._bar = tqdm(
                total=plan.steps,
                initial=step,
                file=sys.stderr,
                dynamic_ncols=True,
                smoothing=0,  # the time of evaluations is spread over the steps, so that the ETA includes them
                bar_format="{percentage:3.0f}% {bar} {elapsed}<{remaining}{postfix}",
                leave=False,
            )

    def __enter__(self) -> "TrainingView":
        """Return the view; nothing is drawn before the first record."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def show(self, record: "Record") -> None:
        """Show a record."""
        from charlstm.training.plan import Decision
        from charlstm.training.records import Evaluation, Finished, Halved, Progress, Unsaved

        if isinstance(record, Finished):
            self.finished = record
        elif isinstance(record, Progress):
            self._progress(record)
        elif isinstance(record, Decision):
            self._decision(record)
        elif isinstance(record, Evaluation):
            self._evaluation(record)
        elif isinstance(record, Halved):
            self._note(
                f"step {record.step:,} was undone because its loss was not finite; "
                "the learning rate is halved from here on"
            )
        elif isinstance(record, Unsaved):
            self._note(f"not saved at step {record.step:,}; will try again later: {record.reason}")

    def _decision(self, record: "Decision") -> None:
        self.plan = self.plan.then(record)
        if self._bar is not None:
            self._bar.total = record.steps
        if record.threads not in {None, self._threads}:
            if self._threads is not None:
                self._note(f"using {record.threads} of the threads from step {record.step:,} on: now the fastest")
            self._threads = record.threads

    def _note(self, message: str) -> None:
        if self._bar is not None:
            self._bar.clear()
        terminal.warn(message)
        if self._bar is not None:
            self._bar.refresh()

    def _progress(self, record: "Progress") -> None:
        speed = record.characters / max(record.seconds, 1e-9)
        numbers = f"loss {record.loss:.3f} bpc {record.loss / math.log(2):.3f} {_thousands(speed)} ch/s"
        if self._bar is not None:
            self._bar.set_postfix_str(numbers, refresh=False)
            self._bar.update(record.step - self._bar.n)
            return
        now = time.monotonic()
        if now - self._lined >= _LINE_SECONDS:
            self._lined = now
            left = (now - self._began) / max(1, record.step - self._first) * (self.plan.steps - record.step)
            share = record.step / self.plan.steps
            terminal.say(f"step {record.step:,}/{self.plan.steps:,} {share:4.0%} {numbers} eta {duration(left)}")

    def _evaluation(self, record: "Evaluation") -> None:
        mark = " *" if record.improved else ""
        if self._bar is not None:
            self._bar.clear()
        if not self._headed:
            self._headed = True
            self._console.print("[dim]   step  epoch   train  held-out     bpc   time (* best)[/]")
        bpc = record.val_loss / math.log(2)
        self._console.print(
            f"{record.step:>7,} {record.epoch:>6.2f} {record.train_loss:>7.4f} [bold]{record.val_loss:>9.4f}[/] "
            f"{bpc:>7.4f} {duration(record.seconds):>6}{mark}",
            highlight=False,
        )
        width = max(20, self._console.width - 10)
        for line in printable(record.sample).strip("\n").splitlines()[:3]:
            terminal.draw(self._console, (f"        {fitted(line, width)}".rstrip(), "dim"))
        if self._bar is not None:
            self._bar.refresh()


def describe(ready: "Ready", *, verbose: bool) -> None:
    """Say what is trained on which text, for how long, and which settings were chosen."""
    from charlstm.network.device import threads
    from charlstm.training.calibration import too_short

    for line in ready.notes:
        terminal.warn(line)
    training, corpus, plan = ready.training, ready.corpus, ready.timed.plan
    config, device, tokenizer = training.config, training.device, corpus.tokenizer
    framed = tokenizer.end_id is not None
    many = corpus.train.documents
    documents = f" in {many:,} {'document' if many == 1 else 'documents'}" if framed else ""
    ends = ", counting each document's end as a character" if framed else ""
    labels = f"; {len(tokenizer.labels):,} labels" if tokenizer.labels else ""
    rows = [
        ("run", str(ready.run.folder)),
        (
            "text",
            f"{corpus.train.characters:,} characters{documents} to learn from, {corpus.val.characters:,} held out, "
            f"vocabulary of {tokenizer.vocab_size:,}{ends}{labels}",
        ),
        ("model", f"{config.model.words}, {training.parameters / 1e6:.2f} M parameters"),
        *([("from", _brought(ready.brought))] if ready.brought is not None else []),
        ("length", _length(ready)),
    ]
    if plan.part is not None:
        end = ", and on all of them at the end" if plan.whole else ""
        rows.append(("measured", f"on about {plan.part:,} of the held-out characters, always the same ones{end}"))
    counted = f", {threads()} {'thread' if threads() == 1 else 'threads'}" if device.name == "cpu" else ""
    remark = _remark(ready)
    rows.append(("device", f"{device.name}, {device.precision}{counted}, seed {config.train.seed}{remark}"))
    rows += [(choice.name, choice.words) for choice in ready.choices if verbose or choice.matters]
    terminal.table(rows)
    if ready.brought is None and (note := too_short(plan, training)):
        terminal.warn(note)


def _brought(brought: "Brought") -> str:
    """Return what a model knows of the text before any training on it, in words."""
    loss, unigrams, ngrams = (nats / math.log(2) for nats in (brought.loss, brought.unigrams, brought.ngrams))
    characters = "character" if brought.new == 1 else "characters"
    new = f"; {brought.new:,} {characters} new to it ({brought.share:.1%} of the text)" if brought.new else ""
    return (
        f"{quoted(brought.name)} (step {brought.step:,}), which needs {loss:.2f} bits per held-out character before "
        f"any training; n-grams of this text need {ngrams:.2f}, its characters alone {unigrams:.2f}{new}"
    )


def _remark(ready: "Ready") -> str:
    at = ready.training.at
    remark = f"going on from step {at.step:,}, {spoken(at.seconds)} so far" if ready.resumed else ready.remark
    return f" ({remark})" if remark else ""


def _length(ready: "Ready") -> str:
    """Return the length of a run, in words."""
    training, plan = ready.training, ready.timed.plan
    left, windows, limit = plan.steps - training.step, training.batches.windows, training.config.train.time
    steps = f"{plan.steps:,} {'step' if plan.steps == 1 else 'steps'}, {plan.steps / windows:.1f} epochs"
    if limit is None or (training.step and not ready.longer):
        return steps
    if training.step:
        return f"{spoken(limit)} more, {spoken(training.at.seconds)} so far: about {left:,} more steps"
    if ready.timed.most_steps is not None and plan.steps >= ready.timed.most_steps:
        return f"{steps}, in {spoken(limit)} at most: with more, it would only memorise the text"
    return f"{spoken(limit)}: about {steps}"


def conclude(ready: "Ready", finished: "Finished", plan: "Plan") -> None:
    """Say how the run ended, how good the result is, and what to do next."""
    from charlstm.training.plan import in_two_numbers

    at, folder, loss = ready.training.at, ready.run.folder, finished.best_loss
    steps = f"step {finished.step:,} of {plan.steps:,}"
    reasons = {
        "done": f"all steps done ({steps})",
        "patience": f"no better held-out loss in {at.misses} measurements ({steps})",
        "deadline": f"the time is up ({steps}); this machine became too slow for a last measurement",
        "stopped": f"stopped and saved ({steps})",
    }
    rows = [("end", reasons[finished.reason])]
    if loss is None:
        rows.append(("held-out", "not measured yet; the command below does it"))
    else:
        characters = ready.corpus.val.characters
        part = f" of {characters:,}" if finished.scored != characters else ""
        scored = f", on {finished.scored:,}{part} characters" if finished.scored is not None else ""
        value = f"{loss:.4f} nats, {loss / math.log(2):.4f} bits per character (step {finished.best_step:,}{scored})"
        rows.append(("held-out", value))
    last = plan.at(finished.step)
    if finished.reason == "done" and last.fall is not None and ready.training.config.train.time is not None:
        again = f"--steps {last.steps} --fall {last.fall}"
        if not in_two_numbers(ready.training.config.train, plan):
            again = f"bent by the clock: --repeat {folder.name}"
        rows.append(("rate", f"fell from step {last.steps - last.fall:,} on ({again})"))
    rows.append(("trained", f"{at.characters:,} characters in {spoken(at.seconds)}"))
    terminal.table(rows)
    plain = folder.parent == Path("checkpoints")
    name = folder.name if plain else str(ready.run.last if loss is None else ready.run.best)
    resume: dict[str, str | bool | None] = {
        "resume": True,
        "name": folder.name,
        "checkpoints": None if plain else str(folder.parent),
        "time": None if finished.reason == "stopped" else "10m",
    }
    terminal.commands(
        [
            ("sample", command("sample", name)),
            ("evaluate", command("eval", name)),
            ("go on", command("train", **resume)),
        ]
    )


def _thousands(number: float) -> str:
    if number < 1000:
        return f"{number:.0f}"
    return f"{number / 1000:.1f}k" if number < 10_000 else f"{number / 1000:.0f}k"
