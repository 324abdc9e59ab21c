"""The `ssljax` command: one file for each subcommand."""
