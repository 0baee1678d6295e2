"""Train the built-in video autoencoder on crops of drawn people.

    python -m training.data.pictures && python -m training.train.autoencoder
    python -m training.data.generated && python -m training.train.autoencoder --refine

Resumes from training/runs/autoencoder; exports runtime/builtin/weights/autoencoder.safetensors.
`--refine` trains the decoder alone, so the latents do not change and the transformer stays valid.
Half of its batches are then latents that the transformer generated, with the true frames.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
import typer
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from runtime.models.autoencoder.autoencoder import Autoencoder, AutoencoderConfig
from runtime.models.autoencoder.compositing_decoder import SPATIAL_STRIDE
from training.data.generated import GeneratedClips
from training.data.pictures import Box, PictureClips
from training.run import Run, pick_device
from training.shipped import load_autoencoder, save_part

COMMAND = "python -m training.data.pictures && python -m training.train.autoencoder"
LATENT_NOISE = 0.25  # at most, as a share of the change from rest
MOUTH_COMPONENTS = 16  # of the linear code, for the mouth detail that the others miss
MOUTH_WEIGHT, EYE_WEIGHT = 6.0, 6.0
MOUTHS, EYES = 0.5, 0.35  # shares of the crops


@dataclass(frozen=True, slots=True)
class Crops:
    """A batch of crops, pixels in [-1, 1].

    Drawn clips have three latent frames, generated ones the last two. `latents` are scaled as for
    the denoiser; None means that the encoder makes them.
    """

    pictures: Tensor  # (B, 3, 12 or 8, c, c)
    anchors: Tensor  # (B, 3, c, c)
    weights: Tensor  # (B, 1, 1, c, c)
    latents: Tensor | None = None  # (B, 3, C, c / 8, c / 8)


class CropSampler:
    """Cuts crops of clips on `device`: most around mouths, then eyes, then anywhere.

    `latents` (N, 3, C, h, w), scaled, are the transformer's output for each clip, if given.
    """

    def __init__(
        self,
        data: PictureClips,
        crop: int,
        seed: int,
        latents: NDArray[np.float16] | None = None,
        device: str = "cpu",
    ) -> None:
        self.data, self.crop = data, crop
        self.clips = torch.from_numpy(data.clips).to(device)
        self.rest = torch.from_numpy(data.rest).to(device)
        self.latents = None if latents is None else torch.from_numpy(latents).to(device)
        self.rng = np.random.default_rng(seed)
        size = data.rest.shape[1]
        weight_maps = np.ones((len(data.rest), size, size), np.float32)
        for scene in range(len(data.rest)):
            for boxes, weight in (
                (data.eye_boxes[scene], EYE_WEIGHT),
                (data.mouth_boxes[scene], MOUTH_WEIGHT),
            ):
                for box in boxes:
                    x0, y0, x1, y1 = _pixels(box, size)
                    weight_maps[scene, y0:y1, x0:x1] = weight
        self.weights = torch.from_numpy(weight_maps).to(device)
        moved = np.array([_eyes_move(data, index) for index in range(len(data.clips))])
        self.eyes_move = moved / moved.sum()

    def batch(self, count: int) -> Crops:
        """`count` random crops, with the generated latents of the same place if there are any."""
        clips, anchors, weights, made = [], [], [], []
        for _ in range(count):
            index, where = self._place()
            scene = int(self.data.scene[index])
            clip = self.clips[index][:, where[0], where[1]]
            anchor = self.rest[scene][where]
            if self.latents is not None:
                y, x = (slice(s.start // SPATIAL_STRIDE, s.stop // SPATIAL_STRIDE) for s in where)
                made.append(self.latents[index][..., y, x])
            elif self.rng.random() < 0.1:  # a reference image that is not at rest
                anchor = clip[int(self.rng.integers(len(clip)))]
            clips.append(clip)
            anchors.append(anchor)
            weights.append(self.weights[scene][where])
        return Crops(
            rearrange(_signed(torch.stack(clips)), "b f h w c -> b c f h w").contiguous(),
            rearrange(_signed(torch.stack(anchors)), "b h w c -> b c h w").contiguous(),
            torch.stack(weights)[:, None, None],
            torch.stack(made).float() if made else None,
        )

    def _place(self) -> tuple[int, tuple[slice, slice]]:
        """A random clip, and the rows and columns of a crop on the latent grid."""
        pick = self.rng.random()
        # Closed eyes are rare, so prefer clips in which the eyes move more.
        likely = self.eyes_move if MOUTHS <= pick < MOUTHS + EYES else None
        index = int(self.rng.choice(len(self.clips), p=likely))
        scene = int(self.data.scene[index])
        centre = self.rng.uniform(0.15, 0.85, 2)
        if pick < MOUTHS + EYES:
            boxes = self.data.mouth_boxes[scene] if pick < MOUTHS else self.data.eye_boxes[scene]
            x, y, w, h = boxes[int(self.rng.integers(len(boxes)))]
            centre = np.array([x + w / 2, y + h / 2]) + self.rng.normal(0, 0.05, 2)
        size, crop = self.data.rest.shape[1], self.crop
        corner = np.round((centre * size - crop / 2) / SPATIAL_STRIDE) * SPATIAL_STRIDE
        left, top = (int(v) for v in np.clip(corner, 0, size - crop))
        return index, (slice(top, top + crop), slice(left, left + crop))


def _eyes_move(data: PictureClips, index: int) -> float:
    """The largest mean difference of a clip's eyes from those at rest, 0 .. 255."""
    scene, size = int(data.scene[index]), data.rest.shape[1]
    change = 0.0
    for box in data.eye_boxes[scene]:
        x0, y0, x1, y1 = _pixels(box, size)
        eyes = data.clips[index][:, y0:y1, x0:x1].astype(np.int16)
        frames = np.abs(eyes - data.rest[scene][y0:y1, x0:x1]).mean((1, 2, 3))
        change = max(change, float(frames.max()))
    return change


