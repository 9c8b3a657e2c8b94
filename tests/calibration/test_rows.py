"""The readers: every row of the sources in its unit, and every broken cell named by file, line and column."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from carbonsweep.calibration.error_tables import row_list
from carbonsweep.calibration.observations import Rows
from carbonsweep.calibration.rows import ARGONNE, LEFT_OUT, LLM_PERF, OPTIMUM, read
from carbonsweep.errors import BadInput

PERF_HEADER = "gpu,model,parameters_billions,dtype,attention,prompt_tokens,output_tokens,prefill_s,tpot_s,gpu_power_w"
PERF_ROW = "T4,openai-community/gpt2,0.124,float16,eager,256,64,0.011,0.0099654,35.61"
ARGONNE_HEADER = "Hardware,Num of Hardware,Framework,Model,Input Output Length,Batch Size,Latency,Throughput,avg_power"
ARGONNE_ROW = "Nvidia A100 GPU,1,vLLM,meta-llama/Llama-2-7b-hf,1024,16,25.05,1308.1,292973.4"
SHAPE = "benchmark.input_shapes."
OPTIMUM_HEADER = (
    f"experiment_name,model,{SHAPE}batch_size,{SHAPE}sequence_length,benchmark.new_tokens,forward.latency(s),"
    "generate.latency(s),decode.latency(s)"
)
OPTIMUM_ROW = "fp16,NousResearch/Llama-2-7b-hf,4,256,512,0.109,13.8,13.7"


def folder(tmp_path: Path, **rows: str) -> Path:
    """A folder with one good row in each file, but for those given: `perf`, `argonne`, `optimum`."""
    (tmp_path / LLM_PERF).write_text(f"{rows.get('perf_header', PERF_HEADER)}\n{rows.get('perf', PERF_ROW)}\n")
    (tmp_path / ARGONNE).write_text(f"{ARGONNE_HEADER}\n\n{rows.get('argonne', ARGONNE_ROW)}\n")
    for name in OPTIMUM:
        (tmp_path / name).write_text(f"{OPTIMUM_HEADER}\n{rows.get('optimum', OPTIMUM_ROW)}\n")
    return tmp_path


def test_every_source_is_read_in_si_units(tmp_path: Path) -> None:
    perf, argonne, optimum, *_ = read(folder(tmp_path)).observations
    assert (perf.prefill_s, perf.step_s, perf.power_w, perf.power_span) == (0.011, 0.0099654, 35.61, "decode")
    assert (argonne.whole_s, argonne.power_span) == (25.05, "whole")
    assert argonne.power_w == pytest.approx(292.9734)  # the column is in milliwatts
    assert argonne.tpot_s == pytest.approx(25.05 / 1024)
    assert argonne.energy_per_token_j == pytest.approx(292.9734 * 25.05 / (16 * 1024))
    assert optimum.step_s == pytest.approx(13.7 / 511)  # decode.latency is all steps
    assert optimum.power_w is None
    assert optimum.energy_per_token_j is None


def test_decode_is_what_prefill_leaves_where_it_is_not_stated(tmp_path: Path) -> None:
    last = read(
        folder(tmp_path, optimum="gptq-batch_size(4),TheBloke/Llama-2-7B-GPTQ,4,256,512,0.12,15.2,")
    ).observations[-1]
    assert last.step_s == pytest.approx((15.2 - 0.12) / 511)
    assert last.origin.engine == "transformers-gptq"


def test_power_of_an_a10g_is_that_of_the_whole_run(tmp_path: Path) -> None:
    (perf, *_) = read(folder(tmp_path, perf="A10G,openai-community/gpt2,,,,256,64,0.0079,0.007361,72.7")).observations
    assert (perf.power_span, perf.origin.attention) == ("whole", "sdpa")
    # 63 decode steps and one prefill make 64 tokens.
    assert perf.energy_per_token_j == pytest.approx(72.7 * (0.0079 + 63 * 0.007361) / 64)


def test_a_sub_folder_calibration_is_found(tmp_path: Path) -> None:
    (tmp_path / "calibration").mkdir()
    folder(tmp_path / "calibration")
    assert len(read(tmp_path).observations) == 6


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            {"perf": PERF_ROW.replace("0.0099654", "nan")},
            "line 2, column 'tpot_s': 'nan' is not a finite number above 0",
        ),
        ({"perf": PERF_ROW.replace("0.0099654", "0")}, "column 'tpot_s': '0' is not a finite number above 0"),
        ({"perf": PERF_ROW.replace("0.0099654", "-1")}, "column 'tpot_s'"),
        ({"perf": PERF_ROW.replace("0.0099654", "inf")}, "column 'tpot_s'"),
        ({"perf": PERF_ROW.replace("0.0099654", "fast")}, "column 'tpot_s': 'fast' is not a number"),
        ({"perf": PERF_ROW.replace("0.0099654", "")}, "column 'tpot_s': '' is not a number"),
        ({"perf": PERF_ROW.replace("64,", "64.5,", 1)}, "column 'output_tokens'"),
        ({"perf": PERF_ROW.replace(",64,", ",1,", 1)}, "whole number of at least 2"),
        ({"perf": PERF_ROW.replace("openai-community/gpt2", "openai-community/gpt3")}, "column 'model'.*did you mean"),
        ({"perf": PERF_ROW.replace("T4", "T40")}, r"column 'gpu': 'T40' is not known \(valid: T4, A10G\)"),
        ({"perf": PERF_ROW.replace("eager", "flash")}, "column 'attention'"),
        ({"perf": PERF_ROW.replace("35.61", "35610")}, "is the unit right"),
        ({"perf": PERF_ROW + ",1,2"}, "line 2: not the 10 cells of the header"),
        ({"perf": "T4,openai-community/gpt2"}, "line 2: not the 10 cells of the header"),
        ({"perf_header": PERF_HEADER.replace("tpot_s", "tpot")}, "line 1: no column 'tpot_s'"),
        ({"argonne": ARGONNE_ROW.replace("292973.4", "292.97")}, "line 3, column 'avg_power'.*is the unit right"),
        ({"argonne": ARGONNE_ROW.replace("vLLM", "SGLang")}, "valid: vLLM, TensorRT-LLM, Deepspeed-MII"),
        ({"argonne": ARGONNE_ROW.replace(",1,vLLM", ",4,vLLM")}, "is not 1: runs over several GPUs"),
        ({"optimum": OPTIMUM_ROW.replace("fp16", "int3")}, "column 'experiment_name'"),
        ({"optimum": "fp16,NousResearch/Llama-2-7b-hf,4,256,512,14.0,13.8,"}, "not longer than the prefill of 14 s"),
    ],
)
def test_a_cell_that_cannot_be_is_named(tmp_path: Path, rows: dict[str, str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(folder(tmp_path, **rows))


def test_files_that_are_missing_or_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=LLM_PERF):
        read(tmp_path)
    (folder(tmp_path) / ARGONNE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=f"{ARGONNE} is no text"):
        read(tmp_path)


def test_all_rows_are_there_and_few_are_left_out(rows: Rows) -> None:
    counted = Counter((each.origin.gpu, each.origin.engine) for each in rows.observations)
    assert counted == {
        ("T4", "transformers"): 68,
        ("A10G", "transformers"): 50,  # 54 less four models
        ("A100-80", "transformers"): 49,
        ("A100-80", "transformers-gptq"): 23,
        ("A100-80", "transformers-gptq-v2"): 13,
        **{(gpu, "vllm"): 8 for gpu in ("A100-40", "H100")},
        **{(gpu, "tensorrt-llm"): 8 for gpu in ("A100-40", "H100", "GH200")},
        ("A100-40", "deepspeed-mii"): 8,
    }
    assert rows.excluded_share <= 0.05
    assert {each.origin.checkpoint for each in rows.exclusions if each.origin.gpu == "A10G"} == set(LEFT_OUT)


def test_no_line_of_a_source_is_lost(rows: Rows, data: Path) -> None:
    origins = [*(each.origin for each in rows.observations), *(each.origin for each in rows.exclusions)]
    seen = Counter((origin.source, origin.line) for origin in origins)
    assert max(seen.values()) == 1
    for name in (LLM_PERF, ARGONNE, *OPTIMUM):
        with (data / "calibration" / name).open(encoding="utf-8", newline="") as file:
            written = sum(any(row.values()) for row in csv.DictReader(file))
        assert sum(source == name for source, _ in seen) == written


def test_the_committed_list_of_rows_is_that_of_the_readers(rows: Rows) -> None:
    committed = Path(__file__).parents[2] / "experiments" / "results" / "calibration_rows.csv"
    assert committed.read_text(encoding="utf-8") == row_list(rows)
    listed = list(csv.DictReader(committed.read_text(encoding="utf-8").splitlines()))
    assert all(bool(row["reason"]) == (row["used"] == "no") for row in listed)
