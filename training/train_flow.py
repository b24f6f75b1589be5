#!/usr/bin/env python3
"""Trains the transformer and its adapter with flow matching and the identity terms (model specification 8).

From scratch, everything together (the autoencoder and the face encoder are those of RUN):

    python train_flow.py --config configs/tiny.json --run RUN --cache CACHE --check CHECK_CACHE [--variant full]

Adapter and LoRA on a frozen backbone, whose folder also has the autoencoder, the face encoder and the prompts:

    python train_flow.py --config configs/klein-lora.json --run RUN --cache CACHE --check CHECK_CACHE \\
        --backbone MODEL --freeze-backbone

Writes RUN/flow-VARIANT: state.pt, log.csv, loss.png, samples.png. The same command goes on where it was stopped, and
ends with the same weights as if it had not been.
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
from iconface.losses import identity_loss
from iconface.pictures import grid as picture_grid
from iconface.pictures import write_png
from iconface.sampler import sample
from iconface.training import (
    Average, RunFolder, autocast, learning_rate, optimizer_for, pick_device, read_config, set_learning_rate,
    step_generators, use_threads,
)  # fmt: skip
from iconface.transformer import Transformer, TransformerConfig


def draw_batch(cache, settings, random):
    """Everything of one step but the noise. All samples have the same number of references, none of them twice."""
    counts = settings["references"]
    references = int(random.choice(len(counts), p=counts))
    people = [p for p in cache.people if len(p) > references]
    batch = settings["batch"]
    chosen = [
        random.choice(people[i], references + 1, replace=False) for i in random.integers(0, len(people), batch)
    ]
    chosen = np.stack(chosen)
    target, others = chosen[:, 0], chosen[:, 1:]
    version = 1 + random.integers(0, cache.versions, batch)
    degraded = cache.latents(target, version)
    clean = cache.latents(target, 0)
    empty = random.random(batch) < settings["empty_share"]
    # The empty prompt stands for pictures of any quality, so that guidance leads away from damaged ones.
    damaged = empty & (random.random(batch) < settings["empty_degraded_share"])
    clean[torch.from_numpy(damaged)] = degraded[torch.from_numpy(damaged)]
    s = (np.arange(batch) + random.random(batch)) / batch  # evenly spread
    shift = settings["sigma_shift"]
    return {
        "clean": clean,
        "degraded": degraded,
        "references": cache.latents(others, 0) if references else None,
        "reference_embeddings": cache.embeddings(others, 0) if references else cache.embeddings(target, version)[:, None],
        "true_embedding": F.normalize(cache.embeddings(target, 0), dim=-1),
        "empty": torch.from_numpy(empty),
        "judged": torch.from_numpy(np.full(batch, references > 0) & ~empty),
        "sigma": torch.from_numpy(shift * s / (1 + (shift - 1) * s)).float(),
    }


class Trainer:
    def __init__(self, arguments, config):
        self.config, self.settings = config, config["train_flow"]
        self.device = pick_device(arguments.device)
        self.cache, self.check = LatentCache(arguments.cache), LatentCache(arguments.check)
        self.run = RunFolder(Path(arguments.run) / f"flow-{arguments.variant}")
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
        batch = self.to_device(draw_batch(self.cache, settings, random))
        noise = torch.randn(batch["clean"].shape, generator=generator).to(self.device)
        sigma = batch["sigma"][:, None, None]
        noisy = (1 - sigma) * batch["clean"] + sigma * noise
        text = torch.where(batch["empty"][:, None, None], self.empty, self.prompt)
        anchor = identity_anchor(batch["reference_embeddings"], self.config["adapter"]["temperature"])
        with autocast(self.device, settings["bf16"]):
            u = self.flow(noisy, batch["degraded"], batch["references"], text, batch["sigma"], anchor)
        flow_loss = F.mse_loss(u.float(), noise - batch["clean"])
        loss = settings["flow_weight"] * flow_loss
        values = {"flow": flow_loss.detach()}
        judged = torch.nonzero(batch["judged"])[:, 0]
        if settings["identity_weight"] > 0 and step % settings["identity_every"] == 0 and len(judged):
            chosen = judged[: settings["identity_batch"]]
            identity = self.identity_terms((noisy - sigma * u)[chosen], batch, anchor, chosen)
            loss = loss + settings["identity_weight"] * identity
            values["identity"] = identity.detach()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        values["gradient"] = torch.nn.utils.clip_grad_norm_([p for _, p in self.trained], settings["clip"])
        values["rate"] = learning_rate(step, settings)
        set_learning_rate(self.optimizer, values["rate"])
        self.optimizer.step()
        self.average.update(self.trained, step)
        return values

    def identity_terms(self, z0, batch, anchor, chosen):
        """Through the decoder and the face encoder, whose weights do not move; mean over the chosen samples."""
        latents = latents_of(z0.float(), self.flow.grid).contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.settings["bf16"]):
            images = self.autoencoder.decode(latents)
        embedding = self.face(self.crop(images.float()).contiguous())
        return identity_loss(embedding, anchor[chosen], batch["true_embedding"][chosen], batch["sigma"][chosen]).mean()

    @torch.no_grad()
    def restore(self, pictures, versions, references, guidance=1.0, steps=12):
        """Restores degraded versions of check pictures with so many references each -> images [B, 3, S, S]."""
        check = self.check
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
            steps,
            guidance,
        )
        return self.autoencoder.decode(latents_of(latents, self.flow.grid))

    @torch.no_grad()
    def samples(self):
        """samples.png: truth, degraded, restored with 0, 1, 3 references, first reference; PSNR and identity of them."""
        check, count = self.check, self.settings["samples"]
        pictures = np.array([p[0] for p in check.people[:count]])
        versions = 1 + np.arange(count) % check.versions
        truth = self.pictures.images(pictures).to(self.device)
        columns = [truth, self.pictures.images(pictures, versions - 1).to(self.device)]
        e_true = F.normalize(check.embeddings(pictures, 0), dim=-1).to(self.device)
        values = {}
        with self.average.applied(self.trained), autocast(self.device, self.settings["bf16"]):
            for references in (0, 1, 3):
                columns.append(self.restore(pictures, versions, references).float())
        for name, images in zip(("degraded", "refs0", "refs1", "refs3"), columns[1:]):
            error = (images.clamp(-1, 1) - truth).square().mean((1, 2, 3)) / 4
            embedding = F.normalize(self.face(self.crop(images.clamp(-1, 1))), dim=-1)
            values[f"psnr_{name}"] = -10 * error.log10().mean()
            values[f"id_{name}"] = (embedding * e_true).sum(-1).mean()
        columns.append(self.pictures.images([check.others(p, 1)[0] for p in pictures]))
        rows = list(zip(*(to_pixels(images) for images in columns)))
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
                self.run.write_log(["flow", "identity"])

    def save(self, step):
        trained = {name: p.detach() for name, p in self.trained}
        self.run.save_state(
            step=step, trained=trained, average=self.average.values, optimizer=self.optimizer.state_dict()
        )

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
    parser.add_argument("--steps", type=int, help="in place of the config's")
    parser.add_argument("--device")
    arguments = parser.parse_args()
    if arguments.freeze_backbone and not arguments.backbone:
        parser.error("--freeze-backbone needs --backbone")
    use_threads()
    config = read_config(arguments.config)
    if arguments.steps:
        config["train_flow"]["steps"] = arguments.steps
    Trainer(arguments, config).train()


if __name__ == "__main__":
    main()
