"""Links a KV cache may be handed over: what a row says, and whom it joins."""

from __future__ import annotations

import dataclasses

import pytest

from carbonsweep import facts
from carbonsweep.errors import UnknownFact
from carbonsweep.split import bytes_per_s

DEMANDED = {"PCIe3", "PCIe4", "PCIe5", "10GbE", "25GbE", "100GbE", "400GbE", "NVLink3", "NVLink4"}


def test_every_demanded_link_is_there() -> None:
    assert set(facts.links()) >= DEMANDED


def test_ethernet_carries_its_name_in_bits() -> None:
    for key, row in facts.links().items():
        if key.endswith("GbE"):
            assert row.bandwidth_bytes_per_s == float(key.removesuffix("GbE")) * 1e9 / 8


def test_pci_express_doubles_with_each_generation() -> None:
    # 8, 16, 32 GT/s on 16 lanes, 128 of 130 bits are payload: 15.754, 31.508, 63.015 GB/s.
    for generation, key in enumerate(("PCIe3", "PCIe4", "PCIe5")):
        exact = 8e9 * 2**generation * 16 * 128 / 130 / 8
        assert facts.link(key).bandwidth_bytes_per_s == pytest.approx(exact, rel=5e-4)


def test_nvlink_is_as_fast_as_the_gpus_that_have_it() -> None:
    for key, row in facts.links().items():
        for gpu in row.gpus or ():
            assert facts.gpu(gpu).link_bytes_per_s == row.bandwidth_bytes_per_s, key


def test_no_gpu_is_faster_over_a_link_than_its_slot() -> None:
    # Slots of the kinds whose own link is NVLink: PCI Express 3, 4, 4, and 5 for the rest.
    slots = {
        "V100": "PCIe3",
        "A100-40": "PCIe4",
        "A100-80": "PCIe4",
        "H100": "PCIe5",
        "H200": "PCIe5",
        "GH200": "PCIe5",
    }
    nvlink = {gpu for row in facts.links().values() for gpu in row.gpus or ()}
    assert nvlink == set(slots)
    for key, row in facts.links().items():
        for gpu, slot in slots.items():
            if row.gpus is None:
                most = min(row.bandwidth_bytes_per_s, facts.link(slot).bandwidth_bytes_per_s)
                assert bytes_per_s(row, gpu, gpu) == pytest.approx(most * row.efficiency), (key, gpu)
            elif gpu in row.gpus:
                assert bytes_per_s(row, gpu, gpu) == pytest.approx(row.bandwidth_bytes_per_s * row.efficiency), (
                    key,
                    gpu,
                )


def test_nvlink_joins_its_own_kinds_each_with_itself() -> None:
    nvlink = facts.link("nvlink4")
    assert nvlink.joins("H100", "H100")
    assert not nvlink.joins("H100", "H200")
    assert not nvlink.joins("T4", "T4")
    assert facts.link("10GbE").joins("T4", "H100")


def test_every_guess_has_a_source_that_says_so() -> None:
    for row in facts.links().values():
        for field in row.estimated:
            assert row.source[field].startswith("estimated"), f"{row.key}.{field}"


def test_an_unknown_link_names_the_valid_ones() -> None:
    with pytest.raises(UnknownFact, match="100GbE"):
        facts.link("100Gbe ")


@pytest.mark.parametrize(
    "changes",
    [{"efficiency": 1.1}, {"overlap_share": 1.5}, {"energy_low_j_per_byte": 1.0}],
    ids=["more than all bandwidth", "more than all hidden", "a range beside its value"],
)
def test_a_row_that_cannot_be_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="PCIe4"):
        dataclasses.replace(facts.link("PCIe4"), **changes)  # type: ignore[arg-type]
