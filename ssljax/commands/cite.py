"""`ssljax cite METHOD`: the BibTeX entry of a method's paper."""

from ssljax.commands.tables import columns
from ssljax.config.checks import ConfigError, nearest


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    from ssljax.methods.papers import paper_of
    from ssljax.methods.table import METHODS

    if not words or words[0] in ("-h", "--help"):
        print("usage: ssljax cite METHOD [METHOD ...]\n")
        print("Print the BibTeX entry of each method's paper.\n")
        rows = [(name, paper_of(name).key, paper_of(name).title) for name in METHODS]
        print(columns(rows))
        return 0
    for name in words:
        if name not in METHODS:
            raise ConfigError(
                f"unknown method {name!r}{nearest(name, METHODS)} "
                "(`ssljax cite` lists all methods)"
            )
    # Once each: several methods may come from one paper.
    papers = dict.fromkeys(paper_of(name) for name in words)
    print("\n\n".join(paper.bibtex() for paper in papers))
    return 0
