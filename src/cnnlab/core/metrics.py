"""Figures of a classifier's answers: plain NumPy on probabilities and labels."""

import numpy as np

CALIBRATION_BINS = 15
Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities, float64 [n, classes]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities, float64 [n, classes], of logits divided by a temperature."""
    return np.exp(log_softmax(logits / temperature))


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy in nats."""
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Counts, int64 [actual, predicted]."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def precision_recall_f1(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per class; 0 where a class was never predicted or never occurred."""
    hits = confusion.diagonal().astype(float)
    precision = hits / np.maximum(confusion.sum(axis=0), 1)
    recall = hits / np.maximum(confusion.sum(axis=1), 1)
    return precision, recall, 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of the top class over 15 equal bins (Guo et al. 2017, section 2)."""
    confidence = probabilities.max(axis=1)
    hit = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=hit - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def wilson_interval(hits: int, n: int) -> tuple[float, float]:
    """95 % confidence interval of a proportion (Wilson 1927)."""
    share, z2 = hits / n, Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return float(centre - half), float(centre + half)


def classification_metrics(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> dict[str, float | int]:
    """The figures of a test: logits [n, classes], labels int64 [n]; probabilities calibrated by `temperature`."""
    predicted = logits.argmax(axis=1)
    hits = int((predicted == labels).sum())
    low, high = wilson_interval(hits, len(labels))
    precision, recall, f1 = precision_recall_f1(confusion_matrix(predicted, labels, logits.shape[1]))
    return {
        "accuracy": hits / len(labels),
        "balanced_accuracy": float(recall.mean()),  # the mean of the classes' recalls
        "largest_class_share": float(np.bincount(labels).max() / len(labels)),
        "classes_answered": len(np.unique(predicted)),
        "accuracy_95_low": low,
        "accuracy_95_high": high,
        "loss": log_loss(logits, labels),
        "calibration_error": calibration_error(softmax(logits), labels),
        "calibration_error_with_temperature": calibration_error(softmax(logits, temperature), labels),
        "macro_precision": float(precision.mean()),
        "macro_f1": float(f1.mean()),
        "n": len(labels),
    }


def quantisation_loss(logits: np.ndarray, quantised: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy of the quantised file, what it lost in points of accuracy, and how often both files agree."""
    accuracy, int8 = ((answers.argmax(axis=1) == labels).mean() for answers in (logits, quantised))
    return {
        "int8_accuracy": float(int8),
        "int8_accuracy_lost": float(accuracy - int8),
        "int8_agreement": float((logits.argmax(axis=1) == quantised.argmax(axis=1)).mean()),
    }


def per_class(predicted: np.ndarray, labels: np.ndarray, class_names: list[str]) -> list[dict[str, str | float]]:
    """One row for each class: its precision, recall and F1, and `n`, how many pictures are of it."""
    confusion = confusion_matrix(predicted, labels, len(class_names))
    columns = zip(class_names, *precision_recall_f1(confusion), confusion.sum(axis=1), strict=True)
    return [
        {"class": name, "precision": float(precision), "recall": float(recall), "f1": float(f1), "n": int(n)}
        for name, precision, recall, f1, n in columns
    ]
