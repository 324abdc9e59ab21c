"""`ssljax cite METHOD`: the BibTeX entry of a method's paper."""

from ssljax.commands.tables import columns
from ssljax.config.checks import ConfigError, nearest

_SOFTWARE = "ssljax"


def software_entry() -> str:
    """Return the BibTeX entry of this package, with the fields of CITATION.cff."""
    from ssljax import __version__

    return (
        "@software{ssljax,\n"
        "  author  = {{The ssljax developers}},\n"
        "  title   = {ssljax: self-supervised learning of image representations in "
        "{JAX}},\n"
        f"  version = {{{__version__}}}\n"
        "}"
    )


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    from ssljax.methods.papers import paper_of
    from ssljax.methods.table import METHODS

    if not words or words[0] in ("-h", "--help"):
        print("usage: ssljax cite METHOD [METHOD ...] | ssljax cite ssljax\n")
        print("Print the BibTeX entry of each method's paper, or of this software.\n")
        rows = [(name, paper_of(name).key, paper_of(name).title) for name in METHODS]
        print(columns(rows))
        return 0
    for name in words:
        if name not in METHODS and name != _SOFTWARE:
            raise ConfigError(
                f"unknown method {name!r}{nearest(name, METHODS)} "
                "(`ssljax cite` lists all methods)"
            )
    # Once each: several methods may come from one paper.
    entries = dict.fromkeys(
        software_entry() if name == _SOFTWARE else paper_of(name).bibtex()
        for name in words
    )
    print("\n\n".join(entries))
    return 0
