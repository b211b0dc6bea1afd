"""How an explanation looks on a terminal: the evidence marked in its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from megatick_cli.labels import coloured

if TYPE_CHECKING:
    from megatick_client import Explanation, Explanations


def explained_table(explanations: Explanations, *, caption: str) -> Table:
    """A row a text: its evidence in colour, each span's effect, and their fidelity."""
    table = Table(
        caption=caption, caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("text", overflow="fold", ratio=2)
    table.add_column("label")
    table.add_column("score", justify="right")
    table.add_column("evidence", overflow="fold", ratio=1)
    table.add_column("falls by")
    for each in explanations:
        table.add_row(
            _marked(each),
            coloured(each.label),
            f"{each.score:+.2f}",
            Text("\n").join(
                Text(f"{span.effect:+.2f} {span.text}", style=_colour(span.effect))
                for span in each.spans
            ),
            _fidelity(each),
        )
    return table


def _marked(explanation: Explanation) -> Text:
    """The text with its evidence in the colour of what it says."""
    marked = Text(explanation.text)  # brackets in a headline are no markup
    for span in explanation.spans:
        marked.stylize(f"bold underline {_colour(span.effect)}", span.start, span.end)
    return marked


def _colour(effect: float) -> str:
    return "green" if effect > 0 else "red"


def _fidelity(explanation: Explanation) -> str:
    lines = []
    if explanation.comprehensiveness is not None:
        lines.append(f"{explanation.comprehensiveness:.2f} without it")
    if explanation.sufficiency is not None:
        lines.append(f"{explanation.sufficiency:.2f} with it alone")
    if explanation.truncated:
        lines.append("(cut)")
    if not explanation.refined:
        lines.append("(not refined)")
    return "\n".join(lines)
