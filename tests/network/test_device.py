"""Which processor computes, and in which precision: what torch does, not what is advertised."""

import pytest
import torch

from charlstm.config import DeviceConfig
from charlstm.errors import UsageError
from charlstm.network import device
from charlstm.network.device import Device
from tests.conftest import NEEDS_BF16


def test_a_processor_that_is_not_there_is_refused() -> None:
    absent = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(UsageError, match=f"--device {absent}: "):
        device.choose(DeviceConfig(device=absent))
    assert device.choose(DeviceConfig(device="cpu", threads=1)) == "cpu"
    assert device.threads() == torch.get_num_threads() == 1


def test_bf16_is_taken_only_if_torch_computes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.precision("fp32", "cpu") == ("fp32", None)
    monkeypatch.setattr(device, "has_bf16", lambda _: False)
    taken, note = device.precision("bf16", "cpu")
    assert taken == "fp32"
    assert note == "--precision bf16: torch has no bf16 on this CPU; computing in fp32"
    monkeypatch.setattr(device, "has_bf16", lambda _: True)
    assert device.precision("bf16", "cpu") == ("bf16", None)


@NEEDS_BF16
def test_autocast_computes_products_in_the_precision() -> None:
    x = torch.ones(2, 2)
    with Device("cpu", "bf16").autocast():
        assert (x @ x).dtype is torch.bfloat16
    with Device("cpu", "fp32").autocast():
        assert (x @ x).dtype is torch.float32


def test_a_seed_makes_the_same_numbers() -> None:
    cpu = Device("cpu", "fp32")
    cpu.seed(7)
    first = torch.rand(4)
    cpu.seed(7)
    assert torch.equal(torch.rand(4), first)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(4), first)


def test_what_a_result_depends_on_is_named() -> None:
    device.use_threads(1)
    found = device.machine(Device("cpu", "fp32"))
    assert found["threads"] == 1
    assert found["torch"] == torch.__version__
    assert str(found["processor"]).endswith(torch.backends.cpu.get_cpu_capability())


def test_threads_that_the_user_named_are_kept() -> None:
    assert device.most_threads(DeviceConfig(threads=2), "cpu") is None
    assert device.most_threads(DeviceConfig(), "cuda") is None


def test_a_look_tells_whether_bf16_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that takes clearly longer in bf16 is emulated; a GPU is not looked at, and what fails is told later."""
    spent = {torch.float32: 1.0, torch.bfloat16: 1.0}
    now = 0.0

    def product(rows: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        nonlocal now
        if spent[rows.dtype] < 0:
            raise RuntimeError
        now += spent[rows.dtype]
        return rows

    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    monkeypatch.setattr("charlstm.network.device.time.perf_counter", lambda: now)
    for seconds, pays in ((0.5, True), (1.2, True), (3.0, False), (-1.0, True)):
        spent[torch.bfloat16] = seconds
        assert device.bf16_pays("cpu") is pays
    assert device.bf16_pays("cuda")
