"""Labels that are probably wrong: confident learning. Pure.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal of Artificial
Intelligence Research 70, 1373-1411, arXiv:1911.00068. Probabilities must be out of fold: each image's from a head that
has not learned from the image or a copy of it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fit.splits import Positions

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelDoubts:
    """How well images' labels agree with their out-of-fold probabilities.

    Attributes:
        suggested: (images,), the class that the image most confidently belongs to; its own where there is none.
        suspected: (images,), whether that is another class than its label: the confident joint's off-diagonal.
        own: (images,), the probability of its label: the paper's self-confidence, by which doubts are ranked.
        thresholds: (classes,), the probability from which an image confidently belongs to a class.
    """

    suggested: Positions
    suspected: npt.NDArray[np.bool_]
    own: Probabilities
    thresholds: Probabilities

    @property
    def ranking(self) -> Positions:
        """The images, the most doubtful label first; of equal ones the lower number first."""
        return np.argsort(self.own, kind="stable")


def doubt_labels(labels: Positions, probabilities: Probabilities) -> LabelDoubts:
    """Doubts of each label.

    A class's threshold is the average probability of it among the images that are labelled so (equation 2 of the
    paper). An image confidently belongs to the most probable of the classes whose thresholds it reaches (equation 1).

    Args:
        labels: (images,), class numbers; every class has an image.
        probabilities: (images, classes), out of fold.
    """
    every, classes = np.arange(len(labels)), probabilities.shape[1]
    own = probabilities[every, labels]
    thresholds = np.bincount(labels, own, classes) / np.bincount(labels, minlength=classes)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    found = confident.max(axis=1) >= 0
    suggested = np.where(found, confident.argmax(axis=1), labels)
    # A label whose probability ties with the most probable class is not in doubt.
    suspected = found & (suggested != labels) & (own < probabilities[every, suggested])
    return LabelDoubts(np.where(suspected, suggested, labels), suspected, own, thresholds)
