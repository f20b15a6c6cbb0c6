import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import charlstm as charlstm_api
from charlstm.config import TextConfig
from charlstm.storage import checkpoint as checkpoints
from tests.children import begin
from tests.conftest import SMALL, Command


def one_line(err: str) -> str:
    """Return the error's line; the rest of stderr may say other things."""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


def write_text(text: str, name: str = "corpus.txt", length: int = 6000) -> None:
    Path(name).write_text(text[:length], encoding="utf-8", newline="")


def start(*arguments: str, **options: object) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-m", "charlstm", *arguments], text=True, **options)  # type: ignore[call-overload]


def test_the_three_commands(charlstm: Command, text: str) -> None:
    write_text(text)
    trained = charlstm("train", "corpus.txt", "--steps=20", *SMALL)
    assert (trained.code, trained.out) == (0, "")
    assert "held-out" in trained.err
    assert "charlstm sample corpus" in trained.err
    sampled = charlstm("sample", "corpus", "--length=50", "--seed=1")
    assert sampled.code == 0
    assert len(sampled.out.removesuffix("\n")) in {49, 50}
    scored = charlstm("eval", "corpus", "--json")
    row = json.loads(scored.out)
    assert row["characters"] == 600
    assert row["nats"] / 600 == pytest.approx(checkpoints.load(Path("checkpoints/corpus/best.safetensors")).val_loss)
    assert "bits" in charlstm("eval").out


def test_the_commands_with_ngrams(charlstm: Command, text: str) -> None:
    write_text(text)
    trained = charlstm("train", "corpus.txt", "--ngrams=4", "--ngram-rows=512", "--steps=30", *SMALL)
    assert trained.code == 0, trained.err
    best = checkpoints.load(Path("checkpoints/corpus/best.safetensors"))
    assert (best.config.model.ngrams, best.config.model.ngram_rows) == (4, 512)
    assert 0 < best.ngram_rows <= 512
    assert "n-grams of 2 to 4" in charlstm("info", "corpus").out
    row = json.loads(charlstm("eval", "corpus", "--json").out)
    assert row["nats"] / row["characters"] == pytest.approx(best.val_loss)
    write_text(text, "other.txt", 400)
    whole = json.loads(charlstm("eval", "corpus", "other.txt", "--json").out)
    api = charlstm_api.load("checkpoints/corpus")
    assert api.score(Path("other.txt").read_text()).nats == pytest.approx(whole["nats"], rel=1e-5)
    assert charlstm("eval", "corpus", "other.txt", "--dynamic").code == 0
    lines = charlstm("eval", "corpus", "other.txt", "--lines")
    assert (lines.code, len(lines.out.splitlines())) == (0, len(Path("other.txt").read_text().splitlines()))

    def texts(*arguments: str) -> list[str]:
        done = charlstm("sample", "corpus", "--length=40", "--prompt=The ", "--json", *arguments)
        return [json.loads(row)["text"] for row in done.out.splitlines()]

    assert texts("--num-samples=3", "--seed=7") == [texts(f"--seed={seed}")[0] for seed in (7, 8, 9)]
    assert charlstm("train", "corpus.txt", "--resume", "--steps=35").code == 0
    refused = charlstm("train", "corpus.txt", "--resume", "--steps=40", "--ngrams=0")
    assert (refused.code, "--ngrams" in one_line(refused.err)) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ngrams=17"],
        ["--ngrams=-1"],
        ["--ngrams=4", "--ngram-rows=1000"],
        ["--ngram-rows=8"],
        ["--ngrams=4", "--ngram-dropout=1"],
    ],
)
def test_ngrams_out_of_their_limits_are_refused(charlstm: Command, text: str, arguments: list[str]) -> None:
    write_text(text)
    refused = charlstm("train", "corpus.txt", "--steps=1", *SMALL, *arguments)
    assert refused.code == 2
    assert arguments[-1].split("=")[0] in refused.err
    assert "Traceback" not in refused.err


