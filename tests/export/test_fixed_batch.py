"""A batch that tracing made a number of: which line of the network did is part of what the export says."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmcaf_engine.errors import ExportError
from mmcaf_export.onnx_export import export_onnx


class OfSize(nn.Module):
    """The batch becomes a number in a loop, an `if`, a tensor made for it or an output."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, image: Tensor) -> Tensor:
        if self.how == "loop":
            return torch.stack([case * 2 for case in image])  # the loop
        if self.how == "if":
            return image * 2 if image.shape[0] == 2 else image  # the if
        if self.how == "tensor":
            return image + torch.zeros(1, 3).repeat(2, 1)  # the tensor
        return image.mean(0, keepdim=True).expand(2, 3)


@pytest.mark.parametrize("how", ["loop", "if", "tensor", "output"])
def test_a_batch_that_became_a_number_is_told_with_its_line(
    how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportError) as refusal:
        export_onnx(OfSize(how), {"image": torch.rand(1, 3)}, tmp_path / "m.onnx", outputs=("out",))
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    expected = [at for at, line in enumerate(lines, 1) if line.endswith(f"  # the {how}")]
    told = [f"forward, {__file__}, line {at}" for at in expected]
    assert len(told) == (how != "output") and all(one in refusal.value.problem for one in told)
    assert "batch = 1" in refusal.value.remedy and "set_replacement" not in capfd.readouterr().err
    assert how != "output" or "line" not in refusal.value.problem
