"""Three baselines: the largest class, the nearest neighbours, and a support vector machine on principal components."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnlab.core.datasets import Split
from cnnlab.core.metrics import confusion_matrix, precision_recall_f1
from cnnlab.core.split import choose

MOST = 10_000  # training pictures: of more, a seeded draw, so that Fashion-MNIST takes half a minute
NEIGHBOURS = 10
COMPONENTS = 150  # principal components of the pixels
C = 10.0  # of the support vector machine; its kernel is scikit-learn's default, radial with gamma "scale"


@dataclass(frozen=True)
class Baselines:
    """The answers to the test pictures, int64 [n_test], by baseline, and what they were fitted to."""

    answers: dict[str, np.ndarray]
    labels: np.ndarray
    train_labels: np.ndarray
    n_train: int
    components: int

    def figures(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        """Accuracy and balanced accuracy (the mean of the classes' recalls) of each, and the largest class."""
        sizes = np.bincount(self.train_labels, minlength=len(class_names))
        found: dict[str, Any] = {
            "largest_class": class_names[int(sizes.argmax())],
            "n_train": self.n_train,
            "n": len(self.labels),
            "components": self.components,
            "neighbours": min(NEIGHBOURS, self.n_train),
        }
        for name, answers in self.answers.items():
            found[f"{name}_accuracy"] = float((answers == self.labels).mean())
            found[f"{name}_balanced_accuracy"] = float(self._recall(answers, len(class_names)).mean())
        return found

    def by_class(self, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
        """A row for each class: its training and test pictures, and the recall of each baseline."""
        sizes = (np.bincount(labels, minlength=len(class_names)) for labels in (self.train_labels, self.labels))
        recalls = {f"{name}_recall": self._recall(answers, len(class_names)) for name, answers in self.answers.items()}
        return [
            {"class": name, "train": int(train), "test": int(test)}
            | {key: float(values[index]) for key, values in recalls.items()}
            for index, (name, train, test) in enumerate(zip(class_names, *sizes, strict=True))
        ]

    def _recall(self, answers: np.ndarray, classes: int) -> np.ndarray:
        return precision_recall_f1(confusion_matrix(answers, self.labels, classes))[1]


def fit_baselines(train: Split, test: Split, seed: int) -> Baselines:
    """Fit all three to the training pictures, at most MOST of them, and answer the test pictures.

    Nothing is chosen, so no validation part is held out. One thread alone computes the components: with more, the last
    bits depend on how many.
    """
    from sklearn.decomposition import PCA  # scikit-learn takes a second to import
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC
    from threadpoolctl import threadpool_limits

    drawn = np.sort(choose(np.random.Generator(np.random.PCG64(seed)), len(train.labels), MOST))
    labels, rows, new = train.labels[drawn], _pixels(train.images[drawn]), _pixels(test.images)
    largest = np.full(len(new), np.bincount(train.labels).argmax())
    answers, components = {"largest_class": largest}, 0
    if len(np.unique(labels)) == 1 or not np.ptp(rows, axis=0).any():  # there is nothing to tell classes apart by
        answers |= {"neighbours": largest, "svm": largest}
    else:
        components = min(COMPONENTS, len(rows) - 1, rows.shape[1])
        with threadpool_limits(limits=1):
            near = KNeighborsClassifier(min(NEIGHBOURS, len(rows)), algorithm="brute").fit(rows, labels)
            answers["neighbours"] = near.predict(new)
            reduced = PCA(components, svd_solver="randomized", random_state=seed).fit(rows)
            machine = SVC(C=C, class_weight="balanced").fit(reduced.transform(rows), labels)
            answers["svm"] = machine.predict(reduced.transform(new))
    return Baselines(answers, test.labels, train.labels, len(drawn), components)


def _pixels(images: np.ndarray) -> np.ndarray:
    return np.asarray(images, np.float32).reshape(len(images), -1) / 255
