"""`charlstm sample`."""

import dataclasses
import functools
import secrets
import sys
from typing import TYPE_CHECKING, Any

import click

from charlstm.cli.options import HELP, cached, collect, common, open_cache, settings
from charlstm.config import SampleConfig, TextConfig, unescaped
from charlstm.errors import CharLSTMError, UsageError
from charlstm.network import blas

if TYPE_CHECKING:
    from charlstm.api import Model
    from charlstm.measure.novelty import Copies
    from charlstm.show.terminal import Output
    from charlstm.show.texts import Page, Rows
    from charlstm.storage.loaded import Loaded
    from charlstm.text.cache import Cache
    from charlstm.text.tokenizer import Tokenizer


@click.command(context_settings=HELP, short_help="Write text, character by character.")
@click.argument("checkpoint", required=False)
@click.option("--prompt", default=None, help="Text to continue.  [default: the start of a document, or of a line]")
@click.option("--label", help="Write in this voice.  [default: one of the model's labels, drawn by frequency]")
@click.option("--prompt-file", metavar="FILE", help="Read the prompt from a file (UTF-8), or from standard input (-).")
@click.option(
    "--stop",
    "stops",
    metavar="TEXT",
    multiple=True,
    help=r"Stop before this text (may be repeated); understands \n, \t and \\.",
)
@click.option("--interactive", is_flag=True, help="Take turns with the model, which continues all the text so far.")
@click.option(
    "--highlight-copies",
    is_flag=True,
    help="Underline passages of 20 characters or more copied from the training text, and say how much was copied.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per text.")
@click.option(
    "--exact", is_flag=True, help="Compute in integers: the same seed then gives the same text on every machine."
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda", "mps"]),
    default="cpu",
    show_default=True,
    help="Processor to use; on a CPU, torch is not even loaded.",
)
@settings(SampleConfig)
@cached
@common
def sample(
    checkpoint: str | None,
    prompt: str | None,
    label: str | None,
    prompt_file: str | None,
    stops: tuple[str, ...],
    interactive: bool,
    highlight_copies: bool,
    as_json: bool,
    exact: bool,
    device: str,
    root: str | None,
    **values: Any,
) -> None:
    """Write text, character by character.

    CHECKPOINT is a file, or the folder or name of a run; by default, the newest. The prompt is printed too (except with
    --json), and does not count towards --length. Filters apply in this order: temperature, top-k, top-p, min-p; ties go
    to the character that comes first in the vocabulary.
    """
    config = collect(SampleConfig, values)
    if prompt is not None and prompt_file is not None:
        raise UsageError("--prompt and --prompt-file exclude each other: give one of them")
    if interactive and (as_json or config.num_samples > 1):
        raise UsageError("--interactive writes one text for people: leave --json and --num-samples out")
    if interactive and highlight_copies:
        raise UsageError("--interactive and --highlight-copies exclude each other: give one of them")
    if config.separator_out is not None and (as_json or config.num_samples == 1):  # --interactive too writes one text
        raise UsageError("--separator-out stands between texts: give --num-samples with it, and no --json")
    if "" in stops:
        raise UsageError("--stop '': an empty text is found everywhere; give at least one character")
    if exact and device != "cpu":
        raise UsageError(f"--exact computes on the CPU, not on {device}: leave --device out")
    stops = tuple(map(unescaped, stops))

    blas.load_numpy()
    from charlstm import api
    from charlstm.show import terminal

    output = terminal.Output()
    model = api.load(checkpoint, device=device, exact=exact)
    model.loaded.tokenizer.opener(label)  # is it known?
    start = _prompt(prompt, prompt_file, model.loaded.tokenizer)
    model.loaded.tokenizer.require_known(start)
    if config.seed is None:
        config = dataclasses.replace(config, seed=secrets.randbelow(2**32))
    if sys.stderr is not None and (sys.stderr.isatty() or values["seed"] is None):
        terminal.plain(f"{model.loaded.path}, seed {config.seed}{_labels(model, label, config)}")
    copies = _copies(model.loaded, open_cache(root)) if highlight_copies else None
    try:
        if interactive:
            from charlstm.cli.converse import converse

            assert config.seed is not None
            label = _label(model, label, config.seed)
            context = model.read(start, label=label).context
            converse(context, model.loaded.tokenizer, config, stops, output, label)
        else:
            writer = _writer(model, start, label, config, output, copies, as_json=as_json)
            _write(model, start, label, config, stops, writer)
    except MemoryError:
        raise CharLSTMError(
            "out of memory: the model and what it writes do not fit; give fewer --num-samples or a shorter --length"
        ) from None


