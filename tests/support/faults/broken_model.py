"""A model that breaks at a moment of the test's choice, for all streams or for a character's."""

import threading
from pathlib import Path

from runtime.character.character import Character
from server.generation.interface import StreamRequest
from tests.support.serving.flash import FlashBackend, FlashGenerator

FAULTS = {
    "raises": RuntimeError("a kernel failed"),
    "spoils the device": RuntimeError("CUDA error: an illegal memory access was encountered"),
    "computes no numbers": FloatingPointError("NaN latents"),
}


class BreakingGenerator(FlashGenerator):
    """Asks its model before each tick whether it still works."""

    def __init__(self, character: Character, model: "BreakingModel") -> None:
        super().__init__(character)
        self._model = model
        self._character = character.id

    def begin_tick(self, is_cancelled):
        self._model.work(self._character)
        return super().begin_tick(is_cancelled)


class BreakingModel(FlashBackend):
    """Works until `breaks` is set; then a tick hangs until `goes_on` is set, or raises."""

    def __init__(self, root: Path, fault: str = "hangs", only: str | None = None) -> None:
        super().__init__(root)
        self._fault, self._only = fault, only
        self.breaks, self.goes_on = threading.Event(), threading.Event()

    def work(self, character: str) -> None:
        if not self.breaks.is_set() or self._only not in (None, character):
            return
        if self._fault == "hangs":
            print("The model hangs.", flush=True)  # for a test with a process of its own
            self.goes_on.wait()
        else:
            raise FAULTS[self._fault]

    def open(self, request: StreamRequest) -> FlashGenerator:
        return BreakingGenerator(request.character, self)
