"""The fixture that makes small videos, for all tests of this folder."""

from made_videos import make_video

__all__ = ["make_video"]
