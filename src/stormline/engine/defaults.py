"""What Storm 2.8 has for a setting that nobody gave, as a component finds it in its configuration.

`defaults.json` has the keys that a worker's handshake has, and their values of the release. The engine obeys those that
its `deployment` reads; the others are here because a component may look at them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STORM: Mapping[str, Any] = json.loads(Path(__file__).with_name("defaults.json").read_text(encoding="utf-8"))
