#!/usr/bin/env python3
"""Trains the transformer and its adapter with flow matching and the identity terms (model-specification.md 8).

From scratch, everything together (the autoencoder and the face encoder are those of RUN):

    python train_flow.py --config configs/tiny.json --run RUN --cache CACHE --check CHECK_CACHE [--variant full]

Adapter and LoRA on a frozen backbone, whose folder also has the autoencoder, the face encoder and the prompts:

    python train_flow.py --config configs/klein-lora.json --run RUN --cache CACHE --check CHECK_CACHE \\
        --backbone MODEL --freeze-backbone

Writes RUN/flow-VARIANT: state.pt, log.csv, loss.png, samples.png. The same command goes on where it was stopped, and
ends with the same weights as if it had not been.

With --identity-stage a second training begins from the first one's averaged weights, with the settings of the config's
`train_identity` in place of those of `train_flow`, and writes RUN/flow-VARIANT-identity. It is for a sampler of few steps:
there the picture is decided at high sigma, where the specification's weight of the identity terms, max(1 - sigma,
0.25)^2, hardly asks for the references' identity. `identity_floor` takes the place of the 0.25. With --begin-from VARIANT it begins
from that variant's first training, and what that one has not keeps its initial values: so variants can be compared that
were given to the same backbone. With --begin-from FOLDER it begins from the weights of that model folder.

Three settings, absent from the first training, are for such a sampler too: `trajectory_share` of the steps begin where the
sampler itself comes to rather than on the straight path; `pixel_weight` compares decoded pictures; `truth_strengths` says
up to which strength of degradation the identity terms ask for the truth's identity alone.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from iconface import checkpoint, lora
from iconface.adapter import VARIANTS, Adapter, identity_anchor, variant_config
from iconface.autoencoder import latents_of
from iconface.data import LatentCache, PictureSet, to_pixels
from iconface.face_encoder import FaceCrop
from iconface.losses import identity_loss, pyramid_loss, truth_share
from iconface.pictures import grid as picture_grid
from iconface.pictures import write_png
from iconface.sampler import sample, schedule
from iconface.training import (
    Average, RunFolder, autocast, learning_rate, optimizer_for, pick_device, read_config, set_learning_rate,
    step_generators, use_threads,
)  # fmt: skip
from iconface.transformer import Transformer, TransformerConfig


SHOWN = 8  # rows of samples.png; the figures are over the setting `samples`


def stage_settings(config, identity_stage):
    return {**config["train_flow"], **config["train_identity"]} if identity_stage else config["train_flow"]


def stage_folder(run, variant, identity_stage=False):
    """Where a stage's training writes, which is also where export.py and the second stage read it."""
    return Path(run) / (f"flow-{variant}" + ("-identity" if identity_stage else ""))


def identity_weight_at(settings, step):
    """`identity_weight` is a number, or pairs (from this step on, weight): the first weights are high, so that references
    are heeded, the later ones low, so that pixels become right again."""
    weight = settings["identity_weight"]
    return weight if not isinstance(weight, list) else [w for first, w in weight if step >= first][-1]


class Window:
    """The part of every token grid that a step looks at: square windows at first, which cost a fraction, then all of it.

    One place for the whole batch, references included: aligned faces have the same features there.
    """

    def __init__(self, settings, step, side, random):
        windows = settings.get("windows")
        self.whole = windows is None or step >= windows["steps"]
        self.side = side if self.whole else windows["side"]
        self.batch = settings["batch"] if self.whole else windows["batch"]
        self.origin = tuple(int(v) for v in random.integers(0, side - self.side + 1, 2))
        rows, columns = (np.arange(first, first + self.side) for first in self.origin)
        self.tokens = torch.from_numpy((rows[:, None] * side + columns).ravel())

    @property
    def grid(self):
        return self.side, self.side

    def cut(self, latents):
        """[..., side * side, C] -> the window's tokens."""
        return latents if self.whole else latents[..., self.tokens, :]


def pick_versions(cache, pictures, harder_share, random):
    """A degraded version of each picture, from 1; with so large a share the strongest that it has."""
    versions = random.integers(0, cache.versions, len(pictures))
    harder = random.random(len(pictures)) < harder_share
    versions[harder] = cache.strength[pictures[harder]].argmax(1)
    return 1 + versions


