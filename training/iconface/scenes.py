"""Pictures to train the face detector on, composed of labelled portraits, drawn portraits and pictures without faces.

Inside this file coordinates count from the outer corner of the top left pixel, as Pillow's transforms do. What leaves it follows
the labels: boxes so, landmarks from the centre of the top left pixel.
"""

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# How the labels' boxes lie about the five points: sides by distance of the eyes and from eyes to mouth, and the centre.
BOX_WIDTH, BOX_HEIGHT, BOX_CENTRE = (2.14, 0.20), (1.91, 0.84), 0.44
MIRRORED = [1, 0, 2, 4, 3]
SMALLEST = 16  # pixels, of a reduced copy of a portrait


@dataclass
class Portrait:
    copies: list  # the picture, and copies reduced by 2, 4, 8 ...
    box: np.ndarray  # left, top, right, bottom
    landmarks: np.ndarray  # [5, 2]

    @property
    def size(self):
        return self.copies[0].size

    @property
    def eyes(self):
        return float(np.hypot(*(self.landmarks[1] - self.landmarks[0])))


def portrait(picture, box, landmarks):
    copies = [picture]
    while min(copies[-1].size) >= 2 * SMALLEST:
        copies.append(picture.reduce(2 ** len(copies)))
    return Portrait(copies, np.asarray(box, float), np.asarray(landmarks, float))


def read_portraits(folder):
    """The portraits of role `train` in folder/labels.json."""
    folder = Path(folder)
    out = []
    for entry in json.loads((folder / "labels.json").read_text())["files"]:
        if entry["role"] == "train":
            left, top, width, height = entry["box"]
            box, points = (left, top, left + width, top + height), np.array(entry["landmarks"]) + 0.5
            out.append(portrait(Image.open(folder / entry["file"]).convert("RGB"), box, points))
    return out


def read_drawn(folder):
    """The clean pictures of a data set of make_data.mjs."""
    folder = Path(folder)
    about = json.loads((folder / "data.json").read_text())
    count, side = about["pictures"], about["size"]
    clean = np.fromfile(folder / "clean.u8", np.uint8).reshape(count, side, side, 3)
    points = np.fromfile(folder / "landmarks.f32", np.float32).reshape(count, -1, 2)[:, :5].astype(float)
    return [portrait(Image.fromarray(c), box_about(p), p) for c, p in zip(clean, points)]


def box_about(landmarks):
    """A box as the labels have it, for landmarks without one."""
    eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
    lengths = np.hypot(*(landmarks[1] - landmarks[0])), np.hypot(*(mouth - eyes))
    half = np.array([np.dot(BOX_WIDTH, lengths), np.dot(BOX_HEIGHT, lengths)]) / 2
    centre = eyes + BOX_CENTRE * (mouth - eyes)
    return np.concatenate([centre - half, centre + half])


def read_backgrounds(folder, longest=1600):
    """Every picture in the folder; none may show a face."""
    out = []
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
            picture = Image.open(path)
            picture.draft("RGB", (longest, longest))
            picture = picture.convert("RGB")
            picture.thumbnail((longest, longest))
            out.append(picture)
    return out


