"""What the commands say about the texts they read, and which remedies they name."""

import json
import re
from pathlib import Path

import pytest

from charlstm.cli import cli
from tests.conftest import Command

BAD = {
    "latin.txt": ("caf\xe9 and more".encode("latin-1"), "byte 3 (0xE9) is not valid utf-8"),
    "marked.txt": ("a text, marked".encode("utf-16"), "byte 0 (0xFF) is not valid utf-8"),
    "wide.txt": ("a text without its mark".encode("utf-16-le"), "utf-16-le, not utf-8"),
    "zeros.txt": (bytes(100), "not a text"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("command", ["train", "eval", "score", "sample"])
def test_an_error_names_options_of_its_own_command_only(
    charlstm: Command, trained: Path, name: str, command: str
) -> None:
    content, fact = BAD[name]
    Path(name).write_bytes(content)
    arguments = {
        "train": ["train", name, "--steps=1"],
        "eval": ["eval", trained, name],
        "score": ["score", trained, name],
        "sample": ["sample", trained, "--prompt-file", name, "--seed=1"],
    }[command]
    outcome = charlstm(*arguments)
    assert outcome.code == 65
    assert fact in outcome.err
    options = {option for each in cli.commands[arguments[0]].params for option in each.opts}
    assert set(re.findall(r"--[a-z-]+", outcome.err)) <= options
    assert "--tokenizer byte" in outcome.err or command != "train"
    assert "--encoding" in outcome.err or command == "sample" or name == "zeros.txt"
    assert "; " in outcome.err  # there is a remedy


def test_records_of_another_kind_name_no_option_of_train(charlstm: Command, text: str) -> None:
    rows = [json.dumps({"text": text[number * 200 : (number + 1) * 200]}) for number in range(30)]
    Path("a.jsonl").write_text("\n".join(rows))
    Path("b.txt").write_text(text[:500])
    Path("c.jsonl").write_text('{"body": "no such field"}')
    small = ["--steps=1", "--hidden-size=8", "--batch-size=4"]
    assert charlstm("train", "a.jsonl", "--field=text", *small).code == 0
    for name, fact in (("b.txt", "is not JSON"), ("c.jsonl", "no text in the field 'text'")):
        refused = charlstm("eval", "a", name)
        assert refused.code == 65
        assert fact in refused.err
        assert "--" not in refused.err
        assert "as the model was trained on" in refused.err
        assert "--field" in charlstm("train", name, "--field=text", "--name=other", *small).err


def test_a_prompt_has_a_limit(charlstm: Command, trained: Path) -> None:
    for name in ("/dev/zero", "large.txt"):
        if name == "large.txt":
            Path(name).write_text("a line of text\n" * 300_000)
        refused = charlstm("sample", trained, "--prompt-file", name, "--seed=1")
        assert refused.code == 65
        assert refused.err.count("\n") == 1
        assert name in refused.err


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_the_encoding_that_an_error_names_helps(charlstm: Command, text: str, encoding: str) -> None:
    Path("a.txt").write_bytes(text[:3000].encode(encoding))
    small = ["--steps=1", "--hidden-size=8", "--batch-size=4"]
    refused = charlstm("train", "a.txt", *small)
    named = re.search(r"--encoding (\S+?),", refused.err)
    assert named is not None
    assert charlstm("train", "a.txt", *small, f"--encoding={named[1]}").code == 0
    assert charlstm("train", "a.txt", *small, "--tokenizer=byte", "--name=bytes").code == 0
    skipped = Path("folder")
    skipped.mkdir()
    (skipped / "a.txt").write_bytes(text[:3000].encode(encoding))
    (skipped / "b.txt").write_text(text[:3000])
    found = charlstm("train", "folder", *small)
    assert found.code == 0
    assert f"{encoding}, not utf-8" in found.err


@pytest.mark.slow
def test_what_is_in_both_parts_is_told(charlstm: Command, text: str) -> None:
    small = ["--steps=1", "--hidden-size=8", "--batch-size=4", r"--separator=\n"]
    names = sorted({word for word in text.split() if word.isalpha()})[:300]
    Path("names.txt").write_text("\n".join(names * 2 + [f"once{number}" for number in range(100)]))
    note = re.compile(r"(\d+) of (\d+) held-out documents also occur in the training text: left out")
    trained = charlstm("train", "names.txt", *small)
    assert (found := note.search(trained.err))
    characters = json.loads(charlstm("eval", "names", "--json").out)["characters"]
    kept = charlstm("train", "names.txt", *small, "--no-deduplicate", "--name=kept")
    assert f"{found[1]} of {found[2]} held-out documents also occur in the training text: the model is" in kept.err
    assert json.loads(charlstm("eval", "kept", "--json").out)["characters"] > characters
    assert note.search(charlstm("eval", "names").err)
    assert charlstm("train", "names.txt", "--resume", "--name=names", "--steps=2").code == 0

    Path("val.txt").write_text("\n".join([*names[:10], *(f"new{number}" for number in range(30))]))
    for options, words in (([], "the model is scored"), (["--deduplicate"], "left out of the held-out part")):
        run = charlstm("train", "names.txt", "--val=val.txt", "--name=val", "--force", *small, *options)
        assert f"10 of 40 held-out documents also occur in the training text: {words}" in run.err
    scored = charlstm("eval", "val", "--json")
    assert json.loads(scored.out)["characters"] == sum(len(f"new{number}") + 1 for number in range(30))
    assert charlstm("train", "names.txt", "--val=val.txt", "--resume", "--name=val", "--steps=2").code == 0


@pytest.mark.slow
def test_a_folder_with_links_is_read_once(charlstm: Command, text: str) -> None:
    Path("folder").mkdir()
    Path("folder/a.txt").write_text(text[:5000])
    for number in range(5):
        Path(f"folder/{number}.txt").symlink_to("a.txt")
    small = ["--steps=1", "--hidden-size=8", "--batch-size=4"]
    trained = charlstm("train", "folder", *small)
    assert (
        "5 links to files already read: not read again (such as folder/1.txt, the same as folder/0.txt)" in trained.err
    )
    assert charlstm("eval", "folder").code == 0
    scored = charlstm("eval", "folder", "folder", "--json")
    assert json.loads(scored.out)["characters"] == 5000
    assert "5 links" in scored.err
    assert charlstm("train", "folder", "--resume", "--steps=2").code == 0
    again = charlstm("train", "folder", "--name=again", "--no-deduplicate", *small)
    assert "5 links to files already read: read again each time" in again.err
    assert charlstm("train", "--resume", "--name=again", "--steps=2").code == 0  # as do runs of older versions
    assert charlstm("eval", "again").code == 0
    twice = charlstm("train", "folder/a.txt", "folder/a.txt", "--name=twice", *small)
    assert "1 file named more than once: not read again (folder/a.txt)" in twice.err
