"""Captioning: sentences that describe images and videos."""
