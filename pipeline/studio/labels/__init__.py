"""The labels of the studio: edits, their journal, and the files of the data set."""