class Scenes:
    """Composes scenes; `settings` is the group `scenes` of a configuration."""

    def __init__(self, portraits, drawn, backgrounds, settings):
        self.portraits, self.drawn, self.backgrounds, self.settings = portraits, drawn, backgrounds, settings

    def batch(self, side, count, seeds, step):
        """[count, side, side, 3] uint8, and for each picture (boxes [F, 4], landmarks [F, 5, 2], counts [F]); seeds: a list."""
        scenes = [self.scene(side, np.random.default_rng([*seeds, step, i])) for i in range(count)]
        return np.stack([s[0] for s in scenes]), [s[1:] for s in scenes]

    def scene(self, side, random):
        canvas = Canvas(self.ground(side, random))
        kind = pick(random, self.settings["kinds"])
        if kind == "single":
            self.paste_face(canvas, random, side * log_uniform(random, *self.settings["single_eyes"]), close=True)
        else:
            for _ in range(random.integers(0, 5)):
                self.paste_part(canvas, random)
            if kind == "group":
                smallest, largest = self.settings["group_eyes"]
                scale = log_uniform(random, smallest, largest * side)
                for _ in range(random.integers(1, 12)):
                    eyes = np.clip(scale * log_uniform(random, 0.6, 1.7), smallest, largest * side)
                    self.paste_face(canvas, random, eyes)
        eyes = [face.eyes for face in canvas.faces]
        picture, blur = degraded(canvas.picture, random, np.median(eyes) if eyes else side / 8, self.settings)
        return np.asarray(picture), *canvas.labels(self.settings, blur)

    def any_portrait(self, random):
        some = self.drawn if self.drawn and random.random() < self.settings["drawn_share"] else self.portraits
        return some[random.integers(len(some))]

    def paste_face(self, canvas, random, eyes, close=False):
        """A portrait whose eyes will be `eyes` pixels apart. `close`: it may fill the picture and be cut off by its edges."""
        face, side = self.any_portrait(random), canvas.side
        tilt = math.radians(random.normal(0, 10) if random.random() < 0.5 else random.uniform(-1, 1) * self.settings["tilt"])
        scale, mirrored = eyes / face.eyes, random.random() < 0.5
        half = 1.3 * eyes
        for _ in range(8):
            if close:
                centre = random.normal(side / 2, side / 6, 2)
            else:
                centre = random.uniform(-0.4 * half, side + 0.4 * half, 2)
            if canvas.free(centre, half):
                break
        else:
            return
        shape = pick(random, self.settings["shapes"])
        canvas.paste(face, similarity(face, scale, tilt, mirrored, centre), shape, random, mirrored)

    def paste_part(self, canvas, random):
        """A piece of a portrait without its face, in the same shapes."""
        part = self.part(random)
        if part is None:
            return
        wanted = log_uniform(random, 24, canvas.side)
        scale = wanted / max(part.size)
        centre = random.uniform(0, canvas.side, 2)
        matrix = similarity(part, scale, random.uniform(-math.pi, math.pi), random.random() < 0.5, centre)
        canvas.paste(part, matrix, pick(random, self.settings["shapes"]), random, None)

    def part(self, random):
        """Hair, shoulders or backdrop: a rectangle beside the face; None where it would be too small."""
        face = self.any_portrait(random)
        (width, height), (left, top, right, bottom) = face.size, face.box
        beside = [(0, 0, width, top), (0, bottom, width, height), (0, 0, left, height), (right, 0, width, height)]
        x0, y0, x1, y1 = (int(v) for v in beside[random.integers(4)])
        if min(x1 - x0, y1 - y0) < 2 * SMALLEST:
            return None
        size = random.integers(2 * SMALLEST, [x1 - x0 + 1, y1 - y0 + 1])
        corner = random.integers([x0, y0], [x1 - size[0] + 1, y1 - size[1] + 1])
        piece = face.copies[0].crop((*corner, *(corner + size)))
        box = np.array([0, 0, *size], float)
        return portrait(piece, box, np.tile(size / 2.0, (5, 1)))

    def ground(self, side, random):
        """What everything is pasted on: a PIL picture without faces."""
        kind = pick(random, self.settings["grounds"])
        if kind == "photo" and self.backgrounds:
            return random_view(self.backgrounds[random.integers(len(self.backgrounds))], side, random)
        if kind == "part" and (part := self.part(random)):
            return random_view(part.copies[0], side, random)
        return DRAWN_GROUNDS[random.integers(len(DRAWN_GROUNDS))](side, random)


# ---- pasting ---------------------------------------------------------------------------------------------------------


@dataclass
class PastedFace:
    box: np.ndarray
    landmarks: np.ndarray
    eyes: float
    owner: int


