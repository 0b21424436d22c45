"""Rewrites of any network: only where a module is what its class says, where it pays, and where no answer changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm as parametrised_norm

from mmcaf_export.report import ExportReport
from mmcaf_export.rewrites import batch_norm, channel_scale, few_slices, group_norm, padding_taps
from mmcaf_export.rewrites.copies import share_copy
from mmcaf_export.rewrites.cost import measure
from mmcaf_export.rewrites.general import GENERAL, generally_rewritten, prepared
from mmcaf_export.rewrites.observed import observe
from mmcaf_export.rewrites.rewrite import Applied, Rewrite

EXACT = 1e-12  # of the largest value, in float64


class Scaled(nn.Conv3d):
    """A convolution of another kind: its weights are standardised first."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


class Net(nn.Module):
    """x [N, 16, 2, 6, 6] through a convolution, a batch norm and a group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(16, 16, 3, padding=1)
        self.norm = nn.BatchNorm3d(16)
        self.group = nn.GroupNorm(4, 16)

    def forward(self, x: Tensor) -> Any:
        return self.group(self.norm(self.conv(x))).mean(dim=(2, 3, 4))


def halved(_module: nn.Module, _inputs: Any, made: Tensor) -> Tensor:
    return made / 2


def subclass(net: Net) -> None:
    net.conv = Scaled(16, 16, 3, padding=1)
    net.group = type("Own", (nn.GroupNorm,), {"forward": lambda self, x: x * 2})(4, 16)


def hooks(net: Net) -> None:
    net.conv.register_forward_hook(halved)
    net.group.register_forward_pre_hook(lambda _module, given: (given[0] + 1,))


def weight_norm(net: Net) -> None:
    nn.utils.weight_norm(net.conv)
    net.group.forward = lambda x: x + 1  # type: ignore[method-assign]


def parametrised(net: Net) -> None:
    parametrised_norm(net.conv)
    net.group.register_forward_hook(halved)


class Shared(Net):
    """The same modules under two names, of which the second runs too."""

    def __init__(self) -> None:
        super().__init__()
        self.again, self.group_again = self.conv, self.group

    def forward(self, x: Tensor) -> Any:
        return self.group_again(self.group(self.again(self.norm(self.conv(x))))).mean(dim=(2, 3, 4))


class Functional(Net):
    """Weights that are read outside of their module."""

    def forward(self, x: Tensor) -> Any:
        x = self.norm(self.conv(x))
        x = nn.functional.conv3d(x, self.conv.weight[:, :, 1:2], padding=(0, 1, 1))
        return nn.functional.group_norm(self.group(x), 2, self.group.weight * 2).mean(dim=(2, 3, 4))


class Named(Net):
    """What the batch norm reads is an answer too."""

    def forward(self, x: Tensor) -> Any:
        seen = self.conv(input=x)
        return {"score": self.norm(seen).mean(dim=(2, 3, 4)), "maps": [seen]}


def changed(change: Callable[[Net], None]) -> Net:
    net = Net()
    change(net)
    return net


def ready(net: nn.Module, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean)
    return net.double().eval()


X = torch.randn(1, 16, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
UNFIT = {
    "subclass": (lambda: changed(subclass), None),
    "hooks": (lambda: changed(hooks), "it has hooks"),
    "weight norm": (lambda: changed(weight_norm), "it has hooks"),
    "parametrised": (lambda: changed(parametrised), "it has hooks"),
    "shared": (Shared, "it is used in several places"),
    "functional": (Functional, "its weights are read outside of it"),
}


def answers(net: nn.Module) -> list[Tensor]:
    with torch.inference_mode():
        answer = net(X)
    return [answer] if isinstance(answer, Tensor) else [answer["score"], *answer["maps"]]


def off(found: nn.Module, expected: nn.Module) -> float:
    pairs = zip(answers(found), answers(expected), strict=True)
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)


@pytest.mark.parametrize("case", UNFIT)
def test_a_module_that_is_more_than_its_class_stays(case: str) -> None:
    make, reason = UNFIT[case]
    net = ready(make())
    kinds = {path: type(module) for path, module in net.named_modules()}
    lean, applied, left = generally_rewritten(net, {"x": X})
    assert {path: type(module) for path, module in lean.named_modules()} == kinds
    assert applied == () and off(lean, net) == 0
    assert reason is None or reason in {one.reason for one in left}
    for rewrite in GENERAL:  # named by an entry, they hold to it as well
        copied = share_copy(net)
        rewrite.apply(copied, {"x": X})
        assert off(copied, net) <= EXACT, rewrite.name


def test_a_module_that_a_list_holds_stays() -> None:
    net = ready(Net())
    net.stages = [net.conv, {"last": net.group}]  # type: ignore[assignment]
    unfit = observe(net, {"x": X}).unfit
    assert unfit["conv"] == unfit["group"] == "it is used in several places"
    assert "norm" not in unfit


def test_what_a_dict_answers_with_is_not_folded() -> None:
    net = ready(Named())
    copied = share_copy(net)
    assert not batch_norm.REWRITE.apply(copied, {"x": X})
    assert off(generally_rewritten(net, {"x": X})[0], net) <= EXACT


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("padding", ["same", "valid", 1])
def test_padding_by_name_and_norms_without_weights(padding: int | str, affine: bool) -> None:
    net = Net()
    net.conv = nn.Conv3d(16, 16, 3, padding=padding) if padding != "valid" else nn.Conv3d(16, 16, 1, padding=padding)
    net.norm, net.group = nn.BatchNorm3d(16, affine=affine), nn.GroupNorm(4, 16, affine=affine)
    ready(net)
    lean = share_copy(net)
    done = [rewrite.name for rewrite in GENERAL if rewrite.apply(lean, {"x": X})]
    assert ("batch_norm" in done) and ("group_norm" in done) == affine
    assert ("few_slices" in done) == (padding != "valid")
    assert off(lean, net) <= EXACT


class Training(Net):
    """Its norm goes by the batch, whatever mode the network is in."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x)

    def eval(self) -> "Training":
        super().eval()
        self.norm.train()
        return self