def test_the_documented_interfaces(charlstm: Command, trained: Path, text: str) -> None:
    write_text(text, length=500)
    scored = json.loads(charlstm("eval", trained, "corpus.txt", "--json").out)
    assert list(scored) == [
        *("schema", "characters", "bytes", "nats", "bits_per_character", "interval", "bits_per_byte", "perplexity"),
        *("unknown", "protocol", "seconds"),
    ]
    assert scored["characters"] == 500
    rows = charlstm("sample", trained, "--json", "--num-samples=3", "--length=30", "--seed=5").out.splitlines()
    samples = [json.loads(row) for row in rows]
    assert [list(sample) for sample in samples] == [["schema", "text", "seed", "characters", "seconds", "stopped"]] * 3
    assert [(len(s["text"]), s["characters"], s["seed"], s["stopped"]) for s in samples] == [
        (30, 30, seed, "length") for seed in (5, 6, 7)
    ]
    shown = json.loads(charlstm("info", trained, "--json").out)
    assert list(shown) == [
        "schema",
        "config",
        "vocabulary",
        "labels",
        "parameters",
        "ngram_rows",
        "step",
        "val_loss",
        "corpus_sha256",
        "origin",
    ]
    assert shown["config"]["model"]["hidden_size"] == 48
    assert shown["vocabulary"][0] == "<unk>"
    assert "SHA-256 verified" in charlstm("info", trained).out


@pytest.mark.parametrize(
    "arguments",
    [("train", "{}"), ("eval", "{}"), ("eval", "shakespeare", "{}"), ("info", "{}")],
)
def test_a_name_that_no_file_can_have(charlstm: Command, arguments: tuple[str, ...]) -> None:
    refused = charlstm(*(argument.format("9" * 300) for argument in arguments))
    assert refused.code == 74
    assert "name too long" in refused.err
    assert "bug" not in refused.err


def test_a_sample_is_a_function_of_its_seed(charlstm: Command, trained: Path) -> None:
    first, second, third = (charlstm("sample", trained, "--seed", seed, "--length=80").out for seed in (1, 1, 2))
    assert first == second
    assert first != third
    chosen = charlstm("sample", trained, "--length=80")
    seed = chosen.err.split()[-1]
    assert charlstm("sample", trained, "--length=80", "--seed", seed).out == chosen.out


