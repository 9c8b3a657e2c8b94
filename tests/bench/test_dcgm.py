"""Probes of another machine's GPUs, over a real HTTP server on this one that answers as a dcgm-exporter does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from carbonsweep.bench.power.dcgm import DcgmProbe, dcgm_probes
from carbonsweep.bench.power.exporter import SHARED_S, ShownGpu, shown_gpus
from carbonsweep.bench.power.trace import MeterError, Probe
from carbonsweep.errors import BadInput

T4, ADA, H100 = "GPU-aaaa-1", "GPU-bbbb-2", "GPU-bbbb-3"
PRODUCTS = {T4: "Tesla T4", ADA: "NVIDIA RTX 6000 Ada Generation", H100: "NVIDIA H100 80GB HBM3"}
INT64_BLANK = 9223372036854775792
FP64_BLANK = 140737488355328


def line(name: str, value: float | str, uuid: str, more: str = "") -> str:
    return f'{name}{{gpu="0",UUID="{uuid}",device="nvidia0",modelName="{PRODUCTS[uuid]}",Hostname="n7"{more}}} {value}'


def page(*uuids: str, energy_mj: float = 126_272_101_025, power_w: float = 61.5, more: str = "") -> str:
    """What an exporter up to 4.8 shows with its shipped list of counters."""
    return "\n".join(
        [
            "# HELP DCGM_FI_DEV_POWER_USAGE Power draw (in W).",
            "# TYPE DCGM_FI_DEV_POWER_USAGE gauge",
            *(line("DCGM_FI_DEV_POWER_USAGE", power_w, uuid, more) for uuid in uuids),
            "# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION Total energy consumption since boot (in mJ).",
            "# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter",
            *(line("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", energy_mj, uuid, more) for uuid in uuids),
            "# TYPE DCGM_FI_DEV_GPU_TEMP gauge",
            *(line("DCGM_FI_DEV_GPU_TEMP", 41, uuid, more) for uuid in uuids),
            "# TYPE DCGM_FI_DEV_SM_CLOCK gauge",
            *(line("DCGM_FI_DEV_SM_CLOCK", 1590, uuid, more) for uuid in uuids),
            "# TYPE DCGM_FI_DEV_MEMORY_TEMP gauge",
            *(line("DCGM_FI_DEV_MEMORY_TEMP", INT64_BLANK, uuid, more) for uuid in uuids),
            "",
        ]
    )


def new_page(uuid: str, energy_j: str = "126272101.025") -> str:
    """The same from 4.9 on: other names, joules and hertz, labels in lower case."""
    labels = f'{{gpu="0",UUID="{uuid}",modelName="{PRODUCTS[uuid]}",hostname="n7"}}'
    return "\n".join(
        [
            "# TYPE DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL counter",
            f"DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL{labels} {energy_j}",
            f"DCGM_FI_DEV_BOARD_POWER_WATTS{labels} 61.5",
            f"DCGM_FI_DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS{labels} 70",
            f"DCGM_FI_DEV_GPU_TEMP_CELSIUS{labels} 41",
            f"DCGM_FI_DEV_SM_CLOCK_HERTZ{labels} 1590000000",
            "",
        ]
    )


@dataclass
class Answering:
    """An HTTP server; what it says can be changed while it runs. `cut_short` requests get no answer at all."""

    text: str
    status: int = 200
    kind: str = "text/plain; version=0.0.4"
    asked: list[str] = field(default_factory=list)
    cut_short: int = 0
    server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def serve() -> Iterator[Callable[..., Answering]]:
    running: list[Answering] = []

    def start(text: str, **changes: object) -> Answering:
        answering = Answering(text, **changes)  # type: ignore[arg-type]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                answering.asked.append(self.path)
                if answering.cut_short:
                    answering.cut_short -= 1
                    self.close_connection = True
                    return
                body = answering.text.encode()
                self.send_response(answering.status)
                self.send_header("content-type", answering.kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        answering.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        answering.server.daemon_threads = True
        threading.Thread(target=answering.server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(answering)
        return answering

    yield start
    for answering in running:
        stop(answering)


def stop(answering: Answering) -> None:
    if answering.server is not None:
        answering.server.shutdown()
        answering.server.server_close()
        answering.server = None


class Clock:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def one(answering: Answering) -> DcgmProbe:
    (probe,) = dcgm_probes(answering.url)
    return probe


def test_a_gpu_elsewhere_shows_its_joules_and_watts(serve: Callable[..., Answering]) -> None:
    probe: Probe = one(serve(page(T4)))
    reading = probe.read()
    assert probe.name == T4
    # 126272101025 mJ since the driver was loaded.
    assert reading.counter_j == pytest.approx(126_272_101.025)
    assert reading.power_w == 61.5


def test_the_new_names_and_units_of_the_exporter_mean_the_same(serve: Callable[..., Answering]) -> None:
    old, new = one(serve(page(T4))), one(serve(new_page(T4)))
    assert new.read().counter_j == pytest.approx(old.read().counter_j)
    assert new.read().power_w == old.read().power_w
    assert new.state().temperature_c == old.state().temperature_c == 41
    # 1590 MHz, and 1590000000 Hz.
    assert new.state().sm_clock_mhz == pytest.approx(1590.0)
    assert old.state().sm_clock_mhz == pytest.approx(1590.0)
    assert (old.board.hostname, new.board.hostname) == ("n7", "n7")


def test_the_power_cap_is_known_only_where_the_exporter_shows_it(serve: Callable[..., Answering]) -> None:
    assert one(serve(page(T4))).power_cap_w is None
    assert one(serve(new_page(T4))).power_cap_w == 70.0


def test_what_the_exporter_does_not_show_is_unknown(serve: Callable[..., Answering]) -> None:
    state = one(serve(page(T4))).state()
    assert (state.memory_clock_mhz, state.throttle_reasons, state.processes) == (None, None, None)


@pytest.mark.parametrize("blank", [INT64_BLANK, FP64_BLANK, "NaN", 0])
def test_values_that_say_not_known_are_not_taken_for_joules(serve: Callable[..., Answering], blank: float) -> None:
    answering = serve(page(T4))
    probe = one(answering)
    answering.text = page(T4, energy_mj=blank)
    reading = probe.read()
    assert reading.counter_j is None
    assert reading.power_w == 61.5


@pytest.mark.parametrize(
    ("uuid", "source", "lag_s"),
    # Turing's plain power is instantaneous, Ada's and Hopper's the mean of the last second: half a second old.
    [(T4, "dcgm-power-instant", 0.0), (ADA, "dcgm-power-average", 0.5), (H100, "dcgm-power-average", 0.5)],
)
def test_its_instruments_say_what_the_watts_are(
    serve: Callable[..., Answering], uuid: str, source: str, lag_s: float
) -> None:
    counter, power = one(serve(page(uuid))).instruments()
    assert counter is not None
    assert power is not None
    assert (counter.source, counter.step, counter.lag_s) == ("dcgm-counter", 1e-3, 0.0)
    assert (power.source, power.lag_s) == (source, lag_s)
    assert "exporter last collected it" in counter.semantics


def test_watts_at_an_instant_are_preferred_to_averaged_ones(serve: Callable[..., Answering]) -> None:
    answering = serve(page(ADA) + line("DCGM_FI_DEV_POWER_USAGE_INSTANT", 250.25, ADA) + "\n")
    probe = one(answering)
    assert probe.read().power_w == 250.25
    power = probe.instruments()[1]
    assert power is not None
    assert (power.source, power.lag_s) == ("dcgm-power-instant", 0.0)
    # Where they are missing for once, an averaged value does not slip in among them.
    answering.text = page(ADA)
    assert probe.read().power_w is None


def test_an_a100_shows_an_instant_and_its_younger_sisters_an_average() -> None:
    def board(product: str) -> ShownGpu:
        return ShownGpu(uuid="GPU-1", product_name=product, hostname="n7", sliced=False, values={})

    # GA100 is Ampere, and yet instantaneous; a board nobody knows is newer than the tables.
    products = ("NVIDIA A100-SXM4-80GB", "NVIDIA A10", "NVIDIA Some New ShownGpu")
    assert [board(product).averaging_s for product in products] == [0.0, 1.0, 1.0]


def test_joules_printed_whole_are_only_good_to_one_joule(serve: Callable[..., Answering]) -> None:
    whole = one(serve(new_page(T4, energy_j="126272101"))).instruments()[0]
    exact = one(serve(new_page(T4))).instruments()[0]
    assert whole is not None
    assert exact is not None
    assert (whole.step, exact.step) == (1.0, 1e-3)


def test_a_gpu_without_a_counter_has_only_power_and_one_with_neither_is_refused(
    serve: Callable[..., Answering],
) -> None:
    power_only = line("DCGM_FI_DEV_POWER_USAGE", 61.5, T4) + "\n"
    counter, power = one(serve(power_only)).instruments()
    assert counter is None
    assert power is not None
    with pytest.raises(BadInput, match="neither energy nor power of GPU-aaaa-1: add DCGM_FI_DEV_TOTAL_ENERGY"):
        dcgm_probes(serve(line("DCGM_FI_DEV_GPU_TEMP", 41, T4) + "\n").url)


def test_gpus_are_chosen_by_uuid_by_the_beginning_of_one_or_by_kind(serve: Callable[..., Answering]) -> None:
    url = serve(page(T4, ADA, H100)).url
    assert [probe.name for probe in dcgm_probes(url, uuids=(H100, "GPU-a"))] == [H100, T4]
    assert [probe.name for probe in dcgm_probes(url, kind="RTX6000Ada")] == [ADA]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({}, "by UUID or by kind"),
        ({"kind": "V100"}, "no V100 at the meter"),
        ({"uuids": ("GPU-cccc",)}, "'GPU-cccc' names no further GPU"),
        ({"uuids": ("GPU-bbbb",)}, "'GPU-bbbb' names no further GPU"),  # two begin like that
        ({"uuids": (T4, "GPU-aaaa")}, "'GPU-aaaa' names no further GPU"),  # would be counted twice
    ],
)
def test_a_choice_that_is_not_clear_is_refused_and_says_what_is_there(
    serve: Callable[..., Answering], choice: dict[str, tuple[str, ...]], words: str
) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        dcgm_probes(serve(page(T4, ADA, H100)).url, **choice)  # type: ignore[arg-type]
    assert f"{T4} (Tesla T4)" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_slices_of_a_split_gpu_are_refused(serve: Callable[..., Answering]) -> None:
    text = page(H100, more=',GPU_I_PROFILE="1g.10gb",GPU_I_ID="3"')
    with pytest.raises(BadInput, match=r"GPU-bbbb-3 at .* is split by MIG"):
        dcgm_probes(serve(text).url)


def test_several_gpus_are_asked_in_one_request_per_poll(serve: Callable[..., Answering]) -> None:
    answering = serve(page(T4, ADA, H100))
    clock = Clock()
    probes = dcgm_probes(answering.url, uuids=(T4, ADA, H100), clock=clock)
    answering.asked.clear()
    for polls in (1, 2, 3):
        clock.now_s += 1.0
        answering.text = page(T4, ADA, H100, energy_mj=1000.0 * polls)
        assert [probe.read().counter_j for probe in probes] == [polls] * 3
        assert len(answering.asked) == polls


def test_one_probe_never_gets_the_same_answer_twice(serve: Callable[..., Answering]) -> None:
    answering = serve(page(T4))
    (probe,) = dcgm_probes(answering.url, clock=Clock())  # it stands still
    seen = []
    for energy_mj in (1000, 2000, 3000):
        answering.text = page(T4, energy_mj=energy_mj)
        seen.append(probe.read().counter_j)
    assert seen == [1.0, 2.0, 3.0]


def test_an_answer_that_is_no_longer_fresh_serves_nobody(serve: Callable[..., Answering]) -> None:
    answering = serve(page(T4, ADA))
    clock = Clock()
    first, second = dcgm_probes(answering.url, uuids=(T4, ADA), clock=clock)
    first.read()
    clock.now_s += 1.5 * SHARED_S
    answering.text = page(T4, ADA, energy_mj=7000)
    assert second.read().counter_j == 7.0


@pytest.mark.parametrize("ending", ["", "/", "/metrics"])
def test_the_path_of_the_metrics_may_be_left_out(serve: Callable[..., Answering], ending: str) -> None:
    answering = serve(page(T4))
    assert [probe.name for probe in dcgm_probes(answering.url + ending)] == [T4]
    assert answering.asked == ["/metrics"]


@pytest.mark.parametrize("url", ["gpu-host:9400", "ftp://gpu-host", "http://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="is no address: valid is that of a dcgm-exporter"):
        dcgm_probes(url)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"text": "<html>hello</html>", "kind": "text/html"}, "no metrics but text/html: '<html>hello</html>'"),
        ({"text": '{"object": "list"}', "kind": "application/json"}, "no metrics but application/json"),
        ({"text": "gone", "status": 404}, "answers 404"),
        ({"text": "broken", "status": 500}, "answers 500"),
        ({"text": "# nothing collected yet\n"}, "no GPU's energy, power or temperature but nothing"),
        ({"text": "# HELP x\nvllm:num_requests_running 1\n"}, "temperature but vllm:num_requests_running"),
    ],
)
def test_an_address_that_is_no_exporter_is_refused_with_what_was_found(
    serve: Callable[..., Answering], answer: dict[str, object], words: str
) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        dcgm_probes(serve(**answer).url)
    assert "address of a dcgm-exporter, such as http://HOST:9400" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_address_where_nobody_answers_is_refused(serve: Callable[..., Answering]) -> None:
    answering = serve(page(T4))
    url = answering.url
    stop(answering)
    with pytest.raises(BadInput, match="no meter answers at"):
        dcgm_probes(url)


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (page(ADA), 200, "no longer shows GPU-aaaa-1"),
        ("Service Unavailable", 503, "answers 503"),
        ("", 200, "no GPU's energy, power or temperature"),
    ],
)
def test_a_gpu_that_goes_away_while_it_is_read_is_an_error(
    serve: Callable[..., Answering], text: str, status: int, words: str
) -> None:
    answering = serve(page(T4))
    probe = one(answering)
    probe.read()
    answering.text, answering.status = text, status
    with pytest.raises(MeterError, match=words):
        probe.read()
    # Conditions are told beside the joules: what is unknown there is no second error.
    assert probe.state().temperature_c is None


def test_an_exporter_that_goes_away_is_an_error(serve: Callable[..., Answering]) -> None:
    answering = serve(page(T4), cut_short=0)
    probe = one(answering)
    probe.read()
    answering.cut_short = 99
    with pytest.raises(MeterError, match="no meter answers at"):
        probe.read()


def test_a_connection_that_breaks_once_is_tried_again(serve: Callable[..., Answering]) -> None:
    answering = serve(page(T4))
    probe = one(answering)
    probe.read()
    answering.cut_short = 1
    assert probe.read().power_w == 61.5


def test_a_garbled_line_is_an_error_and_not_a_missing_value(serve: Callable[..., Answering]) -> None:
    answering = serve(page(T4))
    probe = one(answering)
    answering.text = page(T4).replace("61.5", "6l.5")
    with pytest.raises(MeterError, match="shows no metrics but text/plain"):
        probe.read()


def test_lines_of_several_containers_on_one_gpu_are_one_gpu() -> None:
    text = page(T4, more=',pod="a"') + line("DCGM_FI_DEV_POWER_USAGE", 61.5, T4, ',pod="b"') + "\n"
    assert list(shown_gpus(text)) == [T4]
