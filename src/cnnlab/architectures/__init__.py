"""The architectures: a file of this folder is one, named after the file. It imports torch and cnnlab.models only."""
