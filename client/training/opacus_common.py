"""What both Opacus trainers need around Opacus: its randomness, one thread, no idle warnings."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from backrow.privacy.randomness import RandomSource

_STATE_WORDS = 624
_STATE_OFFSET = 3
"""Position of the Mersenne Twister's words in the 64-bit words of a torch CPU generator's state."""


def torch_generator(random: RandomSource) -> torch.Generator:
    """A torch generator whose whole state (624 words of 32 bits) is drawn from `random`.

    Its seed would not do: torch's CPU generator uses 32 bits of it, so that noise could be recomputed
    by trying them all, and two of 77,000 blocks would share their noise more likely than not.

    Raises:
        RuntimeError: this torch keeps its state in another layout.
    """
    generator = torch.Generator()
    generator.manual_seed(_STATE_WORDS)
    state = generator.get_state()
    words = state.numpy().view(np.uint64)
    second = (1812433253 * (_STATE_WORDS ^ (_STATE_WORDS >> 30)) + 1) % 2**32
    if words[_STATE_OFFSET] != _STATE_WORDS or words[_STATE_OFFSET + 1] != second:
        raise RuntimeError(f"torch {torch.__version__} keeps its generator's state in a layout unknown here")
    drawn = np.frombuffer(random.bytes(4 * _STATE_WORDS), dtype="<u4")
    words[_STATE_OFFSET : _STATE_OFFSET + _STATE_WORDS] = drawn
    generator.set_state(state)
    return generator


@contextmanager
def one_quiet_thread() -> Iterator[None]:
    """Run torch on one thread, so that sums do not depend on the machine; restore the number after.

    Also silences torch's remark, harmless here, that the inputs of a hooked module need no gradient.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
            yield
    finally:
        torch.set_num_threads(threads)
