"""The padding-free classifier: every text of a batch end to end, one row of logits each.

Every linear layer, norm and activation runs on the N real tokens.  Attention alone needs
a rectangle [B, T]; the indices into it and out of it are computed inside the graph from
``row_lengths``, with operations of static rank only (comparisons, cumulative sum, where,
gather), so that compilers keep every dimension dynamic.  The last layer answers for one
token of each row, and the head is the class rows.

Where every row begins with the same tokens, as a prompt does, those are computed once:
their keys and values are constants of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from megatick_export.network import Network

Prefix = Sequence[tuple[Tensor, Tensor]]
"""Keys and values of the tokens before every row, a pair a layer: [P, groups, channels],
as ``TransformerLayer.project`` made them."""


class PackedClassifier(nn.Module):
    """A network with a classification head, on packed tokens."""

    def __init__(
        self, network: Network, *, prefix: Prefix = (), embedding: bool = False
    ) -> None:
        """Share the network's modules; nothing is copied.

        Args:
            network: with a classification head.
            prefix: what every row begins with, computed once; empty for nothing.
            embedding: answer with the pooled hidden state as well.
        """
        super().__init__()
        self.network = network
        self.embedding = embedding
        self.prefix_length = len(prefix[0][0]) if prefix else 0
        for layer, (key, value) in enumerate(prefix):
            self.register_buffer(f"prefix_key_{layer}", key)
            self.register_buffer(f"prefix_value_{layer}", value)

    def forward(
        self, input_ids: Tensor, row_lengths: Tensor, max_seqlen: Tensor
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Classify each row.

        Args:
            input_ids: int32, shape (N,), the rows' tokens end to end, without the prefix.
            row_lengths: int32, shape (B,), tokens of each row, ≥ 1, summing to N.
            max_seqlen: int32, shape (T,), T the longest row; only its shape is read.

        Returns:
            Logits, float32, shape (B, classes), unnormalised; with ``embedding`` also the
            pooled token's hidden state after the final norm, float32, shape (B, hidden).
        """
        network = self.network
        causal = network.architecture.causal
        layout = PackedLayout.of(
            input_ids, row_lengths, max_seqlen, causal=causal, prefix=self.prefix_length
        )
        hidden = network.embed(input_ids.long(), layout.positions)  # (N, hidden)
        rotation = network.rotation(layout.positions)
        last = len(network.layers) - 1
        for number, layer in enumerate(network.layers):
            query, key, value = layer.project(hidden, rotation)
            key = self._after_prefix(layout.spread(key), f"prefix_key_{number}")
            value = self._after_prefix(layout.spread(value), f"prefix_value_{number}")
            if number < last:
                rectangle = layout.spread(query)
                attended = layer.attend(rectangle, key, value, layout.mask)
                packed = attended.flatten(0, 1).index_select(0, layout.from_rectangle)
            else:  # only the pooled tokens go on: their whole row is visible to them
                query = query.index_select(0, layout.pooled)[:, None]  # (B, 1, heads, hn)
                packed = layer.attend(query, key, value, layout.inside)[:, 0]
                hidden = hidden.index_select(0, layout.pooled)
            hidden = layer.finish(hidden, packed)
        pooled = network.final_norm(hidden)  # (B, hidden)
        logits = network.classify(pooled).float()
        return (logits, pooled.float()) if self.embedding else logits

    def _after_prefix(self, rows: Tensor, name: str) -> Tensor:
        """Put the prefix before each row: [B, T, groups, hn] to [B, P + T, groups, hn]."""
        if not self.prefix_length:
            return rows
        prefix: Tensor = getattr(self, name)
        repeated = prefix.to(rows.dtype).expand(rows.shape[0], -1, -1, -1)
        return torch.cat((repeated, rows), dim=1)


@dataclass(frozen=True)
class PackedLayout:
    """Where each token stands, in the packed row and in attention's rectangle.

    Attributes:
        positions: int64, shape (N,), of each token in its row, the prefix counted.
        to_rectangle: int64, shape (B, T), the token for each slot; slots past a row's end
            hold the row's first token, which attention's mask hides.
        from_rectangle: int64, shape (N,), the slot of each token, in [0, B·T).
        pooled: int64, shape (B,), the token that each row is classified by.
        mask: bool, shape (T, P + T) if causal, else (B, 1, 1, P + T); True may be
            attended to.
        inside: bool, shape (B, 1, 1, P + T), True on the prefix and on real tokens.
    """

    positions: Tensor
    to_rectangle: Tensor
    from_rectangle: Tensor
    pooled: Tensor
    mask: Tensor
    inside: Tensor

    @classmethod
    def of(
        cls,
        input_ids: Tensor,
        row_lengths: Tensor,
        max_seqlen: Tensor,
        *,
        causal: bool,
        prefix: int = 0,
    ) -> PackedLayout:
        """Compute the layout from the lengths.

        Args:
            input_ids: int32, shape (N,); only its shape is read.
            row_lengths: int32, shape (B,).
            max_seqlen: int32, shape (T,); only its shape is read.
            causal: a token sees only what stands left of it.
            prefix: P, tokens that stand before every row and are not among ``input_ids``.
        """
        longest = max_seqlen.shape[0]
        device = row_lengths.device
        tokens = torch.arange(input_ids.shape[0], device=device)
        slots = torch.arange(longest, device=device)
        lengths = row_lengths.long()
        ends = torch.cumsum(lengths, 0)
        starts = ends - lengths
        # A token belongs to the row whose number is the count of rows that ended before.
        rows = (tokens[:, None] >= ends[None, :]).long().sum(1)  # (N,)
        positions = tokens - starts.index_select(0, rows)
        inside = slots[None, :] < lengths[:, None]  # (B, T)
        to_rectangle = starts[:, None] + torch.where(inside, slots[None, :], 0)
        inside = _with_prefix(inside[:, None, None, :], prefix)
        causal_mask = _with_prefix(slots[None, :] <= slots[:, None], prefix)
        return cls(
            positions=positions + prefix if prefix else positions,
            to_rectangle=to_rectangle,
            from_rectangle=rows * longest + positions,
            pooled=ends - 1 if causal else starts,
            mask=causal_mask if causal else inside,
            inside=inside,
        )

    def spread(self, packed: Tensor) -> Tensor:
        """Lay packed tokens out as attention's rectangle: [N, …] to [B, T, …]."""
        flat = packed.index_select(0, self.to_rectangle.flatten())
        return flat.view(*self.to_rectangle.shape, *packed.shape[1:])


def _with_prefix(mask: Tensor, prefix: int) -> Tensor:
    """Let the last axis of a mask begin with a prefix that everything sees."""
    return F.pad(mask, (prefix, 0), value=True) if prefix else mask
