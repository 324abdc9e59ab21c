"""Exchange encoders with other libraries: export, import, Hugging Face repositories."""

from ssljax.exports.exporting import export
from ssljax.exports.importing import import_weights
from ssljax.exports.load import load_encoder

__all__ = ["export", "import_weights", "load_encoder"]