def test_a_norm_that_goes_by_the_batch_stays() -> None:
    lean, _, left = generally_rewritten(ready(Training()), {"x": X})
    assert isinstance(lean.get_submodule("norm"), nn.BatchNorm3d)
    assert {one.rewrite: one.reason for one in left}["batch_norm"] == "it runs in training mode"


class Asking(Net):
    """It asks its norm for what only a norm knows."""

    def forward(self, x: Tensor) -> Any:
        return self.norm(self.conv(x)) * self.norm.num_features


class Looking(Net):
    """It goes another way where its child is no batch norm."""

    def forward(self, x: Tensor) -> Any:
        made = self.norm(self.conv(x))
        return made if isinstance(self.norm, nn.BatchNorm3d) else made + 1


@pytest.mark.parametrize(("kind", "reason"), [(Asking, "does not run with it"), (Looking, "answers otherwise with it")])
def test_what_breaks_the_network_is_taken_back(kind: type[Net], reason: str) -> None:
    net = ready(kind())
    lean, _, left = generally_rewritten(net, {"x": X})
    assert reason in {one.rewrite: one.reason for one in left}["batch_norm"]
    assert off(lean, net) <= EXACT


def group_net(channels: int, groups: int) -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, channels, 1), nn.GroupNorm(groups, channels))


def few_net(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv3d(channels, channels, 3, padding=1))


def shape(*sizes: int) -> dict[str, Tensor]:
    return {"x": torch.rand(1, *sizes)}


@pytest.mark.parametrize(
    ("net", "inputs", "applied"),
    [
        # Ratios of OpenVINO's times, plain by rewritten, on two cores with AVX-512: 2.5, 0.4, 0.9; 1.1, 1.0, 0.7.
        (group_net(16, 4), shape(1, 8, 32, 32), ["group_norm"]),
        (group_net(8, 4), shape(1, 8, 32, 32), []),
        (group_net(128, 32), shape(1, 4, 8, 8), []),
        (nn.Sequential(nn.GroupNorm(4, 16)), shape(16, 8, 32, 32), []),
        (few_net(64), shape(64, 2, 16, 16), ["few_slices"]),
        (few_net(8), shape(8, 2, 32, 32), []),
        (few_net(16), shape(16, 3, 32, 32), []),
        (nn.Sequential(nn.Conv3d(4, 4, 3, padding=1)), shape(4, 1, 16, 16), ["padding_taps"]),
    ],
    ids=["group 16", "group 8", "small map", "no convolution", "slices 64", "slices 8", "three slices 16", "taps"],
)
def test_a_rewrite_is_kept_where_it_pays(net: nn.Module, inputs: dict[str, Tensor], applied: list[str]) -> None:
    _, done, left = generally_rewritten(net.eval(), inputs)
    assert [one.rewrite.name for one in done] == applied
    assert bool(left) == (not applied)
    for one in left:
        assert one.modules and one.reason.startswith("it would not pay: ") and "MB read and written" in one.reason


