"""Processes that train one model together under torchrun: who they are, and what they add up. Alone it does nothing."""

import contextlib
import datetime
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from charlstm.errors import CharLSTMError

if TYPE_CHECKING:
    from torch import Tensor

_PATIENCE = datetime.timedelta(minutes=30)  # that a process waits for another, which may be reading a large text

Value = TypeVar("Value")


class LostProcessError(CharLSTMError):
    """Another process of the job is gone."""


@dataclass(frozen=True)
class Group:
    """The processes of a job."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among those on this machine."""
    restarts: int = 0
    """How often torchrun has begun the job again."""

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def rows(self, streams: int) -> slice:
        """Return which of so many streams are this process's."""
        return slice(streams * self.rank // self.size, streams * (self.rank + 1) // self.size)

    def add(self, tensors: Sequence["Tensor"]) -> None:
        """Replace each tensor by its sum over all processes, in one exchange; all are of one type.

        Raises:
            LostProcessError: where another process is gone; so do all that follow.
        """
        if self.size == 1:
            return
        import torch

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        _guarded(torch.distributed.all_reduce, flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def any(self, flags: Iterable[bool]) -> list[bool]:
        """Return which flags are set in any of the processes; on the CPU, so that no GPU is waited for."""
        if self.size == 1:
            return list(flags)
        import torch

        raised = torch.tensor([float(flag) for flag in flags])
        _guarded(torch.distributed.all_reduce, raised)
        return [bool(flag) for flag in raised > 0]

    def agree(self, value: Value) -> Value:
        """Return the first process's value."""
        if self.size == 1:
            return value
        import torch

        values: list[Any] = [value]
        _guarded(torch.distributed.broadcast_object_list, values)
        agreed: Value = values[0]
        return agreed

    def gather(self, part: "Tensor", streams: int) -> "Tensor":
        """Put together what each process has of so many streams, which lie along the second axis; in fp32."""
        if self.size == 1:
            return part
        whole = part.new_zeros((part.shape[0], streams, *part.shape[2:])).float()
        whole[:, self.rows(streams)] = part
        self.add([whole])
        return whole

    @contextlib.contextmanager
    def one_first(self) -> Iterator[None]:
        """Let one process of each machine do something before the others of that machine do it."""
        if self.local_rank:
            self.any([False])
        yield
        if not self.local_rank:
            self.any([False])


ALONE = Group()


def join(device: str) -> Group:
    """Return the job that torchrun has started this process in, or ALONE.

    Args:
        device: `cpu`, where the processes exchange through gloo, or `cuda`, where the gradients go through NCCL.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    import torch
    from torch import distributed

    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if device == "cuda":
        torch.cuda.set_device(local_rank)
    backends = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    _guarded(lambda it: distributed.init_process_group(it, timeout=_PATIENCE), backends)
    return Group(rank, size, local_rank, int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")))


def leave(group: Group) -> None:
    """Take leave of the other processes, after the last exchange."""
    if group.size > 1:
        from torch import distributed

        distributed.destroy_process_group()


def _guarded(exchange: Callable[[Any], Any], data: Any) -> None:
    try:
        exchange(data)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise LostProcessError(
            f"another process of this job is gone ({reason[:160]}); "
            "torchrun --max-restarts N goes on from the last save by itself"
        ) from None
