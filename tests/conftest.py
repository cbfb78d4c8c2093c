"""What holds for all tests: the sources run, not machine code made of them.

Tests plant bugs in modules and look into them; what is compiled cannot be changed so.
CRETO_SIM_COMPILED=1 runs the suite on the compiled core where there is one.
"""

from __future__ import annotations

import os

os.environ.setdefault("CRETO_SIM_COMPILED", "0")
