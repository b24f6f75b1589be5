"""Every network against the golden tensors, in float64."""

import json
import unittest

import torch

from iconface import adapter, autoencoder, detector, face_encoder, lora, safetensors, sampler, transformer
from .golden import ROOT, Golden, GoldenTest, needs


def transformer_of(golden, prefix="weight."):
    tensors = golden.part(prefix)
    config = transformer.config_of(tensors, golden.config["axes_dim"], golden.config["theta"])
    model = transformer.Transformer(config).double()
    model.load_state_dict(tensors)
    return model


class TransformerTest(GoldenTest):
    @needs("flux/flux2_transformer.safetensors")
    def test_prediction(self):
        golden = Golden("flux/flux2_transformer.safetensors")
        model = transformer_of(golden)
        for run in ("refs", "norefs"):
            scene = golden[f"input.{run}.scene_latents"]
            references = None
            if run == "refs":
                references = golden["input.refs.reference_latents"].flatten(3).transpose(2, 3)
            out = model(
                scene.flatten(2).transpose(1, 2),
                golden[f"input.{run}.degraded_latents"].flatten(2).transpose(1, 2),
                references,
                golden[f"input.{run}.ctx"],
                golden[f"input.{run}.timesteps"],
                scene.shape[-2:],
                all_tokens=True,
            )
            self.assert_close(out, golden[f"output.{run}.pred"])

    @needs("flux/lora.safetensors")
    def test_lora_merged_and_beside(self):
        golden = Golden("flux/lora.safetensors")
        x, ids = golden["input.x"], golden["input.x_ids"][0]
        tokens = int((ids[:, 0] == 0).sum())
        grid = (int(ids[:tokens, 1].max()) + 1, int(ids[:tokens, 2].max()) + 1)
        parts = x.split(tokens, dim=1)
        references = torch.stack(parts[2:], dim=1) if len(parts) > 2 else None
        inputs = (parts[0], parts[1], references, golden["input.ctx"], golden["input.timesteps"], grid)
        for name in ("lora_r16", "lora_r4"):
            low_rank = golden.part(f"{name}.")
            merged = golden.part("weight.")
            lora.merge(merged, low_rank)
            model = transformer_of(golden)
            model.load_state_dict(merged)
            expected = golden[f"output.{name}"]
            self.assert_close(model(*inputs, all_tokens=True), expected, 2e-6)  # merged in float32

            model = transformer_of(golden)
            modules = {n.split(".lora_")[0] for n in low_rank if ".lora_" in n}
            rank = low_rank[f"{next(iter(modules))}.lora_A.weight"].shape[0]
            alpha = float(low_rank[f"{next(iter(modules))}.alpha"])
            added = lora.add_lora(model, rank, alpha)
            self.assertEqual(set(added), modules)
            model.double().load_state_dict(
                {n: t for n, t in low_rank.items() if not n.endswith("alpha")}, strict=False
            )
            self.assert_close(model(*inputs, all_tokens=True), expected)


class AdapterTest(GoldenTest):
    def compare(self, path):
        golden = Golden(path)
        config = golden.config
        model = transformer_of(golden)
        tensors = golden.part("adapter.")
        anchors = {
            "references": adapter.identity_anchor(golden["input.reference_embeddings_raw"], config["temperature"]),
            "degraded": adapter.identity_anchor(golden["input.degraded_embedding_raw"], config["temperature"]),
        }
        self.assert_close(anchors["references"], golden["intermediate.anchor"])
        self.assert_close(anchors["degraded"], golden["intermediate.fallback_anchor"])
        scene = golden["input.scene_latents"]
        batch = scene.shape[0]
        variants = {
            "full": (True, "", "references"),
            "no_reference": (False, "", "degraded"),
            "concat_only": (True, "structure identity", None),
            "structure_residual_only": (True, "structure.b structure.detail identity", None),
            "identity_only": (True, "structure", "references"),
            "single_route": (True, "structure.detail", "references"),
        }
        compared = 0
        for name, (with_references, without, anchor) in variants.items():
            if f"output.{name}" not in golden.tensors:
                continue
            used = {n: t for n, t in tensors.items() if not any(n.startswith(p) for p in without.split())}
            part = None
            if used:
                sizes = adapter.config_of(
                    used, config["num_heads"], model.blocks, config["degraded_strength"], config["temperature"]
                )
                part = adapter.Adapter(sizes).double()
                part.load_state_dict(used)
            references = golden["input.reference_latents"].expand(batch, -1, -1, -1) if with_references else None
            out = model(
                scene,
                golden["input.degraded_latents"].expand(batch, -1, -1),
                references,
                golden["input.text"],
                golden["input.timesteps"],
                config["scene_grid"],
                config["degraded_grid"],
                adapter=part,
                anchor=anchors[anchor].expand(batch, -1) if anchor else None,
                all_tokens=True,
            )
            self.assert_close(out, golden[f"output.{name}"], 5e-6)
            compared += 1
        self.assertGreater(compared, 0)

    @needs("iconface/iconface_adapter.safetensors")
    def test_variants(self):
        self.compare("iconface/iconface_adapter.safetensors")

    @needs("iconface/iconface_adapter_resized.safetensors")
    def test_smaller_degraded_grid(self):
        self.compare("iconface/iconface_adapter_resized.safetensors")


