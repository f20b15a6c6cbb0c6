"""`charlstm sample`."""

import dataclasses
import os
import secrets
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from charlstm.cli import texts
from charlstm.cli.options import HELP, cached, collect, common, open_cache, settings
from charlstm.config import SampleConfig, TextConfig
from charlstm.errors import DataError, UsageError

if TYPE_CHECKING:
    from charlstm.analysis.novelty import Copies
    from charlstm.console import Output
    from charlstm.sample import Context
    from charlstm.tokenizer import Tokenizer


@click.command(context_settings=HELP, short_help="Write text, character by character.")
@click.argument("checkpoint", required=False)
@click.option("--prompt", default=None, help="Text to go on from.  [default: the start of a document, or of a line]")
@click.option("--prompt-file", metavar="FILE", help="Take the prompt from a file (UTF-8), or standard input (-).")
@click.option("--stop", "stops", metavar="TEXT", multiple=True, help="End before this text (may be repeated).")
@click.option("--interactive", is_flag=True, help="Take turns: it goes on from all that was written before.")
@click.option(
    "--highlight-copies",
    is_flag=True,
    help="Underline what is copied from the training text, 20 characters and more, and say how much it is.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a text.")
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda", "mps"]),
    default="cpu",
    show_default=True,
    help="Processor to compute on; on a CPU torch is not even loaded.",
)
@settings(SampleConfig)
@cached
@common
def sample(
    checkpoint: str | None,
    prompt: str | None,
    prompt_file: str | None,
    stops: tuple[str, ...],
    interactive: bool,
    highlight_copies: bool,
    as_json: bool,
    device: str,
    root: str | None,
    **values: Any,
) -> None:
    """Write text, character by character.

    CHECKPOINT is a file, the folder or the name of a run; by default the newest. The prompt is printed too (not with
    --json), and counts nothing. Filters apply in this order: temperature, top-k, top-p, min-p; ties go to the character
    that comes first in the vocabulary.
    """
    config = collect(SampleConfig, values)
    if prompt is not None and prompt_file is not None:
        raise UsageError("--prompt and --prompt-file exclude each other: give one of them")
    if interactive and (as_json or config.num_samples > 1):
        raise UsageError("--interactive writes one text for people: leave --json and --num-samples out")
    if interactive and highlight_copies:
        raise UsageError("--interactive and --highlight-copies exclude each other: give one of them")
    if "" in stops:
        raise UsageError("--stop '': an empty text is found everywhere; give at least one character")

    _spare_busy_cores()
    from charlstm import checkpoint as checkpoints
    from charlstm import console, runs
    from charlstm.sample import Context
    from charlstm.stepper import Stepper

    output = console.Output()
    path = runs.find(checkpoint)
    loaded = checkpoints.load(path)
    start = _prompt(prompt, prompt_file, loaded.tokenizer)
    _require_known(start, loaded.tokenizer)
    if config.seed is None:
        config = dataclasses.replace(config, seed=secrets.randbelow(2**32))
    if sys.stderr is not None and (sys.stderr.isatty() or values["seed"] is None):
        console.plain(f"{path}, seed {config.seed}")
    copies = None
    if highlight_copies:
        train = texts.training(loaded, open_cache(root), "--highlight-copies looks for copies in it")
        copies = texts.copies(train, loaded.tokenizer)
    context = Context(Stepper(loaded.config.model.cell, _on_device(loaded.weights, device)), config.num_samples)
    context.prefill([*loaded.tokenizer.opening, *loaded.tokenizer.encode(start).tolist()])
    if interactive:
        _converse(context, loaded.tokenizer, config, stops, output)
    else:
        _write(context, loaded.tokenizer, config, stops, output, start, copies, as_json=as_json)


def _spare_busy_cores() -> None:
    """Have numpy's OpenBLAS compute in one thread where the cores are busy, with training perhaps.

    Two threads that wait for each other's turn take 7 ms for a product that takes one of them 45 microseconds. OpenBLAS
    reads the variable as numpy is loaded, which a command does but once.
    """
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _on_device(weights: dict[str, Any], device: str) -> dict[str, Any]:
    if device == "cpu":
        return weights
    import torch

    from charlstm.config import DeviceConfig
    from charlstm.device import choose

    name = choose(DeviceConfig(device=device))
    return {key: torch.from_numpy(array).to(name) for key, array in weights.items()}


