"""Any name becomes one that MLflow takes."""

from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from pipeline.tracking.names import LONGEST_METRIC_NAME, metric_names


@given(st.lists(st.text(max_size=300).map("test/class_f1/{}".format), unique=True, max_size=8))
@settings(deadline=None, max_examples=100)
def test_any_class_name_becomes_a_metric_name_of_its_own(names):
    taken = metric_names(names)
    assert list(taken) == names
    assert len(set(taken.values())) == len(names)
    for name in taken.values():
        _validate_metric_name(name)
        assert len(name) <= LONGEST_METRIC_NAME


def test_plain_names_stay_unchanged():
    names = ["val/frame_accuracy_pooled", "test/class_f1/moves_left", "train_loss", "f1/zieht nach oben"]
    assert metric_names(names) == {name: name for name in names}
