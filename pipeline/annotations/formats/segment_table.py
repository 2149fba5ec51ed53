"""`<stem>.csv`: start,stop,class. The rows are in any order, and frames in no row have no label."""

from pipeline.annotations.formats.parsing import segment_format
from pipeline.annotations.layouts import SEGMENTS_HEADER

FORMAT = segment_format(".csv", SEGMENTS_HEADER, class_column=2, has_length=False)
