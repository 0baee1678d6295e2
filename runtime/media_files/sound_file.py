"""Sound files of any format that FFmpeg reads, as one channel of float samples."""

from itertools import chain
from pathlib import Path

import av
import numpy as np

from runtime.errors import BadInput
from runtime.values import Samples

LONGEST_S = 3600


def read_sound(file: Path, rate: int) -> Samples:
    """The first audio stream of `file`: float32 (N,) in [-1, 1] at `rate` Hz, channels mixed.

    BadInput if the file is missing, damaged, empty, without audio, or longer than an hour.
    """
    if not file.is_file():
        raise BadInput(f"There is no sound file {file}. Check the path.", param="audio")
    try:
        with av.open(str(file)) as container:
            if not container.streams.audio:
                raise BadInput(
                    f"{file} has no sound. Give a file with an audio stream.", param="audio"
                )
            samples = _decode(container, file, rate)
    except av.FFmpegError as error:
        raise BadInput(
            f"{file} cannot be read as sound ({error.strerror}). "
            "Give a complete WAV, MP3, Ogg, FLAC, M4A or similar file.",
            param="audio",
        ) from error
    if not samples.size:
        raise BadInput(f"{file} has no samples. Give a file with sound in it.", param="audio")
    return samples


def _decode(container: av.container.InputContainer, file: Path, rate: int) -> Samples:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    parts: list[Samples] = []
    count = 0
    for frame in chain(container.decode(audio=0), (None,)):
        for resampled in resampler.resample(frame):
            parts.append(np.asarray(resampled.to_ndarray(), np.float32).reshape(-1))
            count += len(parts[-1])
        if count > LONGEST_S * rate:
            raise BadInput(
                f"{file} is longer than {LONGEST_S // 60} minutes. Cut it into parts.",
                param="audio",
            )
    return np.clip(np.concatenate(parts) if parts else np.zeros(0, np.float32), -1, 1)
