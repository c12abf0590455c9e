"""A model as a GGUF file, by llama.cpp's own converter where it is installed."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Literal, get_args

from pydantic import BaseModel, ConfigDict

from ilab_jupyter.errors import Conflict, InvalidInput, Unavailable, Unprocessable
from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.registry import folder as model_folder

# Those that the converter writes itself; the others take llama-quantize as a second step.
Plain = Literal["f32", "f16", "bf16", "q8_0"]
Quantized = Literal[
    "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_0", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"
]
Quantization = Plain | Quantized
CONVERTER = ("convert_hf_to_gguf.py", "convert_hf_to_gguf", "convert-hf-to-gguf.py")
MAGIC = b"GGUF"
LOOK = 0.1


class Converted(BaseModel):
    """A model in another form."""

    model_config = ConfigDict(frozen=True)

    model: str
    path: str
    format: Literal["gguf"] = "gguf"
    quantization: str
    size_bytes: int


def convert(
    model: str, folder: Path, quantization: str, output_dir: Path | None, reporter: Reporter
) -> Converted:
    """The whole model in `folder` as `<output_dir>/<model>-<quantization>.gguf`; beside the model where None.

    Unavailable where llama.cpp is not installed, Conflict where the file exists, Unprocessable where the
    converter does not take the model; Stopped. Nothing half-made is left.
    """
    plain, quantized = get_args(Plain), get_args(Quantized)
    if quantization not in (*plain, *quantized):
        raise InvalidInput(
            f"There is no quantization {quantization[:40]!r}.",
            f"Choose from: {', '.join((*plain, *quantized))}.",
        )
    if model_folder.inspect(folder, follow_links=True).kind == "adapter":
        raise InvalidInput(
            f"{folder.name!r} is an adapter.", "Merge it into its base first: Model(...).merge()."
        )
    converter = _found(CONVERTER, "convert_hf_to_gguf.py")
    quantizer = _found(("llama-quantize",), "llama-quantize") if quantization in quantized else None
    target = (output_dir or folder).expanduser().absolute() / f"{folder.name}-{quantization}.gguf"
    if target.exists():
        raise Conflict(f"There is a file {target.name} already.", "Remove it, or choose another folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    whole = partial.with_suffix(".whole")
    first = partial if quantizer is None else whole
    # The best that is lost to no model, where the second step makes it smaller anyway.
    kind = quantization if quantizer is None else "f32"
    try:
        reporter.phase("converting", f"{model} to GGUF")
        python = [sys.executable] if converter.suffix == ".py" else []
        _run([*python, str(converter), str(folder), "--outfile", str(first), "--outtype", kind], reporter)
        if quantizer is not None:
            reporter.phase("quantizing", quantization)
            _run([str(quantizer), str(first), str(partial), quantization], reporter)
        with partial.open("rb") as stream:
            if stream.read(4) != MAGIC:
                raise Unprocessable("The converter wrote no GGUF file.", "Bring llama.cpp up to date.")
        partial.rename(target)
    finally:
        for left in (partial, whole):
            left.unlink(missing_ok=True)
    reporter.artifact("file", target.name, target)
    return Converted(
        model=model, path=str(target), quantization=quantization, size_bytes=target.stat().st_size
    )


def _found(names: tuple[str, ...], said: str) -> Path:
    """The tool on PATH or in the folder that LLAMA_CPP names."""
    positions = os.environ.get("LLAMA_CPP", "")
    for name in names:
        beside = [Path(positions) / inner / name for inner in (".", "build/bin")] if positions else []
        on_path = shutil.which(name)
        for tool in (*beside, *([Path(on_path)] if on_path else [])):
            if tool.is_file():
                return tool.absolute()
    raise Unavailable(
        f"GGUF needs llama.cpp's {said}, which is not here.",
        "Get llama.cpp and set LLAMA_CPP to its folder, or put the tool on PATH.",
    )


def _run(command: list[str], reporter: Reporter) -> None:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                if reporter.stopping:
                    raise Stopped("The conversion was stopped on request.")
                time.sleep(LOOK)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0:
            raise Unprocessable(
                f"llama.cpp does not convert this model: {_last_line(said)}",
                "Check that llama.cpp knows its architecture and is up to date.",
            )


def _last_line(stream: IO[bytes]) -> str:
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, end - 4000))
    lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    return f"{(lines or ['it says nothing'])[-1][:300].rstrip('.')}."