def draw_batch(cache, settings, window, random):
    """Everything of one step but the noise. All samples have the same number of references, none of them twice."""
    counts = settings["references"]
    references = int(random.choice(len(counts), p=counts))
    people = [p for p in cache.people if len(p) > references]
    batch = window.batch
    chosen = [
        random.choice(people[i], references + 1, replace=False) for i in random.integers(0, len(people), batch)
    ]
    chosen = np.stack(chosen)
    target, others = chosen[:, 0], chosen[:, 1:]
    version = pick_versions(cache, target, settings["harder_share"], random)
    degraded = window.cut(cache.latents(target, version))
    clean = window.cut(cache.latents(target, 0))
    empty = random.random(batch) < settings["empty_share"]
    # The empty prompt stands for pictures of any quality, so that guidance leads away from damaged ones.
    damaged = empty & (random.random(batch) < settings["empty_degraded_share"])
    clean[torch.from_numpy(damaged)] = degraded[torch.from_numpy(damaged)]
    s = (np.arange(batch) + random.random(batch)) / batch  # evenly spread
    shift = settings["sigma_shift"]
    return {
        "clean": clean,
        "degraded": degraded,
        "references": window.cut(cache.latents(others, 0)) if references else None,
        "reference_embeddings": cache.embeddings(others, 0) if references else cache.embeddings(target, version)[:, None],
        "true_embedding": F.normalize(cache.embeddings(target, 0), dim=-1),
        "strength": torch.from_numpy(cache.strength[target, version - 1]),
        "empty": torch.from_numpy(empty),
        "judged": torch.from_numpy(np.full(batch, references > 0) & ~empty),
        "sigma": torch.from_numpy(shift * s / (1 + (shift - 1) * s)).float(),
    }


