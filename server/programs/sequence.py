"""Program `sequence`: which titles follow which contexts, from a few noisy sums (docs/algorithms.md).

Notation: p the shares of the titles in the popularity release, T its total, W an embedding with p'W = 0, z the contexts
that devices make of it, length 1. A release is S = sum over watched titles i and devices of e_i z' and noise of sd s on
every entry. If titles followed contexts linearly, P(i | z) = p_i + z'r_i, its mean without noise were S = R K with K
the second moment of the contexts; K is close to T W'diag(p)W / trace, which is public once p is. So R = S / K, shrunk
(`shrunk`). Another round asks for the same with the embedding that the released R itself suggests, off the former
ones: titles with the same followers are alike. Everything here is post-processing of releases.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from backrow.privacy.queries import Query, QuerySchema
from backrow.server.programs.base import Answer, Contexts, FactorProgram, FloatArray, Question
from backrow.server.programs.shrinkage import Guess, expected_counts, shrunk

COLUMNS = 32
"""Of an embedding."""
DECAY, WINDOW = math.exp(-1 / 3), 13
STRENGTH = 2.0
"""Personal part of a score, relative to the shrunk estimate: a ranking forgives noise more than an estimate does."""
CLIP_NORM = 1.0
LEAST_MOMENT = 1e-3
"""Directions that contexts hardly move in count as moving this much, relative to the most."""
DESCRIBED = 24
"""Public columns that an estimate is shrunk towards."""
ALIKE, ALIKE_DEVIATION = 3.0, 1.0
"""How much more a title is watched after those that metadata describes alike: normal, before anything is seen of it."""
LEAST_NEW = 1e-6
"""Length of a column of the next embedding, relative to the longest, below which nothing was learned there."""
ROOM, PUBLIC_SEED = 0.1, 1
"""Length, relative to the shortest public column, and seed of random columns where metadata gives too few."""


@dataclass(frozen=True, slots=True)
class SequenceProgram:
    """Immutable state between rounds.

    Attributes:
        metadata: public embedding, shape (titles, `COLUMNS`).
        counts: expected true counts, shape (titles,), > 0.
        embeddings: W of every round released so far.
        followers: R of each, shape (titles, `COLUMNS`), per unit of probability.
        devices: enrolled, a public number; 0: unknown (`shrunk`).
    """

    metadata: FloatArray
    counts: FloatArray
    embeddings: tuple[FloatArray, ...] = ()
    followers: tuple[FloatArray, ...] = ()
    devices: int = 0

    @classmethod
    def start(cls, metadata: FloatArray, counts: Answer, devices: int = 0) -> "SequenceProgram":
        """Args: metadata: as `crossed_factors` makes it; counts: the popularity release; devices: enrolled."""
        seen = expected_counts(counts.values[:, 0], counts.noise_scale, metadata)
        return cls(metadata, seen, devices=devices)

    def schema(self) -> QuerySchema:
        return QuerySchema(Query.SEQUENCE, self.metadata.shape[0], self.metadata.shape[1], CLIP_NORM)

    def ask(self) -> Question:
        asked = Contexts(self._next_embedding(), DECAY, WINDOW, COLUMNS)
        return Question("sequence", {"embedding": asked.embedding}, asked.settings)

    def absorb(self, answer: Answer | None) -> FactorProgram:
        """What the round says of who follows what. A void round only passes."""
        if answer is None:
            return self
        embedding = self._next_embedding()
        alike = ALIKE if self.told and not self.followers else 0.0
        found = followers_of(
            answer.values, answer.noise_scale, self.counts, embedding, self.metadata, alike, self.devices
        )
        return replace(self, embeddings=(*self.embeddings, embedding), followers=(*self.followers, found))

    def item_factors(self) -> FloatArray:
        """Per context: what its followers are watched more than their counts say. Zeros before the first round."""
        if not self.followers:
            return np.zeros_like(self.metadata)
        return np.asarray(np.hstack(self.followers) * (STRENGTH * self.counts.sum()))

    def contexts(self) -> Contexts:
        """What devices make contexts of, for `item_factors`."""
        embeddings = self.embeddings or (self._next_embedding(),)
        return Contexts(np.hstack(embeddings), DECAY, WINDOW, COLUMNS)

    @property
    def told(self) -> bool:
        """Whether metadata says anything: without any, its columns are random."""
        return not np.array_equal(self.metadata, crossed_factors(np.zeros((len(self.metadata), 0))))

    @property
    def _share(self) -> FloatArray:
        return np.asarray(self.counts / self.counts.sum())

    def _next_embedding(self) -> FloatArray:
        """The public one; then what the followers say beyond the embeddings that there are."""
        share = self._share
        if not self.followers:
            return _centred(self.metadata, share)
        lift = np.hstack(
            [
                followers / share[:, None] @ _root(_moments(embedding, share))
                for embedding, followers in zip(self.embeddings, self.followers, strict=True)
            ]
        )
        lift = _centred(lift, share)
        _, axes = np.linalg.eigh(_moments(lift, share))
        learned = lift @ axes[:, ::-1][:, :COLUMNS]
        former = np.hstack(self.embeddings)
        rest = _off(former, learned, share)
        root = np.sqrt(share)[:, None]
        left, values, _ = np.linalg.svd(root * rest, full_matrices=False)
        new = values > LEAST_NEW * _lengths(learned, share).max()
        if np.count_nonzero(new) == rest.shape[1]:
            return rest
        # Where followers say nothing new, look elsewhere: else the next question would be rounding errors.
        found = (left * values)[:, new] / root
        missing = rest.shape[1] - np.count_nonzero(new)  # of few titles there are fewer values than columns
        drawn = np.random.default_rng(PUBLIC_SEED + len(self.embeddings)).normal(size=(len(rest), missing))
        random = _off(np.hstack([former, found]), drawn, share)
        random *= ROOM * values[new].min() if np.any(new) else 1.0
        return np.hstack([found, random])


def followers_of(
    sums: FloatArray,
    noise_scale: float,
    counts: FloatArray,
    embedding: FloatArray,
    metadata: FloatArray,
    alike: float = 0.0,
    devices: int = 0,
) -> FloatArray:
    """R of one noisy sum, per unit of probability, shape (titles, columns of `embedding`).

    Args:
        sums: S, shape (titles, columns), noise of sd `noise_scale` on every entry.
        counts: expected true counts, shape (titles,), > 0, in the unit of what the sums count.
        embedding: W, that contexts were made of.
        metadata: what an estimate is shrunk towards.
        alike: how much more, before anything is seen, titles are watched after those with the same W (`Guess.mean`).
        devices: as `shrunk`.
    """
    share = counts / counts.sum()
    moments = _moments(embedding, share)
    length = max(np.trace(moments), 1e-300)
    scale, turn = np.linalg.eigh(moments * (counts.sum() / length))
    scale = np.maximum(scale, max(LEAST_MOMENT * scale.max(), 1e-12))
    described = _centred(metadata, share)[:, :DESCRIBED]
    guess = Guess(share[:, None] * (embedding @ turn) / math.sqrt(length), alike, ALIKE_DEVIATION)
    return np.asarray(shrunk(sums @ turn, scale, share, described, noise_scale, guess, devices) @ turn.T)


def crossed_factors(features: FloatArray) -> FloatArray:
    """Public embedding of `COLUMNS` columns: principal parts of the features, random ones where these give too few.

    Args:
        features: public metadata, shape (titles, features), not centred.
    """
    left, values, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    keep = (values > 1e-6 * max(values.max(initial=0.0), 1e-300))[:COLUMNS]
    made = (left[:, :COLUMNS] * values[:COLUMNS])[:, keep]
    missing = COLUMNS - made.shape[1]
    random = np.random.default_rng(PUBLIC_SEED).normal(size=(len(features), missing))
    shortest = values[:COLUMNS][keep].min() if made.shape[1] else 1.0 / ROOM
    return np.hstack([made, random * (ROOM * shortest / np.sqrt(len(features)))])


def _centred(columns: FloatArray, share: FloatArray) -> FloatArray:
    return np.asarray(columns - share @ columns)


def _off(former: FloatArray, columns: FloatArray, share: FloatArray) -> FloatArray:
    """What former columns do not say, as the popular titles weigh; zero where they are as many as the titles."""
    root = np.sqrt(share)[:, None]
    left, values, _ = np.linalg.svd(root * former / np.maximum(_lengths(former, share), 1e-300), full_matrices=False)
    left = left[:, values > LEAST_NEW * values.max()]
    rest = root * columns
    for _ in range(2):  # twice is enough
        rest = rest - left @ (left.T @ rest)
    rest = _centred(rest / root, share)
    return np.where(_lengths(rest, share) > LEAST_NEW * _lengths(columns, share), rest, 0.0)


def _lengths(columns: FloatArray, share: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(share @ columns**2))


def _moments(columns: FloatArray, share: FloatArray) -> FloatArray:
    return np.asarray(columns.T @ (share[:, None] * columns))


def _root(moments: FloatArray) -> FloatArray:
    """Symmetric square root."""
    values, axes = np.linalg.eigh(moments)
    return np.asarray((axes * np.sqrt(np.maximum(values, 0))) @ axes.T)
