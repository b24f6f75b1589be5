"""The whole way from pictures to a model folder, and fine-tuning on it, with networks of a few channels."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

from iconface import checkpoint, safetensors
from iconface.training import read_config

HERE = Path(__file__).parents[1]
SIZE, STATES, VERSIONS = 32, 4, 2

CONFIG = {
    "name": "test",
    "transformer": {
        "in_channels": 16, "context": 8, "hidden": 32, "double_blocks": 1, "single_blocks": 1,
        "mlp_ratio": 2, "rope_axes": [4, 4, 4, 4], "rope_theta": 2000,
    },
    "autoencoder": {"latent_channels": 4, "base": 32, "levels": [32, 32], "res_blocks": 1, "groups": 1},
    "face": {"base": 4, "stages": [4, 6, 8, 10], "units": [1, 1, 1, 1], "embedding": 16},
    "adapter": {"rank": 4, "base_tokens": 3, "detail_tokens": 2, "residual_strength": 1, "temperature": 1},
    "lora": {"rank": 2},
    "prompt": {"tokens": 2, "seed": 1},
    "defaults": {"resolution": SIZE, "steps": 2, "guidance": 1, "seed": 42, "rng": "torch-cpu"},
    "train_face": {
        "seed": 1, "steps": 2, "batch": 4, "learning_rate": 1e-3, "scale": 16, "margin": 0.4, "norm_weight": 1, "clean_share": 0.5, "bf16": False,
        "save_every": 2,
    },
    "train_autoencoder": {
        "seed": 1, "steps": 2, "encoder_steps": 1, "batch": 2, "learning_rate": 1e-3, "average": 0.9, "kl_weight": 1e-4,
        "clean_share": 0.5, "bf16": False, "statistics_pictures": 16, "check_pictures": 8, "save_every": 2,
    },
    "train_flow": {
        "seed": 1, "steps": 4, "batch": 4, "learning_rate": 1e-2, "warmup": 2, "cooldown": 0.5, "average": 0.9,
        "clip": 1.0, "gate": 0.1, "sigma_shift": 3, "references": [0.3, 0.3, 0.2, 0.2], "empty_share": 0.2,
        "harder_share": 0.5, "empty_degraded_share": 0.5, "flow_weight": 0.75, "identity_weight": 0.3,
        "identity_floor": 0.25, "identity_every": 1, "identity_batch": 2,
        "bf16": False, "samples": 2, "sample_every": 2, "save_every": 2,
    },
    "train_identity": {"seed": 2, "learning_rate": 1e-3, "identity_floor": 1, "references": [0, 0.5, 0.25, 0.25]},
}  # fmt: skip


def write_data(folder, people):
    """What make_data.mjs writes, of flat colours."""
    folder.mkdir()
    random = np.random.default_rng(0)
    count = people * STATES
    clean = np.broadcast_to(random.integers(0, 256, (count, 1, 1, 3)), (count, SIZE, SIZE, 3)).astype(np.uint8)
    clean.tofile(folder / "clean.u8")
    np.repeat(clean[:, None], VERSIONS, axis=1).tofile(folder / "degraded.u8")
    random.uniform(0, 16, (count, VERSIONS)).astype(np.float32).tofile(folder / "strength.f32")
    np.repeat(np.arange(people), STATES).astype(np.int32).tofile(folder / "identity.i32")
    np.ones(count, np.uint8).tofile(folder / "done.u8")
    description = {"size": SIZE, "pictures": count, "versions": VERSIONS, "landmarks": 0}
    (folder / "data.json").write_text(json.dumps(description))


class PipelineTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        (cls.folder / "config.json").write_text(json.dumps(CONFIG))
        write_data(cls.folder / "train", 5)
        write_data(cls.folder / "check", 3)
        for script in ("train_face", "train_autoencoder"):
            cls.call(script, "--config config.json --data train --check check --run run")
        for data in ("train", "check"):
            cls.call("cache_latents", f"--data {data} --config config.json --run run --out cache-{data}")
        cls.flow("--run run")
        cls.call("export", "--config config.json --run run --out model")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def call(cls, script, arguments):
        command = [sys.executable, str(HERE / f"{script}.py"), *arguments.split()]
        done = subprocess.run(command, cwd=cls.folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"{script} {arguments}\n{done.stdout}{done.stderr}")
        return done.stdout

    @classmethod
    def flow(cls, arguments):
        cls.call("train_flow", f"--config config.json --cache cache-train --check cache-check {arguments}")

    def state(self, run, variant="full"):
        return torch.load(self.folder / run / f"flow-{variant}" / "state.pt")

    def start_run(self, name):
        """A run with the autoencoder and the face encoder of `run`."""
        (self.folder / name).mkdir()
        for part in ("autoencoder", "face"):
            (self.folder / name / part).symlink_to(self.folder / "run" / part)

    def test_going_on_gives_the_same_weights(self):
        self.start_run("stopped")
        config = json.loads((self.folder / "config.json").read_text())
        # Stop after two steps of four: the file of step 2 is what a run that was cut off leaves behind.
        sys.path.insert(0, str(HERE))
        from train_flow import Trainer

        class Arguments:
            run, cache, check = (str(self.folder / name) for name in ("stopped", "cache-train", "cache-check"))
            variant, backbone, freeze_backbone, identity_stage, begin_from, device = "full", None, False, False, None, "cpu"

        trainer = Trainer(Arguments, config)
        for step in range(2):
            trainer.run.log(step, **trainer.step(step))
        trainer.save(2)
        self.flow("--run stopped")
        whole, stopped = self.state("run"), self.state("stopped")
        self.assertEqual(whole["step"], stopped["step"])
        for kind in ("trained", "average"):
            for name, tensor in whole[kind].items():
                self.assertTrue(torch.equal(tensor, stopped[kind][name]), f"{kind} {name}")

    def test_variants_have_the_parts_of_table_3(self):
        expected = {
            "concat": set(),
            "structure": {"structure.residual", "structure.base", "structure.detail", "structure.blocks"},
            "identity": {"identity.global", "identity.double", "identity.single"},
        }
        expected["full"] = expected["structure"] | expected["identity"]
        expected["one-route"] = expected["full"] - {"structure.detail"}
        for variant, parts in expected.items():
            if variant != "full":
                self.flow(f"--run run --variant {variant}")
                self.call("export", f"--config config.json --run run --variant {variant} --out model-{variant}")
            file = self.folder / (f"model-{variant}" if variant != "full" else "model") / "adapter.safetensors"
            self.assertEqual(file.exists(), bool(parts))
            names = safetensors.read(file)[0] if parts else {}
            self.assertEqual({".".join(name.split(".")[:2]) for name in names}, parts)

    def test_exported_model_is_the_average(self):
        model = checkpoint.Model(self.folder / "model")
        for name, tensor in self.state("run")["average"].items():
            stored = dict(model.flow.named_parameters())[name]
            self.assertTrue(torch.equal(stored, tensor.to(torch.bfloat16).float()), name)
        sums = (self.folder / "model/checksums.sha256").read_text()
        checked = subprocess.run(["sha256sum", "-c"], input=sums, cwd=self.folder / "model", text=True, stdout=-3)
        self.assertEqual(checked.returncode, 0)

    def test_sampling_restores_pictures(self):
        self.call("sample", "--model model --data check --people 2 --out strip.png")
        self.assertTrue((self.folder / "strip.png").read_bytes().startswith(b"\x89PNG"))
        report = json.loads(self.call("sample", "--model model --data check --numbers 2"))
        self.assertAlmostEqual(report["truth"]["identity to truth"], 1, places=5)

    def test_identity_stage_goes_on_from_the_average(self):
        self.start_run("staged")
        (self.folder / "staged/flow-full").symlink_to(self.folder / "run/flow-full")
        self.flow("--run staged --identity-stage --steps 1")
        first, second = self.state("run"), self.state("staged", "full-identity")
        self.assertEqual(second["step"], 1)
        moved = max(float((t - second["trained"][n]).abs().max()) for n, t in first["average"].items())
        # One step of AdamW moves a weight by about its learning rate, here that of the first warm-up step.
        self.assertLess(moved, 1.1e-3)
        self.assertGreater(moved, 1e-5)
        self.call("export", "--config config.json --run staged --identity-stage --out staged-model")
        model = checkpoint.Model(self.folder / "staged-model")
        stored = dict(model.flow.named_parameters())
        for name, tensor in second["average"].items():
            self.assertTrue(torch.equal(stored[name], tensor.to(torch.bfloat16).float()), name)

    def test_a_variant_is_added_to_the_backbone_of_another(self):
        self.start_run("added")
        self.flow("--run added --variant concat --steps 1")
        self.flow("--run added --variant full --identity-stage --begin-from concat --steps 1")
        backbone, whole = self.state("added", "concat"), self.state("added", "full-identity")
        new = set(whole["trained"]) - set(backbone["average"])
        self.assertTrue(new and all(name.startswith("adapter.") for name in new))
        self.assertEqual(set(backbone["average"]) - set(whole["trained"]), set())
        for name, tensor in backbone["average"].items():
            self.assertLess(float((tensor - whole["trained"][name]).abs().max()), 1.1e-3, name)

    def test_refinement_begins_from_a_model_and_follows_the_sampler(self):
        self.start_run("refined")
        settings = {"trajectory_share": 1, "pixel_weight": 1, "truth_strengths": [4, 12], "steps": 2, "warmup": 0, "cooldown": 0}
        settings["learning_rate"] = 1e-3
        (self.folder / "refine.json").write_text(json.dumps({"extends": "config.json", "train_identity": settings}))
        self.call(
            "train_flow",
            "--config refine.json --cache cache-train --check cache-check --run refined --identity-stage --begin-from model",
        )
        begun = dict(checkpoint.Model(self.folder / "model").flow.named_parameters())
        trained = self.state("refined", "full-identity")["trained"]
        self.assertEqual(set(begun), set(trained))
        moved = max(float((tensor - begun[name]).abs().max()) for name, tensor in trained.items())
        self.assertLess(moved, 2.2e-3)  # two steps of AdamW from the model's weights
        self.assertGreater(moved, 1e-5)
        log = (self.folder / "refined/flow-full-identity/log.csv").read_text().splitlines()
        self.assertIn("pixel", log[0].split(","))

    def test_a_configuration_extends_another(self):
        (self.folder / "other.json").write_text('{"extends": "config.json", "name": "x", "train_flow": {"steps": 9}}')
        base, other = read_config(self.folder / "config.json"), read_config(self.folder / "other.json")
        self.assertEqual(other["name"], "x")
        self.assertEqual(other["train_flow"], {**base["train_flow"], "steps": 9})
        self.assertEqual(other["transformer"], base["transformer"])

    def test_fine_tuning_leaves_the_backbone_alone(self):
        self.flow("--run tuned --backbone model --freeze-backbone")
        trained = self.state("tuned")["trained"]
        self.assertTrue(all(".lora_" in name or name.startswith("adapter.") for name in trained))
        self.assertEqual(sum(".lora_A." in name for name in trained), 4)
        self.assertTrue(any(t.abs().max() > 0 for n, t in trained.items() if ".lora_B." in n))
        self.call("export", "--config config.json --run tuned --out tuned-model --backbone model")
        written = {f.name for f in (self.folder / "tuned-model").iterdir()}
        self.assertEqual(written, {"adapter.safetensors", "lora.safetensors", "iconface.json", "checksums.sha256"})
        base, tuned = checkpoint.Model(self.folder / "model"), checkpoint.Model(self.folder / "tuned-model")
        changed = {
            name
            for name, tensor in base.flow.transformer.state_dict().items()
            if not torch.equal(tensor, tuned.flow.transformer.state_dict()[name])
        }
        targets = ("img_attn.qkv.weight", "img_attn.proj.weight", "linear1.weight", "linear2.weight")
        self.assertEqual(len(changed), 4)
        self.assertTrue(all(name.endswith(targets) for name in changed))


if __name__ == "__main__":
    unittest.main()
