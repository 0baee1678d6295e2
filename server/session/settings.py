"""The settings of one session, and what a `session.update` changes in them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from runtime.character.character import Character, Speaker
from runtime.character.face_mask import check_boxes
from runtime.errors import AvatarError, BadInput, NotFound, NotWritten, Taken, Unsupported
from runtime.timing import VIDEO_FPS
from runtime.values import Box
from server.playout import unknown_speaker
from server.protocol.client_events import SessionUpdate, SpeakerWish
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.model_format import SpeechFormat
from server.protocol.server_events import VideoInfo
from server.protocol.update_parts import MODEL_RATE
from server.speech.pcm import PcmFormat


@dataclass(frozen=True, slots=True)
class ModelSpeech:
    """The format of a voice model's forwarded speech.

    It counts as the OpenAI Realtime API's until the model's own events or the client name another;
    what the client says stands.
    """

    pcm: PcmFormat = field(default_factory=lambda: PcmFormat(MODEL_RATE))
    is_chosen: bool = False
    """Whether the client has set it."""
    refused_type: str | None = None
    """What the model's events name instead of PCM."""

    def named(self, format: SpeechFormat) -> "ModelSpeech":
        """After an event of the model that names its format."""
        if self.is_chosen:
            return self
        if format.rate is None:
            return replace(self, refused_type=format.type)
        return ModelSpeech(PcmFormat(format.rate))

    def checked(self) -> PcmFormat:
        """The format to read the model's speech with; ProtocolError if it is not PCM."""
        if self.refused_type is None:
            return self.pcm
        raise ProtocolError(
            ErrorCode.INVALID_FIELD,
            f"The voice model's speech is {self.refused_type}, but must be audio/pcm (PCM16). Set "
            "its output format to audio/pcm, or decode the speech and append it.",
            "audio.output.format.type",
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """What a session shows and how its audio comes in.

    Emotions are not among them: they belong to the stream.
    """

    character: Character
    preset: str
    seed: int = 0
    pcm: PcmFormat = field(default_factory=PcmFormat)
    model_speech: ModelSpeech = field(default_factory=ModelSpeech)
    metrics: bool = False


def updated(
    settings: Settings, event: SessionUpdate, characters: Mapping[str, Character], *, is_live: bool
) -> Settings:
    """The settings after `event`. Raises ProtocolError; the old settings then stay in force."""
    if is_live:
        _refuse_after_start(event)
        for wish in event.speakers or ():
            if wish.id not in settings.character.speaker_ids:
                raise unknown_speaker(wish.id, settings.character.speaker_ids)
    if event.prompt is not None:
        raise ProtocolError(
            ErrorCode.UNSUPPORTED,
            "The text prompt of this model is fixed in its weights. Leave prompt out.",
            "prompt",
            event.event_id,
        )
    character = settings.character
    if event.character is not None:
        character = find(characters, event.character)
    _refuse_other_video(event, character)
    if event.speakers is not None:
        if not is_live:
            character = with_speakers(character, event.speakers)
        for wish in event.speakers:
            if wish.emotion is not None:
                check_emotion(character, wish.emotion)
    pcm = PcmFormat(
        event.input_rate or settings.pcm.rate,
        event.input_format.channels or settings.pcm.channels,
    )
    return replace(
        settings,
        character=character,
        preset=event.preset or settings.preset,
        seed=settings.seed if event.seed is None else event.seed,
        pcm=pcm,
        model_speech=_model_speech(settings.model_speech, event, pcm),
        metrics=settings.metrics if event.metrics is None else event.metrics,
    )


def _model_speech(before: ModelSpeech, event: SessionUpdate, pcm: PcmFormat) -> ModelSpeech:
    """What the client says about a voice model's speech; its own format, if it says no other."""
    if event.model_rate is not None:
        return ModelSpeech(PcmFormat(event.model_rate), is_chosen=True)
    return ModelSpeech(pcm, is_chosen=True) if event.input_rate is not None else before


def find(characters: Mapping[str, Character], name: str) -> Character:
    if name not in characters:
        raise as_protocol_error(
            NotFound.among("character", name[:64], characters, param="character")
        )
    return characters[name]


def check_emotion(character: Character, emotion: str) -> None:
    if emotion != "neutral" and emotion not in character.emotions:
        known = ", ".join(sorted({"neutral", *character.emotions}))
        raise ProtocolError(
            ErrorCode.UNKNOWN_EMOTION,
            f"{character.id} has no emotion {emotion[:64]!r}; it has {known}. Use one of these.",
            "emotion",
        )


def with_speakers(character: Character, wishes: tuple[SpeakerWish, ...]) -> Character:
    """The character with its faces named, and their boxes moved, as `wishes` say."""
    speakers = list(character.speakers)
    if len(wishes) > len(speakers):
        raise ProtocolError(
            ErrorCode.INVALID_FIELD,
            f"{len(wishes)} speakers are too many: {character.id} has {len(speakers)} faces. Leave "
            "some out, or choose another character.",
            "speakers",
        )
    for number, wish in enumerate(wishes):
        face = wish.face if wish.face is not None else _face_of(character, wish, number)
        if face >= len(speakers):
            raise ProtocolError(
                ErrorCode.INVALID_FIELD,
                f"{character.id} has no face {face}: faces are numbered from the left, 0 to "
                f"{len(speakers) - 1}. Correct the number.",
                f"speakers.{number}.face",
            )
        box = speakers[face].box
        if wish.box is not None:
            box = Box(wish.box.x, wish.box.y, wish.box.width, wish.box.height)
        speakers[face] = Speaker(wish.id, speakers[face].name, box)
    ids = [each.id for each in speakers]
    if len(set(ids)) < len(ids):
        raise ProtocolError(
            ErrorCode.INVALID_FIELD,
            f"The speakers {', '.join(ids)} share a name. Give each face another name.",
            "speakers",
        )
    try:
        check_boxes([each.box for each in speakers])
    except AvatarError as reason:
        raise as_protocol_error(reason) from None
    speakers.sort(key=lambda each: each.box.centre[0])
    return replace(character, speakers=tuple(speakers))


def _face_of(character: Character, wish: SpeakerWish, number: int) -> int:
    """The face of a wish without a face number: its speaker's, or the next one if it has a box."""
    if wish.id in character.speaker_ids:
        return character.speaker_ids.index(wish.id)
    if wish.box is not None:
        return number
    raise unknown_speaker(wish.id, character.speaker_ids)


def granted_video(character: Character) -> VideoInfo:
    """The video that a session of that character sends: as large as its picture."""
    picture = character.picture
    return VideoInfo(picture.width, picture.height, VIDEO_FPS)


def _refuse_other_video(event: SessionUpdate, character: Character) -> None:
    if event.video is None:
        return
    granted = granted_video(character)
    for name in ("width", "height", "fps"):
        wanted, given = getattr(event.video, name), getattr(granted, name)
        if wanted not in (None, given):
            raise ProtocolError(
                ErrorCode.UNSUPPORTED,
                f"The session cannot send video with {name} {wanted}: {character.id} has "
                f"{granted.width} x {granted.height} pixels at {granted.fps} fps. Leave video "
                "out, or choose another character.",
                f"video.{name}",
                event.event_id,
            )


def _refuse_after_start(event: SessionUpdate) -> None:
    fixed: dict[str, object] = {"character": event.character, "preset": event.preset}
    fixed["seed"] = event.seed
    for number, wish in enumerate(event.speakers or ()):
        fixed[f"speakers.{number}.face"] = wish.face
        fixed[f"speakers.{number}.box"] = wish.box
    for name, value in fixed.items():
        if value is not None:
            raise ProtocolError(
                ErrorCode.MEDIA_STARTED,
                f"{name} cannot change after the media started; only emotions, the audio format "
                "and metrics can. Open another session for it.",
                name,
                event.event_id,
            )


_CODES = {
    "character": ErrorCode.UNKNOWN_CHARACTER,
    "speaker": ErrorCode.UNKNOWN_SPEAKER,
    "emotion": ErrorCode.UNKNOWN_EMOTION,
}


def as_protocol_error(reason: AvatarError) -> ProtocolError:
    """An error of the runtime as the client's error; it names no path of this machine."""
    if isinstance(reason, NotWritten):
        message = f"{reason.what} cannot be written: {reason.why}. Tell the server's operator."
        return ProtocolError(ErrorCode.STORAGE_FAILED, message)
    code = ErrorCode.INVALID_FIELD
    if isinstance(reason, Unsupported):
        code = ErrorCode.UNSUPPORTED
    elif isinstance(reason, Taken):
        code = ErrorCode.CHARACTER_EXISTS
    elif isinstance(reason, NotFound):
        code = _CODES.get(reason.param or "", ErrorCode.INVALID_FIELD)
    elif isinstance(reason, BadInput) and reason.param == "picture":
        code = ErrorCode.INVALID_PICTURE
    return ProtocolError(code, str(reason), reason.param)
