"""An engine of one small file, for the build cache."""

from pathlib import Path

from runtime.engine.description import EngineDescription, EngineKey, file_hash

BUILT = EngineKey("denoiser", "onnx", "fp32", "some shape", "some weights")


def build(folder: Path) -> EngineDescription:
    """An engine of one small file."""
    (folder / "model.onnx").write_bytes(b"weights")
    return EngineDescription(BUILT, (), (), {"model.onnx": file_hash(folder / "model.onnx")})


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock"))
