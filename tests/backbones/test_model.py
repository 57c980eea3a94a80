"""One trunk, one head for each data set."""

from __future__ import annotations

import torch

from tlfw.backbones.model import Model
from tlfw.backbones.zoo import TorchvisionBackbone


def test_heads_are_functions_of_seed_and_name() -> None:
    one, two = (Model(TorchvisionBackbone(name="shufflenet_v2_x0_5"), 32, seed=3) for _ in range(2))
    one.add_head("source", 4)
    one.add_head("target", 4)
    two.add_head("target", 4)  # alone, and the same
    assert torch.equal(one.heads["target"][0].weight, two.heads["target"][0].weight)
    assert not torch.equal(one.heads["source"][0].weight, one.heads["target"][0].weight)
    three = Model(TorchvisionBackbone(name="shufflenet_v2_x0_5"), 32, seed=4)
    three.add_head("target", 4)
    assert not torch.equal(three.heads["target"][0].weight, two.heads["target"][0].weight)
    four = Model(TorchvisionBackbone(name="shufflenet_v2_x0_5"), 32, seed=4)
    four.add_head("target", 4, seed=3)  # of a stage that has one of its own
    assert torch.equal(four.heads["target"][0].weight, two.heads["target"][0].weight)
    kept = one.heads["source"][0]
    one.add_head("source", 4)
    assert one.heads["source"][0] is kept


def test_each_head_gets_its_own_images_from_one_pass() -> None:
    for name in ("shufflenet_v2_x0_5", "efficientnet_b0", "squeezenet1_1"):
        net = Model(TorchvisionBackbone(name=name), 32, seed=0)
        net.add_head("source", 4)
        net.add_head("target", 3)
        batch = {"source": torch.randn(5, 3, 32, 32), "target": torch.randn(2, 3, 32, 32)}
        net.train()
        sum(logits.sum() for logits in net.mixture_logits(batch).values()).backward()
        net.eval()
        for head, logits in net.mixture_logits(batch).items():
            torch.testing.assert_close(logits, net(batch[head], head), rtol=1e-4, atol=1e-5)