class AutoencoderTest(GoldenTest):
    @needs("flux/vae.safetensors")
    def test_encode_and_decode(self):
        golden = Golden("flux/vae.safetensors")
        tensors = golden.part("weight.")
        model = autoencoder.Autoencoder(autoencoder.config_of(tensors)).double().eval()
        model.load_state_dict(tensors)
        encoded = model.encode(golden["input.image"])
        self.assert_close(encoded, golden["output.encode"])
        self.assert_close(model.decode(golden["input.latents"]), golden["output.decode"])
        self.assert_close(model.decode(encoded), golden["output.decode_of_encode"])


class FaceEncoderTest(GoldenTest):
    @needs("face/adaface_ir.safetensors")
    def test_embedding(self):
        golden = Golden("face/adaface_ir.safetensors")
        tensors = golden.part("weight.")
        model = face_encoder.FaceEncoder(face_encoder.config_of(tensors)).double().eval()
        model.load_state_dict(tensors)
        self.assert_close(model(golden["input.tensor_bgr"]), golden["output.embedding_raw"])

    @needs("face/adaface_alignment.json")
    def test_crop_matrix(self):
        alignment = json.loads((ROOT / "face/adaface_alignment.json").read_text())
        expected = torch.tensor(alignment["least_squares_similarity_512_to_112"], dtype=torch.float64)
        self.assert_close(torch.from_numpy(face_encoder.crop_matrix(512)), expected, 1e-9)


class DetectorTest(GoldenTest):
    @needs("face/retinaface_mobilenet025.safetensors")
    def test_outputs_priors_and_faces(self):
        golden = Golden("face/retinaface_mobilenet025.safetensors")
        model = detector.Detector().double().eval()
        model.load_state_dict(golden.part("weight."))
        for run, about in json.loads(golden.metadata["runs"]).items():
            boxes, logits, landmarks = model(golden[f"input.{run}.tensor_bgr"])
            self.assert_close(boxes, golden[f"output.{run}.loc"])
            self.assert_close(logits, golden[f"intermediate.{run}.class_logits"])
            self.assert_close(landmarks, golden[f"output.{run}.landmarks"])
            height, width = about["network_hw"]
            prior = detector.priors(height, width)
            shares = golden[f"intermediate.{run}.priors"]
            self.assert_close(prior, shares * torch.tensor([width, height, width, height]))
            found = detector.detections(
                (boxes[0], logits[0], landmarks[0]), prior, about["conf_threshold"], about["nms_threshold"]
            )
            parts = [found[0] / about["scale"], found[1][:, None], found[2].flatten(1) / about["scale"]]
            self.assert_close(torch.cat(parts, 1), golden[f"output.{run}.detections"], 1e-5)

    @needs("face/retinaface_mobilenet025.safetensors")
    def test_input(self):
        golden = Golden("face/retinaface_mobilenet025.safetensors")
        picture = golden.tensors["input.plain.image_rgb_u8"][None]
        self.assert_close(detector.network_input(picture), golden["input.plain.tensor_bgr"], 1e-12)


class ScheduleTest(GoldenTest):
    @needs("flux/schedule.json")
    def test_every_schedule(self):
        entries = json.loads((ROOT / "flux/schedule.json").read_text())["schedules"]
        for entry in entries:
            out = torch.tensor(sampler.schedule(entry["num_steps"], entry["image_seq_len"]), dtype=torch.float64)
            self.assert_close(out, torch.tensor(entry["timesteps_float64"], dtype=torch.float64), 1e-12)


class SafetensorsTest(unittest.TestCase):
    @needs("flux/lora.safetensors")
    def test_written_files_read_back(self):
        import tempfile

        tensors, metadata = safetensors.read(ROOT / "flux/lora.safetensors")
        with tempfile.TemporaryDirectory() as folder:
            safetensors.write(f"{folder}/x.safetensors", tensors, metadata)
            again, texts = safetensors.read(f"{folder}/x.safetensors")
        self.assertEqual(texts, metadata)
        self.assertEqual(list(again), list(tensors))
        self.assertTrue(all(torch.equal(again[n], t) for n, t in tensors.items()))


if __name__ == "__main__":
    unittest.main()
