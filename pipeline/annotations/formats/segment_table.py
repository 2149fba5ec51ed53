"""`<stem>.csv`: start,stop,class. The rows are in any order; for frames in no row, see `segment_rows`."""

from pipeline.annotations.formats.base import never
from pipeline.annotations.formats.segment_rows import segment_format
from pipeline.annotations.layouts import SEGMENTS_HEADER

FORMAT = segment_format(".csv", SEGMENTS_HEADER, has_length=never)
