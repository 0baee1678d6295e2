"""Which samples condition a latent frame: integers only, no tensors."""

from runtime.timing import SAMPLE_RATE, SAMPLES_PER_FRAME, SAMPLES_PER_LATENT

N_FFT = 400  # 25 ms
HOP_SAMPLES = 160  # one mel column: 10 ms
STEP_SAMPLES = 2 * HOP_SAMPLES  # one encoder step: 20 ms
STEPS_PER_FRAME = SAMPLES_PER_FRAME // STEP_SAMPLES
FEATURE_STEPS = 10  # video frame k takes encoder steps 2k-4 .. 2k+5, as in the release
STEPS_BEFORE = 4
LOG_FLOOR = 1e-6  # power; white noise of -66 dBFS just touches it

_LAST_STEP = FEATURE_STEPS - STEPS_BEFORE - 1  # of frame 0
_COLUMN_REACH = N_FFT // 2  # samples on both sides of a column's centre
LOOKAHEAD_SAMPLES = (
    (2 * _LAST_STEP + 1) * HOP_SAMPLES + _COLUMN_REACH - SAMPLES_PER_FRAME
)  # 1,320: samples after the end of a latent frame's last video frame that its features contain
CONTEXT_STEPS = 100  # 2 s
WINDOW_SAMPLES = (2 * CONTEXT_STEPS - 1) * HOP_SAMPLES + N_FFT  # 32,240
REWIND_SAMPLES = 4 * SAMPLE_RATE  # how far back from its newest latent frame a stream may rewind


def needed_samples(latent_index: int) -> int:
    """Samples, counted from 0, that the features of latent frame n are computed from."""
    return latent_index * SAMPLES_PER_LATENT + SAMPLES_PER_FRAME + LOOKAHEAD_SAMPLES


def oldest_needed_sample(latent_index: int) -> int:
    """Samples before this one are of no use to latent frame n, a later one, or a rewind of 4 s."""
    return needed_samples(latent_index) - WINDOW_SAMPLES - REWIND_SAMPLES
