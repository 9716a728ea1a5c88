"""cnnlab: a reproducible laboratory for convolutional networks, run by DVC."""

import os

# onnxruntime's Linux wheels report to their maker unless this is set before the first import: they write a device id
# under the home folder and look up a host. Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# How often a thread of OpenMP looks whether the others have finished before it sleeps. The library's own number,
# 300,000, makes processes that share cores three times as slow, and is hardly faster alone (docs/performance.md). It is
# read when torch is first imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