def _label(model: "Model", label: str | None, seed: int) -> str | None:
    """Return the label of the text with this seed: the one that is asked for, or the one that the seed draws."""
    from charlstm.sample import drawn_label

    return drawn_label(model.loaded.tokenizer, seed) if label is None else label


def _labels(model: "Model", label: str | None, config: SampleConfig) -> str:
    """Return which labels the texts have, in words; nothing if the model has none."""
    from charlstm.sample import next_seed
    from charlstm.show import voices

    if not model.labels:
        return ""
    assert config.seed is not None
    if label is not None or config.num_samples == 1:
        return f", label {voices.name(str(_label(model, label, config.seed)))}"
    shown = range(min(config.num_samples, _MOST_LABELS))
    labels = [voices.name(str(_label(model, None, next_seed(config.seed, number)))) for number in shown]
    return f", labels {', '.join(labels)}" + (" ..." if config.num_samples > _MOST_LABELS else "")


_MOST_LABELS = 10  # that are listed


def _prompt(prompt: str | None, prompt_file: str | None, tokenizer: "Tokenizer") -> str:
    if prompt_file is None:
        return prompt or ""
    from charlstm.text import files

    return files.text(prompt_file, TextConfig(tokenizer=tokenizer.kind), binary="\0" in tokenizer.vocabulary)


def _copies(loaded: "Loaded", cache: "Cache") -> "Copies":
    """Return the training text, prepared for finding copied spans."""
    from charlstm.measure.novelty import MOST_INDEXED, Copies
    from charlstm.show import terminal

    with terminal.reading() as watch:
        train = loaded.training_text("--highlight-copies looks for copies in it", cache, watch)
    if len(train.ids) > MOST_INDEXED:
        terminal.warn(f"only the last {MOST_INDEXED:,} of the training text's {len(train.ids):,} ids are searched")
    return Copies(train.ids, loaded.tokenizer)


def _writer(
    model: "Model",
    start: str,
    label: str | None,
    config: SampleConfig,
    output: "Output",
    copies: "Copies | None",
    *,
    as_json: bool,
) -> "Rows | Page":
    """Return what shows the texts: to programs or to people."""
    from charlstm.sample import next_seed
    from charlstm.show.texts import Page, Rows

    highlighter = None if copies is None else copies.highlighter
    if as_json:
        return Rows(
            output, highlighter, (lambda seed: _label(model, label, next_seed(seed, 0))) if model.labels else None
        )
    separator = model.config.text.between or None
    if config.separator_out is not None:
        separator = unescaped(config.separator_out)
    return Page(output, start, separator, highlighter)


def _write(
    model: "Model",
    start: str,
    label: str | None,
    config: SampleConfig,
    stops: tuple[str, ...],
    writer: "Rows | Page",
) -> None:
    """Write all texts, a limited number of them side by side, so that any number fits in memory."""
    from charlstm.sample import TOGETHER, Context, next_seed, write

    assert config.seed is not None
    begun = functools.cache(lambda label: model.read(start, label=label).context)
    for first in range(0, config.num_samples, TOGETHER):
        count, seed = min(TOGETHER, config.num_samples - first), config.seed + first
        labels = [_label(model, label, next_seed(seed, number)) for number in range(count)]
        context = Context.abreast([begun(each) for each in labels])
        writer.take(write(context, model.loaded.tokenizer, config, seed, stops), count, seed)
    writer.end()
