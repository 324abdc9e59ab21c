"""One run, from a config to a folder: files, signals, processes, evaluation."""
