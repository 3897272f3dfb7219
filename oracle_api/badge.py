"""A badge: a small picture of an agent's standing, for pages that link to its report. It proves nothing."""

from __future__ import annotations

from html import escape

from oracle_api.standing import Standing
from oracle_api.state import AgentState

_CHAR_WIDTH = 6.6
_PADDING = 12
_LABEL = "pactstream"
_GREY, _RED = "#6b7280", "#b91c1c"
_COLOURS = {"platinum": "#0f766e", "gold": "#a16207", "silver": "#475569", "bronze": "#9a3412"}


def svg(state: AgentState, standing: Standing) -> bytes:
    """The picture as SVG: no script, no link, nothing from elsewhere. Out of service comes before any score."""
    text, colour = _text(state, standing)
    label_width, text_width = _width(_LABEL), _width(text)
    width = label_width + text_width
    said = escape(f"{_LABEL}: {text}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{said}">'
        f"<title>{said}</title>"
        f'<rect width="{width}" height="20" rx="3" fill="{colour}"/>'
        f'<path fill="#374151" d="M3 0h{label_width - 3}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z"/>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{label_width / 2:g}" y="14">{_LABEL}</text>'
        f'<text x="{label_width + text_width / 2:g}" y="14">{escape(text)}</text>'
        "</g></svg>"
    ).encode()


def _text(state: AgentState, standing: Standing) -> tuple[str, str]:
    if standing != "active":
        return standing, _GREY if standing in ("unregistered", "unknown") else _RED
    score = state.score
    if score is None or score.composite is None:
        return "no score yet", _GREY
    return f"{score.tier or 'no tier'} {score.composite:.0f}", _COLOURS.get(score.tier or "", _GREY)


def _width(text: str) -> int:
    return round(len(text) * _CHAR_WIDTH) + _PADDING
