"""Creates the virtual environment of lm-eval at first use, and describes the machine."""

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
    """Returns the default folder of the environment."""
    return Path(platformdirs.user_cache_dir("promptkit-benchmarks")) / f"lm-eval-{LM_EVAL}"


def lm_eval_python(folder: Path) -> Path:
    """Returns the Python of the environment in `folder`, created if needed; exits if it has another version of lm-eval."""
    python = folder / "bin" / "python"
    if not folder.exists():
        _install(folder, python)
    code = "from importlib.metadata import version; print(version('lm_eval'))"
    installed = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()
    if installed != LM_EVAL:
        raise SystemExit(f"{folder} has lm-eval {installed or '(none)'}, not {LM_EVAL}: give another folder with --env.")
    return python


def _install(folder: Path, python: Path) -> None:
    """Installs torch first, so that lm-eval does not install another build of it."""
    print(f"Installing lm-eval {LM_EVAL} into {folder} (a few minutes) ...", flush=True)
    try:
        venv.create(folder, with_pip=True)
        for requirement in (f"torch=={TORCH}", f"lm-eval[hf]=={LM_EVAL}"):
            subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def machine() -> dict[str, object]:
    """Returns the processor (its name in /proc/cpuinfo), the cores available to this process, memory and system."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
    }