class Canvas:
    def __init__(self, picture):
        self.picture, self.side = picture, picture.width
        self.owners = np.zeros((self.side, self.side), np.uint8)  # number of the thing that covers a pixel
        self.things, self.faces = 0, []

    def free(self, centre, half):
        """Whether a face may lie there: it should not hide another's middle."""
        return all(np.abs((f.box[:2] + f.box[2:]) / 2 - centre).max() > 0.75 * (half + 1.3 * f.eyes) for f in self.faces)

    def paste(self, thing, matrix, shape, random, mirrored):
        """thing: a Portrait; matrix [2, 3] from its pixels to the canvas; mirrored: None for what is no face."""
        corners = transformed(matrix, np.array([(x, y) for x in (0, thing.size[0]) for y in (0, thing.size[1])], float))
        low = np.clip(np.floor(corners.min(0)), 0, self.side).astype(int)
        high = np.clip(np.ceil(corners.max(0)), 0, self.side).astype(int)
        size = tuple(int(v) for v in high - low)
        if min(size) < 1:
            return
        scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
        level = min(len(thing.copies) - 1, max(0, math.floor(math.log2(1 / scale) + 0.3)))
        back = inverse(matrix)
        back[:, 2] += back[:, :2] @ low
        patch = warped(recoloured(thing.copies[level], random), back, thing.size, size)
        mask = warped(mask_of(thing, shape, random), back, thing.size, size)
        corner = (int(low[0]), int(low[1]))
        self.picture.paste(patch, corner, mask)
        self.things += 1
        self.owners[low[1] : high[1], low[0] : high[0]][np.asarray(mask) > 127] = self.things
        if mirrored is not None:
            landmarks = transformed(matrix, thing.landmarks)
            landmarks = landmarks[MIRRORED] if mirrored else landmarks
            box = ellipse_box(matrix, thing.box)
            self.faces.append(PastedFace(box, landmarks, scale * thing.eyes, self.things))

    def labels(self, settings, blur):
        """Boxes, landmarks and whether each face must be found; one that can hardly be seen is left out."""
        boxes, points, counts = [], [], []
        for face in self.faces:
            seen = self.visible(face)
            if seen < settings["seen_least"]:
                continue
            plain = face.eyes >= settings["eyes_least"] and face.eyes >= settings["detail_least"] * blur
            boxes.append(face.box)
            points.append(face.landmarks - 0.5)
            counts.append(plain and seen >= settings["seen"])
        shaped = np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(points, np.float32).reshape(-1, 5, 2)
        return *shaped, np.asarray(counts, bool)

    def visible(self, face):
        """Share of the face's box that lies in the picture and that nothing later covers."""
        left, top, right, bottom = (int(round(v)) for v in face.box)
        area = max(1, (right - left) * (bottom - top))
        inside = self.owners[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        return float((inside == face.owner).sum()) / area


def mask_of(thing, shape, random):
    """An L picture, stretched over the thing, of what of it is pasted."""
    side = 64
    if shape == "whole":
        return Image.new("L", (side, side), 255)
    y, x = np.mgrid[0:side, 0:side] + 0.5
    x, y = x / side * thing.size[0], y / side * thing.size[1]
    centre, half = (thing.box[:2] + thing.box[2:]) / 2, (thing.box[2:] - thing.box[:2]) / 2
    grown = half * random.uniform(1.05, 1.6)
    if shape == "ellipse":
        distance = np.hypot((x - centre[0]) / grown[0], (y - centre[1]) / grown[1])
    else:  # a rectangle about the head, cut closer than the portrait
        distance = np.maximum(np.abs(x - centre[0]) / grown[0], np.abs(y - centre[1]) / grown[1])
    softness = random.choice([0.02, 0.1, 0.3])
    return Image.fromarray((255 * np.clip((1 - distance) / softness + 0.5, 0, 1)).astype(np.uint8))


def warped(picture, back, whole, size):
    """A picture that stands for one of the size `whole`, seen through the matrix `back` from the result's pixels to those."""
    ratio = np.array([[picture.width / whole[0]], [picture.height / whole[1]]])
    return picture.transform(size, Image.Transform.AFFINE, (back * ratio).ravel().tolist(), Image.Resampling.BILINEAR)


def similarity(thing, scale, angle, mirrored, centre):
    """[2, 3]: brings the middle of the thing's box to `centre`, turned clockwise by `angle`."""
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turn = turn @ np.diag([-1.0, 1.0]) if mirrored else turn
    middle = (thing.box[:2] + thing.box[2:]) / 2
    return np.concatenate([turn, (np.asarray(centre) - turn @ middle)[:, None]], 1)


def transformed(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


def inverse(matrix):
    turn = np.linalg.inv(matrix[:, :2])
    return np.concatenate([turn, (-turn @ matrix[:, 2])[:, None]], 1)


def ellipse_box(matrix, box):
    """The box about the transformed ellipse that fills `box`: a turned face does not get the box of a turned square."""
    centre, half = transformed(matrix, (box[:2] + box[2:]) / 2), (box[2:] - box[:2]) / 2
    reach = np.hypot(*(matrix[:, :2] * half).T)
    return np.concatenate([centre - reach, centre + reach])


# ---- grounds ---------------------------------------------------------------------------------------------------------


def random_view(picture, side, random):
    """A square of the picture, at any size, as `side` pixels; half of them mirrored, some turned by quarters."""
    width, height = picture.size
    cut = min(width, height) * log_uniform(random, 0.15, 1)
    left, top = random.uniform(0, width - cut), random.uniform(0, height - cut)
    out = picture.resize((side, side), Image.Resampling.BILINEAR, (left, top, left + cut, top + cut), reducing_gap=2)
    if random.random() < 0.5:
        out = out.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if random.random() < 0.15:
        out = out.transpose([Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180][random.integers(2)])
    return recoloured(out, random)


def any_colour(random):
    return tuple(int(v) for v in random.integers(0, 256, 3))


def gradient(side, random):
    corners = random.uniform(0, 255, (2, 2, 3)) * random.uniform(0.3, 1) + random.uniform(0, 80)
    small = Image.fromarray(np.clip(corners, 0, 255).astype(np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def coloured_noise(side, random):
    """Noise of one to three sizes about a colour."""
    out = np.full((side, side, 3), random.uniform(30, 220, 3), np.float32)
    for _ in range(random.integers(1, 4)):
        grain = int(log_uniform(random, 1, side / 4))
        cells = -(-side // grain)
        noise = random.normal(128, random.uniform(5, 60), (cells, cells, 3 if random.random() < 0.6 else 1)).clip(0, 255)
        noise = Image.fromarray(np.broadcast_to(noise, (cells, cells, 3)).astype(np.uint8))
        method = [Image.Resampling.NEAREST, Image.Resampling.BILINEAR][random.integers(2)]
        out += np.asarray(noise.resize((side, side), method), np.float32) - 128
    return Image.fromarray(out.clip(0, 255).astype(np.uint8))


def shapes(side, random):
    """Ellipses, polygons and lines over a gradient."""
    out = gradient(side, random)
    draw = ImageDraw.Draw(out)
    for _ in range(random.integers(3, 30)):
        x, y = random.uniform(0, side, 2)
        reach = log_uniform(random, 2, side / 3)
        kind = random.integers(4)
        points = (random.normal([x, y], reach, (random.integers(3, 6), 2))).ravel().tolist()
        if kind == 0:
            draw.polygon(points, fill=any_colour(random))
        elif kind == 1:
            draw.line(points, fill=any_colour(random), width=int(random.integers(1, 8)))
        elif kind == 2:
            draw.rectangle((x, y, x + reach, y + reach * random.uniform(0.3, 2)), fill=any_colour(random))
        else:
            draw.ellipse((x, y, x + reach, y + reach * random.uniform(0.5, 2)), fill=any_colour(random))
    return out


def stripes(side, random):
    """Periodic patterns, as of cloth and fences."""
    y, x = np.mgrid[0:side, 0:side]
    out = np.zeros((side, side, 3), np.float32) + random.uniform(60, 200, 3)
    for _ in range(random.integers(1, 3)):
        angle, period = random.uniform(0, math.pi), log_uniform(random, 3, side / 2)
        wave = np.sin((x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi / period + random.uniform(0, 6))
        wave = np.sign(wave) if random.random() < 0.5 else wave
        out += wave[..., None] * random.uniform(-70, 70, 3)
    return Image.fromarray(out.clip(0, 255).astype(np.uint8))


DRAWN_GROUNDS = [gradient, coloured_noise, coloured_noise, shapes, stripes]


# ---- light and damage ------------------------------------------------------------------------------------------------


def recoloured(picture, random):
    """Other exposure, contrast, white balance and saturation; some turn grey."""
    if random.random() < 0.15:
        picture = picture.convert("L").convert("RGB")
    elif random.random() < 0.5:
        picture = Image.blend(picture.convert("L").convert("RGB"), picture, random.uniform(0.3, 1.6))
    if random.random() < 0.25:
        return picture
    levels = np.arange(256) / 255.0
    gamma, contrast, bright = log_uniform(random, 0.6, 1.7), random.uniform(0.55, 1.3), random.normal(0, 0.09)
    curve = (levels**gamma - 0.5) * contrast + 0.5 + bright
    tables = [np.clip(255 * curve * balance, 0, 255) for balance in random.normal(1, 0.07, 3)]
    return picture.point(np.concatenate(tables).astype(np.uint8).tolist())


def degraded(picture, random, eyes, settings):
    """The picture as bad cameras, small copies and compression leave it; and how many pixels wide a point has become."""
    blur = 1.0
    if random.random() < settings["blur_share"]:
        sigma = float(eyes * random.uniform(0, settings["blur"]) * random.random())
        picture = picture.filter(ImageFilter.GaussianBlur(sigma))
        blur = math.hypot(blur, 2 * sigma)
    side, factor = picture.width, 1.0
    if random.random() < settings["shrink_share"]:
        factor = max(1.0, log_uniform(random, 1, max(1.5, eyes / settings["shrunk_eyes"])))
        method = [Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]
        small = max(8, round(side / factor))
        picture = picture.resize((small, small), method[random.integers(4)])
        blur = math.hypot(blur, factor)
    if random.random() < settings["noise_share"]:
        picture = noisy(picture, random, settings["noise"])
    if random.random() < settings["jpeg_share"]:
        packed = io.BytesIO()
        picture.save(packed, "JPEG", quality=int(random.integers(*settings["jpeg"])), subsampling=int(random.integers(0, 3)))
        picture = Image.open(packed).convert("RGB")
    if picture.width != side:
        method = [Image.Resampling.BILINEAR, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC][random.integers(3)]
        picture = picture.resize((side, side), method)
    if random.random() < settings["grey_share"]:
        picture = picture.convert("L").convert("RGB")
    return picture, blur


def noisy(picture, random, most):
    pixels = np.asarray(picture, np.float32)
    noise = random.standard_normal((*pixels.shape[:2], 3 if random.random() < 0.5 else 1), np.float32)
    noise *= most * random.random() ** 2
    if random.random() < 0.5:
        noise = noise * np.sqrt(pixels / 128 + 0.05)  # as of photons: more of it where there is light
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


# ---- chance ----------------------------------------------------------------------------------------------------------


def log_uniform(random, low, high):
    return math.exp(random.uniform(math.log(low), math.log(high)))


def pick(random, shares):
    """A key of {key: share}."""
    names, weights = list(shares), np.array(list(shares.values()), float)
    return names[random.choice(len(names), p=weights / weights.sum())]
