"""`python -m ssljax`: the `ssljax` command."""

from ssljax.commands.main import main

# Worker processes that read images import this module again under another name.
if __name__ == "__main__":
    raise SystemExit(main())
