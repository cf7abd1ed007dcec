"""The projector between vision encoder and language model: linear layers with GELU between them."""

from torch import Tensor, nn

from hulumed_platform.model.config import ProjectorConfig


class Projector(nn.Module):
    """Maps visual features [n, vision hidden] to embeddings [n, decoder hidden]; tokens do not see each other."""

    def __init__(self, config: ProjectorConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(config.in_features, config.out_features)]
        for _ in range(config.depth - 1):
            layers += [nn.GELU(), nn.Linear(config.out_features, config.out_features)]
        self.readout = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Returns float [n, decoder hidden] for float [n, vision hidden], in the dtype of the weights."""
        embeddings: Tensor = self.readout(features)
        return embeddings
