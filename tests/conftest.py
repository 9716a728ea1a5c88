"""What every test shares."""

import os

# Small tensors gain nothing from threads, and the tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
