"""Does a file of the release fit the model? See `runtime.weights.fit`."""

from runtime.weights.fit import NAMES_SHOWN, Shape, misfits, shown

__all__ = ["NAMES_SHOWN", "Shape", "misfits", "shown"]
