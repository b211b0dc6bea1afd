"""Results of different models lie beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import scaling
from exported import Exported


def test_a_name_keeps_another_models_result(exported: Exported, tmp_path: Path) -> None:
    scaling.main([exported.out], rounds=1, out=tmp_path)
    first = (tmp_path / "scaling.json").read_bytes()

    scaling.main([exported.out], rounds=1, out=tmp_path, name="scaling_345m")

    assert (tmp_path / "scaling.json").read_bytes() == first
    assert json.loads((tmp_path / "scaling_345m.json").read_text())["models"]
