"""cnnlab: a reproducible laboratory for convolutional networks, run by DVC."""

import os

# onnxruntime's Linux wheels report to their maker unless this is set before the first import: they write a device id
# under the home folder and look up a host. Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
