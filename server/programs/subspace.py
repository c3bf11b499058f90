"""Program `subspace`: a few noisy power steps from the public prior (MATH 3a)."""

from dataclasses import dataclass, replace

import numpy as np

from backrow.privacy.queries import Query, QuerySchema
from backrow.server.programs.base import Answer, FactorProgram, FloatArray, Question

CLIP_NORM = 0.05
"""So small that nearly every device counts equally (the norms are about .2 to .5)."""
APPENDED_SCALE = 0.06
"""Length of an appended column, in units of sqrt(titles)."""


@dataclass(frozen=True, slots=True)
class SubspaceProgram:
    """Immutable state between rounds.

    Attributes:
        prior: V0, shape (titles, columns).
        direction: popularity, shape (titles, 1), unit norm; projected out of everything.
        basis: Q, shape (titles, columns), orthonormal and orthogonal to `direction`.
        kept: weight of each basis column above the noise, 0..1; zeros before the first round.
    """

    prior: FloatArray
    direction: FloatArray
    basis: FloatArray
    kept: FloatArray

    @classmethod
    def start(cls, prior: FloatArray, direction: FloatArray) -> "SubspaceProgram":
        """Start at the prior's own column space."""
        off = prior - direction @ (direction.T @ prior)
        basis, _ = np.linalg.qr(off)
        return cls(prior, direction, basis, np.zeros(prior.shape[1]))

    def schema(self) -> QuerySchema:
        return QuerySchema(Query.SUBSPACE, self.basis.shape[0], self.basis.shape[1], CLIP_NORM)

    def ask(self) -> Question:
        return Question("subspace", {"deflation": self.direction, "basis": self.basis})

    def absorb(self, answer: Answer | None) -> FactorProgram:
        """The next basis: left singular vectors; each kept as far as it stands above the noise edge."""
        if answer is None:
            return self
        sketch = answer.values - self.direction @ (self.direction.T @ answer.values)
        left, values, _ = np.linalg.svd(sketch, full_matrices=False)
        titles, columns = sketch.shape
        edge = answer.noise_scale * (np.sqrt(titles) + np.sqrt(columns))
        kept = np.sqrt(np.maximum(values**2 - edge**2, 0)) / np.maximum(values, 1e-300)
        return replace(self, basis=left, kept=kept)

    def item_factors(self) -> FloatArray:
        """The prior with the kept columns appended."""
        appended = self.basis * self.kept * APPENDED_SCALE * np.sqrt(len(self.basis))
        return np.hstack([self.prior, appended[:, self.kept > 0]])
