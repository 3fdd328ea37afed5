"""lm-eval's own virtual environment, made the first time, and the machine that everything runs on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import venv
from pathlib import Path

import platformdirs

LM_EVAL = "0.4.13"
TORCH = "2.13.0"


def default_folder() -> Path:
    """Where the environment is kept unless another folder is given."""
    return Path(platformdirs.user_cache_dir("promptkit-benchmarks")) / f"lm-eval-{LM_EVAL}"


def lm_eval_python(folder: Path) -> Path:
    """The python of the environment in `folder`, which is made if there is none; raises if it holds another version."""
    python = folder / "bin" / "python"
    if not folder.exists():
        _install(folder, python)
    question = "from importlib.metadata import version; print(version('lm_eval'))"
    found = subprocess.run([python, "-c", question], capture_output=True, text=True, check=False).stdout.strip()
    if found != LM_EVAL:
        raise SystemExit(f"{folder} holds lm-eval {found or '(none)'}, not {LM_EVAL}: name another folder by --env.")
    return python


def _install(folder: Path, python: Path) -> None:
    """torch comes first, so that lm-eval does not bring another build of it."""
    print(f"Installing lm-eval {LM_EVAL} into {folder} (a few minutes) ...", flush=True)
    try:
        venv.create(folder, with_pip=True)
        for requirement in (f"torch=={TORCH}", f"lm-eval[hf]=={LM_EVAL}"):
            subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def machine() -> dict[str, object]:
    """Processor (as /proc/cpuinfo names it), cores that this process may use, memory and system."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
    }
