"""Sends values from one rank of a pipeline to the next, over torch.distributed.

A value is a frozen dataclass. Its tensors travel raw: through NCCL between GPUs, gloo between CPUs.
Everything else goes ahead of them, pickled, over gloo, with tensors without data in their places.
So a receiver never waits for a tensor that nobody will send; and gloo, whose connections end with
the process behind them, reports at once that a neighbour is gone.
"""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed
from torch import Tensor

_c10d: Any = torch.distributed  # its type stubs lack stores and options
LOOPBACK = "127.0.0.1"  # all ranks run on one machine
IDLE = timedelta(days=365)  # a session may pause; pipelined.py detects a rank that hangs
LENGTH, HEADER, FIRST_TENSOR = range(3)  # tags


class LinkClosed(Exception):
    """The neighbour's process has ended."""


class _Work(Protocol):
    def wait(self) -> bool: ...


class _Group(Protocol):
    """The part of torch's ProcessGroupGloo and ProcessGroupNCCL that is used here."""

    def send(self, tensors: list[Tensor], to: int, tag: int, /) -> _Work: ...

    def recv(self, tensors: list[Tensor], source: int, tag: int, /) -> _Work: ...


class Link:
    """One rank's connections to the others; they find each other through the file `meeting`."""

    def __init__(self, meeting: Path, rank: int, ranks: int, device: torch.device) -> None:
        store = _c10d.FileStore(str(meeting), ranks)
        gloo = _gloo(store, rank, ranks)
        self._device = device
        self._headers = self._tensors = gloo
        if device.type == "cuda":
            torch.cuda.set_device(device)
            self._tensors = _nccl(store, rank, ranks)
        self._under_way: list[tuple[_Work, Tensor]] = []

    def send(self, value: Any, to: int) -> None:
        """Starts to send a dataclass, after the one before has arrived; LinkClosed."""
        try:
            for work, _ in self._under_way:
                work.wait()
            tensors = _tensors_of(value)
            places = {name: tensor.to("meta") for name, tensor in tensors.items()}
            header = _bytes(pickle.dumps(replace(value, **places)))
            sent = [(self._headers, torch.tensor([len(header)])), (self._headers, header)]
            sent += [(self._tensors, t.contiguous()) for t in tensors.values() if t.numel()]
            self._under_way = [
                (group.send([tensor], to, tag), tensor) for tag, (group, tensor) in enumerate(sent)
            ]
        except RuntimeError as error:
            raise LinkClosed(f"rank {to} is gone: {error}") from error

    def receive(self, source: int) -> Any:
        """The next dataclass from rank `source`, its tensors on this rank's device; LinkClosed."""
        try:
            length = self._fetch(self._headers, torch.zeros(1, dtype=torch.int64), source, LENGTH)
            empty = torch.zeros(int(length), dtype=torch.uint8)
            header = self._fetch(self._headers, empty, source, HEADER)
            value = pickle.loads(header.numpy().tobytes())
            tensors, tag = {}, FIRST_TENSOR
            for name, place in _tensors_of(value).items():
                tensors[name] = torch.empty_like(place, device=self._device)
                if place.numel():
                    self._fetch(self._tensors, tensors[name], source, tag)
                    tag += 1
            return replace(value, **tensors)
        except RuntimeError as error:
            raise LinkClosed(f"rank {source} is gone: {error}") from error

    @staticmethod
    def _fetch(group: _Group, into: Tensor, source: int, tag: int) -> Tensor:
        group.recv([into], source, tag).wait()
        return into


def _gloo(store: Any, rank: int, ranks: int) -> _Group:
    options = _c10d.ProcessGroupGloo._Options()
    options._devices = [_c10d.ProcessGroupGloo.create_device(hostname=LOOPBACK)]
    options._timeout = IDLE
    group: _Group = _c10d.ProcessGroupGloo(_c10d.PrefixStore("gloo", store), rank, ranks, options)
    return group


def _nccl(store: Any, rank: int, ranks: int) -> _Group:
    options = _c10d.ProcessGroupNCCL.Options()
    options._timeout = IDLE
    group: _Group = _c10d.ProcessGroupNCCL(_c10d.PrefixStore("nccl", store), rank, ranks, options)
    return group


def _tensors_of(value: Any) -> dict[str, Tensor]:
    """The fields of a dataclass that are tensors."""
    named = ((field.name, getattr(value, field.name)) for field in fields(value))
    return {name: found for name, found in named if isinstance(found, Tensor)}


def _bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
