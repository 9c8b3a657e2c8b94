"""The pure parts of the server bench: addresses, prompts that begin unalike, counts in time, cache counters."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carbonsweep.bench.endpoint import distinct, wire
from carbonsweep.bench.endpoint.address import address, is_local
from carbonsweep.bench.endpoint.dialects import DIALECTS, body
from carbonsweep.bench.endpoint.patience import Patience
from carbonsweep.bench.endpoint.prefix_cache import CacheCounters, counters, view
from carbonsweep.bench.endpoint.reply import Beat, Heard, Reply, reply
from carbonsweep.bench.endpoint.run import Run
from carbonsweep.bench.endpoint.wire import Usage
from carbonsweep.domain import Workload
from carbonsweep.errors import BadInput, ServerRefused, StreamBroken, WrongTokenCount

# ---- addresses ----


def test_an_address_knows_its_root_and_loses_its_last_slash() -> None:
    found = address(" https://host.example:8443/api/v1/ ")
    assert (found.url, found.root) == ("https://host.example:8443/api/v1", "https://host.example:8443/api")
    assert (found.host, found.port) == ("host.example", 8443)


def test_loopback_and_the_addresses_of_this_machine_are_local() -> None:
    mine = {"127.0.0.1", "127.0.0.2", "localhost", "[::1]"}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        towards.connect(("192.0.2.1", 9))  # sends nothing: it only chooses the address packets would leave from
        mine.add(towards.getsockname()[0])
    assert [host for host in mine if not is_local(f"http://{host}:8000/v1")] == []


@pytest.mark.parametrize("host", ["192.0.2.1", "198.51.100.7", "no-such-host.invalid", "a..b"])
def test_other_machines_and_unknown_names_are_not_local(host: str) -> None:
    # 192.0.2.0/24 and 198.51.100.0/24 are nobody's (RFC 5737).
    assert not is_local(f"http://{host}:8000/v1")


# ---- prompts ----

WORKLOAD = Workload(
    name="w", prompts=("one", "two", "three"), prompt_tokens=(1, 1, 1), token_basis="given", output_tokens=2
)


def test_there_are_256_words_so_that_three_of_them_number_16_million_requests() -> None:
    assert len(set(distinct.WORDS)) == len(distinct.WORDS) == 256
    assert distinct.NUMBERS == 256**3


def test_no_two_requests_begin_alike() -> None:
    words = distinct.prefixes(0, 4)
    seen = [words.prefix(number) for number in range(100_000)]
    assert len(set(seen)) == len(seen)
    # The first word differs from the next 255 requests', so even a cache of single tokens starts anew.
    assert len({prefix.split()[0] for prefix in seen[:256]}) == 256


def test_numbers_come_again_only_after_all_of_them() -> None:
    words = distinct.prefixes(3, 8)
    assert words.prefix(distinct.NUMBERS) == words.prefix(0)
    assert math.gcd(words.step, distinct.NUMBERS) == 1


def test_the_list_of_requests_is_a_function_of_seed_and_batch_size() -> None:
    first, again = (distinct.requests(WORKLOAD, 2, 3) for _ in range(2))
    assert first == again
    assert first.texts(1, 7) == again.texts(1, 7)
    others = [
        distinct.requests(WORKLOAD, 2, 4),
        distinct.requests(WORKLOAD, 1, 3),
        distinct.requests(replace(WORKLOAD, seed=1), 2, 3),
        distinct.requests(replace(WORKLOAD, prompts=("one", "two", "four")), 2, 3),
    ]
    assert len({each.digest for each in [first, *others]}) == 5


def test_the_digest_is_the_same_in_another_process() -> None:
    program = (
        "from tests.bench.test_server_parts import WORKLOAD\n"
        "from carbonsweep.bench.endpoint import distinct\n"
        "print(distinct.requests(WORKLOAD, 2, 3).digest)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == distinct.requests(WORKLOAD, 2, 3).digest


def test_a_batch_size_does_not_reuse_the_prefixes_of_another() -> None:
    # 2,000 random numbers of 16.8 million meet 2,000 others with probability 2000 x 2000 / 16.8e6 = 0.24; with these
    # two seeds they do not.
    small, large = distinct.prefixes(0, 4), distinct.prefixes(0, 8)
    assert not {small.prefix(k) for k in range(2000)} & {large.prefix(k) for k in range(2000)}


def test_a_prompt_follows_its_prefix_on_a_line_of_its_own() -> None:
    (text,) = distinct.requests(replace(WORKLOAD, prompts=("say hi",), prompt_tokens=(2,)), 1, 1).texts(0, 5)
    words, prompt = text.split("\n")
    assert prompt == "say hi"
    assert len(words.split()) == 3


def test_lengths_without_texts_become_that_many_seeded_words() -> None:
    made = distinct.requests(replace(WORKLOAD, prompts=None, prompt_tokens=(3, 5, 9)), 3, 1)
    assert made.invented
    assert sorted(len(text.split()) for text in made.batches[0]) == [3, 5, 9]


def test_every_word_and_the_line_end_are_one_token_of_smollm2(smollm2_folder: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    cut = tokenizers.Tokenizer.from_file(str(smollm2_folder / "tokenizer.json"))
    words = distinct.prefixes(0, 1)
    lengths = {len(cut.encode(f"{words.prefix(k)}\n").ids) for k in range(512)}
    assert lengths == {distinct.PREFIX_TOKENS}


# ---- requests ----


@pytest.mark.parametrize("dialect", [dialect.name for dialect in DIALECTS])
def test_every_dialect_asks_for_greedy_streamed_tokens_of_the_model(dialect: str) -> None:
    asked = json.loads(body(dialect=dialect, path="completions", model="m", prompt="p\n", tokens=7, salt="s"))
    assert (asked["model"], asked["prompt"], asked["max_tokens"]) == ("m", "p\n", 7)
    assert (asked["stream"], asked["temperature"]) == (True, 0)


def test_the_generation_config_of_transformers_has_no_end_token_and_the_length() -> None:
    asked = json.loads(
        body(dialect="generation_config", path="chat/completions", model="m", prompt="p", tokens=7, salt="s")
    )
    assert json.loads(asked["generation_config"]) == {"max_new_tokens": 7, "eos_token_id": -1, "do_sample": False}
    assert asked["messages"] == [{"role": "user", "content": "p"}]


# ---- streams ----


def heard(*beats: tuple[float, str, int | None], finish: str | None = "length", **usage: Any) -> Heard:
    """A stream sent at 0 s whose end came at 9 s."""
    return Heard(
        sent_s=0.0,
        beats=tuple(Beat(at_s=at_s, text=text, told=told) for at_s, text, told in beats),
        finish=finish,
        finish_s=None if finish is None else 9.0,
        usage=Usage(**usage) if usage else None,
    )


def test_a_chunk_a_token_places_every_token() -> None:
    found = reply(heard((1.0, "a", None), (2.0, "b", None), (4.0, "c", None), completion_tokens=3), 3)
    assert (found.at_s, found.counts, found.stepwise) == ((1.0, 2.0, 4.0), (1, 2, 3), True)
    assert (found.ttft_s, found.decode_s) == (1.0, 3.0)


def test_a_running_count_places_tokens_without_text_and_several_in_a_chunk() -> None:
    beats = ((1.0, "", 0), (2.0, "", 1), (3.0, "bc", 3), (5.0, "d", 4), (5.0, "", 4))
    found = reply(heard(*beats, completion_tokens=4), 4)
    assert (found.at_s, found.counts, found.stepwise) == ((2.0, 3.0, 5.0), (1, 3, 4), False)


def test_fewer_chunks_than_tokens_place_the_first_token_and_the_end() -> None:
    found = reply(heard((1.0, "ab", None), (3.0, "cd", None), completion_tokens=5), 5)
    assert (found.at_s, found.counts, found.stepwise) == ((1.0, 9.0), (1, 5), False)


def test_a_text_and_then_only_special_tokens_end_with_the_stream() -> None:
    # SmolLM2 behind transformers serve: a line's end, and then end tokens that have no text.
    found = reply(heard((1.0, "\n", None), completion_tokens=3), 3)
    assert (found.at_s, found.counts, found.stepwise) == ((1.0, 9.0), (1, 3), False)


def test_over_ten_thousand_tokens_a_second_are_a_buffer() -> None:
    def held_back(text_s: float) -> Reply:
        """All text at once, and the end a moment after it: at 9 s, with 2 steps of 0.1 ms at least between them."""
        return reply(heard((text_s, "all of it", None), completion_tokens=3), 3)

    with pytest.raises(StreamBroken, match="all 3 tokens came in one piece"):
        held_back(8.99985)
    assert held_back(8.99975).at_s == (8.99975, 9.0)


def test_one_token_without_text_came_with_the_end() -> None:
    assert reply(heard(completion_tokens=1), 1).ttft_s == 9.0


def test_several_tokens_without_any_text_have_no_first() -> None:
    with pytest.raises(StreamBroken, match="no text came with 3 tokens"):
        reply(heard(completion_tokens=3), 3)


def test_usage_in_the_last_chunk_alone_is_no_running_count() -> None:
    # As transformers serve sends it: the count comes with the end, after texts without one.
    found = reply(heard((1.0, "a", None), (2.0, "b", None), (2.0, "", 2), completion_tokens=2), 2)
    assert found.counts == (1, 2)


def test_stopping_by_itself_at_the_asked_length_is_right() -> None:
    assert reply(heard((1.0, "a", None), (2.0, "b", None), finish="stop", completion_tokens=2), 2).counts == (1, 2)


def test_without_usage_only_the_length_is_a_good_end() -> None:
    with pytest.raises(WrongTokenCount):
        reply(heard((1.0, "a", None), (2.0, "b", None), finish="stop"), 2)
    assert not reply(heard((1.0, "a", None), (2.0, "b", None)), 2).by_usage


def made(first_s: float, last_s: float, tokens: int, sent_s: float = 0.0) -> Reply:
    """Tokens at even distances."""
    step_s = (last_s - first_s) / (tokens - 1)
    return Reply(
        sent_s=sent_s,
        at_s=tuple(first_s + i * step_s for i in range(tokens)),
        counts=tuple(range(1, tokens + 1)),
        prompt_tokens=3,
        cached_tokens=None,
        stepwise=True,
        by_usage=True,
    )


def test_tokens_between_two_times_are_linear_between_arrivals() -> None:
    found = made(1.0, 5.0, 5)
    assert found.tokens_between(1.0, 5.0) == pytest.approx(4)
    assert found.tokens_between(2.5, 4.0) == pytest.approx(1.5)
    assert found.tokens_between(0.0, 9.0) == pytest.approx(4)  # the first token belongs to prefill


def test_a_batch_is_as_slow_as_its_last_first_token_and_its_decode_is_the_mean() -> None:
    run = Run(replies=(made(1.0, 5.0, 5, sent_s=0.1), made(2.0, 7.0, 5, sent_s=0.0)))
    assert (run.begin_s, run.ttft_s, run.whole_s) == (0.0, 2.0, 7.0)
    assert run.decode_s == pytest.approx((4 + 5) / 2)
    assert run.decode_span == (2.0, 5.0)
    assert run.together == pytest.approx(3 / 4.5)
    # 3 s of a token a second, and 3 s of 4 tokens in 5 s.
    assert run.tokens_in_span == pytest.approx(3 + 2.4)


def test_streams_one_after_another_are_never_together() -> None:
    assert Run(replies=(made(1.0, 2.0, 3), made(3.0, 4.0, 3))).together < 0


# ---- prefix cache ----

METRICS = b"""# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 500.0
vllm:prefix_cache_queries_total{engine="1",model_name="m"} 1.5e+03
vllm:prefix_cache_queries_created{engine="0",model_name="m"} 1.7e+09
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 16.0
vllm:external_prefix_cache_hits_total{engine="0",model_name="m"} 99.0
"""


def test_the_counters_of_all_engines_are_added() -> None:
    assert counters(METRICS) == CacheCounters(queried=2000.0, hit=16.0)


@pytest.mark.parametrize("metrics", [b"", b"<html>", b"vllm:prefix_cache_queries_total 5.0\n", b"\xff\xfe\x00"])
def test_metrics_without_both_counters_tell_nothing(metrics: bytes) -> None:
    assert counters(metrics) is None


@pytest.mark.parametrize("value", ["NaN", "+Inf", "1e999", "-5", "5.5.5", "e"])
def test_counters_that_are_no_numbers_tell_nothing(value: str) -> None:
    text = f"vllm:prefix_cache_queries_total {value}\nvllm:prefix_cache_hits_total 0\n"
    assert counters(text.encode()) is None


BEFORE = CacheCounters(queried=1000.0, hit=10.0)
SERVER_HITS = "prefix cache hit: 1.1 % of the prompt tokens, by the server's counters"
USAGE_HITS = "prefix cache hit: 50.0 % of the prompt tokens, by usage"
STRANGERS = "foreign requests: the server read 1030 prompt tokens, 1000 of them ours"
RESTARTED = "the server's counters fell: it was started anew during the measurement"


@pytest.mark.parametrize(
    ("cached", "after", "gates"),
    [
        (None, CacheCounters(queried=2000.0, hit=20.0), ()),  # 1 % is allowed
        (None, CacheCounters(queried=2000.0, hit=21.0), (SERVER_HITS,)),
        (500, None, (USAGE_HITS,)),
        (0, None, ()),
        (None, CacheCounters(queried=2030.0, hit=10.0), (STRANGERS,)),
        (None, CacheCounters(queried=500.0, hit=0.0), (RESTARTED,)),
    ],
)
def test_hits_foreign_requests_and_a_restart_mark_a_measurement(
    cached: int | None, after: CacheCounters | None, gates: tuple[str, ...]
) -> None:
    found = view(cached, 1000, BEFORE, after)
    assert (found.gates, found.notes) == (gates, ())


def test_a_server_that_tells_nothing_of_its_cache_is_noted() -> None:
    assert view(None, 1000, None, None).notes == (
        "the server does not tell prefix cache hits; all prompts are distinct",
    )


# ---- words ----


def test_what_a_server_says_is_one_short_printable_line() -> None:
    assert wire.plain("a\x1b[31m\n\tb\x00") == "a [31m b"
    assert len(wire.plain("x" * 10_000)) == wire.LONGEST_QUOTE + 3


@pytest.mark.parametrize("field", ["connect_s", "first_token_s", "stall_s"])
@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_patience_is_finite_and_above_zero(field: str, seconds: float) -> None:
    with pytest.raises(BadInput, match="must be above 0"):
        Patience(**{field: seconds})


def test_a_refusal_survives_the_way_from_a_worker() -> None:
    there = pickle.loads(pickle.dumps(ServerRefused(503, "busy")))
    assert (there.status, str(there)) == (503, "busy")


def test_dialects_differ_in_what_they_add() -> None:
    added = [set(dialect.fields(5, "salt")) for dialect in DIALECTS]
    assert all(one != other for one, other in itertools.combinations(added, 2))
