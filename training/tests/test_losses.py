"""Objectives: what the settings of a refinement change."""

import unittest
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional as F

from iconface.losses import identity_loss, truth_share
from train_flow import Trainer


class IdentityLossTest(unittest.TestCase):
    def test_the_truth_takes_the_references_part_where_the_input_is_good(self):
        share = truth_share(torch.tensor([0.0, 8.0, 10.5, 13.0, 16.0]), [8, 13])
        self.assertEqual(share.tolist(), [1, 1, 0.5, 0, 0])
        self.assertEqual(truth_share(torch.tensor([1.0, 16.0])).tolist(), [0, 0])

    def test_loss_is_that_of_the_specification_without_a_share_and_the_truths_with_all_of_it(self):
        generator = torch.Generator().manual_seed(1)
        e, reference, truth = (F.normalize(torch.randn(3, 8, generator=generator), dim=-1) for _ in range(3))
        sigma = torch.tensor([0.2, 0.5, 0.9])
        to_reference, to_truth = (1 - (e * other).sum(-1) for other in (reference, truth))
        l = 0.25 * (1 - (reference * truth).sum(-1))
        weight = torch.tensor([0.8, 0.5, 0.25]) ** 2
        expected = weight * ((1 - l) * to_reference + l * to_truth)
        self.assertTrue(torch.allclose(identity_loss(e, reference, truth, sigma), expected))
        self.assertTrue(torch.allclose(identity_loss(e, reference, truth, sigma, share=1.0), weight * to_truth))


class TrajectoryTest(unittest.TestCase):
    def test_a_state_of_the_sampler_is_said_as_the_noise_that_leads_there(self):
        trainer = Trainer.__new__(Trainer)
        trainer.device, trainer.config = torch.device("cpu"), {"defaults": {"steps": 2}}
        trainer.flow = SimpleNamespace(grid=(4, 4))
        generator = torch.Generator().manual_seed(2)
        clean, noise = (torch.randn(2, 16, 4, generator=generator) for _ in range(2))
        velocity = torch.randn(2, 16, 4, generator=generator)
        asked = []

        def predict(z, sigma):
            asked.append(float(sigma[0]))
            return velocity

        seen = set()
        for seed in range(20):
            asked.clear()
            found, sigma = trainer.on_trajectory(predict, clean, noise, np.random.default_rng(seed))
            now = float(sigma[0])
            seen.add(round(now, 4))
            state = (1 - now) * clean + now * found
            expected = noise if now == 1 else noise + (now - 1) * velocity
            self.assertTrue(torch.allclose(state, expected, atol=1e-5))
            self.assertEqual(asked, [] if now == 1 else [1.0])
        self.assertEqual(len(seen), 2)

    def test_guidance_is_refused(self):
        config = {"train_flow": {"trajectory_share": 0.5}, "defaults": {"guidance": 4}}
        with self.assertRaisesRegex(ValueError, "guidance must be 1"):
            Trainer(SimpleNamespace(identity_stage=False, device="cpu"), config)


if __name__ == "__main__":
    unittest.main()
