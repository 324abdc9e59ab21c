"""Serve the repository's files that pages link to.

Pages are written for reading in the repository, where ``docs/pods.md`` links to
``../experiments/launch/slurm.sbatch``. In the site, ``docs/`` is the root: what is
outside of it keeps its path, so that file is ``experiments/launch/slurm.sbatch`` there.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files  # pyright: ignore[reportMissingImports]

_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_EVERY = ("CONTRIBUTING.md", "CHANGELOG.md")
"""Pages outside of ``docs/`` that the navigation names."""


def place(path: str) -> str:
    """Return where a file of the repository is in the site.

    >>> place("docs/pods.md"), place("experiments/launch/slurm.sbatch")
    ('pods.md', 'experiments/launch/slurm.sbatch')
    """
    return path.removeprefix("docs/")


def linked(text: str, folder: str) -> list[str]:
    """Return the files of the repository that a page in ``folder`` links to.

    >>> linked("[a](../LICENSE) [b](https://jax.dev) [c](#d)", "docs")
    ['LICENSE']
    """
    links = [match[1] for match in _LINK.findall(text)]
    return [
        posixpath.normpath(posixpath.join(folder, link))
        for link in links
        if ":" not in link
    ]


def relinked(text: str, folder: str) -> str:
    """Return a page with its links changed to those of the site.

    Args:
        text: of a page.
        folder: of the page in the repository.

    >>> relinked("[a](../LICENSE) [b](pods.md#c)", "docs")
    '[a](LICENSE) [b](pods.md#c)'
    >>> relinked("[a](docs/pods.md)", "")
    '[a](pods.md)'
    """

    here = place(f"{folder}/").strip("/") or "."

    def new(match: re.Match[str]) -> str:
        before, link, after = match.groups()
        if ":" in link:
            return match[0]
        target = place(posixpath.normpath(posixpath.join(folder, link)))
        return before + posixpath.relpath(target, here) + after

    return _LINK.sub(new, text)


def on_files(files: Files, config: Any) -> Files:
    """Add the files outside of ``docs/`` that pages link to, and what those link to."""
    root = Path(config.config_file_path).parent
    waiting = [*_EVERY]
    for file in files.documentation_pages():
        uri = posixpath.join("docs", file.src_uri)
        waiting += linked(file.content_string, posixpath.dirname(uri))
    while waiting:
        path = waiting.pop()
        source = root / path
        if files.get_file_from_path(place(path)) or not source.is_file():
            continue
        if path.startswith("docs/"):
            continue  # a missing page, which the strict build reports
        added = File.generated(config, path, abs_src_path=str(source))
        files.append(added)
        if path.endswith(".md"):
            waiting += linked(source.read_text("utf-8"), posixpath.dirname(path))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Change the links of a page to those of the site."""
    root = Path(config.config_file_path).parent
    path = Path(page.file.abs_src_path).relative_to(root).as_posix()
    return relinked(markdown, posixpath.dirname(path))
