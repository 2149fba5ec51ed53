import numpy as np
import pytest
import torch

from pipeline.config.labeller import LabellerSettings
from pipeline.models.ensemble import predict_each
from pipeline.models.labeller import Labeller


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "normalize": "video", "pool_frames": 2}])
def test_each_labeller_reads_the_chunks_that_are_computed_once(options):
    torch.manual_seed(0)
    settings = LabellerSettings(cell="gru", hidden_size=5, **options)
    labellers = [Labeller(settings, num_features=3, num_classes=4).eval() for _ in range(3)]
    features = torch.randn(50, 3)
    for several in (labellers, labellers[:1]):
        found = predict_each(several, iter(features.split(7)))
        assert len(found) == len(several)
        for labeller, probabilities in zip(several, found, strict=True):
            np.testing.assert_array_equal(probabilities, labeller.predict([features]))
