"""Everything behind one number, as lines a person reads: a record in, text out, nothing computed that is not shown.

What is unknown says so, and why where the record knows; joules and seconds are those of the mean batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal

from carbonsweep.amounts import digits
from carbonsweep.bench.basis import unless_measured
from carbonsweep.domain import Energy, Measurement, PhaseMeasurement, TrialRecord
from carbonsweep.evidence import Closure, Conditions, Distribution, EnergyWindow, Evidence, MeasuringProtocol
from carbonsweep.quantities import change, elapsed, gigabytes, joules, quantity, range_j, seconds_or_unknown, words
from carbonsweep.shares import percent, signed_percent
from carbonsweep.terminal import seconds

Phase = Literal["prefill", "decode"]


def record_lines(record: TrialRecord) -> Iterator[str]:
    """The configuration, where its weights and prompts are from, and the evidence; or why there is no measurement."""
    yield str(record.configuration)
    body = _refusal_lines(record) if record.measurement is None else _measured_lines(record, record.measurement)
    yield from (f"  {line}" for line in body)


def headline(record: TrialRecord) -> str:
    """One line: the configuration with TTFT, TPOT and joules per token, or why there is no measurement."""
    if record.measurement is None:
        return f"{record.configuration}: {'unknown' if record.refusal is None else record.refusal.reason}"
    measurement = record.measurement
    per_token = " and ".join(joules(phase.energy_per_token_j) for phase in (measurement.prefill, measurement.decode))
    return (
        f"{record.configuration}: TTFT {seconds(measurement.ttft_s)}, TPOT {seconds(measurement.tpot_s)}, "
        f"{per_token} per prompt and output token{unless_measured(measurement.basis, record.configuration.gpu)}"
    )


def evidence_lines(measurement: Measurement) -> Iterator[str]:
    """What one measurement holds: device, protocol, phases, meters, idle power, closure, spread, gates, windows."""
    evidence = measurement.evidence
    yield from _device_lines(measurement)
    if evidence is None:
        yield _row("protocol", "unknown: this record holds no evidence")
    else:
        yield from _protocol_lines(evidence.protocol)
    yield from _prefill_lines(measurement)
    yield from _decode_lines(measurement)
    yield from _meter_lines(measurement)
    yield from _idle_lines(measurement)
    if evidence is not None:
        yield from _closure_lines(evidence.closure)
        yield from _spread_lines(evidence)
        yield from itertools.chain.from_iterable(map(_condition_lines, evidence.conditions))
    yield from _gate_lines(measurement)
    yield from (_row("note", note) for note in measurement.notes if "energy unknown: " not in note)
    if evidence is not None and evidence.windows:
        yield "windows"
        yield from (f"  {line}" for line in _window_table(evidence.windows))


def _refusal_lines(record: TrialRecord) -> Iterator[str]:
    refusal = record.refusal
    assert refusal is not None, "a record holds a measurement or a refusal"
    yield _row(refusal.kind.replace("-", " "), refusal.reason)
    if refusal.kind == "does-not-fit":
        yield _row("memory", f"{gigabytes(refusal.needed_bytes)} asked, {gigabytes(refusal.available_bytes)} there")


def _measured_lines(record: TrialRecord, measurement: Measurement) -> Iterator[str]:
    workload = record.workload
    when = f"{record.provenance.utc} on {record.provenance.host}"
    yield _row(measurement.basis, f"{when}{unless_measured(measurement.basis, record.configuration.gpu)}")
    yield _row("bench", f"{measurement.bench}: {record.identity.engine_version}")
    yield _row("weights", record.identity.weights)
    yield _row(
        "prompts",
        f"{workload.name}: {workload.prompts} prompts, {workload.mean_prompt_tokens:.4g} tokens in the mean "
        f"({workload.token_basis}), template {workload.template}, seed {workload.seed}, digest {workload.digest}",
    )
    yield from evidence_lines(measurement)


def _device_lines(measurement: Measurement) -> Iterator[str]:
    device = measurement.device
    if device is None:
        yield _row("device", "unknown")
    else:
        uuid = "" if device.uuid is None else f" ({device.uuid})"
        cap = quantity(device.power_cap_w, "W")
        yield _row("device", f"{device.name}{uuid}, driver {device.driver or 'unknown'}, power cap {cap}")
    prefill = measurement.prefill
    fill = percent(prefill.tokens / prefill.padded_tokens, 1)
    prompts = f"{prefill.tokens:.4g} prompt tokens, {prefill.padded_tokens:.4g} with padding (fill {fill})"
    yield _row("mean batch", f"{prompts}, {measurement.output_tokens} output tokens for each prompt")
    yield _row("peak memory", gigabytes(measurement.peak_memory_bytes))


def _protocol_lines(protocol: MeasuringProtocol) -> Iterator[str]:
    yield _row(
        "protocol",
        f"{protocol.repeats} repeats of {_count(protocol.batches, 'batch')} (digest {protocol.batches_digest}) after "
        f"{_count(protocol.warm_up_runs, 'warm-up')}",
    )
    stopped = "within" if protocol.stopped_by == "interval" else f"budget of {seconds(protocol.budget_s)} spent before"
    half_width, interval = percent(protocol.half_width, 2), percent(protocol.interval, 2)
    yield _row("", f"half-width {half_width}, {stopped} the interval of {interval}")
    if protocol.window_bound is not None:
        poll, refresh = seconds_or_unknown(protocol.poll_s), seconds_or_unknown(protocol.refresh_s)
        bound = f"windows long enough for a meter's bound of {percent(protocol.window_bound, 2)}"
        yield _row("", f"{bound}; read every {poll}, refreshed every {refresh}")
    if protocol.cool_to_c is not None:
        yield _row("", f"waited {seconds_or_unknown(protocol.cooled_s)} for at most {protocol.cool_to_c:g} °C")


def _prefill_lines(measurement: Measurement) -> Iterator[str]:
    prefill = measurement.prefill
    yield "prefill"
    yield _row("  TTFT", f"{seconds(prefill.duration_s)}{_between_s(prefill, 1)}")
    yield _row("  throughput", f"{prefill.throughput:.4g} prompt tokens/s")
    yield from _energy_lines(measurement, "prefill", "prompt token")


def _decode_lines(measurement: Measurement) -> Iterator[str]:
    decode, steps = measurement.decode, measurement.output_tokens - 1
    yield "decode"
    yield _row("  TPOT", f"{seconds(decode.duration_s / steps)}{_between_s(decode, steps)}")
    yield _row("  throughput", f"{digits(decode.throughput)} output tokens/s")
    yield from _energy_lines(measurement, "decode", "output token")


def _energy_lines(measurement: Measurement, name: Phase, token: str) -> Iterator[str]:
    phase: PhaseMeasurement = getattr(measurement, name)
    energy = phase.energy
    if energy is None:
        yield _row("  energy", f"unknown: {_why_unknown(measurement, name)}")
    else:
        per_j, low_j, high_j = (batch_j / phase.tokens for batch_j in (energy.joules, energy.low_j, energy.high_j))
        yield _row("  energy", f"{joules(per_j)} per {token} ({joules(low_j)} to {joules(high_j)})")
        yield _row("", f"{joules(energy.joules)} a batch, {energy.source}: {energy.semantics}")
        yield _row("  power", quantity(phase.power_w, "W"))
    if phase.host_energy is not None:
        host = phase.host_energy
        yield _row("  host", f"{joules(host.joules)} a batch besides, {host.source}: {host.semantics}")


def _why_unknown(measurement: Measurement, name: Phase) -> str:
    evidence = measurement.evidence
    flaws = [w.flaw for w in (evidence.windows if evidence else ()) if w.phase == name and w.flaw is not None]
    noted = [
        note.removeprefix(start)
        for note in measurement.notes
        for start in (f"{name} energy unknown: ", "energy unknown: ")
        if note.startswith(start)
    ]
    return "; ".join(dict.fromkeys(noted or flaws)) or "no meter read it"


def _meter_lines(measurement: Measurement) -> Iterator[str]:
    """Each meter's view of a batch, and how far apart they are, relative to the energy that is reported."""
    for name, energy in _energies(measurement):
        views = [f"{each.source} {joules(each.joules)}{range_j(each.low_j, each.high_j)}" for each in energy.estimates]
        if len(views) < 2:
            yield _row("meters", f"{name}: {views[0] if views else energy.source} alone, no second view")
            continue
        known_j = [each.joules for each in energy.estimates]
        apart = (max(known_j) - min(known_j)) / energy.joules
        yield _row("meters", f"{name}: {', '.join(views)}; {percent(apart, 2)} apart")


