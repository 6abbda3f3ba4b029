"""Write the dashboards: ``python -m grafana.source``."""

from __future__ import annotations

from grafana.source import documents

for path, text in documents().items():
    path.write_text(text, encoding="utf-8")
