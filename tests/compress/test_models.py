from pathlib import Path

import pytest

from charlstm.compress import models
from charlstm.compress.container import Writer
from charlstm.errors import DataError, InputOutputError
from tests.compress.conftest import KINDS, coding


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_model_is_the_model(tmp_path: Path, kind: str) -> None:
    used = coding(kind)
    models.write(tmp_path / "m.safetensors", used)
    found = models.opened(str(tmp_path / "m.safetensors"))
    assert (found.id, found.known_answer, found.name) == (used.id, used.known_answer, used.name)
    assert (found.separator, found.tokenizer.vocabulary) == (used.separator, used.tokenizer.vocabulary)


def test_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    models.write(path, coding("char"))
    whole = path.read_bytes()
    for at in [*range(8, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DataError, match="not a "):
            models.opened(str(path))
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError):
        models.opened(str(path))


def test_the_model_of_a_checkpoint_is_small_and_always_the_same(trained: Path, tmp_path: Path) -> None:
    used = models.opened(str(trained))
    assert used.name == "reference"
    assert used.id == models.opened(str(trained / "best.safetensors")).id
    writer = Writer(used.id, str(trained), used.arithmetic, used.known_answer, learning=False)
    assert models.finder(None)(writer).id == used.id
    with pytest.raises(InputOutputError, match=f"needs the model 'gone' .id {used.id.hex()}.*--model"):
        models.finder(None, tmp_path)(Writer(used.id, "gone", 1, b"??", learning=False))
    with pytest.raises(DataError, match="here is another one"):
        models.finder(None)(Writer(b"another!", str(trained), 1, b"??", learning=False))
