"""Render the Helm chart: ``build/release/venv/bin/python release/render.py`` writes ``deploy/kubernetes/shop.yaml``."""

from __future__ import annotations

from typing import Any

from building import ROOT
from helm_python import Chart

CHART = ROOT / "deploy/helm/mirepoix"
RENDERED = ROOT / "deploy/kubernetes/shop.yaml"
HEAD = """\
# The chart in deploy/helm/mirepoix with its default values, for those who do not use Helm. Made by release/render.py.
# A Job cannot be changed, so at a deploy: kubectl delete job shop-migrate --ignore-not-found, then kubectl apply.
"""


def rendered(values: dict[str, Any] | None = None) -> str:
    """Return what ``helm template shop deploy/helm/mirepoix --namespace default`` prints, without its comments."""
    with Chart.load(CHART) as chart:
        parts = chart.render(values, name="shop", namespace="default", is_install=True)
    # `_helpers.tpl` renders to nothing, and a document may begin with its own mark.
    texts = [text.strip().removeprefix("---").strip() for _, text in sorted(parts.items()) if text.strip()]
    return "".join(f"---\n{text}\n" for text in texts)


if __name__ == "__main__":
    RENDERED.write_text(HEAD + rendered())
