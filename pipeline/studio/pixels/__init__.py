"""The pictures of the studio: frames, the files of videos, and copies that a browser can play."""
