"""Figures against scikit-learn's and against cases worked by hand."""

import numpy as np
import pytest
from sklearn import metrics as reference

from cnnlab.core import metrics


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    logits = rng.normal(size=(300, 4)).astype(np.float32) + 2 * np.eye(4, dtype=np.float32)[labels]
    return logits, labels


def test_figures_agree_with_scikit_learn(answers):
    logits, labels = answers
    predicted = logits.argmax(axis=1)
    confusion = metrics.confusion_matrix(predicted, labels, 4)
    np.testing.assert_array_equal(confusion, reference.confusion_matrix(labels, predicted))
    expected = reference.precision_recall_fscore_support(labels, predicted)[:3]
    np.testing.assert_allclose(metrics.precision_recall_f1(confusion), expected)
    assert metrics.log_loss(logits, labels) == pytest.approx(reference.log_loss(labels, metrics.softmax(logits)))


def test_a_class_never_predicted_has_no_nan():
    confusion = metrics.confusion_matrix(np.array([0, 0]), np.array([0, 1]), 3)
    precision, recall, f1 = metrics.precision_recall_f1(confusion)
    np.testing.assert_allclose(precision, [0.5, 0, 0])
    np.testing.assert_allclose(recall, [1, 0, 0])
    np.testing.assert_allclose(f1, [2 / 3, 0, 0])


def test_calibration_error_of_worked_cases():
    sure = np.array([[1.0, 0.0]] * 4)
    assert metrics.calibration_error(sure, np.array([0, 0, 0, 0])) == 0
    assert metrics.calibration_error(sure, np.array([0, 0, 1, 1])) == pytest.approx(0.5)


def test_temperature_changes_confidence_but_not_the_answer(answers):
    logits, _ = answers
    cool, warm = metrics.softmax(logits, 0.5), metrics.softmax(logits, 2.0)
    np.testing.assert_array_equal(cool.argmax(1), warm.argmax(1))
    assert (cool.max(1) > warm.max(1)).all()


def test_wilson_interval_of_the_textbook_case():
    low, high = metrics.wilson_interval(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)


def test_quantisation_loss_counts_what_was_lost():
    labels = np.array([0, 1, 1, 0])
    exact = np.array([[1, 0], [0, 1], [0, 1], [1, 0]])
    wrong_once = np.array([[1, 0], [0, 1], [1, 0], [1, 0]])
    lost = metrics.quantisation_loss(exact, wrong_once, labels)
    assert lost == {"int8_accuracy": 0.75, "int8_accuracy_lost": 0.25, "int8_agreement": 0.75}
