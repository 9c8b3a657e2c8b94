"""RAPL over folders that look like Linux powercap's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from carbonsweep.bench.power.rapl import RaplProbe, rapl_absence, rapl_probes
from carbonsweep.bench.power.trace import MeterError, Probe, poll, trace
from carbonsweep.bench.power.window import counter_energy

RANGE_UJ = 262_143_328_850
"""As Intel servers show it: (2^32 - 1) units of 2^-14 J."""
NOBODY = 65534


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def zone(root: Path, place: str, name: str, energy_uj: int | str = 5_000_000) -> Path:
    folder = root / place
    folder.mkdir()
    for file, content in {"name": name, "energy_uj": energy_uj, "max_energy_range_uj": RANGE_UJ, "enabled": 1}.items():
        (folder / file).write_text(f"{content}\n")
    return folder


def count(folder: Path, energy_uj: int) -> None:
    (folder / "energy_uj").write_text(f"{energy_uj}\n")


@pytest.fixture
def two_sockets(tmp_path: Path) -> Path:
    """A server: both sockets with memory, and zones that must not be counted beside them."""
    (tmp_path / "intel-rapl").mkdir()  # the control type itself, no zone
    for socket in (0, 1):
        zone(tmp_path, f"intel-rapl:{socket}", f"package-{socket}")
        zone(tmp_path, f"intel-rapl:{socket}:0", "core")
        zone(tmp_path, f"intel-rapl:{socket}:1", "dram")
        zone(tmp_path, f"intel-rapl:{socket}:2", "uncore")
        zone(tmp_path, f"intel-rapl-mmio:{socket}", f"package-{socket}")
    zone(tmp_path, "intel-rapl:2", "psys")
    zone(tmp_path, "dtpm:0", "package-9")
    return tmp_path


def only(root: Path, clock: Clock | None = None) -> RaplProbe:
    (probe,) = rapl_probes(root)
    if clock is not None:
        probe.clock = clock
    return probe


def joules(probe: Probe) -> float:
    reading = probe.read()
    assert reading.power_w is None
    assert reading.counter_j is not None
    return reading.counter_j


def test_each_package_and_its_memory_is_one_device(two_sockets: Path) -> None:
    names = ["package-0", "package-0-dram", "package-1", "package-1-dram"]
    assert [probe.name for probe in rapl_probes(two_sockets)] == names
    assert rapl_absence(two_sockets) is None


def test_a_package_seen_by_both_roads_is_read_by_the_first(two_sockets: Path) -> None:
    count(two_sockets / "intel-rapl-mmio:0", 77_000_000)
    assert joules(rapl_probes(two_sockets)[0]) == pytest.approx(5.0)


def test_where_only_the_second_road_exists_it_serves(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 77_000_000)
    assert joules(only(tmp_path)) == pytest.approx(77.0)


def test_an_amd_server_has_packages_and_no_memory(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0")
    zone(tmp_path, "intel-rapl:0:0", "core")
    assert [probe.name for probe in rapl_probes(tmp_path)] == ["package-0"]


def test_sockets_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for socket in (10, 2, 0):
        zone(tmp_path, f"intel-rapl:{socket}", f"package-{socket}")
    assert [probe.name for probe in rapl_probes(tmp_path)] == ["package-0", "package-2", "package-10"]


def test_dies_of_one_socket_are_devices_of_their_own(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0-die-0")
    zone(tmp_path, "intel-rapl:1", "package-0-die-1")
    assert [probe.name for probe in rapl_probes(tmp_path)] == ["package-0-die-0", "package-0-die-1"]


def test_its_instruments_are_a_counter_that_says_what_it_covers_and_no_power(two_sockets: Path) -> None:
    package, memory = (probe.instruments() for probe in rapl_probes(two_sockets)[:2])
    assert package[1] is None
    assert (package[0].source, memory[0].source) == ("rapl", "rapl")
    assert package[0].semantics.startswith("CPU package-0: cores")
    assert "memory modules of CPU package-0" in memory[0].semantics
    # The counter's own unit, 2^-14 J = 61 uJ, is coarser than the microjoule of the file.
    assert package[0].step == pytest.approx(61.0e-6, rel=1e-3)


def test_a_machine_without_powercap_has_no_probe_and_a_reason(tmp_path: Path) -> None:
    missing = tmp_path / "powercap"
    assert rapl_probes(missing) == ()
    assert "shows no RAPL" in str(rapl_absence(missing))
    zone(tmp_path, "intel-rapl:0", "psys")
    assert rapl_probes(tmp_path) == ()
    assert "shows no RAPL" in str(rapl_absence(tmp_path))


@pytest.fixture
def for_root_only() -> Iterator[Path]:
    """Two sockets, one of which this process may not read; as root it steps down to an ordinary user for the test."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        zone(root, "intel-rapl:0", "package-0")
        (zone(root, "intel-rapl:1", "package-1") / "energy_uj").chmod(0o400 if os.geteuid() == 0 else 0)
        before = os.geteuid()
        if before == 0:
            os.seteuid(NOBODY)
        try:
            yield root
        finally:
            os.seteuid(before)


