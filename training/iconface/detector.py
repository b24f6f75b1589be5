"""RetinaFace with MobileNet 0.25 (arXiv 1905.00641) under its published names: network, priors, matching, losses, faces."""

import torch
from torch import nn
from torch.nn import functional as F

# Input: B, G, R, 0 to 255, minus these.
MEAN_BGR = (104.0, 117.0, 123.0)
# Sides of the two priors of a cell, in pixels, on the maps that are so many times smaller than the picture.
LEVELS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
LEAK = 0.1
# Channels of the units of each stage, and which of them halve the sides. The first stage has the stem before it.
STAGES = (((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)), ((128, 2),) + ((128, 1),) * 5, ((256, 2), (256, 1)))
STEM, PYRAMID = 8, 64


def conv(into, out, kernel, stride=1, groups=1, leak=LEAK):
    layers = [nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *([] if leak is None else [nn.LeakyReLU(leak, inplace=True)]))


class Separable(nn.Sequential):
    """Depthwise, then pointwise."""

    def __init__(self, into, out, stride):
        super().__init__(conv(into, into, 3, stride, groups=into), conv(into, out, 1))


class Backbone(nn.Module):
    """Maps 8, 16 and 32 times smaller than the picture."""

    def __init__(self):
        super().__init__()
        channels = STEM
        for number, units in enumerate(STAGES, 1):
            layers = [conv(3, STEM, 3, 2)] if number == 1 else []
            for out, stride in units:
                layers.append(Separable(channels, out, stride))
                channels = out
            setattr(self, f"stage{number}", nn.Sequential(*layers))

    def forward(self, x):
        maps = []
        for number in range(1, len(STAGES) + 1):
            x = getattr(self, f"stage{number}")(x)
            maps.append(x)
        return maps


class Pyramid(nn.Module):
    """Every map brought to one width; from the smallest on, each is added to the next larger one and merged."""

    def __init__(self, channels):
        super().__init__()
        for number, units in enumerate(STAGES, 1):
            setattr(self, f"output{number}", conv(units[-1][0], channels, 1))
        self.merge1, self.merge2 = conv(channels, channels, 3), conv(channels, channels, 3)

    def forward(self, maps):
        first, second, third = self.output1(maps[0]), self.output2(maps[1]), self.output3(maps[2])
        second = self.merge2(second + F.interpolate(third, second.shape[-2:], mode="nearest"))
        first = self.merge1(first + F.interpolate(second, first.shape[-2:], mode="nearest"))
        return [first, second, third]


class Context(nn.Module):
    """SSH: fields of 3 x 3, 5 x 5 and 7 x 7 side by side; the wider two share their first convolution."""

    def __init__(self, channels):
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.conv3X3 = conv(channels, half, 3, leak=None)
        self.conv5X5_1 = conv(channels, quarter, 3)
        self.conv5X5_2 = conv(quarter, quarter, 3, leak=None)
        self.conv7X7_2 = conv(quarter, quarter, 3)
        self.conv7x7_3 = conv(quarter, quarter, 3, leak=None)

    def forward(self, x):
        shared = self.conv5X5_1(x)
        branches = [self.conv3X3(x), self.conv5X5_2(shared), self.conv7x7_3(self.conv7X7_2(shared))]
        return F.relu(torch.cat(branches, 1))


class Head(nn.Module):
    """`values` numbers for each prior; the list of its convolutions has the head's own name."""

    def __init__(self, name, channels, values):
        super().__init__()
        self.name, self.values = name, values
        setattr(self, name, nn.ModuleList([nn.Conv2d(channels, len(sides) * values, 1) for _, sides in LEVELS]))

    def forward(self, maps):
        """Maps of all levels -> [N, P, values], in the order level, row, column, prior."""
        outs = [c(m).permute(0, 2, 3, 1) for c, m in zip(getattr(self, self.name), maps)]
        return torch.cat([o.reshape(len(o), -1, self.values) for o in outs], 1)