def _pixels(box: Box, size: int) -> tuple[int, int, int, int]:
    x, y, w, h = (v * size for v in box)
    return int(max(0, x)), int(max(0, y)), int(x + w) + 1, int(y + h) + 1


def _signed(pixels: Tensor | NDArray[np.uint8]) -> Tensor:
    return torch.as_tensor(pixels).float().div_(127.5).sub_(1.0)


def losses(model: Autoencoder, crops: Crops) -> dict[str, Tensor]:
    """Errors of the last two of three latent frames after decoding: pixels, edges, motion.

    `still` is the pixel error of the unchanged reference image, for comparison.
    """
    anchor = model.reference_features(crops.anchors)
    if crops.latents is None:
        latents = encoded(model, crops.pictures, anchor.still)
    else:
        latents = model.unscale(crops.latents)
    parts = [model.decoder(latents[:, i], latents[:, i - 1], anchor) for i in (1, 2)]
    out, target = torch.cat(parts, dim=2), crops.pictures[:, :, -8:]
    weight = crops.weights / crops.weights.mean(dim=(-1, -2), keepdim=True)
    error = out - target
    return {
        "pixels": (error.abs() * weight).mean(),
        "edges": (error.diff(dim=-1).abs() * weight[..., 1:]).mean()
        + (error.diff(dim=-2).abs() * weight[..., 1:, :]).mean(),
        "motion": (error.diff(dim=2).abs() * weight).mean(),
        "still": ((crops.anchors[:, :, None] - target).abs() * weight).mean().detach(),
    }


def encoded(model: Autoencoder, clips: Tensor, still: Tensor) -> Tensor:
    """Latents (B, 3, C, h, w) of clips, with a random and mostly small amount of noise."""
    exact: Tensor = model.encoder(rearrange(clips, "b c (t f) h w -> (b t) c f h w", f=4))
    latents = rearrange(exact, "(b t) c h w -> b t c h w", b=len(clips))
    change = (latents - still[:, None]).detach().square().mean().sqrt()
    amount = LATENT_NOISE * torch.rand_like(latents[:, :1, :1, :1, :1]).square()
    return latents + amount * change * torch.randn_like(latents)


@torch.no_grad()
def measure(model: Autoencoder, data: PictureClips, rows: list[int]) -> dict[str, float]:
    """PSNR in dB of whole clips: of all pixels, and of the mouth boxes."""
    size, device = data.rest.shape[1], model.latent_mean.device
    everywhere, mouths = [], []
    for row in rows:
        scene = int(data.scene[row])
        clip = rearrange(_signed(data.clips[row]).to(device), "f h w c -> 1 c f h w")
        state = model.start(rearrange(_signed(data.rest[scene]).to(device), "h w c -> 1 c h w"))
        latents = model.encode_groups(rearrange(clip, "b c (t f) h w -> b t c f h w", f=4))
        out = []
        for t in range(latents.shape[2]):
            pictures, state = model.decode(latents[:, :, t], state)
            out.append(pictures)
        error = (torch.cat(out, dim=2) - clip)[:, :, 4:].square()
        everywhere.append(error.mean().item())
        for box in data.mouth_boxes[scene]:
            x0, y0, x1, y1 = _pixels(box, size)
            mouths.append(error[..., y0:y1, x0:x1].mean().item())
    psnr = [float(10 * np.log10(4.0 / np.mean(e))) for e in (everywhere, mouths)]
    return {"psnr": psnr[0], "mouth_psnr": psnr[1]}


def change_patches(data: PictureClips, rng: np.random.Generator, clips: int) -> Tensor:
    """Changes from rest (N, 3 * 4 * 8 * 8) of cells that move, ordered (c f p q)."""
    patches = []
    for row in rng.integers(len(data.clips), size=clips):
        first = 4 * int(rng.integers(3))
        rest = _signed(data.rest[data.scene[row]])
        change = _signed(np.asarray(data.clips[row][first : first + 4])) - rest
        y, x = rng.integers(0, SPATIAL_STRIDE, 2)
        cells = _patches(change[:, y : y + 240, x : x + 240])
        patches.append(cells[torch.multinomial(cells.square().mean(1) + 1e-3, 120)])
    return torch.cat(patches)