def test_rapl_that_only_root_may_read_is_absent_with_the_command_that_helps(for_root_only: Path) -> None:
    # The readable socket alone would be half a host.
    assert rapl_probes(for_root_only) == ()
    reason = str(rapl_absence(for_root_only))
    assert "only root may read it" in reason
    assert "sudo chmod a+r" in reason
    assert "\n" not in reason


def test_rights_that_are_taken_away_later_are_said_too(for_root_only: Path) -> None:
    probe = RaplProbe(zone=for_root_only / "intel-rapl:1", name="package-1", covers="a package")
    with pytest.raises(MeterError, match="only root may read it"):
        probe.read()


def test_joules_go_on_upwards_where_the_counter_wraps(tmp_path: Path) -> None:
    clock = Clock()
    folder = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 40_000_000)
    probe = only(tmp_path, clock)
    begin_j = joules(probe)
    # 40 J to the end of the range and 60 J after it: 100 J, once per wrap.
    for wraps in (1, 2, 3):
        clock.now_s += 1.0
        count(folder, 60_000_000)
        assert joules(probe) - begin_j == pytest.approx(100.0 * wraps + (wraps - 1) * (RANGE_UJ * 1e-6 - 100.0))
        clock.now_s += 1300.0
        count(folder, RANGE_UJ - 40_000_000)
        joules(probe)


def test_a_window_across_a_wrap_has_the_joules_that_were_used(tmp_path: Path) -> None:
    clock = Clock()
    folder = zone(tmp_path, "intel-rapl:0", "package-0")
    probe = only(tmp_path, clock)
    rows = []
    for step in range(301):
        # 150 W, 10 ms between polls; the counter wraps after 1.2 s.
        clock.now_s = 1000.0 + 0.01 * step
        count(folder, round(RANGE_UJ - 180e6 + 150e6 * 0.01 * step) % RANGE_UJ)
        rows.append(poll(probe, clock))
    found = counter_energy(trace(rows), (1000.5, 1002.5), step_j=probe.instruments()[0].step)
    # 150 W for 2 s.
    assert found.joules == pytest.approx(300.0, rel=0.01)
    assert found.low_j <= 300.0 <= found.high_j


def test_a_counter_that_goes_back_without_a_wrap_is_an_error(tmp_path: Path) -> None:
    clock = Clock()
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 100_000_000_000)
    probe = only(tmp_path, clock)
    joules(probe)
    clock.now_s += 1.0
    count(folder, 1_000_000)
    # As a wrap this would be 162144 J in one second.
    with pytest.raises(MeterError, match=r"went back from 100000 to 1 J .* it was reset"):
        probe.read()


def test_a_wrap_after_a_long_time_is_believed(tmp_path: Path) -> None:
    clock = Clock()
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 100_000_000_000)
    probe = only(tmp_path, clock)
    begin_j = joules(probe)
    # 162144 J in 1000 s are 162 W.
    clock.now_s += 1000.0
    count(folder, 1_000_000)
    assert joules(probe) - begin_j == pytest.approx(RANGE_UJ * 1e-6 - 100_000 + 1)


@pytest.mark.parametrize(
    ("content", "words"), [("0", "it is not counting"), ("", "gave no reading"), ("n/a", "gave no reading")]
)
def test_a_counter_that_does_not_count_is_an_error_and_never_zero(tmp_path: Path, content: str, words: str) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", content)
    probe = only(tmp_path)
    for ask in (probe.instruments, probe.read):
        with pytest.raises(MeterError, match=words):
            ask()


def test_a_zone_that_is_gone_is_an_error(tmp_path: Path) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0")
    probe = only(tmp_path)
    assert joules(probe) == pytest.approx(5.0)
    (folder / "energy_uj").unlink()
    with pytest.raises(MeterError, match="package-0 gave no reading"):
        probe.read()


def test_the_power_cap_is_the_largest_limit_in_force(tmp_path: Path) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0")
    probe = only(tmp_path)
    assert probe.power_cap_w is None
    for index, (kind, limit_uw) in enumerate((("long_term", 185e6), ("short_term", 222e6), ("peak_power", 480e6))):
        (folder / f"constraint_{index}_name").write_text(f"{kind}\n")
        (folder / f"constraint_{index}_power_limit_uw").write_text(f"{limit_uw:.0f}\n")
    # peak_power bounds spikes of milliseconds, not what may be drawn.
    assert probe.power_cap_w == pytest.approx(222.0)
    (folder / "enabled").write_text("0\n")
    assert probe.power_cap_w is None


def test_it_tells_no_state(two_sockets: Path) -> None:
    assert [probe.state() for probe in rapl_probes(two_sockets)] == [None] * 4
