"""Hugging Face repositories: upload an export, download one."""

import re
from pathlib import Path
from typing import Any

from ssljax.config.checks import ConfigError
from ssljax.exports.extras import need

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Nothing else of a repository is needed, whatever it holds.
_WANTED = ["*.json", "*.safetensors", "*.msgpack", "README.md"]


def is_name(text: str) -> bool:
    """Return whether a text has the form of a repository id.

    >>> is_name("org/resnet50"), is_name("/runs/first"), is_name("a/b/c")
    (True, False, False)
    """
    return _NAME.fullmatch(text) is not None


def check_name(name: str) -> None:
    """Refuse what is not a repository id.

    Raises:
        ConfigError: if it does not have the form ORG/NAME.
    """
    if not is_name(name):
        raise ConfigError(f"--push is {name!r}; write ORG/NAME, as on huggingface.co")


def client() -> Any:
    """Return a client of Hugging Face.

    Raises:
        ConfigError: if huggingface_hub is not installed.
    """
    package = need(
        "huggingface_hub",
        extra="export",
        what="--push",
        otherwise="upload the folder by hand",
    )
    return package.HfApi()


def push(folder: Path, name: str, *, title: str) -> None:
    """Upload an export; the repository is created where it does not exist.

    Args:
        folder: an export.
        name: ``ORG/NAME``.
        title: of the commit.

    Raises:
        ConfigError: if the upload fails; the folder stays.
    """
    api = client()
    try:
        api.create_repo(name, exist_ok=True)
        api.upload_folder(
            repo_id=name, folder_path=str(folder), commit_message=f"ssljax: {title}"
        )
    except Exception as error:  # of HTTP, tokens, sockets: many types
        raise ConfigError(
            f"{folder} was written but not uploaded to {name} ({_reason(error)}); log "
            "in with `hf auth login` and push again"
        ) from error


def download(name: str) -> Path:
    """Return the local copy of a repository, downloaded where it is not yet here.

    Args:
        name: ``ORG/NAME``.

    Raises:
        ConfigError: if huggingface_hub is not installed, or there is no such
            repository.
    """
    package = need(
        "huggingface_hub",
        extra="export",
        what=f"{name} is not a folder here; reading it as a Hugging Face repository",
        otherwise="name a folder",
    )
    try:
        return Path(package.snapshot_download(name, allow_patterns=_WANTED))
    except Exception as error:  # of HTTP, tokens, sockets: many types
        raise ConfigError(
            f"{name} is neither a folder here nor a Hugging Face repository that can "
            f"be read ({_reason(error)}); check the name"
        ) from error


def _reason(error: Exception) -> str:
    return (str(error).strip().split("\n")[0] or type(error).__name__)[:150]