@pytest.mark.parametrize("listed", [(), (batch_norm.REWRITE,)], ids=["none", "one"])
def test_an_entry_that_lists_its_rewrites_gets_those(listed: tuple[Rewrite, ...]) -> None:
    lean, applied, left = prepared(ready(Net()), listed, {"x": X})
    assert tuple(one.rewrite for one in applied) == listed and left == ()
    assert isinstance(lean.get_submodule("group"), nn.GroupNorm)


class Item(Net):
    """It reads a value of its own on the way, as drop-path rates are read, and makes a constant."""

    def forward(self, x: Tensor) -> Any:
        rate = torch.linspace(0, 1, 3)[1].item()
        return super().forward(x + torch.ones(6, dtype=x.dtype) * rate)


def test_a_network_that_reads_values_is_measured_and_rewritten() -> None:
    net, plain = ready(Item()), ready(Net())
    lean, applied, _ = generally_rewritten(net, {"x": X})
    assert "batch_norm" in [one.rewrite.name for one in applied]
    assert measure(net, {"x": X}).flops > measure(plain, {"x": X}).flops
    assert off(lean, net) <= EXACT


def test_a_feature_map_keeps_its_values() -> None:
    lean, _, left = generally_rewritten(ready(Net()), {"x": X}, watched=["conv"])
    assert isinstance(lean.get_submodule("norm"), nn.BatchNorm3d)
    assert "answers otherwise" in {one.rewrite: one.reason for one in left}["batch_norm"]


def test_images_have_group_norms_too() -> None:
    net = nn.Sequential(nn.Conv2d(1, 16, 1), nn.GroupNorm(4, 16)).double().eval()
    nn.init.normal_(net.get_submodule("1").weight)  # type: ignore[arg-type]
    x = torch.randn(2, 1, 90, 90, dtype=torch.float64)
    lean, applied, _ = generally_rewritten(net, {"x": x})
    assert isinstance(lean.get_submodule("1"), group_norm.GroupScale) and len(applied) == 1
    with torch.inference_mode():
        assert float((lean(x) - net(x)).abs().max()) <= 1e-12


def report(applied: tuple[Applied, ...], left: tuple[Any, ...]) -> ExportReport:
    return ExportReport(Path("b"), "0", "n", {}, 1, (), applied, (), (), {}, (), left)


def test_more_arithmetic_is_not_called_a_saving() -> None:
    given = shape(1, 16, 128, 128)
    _, applied, left = generally_rewritten(group_net(16, 4).eval(), given)
    assert applied[0].after.flops > applied[0].before.flops
    text = report(applied, left).summary()
    assert "1 exact rewrite (group_norm): " in text and "MB read and written became" in text
    assert "MFLOP more than" in text and "per window became" not in text


def test_what_was_left_out_is_told_with_the_reason() -> None:
    _, applied, left = generally_rewritten(group_net(8, 4).eval(), shape(1, 8, 32, 32))
    told = report(applied, left)
    assert "group_norm left 1 as it is: it would not pay: " in told.summary()
    assert told.to_dict()["left_out"] == [{"rewrite": "group_norm", "modules": ("1",), "reason": left[0].reason}]


def test_the_general_rewrites_all_go_by_a_pattern() -> None:
    modules = (batch_norm, group_norm, padding_taps, few_slices, channel_scale)
    assert tuple(module.REWRITE for module in modules) == GENERAL
    assert all(rewrite.find is not None for rewrite in GENERAL)
