"""The face detector: what its network is asked for, and that labels lie where the faces of a composed scene are."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from iconface import detector, safetensors, scenes
from train_detector import scored

SETTINGS = json.loads((Path(__file__).parents[1] / "configs/detector.json").read_text())
POINTS = np.array([(60, 70), (100, 70), (80, 95), (65, 115), (95, 115)], float)
# Red, green, blue, yellow, magenta: a colour for each point.
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)]


def dotted_portrait():
    """A black picture with a coloured disc at each of the five points."""
    y, x = np.mgrid[0:200, 0:160] + 0.5
    pixels = np.zeros((200, 160, 3), np.uint8)
    for point, colour in zip(POINTS, COLOURS):
        pixels[np.hypot(x - point[0], y - point[1]) < 6] = colour
    return scenes.portrait(Image.fromarray(pixels), scenes.box_about(POINTS), POINTS)


class MatchTest(unittest.TestCase):
    def test_what_is_encoded_decodes_to_itself(self):
        random = torch.Generator().manual_seed(1)
        prior = detector.priors(70, 90)
        corner = torch.rand(len(prior), 2, generator=random) * 60
        boxes = torch.cat([corner, corner + 5 + torch.rand(len(prior), 2, generator=random) * 50], 1)
        points = torch.rand(len(prior), 5, 2, generator=random) * 90
        again, back = detector.decode(*detector.encode(boxes, points, prior), prior)
        self.assertLess(float((again - boxes).abs().max()), 1e-3)
        self.assertLess(float((back - points).abs().max()), 1e-3)

    def test_every_face_has_a_prior_and_uncertain_ones_ask_for_nothing(self):
        prior = detector.priors(320, 320)
        boxes = torch.tensor([[3.0, 5, 12, 14], [100, 100, 230, 250], [200, 20, 260, 90]])
        face, asked = detector.match(boxes, torch.tensor([True, True, False]), prior, 0.35, 0.28)
        self.assertEqual(set(face[asked == 1].tolist()), {0, 1})  # the first one by its best prior alone
        self.assertEqual(int(((face == 0) & (asked == 1)).sum()), 1)
        self.assertTrue(bool((asked[(face == 2)] != 1).all()))
        self.assertGreater(int((asked == 0).sum()), len(prior) // 2)

    def test_losses_of_the_right_answer_are_small(self):
        prior = detector.priors(128, 128)
        boxes, points = torch.tensor([[30.0, 30, 90, 100]]), torch.tensor([[[45.0, 55], [75, 55], [60, 70], [48, 82], [72, 82]]])
        faces = [(boxes, points, torch.tensor([True]))]
        face, asked = detector.match(boxes, faces[0][2], prior, 0.35, 0.28)
        offsets, places = detector.encode(boxes.expand(len(prior), 4), points.expand(len(prior), 5, 2), prior)
        logits = torch.stack([9.0 - 18 * (asked == 1), -9.0 + 18 * (asked == 1)], 1)
        outputs = (offsets[None], logits[None], places[None])
        for loss in detector.losses(outputs, prior, faces, SETTINGS["train_detector"]):
            self.assertLess(float(loss), 1e-4)
        wrong = (offsets[None] + 1, -logits[None], places[None] + 1)
        for loss in detector.losses(wrong, prior, faces, SETTINGS["train_detector"]):
            self.assertGreater(float(loss), 0.5)
        found = detector.detections([o[0] for o in outputs], prior, 0.5)
        self.assertEqual(scored(found, faces[0])[:3], (1, 1, 0))
        self.assertLess(scored(found, faces[0])[3][0], 1e-4)


class ScenesTest(unittest.TestCase):
    def test_labels_follow_the_pasted_face(self):
        """Turned, mirrored and reduced, every coloured disc still lies where its landmark is said to be."""
        thing = dotted_portrait()
        for angle, mirrored, scale in ((0.0, False, 1.0), (0.6, False, 0.7), (-0.9, True, 1.6), (0.3, True, 0.45)):
            canvas = scenes.Canvas(Image.new("RGB", (320, 320)))
            matrix = scenes.similarity(thing, scale, angle, mirrored, (160, 160))
            pasted = scenes.transformed(matrix, thing.landmarks)
            Plain.paste(canvas, thing, matrix, mirrored)
            boxes, points, counts = canvas.labels(SETTINGS["scenes"], 1.0)
            self.assertEqual(counts.tolist(), [True])
            order = scenes.MIRRORED if mirrored else range(5)
            self.assertTrue(np.allclose(points[0] + 0.5, pasted[list(order)], atol=1e-4))
            self.assertLess(points[0][0][0], points[0][1][0])  # the eye at the left of the picture comes first
            pixels = np.asarray(canvas.picture, float)
            for place, colour in zip(points[0], [COLOURS[i] for i in order]):
                like = (np.abs(pixels - colour).max(2) < 100).astype(float)
                y, x = np.mgrid[0:320, 0:320]
                centre = np.array([(x * like).sum(), (y * like).sum()]) / like.sum()
                self.assertLess(np.abs(centre - place).max(), 0.35)
            middle = (boxes[0][:2] + boxes[0][2:]) / 2
            self.assertLess(np.abs(middle - 160).max(), 1e-3)

    def test_a_face_that_leaves_the_picture_need_not_be_found(self):
        thing = dotted_portrait()
        for x, expected in ((160, [True]), (0, [False]), (-40, [])):
            canvas = scenes.Canvas(Image.new("RGB", (320, 320)))
            Plain.paste(canvas, thing, scenes.similarity(thing, 1.0, 0.0, False, (x, 160)), False)
            self.assertEqual(canvas.labels(SETTINGS["scenes"], 1.0)[2].tolist(), expected)

    def test_a_covered_face_is_left_out_and_a_blurred_one_need_not_be_found(self):
        thing = dotted_portrait()
        canvas = scenes.Canvas(Image.new("RGB", (320, 320)))
        matrix = scenes.similarity(thing, 1.0, 0.0, False, (160, 160))
        Plain.paste(canvas, thing, matrix, False)
        self.assertEqual(canvas.labels(SETTINGS["scenes"], 30.0)[2].tolist(), [False])
        Plain.paste(canvas, thing, matrix, None)
        self.assertEqual(len(canvas.labels(SETTINGS["scenes"], 1.0)[0]), 0)

    def test_scenes_are_the_same_for_the_same_step_and_differ_otherwise(self):
        pictures = [Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))]
        composer = scenes.Scenes([dotted_portrait()], [], pictures, SETTINGS["scenes"])
        first, again, other = (composer.batch(96, 12, [5, 0], step) for step in (1, 1, 2))
        self.assertEqual(first[0].shape, (12, 96, 96, 3))
        self.assertTrue(np.array_equal(first[0], again[0]))
        self.assertFalse(np.array_equal(first[0], other[0]))
        for boxes, points, counts in first[1]:
            self.assertEqual(boxes.shape, (len(counts), 4))
            self.assertEqual(points.shape, (len(counts), 5, 2))
            self.assertTrue(np.isfinite(boxes).all() and np.isfinite(points).all())
        self.assertGreater(sum(len(f[2]) for f in first[1]), 0)


class TrainingTest(unittest.TestCase):
    def test_a_run_writes_averaged_weights_and_goes_on_where_it_was(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            face = dotted_portrait()
            left, top, right, bottom = face.box.tolist()
            entry = {"role": "train", "file": "face.jpg", "box": [left, top, right - left, bottom - top]}
            entry["landmarks"] = (face.landmarks - 0.5).tolist()
            (folder / "faces").mkdir()
            (folder / "empty").mkdir()
            face.copies[0].save(folder / "faces/face.jpg")
            (folder / "faces/labels.json").write_text(json.dumps({"files": [entry]}))
            Image.new("RGB", (90, 70), (60, 90, 120)).save(folder / "empty/wall.png")
            few = {"sides": {"64": 1}, "pixels": 8192, "check_scenes": 2}
            settings = {**SETTINGS, "train_detector": {**SETTINGS["train_detector"], **few}}
            steps = []
            for minutes in (0.05, 0.1):
                settings["train_detector"]["minutes"] = minutes
                (folder / "config.json").write_text(json.dumps(settings))
                command = "train_detector.py --config config.json --faces faces --backgrounds empty --run run".split()
                command[0] = str(Path(__file__).parents[1] / command[0])
                done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)
                steps.append(json.loads((folder / "run/detector/report.json").read_text())["steps"])
            self.assertGreater(steps[1], steps[0])
            weights = safetensors.read(folder / "run/detector/detector.safetensors")[0]
            self.assertEqual(set(weights), set(detector.Detector().tensors()))
            average = torch.load(folder / "run/detector/state.pt")["average"]
            self.assertTrue(all(torch.equal(weights[n], average[n]) for n in weights))


class Plain:
    """Pastes without chance: the whole picture in its own colours."""

    class Nothing:
        def random(self):
            return 0.2  # neither grey (below 0.15) nor, in the second draw, recoloured (below 0.25)

        def uniform(self, low, high):
            return 1.0

    @staticmethod
    def paste(canvas, thing, matrix, mirrored):
        canvas.paste(thing, matrix, "whole", Plain.Nothing(), mirrored)


if __name__ == "__main__":
    unittest.main()
