"""Labels that are probably wrong: confident learning. Pure.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal of Artificial
Intelligence Research 70, 1373-1411, arXiv:1911.00068. Probabilities must be out of fold: each image's from a head that
has not learned from the image or a copy of it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fit.arrays import Floats
from fit.splits import Positions


@dataclass(frozen=True)
class LabelDoubts:
    """How well images' labels agree with their out-of-fold probabilities.

    Attributes:
        own: (images,), the probability of its label: the paper's self-confidence, by which doubts are ranked.
        suggested: (images,), the most probable other class.
        joint: (classes, classes), the estimated number of images by label (row) and by class (column).
        suspected: (images,), whether the label is probably wrong: of the most doubtful as many as the joint has beside
            its diagonal, without those whose label is the most probable class all the same.
    """

    own: Floats
    suggested: Positions
    joint: Floats
    suspected: npt.NDArray[np.bool_]

    @property
    def ranking(self) -> Positions:
        """The images, the most doubtful label first; of equal ones the lower number first."""
        return np.argsort(self.own, kind="stable")


def doubt_labels(labels: Positions, probabilities: Floats) -> LabelDoubts:
    """Doubts of each label.

    Args:
        labels: (images,), class numbers; every class has an image.
        probabilities: (images, classes), out of fold.
    """
    every = np.arange(len(labels))
    own = probabilities[every, labels]
    others = probabilities.copy()
    others[every, labels] = -1.0
    suggested = others.argmax(axis=1)
    joint = estimate_joint(labels, probabilities)
    most = round(float(joint.sum() - np.trace(joint)))
    suspected = np.zeros(len(labels), bool)
    suspected[np.argsort(own, kind="stable")[:most]] = True
    return LabelDoubts(own, suggested, joint, suspected & (own < others[every, suggested]))


def estimate_joint(labels: Positions, probabilities: Floats) -> Floats:
    """(classes, classes): the estimated number of images by label (row) and by class (column).

    An image confidently belongs to the most probable of the classes whose thresholds it reaches (equation 1 of the
    paper); a class's threshold is the average probability of it among the images labelled so (equation 2). The counts
    of these are scaled so that each label has its number of images (equation 3, without the division by all images).
    """
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    thresholds = np.bincount(labels, probabilities[np.arange(len(labels)), labels], classes) / counts
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    confident = reached.max(axis=1) >= 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[confident], reached[confident].argmax(axis=1)), 1)
    scaled: Floats = joint * (counts / np.maximum(joint.sum(axis=1), 1))[:, None]
    return scaled
