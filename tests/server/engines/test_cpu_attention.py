"""The attention that SGLang is given on a CPU computes what its own does."""

import subprocess
from pathlib import Path

import pytest

PYTHON = Path(__file__).parents[3] / ".venv-sglang/bin/python"

_COMPARE = """
import torch
from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend as Backend
import streamdocs_sglang_cpu_attention as ours

torch.manual_seed(0)
theirs = {name: getattr(Backend, name) for name in ("_run_sdpa_forward_decode", "_run_sdpa_forward_extend")}
calls, attend = [], ours.attend
ours.attend = lambda *given, **named: calls.append(given) or attend(*given, **named)
ours.apply()
backend = object.__new__(Backend)
lengths, before = torch.tensor([100, 7, 40]), torch.tensor([0, 6, 25])
for heads, key_heads, width, scaling, sliding in ((9, 3, 64, None, None), (4, 4, 16, 0.5, None), (8, 1, 32, 0.1, 5)):
    keys, values = torch.randn(2, 500, key_heads, width)
    places = torch.randperm(500)[:400].reshape(4, 100).to(torch.int32)
    caches = (keys, values, places, torch.tensor([2, 0, 3]), lengths)
    for name in theirs:
        is_decoding = name.endswith("decode")
        new = torch.ones(3, dtype=int) if is_decoding else lengths - before
        output = torch.zeros(int(new.sum()), heads, width)
        given = (torch.randn_like(output), output, *caches, *(() if is_decoding else (before, new)), None)
        named = dict(scaling=scaling, enable_gqa=heads != key_heads, causal=not is_decoding, is_cross_attn=False)
        named["sliding_window_size"] = sliding
        wanted = theirs[name](backend, *given, **named).clone()
        output.zero_()
        assert getattr(Backend, name)(backend, *given, **named) is output and wanted.abs().max() > 0.1
        torch.testing.assert_close(output, wanted, rtol=1e-4, atol=1e-5)
assert len(calls) == 4  # what it cannot do, SGLang does
"""


@pytest.mark.skipif(not PYTHON.exists(), reason=f"no SGLang at {PYTHON}: `make sglang` puts it there")
@pytest.mark.timeout(300)
def test_it_computes_what_sglang_does():
    environment = {"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "", "SGLANG_PLUGINS": "none"}
    command = [str(PYTHON), "-c", _COMPARE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.skipif(not PYTHON.exists(), reason=f"no SGLang at {PYTHON}: `make sglang` puts it there")
def test_sglang_finds_it():
    ask = "from importlib.metadata import entry_points; print(*entry_points(group='sglang.srt.plugins'))"
    found = subprocess.run([str(PYTHON), "-c", ask], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "streamdocs_sglang_cpu_attention:apply" in found
