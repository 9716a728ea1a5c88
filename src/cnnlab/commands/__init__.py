"""The command line's commands, one a file; cnnlab.cli registers them."""
