# SPDX-License-Identifier: Apache-2.0
"""Makes the modules behind the scripts importable."""
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO / "scripts" / "lib"))
