"""The folder that `ssljax.export` returns: a path that a notebook shows as a table."""

import json
from pathlib import Path
from typing import Any

from ssljax.evaluation.records_table import as_frame, as_html
from ssljax.exports.folder import RECORD

# Not `Path` itself, of which Python 3.11 allows no subclass.
_Path: Any = type(Path())


class Exported(_Path):
    """The path of an export, with its files as records."""

    @property
    def record(self) -> dict[str, Any]:
        """The content of ``ssljax.json``: format, encoder, origin, check, licence."""
        return json.loads((self / RECORD).read_text("utf-8"))

    @property
    def records(self) -> list[dict[str, Any]]:
        """One dictionary per file, with what the export was compared with."""
        record = self.record
        checked = record["checked"]
        return [
            {
                "file": name,
                "bytes": (self / name).stat().st_size,
                "sha256": digest,
                "format": record["format"],
                "checked_against": checked["against"],
                "checked_on": checked["images"],
                "difference": checked["difference"],
            }
            for name, digest in record["files"].items()
        ]

    def frame(self) -> Any:
        """Return the records as a pandas data frame.

        Raises:
            ImportError: if pandas is not installed.
        """
        return as_frame(self.records)

    def _repr_html_(self) -> str | None:
        if not (self / RECORD).is_file():  # a path derived from that of an export
            return None
        records = self.records
        rows = [
            [
                str(each["file"]),
                f"{each['bytes']:,}",
                f"{each['difference']:.1e} from ssljax, in {each['checked_against']}",
                str(each["sha256"])[:12],
            ]
            for each in records
        ]
        return as_html([str(self), "bytes", "largest difference", "SHA-256"], rows)
