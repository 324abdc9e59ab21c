"""Measure on any number of virtual CPU devices, which a process can set only once.

A script calls `add_option`, then `answered` first of all: in the child process that
`rows_on` started it measures, prints the rows as JSON, and the script ends.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax

Rows = list[dict[str, Any]]


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the hidden option that gives a child process its number of devices."""
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)


def answered(arguments: argparse.Namespace, measure: Callable[[int], Rows]) -> bool:
    """Measure and print the rows if this is a child process; return whether it is."""
    if arguments.one is None:
        return False
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", arguments.one)
    print(json.dumps(measure(arguments.one)))
    return True


def rows_on(count: int, script: str) -> Rows:
    """Return the rows that a script measures on so many devices, in a new process."""
    command = [sys.executable, script, "--one", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
