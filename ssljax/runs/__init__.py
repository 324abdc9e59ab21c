"""One run from config to folder: its files, signals and processes."""