class Trainer:
    def __init__(self, arguments, config):
        self.config, self.settings = config, stage_settings(config, arguments.identity_stage)
        self.device = pick_device(arguments.device)
        if self.settings.get("trajectory_share", 0) > 0 and config["defaults"]["guidance"] != 1:
            raise ValueError("trajectory_share follows the sampler without guidance: defaults.guidance must be 1")
        self.cache, self.check = LatentCache(arguments.cache), LatentCache(arguments.check)
        self.run = RunFolder(stage_folder(arguments.run, arguments.variant, arguments.identity_stage))
        torch.manual_seed(self.settings["seed"])
        if arguments.backbone:
            self.open_backbone(arguments.backbone, arguments.freeze_backbone)
        else:
            self.start_backbone(Path(arguments.run))
        side = int(self.cache.tokens**0.5)
        part = self.start_adapter(arguments.variant)
        self.flow = checkpoint.Flow(self.backbone, part, (side, side)).to(self.device)
        self.pictures = PictureSet(self.check.data)
        self.crop = FaceCrop(self.pictures.size).to(self.device)
        self.trained = [(n, p) for n, p in self.flow.named_parameters() if p.requires_grad]
        if arguments.identity_stage:
            self.load_first_stage(arguments.run, arguments.begin_from or arguments.variant)
        self.optimizer = optimizer_for([p for _, p in self.trained], self.settings)
        self.average = Average(self.trained, self.settings["average"])

    def start_backbone(self, run):
        self.backbone = Transformer(TransformerConfig(**self.config["transformer"])).initialize()
        self.autoencoder = checkpoint.load_autoencoder(
            run / "autoencoder/autoencoder.safetensors", self.device, self.config["autoencoder"]["groups"]
        )
        self.face = checkpoint.load_face(run / "face/adaface.safetensors", self.device)
        self.prompt, self.empty = (t.to(self.device) for t in random_prompts(self.config))

    def open_backbone(self, folder, frozen):
        model = checkpoint.read_model_config(folder)
        names = model["transformer"]
        dtype = torch.bfloat16 if self.settings.get("backbone_bf16") else torch.float32
        self.backbone = checkpoint.load_transformer(names["file"], names["ropeAxes"], names["ropeTheta"], dtype)
        self.autoencoder = checkpoint.load_autoencoder(
            model["autoencoder"]["file"], self.device, model["autoencoder"]["groups"]
        )
        self.face = checkpoint.load_face(model["identity"]["file"], self.device)
        self.prompt, self.empty = (t.to(self.device) for t in checkpoint.load_prompts(model["prompt"]["file"]))
        if frozen:
            checkpoint.freeze(self.backbone)
            lora.add_lora(self.backbone, self.config["lora"]["rank"], self.config["lora"].get("alpha"))

    def start_adapter(self, variant):
        sizes = self.backbone.config
        part = variant_config(
            variant,
            hidden=sizes.hidden,
            heads=sizes.heads,
            blocks=self.backbone.blocks,
            embedding=self.cache.embedding,
            **self.config["adapter"],
        )
        return None if part is None else Adapter(part).initialize(self.settings["gate"])

    def to_device(self, batch):
        return {k: v.to(self.device) if torch.is_tensor(v) else v for k, v in batch.items()}

    def step(self, step):
        """One update; returns what is logged."""
        settings = self.settings
        random, generator = step_generators(settings["seed"], step)
        window = Window(settings, step, self.flow.grid[0], random)
        batch = self.to_device(draw_batch(self.cache, settings, window, random))
        noise = torch.randn(batch["clean"].shape, generator=generator).to(self.device)
        text = torch.where(batch["empty"][:, None, None], self.empty, self.prompt)
        anchor = identity_anchor(batch["reference_embeddings"], self.config["adapter"]["temperature"])

        def predict(noisy, sigma):
            with autocast(self.device, settings["bf16"]):
                degraded, references = batch["degraded"], batch["references"]
                return self.flow(noisy, degraded, references, text, sigma, anchor, window.grid, window.origin)

        if random.random() < settings.get("trajectory_share", 0):
            noise, batch["sigma"] = self.on_trajectory(predict, batch["clean"], noise, random)
        sigma = batch["sigma"][:, None, None]
        noisy = (1 - sigma) * batch["clean"] + sigma * noise
        u = predict(noisy, batch["sigma"])
        flow_loss = F.mse_loss(u.float(), noise - batch["clean"])
        loss = settings["flow_weight"] * flow_loss
        values = {"flow": flow_loss.detach()}
        if window.whole:
            weights = {"pixel": settings.get("pixel_weight", 0), "identity": 0}
            if step % settings["identity_every"] == 0:
                weights["identity"] = identity_weight_at(settings, step)
            for name, term in self.picture_terms(noisy - sigma * u, batch, anchor, weights).items():
                loss = loss + weights[name] * term
                values[name] = term.detach()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        values["gradient"] = torch.nn.utils.clip_grad_norm_([p for _, p in self.trained], settings["clip"])
        values["rate"] = learning_rate(step, settings)
        set_learning_rate(self.optimizer, values["rate"])
        self.optimizer.step()
        self.average.update(self.trained, step)
        return values

    @torch.no_grad()
    def on_trajectory(self, predict, clean, noise, random):
        """Where the sampler comes to from this noise before one of its steps, said as the noise that would lead there on
        the straight path: so the loss asks for the velocity from there to the clean picture. With guidance 1."""
        sigmas = schedule(self.config["defaults"]["steps"], self.flow.grid[0] * self.flow.grid[1])
        step = int(random.integers(0, len(sigmas) - 1))
        z, batch = noise, len(clean)
        for now, following in zip(sigmas[:step], sigmas[1:]):
            z = z + (following - now) * predict(z, torch.full((batch,), now, device=z.device)).float()
        sigma = sigmas[step]
        return (z - (1 - sigma) * clean) / sigma, torch.full((batch,), sigma, device=z.device)

    def picture_terms(self, z0, batch, anchor, weights):
        """{pixel, identity}: means over the samples that have them, for those whose weight is not 0. Gradients pass through
        decoder and face encoder, whose weights do not move."""
        judged = batch["judged"] & (weights["identity"] > 0)
        chosen = torch.nonzero(judged | (weights["pixel"] > 0))[: self.settings["identity_batch"], 0]
        if len(chosen) == 0:
            return {}
        images, terms = self.decode(z0[chosen]), {}
        if weights["pixel"] > 0:
            terms["pixel"] = pyramid_loss(images, self.decode(batch["clean"][chosen]))
        judged = judged[chosen]
        if judged.any():
            rows, settings = chosen[judged], self.settings
            embedding = self.face(self.crop(images[judged]).contiguous())
            share = truth_share(batch["strength"][rows], settings.get("truth_strengths"))
            truth, sigma = batch["true_embedding"][rows], batch["sigma"][rows]
            terms["identity"] = identity_loss(
                embedding, anchor[rows], truth, sigma, settings["identity_floor"], share
            ).mean()
        return terms

    def decode(self, tokens):
        """Tokens of whole pictures [B, T, C] -> images [B, 3, S, S] float32."""
        latents = latents_of(tokens.float(), self.flow.grid).contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.settings["bf16"]):
            return self.autoencoder.decode(latents).float()

    @torch.no_grad()
    def restore(self, pictures, versions, references):
        """Restores degraded versions of check pictures with so many references each -> images [B, 3, S, S]."""
        check, defaults = self.check, self.config["defaults"]
        others = np.stack([check.others(p, references) for p in pictures]) if references else None
        raw = check.embeddings(others, 0) if references else check.embeddings(pictures, versions)[:, None]
        noise = torch.randn((1, check.tokens, check.channels), generator=torch.Generator().manual_seed(42))
        latents = sample(
            self.flow,
            noise.expand(len(pictures), -1, -1).to(self.device),
            check.latents(pictures, versions).to(self.device),
            check.latents(others, 0).to(self.device) if references else None,
            self.prompt,
            self.empty,
            identity_anchor(raw).to(self.device),
            self.flow.grid,
            defaults["steps"],
            defaults["guidance"],
        )
        return self.autoencoder.decode(latents_of(latents, self.flow.grid))

    @torch.no_grad()
    def samples(self):
        """samples.png: truth, degraded, restored with 0, 1, 3 references, first reference; returns PSNR and identity
        similarity to the truth (`id_`) and to the first reference (`ref_`). Each picture's strongest version is used."""
        check, count = self.check, self.settings["samples"]
        pictures = np.array([p[0] for p in check.people[:count]])
        versions = 1 + check.strength[pictures].argmax(1)
        first_references = np.array([check.others(p, 1)[0] for p in pictures])
        truth = self.pictures.images(pictures).to(self.device)
        columns = [truth, self.pictures.images(pictures, versions - 1).to(self.device)]
        e_true = F.normalize(check.embeddings(pictures, 0), dim=-1).to(self.device)
        e_first = F.normalize(check.embeddings(first_references, 0), dim=-1).to(self.device)
        values = {}
        with self.average.applied(self.trained), autocast(self.device, self.settings["bf16"]):
            for references in (0, 1, 3):
                columns.append(self.restore(pictures, versions, references).float())
        for name, images in zip(("degraded", "refs0", "refs1", "refs3"), columns[1:]):
            error = (images.clamp(-1, 1) - truth).square().mean((1, 2, 3)) / 4
            embedding = F.normalize(self.face(self.crop(images.clamp(-1, 1))), dim=-1)
            values[f"psnr_{name}"] = -10 * error.log10().mean()
            values[f"id_{name}"] = (embedding * e_true).sum(-1).mean()
            values[f"ref_{name}"] = (embedding * e_first).sum(-1).mean()
        columns.append(self.pictures.images(first_references))
        rows = list(zip(*(to_pixels(images[:SHOWN]) for images in columns)))
        write_png(self.run / "samples.png", picture_grid(rows))
        return values

    def train(self):
        first = 0
        if state := self.run.load_state():
            self.load(state["trained"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.values = {n: t.to(self.device) for n, t in state["average"].items()}
            first = state["step"]
        steps, every = self.settings["steps"], self.settings["save_every"]
        for step in range(first, steps):
            self.run.log(step, **self.step(step))
            last = step + 1 == steps
            if (step + 1) % self.settings["sample_every"] == 0 or last:
                self.run.rows[-1].update({k: round(float(v), 4) for k, v in self.samples().items()})
            if (step + 1) % every == 0 or last:
                self.save(step + 1)
                self.run.write_log(["flow", "pixel", "identity"])

    def save(self, step):
        trained = {name: p.detach() for name, p in self.trained}
        self.run.save_state(
            step=step, trained=trained, average=self.average.values, optimizer=self.optimizer.state_dict()
        )

    def load_first_stage(self, run, source):
        """From a variant's first training, or from a model folder."""
        own = {name: p.detach().clone() for name, p in self.trained if name.startswith("adapter.")}
        if source in VARIANTS:
            found = torch.load(stage_folder(run, source) / "state.pt", map_location="cpu")["average"]
        else:
            found = dict(checkpoint.Model(source).flow.named_parameters())
        self.load({**own, **found})

    @torch.no_grad()
    def load(self, trained):
        for name, parameter in self.trained:
            parameter.copy_(trained[name])


def random_prompts(config):
    """Embeddings of the prompt and the empty prompt: fixed random numbers, since `txt_in` is learned anyway."""
    generator = torch.Generator().manual_seed(config["prompt"]["seed"])
    shape = (config["prompt"]["tokens"], config["transformer"]["context"])
    prompts = [torch.randn(shape, generator=generator) for _ in range(2)]
    return [p.to(torch.bfloat16).float() for p in prompts]  # as they will be stored


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--check", required=True, help="the cache of other people, for the samples")
    parser.add_argument("--variant", choices=list(VARIANTS), default="full")
    parser.add_argument("--backbone", help="a model folder to start from")
    parser.add_argument("--freeze-backbone", action="store_true", help="train adapter and LoRA only")
    parser.add_argument("--identity-stage", action="store_true", help="the second training, from where the first one ended")
    parser.add_argument(
        "--begin-from", metavar="VARIANT|FOLDER", help="whose first training, or which model, --identity-stage begins from"
    )
    parser.add_argument("--steps", type=int, help="in place of the config's")
    parser.add_argument("--device")
    arguments = parser.parse_args()
    if arguments.freeze_backbone and not arguments.backbone:
        parser.error("--freeze-backbone needs --backbone")
    if arguments.begin_from and not arguments.identity_stage:
        parser.error("--begin-from needs --identity-stage")
    use_threads()
    config = read_config(arguments.config)
    if arguments.identity_stage and "train_identity" not in config:
        parser.error(f"--identity-stage needs `train_identity` in {arguments.config}")
    if arguments.steps:
        config["train_identity" if arguments.identity_stage else "train_flow"]["steps"] = arguments.steps
    Trainer(arguments, config).train()


if __name__ == "__main__":
    main()