class Detector(nn.Module):
    def __init__(self, channels=PYRAMID):
        super().__init__()
        self.fx, self.fpn = Backbone(), Pyramid(channels)
        self.ssh1, self.ssh2, self.ssh3 = Context(channels), Context(channels), Context(channels)
        self.class_head = Head("class_head", channels, 2)
        self.bbox_head = Head("bbox_head", channels, 4)
        self.landmark_head = Head("landmark_head", channels, 10)

    def forward(self, x):
        """[N, 3, H, W] as `network_input` makes it -> boxes [N, P, 4], logits [N, P, 2], landmarks [N, P, 10]."""
        maps = [s(m) for s, m in zip((self.ssh1, self.ssh2, self.ssh3), self.fpn(self.fx(x)))]
        return self.bbox_head(maps), self.class_head(maps), self.landmark_head(maps)

    def initialize(self):
        """For training from nothing: He's weights; a prior is taken for a face once in a hundred."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, LEAK, mode="fan_out")
                if module.bias is not None:
                    nn.init.normal_(module.weight, std=0.01)
                    nn.init.zeros_(module.bias)
        for layer in self.class_head.class_head:
            layer.bias.data = torch.tensor([2.3, -2.3]).repeat(len(layer.bias) // 2)
        return self

    def tensors(self):
        """What a file of weights holds."""
        return {name: t for name, t in self.state_dict().items() if not name.endswith("num_batches_tracked")}


def network_input(pictures):
    """R, G, B [N, H, W, 3] uint8 -> [N, 3, H, W] float."""
    return pictures.flip(-1).permute(0, 3, 1, 2).float() - torch.tensor(MEAN_BGR, device=pictures.device)[:, None, None]


def priors(height, width):
    """[P, 4]: centres and sides in pixels (edge coordinates), in the order level, row, column, side; not clipped."""
    levels = []
    for step, sides in LEVELS:
        rows, columns = -(-height // step), -(-width // step)
        y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
        centres = (torch.stack([x, y], -1) * step)[:, :, None].expand(-1, -1, len(sides), -1)
        sizes = torch.tensor(sides, dtype=torch.float32)[:, None].expand(rows, columns, -1, 2)
        levels.append(torch.cat([centres, sizes], -1).reshape(-1, 4))
    return torch.cat(levels)


def encode(boxes, landmarks, prior):
    """Pixels -> what the network should say: boxes [M, 4] (left, top, right, bottom), landmarks [M, 5, 2], priors [M, 4]."""
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    moved = (centre - prior[:, :2]) / (CENTRE_VARIANCE * prior[:, 2:])
    grown = (size / prior[:, 2:]).log() / SIZE_VARIANCE
    points = (landmarks - prior[:, None, :2]) / (CENTRE_VARIANCE * prior[:, None, 2:])
    return torch.cat([moved, grown], 1), points.flatten(1)


def decode(boxes, landmarks, prior):
    """The opposite of `encode`."""
    centre = prior[:, :2] + CENTRE_VARIANCE * boxes[:, :2] * prior[:, 2:]
    half = prior[:, 2:] * (SIZE_VARIANCE * boxes[:, 2:]).exp() / 2
    points = prior[:, None, :2] + CENTRE_VARIANCE * landmarks.reshape(-1, 5, 2) * prior[:, None, 2:]
    return torch.cat([centre - half, centre + half], 1), points


def overlaps(a, b):
    """Intersection over union of boxes [A, 4] and [B, 4] -> [A, B]."""
    common = (torch.minimum(a[:, None, 2:], b[None, :, 2:]) - torch.maximum(a[:, None, :2], b[None, :, :2])).clamp(min=0)
    common, area_a, area_b = common.prod(2), (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1)
    return common / (area_a[:, None] + area_b[None] - common)


def match(boxes, counts, prior, least, unsure):
    """Gives every prior a face.

    boxes [F, 4]; counts [F]: whether the face must be found (others may be found or not). Returns for every prior the index of
    its face, and what is asked of it: 1 a face (it overlaps by `least`, or no prior overlaps this face more), 0 none, -1
    nothing (between `unsure` and `least`, or a face that need not be found).
    """
    if len(boxes) == 0:
        return torch.zeros(len(prior), dtype=torch.long), torch.zeros(len(prior), dtype=torch.long)
    corners = torch.cat([prior[:, :2] - prior[:, 2:] / 2, prior[:, :2] + prior[:, 2:] / 2], 1)
    shared = overlaps(boxes, corners)
    share, face = shared.max(0)
    asked = torch.where(share >= least, 1, torch.where(share >= unsure, -1, 0))
    best = shared.argmax(1)
    face[best], asked[best] = torch.arange(len(boxes)), 1
    return face, torch.where((asked == 1) & ~counts[face], -1, asked)


def losses(outputs, prior, faces, settings):
    """outputs of the network for N pictures, and N faces (boxes, landmarks, counts) -> class, box and landmark losses.

    Of the priors without a face only the hardest count, `negatives` times as many as have one. Boxes and landmarks are asked for
    in units of the prior: smooth L1 that turns linear at `landmark_knee`, so that small errors keep their weight.
    """
    boxes, logits, landmarks = outputs
    faces_of, asked = zip(*[match(f[0], f[2], prior, settings["match"], settings["unsure"]) for f in faces])
    asked = torch.stack(asked)
    positive = asked == 1
    count = max(1, int(positive.sum()))
    surprise = F.cross_entropy(logits.flatten(0, 1), (asked == 1).long().flatten(), reduction="none").view(asked.shape)
    hardest = surprise[asked == 0].topk(min(int((asked == 0).sum()), settings["negatives"] * max(count, len(faces) * 8)))[0]
    class_loss = (surprise[positive].sum() + hardest.sum()) / count
    wanted = [encode(f[0][i[p]], f[1][i[p]], prior[p]) for f, i, p in zip(faces, faces_of, positive) if p.any()]
    if not wanted:
        return class_loss, boxes.sum() * 0, landmarks.sum() * 0
    wanted_boxes, wanted_landmarks = (torch.cat(part) for part in zip(*wanted))
    box_loss = F.smooth_l1_loss(boxes[positive], wanted_boxes, beta=0.5)
    return class_loss, box_loss, F.smooth_l1_loss(landmarks[positive], wanted_landmarks, beta=settings["landmark_knee"])


def suppress(boxes, overlap):
    """Positions of the boxes [n, 4] (best first) that no better one overlaps by more than `overlap`; pixels count inclusively."""
    kept, sizes = [], boxes[:, 2:] - boxes[:, :2] + 1
    left = torch.arange(len(boxes))
    while len(left) > 0:
        best, left = left[0], left[1:]
        kept.append(int(best))
        common = torch.minimum(boxes[left, 2:], boxes[best, 2:]) - torch.maximum(boxes[left, :2], boxes[best, :2]) + 1
        common = common.clamp(min=0).prod(1)
        left = left[common / (sizes[left].prod(1) + sizes[best].prod() - common) <= overlap]
    return torch.tensor(kept, dtype=torch.long)


def detections(outputs, prior, confidence, overlap=0.4):
    """Outputs for one picture [P, ...] -> boxes [n, 4], scores [n], landmarks [n, 5, 2] in pixels, best first."""
    boxes, logits, landmarks = outputs
    scores = logits.softmax(-1)[:, 1]
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] > confidence]
    found, points = decode(boxes[order], landmarks[order], prior[order])
    kept = suppress(found, overlap)
    return found[kept], scores[order][kept], points[kept]
