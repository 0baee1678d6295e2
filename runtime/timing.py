"""Units, derived once: samples, video frames, latent frames.

A stream's latent frame 0 decodes to video frame 0 alone; latent frame n >= 1 decodes to the
video frames 4n-3 .. 4n (the autoencoder's 4n+1 rule). The mouth of video frame k belongs to
samples [640 k, 640 (k + 1)).
"""

SAMPLE_RATE = 16_000  # Hz; the model's audio: mono float32 in [-1, 1]
VIDEO_FPS = 25
SAMPLES_PER_FRAME = SAMPLE_RATE // VIDEO_FPS  # 640 samples = 40 ms
FRAMES_PER_LATENT = 4  # temporal stride of the autoencoder
SAMPLES_PER_LATENT = SAMPLES_PER_FRAME * FRAMES_PER_LATENT  # 2560 samples = 160 ms

OUTPUT_RATE = 48_000  # Hz; the audio that is sent to clients and written to files
OUTPUT_SAMPLES_PER_FRAME = OUTPUT_RATE // VIDEO_FPS  # 1920


def frames_of_latent(latent: int) -> range:
    """Video frames that latent frame `latent` >= 0 decodes to: one for 0, else four."""
    assert latent >= 0, latent
    return range(max(0, FRAMES_PER_LATENT * (latent - 1) + 1), FRAMES_PER_LATENT * latent + 1)


def latent_of_frame(frame: int) -> int:
    """The latent frame that video frame `frame` >= 0 is decoded from."""
    assert frame >= 0, frame
    return -(-frame // FRAMES_PER_LATENT)


def frames_in_latents(latents: int) -> int:
    """How many video frames the first `latents` latent frames of a stream decode to."""
    return 0 if latents <= 0 else FRAMES_PER_LATENT * (latents - 1) + 1


def frames_for_samples(samples: int) -> int:
    """How many video frames cover `samples` samples at the model's rate."""
    return -(-samples // SAMPLES_PER_FRAME)
