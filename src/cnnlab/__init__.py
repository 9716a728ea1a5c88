"""cnnlab: a reproducible laboratory for convolutional networks, run by DVC."""
