"""How far a share of so many queries can be trusted."""

import math
from statistics import NormalDist


def wilson(hits: int, n: int, *, confidence: float = 0.95) -> tuple[float, float] | None:
    """Wilson's score interval of hits out of n, both ends 0 to 1; None where n is 0 and nothing is known.

    With p = hits / n and z the normal quantile: (p + z^2/2n -+ z sqrt(p (1 - p) / n + z^2/4n^2)) / (1 + z^2/n).

    Source: Wilson, Journal of the American Statistical Association 22, 1927, pages 209 to 212.
    """
    if n == 0:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = hits / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    reach = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # The formula touches the ends exactly there; rounding would not.
    low = 0.0 if hits == 0 else max(0.0, middle - reach)
    high = 1.0 if hits == n else min(1.0, middle + reach)
    return low, high