def _idle_lines(measurement: Measurement) -> Iterator[str]:
    """Static and dynamic joules: what the idle power with the model loaded takes in a phase's time, and the rest."""
    bare_w = None if measurement.evidence is None else measurement.evidence.bare_idle_w
    idle_w = measurement.idle_w
    yield _row("idle", f"bare {quantity(bare_w, 'W')}, model loaded {quantity(idle_w, 'W')}")
    for name, energy in _energies(measurement):
        if idle_w is None:
            yield _row("dynamic", f"{name}: unknown, as is the idle power with the model loaded")
            continue
        static_j = idle_w * getattr(measurement, name).duration_s
        yield _row(
            "dynamic",
            f"{name}: {joules(energy.joules - static_j)} dynamic and {joules(static_j)} static of "
            f"{joules(energy.joules)} a batch",
        )


def _closure_lines(closure: Closure | None) -> Iterator[str]:
    if closure is None:
        yield _row("closure", "unknown: the whole run was not measured")
        return
    apart = signed_percent(closure.time_difference, 2)
    time = f"phases {seconds(closure.parts_s)}, whole run {seconds(closure.whole_s)} ({apart})"
    difference = closure.energy_difference
    if difference is None:
        yield _row("closure", f"{time}; joules unknown")
    else:
        energy = f"phases {joules(closure.parts_j)}, whole run {joules(closure.whole_j)}"
        yield _row("closure", f"{time}; {energy} ({signed_percent(difference, 2)})")


