"""Messages on the terminal."""

import re
import sys

import pytest
from tqdm import tqdm

from pipeline.cli.console import report_failure, report_note


@pytest.mark.parametrize("report", [report_failure, report_note])
def test_messages_are_printed_above_a_progress_bar(report, capsys):
    with tqdm(total=2, file=sys.stderr, disable=False) as bar:
        bar.update()
        report("clip.mp4: its overlay was removed")
        bar.refresh()
    parts = re.split(r"[\r\n]", capsys.readouterr().err)
    assert "framescribe: clip.mp4: its overlay was removed" in parts, "nothing of the bar is on its line"
    after = parts[parts.index("framescribe: clip.mp4: its overlay was removed") + 1 :]
    assert any("50%" in part for part in after), "the bar is drawn again"