def _prompt(prompt: str | None, prompt_file: str | None, tokenizer: "Tokenizer") -> str:
    if prompt_file is None:
        return prompt or ""
    from charlstm import files

    return files.text(prompt_file, TextConfig(tokenizer=tokenizer.kind), binary="\0" in tokenizer.vocabulary)


def _require_known(prompt: str, tokenizer: "Tokenizer") -> None:
    """Raise `DataError` naming the characters that the model has never seen."""
    ids = tokenizer.encode(prompt)
    if tokenizer.unknown_id is None or tokenizer.unknown_id not in ids:
        return
    unknown = list(dict.fromkeys(prompt[at] for at in (ids == tokenizer.unknown_id).nonzero()[0]))
    names = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in unknown[:5])
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    first = prompt.index(unknown[0])
    raise DataError(
        f"the prompt has characters this model has never seen: {names}{more}, the first at position {first}; "
        "leave them out, or train a model on text that has them"
    )


def _write(
    context: "Context",
    tokenizer: "Tokenizer",
    config: SampleConfig,
    stops: tuple[str, ...],
    output: "Output",
    prompt: str,
    copies: "Copies | None",
    *,
    as_json: bool,
) -> None:
    """Print the texts in their order: the first as it comes, the others as they are complete up to there."""
    from charlstm import console
    from charlstm.sample import write

    assert config.seed is not None
    began = time.perf_counter()
    highlighters = [] if copies is None else [copies.highlighter() for _ in range(config.num_samples)]
    waiting: list[list[tuple[str, bool]]] = [[] if as_json else [(prompt, False)] for _ in range(config.num_samples)]
    ended: dict[int, dict[str, Any]] = {}
    shown, last = 0, ""
    for piece in write(context, tokenizer, config, config.seed, stops):
        if highlighters:
            highlighter = highlighters[piece.stream]
            waiting[piece.stream] += highlighter.add(piece.text)
            waiting[piece.stream] += highlighter.rest() if piece.stopped else []
        else:
            waiting[piece.stream].append((piece.text, False))
        if piece.stopped:
            ended[piece.stream] = {"seconds": round(time.perf_counter() - began, 6), "stopped": piece.stopped}
        while shown < config.num_samples and (shown in ended or not as_json):
            pieces, waiting[shown] = waiting[shown], []
            if as_json:
                text = "".join(text for text, _ in pieces)
                row = {"text": text, "seed": config.seed + shown, "characters": len(text)}
                output.json(row | ({"copied": _spans(pieces)} if highlighters else {}) | ended[shown])
            else:
                for text, copied in pieces:
                    output.write(text, underlined=copied)
                    last = text[-1:] or last
                if shown not in ended:
                    break
                if last != "\n":
                    output.write("\n")
            shown += 1
    output.flush()
    if highlighters:
        copied, characters = (sum(getattr(each, name) for each in highlighters) for name in ("copied", "characters"))
        longest = max(each.longest for each in highlighters)
        console.plain(
            f"{copied:,} of {characters:,} characters copied from the training text, the longest span {longest:,}"
            if copied
            else f"nothing of {characters:,} characters copied from the training text"
        )


def _spans(pieces: list[tuple[str, bool]]) -> list[list[int]]:
    """Return where in a text what was copied begins and ends."""
    spans: list[list[int]] = []
    at = 0
    for text, copied in pieces:
        if copied and spans and spans[-1][1] == at:
            spans[-1][1] += len(text)
        elif copied and text:
            spans.append([at, at + len(text)])
        at += len(text)
    return spans


def _converse(
    context: "Context", tokenizer: "Tokenizer", config: SampleConfig, stops: tuple[str, ...], output: "Output"
) -> None:
    """Read a line, go on from it, and again; the state carries on between the turns."""
    from charlstm import console
    from charlstm.sample import write

    assert config.seed is not None
    seed = config.seed
    console.plain("Type a line and it goes on from there; an empty line goes on at once; Ctrl-D ends.")
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        try:
            _require_known(line, tokenizer)
        except DataError as error:
            console.warn(str(error))
            continue
        context.prefill(tokenizer.encode(line).tolist())
        for piece in write(context, tokenizer, config, seed, stops):
            output.write(piece.text)
            if piece.stopped == "end":
                context.prefill([tokenizer.start_id])
        output.write("\n")
        output.flush()
        seed += 1  # the next turn draws other numbers
