import numpy as np
import pytest

from server.protocol.errors import ProtocolError
from server.speech.containers import refuse_container
from server.speech.pcm import PcmFormat, PcmReader


def speech(rate: int, channels: int = 1, seconds: float = 1.3) -> bytes:
    time = np.arange(round(rate * seconds)) / rate
    wave = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.2 * np.sin(2 * np.pi * 1300 * time)
    ints = (wave * 32767).astype("<i2")
    return np.repeat(ints[:, None], channels, axis=1).tobytes()


def read_all(pcm: PcmFormat, data: bytes, cuts: list[int], read_samples: int):
    """Written in pieces of `cuts` bytes, read `read_samples` at a time between the writes."""
    reader = PcmReader(pcm)
    model, output = [], []

    def drain() -> None:
        while len((heard := reader.read(read_samples)).model):
            model.append(heard.model)
            output.append(heard.output)

    at, turn = 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        reader.write(data[at : at + size])
        at, turn = at + size, turn + 1
        drain()
    reader.finish()
    drain()
    return np.concatenate(model), np.concatenate(output), reader


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("cuts", [[1, 2, 3], [640], [4999, 7]])
@pytest.mark.fault("odd-bytes")
def test_hearing_in_any_cuts_equals_hearing_at_once(rate, cuts):
    """Speech may be cut into messages anywhere: the sound is bit for bit the same."""
    pcm, data = PcmFormat(rate), speech(rate, seconds=0.2)
    whole = read_all(pcm, data, [len(data)], 10**6)
    cut = read_all(pcm, data, cuts, 160)
    assert np.array_equal(whole[0], cut[0])
    assert np.array_equal(whole[1], cut[1])


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_output_sound_lasts_exactly_three_samples_for_each_model_sample(rate):
    data = speech(rate)
    model, output, reader = read_all(PcmFormat(rate), data, [4096], 640)
    assert len(output) == 3 * len(model)
    assert len(model) == PcmFormat(rate).model_samples(len(data) // 2)
    assert reader.unread_samples == 0


def test_both_rates_keep_a_tone_in_place():
    model, output, _ = read_all(PcmFormat(24_000), speech(24_000), [999], 640)
    time = np.arange(len(model)) / 16_000
    wave = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.2 * np.sin(2 * np.pi * 1300 * time)
    inside = slice(800, -800)
    assert np.abs(model - wave)[inside].max() < 2e-3
    assert np.abs(output[::3] - model)[inside].max() < 2e-3


def test_stereo_is_mixed_to_the_same_sound_as_mono():
    mono = read_all(PcmFormat(24_000, 1), speech(24_000, 1), [1001], 640)
    stereo = read_all(PcmFormat(24_000, 2), speech(24_000, 2), [1001], 640)
    assert np.allclose(mono[0], stereo[0], atol=1e-6)


@pytest.mark.fault("odd-bytes")
def test_an_odd_byte_is_carried_to_the_next_message():
    """Half a sample at the end of a message is carried over to the next one."""
    data = speech(16_000, seconds=0.1)
    model, _, _ = read_all(PcmFormat(), data, [101, 103], 640)
    assert np.array_equal(model, np.frombuffer(data, "<i2").astype(np.float32) / 32768)


@pytest.mark.fault("odd-bytes")
def test_half_a_sample_at_the_end_of_an_item_is_no_sample():
    """Half a sample at the end of an item is dropped."""
    model, output, _ = read_all(PcmFormat(), b"\x00\x10\x00", [3], 640)
    assert len(model) == 1
    assert len(output) == 3


def test_reading_without_enough_input_is_an_empty_result():
    reader = PcmReader(PcmFormat(24_000))
    assert len(reader.read(640).model) == 0
    reader.write(b"\x01")
    assert len(reader.read(640).model) == 0


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"RIFF\x24\x00\x00\x00WAVE", "RIFF"),
        (b"ID3\x04\x00", "ID3"),
        (b"OggS\x00", "OggS"),
        (b"fLaC\x00", "fLaC"),
        (b"\x1aE\xdf\xa3\x01", "WebM"),
        (b"\x00\x00\x00\x20ftypisom", "MP4"),
    ],
)
def test_a_container_pushed_as_pcm_is_refused_by_name(head, name):
    with pytest.raises(ProtocolError, match=name) as refused:
        refuse_container(head)
    assert refused.value.code == "container_not_pcm"


def test_mp3_frames_without_a_tag_are_refused():
    frame = b"\xff\xfb\x90\x00" + b"\x55" * 413  # MPEG 1 layer 3, 128 kb/s at 44.1 kHz: 417 bytes
    with pytest.raises(ProtocolError, match="MP3"):
        refuse_container(frame + frame)


@pytest.mark.fault("containers")
def test_loud_samples_that_look_like_one_mp3_sync_word_are_pcm():
    """One sync word of MP3 alone is sound."""
    assert refuse_container(b"\xff\xfb\x90\x00" + b"\x10\x20" * 1000) is None