def _spread_lines(evidence: Evidence) -> Iterator[str]:
    named = {"prompt latency": evidence.prompt_latency, "TTFT": evidence.ttft, "TPOT": evidence.tpot}
    yield from (_row("spread", f"{name}: {_spread(each)}") for name, each in named.items())


def _spread(each: Distribution) -> str:
    points = {"median": each.median, "p90": each.p90, "p99": each.p99}
    values = ", ".join(f"{name} {seconds(value_s)}" for name, value_s in points.items())
    return f"{values} over {_count(each.count, each.unit)}"


def _condition_lines(each: Conditions) -> Iterator[str]:
    before, after = each.before, each.after
    hottest = "" if each.most_temperature_c is None else f", at most {each.most_temperature_c:g} °C"
    yield _row(
        "conditions",
        f"{each.device}: {change(before.temperature_c, after.temperature_c, '°C')}{hottest}; "
        f"SM clock {change(before.sm_clock_mhz, after.sm_clock_mhz, 'MHz')}, "
        f"memory clock {change(before.memory_clock_mhz, after.memory_clock_mhz, 'MHz')}; "
        f"at most {quantity(each.most_w, 'W')} of {quantity(each.power_cap_w, 'W')}",
    )
    power = elapsed(before.power_violation_s, after.power_violation_s)
    thermal = elapsed(before.thermal_violation_s, after.thermal_violation_s)
    yield _row(
        "",
        f"slowed down before by {words(before.throttle_reasons)}, after by {words(after.throttle_reasons)}, in "
        f"between by {words(each.throttled_by)}; by power for {power}, by heat for {thermal}",
    )


def _gate_lines(measurement: Measurement) -> Iterator[str]:
    """Each failed check once, wherever the record keeps it."""
    evidence = measurement.evidence
    failed = [
        *(() if evidence is None else evidence.gates),
        *(f"{name}: {gate}" for name, energy in _energies(measurement) for gate in energy.gates),
        *(f"{w.phase}: {gate}" for w in (() if evidence is None else evidence.windows) for gate in w.gates),
    ]
    yield from (_row("FAILED CHECK", gate) for gate in dict.fromkeys(failed))
    if not failed and evidence is not None:
        yield _row("checks", "none failed")


def _window_table(windows: Sequence[EnergyWindow]) -> Iterator[str]:
    sources = list(dict.fromkeys(reading.source for window in windows for reading in window.readings))
    several = len({window.device for window in windows}) > 1
    yield from _aligned(
        [
            ["phase", *(["device"] if several else []), "runs", "seconds", *(f"{s}, J" for s in sources), "flaws"],
            *(
                [
                    window.phase,
                    *([window.device] if several else []),
                    f"{window.runs:g}",
                    f"{window.duration_s:.4g}",
                    *(_reading(window, source) for source in sources),
                    "; ".join(filter(None, [window.flaw, *window.gates])),
                ]
                for window in windows
            ),
        ]
    )


def _reading(window: EnergyWindow, source: str) -> str:
    for reading in window.readings:
        if reading.source == source:
            return f"{reading.joules:.4g}{range_j(reading.low_j, reading.high_j)}"
    return "unknown"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _energies(measurement: Measurement) -> Iterator[tuple[Phase, Energy]]:
    if measurement.prefill.energy is not None:
        yield "prefill", measurement.prefill.energy
    if measurement.decode.energy is not None:
        yield "decode", measurement.decode.energy


def _count(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("ch") else "s"
    return f"{number} {noun}{'' if number == 1 else plural}"


def _row(label: str, text: str) -> str:
    return f"{label:<16}{text}"


def _between_s(phase: PhaseMeasurement, steps: int) -> str:
    low, high = seconds(phase.duration_low_s / steps), seconds(phase.duration_high_s / steps)
    return f" ({low} to {high}, 95 % over {phase.repeats} repeats)"
