"""Initial weights for the network of one picture."""

from __future__ import annotations

from zssr.damages import Chain
from zssr.network import Network
from zssr.priors.estimators.base import Own, Prior
from zssr.priors.families import Initial


class InitialPrior(Own, Prior):
    """Initial weights for the network of one picture."""

    def unfit(self, damage: Chain, enlarges: bool) -> str | None:
        if enlarges or (damage.parts and all(part.planewise for part in damage.parts)):
            return None
        return "is for enlarging and for JPEG compression alone"

    def begin(self, network: Network, factor: float) -> None:
        """Give the network the weights for a factor; 1 for JPEG compression alone. Raises PriorError where they do not
        fit."""
        assert isinstance(self.network, Initial)
        self.network.begin(network, factor)
