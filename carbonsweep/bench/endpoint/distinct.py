"""Prompts no two of which begin alike, so that a server's cache of prefixes has nothing to give.

Every request of a measurement gets a number, and its prompt three words before it that say the number. Which words
depends on the workload's seed and the batch size alone, so the list of requests is the same in every process.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from typing import Final

from carbonsweep.bench import prompts
from carbonsweep.domain import Workload

WORDS: Final = tuple(
    """
    acid action active animal answer area ball base basic belief bill birth block blue bond book born bound brain camp
    carbon card case cell center check child church city civil coast code cold color cool copy core cover cross custom
    daily dark data date deal deep degree device doctor earth eight energy equal event exact expert fair faith family
    farm fast father field file final fire five food foot forest form fresh friend front fruit fuel game glass global
    goal gold graph green ground group guide hair half hand health heat history hour house idea image images input
    issue item joint label late layer leaf legal length level life light limit link load love lower major market mass
    matter media member memory middle mind model moment money month mother mount mouth music name nation native nature
    news night north offer office older order output pack page paper parent peace pick piece place planet plant point
    policy poll port power price prior random rare rate reach ready record review rich road rock room root rule safety
    sample scale school search season sense share shared simple single site size skill skin sleep slow soft soil solar
    solid soon sort sound source speed spirit spread staff stage step stop store story stress study style sugar summer
    supply symbol system table talk target task team test theory thing tool topic total town track trade train travel
    tree true trust unit urban user valid value video vision visit visual warm water weight whole wide wild wind
    winter wood word world worth
    """.split()  # noqa: SIM905 - a list would have 256 lines
)
"""256 words, each one token of the SmolLM2 vocabulary, so that every prompt grows by as many tokens."""

WORDS_EACH: Final = 3
NUMBERS: Final = len(WORDS) ** WORDS_EACH
"""Requests of one measurement before a prefix comes again: 16.8 million."""
PREFIX_TOKENS: Final = WORDS_EACH + 1
"""The words and the line's end; a vocabulary that cuts these words has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixes:
    """Number k -> (start + step k) modulo NUMBERS -> three words; an odd step meets every number once."""

    start: int
    step: int

    def prefix(self, number: int) -> str:
        """The words of request `number`; its first word changes from one request to the next."""
        code = (self.start + self.step * number) % NUMBERS
        chosen = []
        for _ in range(WORDS_EACH):
            code, word = divmod(code, len(WORDS))
            chosen.append(WORDS[word])
        return " ".join(chosen)


def prefixes(seed: int, batch_size: int) -> Prefixes:
    """The same in every process and version of Python."""
    drawn = hashlib.sha256(f"{seed},{batch_size}".encode()).digest()
    return Prefixes(start=int.from_bytes(drawn[:8]) % NUMBERS, step=int.from_bytes(drawn[8:16]) % NUMBERS | 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """The fixed list of batches, as texts, and the words that come before them."""

    batches: tuple[tuple[str, ...], ...]
    prefixes: Prefixes
    invented: bool

    def texts(self, batch: int, first_number: int) -> tuple[str, ...]:
        """The prompts of one run of a batch, whose requests are numbered from `first_number`."""
        texts = self.batches[batch]
        return tuple(f"{self.prefixes.prefix(first_number + i)}\n{text}" for i, text in enumerate(texts))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of the texts and the rule that makes them distinct."""
        whole = json.dumps([self.batches, self.prefixes.start, self.prefixes.step, WORDS], ensure_ascii=False)
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


def requests(workload: Workload, batch_size: int, count: int) -> Requests:
    """`count` batches of the workload; where it has lengths only, prompts are seeded words, about as many as tokens."""
    texts = workload.prompts or tuple(
        _words(length, random.Random(f"{workload.seed},{index}")) for index, length in enumerate(workload.prompt_tokens)
    )
    dealt = prompts.batches(workload, batch_size, count)
    return Requests(
        batches=tuple(tuple(texts[index] for index in batch) for batch in dealt),
        prefixes=prefixes(workload.seed, batch_size),
        invented=workload.prompts is None,
    )


def _words(count: int, dealer: random.Random) -> str:
    return " ".join(dealer.choices(WORDS, k=count))
