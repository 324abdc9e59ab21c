"""Write the pages of docs/ that come from tables and files of the repository.

Command:  python docs/generate/write_pages.py
Time:     seconds
Result:   docs/methods.md, recipes.md, reproductions.md, results.md, and where there is
          a record, leaderboard.md
"""

import sys
from collections.abc import Callable
from pathlib import Path

import leaderboard_page
import methods_page
import recipes_page
import reproductions_page
import results_page

DOCS = Path(__file__).resolve().parents[1]
PAGES: dict[str, Callable[[], str]] = {
    "methods.md": methods_page.page,
    "recipes.md": recipes_page.page,
    "reproductions.md": reproductions_page.page,
    "results.md": results_page.page,
}
if leaderboard_page.RECORD.is_file():
    PAGES["leaderboard.md"] = leaderboard_page.page


def main() -> int:
    """Write every page."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
