"""The padding-free classifier: every text of a batch end to end, one row of logits each.

Every linear layer, norm and activation runs on the N real tokens.  Attention alone needs
a rectangle [B, T]; the indices into it and out of it are computed inside the graph from
``row_lengths``, with operations of static rank only (comparisons, cumulative sum, where,
gather), so that compilers keep every dimension dynamic.  The last layer answers for one
token of each row, and the head is the class rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from megatick_export.network import Network, TransformerLayer, attention


class PackedClassifier(nn.Module):
    """A network with a classification head, on packed tokens."""

    def __init__(self, network: Network) -> None:
        """Share the network's modules; nothing is copied."""
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, row_lengths: Tensor, max_seqlen: Tensor) -> Tensor:
        """Classify each row.

        Args:
            input_ids: int32, shape (N,), the rows' tokens end to end.
            row_lengths: int32, shape (B,), tokens of each row, ≥ 1, summing to N.
            max_seqlen: int32, shape (T,), T the longest row; only its shape is read.

        Returns:
            float32, shape (B, classes), unnormalised.
        """
        network = self.network
        causal = network.architecture.causal
        layout = PackedLayout.of(input_ids, row_lengths, max_seqlen, causal=causal)
        hidden = network.embed(input_ids.long(), layout.positions)  # (N, hidden)
        rotation = network.rotation(layout.positions)
        *earlier, last = cast("list[TransformerLayer]", list(network.layers))
        for layer in earlier:
            hidden = _attend_everywhere(layer, hidden, rotation, layout)
        pooled = _attend_from_pooled(last, hidden, rotation, layout)  # (B, hidden)
        return network.classify(network.final_norm(pooled)).float()


@dataclass(frozen=True)
class PackedLayout:
    """Where each token stands, in the packed row and in attention's rectangle.

    Attributes:
        positions: int64, shape (N,), of each token in its row.
        to_rectangle: int64, shape (B, T), the token for each slot; slots past a row's end
            hold the row's first token, which attention's mask hides.
        from_rectangle: int64, shape (N,), the slot of each token, in [0, B·T).
        pooled: int64, shape (B,), the token that each row is classified by.
        mask: bool, shape (T, T) if causal, else (B, 1, 1, T); True may be attended to.
        inside: bool, shape (B, 1, 1, T), True on the slots of real tokens.
    """

    positions: Tensor
    to_rectangle: Tensor
    from_rectangle: Tensor
    pooled: Tensor
    mask: Tensor
    inside: Tensor

    @classmethod
    def of(
        cls, input_ids: Tensor, row_lengths: Tensor, max_seqlen: Tensor, *, causal: bool
    ) -> PackedLayout:
        """Compute the layout from the lengths."""
        longest = max_seqlen.shape[0]
        tokens = torch.arange(input_ids.shape[0])
        slots = torch.arange(longest)
        lengths = row_lengths.long()
        ends = torch.cumsum(lengths, 0)
        starts = ends - lengths
        # A token belongs to the row whose number is the count of rows that ended before.
        rows = (tokens[:, None] >= ends[None, :]).long().sum(1)  # (N,)
        positions = tokens - starts.index_select(0, rows)
        inside = slots[None, :] < lengths[:, None]  # (B, T)
        to_rectangle = starts[:, None] + torch.where(inside, slots[None, :], 0)
        inside = inside[:, None, None, :]
        return cls(
            positions=positions,
            to_rectangle=to_rectangle,
            from_rectangle=rows * longest + positions,
            pooled=ends - 1 if causal else starts,
            mask=slots[None, :] <= slots[:, None] if causal else inside,
            inside=inside,
        )

    def spread(self, packed: Tensor) -> Tensor:
        """Lay packed tokens out as attention's rectangle: [N, …] to [B, T, …]."""
        flat = packed.index_select(0, self.to_rectangle.flatten())
        return flat.view(*self.to_rectangle.shape, *packed.shape[1:])


def _attend_everywhere(
    layer: TransformerLayer,
    hidden: Tensor,
    rotation: tuple[Tensor, Tensor] | None,
    layout: PackedLayout,
) -> Tensor:
    query, key, value = (layout.spread(part) for part in layer.project(hidden, rotation))
    attended = attention(query, key, value, layout.mask)  # (B, T, heads · hn)
    packed = attended.flatten(0, 1).index_select(0, layout.from_rectangle)
    return layer.finish(hidden, packed)


def _attend_from_pooled(
    layer: TransformerLayer,
    hidden: Tensor,
    rotation: tuple[Tensor, Tensor] | None,
    layout: PackedLayout,
) -> Tensor:
    query, key, value = layer.project(hidden, rotation)
    attended = attention(
        query.index_select(0, layout.pooled)[:, None],  # (B, 1, heads, hn)
        layout.spread(key),
        layout.spread(value),
        layout.inside,  # the pooled token sees its whole row, causal or not
    )
    return layer.finish(hidden.index_select(0, layout.pooled), attended[:, 0])
