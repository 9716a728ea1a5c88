"""cnnlab: a reproducible laboratory for convolutional networks, run by DVC."""

import gc

# Python looks for garbage after every 700 new objects. Importing torch or scikit-learn makes hundreds of thousands that
# all stay: the search finds nothing and takes up to a tenth of a short command's time.
gc.set_threshold(100_000, *gc.get_threshold()[1:])