def mouth_patches(data: PictureClips, rng: np.random.Generator, clips: int) -> Tensor:
    """Changes from rest, as in `change_patches`, of all cells in mouth boxes."""
    size, patches = data.rest.shape[1], []
    for row in rng.integers(len(data.clips), size=clips):
        scene, first = int(data.scene[row]), 4 * int(rng.integers(3))
        change = _signed(np.asarray(data.clips[row][first : first + 4])) - _signed(data.rest[scene])
        for box in data.mouth_boxes[scene]:
            x0, y0, x1, y1 = (v // SPATIAL_STRIDE * SPATIAL_STRIDE for v in _pixels(box, size))
            cells = change[:, y0 : y1 + SPATIAL_STRIDE, x0 : x1 + SPATIAL_STRIDE]
            patches.append(_patches(cells))
    return torch.cat(patches)


def linear_code(data: PictureClips, rng: np.random.Generator, channels: int) -> Tensor:
    """Orthonormal rows (channels, 3 * 4 * 8 * 8): general components, then components of mouths.

    The motion of a mouth within the four frames of a latent frame is a small share of all change,
    so the first components miss it, but viewers notice it. The second part holds it.
    """
    general = principal_components(change_patches(data, rng, 400), channels - MOUTH_COMPONENTS)
    mouths = mouth_patches(data, rng, 700)
    left = mouths - (mouths @ general.T) @ general
    return torch.cat([general, principal_components(left, MOUTH_COMPONENTS)])


def _patches(change: Tensor) -> Tensor:
    """Frames (4, H, W, 3) cut into cells, (n, 3 * 4 * 8 * 8)."""
    side = SPATIAL_STRIDE
    return rearrange(change, "f (h p) (w q) c -> (h w) (c f p q)", p=side, q=side)


def principal_components(patches: Tensor, count: int) -> Tensor:
    """The first `count` principal directions (count, values) of the patches, orthonormal."""
    _, directions = torch.linalg.eigh(patches.T @ patches)
    leading: Tensor = directions.T.flip(0)[:count]
    return leading


@torch.no_grad()
def measure_scale(model: Autoencoder, data: PictureClips, clips: int = 64) -> None:
    """Set the mean of each latent channel, and the deviation from rest of the cells that move."""
    values, changes = [], []
    for row in np.linspace(0, len(data.clips) - 1, clips).astype(int):
        clip = rearrange(_signed(np.asarray(data.clips[row])), "(t f) h w c -> t c f h w", f=4)
        rest = rearrange(_signed(data.rest[data.scene[row]]), "h w c -> 1 c h w")
        latents, still = model.encoder(clip), model.reference_features(rest).still
        values.append(latents)
        change = (latents - still).square().mean(1)
        changes.append(change.flatten().topk(change.numel() // 10).values)
    model.latent_mean.copy_(torch.cat(values).mean(dim=(0, 2, 3)))
    model.latent_std.fill_(torch.cat(changes).mean().sqrt())


def export(run: Run, data: PictureClips, config: AutoencoderConfig, refine: bool) -> None:
    model = Autoencoder(config)
    model.load_state_dict({k: v.cpu() for k, v in run.averaged.items()})
    if not refine:
        measure_scale(model, data)
    save_part("autoencoder", model.state_dict(), config.to_dict(), COMMAND)


def _fresh(data: PictureClips, config: AutoencoderConfig) -> Autoencoder:
    model = Autoencoder(config)
    model.start_from(linear_code(data, np.random.default_rng(0), config.latent_channels))
    return model


def _refined() -> Autoencoder:
    model = load_autoencoder().train()
    model.encoder.requires_grad_(False)
    return model


def main(
    steps: int = 3000,
    batch: int = 20,
    crop: int = 64,
    threads: int = 2,
    rate: float = 1e-3,
    refine: bool = False,
) -> None:
    """Train the autoencoder, or with `--refine` only its decoder, and export it.

    `batch` crops of `crop` pixels a step.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    device = pick_device()
    data, config = PictureClips.load(), AutoencoderConfig()
    model = _refined() if refine else _fresh(data, config)
    model.to(device)
    run = Run("decoder" if refine else "autoencoder", model, steps, rate)
    samplers = [CropSampler(data, crop, run.step, device=device)]
    if refine:
        generated = GeneratedClips.load()
        samplers.append(CropSampler(generated.pictures, crop, run.step, generated.latents, device))
    for step in run:
        crops = samplers[step % len(samplers)].batch(batch)
        parts = losses(model, crops)
        total = parts["pixels"] + 0.5 * parts["edges"] + 0.5 * parts["motion"]
        run.update(total)
        if step % 50 < 2:
            kind = "of_generated_" if crops.latents is not None else ""
            run.log(**{kind + k: v.detach() for k, v in parts.items()})
        if step % 400 == 399:
            trained = Autoencoder(config).to(device)
            trained.load_state_dict(run.averaged)
            rows = np.linspace(0, len(data.clips) - 1, 24).astype(int).tolist()
            run.log(**measure(trained, data, rows))
            export(run, data, config, refine)
    export(run, data, config, refine)


if __name__ == "__main__":
    typer.run(main)