def test_prompts(charlstm: Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = charlstm("sample", trained, "--prompt", "The ", "--length=20", "--seed=1").out
    assert plain.startswith("The ")
    Path("prompt.txt").write_text("The ")
    assert charlstm("sample", trained, "--prompt-file", "prompt.txt", "--length=20", "--seed=1").out == plain
    row = json.loads(charlstm("sample", trained, "--prompt", "The ", "--length=20", "--seed=1", "--json").out)
    assert ("The " + row["text"]).rstrip("\n") == plain.rstrip("\n")
    stop = row["text"][5:8]
    row = json.loads(charlstm("sample", trained, "--prompt", "The ", "--seed=1", "--json", "--stop", stop).out)
    assert row["stopped"] == "stop"
    assert stop not in row["text"]


def test_a_stop_text_understands_escapes(charlstm: Command, trained: Path) -> None:
    def text(*arguments: str) -> dict[str, object]:
        return json.loads(charlstm("sample", trained, "--seed=1", "--length=400", "--json", *arguments).out)

    whole = str(text()["text"])
    assert "\n" in whole
    assert text("--stop", r"\n")["text"] == text("--stop", "\n")["text"] == whole[: whole.index("\n")]
    assert text("--stop", r"\\n")["text"] == whole  # a backslash and an n, which the text does not have


def test_texts_of_several_lines_have_a_blank_line_between_them(charlstm: Command, trained: Path) -> None:
    arguments = ("sample", trained, "--num-samples=3", "--length=200", "--seed=1")
    rows = [json.loads(row)["text"] for row in charlstm(*arguments, "--json").out.splitlines()]
    assert any("\n" in row.strip("\n") for row in rows)
    expected = ""
    for number, row in enumerate(rows):
        expected += row
        while not expected.endswith("\n\n" if number < 2 else "\n"):
            expected += "\n"
    assert charlstm(*arguments).out == expected
    end = "" if rows[-1].endswith("\n") else "\n"
    assert charlstm(*arguments, r"--separator-out=\n--\\\n").out == "\n--\\\n".join(rows) + end
    assert charlstm(*arguments, "--separator-out=").out == "".join(rows) + end


def test_texts_of_one_line_have_a_line_each(charlstm: Command, trained: Path) -> None:
    arguments = ("sample", trained, "--num-samples=70", "--length=4000", "--seed=1", "--stop", r"\n")
    rows = [json.loads(row) for row in charlstm(*arguments, "--json").out.splitlines()]
    assert {row["stopped"] for row in rows} == {"stop"}
    assert [row["seed"] for row in rows] == list(range(1, 71))  # more than are written side by side
    assert charlstm(*arguments).out == "".join(row["text"] + "\n" for row in rows)
    blank = charlstm(*arguments, "--prompt", "a\n").out  # then it is the prompt that has a line of its own
    assert blank.split("\n\n")[0].startswith("a\n")


@pytest.mark.parametrize(
    ("separator", "between"), [("\n", "\n"), ("\n\n", "\n\n"), ("<|endoftext|>", "<|endoftext|>"), (None, "\n")]
)
def test_between_texts_stands_what_the_run_was_trained_with(
    charlstm: Command, separator: str | None, between: str
) -> None:
    names = ["anna", "bob", "clara", "dora", "emil"] * 40
    if separator is None:
        Path("names.txt").write_text("".join(json.dumps({"name": name}) + "\n" for name in names))
        option = "--field=name"
    else:
        Path("names.txt").write_text(separator.join(names))
        option = "--separator=" + separator.replace("\n", r"\n")
    small = ("--hidden-size=24", "--embedding-size=8", "--batch-size=8", "--seq-length=16", "--steps=20")
    assert charlstm("train", "names.txt", option, *small).code == 0
    arguments = ("sample", "names", "--num-samples=9", "--seed=1", "--length=30")
    rows = [json.loads(row)["text"] for row in charlstm(*arguments, "--json").out.splitlines()]
    assert len(rows) == 9
    assert charlstm(*arguments).out == between.join(rows) + "\n"


def test_any_number_of_texts_fits_in_memory(trained: Path) -> None:
    arguments = ["sample", str(trained), "--num-samples=999999999", "--length=5", "--seed=1", "--json"]
    with start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        rows = [json.loads(process.stdout.readline()) for _ in range(200)]
        process.stdout.close()
        assert process.stderr is not None
        assert "rror" not in process.stderr.read()
    assert [row["seed"] for row in rows] == list(range(1, 201))
    assert process.returncode == 0


def test_a_text_is_the_same_alone_and_among_a_few(charlstm: Command, trained: Path) -> None:
    def texts(*arguments: str) -> list[str]:
        done = charlstm("sample", trained, "--length=60", "--prompt=The ", "--json", *arguments)
        return [json.loads(row)["text"] for row in done.out.splitlines()]

    assert texts("--num-samples=3", "--seed=7") == [texts(f"--seed={seed}")[0] for seed in (7, 8, 9)]


@pytest.mark.parametrize("temperature", ["1e300", "1e38", "1e-300", "5e-324"])
def test_no_temperature_writes_nonsense(charlstm: Command, trained: Path, temperature: str) -> None:
    done = charlstm("sample", trained, "--temperature", temperature, "--seed=1", "--length=300")
    vocabulary = json.loads(charlstm("info", trained, "--json").out)["vocabulary"][1:]
    assert (done.code, done.err) == (0, "")
    assert set(done.out) <= {*vocabulary, "\n"}
    if float(temperature) > 1:  # all alike
        assert len(set(done.out)) > len(vocabulary) * 3 / 4
    else:
        assert done.out == charlstm("sample", trained, "--temperature=0", "--seed=1", "--length=300").out


def test_weights_that_are_too_large_are_told_in_one_line(charlstm: Command, trained: Path) -> None:
    loaded = checkpoints.load(trained / "best.safetensors")
    signs = (-1.0) ** np.arange(10**6)
    huge = {
        name: (3e38 * signs[: tensor.size]).astype(np.float32).reshape(tensor.shape) if tensor.dtype == "f4" else tensor
        for name, tensor in loaded.tensors.items()
    }
    checkpoints.save(Path("huge.safetensors"), dataclasses.replace(loaded, tensors=huge))
    done = charlstm("sample", "huge.safetensors", "--seed=1", "--length=300")
    assert (done.code, one_line(done.err)) == (65, done.err.strip())
    assert "weights are too large" in done.err


def test_interactive_carries_the_state_on(trained: Path) -> None:
    arguments = ["sample", str(trained), "--interactive", "--length=5", "--temperature=0", "--seed=1"]
    process = start(*arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate("The\n\n\N{SNOWMAN}\n")
    assert process.returncode == 0
    whole = start("sample", str(trained), "--prompt=The", "--length=10", "--temperature=0", stdout=subprocess.PIPE)
    assert "The" + "".join(out.splitlines(keepends=False)) == whole.communicate()[0].replace("\n", "")
    assert "U+2603" in err


def test_interactive_with_a_closed_input_ends_at_once(
    charlstm: Command, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    done = charlstm("sample", trained, "--interactive", "--seed=1")
    assert (done.code, done.out) == (0, "")
    assert "error" not in done.err


def test_precedence(charlstm: Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def length(*arguments: str) -> int:
        return int(json.loads(charlstm("sample", trained, "--json", "--config=c.toml", *arguments).out)["characters"])

    Path("c.toml").write_text("[sample]\nlength = 11\ntop-k = 3\n")
    assert length() == 11
    monkeypatch.setenv("CHARLSTM_SAMPLE_LENGTH", "12")
    assert length() == 12
    assert length("--length=13") == 13


@pytest.mark.parametrize(
    ("toml", "words"),
    [("[sample]\nlenght = 1", "lenght"), ("[sing]\na = 1", "sing"), ("length = 1", "length"), ("[", "TOML")],
)
def test_a_wrong_config_file(charlstm: Command, toml: str, words: str) -> None:
    Path("c.toml").write_text(toml)
    outcome = charlstm("sample", "--config=c.toml")
    assert outcome.code == 2
    assert words in one_line(outcome.err)


def test_the_start_of_a_run_says_what_was_chosen_and_what_was_given(
    charlstm: Command, text: str, tmp_path: Path
) -> None:
    Path("corpus.txt").write_text(text[:4000], encoding="utf-8")
    Path("c.toml").write_text("[train]\ndropout = 0.3\n")
    err = charlstm("train", "corpus.txt", "--steps=2", "--seq-length=16", "--config=c.toml").err
    said = {line.split("  ")[0]: " ".join(line.split()) for line in err.splitlines()}
    assert "lstm, 1 x 128" in said["model"]
    assert re.match(r"size 1 x 128: .* characters to read for .* weights$", said["size"])
    assert said["dropout"].startswith("dropout 0.3, recurrent 0")
    assert said["dropout"].endswith(", --dropout as given")
    assert said["streams"] == "streams 4: few, because the text is short (56 steps per epoch)"
    assert not {"window", "rate"} & set(said)
    whole = charlstm("train", "corpus.txt", "--steps=2", "--seq-length=16", "--name=again", "--verbose").err
    said = {line.split("  ")[0]: " ".join(line.split()) for line in whole.splitlines()}
    assert said["window"] == "window 16: as given"
    assert said["rate"].startswith("rate 0.004, embedding x 4: the highest of the run")
    config = json.loads(charlstm("info", "corpus", "--json").out)["config"]
    assert (config["model"]["dropout"], config["train"]["batch_size"]) == (0.3, 4)


BAD_CORPORA = [
    ([], 2, "CORPUS"),
    (["nothing.txt"], 74, "nothing.txt: no such file"),
    (["folder"], 65, "no text"),
    (["empty.txt"], 65, "empty.txt: empty"),
    (["short.txt"], 65, "shorter than one window"),
    (["same.txt"], 65, "one distinct character"),
    (["latin.txt"], 65, "byte 3 (0xE9)"),
    (["good.txt", "--val=nothing.txt"], 74, "nothing.txt"),
    (["good.txt", "--steps=0"], 2, "--steps 0"),
    (["good.txt", "--steps=1", "--time=5s"], 2, "--time"),
    (["good.txt", "--time=soon"], 2, "soon"),
    (["good.txt", "--dropout=1"], 2, "--dropout"),
    (["good.txt", "--name=a/b"], 2, "plain name"),
    (["nothing", "--checkpoints=."], 2, "nothing: the run would be kept in the text it learns from"),
    (["good.txt", "--frobnicate"], 2, "frobnicate"),
    (["good.txt", "--device=cuda"], 2, "cuda"),
    (["good.txt", "--resume"], 74, "no run to resume"),
    (["good.txt", "--from="], 2, "--from '': name a run"),
    (["good.txt", "--from=nothing"], 74, "nothing: no such checkpoint or run"),
    (["good.txt", "--from=good.txt"], 65, "good.txt: not a charlstm checkpoint"),
    (["good.txt", "--from=english", "--repeat=good"], 2, "--from and --repeat exclude each other"),
    (["--resume"], 2, "--name"),
    (["good.txt", "--checkpoints=good.txt"], 74, "good.txt"),
    (["good.txt", "--checkpoints=/proc/nowhere"], 74, "/proc/nowhere"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), BAD_CORPORA)
def test_bad_input_to_train(charlstm: Command, text: str, arguments: list[str], code: int, words: str) -> None:
    write_text(text, "good.txt")
    write_text(text, "short.txt", 20)
    Path("folder").mkdir()
    Path("empty.txt").touch()
    Path("same.txt").write_text("a" * 1000)
    Path("latin.txt").write_bytes("caf\xe9 au lait".encode("latin-1"))
    if "--device=cuda" in arguments:
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("this machine has one")
    before = sorted(Path.cwd().rglob("*"))
    limits = [] if {"--steps=0", "--time=soon", "--time=5s"} & set(arguments) else ["--steps=1"]
    outcome = charlstm("train", *arguments, *([] if "--resume" in arguments else limits))
    assert outcome.code == code, outcome.err
    assert words in one_line(outcome.err)
    assert sorted(Path.cwd().rglob("*")) == before


BAD_CHECKPOINTS = [
    (["nothing"], 74, "nothing: no such checkpoint or run; check the name (runs: shakespeare, english)"),
    (["shakspere"], 74, "did you mean shakespeare?"),
    (["folder"], 65, "folder without a checkpoint"),
    (["cut.safetensors"], 65, "not a charlstm checkpoint"),
    (["flipped.safetensors"], 65, "SHA-256"),
    (["pickle.safetensors"], 65, "not a charlstm checkpoint"),
]
BAD_OPTIONS = [
    (["--temperature=-1"], 2, "--temperature -1.0: must be at least 0"),
    (["--top-k=0"], 2, "--top-k 0: must be at least 1"),
    (["--length=-1"], 2, "--length"),
    (["--length=many"], 2, "many"),
    (["--stop="], 2, "--stop"),
    (["--prompt=a", "--prompt-file=b"], 2, "exclude"),
    (["--prompt-file=nothing"], 74, "nothing"),
    (["--interactive", "--json"], 2, "--interactive"),
    (["--separator-out=-"], 2, "--separator-out"),
    (["--separator-out=-", "--num-samples=2", "--json"], 2, "--separator-out"),
    (["--separator-out=-", "--interactive"], 2, "--separator-out"),
    (
        ["--prompt=a \N{SNOWMAN} and \N{SNOWMAN}\u0416"],
        65,
        "'\N{SNOWMAN}' (U+2603), '\u0416' (U+0416), the first at position 2",
    ),
]


@pytest.mark.parametrize("command", ["sample", "eval", "info"])
@pytest.mark.parametrize(("arguments", "code", "words"), BAD_CHECKPOINTS)
def test_bad_checkpoints(
    charlstm: Command, trained: Path, command: str, arguments: list[str], code: int, words: str
) -> None:
    data = (trained / "best.safetensors").read_bytes()
    Path("folder").mkdir()
    Path("cut.safetensors").write_bytes(data[:1000])
    Path("flipped.safetensors").write_bytes(data[:-5] + bytes([data[-5] ^ 16]) + data[-4:])
    Path("pickle.safetensors").write_bytes(b"\x80\x04\x95" + bytes(50))
    outcome = charlstm(command, *arguments)
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert words in one_line(outcome.err)


@pytest.mark.parametrize(("arguments", "code", "words"), BAD_OPTIONS)
def test_bad_options_to_sample(charlstm: Command, trained: Path, arguments: list[str], code: int, words: str) -> None:
    outcome = charlstm("sample", trained, *arguments)
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert words in one_line(outcome.err)


def test_a_run_is_not_overwritten(charlstm: Command, trained: Path, text: str) -> None:
    shutil.copytree(trained, "checkpoints/corpus")
    write_text(text)
    before = {file.name: file.read_bytes() for file in Path("checkpoints/corpus").iterdir()}
    outcome = charlstm("train", "corpus.txt", "--steps=2", *SMALL)
    assert outcome.code == 2
    assert "--force" in one_line(outcome.err)
    assert {file.name: file.read_bytes() for file in Path("checkpoints/corpus").iterdir()} == before
    assert charlstm("train", "corpus.txt", "--steps=2", "--force", *SMALL).code == 0
    assert checkpoints.load(Path("checkpoints/corpus/last.safetensors")).step == 2


def test_force_spares_the_old_run_until_the_new_one_begins(charlstm: Command, trained: Path) -> None:
    shutil.copytree(trained, "checkpoints/corpus")
    Path("corpus.txt").write_text("")
    assert charlstm("train", "corpus.txt", "--force").code == 65
    assert Path("checkpoints/corpus/best.safetensors").exists()


def test_resume(charlstm: Command, text: str) -> None:
    write_text(text)
    assert charlstm("train", "corpus.txt", "--steps=6", *SMALL).code == 0
    finished = charlstm("train", "corpus.txt", "--resume")
    assert finished.code == 2
    assert "finished" in one_line(finished.err)
    other = charlstm("train", "corpus.txt", "--resume", "--hidden-size=64")
    assert other.code == 2
    assert "--hidden-size 64" in one_line(other.err)
    assert charlstm("train", "--resume", "--name=corpus", "--steps=9").code == 0
    assert checkpoints.load(Path("checkpoints/corpus/last.safetensors")).step == 9
    write_text(text, length=5000)
    changed = charlstm("train", "corpus.txt", "--resume", "--steps=12")
    assert changed.code == 65
    assert "SHA-256" in one_line(changed.err)


def test_resume_falls_back_to_the_generation_before(charlstm: Command, text: str) -> None:
    write_text(text)
    assert charlstm("train", "corpus.txt", "--steps=6", *SMALL).code == 0
    Path("checkpoints/corpus/last.safetensors").write_bytes(b"half a fi")
    assert charlstm("train", "corpus.txt", "--resume").code == 0
    assert checkpoints.load(Path("checkpoints/corpus/last.safetensors")).step == 6
    rows = Path("checkpoints/corpus/metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [3, 6]


@pytest.mark.slow
def test_a_run_given_as_a_time_is_repeated_bit_for_bit(charlstm: Command, text: str) -> None:
    write_text(text)
    first = charlstm("train", "corpus.txt", "--time=4s", *SMALL)
    assert first.code == 0, first.err
    assert "reading corpus.txt\nmeasuring this machine\n" in first.err
    assert "go on    charlstm train --resume --name corpus --time 10m" in first.err
    again = charlstm("train", "--repeat=corpus")
    assert again.code == 0, again.err
    one, other = (checkpoints.load(Path(f"checkpoints/{name}/last.safetensors")) for name in ("corpus", "corpus-again"))
    assert one.training is not None
    assert other.training is not None
    assert one.training.plan == other.training.plan
    assert {name: it.tobytes() for name, it in one.tensors.items()} == {
        name: it.tobytes() for name, it in other.tensors.items()
    }
    refused = charlstm("train", "--repeat=corpus", "--name=x", "--seed=9")
    assert (refused.code, "which --repeat cannot change" in one_line(refused.err)) == (2, True)
    assert charlstm("train", "--repeat=corpus").code == 2  # corpus-again is there
    assert charlstm("train", "--repeat=corpus", "--resume").code == 2
    assert charlstm("train", "--repeat=nothing").code == 74


@pytest.mark.parametrize("how", ["flag", "variable", "file"])
def test_bf16_without_bf16_is_fp32_with_a_note(
    charlstm: Command, text: str, trained: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    for place in ("network.device", "training.calibration"):
        monkeypatch.setattr(f"charlstm.{place}.has_bf16", lambda _: False)
    write_text(text)
    asked = {"flag": ["--precision=bf16"], "variable": [], "file": ["--config=c.toml"]}[how]
    if how == "variable":
        monkeypatch.setenv("CHARLSTM_TRAIN_PRECISION", "bf16")
        monkeypatch.setenv("CHARLSTM_EVAL_PRECISION", "bf16")
    Path("c.toml").write_text('[train]\nprecision = "bf16"\n[eval]\nprecision = "bf16"\n')
    note = "note: --precision bf16: torch has no bf16 on this CPU; computing in fp32\n"
    small = [option for option in SMALL if "precision" not in option]
    begun = charlstm("train", "corpus.txt", "--steps=4", *small, *asked)
    assert begun.code == 0, begun.err
    assert note in begun.err
    assert "cpu, fp32" in begun.err
    scored, plain = charlstm("eval", trained, "corpus.txt", *asked), charlstm("eval", trained, "corpus.txt")
    assert scored.code == 0, scored.err
    assert note in scored.err
    assert "cpu fp32" in scored.out
    if how != "variable":
        assert note not in plain.err
    # A run that was begun in bf16 elsewhere goes on.
    last = Path("checkpoints/corpus/last.safetensors")
    state = checkpoints.load(last)
    assert state.training is not None
    elsewhere = dataclasses.replace(state.training, machine={**state.training.machine, "precision": "bf16"})
    checkpoints.save(last, dataclasses.replace(state, training=elsewhere))
    monkeypatch.delenv("CHARLSTM_TRAIN_PRECISION", raising=False)
    resumed = charlstm("train", "corpus.txt", "--resume", "--steps=6")
    assert resumed.code == 0, resumed.err
    assert note in resumed.err
    assert "precision fp32, but bf16 before" in resumed.err


@pytest.mark.parametrize("name", ["-x", " sp ace ", "it's", "plain"])
def test_the_commands_at_the_end_can_be_pasted(charlstm: Command, text: str, name: str) -> None:
    write_text(text)
    ended = charlstm("train", "corpus.txt", "--steps=3", f"--name={name}", *SMALL)
    assert ended.code == 0, ended.err
    commands = [line.split("charlstm ", 1)[1] for line in ended.err.splitlines() if "charlstm " in line]
    assert len(commands) == 3
    for words in map(shlex.split, commands):
        if "10m" in words:
            words[words.index("10m")] = "1s"
        done = charlstm(*words)
        assert done.code == 0, (words, done.err)


def test_a_finished_run_gets_more_time(charlstm: Command, text: str) -> None:
    write_text(text)
    assert charlstm("train", "corpus.txt", "--steps=120", *SMALL).code == 0
    more = charlstm("train", "corpus.txt", "--resume", "--time=2s")
    assert more.code == 0, more.err
    assert re.search(r"length +2 s more, \d+ s so far: about [\d,]+ more steps", more.err)
    last = checkpoints.load(Path("checkpoints/corpus/last.safetensors"))
    assert last.step > 120
    again = charlstm("train", "corpus.txt", "--resume", "--time=2s")  # the same time once more is more
    assert again.code == 0, again.err
    assert checkpoints.load(Path("checkpoints/corpus/last.safetensors")).step > last.step


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_resumed_run_is_the_uninterrupted_one(
    charlstm: Command, text: str, number: int, code: int, tmp_path: Path
) -> None:
    write_text(text)
    common = ["train", "corpus.txt", "--steps=200", "--evaluations=6", *SMALL[:-2], "--seed=3"]
    assert charlstm(*common, "--name=whole").code == 0
    child = begin(tmp_path, [*common, "--name=parts"])
    # It begins, makes the folder ready, saves step 0, and then the best weights and the state of a measurement.
    for _ in range(5):
        child.news.recv()
    assert child.process.pid is not None
    os.kill(child.process.pid, number)
    assert child.wait() == code
    child.news.close()
    assert "charlstm train --resume --name parts" in child.stderr.read_text()
    stopped = checkpoints.load(Path("checkpoints/parts/last.safetensors")).step
    assert 0 < stopped < 200
    assert charlstm("train", "corpus.txt", "--resume", "--name=parts", "--threads=1").code == 0
    first = checkpoints.load(Path("checkpoints/whole/last.safetensors"))
    second = checkpoints.load(Path("checkpoints/parts/last.safetensors"))
    for name, tensor in first.tensors.items():
        assert tensor.tobytes() == second.tensors[name].tobytes(), name


def test_a_closed_stdout_ends_quietly(trained: Path) -> None:
    reader, writer = os.pipe()
    process = start("sample", str(trained), "--length=100000", "--seed=1", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert os.read(reader, 10)
    os.close(reader)
    _, err = process.communicate()
    assert process.returncode == 0
    assert "rror" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_full_disk_is_told(trained: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = start("sample", str(trained), "--seed=1", stdout=full, stderr=subprocess.PIPE)
        _, err = process.communicate()
    assert process.returncode == 74
    assert "no space left" in one_line(err)


def test_the_held_out_text_is_found_by_its_hash(charlstm: Command, text: str) -> None:
    write_text(text)
    assert charlstm("train", "corpus.txt", "--steps=4", *SMALL).code == 0
    here = json.loads(charlstm("eval", "corpus", "--json").out)
    Path("data").mkdir()
    Path("corpus.txt").rename("data/corpus.txt")
    moved = json.loads(charlstm("eval", "corpus", "--json").out)
    assert {**here, "seconds": 0} == {**moved, "seconds": 0}
    whole = charlstm("eval", "corpus", "data/corpus.txt", "--json")
    assert json.loads(whole.out)["characters"] == 6000
    assert "trained on" in whole.err
    part = json.loads(charlstm("eval", "corpus", "data/corpus.txt", "--split=val", "--json").out)
    assert part["nats"] == here["nats"]
    write_text(text, "data/corpus.txt", 5999)
    gone = charlstm("eval", "corpus")
    assert gone.code == 74
    assert "SHA-256" in one_line(gone.err)


def test_a_held_out_file_is_what_eval_scores(charlstm: Command, text: str) -> None:
    write_text(text)
    Path("val.txt").write_text(text[7000:7700])
    assert charlstm("train", "corpus.txt", "--val=val.txt", "--steps=4", *SMALL).code == 0
    assert json.loads(charlstm("eval", "corpus", "--json").out)["characters"] == 700
    assert json.loads(charlstm("eval", "corpus", "--split=train", "--json").out)["characters"] == 6000


def test_bytes_end_to_end(charlstm: Command, text: str) -> None:
    Path("corpus.bin").write_bytes(text[:3000].encode() + bytes(range(256)) * 12)
    assert charlstm("train", "corpus.bin", "--tokenizer=byte", "--steps=4", *SMALL).code == 0
    sampled = charlstm("sample", "corpus", "--prompt=\N{SNOWMAN}", "--length=40", "--json")
    assert json.loads(sampled.out)["characters"] == 40
    scored = json.loads(charlstm("eval", "corpus", "--json").out)
    assert scored["bytes"] == 607
    assert TextConfig(tokenizer="byte") == checkpoints.load(Path("checkpoints/corpus/best.safetensors")).config.text


def test_debug_shows_the_traceback(charlstm: Command) -> None:
    with pytest.raises(Exception, match="nothing"):
        charlstm("info", "nothing", "--debug")


def test_a_terminal_is_not_steered() -> None:
    from charlstm.show.terminal import printable

    assert printable("a\x1b[31mb\x9b\n\t\u202ec\u200dd\ud800") == "a\u241b[31mb\\x9b\n\t\\u202ec\u200dd\\ud800"
