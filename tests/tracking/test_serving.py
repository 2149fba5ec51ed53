"""`mlflow models serve` of a registered model answers requests with paths, and with the bytes of a video."""

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from made_models import write_video
from made_trackers import Server

from pipeline.labelling.model import load_model
from pipeline.labelling.video import label_video
from pipeline.tracking import store
from pipeline.tracking.models import LABELS_SIGNATURE


def ask(server: Server, records: list[dict[str, str]]) -> list[dict[str, object]]:
    """Return the rows that the server answers with."""
    body = json.dumps({"dataframe_records": records}).encode()
    request = urllib.request.Request(f"{server.address}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)["predictions"]


@pytest.mark.slow
def test_a_served_model_labels_a_path_and_the_bytes_of_a_video(workspace, spread_model):
    video = write_video(workspace / "clip.mp4", num_frames=9)
    with store.open_run(None, name="x") as run_id:
        store.log_start({"training": {}}, store.Datasets("x", "f00d", Path("x"), {}), model="labeller")
        store.log_model(run_id, spread_model, name="labeller", example=str(video), signature=LABELS_SIGNATURE)
        store.log_best_scores(run_id, {"val_f1_at_50": 60.0})
        store.register_model(run_id, "labeller", registered="tiny", monitor="f1_at_50")
    arguments = [
        "models",
        "serve",
        "--model-uri",
        "models:/tiny@champion",
        "--env-manager",
        "local",
        "--host",
        "127.0.0.1",
    ]
    server = Server(["-m", "mlflow", *arguments], "/ping", workspace / "serving.txt")
    try:
        server.start()
        by_path = ask(server, [{"path": str(video)}])
        content = base64.b64encode(video.read_bytes()).decode()
        by_content = ask(server, [{"path": "clip.mp4", "content": content}])
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(server, [{"path": "gone.mp4"}])
        reason = refused.value.read().decode()
    finally:
        server.kill()
    model = load_model(str(spread_model), device="cpu")
    expected = label_video(video, model)
    assert [row["label"] for row in by_path] == [model.spec.classes[index] for index in expected.labels]
    assert [row | {"path": "clip.mp4"} for row in by_path] == by_content
    assert refused.value.code == 400
    assert "gone.mp4: no such file" in json.loads(reason)["message"], reason
