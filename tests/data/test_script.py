"""A script is not started again by its own data workers."""

import sys
import types

import pytest

from ssljax.data import DataError
from ssljax.data.script import check_script

CALL = "from ssljax.data.script import check_script\n"
PLAIN = [
    "check_script()",
    "def main():\n    check_script()\nmain()",
    "for _ in range(1):\n    check_script()",
    "if True:\n    check_script()",
]
GUARDED = [
    'if __name__ == "__main__":\n    check_script()',
    'def main():\n    check_script()\nif "__main__" == __name__:\n    main()',
    "def main():\n    check_script()\nif __name__ != '__main__': pass\nelse: main()",
]


def run(monkeypatch, path, text):
    """Run a script as Python would, under the name of the main module."""
    path.write_text(CALL + text)
    main = types.ModuleType("__main__")
    main.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(path.read_text(), str(path), "exec"), vars(main))


@pytest.mark.parametrize("text", PLAIN)
def test_an_unguarded_call_is_refused_in_one_line(monkeypatch, tmp_path, text):
    with pytest.raises(DataError, match="script.py, line .*__main__.*workers=0") as got:
        run(monkeypatch, tmp_path / "script.py", text)
    assert "\n" not in str(got.value)


@pytest.mark.parametrize("text", GUARDED)
def test_a_guarded_call_passes(monkeypatch, tmp_path, text):
    run(monkeypatch, tmp_path / "script.py", text)


def test_where_there_is_no_script_nothing_is_refused(monkeypatch):
    check_script()  # pytest's own main module is guarded
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    check_script()
