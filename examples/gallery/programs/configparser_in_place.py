"""configparser: a changed setting is written over the old file, as its documentation shows."""

from __future__ import annotations

import configparser
from pathlib import Path

from untorn.explore.interpose import acknowledged


def config(port: int) -> configparser.ConfigParser:
    made = configparser.ConfigParser()
    made["server"] = {"host": "localhost", "port": str(port)}
    made["log"] = {"level": "info", "file": "/var/log/server"}
    return made


def prepare(dir: Path) -> None:
    with open(dir / "server.ini", "w") as file:
        config(80).write(file)


def workload(dir: Path) -> None:
    with open(dir / "server.ini", "w") as file:
        config(8080).write(file)


def check(dir: Path) -> None:
    found = configparser.ConfigParser()
    found.read(dir / "server.ini")
    assert found in ([config(8080)] if acknowledged() else [config(80), config(8080)]), "not a config that was written"
