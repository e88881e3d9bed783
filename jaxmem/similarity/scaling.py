"""Classical multidimensional scaling: places in the plane whose distances are those between networks, as nearly as can.

With squared distances `D` and `H = I - 11ᵀ/N`, `-HDH/2` is the Gram matrix of centred places. Its first eigenvectors,
each times the root of its eigenvalue, are the places (Torgerson 1952).
"""

import numpy as np
from jaxtyping import Float

from jaxmem.inputs import as_number
from jaxmem.similarity.base import Facts, Measure
from jaxmem.similarity.measures import measure_by_name

__all__ = ["classical_scaling", "square_distance"]


def square_distance(similarities: Float[np.ndarray, "N N"], measure: str | Measure | Facts) -> Float[np.ndarray, "N N"]:
    """Squared distances between networks from similarities by some measure, of which its facts are enough.

    Twice how far a similarity is from its largest value: where it is a cosine, as CKA, RSA and Procrustes are, these
    are squared distances between vectors. Divergences are squared distances as they are.

    Example:
        >>> import numpy as np
        >>> from jaxmem.similarity import square_distance
        >>> square_distance(np.array([[1.0, 0.75], [0.75, 1.0]]), "cka")
        array([[0. , 0.5],
               [0.5, 0. ]])
    """
    facts = measure if isinstance(measure, Facts) else measure_by_name(measure).facts
    distances = 2 * (facts.high - similarities) if facts.larger_is_similar else similarities - facts.low
    distances = np.maximum(distances, 0)
    np.fill_diagonal(distances, 0)
    return distances


def classical_scaling(
    square_distances: Float[np.ndarray, "N N"], n_dimensions: int = 2
) -> tuple[Float[np.ndarray, "N k"], float]:
    """Places of networks from the squared distances between them.

    Args:
        square_distances: symmetric, non-negative, zero on the diagonal.
        n_dimensions: k, of the places.

    Returns:
        The places, and the share of the distances' sum that they show, in [0, 1]. Where squared distances are those
        of no points at all, negative eigenvalues are left out of both.

    Raises:
        ValueError: distances that are not finite, or no square matrix larger than k.

    Example:
        >>> import numpy as np
        >>> from jaxmem.similarity import classical_scaling
        >>> places, shown = classical_scaling(np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]]))
        >>> np.abs(places[:, 0] - places[1, 0]).round(3), round(shown, 3)  # Three networks on a line.
        (array([1., 0., 1.]), 1.0)
    """
    distances = np.array(square_distances, float)
    n, k = len(distances), as_number(n_dimensions, "n_dimensions")
    if distances.shape != (n, n) or n <= k or not np.isfinite(distances).all():
        raise ValueError(
            f"square_distances must be a finite square matrix of more than {k} networks, but has {distances.shape}."
        )
    means = distances.mean(axis=0)
    values, axes = np.linalg.eigh(-(distances - means[None, :] - means[:, None] + means.mean()) / 2)
    values = np.maximum(values, 0)
    total = values.sum()
    # The sign of an eigenvector is nobody's choice: the largest entry is positive.
    axes = axes[:, ::-1][:, :k]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(k)])
    places = axes * signs[None, :] * np.sqrt(values[::-1][:k])[None, :]
    return places, float(values[::-1][:k].sum() / total) if total > 0 else 1.0
