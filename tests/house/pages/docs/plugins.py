"""The template, installed."""

import os
import shutil
import subprocess
import sys

from tests.house.tree import ROOT

shutil.copytree(ROOT / "docs/plugin-template", "source", ignore=shutil.ignore_patterns("__pycache__"))
offline = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", "site", "./source"], check=True)
os.environ["PYTHONPATH"] += os.pathsep + os.path.abspath("site")  # noqa: PTH100  # as PATH is made of texts
