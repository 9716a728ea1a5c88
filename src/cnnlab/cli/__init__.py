"""The command `cnnlab`: a file for each subcommand, `main` puts them together."""
