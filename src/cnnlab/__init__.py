"""cnnlab: a reproducible laboratory for convolutional networks, run by DVC."""

import gc
import os

# Python looks for garbage after every 700 new objects. Importing torch or scikit-learn makes hundreds of thousands that
# all stay: the search finds nothing and takes up to a tenth of a short command's time.
gc.set_threshold(100_000, *gc.get_threshold()[1:])

# onnxruntime's Linux wheels report to their maker unless this is set before the first import: they write a device id
# under the home folder and look up a host. Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
