# SPDX-License-Identifier: Apache-2.0
"""Puts scripts/lib, the modules of the programs in scripts/, on the import path."""
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPO / "scripts" / "lib"))
