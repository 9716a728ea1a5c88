"""cnnlab: a reproducible laboratory for convolutional networks, run by DVC."""

import atexit
import gc
import sys


def _leave_memory() -> None:
    """At the end of the process, take its objects from the garbage collector: their memory goes back as a whole."""
    if "onnx" not in sys.modules:  # which takes what is then still there for leaks, and says so
        gc.freeze()


# Python looks for garbage after every 700 new objects and once more at its end. Importing torch or scikit-learn makes
# hundreds of thousands that all stay: the search finds nothing and takes a third of a short command's time.
gc.set_threshold(100_000, *gc.get_threshold()[1:])
atexit.register(_leave_memory)
