"""Check the taskq that this interpreter has installed against a checkout: python -I check_wheel.py CHECKOUT."""

from __future__ import annotations

import importlib
import sys
import tomllib
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

checkout = Path(sys.argv[1])
project = tomllib.loads((checkout / "pyproject.toml").read_text())

for name in project["tool"]["setuptools"]["packages"]:
    package = importlib.import_module(name)
    if package.__file__ is None or Path(package.__file__).is_relative_to(checkout):
        sys.exit(f"{name} came from {package.__file__}, not from the wheel")

scripts = {path.name for path in (checkout / "taskq/broker/scripts").glob("*.lua")}
installed = {path.name for path in files("taskq.broker").joinpath("scripts").iterdir()}
if not scripts or installed != scripts:
    sys.exit(f"scripts that differ from the checkout's: {sorted(installed ^ scripts)}")

wheel = distribution("taskq")
tops = {file.parts[0] for file in wheel.files or () if not file.parts[0].startswith(("taskq-", ".."))}
if tops != {"taskq"}:
    sys.exit(f"the wheel takes other top-level names: {sorted(tops)}")
if not files("taskq").joinpath("py.typed").is_file():
    sys.exit("the wheel has no py.typed")
print(f"taskq {wheel.version}: {len(scripts)} scripts, {len(wheel.files or ())} files")
