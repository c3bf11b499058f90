"""The network of `sasrec`. Imported where it is fitted: it needs torch."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

FloatArray = NDArray[np.float64]


class _Layer(nn.Module):
    """Attention to what was watched before, then a feed-forward part; both added to what comes in."""

    def __init__(self, columns: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(columns), nn.LayerNorm(columns)
        self.asked, self.out = nn.Linear(columns, 3 * columns), nn.Linear(columns, columns)
        self.forth, self.back = nn.Linear(columns, columns), nn.Linear(columns, columns)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, columns = x.shape
        parts = self.asked(self.before(x)).view(rows, length, 3, self.heads, columns // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        # Windows are padded at the end, and nothing looks ahead: padding is never looked at.
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.dropout(self.out(seen.transpose(1, 2).reshape(rows, length, columns)))
        made: Tensor = x + self.dropout(self.back(functional.relu(self.forth(self.between(x)))))
        return made


class Network(nn.Module):
    """Embeddings of titles and places, layers of attention; the embeddings of titles are also the output's.

    Args:
        titles: of the catalogue.
        columns, layers, heads, dropout, window: as `SasRec`.
    """

    def __init__(self, titles: int, columns: int, layers: int, heads: int, dropout: float, window: int) -> None:
        super().__init__()
        self.titles = nn.Embedding(titles, columns)
        self.places = nn.Embedding(window, columns)
        for table in (self.titles, self.places):
            nn.init.normal_(table.weight, std=0.02)
        self.layers = nn.ModuleList(_Layer(columns, heads, dropout) for _ in range(layers))
        self.last = nn.LayerNorm(columns)
        self.dropout = nn.Dropout(dropout)
        self.scale = columns**0.5

    def forward(self, windows: Tensor) -> Tensor:
        """What follows each place; shape (windows, length) of titles, -1 at the end -> (windows, length, columns)."""
        real = windows >= 0
        back = real.flip(1).cumsum(1).flip(1)  # places counted from the last title, which is 1
        x = self.titles(windows.clamp(min=0)) * self.scale + self.places((back - 1).clamp(min=0))
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x)
        made: Tensor = self.last(x)
        return made

    def loss(self, windows: Tensor, negatives: Tensor | None) -> Tensor:
        """Mean cross entropy of each next title among the negatives and itself, or among all."""
        following = windows[:, 1:]
        real = following >= 0
        made, wanted = self(torch.where(real, windows[:, :-1], -1))[real], following[real]
        if negatives is None:
            return functional.cross_entropy(made @ self.titles.weight.T, wanted)
        right = (made * self.titles(wanted)).sum(dim=1, keepdim=True)
        wrong = made @ self.titles(negatives).T
        wrong = wrong.masked_fill(negatives[None] == wanted[:, None], -torch.inf)
        first = torch.zeros(len(wanted), dtype=torch.long)
        return functional.cross_entropy(torch.cat([right, wrong], dim=1), first)

    @torch.no_grad()
    def scores(self, windows: NDArray[np.int64]) -> FloatArray:
        """Of all titles after each window, shape (windows, titles); zeros after an empty one."""
        rows = torch.from_numpy(windows)
        length = (rows >= 0).sum(dim=1)
        now = self(rows)[torch.arange(len(rows)), (length - 1).clamp(min=0)]
        scores = (now @ self.titles.weight.T) * (length > 0)[:, None]
        return np.asarray(scores.numpy(), dtype=np.float64)

    def copied(self) -> dict[str, Any]:
        """The weights as they are now."""
        return {name: tensor.detach().clone() for name, tensor in self.state_dict().items()}
