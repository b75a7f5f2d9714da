"""A program to be measured."""

import dataclasses
import pathlib

SCRIPTS = pathlib.Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Command:
    """Arguments, and environment variables beside those of this process."""

    arguments: list
    variables: dict = dataclasses.field(default_factory=dict)


def script(environment, name, workload, *arguments, **variables):
    """A script beside run.py, on a workload."""
    batch = ["--batch-size", str(workload.batch)] if workload.batch else []
    command = [environment.python, SCRIPTS / name, workload.program, *batch, *arguments]
    return Command([str(part) for part in command], environment.variables() | variables)
