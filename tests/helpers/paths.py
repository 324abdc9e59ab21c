"""The root of the checkout, for tests in any folder."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LAUNCH = ROOT / "experiments" / "launch"
