"""The encoder that is set instead of trained."""

import unittest

import torch
from torch.nn import functional as F

from iconface.autoencoder import Autoencoder, AutoencoderConfig
from iconface.pca_encoder import set_encoder


class PcaEncoderTest(unittest.TestCase):
    def test_latents_tell_the_patches(self):
        torch.manual_seed(0)
        images = F.interpolate(torch.rand(24, 3, 12, 12) * 2 - 1, size=64, mode="bicubic", align_corners=False)
        model = Autoencoder(AutoencoderConfig(levels=[64, 32, 64, 96])).initialize()
        set_encoder(model, images)
        with torch.no_grad():
            latents, log_variance = model.moments(images)
        self.assertLess(float(log_variance.max()), -7)
        self.assertLess(float((latents.std((0, 2, 3)) - 1).abs().max()), 0.2)
        patches = F.pixel_unshuffle(images, 8).transpose(0, 1).flatten(1).T
        known = latents.transpose(0, 1).flatten(1).T
        known = torch.cat([known, torch.ones(len(known), 1)], dim=1)
        left = patches - known @ torch.linalg.lstsq(known, patches).solution
        self.assertLess(float(left.square().mean() / patches.var()), 0.02)

    def test_widths_that_do_not_fit_are_refused(self):
        model = Autoencoder(AutoencoderConfig(levels=[64, 64]))
        with self.assertRaisesRegex(ValueError, "expected 32 latent channels and a last level of other width"):
            set_encoder(model, torch.zeros(1, 3, 32, 32))


if __name__ == "__main__":
    unittest.main()
