"""Print the first (1) or the second (2) command at the top of README.md, as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

readme = (Path(__file__).parents[1] / "README.md").read_text()
block = re.findall(r"```console\n(.*?)```", readme, re.DOTALL)[0]
print(block.splitlines()[int(sys.argv[1]) - 1].removeprefix("$ "))
