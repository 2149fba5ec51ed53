"""The Python API of Framescribe: label videos, caption images, check data sets and score labels.

    import framescribe

    labeller = framescribe.load_labeller("models/labeller")
    result = framescribe.label_video("clip.mp4", labeller)

Importing this package is quick: what a function needs (torch, decoders) is imported when the function is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framescribe.captioning import Caption as Caption
    from framescribe.captioning import Captioner as Captioner
    from framescribe.captioning import load_captioner as load_captioner
    from framescribe.evaluation import DatasetCheck as DatasetCheck
    from framescribe.evaluation import check_dataset as check_dataset
    from framescribe.evaluation import evaluate as evaluate
    from framescribe.labelling import FolderResult as FolderResult
    from framescribe.labelling import LabelledSegment as LabelledSegment
    from framescribe.labelling import LabelledVideo as LabelledVideo
    from framescribe.labelling import Labeller as Labeller
    from framescribe.labelling import label_folder as label_folder
    from framescribe.labelling import label_video as label_video
    from framescribe.labelling import load_labeller as load_labeller
    from pipeline.errors import InputError as InputError
    from pipeline.metrics.captions import score_captions as score_captions
    from pipeline.models.beam_search import beam_search as beam_search
    from pipeline.text.vocabulary import Vocabulary as Vocabulary
    from pipeline.text.vocabulary import detokenize as detokenize
    from pipeline.text.vocabulary import tokenize as tokenize

    __version__: str

_MODULES = {
    "framescribe.labelling": (
        "FolderResult",
        "LabelledSegment",
        "LabelledVideo",
        "Labeller",
        "label_folder",
        "label_video",
        "load_labeller",
    ),
    "framescribe.captioning": ("Caption", "Captioner", "load_captioner"),
    "framescribe.evaluation": ("DatasetCheck", "check_dataset", "evaluate"),
    "pipeline.errors": ("InputError",),
    "pipeline.metrics.captions": ("score_captions",),
    "pipeline.models.beam_search": ("beam_search",),
    "pipeline.text.vocabulary": ("Vocabulary", "detokenize", "tokenize"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is first asked for (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("framescribe")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
