"""CMASG-Bi-LSTM: the class of a chest radiograph with its report.

Wang and Wu, Intelligent Computer and Applications 15(7), 2025, 56-60, DOI 10.20169/j.issn.2095-2163.250708. The image
as regions and the report as word pieces enhance each other by attention; a bidirectional LSTM with sparse gates reads
both as one sequence; the mean of its outputs is classified.
"""

import torch
from torch import Tensor, nn

from ..bert import Bert
from ..grey import GreyChannels
from .config import CmasgConfig
from .density import GateDensity
from .fusion import CrossAttention, ModalitySoftmax
from .recurrent import BiLstm, SparseGate
from .resnet import ResNet50


class CmasgNet(nn.Module):
    """Radiograph, word pieces and their mask -> logits [N, classes], whose softmax is the probability of each class.

    image: [N, 1, H, W], normalised as GreyChannels takes it, or [N, 3, H, W]; input_ids, attention_mask: int64 [N, L],
    the mask 1 for word pieces and 0 for the padding behind them.
    """

    def __init__(self, config: CmasgConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CmasgConfig()
        self.grey = GreyChannels(config.channels)
        self.image_encoder = ResNet50(config.width)
        self.text_encoder = Bert(config.bert)
        self.image_projection = nn.Linear(self.image_encoder.channels, config.features)
        self.text_projection = nn.Linear(config.text_width, config.features)
        if config.cross_attention:
            self.cross_attention = CrossAttention(config)
        if config.modality_softmax:
            self.modality_softmax = ModalitySoftmax(config)
        self.bilstm: nn.Module = BiLstm(config)
        self.sparse_gate = SparseGate(config) if config.sparse_gate else None
        self.density = GateDensity((config.hidden, config.hidden_reverse)) if config.gate_density else None
        self.classifier = nn.Linear(config.hidden + config.hidden_reverse, config.classes)

    def forward(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.answer(image, input_ids, attention_mask)[0]

    def answer(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """The logits; of a network with cross-attention `mean_weights`, [N, L] and [N, R]; and the share of open gates,
        [N, 2], if it is asked for."""
        self._check(image, input_ids, attention_mask)
        real = attention_mask.bool()
        regions = self.image_projection(self.image_encoder(self.grey(image)).flatten(2).transpose(1, 2))
        words = self.text_projection(self.text_encoder(input_ids, attention_mask))
        return self._answer(regions, words, real)

    def classify(self, regions: Tensor, words: Tensor, real: Tensor) -> Tensor:
        """The logits from projected tokens: regions [N, R, d], words [N, L, d], real [N, L] bool."""
        return self._answer(regions, words, real)[0]

    def _answer(self, regions: Tensor, words: Tensor, real: Tensor) -> tuple[Tensor, ...]:
        weights: list[Tensor] = []
        if self.config.cross_attention:
            regions, words, *weights = self.cross_attention(regions, words, real)
        if self.config.modality_softmax:
            regions, words = self.modality_softmax(regions, words, real)
        lengths = real.sum(dim=1) + regions.shape[1]
        steps = torch.cat([regions, words], dim=1)
        logits = self.classifier(self.bilstm(steps, lengths, self.sparse_gate))
        told = [] if self.density is None else [self.density(steps, lengths, self.sparse_gate)]
        return logits, *weights, *told

    def _check(self, image: Tensor, ids: Tensor, mask: Tensor) -> None:
        size = self.config.size
        if image.ndim != 4 or image.shape[1] not in (1, 3) or tuple(image.shape[2:]) != (size, size):
            raise ValueError(f"CMASG: image is {list(image.shape)}; expected [N, 1, {size}, {size}] or three channels")
        if ids.ndim != 2 or ids.shape != mask.shape:
            raise ValueError(f"CMASG: input_ids {list(ids.shape)}, attention_mask {list(mask.shape)}; expected [N, L]")
        longest = self.config.longest_text
        if self.config.keep_steps and ids.shape[1] > longest:
            raise ValueError(
                f"CMASG: {ids.shape[1]} word pieces; expected 1 to {longest}, since there are bits for "
                f"{self.config.keep_steps} steps, {self.config.regions} of them regions of the image"
            )


class ServedCmasgNet(CmasgNet):
    """As a bundle runs it: the logits, then the attention's mean weights, then the share of open gates."""

    def forward(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor | tuple[Tensor, ...]:
        answer = self.answer(image, input_ids, attention_mask)
        return answer if len(answer) > 1 else answer[0]
