"""A transformer over what was watched, in order: the published model of order that others are measured against."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import numpy as np
import scipy.sparse as sparse

from backrow.privacy.randomness import Purpose, SeededRandom
from backrow.simulations.baselines.base import FloatArray, IntArray
from backrow.simulations.baselines.ordered import sequences
from backrow.simulations.metrics import LIST

if TYPE_CHECKING:
    from torch import Tensor

    from backrow.simulations.baselines.sasrec_network import Network

_SCORED_AT_ONCE = 256


class SasRec:
    """Self-attention over the last `window` titles predicts the next one, at every place of every history.

    Of every viewer with three titles or more the last one is kept back to stop by: training ends when their NDCG@10
    has not risen for `patience` epochs, and the best epoch's weights are kept. So nothing is set by hand for a data
    set, and no other held-out title is looked at.

    Args:
        columns: of the embedding and of every layer.
        layers, heads: of attention.
        dropout: of embeddings, attention's output and the feed-forward part, in [0, 1).
        window: titles looked back at.
        negatives: titles drawn at random for each batch that the next one is told from; all of them where the
            catalogue is no larger.
        step: of Adam.
        batch: windows at a time.
        epochs, patience: at most, and without gain.
        seed: of weights, batches, dropout and negatives.

    The defaults are usual for ml-1m; only the batch (32, not 128) was chosen, on the tuning view of ml-100k. Needs
    torch (extra `sim`); deterministic for one version and number of threads of it.
    Source: Kang and McAuley 2018, "Self-attentive sequential recommendation"; with cross entropy over many titles as
    in Klenitskiy and Vasilev 2023, "Turning dross into gold loss: is BERT4Rec really better than SASRec?".
    """

    name: str = "SASRec"
    ordered: bool = True

    def __init__(
        self,
        columns: int = 64,
        layers: int = 2,
        heads: int = 1,
        dropout: float = 0.2,
        window: int = 100,
        negatives: int = 1000,
        step: float = 1e-3,
        batch: int = 32,
        epochs: int = 60,
        patience: int = 3,
        seed: int = 0,
    ) -> None:
        if min(columns, layers, heads, window, negatives, batch, epochs, patience) < 1 or columns % heads:
            raise ValueError("SASRec needs sizes of at least 1, and columns that its heads divide")
        if not 0 <= dropout < 1 or not step > 0:
            raise ValueError(f"SASRec needs a dropout in [0, 1) and a step above 0, got {dropout} and {step}")
        self._shape = (columns, layers, heads, dropout, window)
        self._window, self._negatives, self._step = window, negatives, step
        self._batch, self._epochs, self._patience, self._seed = batch, epochs, patience, seed
        self.told: list[float] = []
        """NDCG@10 of the titles kept back, after every epoch."""

    def fit(self, train: sparse.csr_array) -> Self:
        """Train until it no longer gains; `train` as `Interactions.places`."""
        import torch

        from backrow.simulations.baselines.sasrec_network import Network

        random = SeededRandom(self._seed, Purpose.MODEL, self.name).numpy()
        self._histories = [*sequences(train)]
        learned = [history[:-1] if len(history) > 2 else history for history in self._histories]
        asked = [(history[:-1], int(history[-1])) for history in self._histories if len(history) > 2]
        self._titles = train.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(random.integers(2**62)))
            network = Network(self._titles, *self._shape)
            optimiser = torch.optim.Adam(network.parameters(), lr=self._step, betas=(0.9, 0.98))
            best, kept, waited = -1.0, network.copied(), 0
            for _ in range(self._epochs):
                network.train()
                for windows in self._batches(learned, random):
                    negatives = self._drawn(random)
                    loss = network.loss(torch.from_numpy(windows), negatives)
                    optimiser.zero_grad()
                    torch.autograd.backward([loss])
                    optimiser.step()
                self.told.append(self._ndcg(network, asked))
                waited += 1
                if self.told[-1] > best:
                    best, kept, waited = self.told[-1], network.copied(), 0
                if waited >= self._patience:
                    break
            network.load_state_dict(kept)
        self._network = network.eval()
        return self

    def scores(self, viewers: IntArray) -> FloatArray:
        """Products of what attention makes of the last titles with all embeddings, shape (len(viewers), titles)."""
        return self._scored(self._network, [self._histories[viewer] for viewer in viewers])

    def _scored(self, network: "Network", histories: list[IntArray]) -> FloatArray:
        last = [history[-self._window :] for history in histories]
        rows = np.full((len(last), max(1, *map(len, last))), -1, dtype=np.int64)
        for row, history in zip(rows, last, strict=True):
            row[: len(history)] = history
        return network.scores(rows)

    def _ndcg(self, network: "Network", asked: list[tuple[IntArray, int]]) -> float:
        """NDCG@10 of the titles kept back, among those not watched before."""
        network.eval()
        gain = 0.0
        for start in range(0, len(asked), _SCORED_AT_ONCE):
            part = asked[start : start + _SCORED_AT_ONCE]
            scores = self._scored(network, [history for history, _ in part])
            for row, (history, title) in zip(scores, part, strict=True):
                row[history] = -np.inf
                rank = int(np.sum(row > row[title]))
                gain += 1 / np.log2(rank + 2) if rank < LIST else 0.0
        return float(gain / max(1, len(asked)))

    def _batches(self, histories: list[IntArray], random: np.random.Generator) -> Iterator[np.ndarray]:
        """Every history once, cut at random places into windows; windows of like length together, padded with -1."""
        size = self._window + 1
        windows = []
        for history in histories:
            first = int(random.integers(1, size)) if len(history) > size else 0
            cuts = [0, *range(first, len(history), self._window), len(history)] if first else [0, len(history)]
            windows += [history[max(0, a - 1) : b] for a, b in pairwise(cuts)]
        windows = [window for window in windows if len(window) > 1]
        windows = [windows[place] for place in random.permutation(len(windows))]
        windows.sort(key=len)
        batches = [windows[start : start + self._batch] for start in range(0, len(windows), self._batch)]
        for place in random.permutation(len(batches)):
            rows = np.full((len(batches[place]), len(batches[place][-1])), -1, dtype=np.int64)
            for row, window in zip(rows, batches[place], strict=True):
                row[: len(window)] = window
            yield rows

    def _drawn(self, random: np.random.Generator) -> "Tensor | None":
        """Titles to tell the next ones from; None: all."""
        import torch

        if self._negatives >= self._titles:
            return None
        return torch.from_numpy(random.choice(self._titles, self._negatives, replace=False))
