#!/usr/bin/env bash
# An environment with a real SGLang server for a machine without a GPU: about a minute and 2.3 GB.
# usage: setup-cpu.sh VENV_DIR          (uv on the path, or named by $UV; Python 3.11)
# Its kernels are torch's own, so its speed says nothing about a GPU. Server, scheduler, radix cache and router are real.
set -euo pipefail
venv=${1:?usage: setup-cpu.sh VENV_DIR}
uv=${UV:-uv}
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
# Compiled now, or the first server would take a minute longer to start.
install() { "$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" "$@"; }

"$uv" venv --quiet --allow-existing --python 3.11 "$venv"
here=$(dirname "$0")
UV=$uv "$here/../../.ci/install-torch" "$venv/bin/python" torch --constraint "$here/requirements-cpu.txt" --compile-bytecode
install --requirement "$here/requirements-cpu.txt"
# Without dependencies: the rest of what SGLang requires are CUDA packages, which do not install or import here.
# torchvision 0.15.2 is the newest that imports beside a torch without CUDA of another version.
install --no-deps sglang==0.5.23 torchvision==0.15.2 compressed-tensors==0.18.0 xgrammar==0.2.7
install --no-deps "$here/cpu_attention"

# On a platform that it does not know, SGLang's rotary embedding imports this one name of vLLM, and never calls it.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
mkdir -p "$site/vllm"
touch "$site/vllm/__init__.py"
echo 'def rotary_embedding(*args, **kwargs): raise NotImplementedError("not on a CPU")' > "$site/vllm/_custom_ops.py"
