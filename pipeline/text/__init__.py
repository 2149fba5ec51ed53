"""Words, vocabularies and subtitles."""
